"""Density-functional theory by GPAW: presets, boxes, k-points, and the PAW data that it will find."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from ase import Atoms
from ase.calculators.calculator import get_calculator_class
from pydantic import Field, model_validator

from oracle.method import Method, Numerics, refuse_unknown_species, set_moments, version_of

_LCAO_FAST = {"mode": "lcao", "basis": "dzp", "h": 0.25, "vacuum": 4.0}
PRESETS: dict[str, dict[str, Any]] = {
    "lcao-fast": _LCAO_FAST,
    "lcao": {**_LCAO_FAST, "h": 0.20, "vacuum": 5.0},
    "pw": {"mode": "pw", "cutoff": 400.0, "vacuum": 5.0},
}


class GpawMethod(Method):
    """Density-functional theory by GPAW: a preset, then overrides.

    k-points go by density along periodic directions, vacuum only along the others. Symmetry is off unless
    asked for: it saves a crystal k-points, and changes the grid, hence the energy by the grid's noise.
    """

    kind: Literal["gpaw"] = "gpaw"
    preset: Literal["lcao-fast", "lcao", "pw"] = "lcao-fast"
    mode: Literal["lcao", "pw", "fd"]
    xc: str = "PBE"
    h: float | None = Field(default=None, gt=0, description="grid spacing (Å), modes lcao and fd")
    basis: str | dict[str, str] | None = Field(default=None, description="LCAO basis")
    cutoff: float | None = Field(default=None, gt=0, description="plane-wave cutoff (eV), mode pw")
    smearing: float = Field(default=0.1, ge=0, description="Fermi-Dirac width (eV)")
    vacuum: float = Field(gt=0, description="vacuum around the outermost atoms along non-periodic directions (Å)")
    k_density: float = Field(
        default=3.0, gt=0, description="k-points per Å⁻¹ along periodic directions; the mesh has Γ"
    )
    symmetry: bool | None = Field(
        default=None, description="use the point group, which saves k-points; off if not given"
    )
    charge: float = 0.0
    spin: bool = Field(default=False, description="spin-polarised")
    magmoms: dict[str, float] = Field(default_factory=dict, description="initial moment (μB) by species; needs spin")
    setups: str | dict[str, str] = Field(default_factory=dict, description="PAW setups by species")
    convergence: dict[str, float] = Field(default_factory=dict, description="GPAW convergence criteria")

    ladder: ClassVar[tuple[Numerics, ...]] = (
        {"maxiter": 120},
        {"maxiter": 200, "mixer": {"backend": "pulay", "beta": 0.1, "nmaxold": 5, "weight": 100.0}},
        {"maxiter": 500, "mixer": {"backend": "pulay", "beta": 0.02, "nmaxold": 5, "weight": 100.0}},
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        preset = PRESETS.get(str(data.get("preset", "lcao-fast")), {"mode": "lcao", "vacuum": 4.0})
        if data.get("mode", preset["mode"]) != preset["mode"]:  # another mode: the preset's grid and basis do not apply
            preset = {"vacuum": preset["vacuum"]}
        return {**preset, **data}

    @model_validator(mode="after")
    def _check(self) -> GpawMethod:
        wanted = {"lcao": ("h", "basis"), "fd": ("h",), "pw": ("cutoff",)}[self.mode]
        for field in ("h", "basis", "cutoff"):
            if field in wanted and getattr(self, field) is None:
                raise ValueError(f"mode {self.mode} needs {field!r}")
            if field not in wanted and getattr(self, field) is not None:
                raise ValueError(f"mode {self.mode} does not take {field!r}")
        if self.magmoms and not self.spin:
            raise ValueError("magmoms need 'spin: true'")
        refuse_unknown_species(self.magmoms)
        return self

    @property
    def cheap(self) -> bool:
        return False

    def missing_species(self, symbols: Iterable[str]) -> list[str]:
        folders = [folder for folder in _paw_folders() if folder.is_dir()]
        if not folders or self.setups:
            return []
        return sorted(s for s in set(symbols) if not any(next(f.glob(f"{s}.*{self.xc}*"), None) for f in folders))

    def surface(self) -> dict[str, Any]:
        fields = self.to_dict()
        del fields["preset"]
        return {**fields, "gpaw": version_of("gpaw"), "paw_data": _paw_data()}

    def boxed(self, structure: Atoms) -> Atoms:
        bare = super().boxed(structure)
        cell = bare.cell.array.copy()
        cell[~bare.pbc] = 0.0
        bare.set_cell(cell)
        for axis in range(3):
            if not bare.pbc[axis]:
                bare.center(vacuum=self.vacuum, axis=axis)
        if self.spin:
            set_moments(bare, self.magmoms)
        return bare

    def calculator(self, structure: Atoms, numerics: Numerics | None = None, txt: str | None = None) -> Any:
        parameters: dict[str, Any] = {
            "xc": self.xc,
            "occupations": {"name": "fermi-dirac", "width": self.smearing},
            "spinpol": self.spin,
            "charge": self.charge,
            "convergence": dict(self.convergence),
            "setups": self.setups,
            "txt": txt,
        }
        if self.mode == "pw":
            parameters["mode"] = {"name": "pw", "ecut": self.cutoff}
        else:
            parameters |= {"mode": self.mode, "h": self.h}
        if self.mode == "lcao":
            parameters["basis"] = self.basis
        if not self.symmetry:
            parameters["symmetry"] = {"point_group": False}  # k and -k stay one: exact, and half the k-points
        if structure.pbc.any():
            parameters["kpts"] = {"density": self.k_density, "gamma": True}
        return get_calculator_class("gpaw")(**parameters, **(numerics or {}))


def _paw_folders() -> list[Path]:
    """Where GPAW will look for PAW data."""
    folders = [Path(entry) for entry in os.environ.get("GPAW_SETUP_PATH", "").split(os.pathsep) if entry]
    spec = importlib.util.find_spec("gpaw_data")
    return folders if spec is None or spec.origin is None else [*folders, Path(spec.origin).parent / "setups"]


def _paw_data() -> list[str]:
    """Name the PAW data that GPAW will find: folders of GPAW_SETUP_PATH first, then the gpaw-data package."""
    folders = [Path(entry).name for entry in os.environ.get("GPAW_SETUP_PATH", "").split(os.pathsep) if entry]
    try:
        return [*folders, f"gpaw-data {importlib.metadata.version('gpaw-data')}"]
    except importlib.metadata.PackageNotFoundError:
        return folders
