"""Any calculator that ASE knows by name."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal

from ase import Atoms
from ase.calculators.calculator import BaseCalculator, get_calculator_class
from ase.calculators.names import builtin as ase_builtin
from ase.calculators.names import names as ase_names
from pydantic import Field, field_validator, model_validator

from oracle.errors import InputError, nearest
from oracle.method import Method, Numerics, refuse_unknown_species, set_moments, version_of


class AseMethod(Method):
    """Any calculator in ASE's own registry, by its name, with the settings that its constructor takes."""

    kind: Literal["ase"] = "ase"
    calculator_name: str = Field(alias="calculator", description="name in ASE's registry: vasp, espresso, morse, ...")
    settings: dict[str, Any] = Field(default_factory=dict)
    magmoms: dict[str, float] = Field(default_factory=dict, description="initial moment (μB) by species")
    version: str | None = Field(default=None, description="version of the external code: part of the method hash")

    energy_per_atom_window: ClassVar[tuple[float, float] | None] = None

    @field_validator("settings")
    @classmethod
    def _finite(cls, settings: dict[str, Any]) -> dict[str, Any]:
        json.dumps(settings, allow_nan=False, default=str)
        return settings

    @model_validator(mode="after")
    def _check(self) -> AseMethod:
        if self.calculator_name not in ase_names:
            raise ValueError(f"calculator is {self.calculator_name!r}; {nearest(self.calculator_name, ase_names)}")
        refuse_unknown_species(self.magmoms)
        return self

    @property
    def cheap(self) -> bool:
        return self.calculator_name in ase_builtin

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True, by_alias=True)

    def surface(self) -> dict[str, Any]:
        return {**self.to_dict(), "ase": version_of("ase")}

    def boxed(self, structure: Atoms) -> Atoms:
        bare = super().boxed(structure)
        if self.magmoms:
            set_moments(bare, self.magmoms)
        return bare

    def calculator(self, structure: Atoms, numerics: Numerics | None = None, txt: str | None = None) -> BaseCalculator:
        try:
            return get_calculator_class(self.calculator_name)(**self.settings)
        except ImportError as error:
            raise InputError(f"calculator {self.calculator_name!r} is not installed ({error})") from error
