"""A cheap method as teacher: a committee learns much of what atoms do before the first dear label is spent.

A teacher (EMT, GFN-xTB, an earlier model) has another energy surface than the oracle. Its labels shape the weights that
training on the oracle's begins with, and nothing else: they never join the dataset, no model is judged by them, and no
calibration counts them. Energies are shifted, by so much an atom of each species, to the oracle's scale.
"""

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from growth.initial_set import LEAST_TAUGHT
from learner import Committee, NetworkSettings, TrainSettings, train
from learner.data import composition, read_labels, reference_energies
from oracle import Labeller, LabelSettings, Method

Labelling = Callable[[Sequence[Atoms]], list[Atoms]]


def on_scale_of(
    taught: Sequence[Atoms], alike: Sequence[Atoms], labelled: Sequence[Atoms], species: Sequence[int]
) -> list[Atoms]:
    """A teacher's labels on the oracle's scale: so much is added for each atom of a species as, by least squares of
    energies per atom, makes up for the difference on structures that both have labelled. Forces stay.

    Args:
        taught: labelled by the teacher.
        alike, labelled: the same structures, of two atoms or more, labelled by the teacher and by the oracle.
        species: atomic numbers of all.
    """
    sizes = np.array([len(a) for a in labelled], dtype=float)
    energies = [np.array([one.energy for one in read_labels(of)]) for of in (labelled, alike)]
    counts = composition(labelled, species)
    shifts = np.linalg.lstsq(counts / sizes[:, None], (energies[0] - energies[1]) / sizes, rcond=None)[0]
    moved = []
    for atoms, one, shift in zip(taught, read_labels(taught), composition(taught, species) @ shifts, strict=True):
        copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        energy = one.energy + float(shift)
        copy.calc = SinglePointCalculator(copy, energy=energy, free_energy=energy, forces=one.forces)
        moved.append(copy)
    return moved


def pretrained(
    structures: Sequence[Atoms],
    labelled: Sequence[Atoms],
    teacher: Labelling,
    network: NetworkSettings,
    settings: TrainSettings,
    seed: int,
) -> Committee | None:
    """A committee that has learnt a teacher's labels on the scale of the oracle's, to begin training with.

    Args:
        structures: for the teacher to label; what it cannot label is left out.
        labelled: the oracle's labels so far, isolated atoms among them; the teacher labels these too.
        teacher: labels structures; those that it could, in order, are known by `info["number"]`.
        network, settings, seed: of the training.

    Returns:
        None where the teacher could label too few.
    """
    known = [atoms for atoms in labelled if len(atoms) > 1]
    species = sorted({int(z) for atoms in labelled for z in atoms.numbers})
    met = [atoms for atoms in structures if set(atoms.numbers) <= set(species)]
    alike, taught = teacher(_numbered(known)), teacher(_numbered(met))
    if not alike or len(taught) < LEAST_TAUGHT:
        return None
    shifted = on_scale_of(taught, alike, [known[atoms.info["number"]] for atoms in alike], species)
    e0 = reference_energies(labelled, species)[0]
    covered = {int(z) for atoms in shifted for z in atoms.numbers} == set(species)
    return train(shifted, [], network, settings, seed, e0=e0).committee if covered else None


def _numbered(structures: Sequence[Atoms]) -> list[Atoms]:
    """Copies that say where they stood."""
    copies = [Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in structures]
    for number, copy in enumerate(copies):
        copy.info["number"] = number
    return copies


def labelling_by(method: Method) -> Labelling:
    """A teacher's labels, without what it could not label."""

    def ask(structures: Sequence[Atoms]) -> list[Atoms]:
        with Labeller(method, LabelSettings()) as labeller:
            return [outcome for outcome in labeller(structures) if isinstance(outcome, Atoms)]

    return ask
