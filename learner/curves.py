"""Energy against isotropic scale: curves, where they are lowest, and how far two of them disagree (DSC)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float

FINE_STEP = 0.002
"""Largest step of the scale in a curve whose minimum is to be found."""


def scaled(structure: Atoms, scale: float) -> Atoms:
    """A copy with every distance, and the cell, times `scale`; `info` is kept and its scale multiplied, labels are not.

    >>> double = scaled(Atoms("Al2", positions=[[0, 0, 0], [0, 0, 3.0]], info={"scale": 0.75}), 2.0)
    >>> float(double.get_distance(0, 1)), double.info["scale"]
    (6.0, 1.5)
    """
    copy = Atoms(structure.numbers, structure.positions * scale, cell=structure.cell.array * scale, pbc=structure.pbc)
    copy.info = {**structure.info, "scale": scale * float(structure.info.get("scale", 1.0))}
    return copy


def scales(first: float = 0.9, last: float = 1.5, step: float = FINE_STEP) -> Float[np.ndarray, " k"]:
    """Regular scales from first to last, at most `step` apart.

    >>> len(scales()), float(scales()[1])
    (301, 0.902)
    """
    return np.linspace(first, last, int(np.ceil((last - first) / step - 1e-9)) + 1)


def energy_curve(
    energies: Callable[[list[Atoms]], Float[np.ndarray, " k"]], structure: Atoms, at: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """Energy (eV) of a structure at each scale.

    Args:
        energies: structures in, energies out: a model's, or the labelling method's.
        structure: at scale 1.
        at: the scales.
    """
    return np.asarray(energies([scaled(structure, float(s)) for s in at]), dtype=float)


def stable_scale(scale: Float[np.ndarray, " k"], energy: Float[np.ndarray, " k"]) -> float | None:
    """Scale of least energy by a parabola through the lowest three points; None where a curve is lowest at an end.

    >>> s = np.array([0.9, 1.0, 1.1, 1.3])
    >>> stable_scale(s, (s - 1.02) ** 2)
    1.02
    >>> stable_scale(s, -s) is None
    True
    """
    order = np.argsort(scale)
    x, y = np.asarray(scale)[order], np.asarray(energy)[order]
    k = int(np.argmin(y))
    if k in (0, len(x) - 1):
        return None
    a, b, _ = np.polyfit(x[k - 1 : k + 2] - x[k], y[k - 1 : k + 2], 2)
    return float(x[k] - b / (2 * a)) if a > 0 else float(x[k])


def stable_scale_distances(
    scale: Float[np.ndarray, " k"],
    predicted: Sequence[Float[np.ndarray, " k"]],
    true: Sequence[Float[np.ndarray, " k"]],
) -> Float[np.ndarray, " n"]:
    """DSC of each pair of curves, |s*_predicted − s*_true|; infinite where only the predicted one has no minimum.

    Curves whose true one has no minimum inside have no DSC: NaN.
    """
    out = []
    for p, t in zip(predicted, true, strict=True):
        found, wanted = stable_scale(scale, p), stable_scale(scale, t)
        if wanted is None:
            out.append(np.nan)
        else:
            out.append(np.inf if found is None else abs(found - wanted))
    return np.array(out)
