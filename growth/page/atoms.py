"""What is known of each atom: its std when the step was taken, and what it contributes to the energy."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

import learner
from growth.page.crystals import Growth, Stage

MOST_EVALUATED = 50_000
"""Atoms of all crystals together, up to which the model is asked about every step; above it about the last alone."""
BATCH = 2_000
"""Atoms that are evaluated at once."""
NEAR = 1e-3
"""Å, within which the structure of a site is the crystal of its step."""


def std_of(run: Path, walker: int, stage: Stage) -> np.ndarray | None:
    """Std of the force on each atom as the model that took a step had it, (n_atoms,) eV/Å; None where none is kept.

    Only what is needed is read: the first structure of the file of the step's sites.
    """
    path = run / "sites" / f"w{walker:02d}" / f"{stage.step:06d}.extxyz"
    n_atoms = len(stage.crystal)
    try:
        with path.open() as file:
            count, comment, *lines = itertools.islice(file, n_atoms + 2)
        words = comment.split("Properties=", 1)[1].split()[0].split(":")
        starts = np.cumsum([0, *map(int, words[2::3])])
        columns = dict(zip(words[::3], starts.tolist(), strict=False))
        at, std = columns["pos"], columns["forces_std"]
        last = np.array([float(word) for word in lines[-1].split()[at : at + 3]])
        same = int(count) == n_atoms and np.abs(last - stage.crystal.positions[-1]).max() < NEAR
        return np.array([float(line.split()[std]) for line in lines]) if same else None
    except (OSError, ValueError, LookupError):  # gone, torn, or without std: then there is nothing to show
        return None


def contributions(growths: Sequence[Growth], model: Path) -> dict[tuple[int, int], np.ndarray]:
    """Energy of each atom as a model shares it out, eV, without the energy of the isolated atom, by (walker, step).

    Of every stage, or of the last of each walker where all would be more than `MOST_EVALUATED` atoms.

    Raises:
        learner.errors.InputError: the model cannot be read.
    """
    every = [(growth.walker, stage) for growth in growths for stage in growth.stages]
    if sum(len(stage.crystal) for _, stage in every) > MOST_EVALUATED:
        every = [(growth.walker, growth.last) for growth in growths]
    committee = learner.Committee.load(model)
    found: dict[tuple[int, int], np.ndarray] = {}
    batch: list[tuple[int, Stage]] = []
    for k, (walker, stage) in enumerate(every):
        batch.append((walker, stage))
        if k + 1 == len(every) or sum(len(each.crystal) for _, each in batch) >= BATCH:
            said = committee([each.crystal for _, each in batch])
            for (of, each), energies in zip(batch, said.atom_energies, strict=True):
                found[of, each.step] = energies - isolated(each.crystal, committee.e0)
            batch = []
    return found


def isolated(crystal: Atoms, e0: dict[int, float]) -> np.ndarray:
    """Energy of each atom alone, (n_atoms,) eV."""
    return np.array([e0[number] for number in crystal.numbers.tolist()])
