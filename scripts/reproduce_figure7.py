"""Figure 7: how do the contributions of the atoms change when one atom is moved away from its place?

    python scripts/reproduce_figure7.py --scale small

The last atom of a held-out 30-atom Al crystal is moved outwards, along the line from the centroid. Contributions are
the network's atom energies, EMT's own beside them. The paper's idea: at a stable position all atoms contribute alike.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT

mpl.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import reproduce_forces

from reproduction.data import base_of, load
from reproduction.runs import model_of
from reproduction.scale import Scale, parse
from reproduction.tables import write

SIZE = 30
MOVES = np.linspace(-1.2, 3.0, 43)
"""Å, outwards."""


def moved(crystal: Atoms) -> list[Atoms]:
    """The crystal with its last atom at each place."""
    outwards = crystal.positions[-1] - crystal.positions.mean(0)
    outwards /= np.linalg.norm(outwards)
    structures = []
    for distance in MOVES:
        structure = crystal.copy()
        structure.positions[-1] += distance * outwards
        structures.append(structure)
    return structures


def emt_contributions(structures: list[Atoms]) -> np.ndarray:
    """(n_structures, n_atoms) atom energies of EMT, eV."""
    calculator = EMT()
    return np.array([calculator.get_potential_energies(structure) for structure in structures])


def main() -> None:
    """Draw the contributions and write how alike they are."""
    scale: Scale = parse(__doc__ or "")
    runs = {row.label: row.runs[0] for row in reproduce_forces.rows(scale, scale.largest)}
    first = next(iter(runs.values()))
    size = min(SIZE, scale.beyond)
    test = load(first.data, scale, first.seed).test
    crystal = base_of(next(a for a in test if len(a) == size and a.symbols[0] == "Al"))
    structures = moved(crystal)
    shares = {"EMT": emt_contributions(structures)}
    shares |= {name: np.array(model_of(run, scale)(structures).atom_energies) for name, run in runs.items()}
    near = np.argsort(np.linalg.norm(crystal.positions - crystal.positions[-1], axis=1))
    figure, axes = plt.subplots(2, len(shares), figsize=(4 * len(shares), 6), sharex=True, layout="constrained")
    data = {}
    for (top, bottom), (name, values) in zip(axes.T, shares.items(), strict=True):
        for rank, atom in enumerate(near[:8]):
            top.plot(MOVES, values[:, atom], lw=2 if rank == 0 else 0.8, label="moved" if rank == 0 else None)
        bottom.plot(MOVES, values.std(1), "k", lw=1, label="spread over atoms")
        bottom.plot(MOVES, (values - values.mean(1, keepdims=True))[:, -1], lw=1, label="moved atom less mean")
        total = values.sum(1)
        data[name] = {
            "energy": total.tolist(),
            "moved_atom": values[:, -1].tolist(),
            "spread": values.std(1).tolist(),
            "stable_at": float(MOVES[int(np.argmin(total))]),
            "most_alike_at": float(MOVES[int(np.argmin(values.std(1)))]),
        }
        top.set(title=name, ylabel="contribution, eV")
        bottom.set(xlabel="outwards, Å", ylabel="eV")
        top.axvline(data[name]["stable_at"], color="0.7", lw=0.8)
        bottom.axvline(data[name]["stable_at"], color="0.7", lw=0.8)
    axes[0, 0].legend(fontsize=8)
    axes[1, 0].legend(fontsize=8)
    scale.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(scale.out / "figure7.png", dpi=130)
    plt.close(figure)
    lines = ["| contributions of | lowest energy at, Å | contributions most alike at, Å |", "|---|---|---|"]
    lines += [f"| {name} | {d['stable_at']:.1f} | {d['most_alike_at']:.1f} |" for name, d in data.items()]
    write("figure7", scale, {"moves": MOVES.tolist(), "contributions": data}, "\n".join(lines))


if __name__ == "__main__":
    main()
