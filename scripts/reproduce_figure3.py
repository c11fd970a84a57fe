"""Figure 3: energy of C3H4O3 and C5H7N3O against scale: do MPNN and VIMPNN find the stable distance?

    python scripts/reproduce_figure3.py --scale small

The networks are those of table 1. C5H7N3O is outside of the first 10,000 molecules.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import reproduce_table1

from learner.benchmarks.qm9 import augmented_qm9
from learner.curves import energy_curve, scales, stable_scale
from oracle import Method, label
from reproduction.data import METHODS
from reproduction.runs import energies_of, model_of
from reproduction.scale import Scale, parse
from reproduction.tables import write

FORMULAS = {"C3H4O3": {"C": 3, "H": 4, "O": 3}, "C5H7N3O": {"C": 5, "H": 7, "N": 3, "O": 1}}
SHOWN = {"MPNN": "+ bond type as edge feature (MPNN)", "VIMPNN": "+ messages by bond type (VIMPNN a.ii)"}


def molecules() -> dict:
    """The first molecule of each formula, by QM9 index, at scale 1."""
    found = {}
    for system in augmented_qm9():
        for name, counts in FORMULAS.items():
            if name not in found and system.stable.symbols.formula.count() == counts:
                stable = system.stable.copy()
                stable.info = dict(system.info)
                found[name] = stable
    return found


def oracle_energies(structures: list) -> np.ndarray:
    """GFN2-xTB, eV."""
    outcomes = label(structures, Method.from_dict(METHODS["augmented-qm9"]))
    return np.array([a.get_potential_energy(force_consistent=True) for a in outcomes])


def figure(scale: Scale) -> dict:
    """Draw; returns the scale of least energy of each curve."""
    at, runs = scales(), {row.label: row.runs for row in reproduce_table1.rows(scale)}
    models = {name: [model_of(run, scale) for run in runs[label_]] for name, label_ in SHOWN.items()}
    picture, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    minima: dict = {}
    for axis, (formula, molecule) in zip(axes, molecules().items(), strict=True):
        true = energy_curve(oracle_energies, molecule, at)
        axis.plot(at, true, "k", lw=1.5, label="GFN2-xTB")
        minima[formula] = {"GFN2-xTB": stable_scale(at, true)}
        for name, of_seed in models.items():
            curves = np.array([energy_curve(energies_of(model), molecule, at) for model in of_seed])
            (line,) = axis.plot(at, curves.mean(0), lw=1, label=name)
            axis.fill_between(at, curves.min(0), curves.max(0), color=line.get_color(), alpha=0.2, lw=0)
            minima[formula][name] = [stable_scale(at, curve) for curve in curves]
        axis.set(title=formula, xlabel="scale", ylabel="energy, eV")
        axis.legend()
    scale.out.mkdir(parents=True, exist_ok=True)
    picture.savefig(scale.out / "figure3.png", dpi=130)
    plt.close(picture)
    return minima


def main() -> None:
    """Draw the figure and write where the curves are lowest."""
    scale = parse(__doc__ or "")
    minima = figure(scale)
    lines = ["| molecule | curve | scale of least energy, by seed |", "|---|---|---|"]
    for formula, curves in minima.items():
        for name, found in curves.items():
            values = found if isinstance(found, list) else [found]
            lines.append(f"| {formula} | {name} | {', '.join('none' if v is None else f'{v:.4f}' for v in values)} |")
    write("figure3", scale, {"minima": minima}, "\n".join(lines))


if __name__ == "__main__":
    main()
