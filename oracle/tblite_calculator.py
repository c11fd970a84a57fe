"""An ASE calculator for the extended tight binding of tblite, with both energies and one word for what went wrong.

The calculator that comes with tblite returns one energy, the electronic free energy (forces belong to it), under both
names. Here `energy` is the one extrapolated to zero smearing, as everywhere in Kossel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, SCFError, all_changes
from ase.units import Bohr, Hartree, kB
from jaxtyping import Float
from scipy.special import entr, expit

_NOT_CONVERGED = "SCF not converged"
_BISECTIONS = 60  # from some hundred eV to below 1e-15 eV


class TbliteCalculator(Calculator):
    """One calculation of the GFN family from scratch: the label of a structure must not depend on the one before.

    Args:
        method: GFN2-xTB or GFN1-xTB.
        charge: total charge (e).
        n_unpaired: unpaired electrons; by default 0 or 1, as the number of electrons is even or odd.
        electronic_temperature_K: of the Fermi-Dirac filling.
        accuracy: scales thresholds of integrals and self-consistency; smaller is tighter.
        max_iterations, mixer_damping, mixer_memory: numerics of the self-consistency; memory 0 keeps every iteration.

    Raises:
        SCFError: the charges did not become self-consistent.
        CalculationFailed: anything else that tblite refuses.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 (ASE's interface)

    def __init__(
        self,
        method: str,
        charge: int,
        n_unpaired: int | None,
        electronic_temperature_K: float,
        accuracy: float,
        max_iterations: int = 250,
        mixer_damping: float = 0.4,
        mixer_memory: int = 0,
    ) -> None:
        super().__init__()
        self.method = method
        self.charge = charge
        self.n_unpaired = n_unpaired
        self.kT = kB * electronic_temperature_K
        self.settings = {
            "verbosity": 0,
            "temperature": self.kT / Hartree,
            "accuracy": accuracy,
            "max-iter": max_iterations,
            "mixer-damping": mixer_damping,
            "mixer-memory": mixer_memory,
        }

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill `results` with energy, free_energy (eV) and forces ((n_atoms, 3), eV/Å)."""
        super().calculate(atoms, properties, system_changes)
        found = self._single_point(self.atoms)
        free_energy = float(found["energy"]) * Hartree
        occupations = np.asarray(found["orbital-occupations"])
        heat = entropy_term(
            np.asarray(found["orbital-energies"]) * Hartree, round(occupations.sum()), self.n_unpaired, self.kT
        )
        self.results = {
            "energy": free_energy + 0.5 * heat,
            "free_energy": free_energy,
            "forces": -np.asarray(found["gradient"]) * (Hartree / Bohr),
        }

    def _single_point(self, atoms: Atoms) -> Any:
        """Run tblite and return its results, in atomic units."""
        from tblite.exceptions import TBLiteRuntimeError, TBLiteValueError  # optional package
        from tblite.interface import Calculator as Hamiltonian

        box = (atoms.cell.array / Bohr, atoms.pbc) if atoms.pbc.any() else ()
        unpaired = self.n_unpaired or 0  # tblite itself raises 0 to 1 for an odd number of electrons
        try:
            hamiltonian = Hamiltonian(self.method, atoms.numbers, atoms.positions / Bohr, self.charge, unpaired, *box)
            for name, value in self.settings.items():
                hamiltonian.set(name, value)
            return hamiltonian.singlepoint()
        except (TBLiteRuntimeError, TBLiteValueError) as error:
            message = " ".join(str(error).split())
            raise (SCFError if _NOT_CONVERGED in message else CalculationFailed)(message) from error


def entropy_term(
    orbital_energies: Float[np.ndarray, " n_orbitals"], n_electrons: int, n_unpaired: int | None, kT: float
) -> float:
    """Return T·S (eV, ≥ 0) of electrons that fill the orbitals by Fermi-Dirac, each spin on its own.

    The free energy is F = E − TS, and E extrapolated to zero smearing is F + TS/2 up to fourth order in kT (M. J.
    Gillan, J. Phys.: Condens. Matter 1, 689 (1989)).

    Args:
        orbital_energies: eV, the same for both spins. n_electrons: in all. n_unpaired: None for 0 or 1. kT: eV.

    Raises:
        CalculationFailed: more unpaired electrons than electrons.

    >>> round(entropy_term(np.array([-1.0, -1.0]), 2, None, 0.1) / 0.1, 4)  # two half-filled orbitals a spin: 4 ln 2
    2.7726
    """
    unpaired = n_electrons % 2 if n_unpaired is None else n_unpaired
    if unpaired > n_electrons:
        raise CalculationFailed(f"{unpaired} unpaired electrons are asked for, the structure has {n_electrons}")
    fillings = (_filling(orbital_energies, count / 2, kT) for count in (n_electrons + unpaired, n_electrons - unpaired))
    return kT * float(sum((entr(f) + entr(1.0 - f)).sum() for f in fillings))


def _filling(
    orbital_energies: Float[np.ndarray, " n_orbitals"], n_electrons: float, kT: float
) -> Float[np.ndarray, " n_orbitals"]:
    """Return the Fermi-Dirac filling of the orbitals (0 to 1 each) that holds the electrons of one spin."""
    if n_electrons <= 0 or n_electrons >= len(orbital_energies):
        return np.full(len(orbital_energies), float(n_electrons > 0))
    low, high = orbital_energies.min() - 40.0 * kT, orbital_energies.max() + 40.0 * kT
    for _ in range(_BISECTIONS):
        level = 0.5 * (low + high)
        filling = np.asarray(expit((level - orbital_energies) / kT))
        low, high = (level, high) if filling.sum() < n_electrons else (low, level)
    return filling
