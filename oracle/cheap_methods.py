"""Methods of a millisecond: effective medium theory and Lennard-Jones, both from ASE."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from ase import Atoms
from ase.calculators.calculator import BaseCalculator, get_calculator_class
from ase.calculators.emt import parameters as emt_parameters
from pydantic import Field

from oracle.method import Method, Numerics


class EmtMethod(Method):
    """Effective medium theory of ASE (Al, Ni, Cu, Pd, Ag, Pt, Au, and H, C, N, O for fun)."""

    kind: Literal["emt"] = "emt"
    asap_cutoff: bool = Field(default=False, description="the cutoff of ASAP's EMT instead of ASE's")

    def missing_species(self, symbols: Iterable[str]) -> list[str]:
        return sorted(set(symbols) - set(emt_parameters))

    def calculator(self, structure: Atoms, numerics: Numerics | None = None, txt: str | None = None) -> BaseCalculator:
        return get_calculator_class("emt")(asap_cutoff=self.asap_cutoff)


class LennardJonesMethod(Method):
    """Lennard-Jones, 4ε((σ/r)¹² - (σ/r)⁶), one ε and σ for every species.

    With `smooth` (the default) a switching function takes pair energies to zero between 0.66 rc and rc, so that
    forces are continuous; without it pair energies are shifted to be zero at rc, where forces jump.
    """

    kind: Literal["lj"] = "lj"
    epsilon: float = Field(default=1.0, gt=0, le=1e6, description="well depth (eV)")
    sigma: float = Field(default=1.0, gt=0, le=1e3, description="zero of the pair energy (Å)")
    rc: float | None = Field(default=None, gt=0, le=1e4, description="cutoff (Å); by default 3 sigma")
    smooth: bool = True

    def surface(self) -> dict[str, Any]:
        return {**self.to_dict(), "rc": self._cutoff}

    @property
    def _cutoff(self) -> float:
        return 3.0 * self.sigma if self.rc is None else self.rc

    def calculator(self, structure: Atoms, numerics: Numerics | None = None, txt: str | None = None) -> BaseCalculator:
        return get_calculator_class("lj")(epsilon=self.epsilon, sigma=self.sigma, rc=self._cutoff, smooth=self.smooth)
