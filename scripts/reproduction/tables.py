"""Rows of a table from the results of runs: measures over seeds, comparisons with an error bar, files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.formula import Formula

from learner.paper.measures import dsc_measures, energy_measures
from oracle.durable import write_whole
from reproduction.runs import Run, results
from reproduction.scale import Scale

Result = dict[str, Any]
ALL_SIZES = (1, 1000)
COLUMNS = {
    "mae_ev": ("MAE, eV", 1.0, 3),
    "mae_mev_per_atom": ("MAE, meV/atom", 1.0, 1),
    "mse_ev2": ("MSE, eV²", 1.0, 3),
    "relative_error": ("relative error, %", 100.0, 3),
    "dsc": ("DSC, % of the scale", 100.0, 2),
    "dsc_from_one": ("DSC from scale 1, %", 100.0, 2),
    "minima_found": ("minima found, %", 100.0, 0),
}
"""Measure: heading, factor, digits. DSC is from the oracle's own minimum; the paper's own, from scale 1, beside it."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        label: what it is.
        runs: one a seed.
    """

    label: str
    runs: tuple[Run, ...]


def n_atoms_of(result: Result) -> np.ndarray:
    """(n_test,) atoms of each test structure."""
    return np.array([len(Formula(f)) for f in result["test"]["formula"]])


def measures(result: Result, sizes: tuple[int, int] = ALL_SIZES) -> dict[str, float]:
    """The paper's measures of one run on its test structures of these sizes."""
    n_atoms = n_atoms_of(result)
    inside = (n_atoms >= sizes[0]) & (n_atoms <= sizes[1])
    predicted, true = (np.array(result["test"][k])[inside] for k in ("predicted", "true"))
    errors = energy_measures(predicted, true, n_atoms[inside].astype(float))
    found = dsc_measures(distances(result, sizes))
    from_one = dsc_measures(distances(result, sizes, stable=1.0))
    return errors | found | ({"dsc_from_one": from_one["dsc"]} if "dsc" in from_one else {})


def distances(result: Result, sizes: tuple[int, int] = ALL_SIZES, stable: float | None = None) -> np.ndarray:
    """DSC of each curve, from the oracle's minimum or from a scale that is known to be the stable one.

    Infinite where the model's minimum is lost, NaN where the oracle has none.
    """
    curves = [curve for curve in result["curves"] if sizes[0] <= curve["n_atoms"] <= sizes[1]]
    pairs = [(c["predicted"], c["true"] if stable is None or c["true"] is None else stable) for c in curves]
    return np.array([np.nan if t is None else np.inf if p is None else abs(p - t) for p, t in pairs])


def evaluated(rows: Sequence[Row], scale: Scale) -> dict[str, list[Result]]:
    """Results of each row, one a seed; trains what is missing."""
    every = results([run for row in rows for run in row.runs], scale)
    out, first = {}, 0
    for row in rows:
        out[row.label] = every[first : first + len(row.runs)]
        first += len(row.runs)
    return out


def summary(found: Mapping[str, list[Result]], sizes: tuple[int, int] = ALL_SIZES) -> dict[str, dict[str, list[float]]]:
    """Each measure of each row on test structures of these sizes, one number a seed."""
    out: dict[str, dict[str, list[float]]] = {}
    for label, of_row in found.items():
        per_seed = [measures(result, sizes) for result in of_row]
        out[label] = {key: [m[key] for m in per_seed if key in m] for key in COLUMNS}
        out[label]["steps"] = [float(r["history"][-1].get("step", 0)) for r in of_row]
        out[label]["n_parameters"] = [float(r["n_parameters"]) for r in of_row]
        out[label]["unconverged"] = [still_falling(r) for r in of_row]
    return out


def still_falling(result: Result) -> float:
    """By how much the validation error fell over the last fifth of the budget, relative to where it ended."""
    curve = [entry.get("validation_energy_mae_mev_per_atom") for entry in result["history"]]
    curve = [value for value in curve if value is not None]
    return (curve[-3] - curve[-1]) / curve[-1] if len(curve) >= 3 else 0.0


def markdown(table: Mapping[str, Mapping[str, Sequence[float]]], columns: Sequence[str], first: str) -> str:
    """A table, mean (std over seeds) in each cell; at the end, what the budget was and how far it went."""
    heads = [COLUMNS[c][0] for c in columns] + ["steps", "last fifth, %"]
    lines = [f"| {first} | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for label, of_row in table.items():
        cells = [cell(of_row[c], *COLUMNS[c][1:]) for c in columns]
        falling = cell(of_row["unconverged"], 100.0, 0)
        lines.append(f"| {label} | {' | '.join(cells)} | {np.mean(of_row['steps']):.0f} | {falling} |")
    return "\n".join(lines)


def cell(values: Sequence[float], factor: float = 1.0, digits: int = 3) -> str:
    """Mean (std) of the values that are there.

    >>> cell([0.01, np.nan, 0.03], 100.0, 1)
    '2.0 (1.0)'
    """
    scaled = factor * np.asarray([value for value in values if not np.isnan(value)])
    if not len(scaled):
        return "–"
    return f"{scaled.mean():.{digits}f} ({scaled.std():.{digits}f})"


def compare(table: Mapping[str, Mapping[str, Sequence[float]]], better: str, worse: str, measure: str) -> str:
    """Whether a row is better than another, by the difference of the same seeds and its standard error."""
    a, b = np.asarray(table[better][measure]), np.asarray(table[worse][measure])
    name, factor, digits = COLUMNS[measure]
    difference = factor * (b - a)
    mean, size = difference.mean(), f"({100 * difference.mean() / (factor * b.mean()):.0f} %)"
    words = f"{better} against {worse}: {name} lower by {mean:.{digits}f}"
    if len(difference) == 1:
        return f"{words} {size}, one seed: **not decided**"
    error = difference.std(ddof=1) / len(difference) ** 0.5
    verdict = "holds" if mean > 0 else "does not hold: it is the other way round"
    return f"{words} ± {error:.{digits}f} {size}: **{verdict if abs(mean) > 2 * error else 'not decided'}**"


def write(name: str, scale: Scale, data: Mapping[str, Any], text: str) -> Path:
    """Write NAME.json and NAME.md beside each other; the markdown goes to the screen too."""
    scale.out.mkdir(parents=True, exist_ok=True)
    write_whole(scale.out / f"{name}.json", json.dumps({"scale": scale.name, **data}, indent=1) + "\n")
    write_whole(scale.out / f"{name}.md", text.rstrip() + "\n")
    print(text)
    return scale.out / f"{name}.md"
