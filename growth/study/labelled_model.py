"""The oracle as an energy model: what a study draws its points from, or runs on altogether."""

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms

from learner.prediction import Prediction
from oracle import FailedLabel
from oracle.labeller import Labeller


class LabelledModel:
    """A labeller as an energy model of one member. Where a label fails, energy and forces are not a number.

    Args:
        labeller: its method's free energies and forces are taken; with a cache no structure is paid for twice.
        say: told of every failure, and of labels that take long.
    """

    reach = float("inf")

    def __init__(self, labeller: Labeller, say: Callable[[str], None]) -> None:
        self.labeller, self.say = labeller, say
        self.n_labels = self.n_failed = 0

    @property
    def screen(self) -> "LabelledModel":
        """The model itself: there is nothing cheaper."""
        return self

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        """Free energies (eV) and forces (eV/Å) by the oracle."""
        energies = np.full(len(structures), np.nan)
        forces = [np.full((len(structure), 3), np.nan) for structure in structures]
        for index, outcome in enumerate(self.labeller([bare(structure) for structure in structures])):
            if isinstance(outcome, FailedLabel):
                self.n_failed += 1
                self.say(f"a label failed: {outcome.reason} ({outcome.detail})")
                continue
            results = outcome.calc.results
            energies[index], forces[index] = results["free_energy"], results["forces"]
        self.n_labels += len(structures)
        return Prediction(
            energies=energies,
            forces=forces,
            member_energies=energies[None, :].copy(),
            forces_std=[np.zeros(len(each)) for each in forces],
            atom_energies=[
                np.full(len(each), energy / max(len(each), 1)) for energy, each in zip(energies, forces, strict=True)
            ],
        )


def bare(structure: Atoms) -> Atoms:
    """Elements, positions, cell and periodicity alone: what defines a label.

    >>> bare(Atoms("Al", info={"energy": 1.0})).info
    {}
    """
    return Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)
