"""What an answer of the oracle changes, by tables of cases."""

import numpy as np
import pytest

from growth.asking import AskSettings
from growth.verdict import contradiction, corrected_energies

SETTINGS = AskSettings(delta_e_tolerance=0.05, force_tolerance=0.1)


@pytest.mark.parametrize(
    ("labels", "force_rms", "expected"),
    [
        ({0: 1.0, 1: 1.3}, 0.0, None),
        ({0: 1.5, 1: 1.8}, 0.0, None),
        ({0: 1.0, 1: 1.45}, 0.0, "delta_e"),
        ({0: 1.0}, 0.5, "forces"),
    ],
)
def test_contradiction_looks_at_differences(labels: dict[int, float], force_rms: float, expected: str | None) -> None:
    found = contradiction(np.array([1.0, 1.3]), labels, force_rms, SETTINGS)
    assert (found is None) if expected is None else (found is not None and found.startswith(expected))


def test_correction_keeps_differences_between_unlabelled_sites() -> None:
    corrected = corrected_energies(np.array([0.0, 0.1, 0.4]), {0: 1.0})
    assert corrected == pytest.approx([1.0, 1.1, 1.4])
