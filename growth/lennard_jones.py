"""Lennard-Jones clusters as an energy model: all pairs, no cutoff, a whole batch in one piece of array arithmetic."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from growth.errors import InputError
from learner.prediction import Prediction

PAIRS_AT_ONCE = 200_000
"""Pairs of atoms in one array, so that its temporaries stay in the processor's cache."""


class LennardJonesModel:
    """The pair potential 4 ε [(σ/r)¹² − (σ/r)⁶] between all atoms, whatever their element (Jones 1924).

    Every pair counts at every distance, so `reach` is infinite, and periodic structures are refused. An atom's energy
    is half the sum over its pairs.

    Args:
        epsilon: eV, depth of the well.
        sigma: Å, where the energy of a pair is zero; the well's minimum is at 2^(1/6) σ.

    Raises:
        InputError: epsilon or sigma is not positive; when called, a structure is periodic.
    """

    reach = float("inf")

    def __init__(self, epsilon: float = 1.0, sigma: float = 1.0) -> None:
        for name, value in (("epsilon", epsilon), ("sigma", sigma)):
            if not value > 0:
                raise InputError(f"{name}: expected a positive number, got {value!r}")
        self.epsilon, self.sigma = float(epsilon), float(sigma)

    @property
    def screen(self) -> "LennardJonesModel":
        """The model itself: there is nothing cheaper."""
        return self

    @property
    def bond_length(self) -> float:
        """Å, where a pair's energy is lowest."""
        return 2.0 ** (1 / 6) * self.sigma

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        """Energies, forces and atom energies; structures of equal size are computed together."""
        forces: list[np.ndarray] = [np.empty((0, 3))] * len(structures)
        atom_energies: list[np.ndarray] = [np.empty(0)] * len(structures)
        energies = np.zeros(len(structures))
        for batch in self._batches(structures):
            shares, pulls = self._evaluate(np.array([structures[k].positions for k in batch]))
            energies[batch] = shares.sum(axis=1)
            for row, k in enumerate(batch):
                forces[k], atom_energies[k] = pulls[row], shares[row]
        return Prediction(
            energies=energies,
            forces=forces,
            member_energies=energies[None, :].copy(),
            forces_std=[np.zeros(len(structure)) for structure in structures],
            atom_energies=atom_energies,
        )

    def _batches(self, structures: Sequence[Atoms]) -> list[list[int]]:
        """Numbers of structures of equal size, at most so many together that their pairs stay below the limit."""
        by_size: dict[int, list[int]] = {}
        for k, structure in enumerate(structures):
            if structure.pbc.any():
                raise InputError(f"structures[{k}]: expected an open cluster, got a periodic structure")
            by_size.setdefault(len(structure), []).append(k)
        batches = []
        for n_atoms, numbers in by_size.items():
            most = max(1, PAIRS_AT_ONCE // max(n_atoms**2, 1))
            batches += [numbers[start : start + most] for start in range(0, len(numbers), most)]
        return batches

    def _evaluate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Atom energies (n_structures, n_atoms) and forces (n_structures, n_atoms, 3) of positions of that shape."""
        n_structures, n_atoms, _ = positions.shape
        x = positions.transpose(2, 0, 1) / self.sigma
        separations = x[:, :, :, None] - x[:, :, None, :]
        squares = separations[0] ** 2 + separations[1] ** 2 + separations[2] ** 2
        squares.reshape(n_structures, -1)[:, :: n_atoms + 1] = np.inf
        inverse = 1.0 / squares
        attraction = inverse**3
        repulsion = attraction**2
        shares = 2.0 * self.epsilon * (repulsion - attraction).sum(axis=2)
        slopes = (24.0 * self.epsilon / self.sigma) * (2.0 * repulsion - attraction) * inverse
        pulls = np.stack([(slopes * separation).sum(axis=2) for separation in separations], axis=2)
        return shares, pulls
