"""What every test runs under: one thread, no display, no telemetry, the same hypothesis runs in CI; the order."""

import importlib.util
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ray (tests/test_ray.py), which takes longest, first."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)
    if importlib.util.find_spec("gpaw") is None:
        for item in items:
            if item.get_closest_marker("gpaw"):
                item.add_marker(pytest.mark.skip(reason="GPAW is not installed"))
