"""Growth: sites, events and the loop that grows crystals on an energy surface while it is learned."""

import importlib
from typing import Any

_EXPORTS = {
    "find_sites": "growth.sites",
    "init": "growth.simulator",
    "step": "growth.simulator",
    "grow": "growth.simulator",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
