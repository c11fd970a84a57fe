"""Do valence channels and traits of elements pay where there are several of them?

    python scripts/benchmark_elements.py             (some 25 minutes on one core)
    python scripts/benchmark_elements.py --set CHNOF --seconds 60 --seeds 0 1 2

Kossel's surrogate as it is, with elements told apart without their traits (`embedding: free`), and with all bonds in
one channel of as many filters. The same CPU time each; mean absolute errors in meV/atom and meV/Å.

    AlCu      EMT; clusters of 15-40 atoms, any composition
    CuNiAu    EMT; learnt from Cu-Ni and Cu-Au; tested on these, on Ni-Au, whose bonds were never seen, and on all three
    CHNOF     GFN2-xTB; molecules of the Augmented QM9 set, each at several scales; tested on other molecules
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from learner.benchmarks import augmented_qm9
from learner.metrics import evaluate
from learner.settings import NetworkSettings, TrainSettings
from learner.training import train
from oracle import LabelSettings, Method, label
from oracle.durable import write_whole

ROOT = Path(__file__).resolve().parents[1]
N_TRAIN, N_TEST = 300, 100
LATTICE = {"Al": 4.05, "Cu": 3.61, "Ni": 3.52, "Au": 4.08}
VARIANTS = {
    "as it is": NetworkSettings(),
    "no traits": NetworkSettings(embedding="free"),
    "one channel": NetworkSettings(bond_types="one", n_radial=12),
}
Sets = dict[str, list[Atoms]]


def alloy(elements: tuple[str, ...], rng: np.random.Generator) -> Atoms:
    """A piece of an fcc crystal of 15 to 40 atoms, elements at random, atoms rattled by 0.05 to 0.25 Å."""
    shares = rng.dirichlet(np.ones(len(elements)))
    n = int(rng.integers(15, 41))
    spacing = sum(s * LATTICE[e] for s, e in zip(shares, elements, strict=True))
    crystal = bulk("Cu", a=spacing, cubic=True) * (4, 4, 4)
    centre = crystal.positions.mean(0) + rng.uniform(-1, 1, 3)
    order = np.argsort(np.linalg.norm(crystal.positions - centre, axis=1))[:n]
    symbols = rng.choice(elements, n, p=shares)
    structure = Atoms(symbols, crystal.positions[order] * rng.uniform(0.95, 1.08))
    structure.positions += rng.normal(0, rng.uniform(0.05, 0.25), structure.positions.shape)
    return structure


def alloys(systems: list[tuple[str, ...]], n: int, seed: int) -> list[Atoms]:
    """Structures of some alloys in turn, with EMT labels."""
    rng = np.random.default_rng(seed)
    return labelled([alloy(systems[k % len(systems)], rng) for k in range(n)], {"kind": "emt"})


def labelled(structures: list[Atoms], method: dict[str, str]) -> list[Atoms]:
    """The structures with labels; what could not be labelled is left out."""
    outcomes = label(structures, Method.from_dict(method), LabelSettings())
    return [a for a in outcomes if isinstance(a, Atoms) and a.calc is not None]


def al_cu() -> tuple[list[Atoms], Sets]:
    """Aluminium and copper."""
    return alloys([("Al", "Cu")], N_TRAIN, 0), {"other clusters": alloys([("Al", "Cu")], N_TEST, 1)}


def cu_ni_au() -> tuple[list[Atoms], Sets]:
    """Two binary alloys to learn from; a third, and the ternary one, are new."""
    known: list[tuple[str, ...]] = [("Cu", "Ni"), ("Cu", "Au")]
    tests: Sets = {"Cu-Ni, Cu-Au": alloys(known, N_TEST, 1)}
    tests["Ni-Au, never met"] = alloys([("Ni", "Au")], N_TEST, 2)
    tests["Cu-Ni-Au"] = alloys([("Cu", "Ni", "Au")], N_TEST, 3)
    return alloys(known, N_TRAIN, 0), tests


def chnof() -> tuple[list[Atoms], Sets]:
    """Molecules; those tested on are others, each at a scale drawn at random."""
    systems = augmented_qm9()
    groups = sorted({s.group for s in systems})
    rng = np.random.default_rng(0)
    fluorine = {s.group for s in systems if 9 in s.structure.numbers}
    rare = list(rng.permutation(sorted(fluorine))[: (N_TRAIN + N_TEST) // 10])
    common = list(rng.permutation(sorted(set(groups) - fluorine))[: N_TRAIN + N_TEST - len(rare)])
    chosen = list(rng.permutation(rare + common))
    of = {g: [s.structure for s in systems if s.group == g] for g in chosen}
    picked = [of[g][int(rng.integers(len(of[g])))] for g in chosen]
    found = labelled(picked, {"kind": "tblite"})
    return found[:N_TRAIN], {"other molecules": found[N_TRAIN:]}


SETS: dict[str, Callable[[], tuple[list[Atoms], Sets]]] = {"AlCu": al_cu, "CuNiAu": cu_ni_au, "CHNOF": chnof}


def main() -> None:
    """Train every variant with every seed; write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=SETS, action="append", help="all by default")
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU time of a training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "surrogates" / "elements.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    budget = {"seconds": given.seconds, "seeds": given.seeds}
    before = json.loads(given.out.read_text()) if given.out.exists() else {}
    found = before.get("found", {}) if {k: before.get(k) for k in budget} == budget else {}
    for name in given.set or SETS:
        learnt, tests = SETS[name]()
        print(f"{name}: {len(learnt)} to learn from", flush=True)
        found[name] = {}
        for variant, network in VARIANTS.items():
            settings = TrainSettings(minutes=given.seconds / 60, clock="cpu")
            models = [train(learnt, [], network, settings, seed).committee for seed in given.seeds]
            found[name][variant] = {on: [evaluate(m, of) for m in models] for on, of in tests.items()}
            print(f"  {variant}: {found[name][variant]}", flush=True)
        write_whole(given.out, json.dumps({**budget, "found": found}, indent=1) + "\n")
    print(f"written: {given.out}")


if __name__ == "__main__":
    main()
