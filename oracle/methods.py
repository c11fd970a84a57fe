"""Methods: the settings that define an energy surface, and the ASE calculators that evaluate it.

A method file is YAML: `kind: gpaw`, `preset: lcao-fast`, then any override. The method hash covers what defines the
surface and nothing else; what only helps it to converge (mixer, eigensolver, iterations, ranks) is `numerics`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import yaml
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, get_calculator_class
from ase.calculators.emt import parameters as emt_parameters
from ase.calculators.names import builtin as ase_builtin
from ase.calculators.names import names as ase_names
from ase.data import chemical_symbols
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oracle.errors import InputError, nearest
from oracle.identity import hash_of

Numerics: TypeAlias = Mapping[str, Any]


class Method(BaseModel):
    """An energy surface. Make one with `Method.load(path)` or `Method.from_dict({"kind": ...})`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ladder: ClassVar[tuple[Numerics, ...]] = ({},)
    """Numerics to try one after the other when a label does not converge."""
    energy_per_atom_window: ClassVar[tuple[float, float] | None] = (-50.0, 50.0)
    """Energies per atom (eV) outside of it are taken for accidents."""

    @staticmethod
    def load(path: str | Path) -> Method:
        """Read a method from a YAML file.

        Raises:
            InputError: no such file, not YAML, or not a method.
        """
        try:
            data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"method file {path}: {error.strerror}; give a YAML file with 'kind: gpaw'") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"method file {path}: not YAML ({' '.join(str(error).split())})") from error
        return Method.from_dict(data, where=f"method file {path}")

    @staticmethod
    def from_dict(data: Any, where: str = "method") -> Method:
        """Return the method that `data` describes.

        Raises:
            InputError: unknown kind, preset or key (the message names the nearest right one) or a wrong value.
        """
        if not isinstance(data, Mapping):
            raise InputError(f"{where}: expected a mapping with 'kind', got {type(data).__name__}")
        kind = data.get("kind")
        if not isinstance(kind, str) or kind not in _KINDS:
            hint = nearest(str(kind), _KINDS) if kind is not None else f"known: {', '.join(_KINDS)}"
            raise InputError(f"{where}: kind is {kind!r}; {hint}")
        model = _KINDS[kind]
        try:
            return model.model_validate(dict(data))
        except ValidationError as error:
            raise InputError(f"{where}: {_one_line(error, model)}") from error

    @property
    def hash(self) -> str:
        """16 hex digits (the first a letter) over what defines the energy surface."""
        return hash_of(self.surface())

    @property
    def cheap(self) -> bool:
        """True: labelled in the persistent batch worker. False: one process a label."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-like data from which `from_dict` makes the same method."""
        return self.model_dump(mode="json", exclude_none=True)

    def surface(self) -> dict[str, Any]:
        """Return everything that defines the energy surface, as JSON-like data.

        A field that is None is not in it: a later field whose default is None leaves the hashes of old labels alone.
        """
        return self.to_dict()

    def boxed(self, structure: Atoms) -> Atoms:
        """Return the structure in the box in which the method calculates it (a copy without constraints or results)."""
        return Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)

    def missing_species(self, symbols: Iterable[str]) -> list[str]:
        """Symbols for which the method is known to have no parameters; empty where it cannot tell beforehand."""
        return []

    @abstractmethod
    def calculator(self, structure: Atoms, numerics: Numerics | None = None, txt: str | None = None) -> BaseCalculator:
        """Return a fresh ASE calculator for a `boxed` structure; `txt` is the file of its log."""


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
    epsilon: float = Field(default=1.0, gt=0, description="well depth (eV)")
    sigma: float = Field(default=1.0, gt=0, description="zero of the pair energy (Å)")
    rc: float | None = Field(default=None, gt=0, description="cutoff (Å); by default 3 sigma")
    smooth: bool = True

    def surface(self) -> dict[str, Any]:
        return {**self.to_dict(), "rc": self._cutoff}

    @property
    def _cutoff(self) -> float:
        return 3.0 * self.sigma if self.rc is None else self.rc

    def calculator(self, structure: Atoms, numerics: Numerics | None = None, txt: str | None = None) -> BaseCalculator:
        return get_calculator_class("lj")(epsilon=self.epsilon, sigma=self.sigma, rc=self._cutoff, smooth=self.smooth)


_LCAO_FAST = {"mode": "lcao", "basis": "dzp", "h": 0.25, "vacuum": 4.0}
PRESETS: dict[str, dict[str, Any]] = {
    "lcao-fast": _LCAO_FAST,
    "lcao": {**_LCAO_FAST, "h": 0.20, "vacuum": 5.0},
    "pw": {"mode": "pw", "cutoff": 400.0, "vacuum": 5.0},
}


class GpawMethod(Method):
    """Density-functional theory by GPAW: a preset, then overrides.

    k-points go by density along periodic directions, vacuum only along the others; symmetry is off.
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
        _refuse_unknown_species(self.magmoms)
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
        return {**fields, "gpaw": _version("gpaw"), "paw_data": _paw_data()}

    def boxed(self, structure: Atoms) -> Atoms:
        bare = super().boxed(structure)
        cell = bare.cell.array.copy()
        cell[~bare.pbc] = 0.0
        bare.set_cell(cell)
        for axis in range(3):
            if not bare.pbc[axis]:
                bare.center(vacuum=self.vacuum, axis=axis)
        if self.spin:
            _set_moments(bare, self.magmoms)
        return bare

    def calculator(self, structure: Atoms, numerics: Numerics | None = None, txt: str | None = None) -> BaseCalculator:
        parameters: dict[str, Any] = {
            "xc": self.xc,
            "occupations": {"name": "fermi-dirac", "width": self.smearing},
            "symmetry": "off",
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
        if structure.pbc.any():
            parameters["kpts"] = {"density": self.k_density, "gamma": True}
        return get_calculator_class("gpaw")(**parameters, **(numerics or {}))


class AseMethod(Method):
    """Any calculator in ASE's own registry, by its name, with the settings that its constructor takes."""

    kind: Literal["ase"] = "ase"
    calculator_name: str = Field(alias="calculator", description="name in ASE's registry: vasp, espresso, morse, ...")
    settings: dict[str, Any] = Field(default_factory=dict)
    magmoms: dict[str, float] = Field(default_factory=dict, description="initial moment (μB) by species")
    version: str | None = Field(default=None, description="version of the external code: part of the method hash")

    energy_per_atom_window: ClassVar[tuple[float, float] | None] = None

    @model_validator(mode="after")
    def _check(self) -> AseMethod:
        if self.calculator_name not in ase_names:
            raise ValueError(f"calculator is {self.calculator_name!r}; {nearest(self.calculator_name, ase_names)}")
        _refuse_unknown_species(self.magmoms)
        return self

    @property
    def cheap(self) -> bool:
        return self.calculator_name in ase_builtin

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True, by_alias=True)

    def surface(self) -> dict[str, Any]:
        return {**self.to_dict(), "ase": _version("ase")}

    def boxed(self, structure: Atoms) -> Atoms:
        bare = super().boxed(structure)
        if self.magmoms:
            _set_moments(bare, self.magmoms)
        return bare

    def calculator(self, structure: Atoms, numerics: Numerics | None = None, txt: str | None = None) -> BaseCalculator:
        try:
            return get_calculator_class(self.calculator_name)(**self.settings)
        except ImportError as error:
            raise InputError(f"calculator {self.calculator_name!r} is not installed ({error})") from error


_KINDS: dict[str, type[Method]] = {
    "gpaw": GpawMethod,
    "emt": EmtMethod,
    "lj": LennardJonesMethod,
    "ase": AseMethod,
}


def _one_line(error: ValidationError, model: type[Method]) -> str:
    """Say the first thing that is wrong, in one line."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in model.model_fields.items()]
        return f"unknown key {key!r}; {nearest(key, known)}"
    if key == "preset":
        return f"preset is {first['input']!r}; {nearest(str(first['input']), PRESETS)}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key} is {first['input']!r}: {message}" if key else message


def _refuse_unknown_species(magmoms: Mapping[str, float]) -> None:
    for species in magmoms:
        if species not in chemical_symbols[1:]:
            raise ValueError(f"magmoms: {species!r} is not an element")


def _set_moments(structure: Atoms, magmoms: Mapping[str, float]) -> None:
    structure.set_initial_magnetic_moments([magmoms.get(symbol, 0.0) for symbol in structure.symbols])


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(f"{distribution} is not installed: its version is part of the method hash") from error


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
