"""Is the surface of a trained surrogate safe to grow and to run dynamics on?

    python scripts/surrogates/safety.py --model DIR --data DIR [--element Cu] [--ps 10] [--n 100]

Four looks, on one core:

    dynamics     55 atoms, velocity Verlet (1 fs) from 600 K, after 1 ps of Langevin dynamics: drift of the energy
    rattled      100 crystals of 15-55 atoms, each atom moved by 0.3 Å (standard deviation of a coordinate), relaxed:
                 shortest distance met, in bonds; largest force at the end. A crystal in which two atoms are nearer
                 than half a bond before it is let go is drawn again; how many were is told
    compressed   crystals scaled down to 0.5 of the bond in steps of 0.01: does the energy rise all the way?
    spread       std of the forces over the members, on test structures and on ones ever further from the data; the
                 error beside it (EMT)
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from protocol import crystal, read_set

from learner.calculator import KosselCalculator
from learner.committee import Committee

BOND = {"Al": 2.86, "Cu": 2.55}
"""Å, nearest neighbours in the crystal."""
RATTLES = (0.0, 0.1, 0.2, 0.4, 0.6)


def shortest(structure: Atoms) -> float:
    """Å, between two atoms."""
    distances = structure.get_all_distances()
    return float(distances[np.triu_indices(len(structure), 1)].min())


def dynamics(committee: Committee, element: str, picoseconds: float) -> dict[str, float]:
    """Drift of the total energy of 55 atoms, meV/atom/ps: the slope of a straight line through it; and its scatter."""
    atoms = crystal(55, element)
    atoms.calc = KosselCalculator(committee)
    FIRE(atoms, logfile=None).run(fmax=0.05, steps=500)
    rng = np.random.default_rng(0)
    thermalize_momenta(atoms, temperature_K=600, rng=rng)
    Stationary(atoms)
    Langevin(atoms, 1 * units.fs, temperature_K=600, friction=0.02 / units.fs, rng=rng).run(1000)
    times, energies, nearest = [], [], []
    run = VelocityVerlet(atoms, 1 * units.fs)

    def look() -> None:
        times.append(run.get_time() / (1000 * units.fs))
        energies.append(1e3 * atoms.get_total_energy() / len(atoms))
        nearest.append(shortest(atoms))

    run.attach(look, interval=10)
    run.run(round(1000 * picoseconds))
    slope, start = np.polyfit(times, energies, 1)
    scatter = float(np.std(np.array(energies) - slope * np.array(times) - start))
    return {
        "picoseconds": picoseconds,
        "drift_mev_per_atom_ps": float(slope),
        "scatter_mev_per_atom": scatter,
        "shortest_in_bonds": min(nearest) / BOND[element],
        "temperature_K": float(atoms.get_temperature()),
    }


def rattled(committee: Committee, element: str, n: int) -> dict[str, float]:
    """Shortest distance met while rattled crystals relax, in bonds."""
    rng = np.random.default_rng(1)
    met, left, drawn = [], [], 0
    while len(met) < n:
        atoms = crystal(int(rng.integers(15, 56)), element)
        atoms.rattle(0.3, seed=drawn)
        drawn += 1
        if shortest(atoms) < 0.5 * BOND[element]:
            continue
        atoms.calc = KosselCalculator(committee)
        nearest: list[float] = []
        relax = FIRE(atoms, logfile=None)
        relax.attach(lambda a=atoms, into=nearest: into.append(shortest(a)))
        relax.run(fmax=0.05, steps=300)
        met.append(min(nearest) / BOND[element])
        left.append(float(np.linalg.norm(atoms.get_forces(), axis=1).max()))
    return {
        "n": n,
        "drawn_again": drawn - n,
        "shortest_in_bonds": min(met),
        "below_half_a_bond": sum(x < 0.5 for x in met),
        "relaxed": sum(x <= 0.05 for x in left),
    }


def compressed(committee: Committee, element: str) -> dict[str, Any]:
    """Whether the energy rises all the way from 0.9 of the bond to half of it."""
    scales = np.arange(0.90, 0.495, -0.01)
    falls = {}
    for n_atoms in (15, 30, 55, 75):
        base = crystal(n_atoms, element)
        structures = []
        for scale in scales:
            structure = base.copy()
            structure.positions *= scale
            structures.append(structure)
        rises = np.diff(committee(structures).energies)
        falls[n_atoms] = int((rises <= 0).sum())
    return {"steps": len(scales) - 1, "falls": falls}


def spread(committee: Committee, structures: list[Atoms]) -> list[dict[str, float]]:
    """Std over the members and the true error of the forces, meV/Å, of structures rattled ever more."""
    rows = []
    for rattle in RATTLES:
        moved = []
        for number, structure in enumerate(structures[:60]):
            atoms = Atoms(structure.numbers, structure.positions)
            atoms.rattle(rattle, seed=number)
            moved.append(atoms)
        found = committee(moved)
        errors = []
        for atoms, forces in zip(moved, found.forces, strict=True):
            atoms.calc = EMT()
            errors.append(np.sqrt(((forces - atoms.get_forces()) ** 2).mean(1)))
        rows.append(
            {
                "rattle_A": rattle,
                "force_std_mev_per_A": 1e3 * float(np.mean(np.concatenate(found.forces_std))),
                "force_error_mev_per_A": 1e3 * float(np.mean(np.concatenate(errors))),
            }
        )
    return rows


def main() -> None:
    """Look, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="model directory of a committee")
    parser.add_argument("--data", type=Path, required=True, help="folder with test-in.extxyz")
    parser.add_argument("--element", default="Cu", choices=BOND)
    parser.add_argument("--ps", type=float, default=10.0, help="picoseconds of dynamics")
    parser.add_argument("--n", type=int, default=100, help="rattled crystals")
    given = parser.parse_args()
    torch.set_num_threads(1)
    committee = Committee.load(given.model)
    found = {
        "dynamics": dynamics(committee, given.element, given.ps),
        "rattled": rattled(committee, given.element, given.n),
        "compressed": compressed(committee, given.element),
        "spread": spread(committee, read_set(given.data / "test-in.extxyz")),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
