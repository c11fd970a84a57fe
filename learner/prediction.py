"""What every energy model returns: plain numpy arrays, no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Prediction:
    """Energies, forces and their spread over the members, for a list of structures.

    Attributes:
        energies: (n_structures,) eV, mean over the members; the free energy, the one that forces belong to.
        forces: list of (n_atoms, 3) eV/Å, mean over the members.
        member_energies: (n_members, n_structures) eV.
        forces_std: list of (n_atoms,) eV/Å, root mean square over x, y, z of the population std over the members.
        atom_energies: list of (n_atoms,) eV, mean over the members; sums to the energy.
    """

    energies: Float[np.ndarray, " n_structures"]
    forces: list[Float[np.ndarray, "_ 3"]]
    member_energies: Float[np.ndarray, "n_members n_structures"]
    forces_std: list[Float[np.ndarray, " _"]]
    atom_energies: list[Float[np.ndarray, " _"]]

    @property
    def energy_std(self) -> Float[np.ndarray, " n_structures"]:
        """(n_structures,) eV, population std of the energy over the members."""
        return np.asarray(self.member_energies.std(axis=0))
