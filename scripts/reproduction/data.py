"""The paper's datasets at a scale: made where they are not there yet, read, split; the oracle's own energy curves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from growth.make_dataset import read_benchmark
from learner.benchmarks import Split, split_by_growth_seed, split_by_molecule, split_by_scale, split_randomly
from learner.curves import energy_curve, scaled, scales, stable_scale
from learner.paper.bond_types import all_hard_types, hard_types
from oracle import Labeller, Method, uid
from oracle.durable import write_whole
from reproduction.scale import Scale

METHODS = {"augmented-qm9": {"kind": "tblite"}, "infinite-crystal": {"kind": "emt"}, "crystal-growth": {"kind": "emt"}}
"""The fast oracle of each dataset: GFN2-xTB for molecules, EMT for metals."""
SPLITS = {
    "molecule": split_by_molecule,
    "scale": lambda infos, seed: split_by_scale(infos),
    "growth-seed": split_by_growth_seed,
    "random": split_randomly,
}


@dataclass(frozen=True)
class Data:
    """Which structures a network learns and is tested on.

    Attributes:
        name: augmented-qm9, infinite-crystal or crystal-growth.
        kind: stable or unstable, of Crystal Growth.
        n: molecules, or points of each element; None for all.
        split: molecule, scale, growth-seed or random.
        learnt: smallest and largest number of atoms of what is learnt; all sizes are tested.
    """

    name: str
    kind: str = ""
    n: int | None = None
    split: str = "growth-seed"
    learnt: tuple[int, int] = (0, 1000)


class Parts(NamedTuple):
    """Labelled structures to learn from, to watch, to test on."""

    train: list[Atoms]
    validation: list[Atoms]
    test: list[Atoms]


def load(data: Data, scale: Scale, seed: int) -> Parts:
    """The parts of a dataset; the dataset is labelled first where that has not been done.

    What holds an element or a type of bond that the training part lacks is left out of the other two: of 300 molecules
    one or two hold fluorine.
    """
    structures = [a for a in _structures(data.name, data.n, scale) if data.kind in a.info["config_type"]]
    split: Split = SPLITS[data.split]([a.info for a in structures], seed)
    train, validation, test = ([structures[i] for i in part] for part in split)
    train, validation = (
        [a for a in part if data.learnt[0] <= len(a) <= data.learnt[1]] for part in (train, validation)
    )
    elements = {z for a in train for z in a.numbers}
    types = set(all_hard_types(train))

    def known(a: Atoms) -> bool:
        return elements.issuperset(a.numbers) and types.issuperset(hard_types(a))

    return Parts(train, list(filter(known, validation)), list(filter(known, test)))


@lru_cache(maxsize=2)
def _structures(name: str, n: int | None, scale: Scale) -> list[Atoms]:
    return read_benchmark(made(name, n, scale))


def made(name: str, n: int | None, scale: Scale) -> Path:
    """Directory of a labelled dataset; makes it, or goes on where an interrupted run stopped."""
    from reproduction.making import make

    return make(name, n, scale)


def base_of(structure: Atoms) -> Atoms:
    """The structure at scale 1."""
    return scaled(structure, 1.0 / float(structure.info.get("scale", 1.0)))


def reference_minimum(data: Data, base: Atoms, scale: Scale) -> float | None:
    """Scale of least energy by the labelling method: every 0.02 first, then every 0.002 around the lowest; kept."""
    method = Method.from_dict(METHODS[data.name])
    path = scale.data / "minima" / f"{uid(base, method.hash)}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(_minimum(method, base)))
    found: Any = json.loads(path.read_text())
    return found


def _minimum(method: Method, base: Atoms) -> float | None:
    with Labeller(method) as labeller:

        def energies(structures: list[Atoms]) -> np.ndarray:
            return np.array([_energy(outcome) for outcome in labeller(structures)])

        coarse = scales(step=0.02)
        middle = stable_scale(coarse, energy_curve(energies, base, coarse))
        if middle is None:
            return None
        fine = scales(max(middle - 0.02, 0.9), min(middle + 0.02, 1.5))
        return stable_scale(fine, energy_curve(energies, base, fine))


def _energy(outcome: Any) -> float:
    return float(outcome.calc.results["free_energy"]) if isinstance(outcome, Atoms) else np.inf
