"""How wrong the surrogate was before each label, and what that promises for the next step.

One line of `metrics.jsonl` a label, `what: error`, holds the error, the committee's std, the chance at which the label
was asked for, and the interval promised at that moment. Pure functions of such lines.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from learner.conformal import Conformal, coverage, drift, fit, missed_triggers

LEVEL = 0.9
"""Of the intervals whose coverage is told."""
FADE = 0.95
"""What a label's weight is multiplied by at each promotion after it: it told of a model that is gone. Scores, being
relative to std, outlast it: at 0.8 so few labels were left to count that intervals were wider than they need be."""
FLOORS = {"delta_e": 1e-3, "energy": 2e-4, "forces": 5e-3}
"""Added to every std: eV, eV/atom, eV/Å."""
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Calibration:
    """From the committee's std to an interval: of ΔE between sites, of the energy per atom, of the worst force."""

    delta_e: Conformal
    energy: Conformal
    forces: Conformal


class Scores(NamedTuple):
    """Errors of one quantity, the std and half-width of interval told before, 1 / chance, model version, all (n,)."""

    errors: Float[np.ndarray, " n"]
    std: Float[np.ndarray, " n"]
    radii: Float[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"]
    versions: Float[np.ndarray, " n"]


def calibrated(lines: Sequence[Line] = (), version: int = 0) -> Calibration:
    """What the labels so far promise for model `version`; without any, what the prior does.

    A label weighs 1 / chance, times FADE for every promotion since; where labels are counted, FADE alone.
    """
    found = {}
    for name, scores in scores_of(lines).items():
        faded = FADE ** np.maximum(0.0, version - scores.versions)
        heaviest, weights = float(scores.weights.max(initial=1.0)), scores.weights * faded
        found[name] = fit(scores.errors, scores.std, weights, FLOORS[name], heaviest, counts=faded)
    return Calibration(**found)


def counted(n: int) -> int:
    """Of n labels those that a calibration is made of: all of few, of many a number that changes with every hundredth.

    >>> counted(100), counted(1001), counted(1007), counted(1008)
    (100, 1000, 1000, 1008)
    """
    step = max(1, 2 ** (n.bit_length() - 7))
    return n - n % step


def scores_of(lines: Sequence[Line]) -> dict[str, Scores]:
    """Scores by quantity: energy and forces of the drawn site of each step, ΔE of each other labelled site to it.

    What the model had no number for is no score; its radius is infinite, so it is asked about again.
    """
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        groups[line["group"]].append(line)
    rows: dict[str, list[list[float]]] = {name: [] for name in FLOORS}
    for members in groups.values():
        for drawn in (line for line in members if line["drawn"]):
            n, last = drawn["n_atoms"], [1 / drawn["chance"], float(drawn["model_version"])]
            rows["energy"].append([drawn["energy_error"] / n, drawn["energy_std"] / n, drawn["energy_radius"], *last])
            rows["forces"].append([drawn["worst_force_error"], drawn["force_std"], drawn["force_radius"], *last])
            for other in (line for line in members if not line["drawn"]):
                error = other["energy_error"] - drawn["energy_error"]
                rows["delta_e"].append([error, other["delta_e_std"], other["delta_e_radius"], *last])
    return {name: _scores(np.array(of, dtype=float).reshape(-1, 5)) for name, of in rows.items()}


def _scores(rows: Float[np.ndarray, "n 5"]) -> Scores:
    return Scores(*rows[np.isfinite(rows[:, :2]).all(axis=1)].T)


def gain(lines: Sequence[Line], tolerances: Mapping[str, float], n: int) -> float | None:
    """By which share the surrogate's errors before learning have fallen: the last n asked steps against the n before.

    A step's error is its largest as a multiple of the tolerance; medians are compared. None before there are 2 n steps.
    """
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line["reason"] == "query" and not line["group"].endswith("-again"):
            groups[line["group"]].append(line)
    if len(groups) < 2 * n:
        return None
    worst = []
    for members in list(groups.values())[-2 * n :]:
        found = scores_of(members)
        ratios = [np.abs(scores.errors).max(initial=0.0) / tolerances[name] for name, scores in found.items()]
        worst.append(max(ratios))
    before, after = np.median(worst[:n]), np.median(worst[n:])
    return float(1 - after / before) if before > 0 else 0.0


def told(
    lines: Sequence[Line], calibration: Calibration, tolerances: Mapping[str, float], risk: float
) -> dict[str, Any]:
    """What a run knows of its own honesty, by quantity.

    Args:
        lines: of all labels. calibration: the present one.
        tolerances: by quantity. risk: chance of a larger error that is borne.

    Returns:
        For each quantity `allowed_std`, up to which nobody is asked (None: no std is small enough, or any is), and
        `effective_n`, the labels behind it; of the audits what `held` tells, and `drift` of the later half against
        the earlier.
    """
    found = {}
    for name, scores in _audits(lines).items():
        conformal: Conformal = getattr(calibration, name)
        relative = np.abs(scores.errors) / (scores.std + FLOORS[name])
        half = len(relative) // 2
        found[name] = {
            "allowed_std": _finite(conformal.sure_std(tolerances[name], risk)),
            "effective_n": conformal.effective_n,
            **held(scores.errors, scores.radii, tolerances[name]),
            "drift": {key: _finite(x) for key, x in drift(relative[:half], relative[half:])._asdict().items()},
        }
    return found


def audits_of(lines: Sequence[Line], tolerances: Mapping[str, float]) -> dict[str, Any]:
    """What `held` tells of the steps labelled though sure, by quantity."""
    return {name: held(scores.errors, scores.radii, tolerances[name]) for name, scores in _audits(lines).items()}


def _audits(lines: Sequence[Line]) -> dict[str, Scores]:
    return scores_of([line for line in lines if line["reason"] == "audit"])


def held(errors: Float[np.ndarray, " n"], radii: Float[np.ndarray, " n"], tolerance: float) -> dict[str, Any]:
    """Of steps that were sure: how many, their mean error, and two shares with their intervals at 95 % confidence:
    `coverage`, within the interval promised at LEVEL, and `missed`, beyond the tolerance."""
    nobody = np.zeros(len(errors), dtype=bool)
    shares = coverage(errors, radii), missed_triggers(errors, nobody, tolerance)
    within, beyond = ({key: _finite(x) for key, x in share._asdict().items()} for share in shares)
    error = float(np.abs(errors).mean()) if len(errors) else None
    return {"n": len(errors), "mean_abs_error": error, "coverage": within, "missed": beyond}


def _finite(x: float) -> float | None:
    """As JSON has it: None for what is no finite number."""
    return x if np.isfinite(x) else None
