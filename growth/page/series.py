"""What the plots of a page show, as plain numbers: units are in the keys; `walker`, `step` are what a click shows."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ase import Atoms

from growth.calibration import scores_of
from growth.page.labels import place_of, said_of_label, shown
from growth.page.run_files import RunFiles

Line = Mapping[str, Any]
UNITS = {"delta_e": "meV", "energy": "meV/atom", "forces": "meV/Å"}
"""Of errors, promises and tolerances, by quantity."""


def energies(run: RunFiles) -> list[dict[str, Any]]:
    """The crystal after each step that holds: size, energy and std per atom."""
    return [
        {
            "walker": line["walker"],
            "step": line["step"],
            "n_atoms": line["n_atoms"],
            "kind": line["kind"],
            "atom": line["atom"] if line["kind"] != "detach" else -1,
            "fate": line["fate"],
            "reason": (line.get("reason") or "").replace("delta_e", "ΔE between sites") or None,
            "version": line["model_version"],
            "time_s": line.get("time"),
            "barrier_ev": line.get("barrier"),
            "energy_ev_per_atom": line["energy"] / line["n_atoms"],
            "std_mev_per_atom": _times(line.get("energy_std"), 1e3 / line["n_atoms"]),
        }
        for line in run.steps
    ]


def errors(lines: Sequence[Line], structures: Sequence[Atoms | None]) -> list[dict[str, Any]]:
    """How wrong the surrogate was before each label, with the number of its structure in the page."""
    found = []
    for line, structure, number in zip(lines, structures, shown(structures), strict=True):
        walker, step = place_of(line) or (None, None)
        found.append(
            {
                "walker": walker,
                "step": step,
                "n_atoms": line["n_atoms"],
                "carved_from": line.get("carved_from"),
                "drawn": line["drawn"],
                "reason": line["reason"],
                "version": int(line["model_version"]),
                "error_mev_per_atom": 1e3 * line["energy_error"] / line["n_atoms"],
                "force_error_mev_per_A": 1e3 * line["force_error_mean"],
                "worst_force_error_mev_per_A": 1e3 * line["worst_force_error"],
                **{f"{key}_ev_per_atom": x for key, x in said_of_label(structure, line["energy_error"]).items()},
                "structure": number,
            }
        )
    return found


def certified(certificate: Line) -> list[dict[str, Any]]:
    """The same of the steps that the certificate labelled afterwards."""
    return [
        {
            "walker": point["walker"],
            "step": point["step"],
            "n_atoms": point["n_atoms"],
            "error_mev_per_atom": 1e3 * point["energy_error"] / point["n_atoms"],
            "force_error_mev_per_A": 1e3 * point["force_mae"],
            "labelled_ev_per_atom": point["labelled"] / point["n_atoms"],
            "predicted_ev_per_atom": point["predicted"] / point["n_atoms"],
        }
        for point in certificate.get("path", [])
    ]


def promises(lines: Sequence[Line]) -> dict[str, list[dict[str, Any]]]:
    """By quantity the interval promised before each label and the error that came, in `UNITS`."""
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        groups[line["group"]].append(line)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in UNITS}
    for members in groups.values():
        walker, step = place_of(members[0]) or (None, None)
        for name, scores in scores_of(members).items():
            for error, radius in zip(scores.errors.tolist(), scores.radii.tolist(), strict=True):
                told = {"promised": 1e3 * radius, "came": 1e3 * abs(error), "reason": members[0]["reason"]}
                found[name].append({"walker": walker, "step": step, **told})
    return found


def models(run: RunFiles) -> list[dict[str, Any]]:
    """Errors on the validation set after each training, and whether the model took over."""
    return [
        {
            "version": line["version"],
            "promoted": line["promoted"],
            "n_labels": line["n_labels"],
            "elapsed_s": line["elapsed_s"],
            "seconds": line["seconds"],
            "n_structures": line.get("n_structures"),
            "energy_mev_per_atom": line.get("energy_mae_mev_per_atom"),
            "force_mev_per_A": line.get("force_mae_mev_per_A"),
        }
        for line in run.metric("model")
    ]


def busy(run: RunFiles) -> list[dict[str, Any]]:
    """Hours of work by role, and the share of the wall time in which each of its workers was busy."""
    state, config = run.checkpoint, run.config
    elapsed = state.get("elapsed_s") or run.summary.get("wall_time_s") or 0.0
    serial = config["pool"] == "serial"
    workers = {"oracle": config["oracle"]["actors"], "surrogate": config["surrogate"]["actors"], "learner": 1}
    told = []
    for role, n in workers.items():
        n_workers = 1 if serial else n
        seconds = float(state.get("busy_s", {}).get(role, 0.0))
        share = seconds / elapsed / n_workers if elapsed else None
        told.append({"role": role, "workers": n_workers, "busy_s": seconds, "share": share})
    return told


def plain(value: Any) -> Any:
    """As JSON has it: numbers that are not finite are None, and of others the first five digits are kept.

    >>> plain({"a": [1.23456789, float("inf")], "b": "x"})
    {'a': [1.2346, None], 'b': 'x'}
    """
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.5g}" if abs(value) < 100 else f"{value:.7g}") if math.isfinite(value) else None
    return value


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
