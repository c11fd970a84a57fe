"""What does training with forces do to what the paper leaves open: offset, lost minimum, DSC, extrapolation in size?

    python scripts/reproduce_forces.py --scale small --workers 2

Crystal Growth, unstable, held-out growth seeds. Trained on 15-75 atoms and on at most 25, tested on up to 114 atoms.
Figure 6, the error against size, is drawn from the same runs.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from learner.paper.settings import PaperSettings, PaperTrainSettings
from learner.settings import NetworkSettings, TrainSettings
from reproduction.data import Data
from reproduction.runs import Run
from reproduction.scale import Scale, parse
from reproduction.tables import Result, Row, cell, evaluated, markdown, n_atoms_of, summary, write

SMALL = 25
"""Atoms of the largest crystal in the second training set, as in the paper's figure 6."""
STEPS_PER_MINUTE = 800
"""Gradient steps of the surrogate for each minute of the scale's budget."""
COLUMNS = ("mae_ev", "mae_mev_per_atom", "dsc", "dsc_from_one", "minima_found")


def networks(scale: Scale) -> dict[str, tuple[PaperSettings | NetworkSettings, PaperTrainSettings | TrainSettings]]:
    """Network and training of each row."""
    soft, surrogate = PaperSettings(bond_types="valence"), NetworkSettings()
    minutes = scale.cpu_minutes
    steps = max(int(STEPS_PER_MINUTE * minutes), 1)
    return {
        "VIMPNN, soft channels, energies": (soft, PaperTrainSettings(cpu_minutes=minutes)),
        "VIMPNN, soft channels, with forces": (soft, PaperTrainSettings(cpu_minutes=minutes, force_weight=1.0)),
        "Kossel's surrogate, with forces": (surrogate, TrainSettings(steps=steps, validate_every=max(steps // 10, 1))),
    }


def rows(scale: Scale, largest: int) -> list[Row]:
    """One row a network, trained on up to `largest` atoms."""
    data = Data("crystal-growth", kind="-unstable", learnt=(15, largest))
    return [
        Row(label, tuple(Run(data, network, training, seed) for seed in range(scale.n_seeds)))
        for label, (network, training) in networks(scale).items()
    ]


def offset(result: Result, sizes: tuple[int, int]) -> float:
    """Mean error of the energy per atom, meV: what is left when the shape of the curve is right."""
    n_atoms = n_atoms_of(result)
    inside = (n_atoms >= sizes[0]) & (n_atoms <= sizes[1])
    error = np.array(result["test"]["predicted"]) - np.array(result["test"]["true"])
    return float(1e3 * np.mean((error / n_atoms)[inside]))


def figure6(found: dict[int, dict[str, list[Result]]], scale: Scale) -> None:
    """MAE of the total energy, and per atom, against size."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 7), sharex=True, sharey="row", layout="constrained")
    for column, (largest, of_size) in zip(axes.T, found.items(), strict=True):
        column[0].set_title(f"trained on 15–{largest} atoms")
        for label, of_row in of_size.items():
            n_atoms = n_atoms_of(of_row[0])
            sizes = np.unique(n_atoms)
            errors = np.array([np.abs(np.subtract(r["test"]["predicted"], r["test"]["true"])) for r in of_row])
            by_size = np.array(
                [[e[n_atoms_of(r) == n].mean() for n in sizes] for e, r in zip(errors, of_row, strict=True)]
            )
            for axis, values in zip(column, (by_size, 1e3 * by_size / sizes), strict=True):
                (line,) = axis.plot(sizes, values.mean(0), lw=1, label=label)
                axis.fill_between(sizes, values.min(0), values.max(0), color=line.get_color(), alpha=0.2, lw=0)
                axis.axvline(largest, color="0.7", lw=0.8, ls=":")
                axis.set_yscale("log")
    axes[0, 0].set_ylabel("MAE, eV")
    axes[1, 0].set_ylabel("MAE, meV/atom")
    axes[0, 0].legend(fontsize=8)
    for axis in axes[1]:
        axis.set_xlabel("atoms")
    figure.savefig(scale.out / "figure6.png", dpi=130)
    plt.close(figure)


def main() -> None:
    """Train what is missing, then write the table and figure 6."""
    scale = parse(__doc__ or "")
    parts, tables, found = [], {}, {}
    for largest in (scale.largest, min(SMALL, scale.largest - 1)):
        found[largest] = of_size = evaluated(rows(scale, largest), scale)
        for sizes in ((15, largest), (largest + 1, scale.beyond)):
            name = f"trained on 15–{largest} atoms, tested on {sizes[0]}–{sizes[1]}"
            tables[name] = table = summary(of_size, sizes)
            parts += [f"**{name.capitalize()}**", "", markdown(table, COLUMNS, "network"), ""]
            means = {label: [offset(r, sizes) for r in of_row] for label, of_row in of_size.items()}
            parts += [f"* offset of {label}: {cell(values, 1.0, 1)} meV/atom" for label, values in means.items()] + [""]
    write("forces", scale, {"tables": tables}, "\n".join(parts))
    figure6(found, scale)


if __name__ == "__main__":
    main()
