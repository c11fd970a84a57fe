"""Figure 4: does the atom-count auxiliary lower the error for every type of atom?

    python scripts/reproduce_figure4.py --scale small

From the runs of table 1. Error by type: mean absolute error of the test structures that hold the element, and the part
of the absolute error that goes with each atom of it (non-negative least squares of the errors by the composition).
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from ase.formula import Formula
from scipy.optimize import nnls

mpl.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import reproduce_table1

from reproduction.scale import parse
from reproduction.tables import Result, cell, evaluated, write

ELEMENTS = ("H", "C", "N", "O", "F")
SHOWN = {"without": "baseline", "with": "+ auxiliary: atoms"}


def by_element(result: Result) -> tuple[np.ndarray, np.ndarray]:
    """MAE (eV) of structures with each element, and eV of absolute error for each atom of it; NaN where absent."""
    counts = np.array([[Formula(f).count().get(e, 0) for e in ELEMENTS] for f in result["test"]["formula"]], float)
    error = np.abs(np.subtract(result["test"]["predicted"], result["test"]["true"]))
    there = (counts > 0).any(0)
    holding = [error[counts[:, k] > 0].mean() if there[k] else np.nan for k in range(len(ELEMENTS))]
    return np.array(holding), np.where(there, nnls(counts, error)[0], np.nan)


def main() -> None:
    """Write the table and draw the bars."""
    scale = parse(__doc__ or "")
    rows = [row for row in reproduce_table1.rows(scale) if row.label in SHOWN.values()]
    found = evaluated(rows, scale)
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
    lines, data = (
        [f"| atom-count auxiliary | measure | {' | '.join(ELEMENTS)} |", "|---|---|" + "---|" * len(ELEMENTS)],
        {},
    )
    for k, (name, label) in enumerate(SHOWN.items()):
        both = np.array([by_element(result) for result in found[label]])
        data[name] = both.tolist()
        for axis, words, values in zip(
            axes, ("MAE of structures with it, eV", "eV an atom"), both.swapaxes(0, 1), strict=True
        ):
            place = np.arange(len(ELEMENTS)) + 0.4 * k
            held = np.ma.masked_invalid(values)
            axis.bar(place, held.mean(0), 0.4, yerr=held.std(0), label=f"{name} auxiliary")
            axis.set(xticks=np.arange(len(ELEMENTS)) + 0.2, xticklabels=ELEMENTS, ylabel=words)
            lines.append(f"| {name} | {words} | {' | '.join(cell(v) for v in values.T)} |")
    axes[0].legend()
    scale.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(scale.out / "figure4.png", dpi=130)
    plt.close(figure)
    write("figure4", scale, {"elements": ELEMENTS, "by_seed": data}, "\n".join(lines))


if __name__ == "__main__":
    main()
