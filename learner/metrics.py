"""How far a model is from the labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from ase import Atoms
from jaxtyping import Float

from .curves import stable_scale
from .data import read_labels
from .prediction import Prediction

Numbers = dict[str, int | float]


def evaluate(model: Callable[[Sequence[Atoms]], Prediction], structures: Sequence[Atoms]) -> Numbers:
    """Errors of an energy model on labelled structures, against the free energy where a label has one.

    Args:
        model: a committee, or any energy model.
        structures: labelled; those without forces count for the energy only.

    Returns:
        n_structures, energy_mae_mev_per_atom, energy_rmse_mev_per_atom, force_mae_mev_per_A, force_rmse_mev_per_A (over
        components; left out where no label has forces), coverage_90 (share of labels inside the interval of 90 % that
        the members' spread gives), and dsc (mean distance between the scales of least energy, in units of the scale)
        where structures carry `scale` and a `series` or `parent_uid` in their info.

    Raises:
        InputError: a structure without energy.
    """
    labels = read_labels(structures)
    if not structures:
        return {"n_structures": 0}
    prediction = model(structures)
    n_atoms = np.array([len(a) for a in structures])
    error = 1e3 * (prediction.energies - np.array([label.energy for label in labels])) / n_atoms
    out: Numbers = {
        "n_structures": len(structures),
        "energy_mae_mev_per_atom": float(np.abs(error).mean()),
        "energy_rmse_mev_per_atom": float(np.sqrt((error**2).mean())),
    }
    pairs = [(p, label.forces) for p, label in zip(prediction.forces, labels, strict=True) if label.forces is not None]
    if pairs:
        force_error = 1e3 * np.concatenate([(p - f).ravel() for p, f in pairs])
        out["force_mae_mev_per_A"] = float(np.abs(force_error).mean())
        out["force_rmse_mev_per_A"] = float(np.sqrt((force_error**2).mean()))
    std = 1e3 * prediction.energy_std / n_atoms
    out["coverage_90"] = normal_coverage(error, std)
    series = _series(structures)
    if series:
        true = np.array([label.energy for label in labels])
        out["dsc"] = float(np.mean([stable_scale_distance(s, prediction.energies[k], true[k]) for k, s in series]))
    return out


def normal_coverage(residuals: Float[np.ndarray, " n"], std: Float[np.ndarray, " n"], level: float = 0.9) -> float:
    """Share of residuals inside the central interval of a normal law with these stds; nan without any."""
    if len(residuals) == 0:
        return float("nan")
    return float(np.mean(np.abs(residuals) <= NormalDist().inv_cdf(0.5 + level / 2) * std))


def structure_errors(
    model: Callable[[Sequence[Atoms]], Prediction], structures: Sequence[Atoms]
) -> dict[str, Float[np.ndarray, " n"]]:
    """Absolute errors by structure: energy_mae_mev_per_atom and, where all have forces, force_mae_mev_per_A."""
    labels, prediction = read_labels(structures), model(structures)
    error = np.array([p - label.energy for p, label in zip(prediction.energies, labels, strict=True)])
    out = {"energy_mae_mev_per_atom": 1e3 * np.abs(error) / np.array([len(a) for a in structures])}
    if all(label.forces is not None for label in labels):
        pairs = zip(prediction.forces, labels, strict=True)
        out["force_mae_mev_per_A"] = np.array([1e3 * np.abs(p - label.forces).mean() for p, label in pairs])
    return out


def _series(structures: Sequence[Atoms]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices and scales of each series of at least three scales of the same structure."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, atoms in enumerate(structures):
        name = atoms.info.get("series", atoms.info.get("parent_uid"))
        if name is not None and "scale" in atoms.info:
            members[str(name)].append(number)
    indices = [np.array(k) for k in members.values() if len(k) >= 3]
    return [(k, np.array([float(structures[n].info["scale"]) for n in k])) for k in indices]


def stable_scale_distance(
    scale: Float[np.ndarray, " k"], predicted: Float[np.ndarray, " k"], true: Float[np.ndarray, " k"]
) -> float:
    """|s*_predicted − s*_true|, s* the scale of least energy, by a parabola through the lowest three points."""
    return abs(_lowest(scale, predicted) - _lowest(scale, true))


def _lowest(scale: np.ndarray, energy: np.ndarray) -> float:
    found = stable_scale(scale, energy)
    return float(scale[int(np.argmin(energy))]) if found is None else found
