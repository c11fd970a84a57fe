"""The paper's measures: MAE, MSE and relative error of the energy; DSC is in `learner/curves.py`."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from learner.metrics import Numbers


def energy_measures(
    predicted: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"], n_atoms: Float[np.ndarray, " n"]
) -> Numbers:
    """Errors of total energies (eV).

    Args:
        predicted, true: eV.
        n_atoms: of each structure.

    Returns:
        mae_ev, mse_ev2, relative_error (mean |ŷ−y|/|y|), each with its std over structures as `…_std`, and
        mae_mev_per_atom.

    >>> energy_measures(np.array([1.0, 3.0]), np.array([2.0, 3.0]), np.array([1.0, 1.0]))["mae_ev"]
    0.5
    """
    error = predicted - true
    each = {"mae_ev": np.abs(error), "mse_ev2": error**2, "relative_error": np.abs(error) / np.abs(true)}
    out: Numbers = {}
    for name, values in each.items():
        out |= {name: float(values.mean()), f"{name}_std": float(values.std())}
    return out | {"mae_mev_per_atom": float(1e3 * (np.abs(error) / n_atoms).mean())}


def dsc_measures(distances: Float[np.ndarray, " n"]) -> Numbers:
    """Mean DSC (in units of the scale) of the curves that have a minimum, its std, and how many have one.

    Args:
        distances: from `stable_scale_distances`; infinite where the minimum is lost, NaN where there is none to find.
    """
    wanted = distances[~np.isnan(distances)]
    found = wanted[np.isfinite(wanted)]
    out: Numbers = {"n_curves": len(wanted), "minima_found": float(np.isfinite(wanted).mean()) if len(wanted) else 0.0}
    return out | ({"dsc": float(found.mean()), "dsc_std": float(found.std())} if len(found) else {})
