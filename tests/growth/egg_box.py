"""An energy model whose minima and saddles are known by heart."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from learner.prediction import Prediction

EDGE, HEIGHT, SPRING = 2.0, 0.25, 3.0


class EggBox:
    """The first atom alone has an energy, E = −A (cos kx + cos ky) − B sin(kx/2) + ½ K z², k = 2π/EDGE.

    B = 0: minima on a square lattice, saddles between them, 2 A high. B > 0: every second saddle along x is lower.
    """

    reach = 1.0

    def __init__(self, pairing: float = 0.0) -> None:
        self.pairing = pairing

    @property
    def screen(self) -> "EggBox":
        return self

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        k = 2 * np.pi / EDGE
        r = np.array([s.positions[0] for s in structures])
        half = k * r[:, 0] / 2
        energies = -HEIGHT * np.cos(k * r[:, :2]).sum(axis=1) + 0.5 * SPRING * r[:, 2] ** 2
        energies -= self.pairing * np.sin(half)
        pulls = np.column_stack([-HEIGHT * k * np.sin(k * r[:, :2]), -SPRING * r[:, 2]])
        pulls[:, 0] += self.pairing * k / 2 * np.cos(half)
        forces = [np.zeros((len(s), 3)) for s in structures]
        for force, pull in zip(forces, pulls, strict=True):
            force[0] = pull
        return Prediction(
            energies=energies,
            forces=forces,
            member_energies=energies[None].copy(),
            forces_std=[np.zeros(len(s)) for s in structures],
            atom_energies=[np.full(len(s), e / len(s)) for s, e in zip(structures, energies, strict=True)],
        )


def boxed(width: int) -> Atoms:
    """An atom in a periodic box of so many wells a side; fixed marks over and under the saddles that pairing lowers."""
    places = [(EDGE / 2 + 2 * EDGE * i, EDGE * j) for i in range(width // 2) for j in range(width)]
    marks = [[x, y, z] for x, y in places for z in (-2.0, 2.0)]
    cell = [width * EDGE, width * EDGE, 20.0]
    atoms = Atoms("Cu" + "He" * len(marks), [[0.0, 0.0, 0.0], *marks], cell=cell, pbc=(True, True, False))
    atoms.set_constraint(FixAtoms(range(1, len(atoms))))
    return atoms
