"""When to ask the oracle: pure functions of arrays.

Growth chooses by differences of energy between competing sites, so the doubt that matters is the spread of each
member's own difference, in which what all sites share cancels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from .calibration import expected_error
from .settings import AcquisitionSettings


def competing(energies: Float[np.ndarray, " n"], window: float) -> Int[np.ndarray, " k"]:
    """Indices of the sites within `window` (eV) of the lowest, lowest first; the second lowest always competes."""
    order = np.argsort(energies, kind="stable")
    near = energies[order] <= energies[order[0]] + window
    near[:2] = True
    return np.asarray(order[near])


def difference_std(
    member_energies: Float[np.ndarray, "m n"], sites: Int[np.ndarray, " k"]
) -> Float[np.ndarray, " k_less_1"]:
    """Spread over the members of E_site − E_lowest for each competing site but the lowest, eV.

    Args:
        member_energies: (n_members, n_sites) eV.
        sites: from `competing`, lowest first.

    Returns:
        (k − 1,) population std of each member's own difference.
    """
    differences = member_energies[:, sites[1:]] - member_energies[:, sites[:1]]
    return np.asarray(differences.std(axis=0))


def force_std_near(
    forces_std: Float[np.ndarray, " n"], positions: Float[np.ndarray, "n 3"], adatom: int, radius: float
) -> float:
    """Largest spread of a force on or within `radius` (Å) of the adatom, eV/Å; images are not searched."""
    distance = np.linalg.norm(positions - positions[adatom], axis=1)
    return float(forces_std[distance <= radius].max())


def query_reason(
    energy_difference_std: Float[np.ndarray, " k"],
    force_std: float,
    settings: AcquisitionSettings,
    energy_factor: float,
    force_factor: float,
    rng: np.random.Generator,
) -> str | None:
    """Why to ask the oracle about this step, or None to go on.

    Args:
        energy_difference_std: from `difference_std`, eV; may be empty (one site).
        force_std: from `force_std_near`, eV/Å.
        settings: tolerances of the calibrated expected errors, and the share of audits.
        energy_factor, force_factor: from `calibration.calibrate`.
        rng: draws the audits, one number a call whatever the outcome.

    Returns:
        "energy_difference", "forces", "audit", or None.
    """
    audited = bool(rng.random() < settings.audit)
    worst = float(np.max(energy_difference_std, initial=0.0))
    if not expected_error(np.array(worst), energy_factor) <= settings.energy_tolerance:
        return "energy_difference"
    if not expected_error(np.array(force_std), force_factor) <= settings.force_tolerance:
        return "forces"
    return "audit" if audited else None
