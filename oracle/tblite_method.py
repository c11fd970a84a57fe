"""Extended tight binding by tblite: a molecule in milliseconds, all elements to radon."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.data import atomic_numbers
from pydantic import Field

from oracle.method import Method, Numerics, version_of
from oracle.tblite_calculator import TbliteCalculator

_LAST_ELEMENT = 86


class TbliteMethod(Method):
    """GFN2-xTB (Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019)) or GFN1-xTB, by tblite.

    For molecules and clusters. Forces belong to the free energy of the electrons at their temperature.
    """

    kind: Literal["tblite"] = "tblite"
    method: Literal["GFN2-xTB", "GFN1-xTB"] = "GFN2-xTB"
    charge: int = Field(default=0, description="total charge (e)")
    multiplicity: int | None = Field(
        default=None, ge=1, description="2S + 1; by default the lowest that the number of electrons allows"
    )
    electronic_temperature_K: float = Field(default=300.0, gt=0, description="of the Fermi-Dirac filling (K)")
    accuracy: float = Field(
        default=1.0, gt=0, description="scales the thresholds of integrals and self-consistency; smaller is tighter"
    )
    gamma_point: bool = Field(
        default=False, description="take structures that are periodic in all directions, at the Γ point alone"
    )

    ladder: ClassVar[tuple[Numerics, ...]] = (
        {"max_iterations": 100, "mixer_damping": 0.4},  # tblite's own; molecules take some 15 iterations
        {"max_iterations": 250, "mixer_damping": 0.1},
        {"max_iterations": 500, "mixer_damping": 0.03, "mixer_memory": 50},
    )
    energy_per_atom_window: ClassVar[tuple[float, float] | None] = (-200.0, 50.0)  # neon: -172 eV by GFN1-xTB

    def surface(self) -> dict[str, Any]:
        fields = self.to_dict()
        del fields["gamma_point"]  # says what is taken, not what comes out
        return {**fields, "tblite": version_of("tblite")}

    def missing_species(self, symbols: Iterable[str]) -> list[str]:
        return sorted(symbol for symbol in set(symbols) if not 0 < atomic_numbers.get(symbol, 0) <= _LAST_ELEMENT)

    def refusal(self, structure: Atoms) -> str | None:
        if not structure.pbc.any():
            return None
        if not structure.pbc.all():
            return "tblite has no periodicity along some directions only; set pbc along all or none, or take kind: gpaw"
        if not self.gamma_point:
            return "tblite has no k-points; set gamma_point: true where the cell is large enough, or take kind: gpaw"
        return None

    def calculator(self, structure: Atoms, numerics: Numerics | None = None, txt: str | None = None) -> BaseCalculator:
        return TbliteCalculator(
            method=self.method,
            charge=self.charge,
            n_unpaired=None if self.multiplicity is None else self.multiplicity - 1,
            electronic_temperature_K=self.electronic_temperature_K,
            accuracy=self.accuracy,
            **(numerics or {}),
        )
