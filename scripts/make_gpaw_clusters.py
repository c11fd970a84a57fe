"""Which clusters should GPAW label, so that potentials for growth can be compared on them?

    python scripts/make_gpaw_clusters.py --out data/gpaw-clusters
    kossel label data/gpaw-clusters/clusters.extxyz --method docs/results/paper/gpaw/lcao-fast.yaml \
        --dataset docs/results/surrogates/gpaw

Al and Cu in turn, 15 to 30 atoms, from the lattice-grown crystals of the Crystal Growth set: one third on the way down
to the next minimum of EMT, one third that minimum rattled by 0.05 to 0.3 Å, one third it scaled by 0.9 to 1.15. Growth
seeds 0 to 14 are to learn from, 15 to 19 to be tested on. Any first part of the file is as balanced as the whole: of
seven clusters five are to learn from.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import write
from ase.optimize import FIRE

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from learner.benchmarks import crystal_growth

SPECIES = ("Al", "Cu")
KINDS = ("relaxed-path", "rattled", "scaled")
SIZES = (15, 30)
SEEDS = {"train": range(15), "test": range(15, 20)}
PARTS = ("train", "train", "test", "train", "train", "test", "train")
RATTLE = (0.05, 0.3)
"""Å, standard deviation of each coordinate."""
SCALE = (0.9, 1.15)


def path_down(structure: Atoms) -> list[Atoms]:
    """Structures from here to the next minimum of EMT (largest force 0.02 eV/Å), both ends among them."""
    moving = structure.copy()
    moving.calc = EMT()
    frames: list[Atoms] = []

    def keep() -> None:
        frames.append(Atoms(moving.numbers, moving.positions))

    optimiser = FIRE(moving, logfile=None)
    optimiser.attach(keep)
    optimiser.run(fmax=0.02, steps=300)
    return frames


def cluster(kind: str, start: Atoms, rng: np.random.Generator) -> Atoms:
    """One cluster of a kind from a lattice-grown crystal."""
    frames = path_down(start)
    if kind == "relaxed-path":
        return frames[round(rng.uniform(0, 1) * (len(frames) - 1))]
    structure = frames[-1]
    if kind == "rattled":
        structure.positions += rng.normal(0, rng.uniform(*RATTLE), structure.positions.shape)
    else:
        structure.positions *= rng.uniform(*SCALE)
    return structure


def clusters(n: int, seed: int) -> list[Atoms]:
    """n clusters; info: config_type, part (train or test), group (element and growth seed)."""
    rng = np.random.default_rng(seed)
    stable = {s.series: s.stable for s in crystal_growth(sizes=SIZES) if s.config_type == "crystal-growth-stable"}
    made = []
    count = dict.fromkeys(SEEDS, 0)
    for number in range(n):
        part = PARTS[number % len(PARTS)]
        turn = count[part]
        count[part] += 1
        species, kind = SPECIES[turn % 2], KINDS[turn // 2 % 3]
        growth_seed = SEEDS[part][turn // 6 % len(SEEDS[part])]
        group = f"{species}-{growth_seed:02d}"
        size = int(rng.integers(SIZES[0], SIZES[1] + 1))
        structure = cluster(kind, stable[f"{group}-{size:03d}"], rng)
        structure.info = {"config_type": kind, "part": part, "group": group}
        made.append(structure)
    return made


def main() -> None:
    """Write the clusters."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for clusters.extxyz")
    parser.add_argument("--n", type=int, default=280, help="clusters")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    made = clusters(given.n, given.seed)
    write(given.out / "clusters.extxyz", made)
    parts = {p: sum(a.info["part"] == p for a in made) for p in SEEDS}
    print(f"{len(made)} clusters ({parts}), {np.mean([len(a) for a in made]):.1f} atoms each on average")


if __name__ == "__main__":
    main()
