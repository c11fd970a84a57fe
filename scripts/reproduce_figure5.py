"""Figure 5: energy against scale of crystals of 15 and 75 atoms: is the minimum found, and where does it get lost?

    python scripts/reproduce_figure5.py --scale small

Held-out growth seeds; the networks are those of tables 2 and "forces". Curves are shifted by nothing: the offset shows.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import reproduce_forces
import reproduce_table2

from learner.curves import energy_curve, scales, stable_scale
from oracle import Method, label
from reproduction.data import METHODS, base_of, load
from reproduction.runs import Run, energies_of, model_of
from reproduction.scale import Scale, parse
from reproduction.tables import write


def oracle_energies(structures: list) -> np.ndarray:
    """EMT, eV."""
    outcomes = label(structures, Method.from_dict(METHODS["crystal-growth"]))
    return np.array([a.get_potential_energy() for a in outcomes])


def shown(scale: Scale) -> dict[str, Run]:
    """Seed 0 of the networks whose curves are drawn."""
    data = reproduce_table2.datasets(scale)["Crystal Growth, unstable"]
    rows = reproduce_table2.rows(scale, data)[:1] + reproduce_forces.rows(scale, scale.largest)
    return {row.label: row.runs[0] for row in rows}


def main() -> None:
    """Draw the curves and write where they are lowest."""
    scale = parse(__doc__ or "")
    runs = shown(scale)
    first = next(iter(runs.values()))
    test = load(first.data, scale, first.seed).test
    at = scales()
    sizes = (15, scale.largest)
    figure, axes = plt.subplots(2, 2, figsize=(10, 7), sharex=True, layout="constrained")
    models, minima = {name: model_of(run, scale) for name, run in runs.items()}, {}
    for row, element in zip(axes, ("Al", "Cu"), strict=True):
        for axis, size in zip(row, sizes, strict=True):
            base = base_of(next(a for a in test if len(a) == size and a.symbols[0] == element))
            curves = {"EMT": energy_curve(oracle_energies, base, at)}
            curves |= {name: energy_curve(energies_of(model), base, at) for name, model in models.items()}
            for name, curve in curves.items():
                axis.plot(at, curve, "k" if name == "EMT" else "", lw=1.5 if name == "EMT" else 1, label=name)
            axis.set(title=f"{element}{size}", xlabel="scale", ylabel="energy, eV")
            low, high = curves["EMT"].min(), curves["EMT"].max()
            axis.set_ylim(low - 0.2 * (high - low), high + 0.1 * (high - low))
            minima[f"{element}{size}"] = {name: stable_scale(at, curve) for name, curve in curves.items()}
    axes[0, 0].legend(fontsize=8)
    scale.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(scale.out / "figure5.png", dpi=130)
    plt.close(figure)
    names = ["EMT", *runs]
    lines = [f"| scale of least energy | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for crystal, found in minima.items():
        lines.append(f"| {crystal} | {' | '.join('none' if found[n] is None else f'{found[n]:.4f}' for n in names)} |")
    write("figure5", scale, {"minima": minima}, "\n".join(lines))


if __name__ == "__main__":
    main()
