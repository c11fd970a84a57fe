"""What a method is: the settings that define an energy surface, their hash, and the ASE calculator that evaluates it.

A method file is YAML: `kind: gpaw`, `preset: lcao-fast`, then any override. The method hash covers what defines the
surface and nothing else; what only helps it to converge (mixer, eigensolver, iterations, ranks) is `numerics`.
"""

from __future__ import annotations

import importlib.metadata
import typing
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.data import chemical_symbols
from pydantic import BaseModel, ConfigDict, ValidationError

from oracle.errors import InputError, nearest
from oracle.identity import hash_of
from oracle.plain_yaml import read_yaml

Numerics: TypeAlias = Mapping[str, Any]


class Method(BaseModel):
    """An energy surface. Make one with `Method.load(path)` or `Method.from_dict({"kind": ...})`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kinds: ClassVar[dict[str, type[Method]]] = {}
    """Every kind by its name; `oracle.methods` fills it."""
    home: ClassVar[str] = "oracle.methods"
    """The module whose import makes the kind known: what a process that labels imports."""
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
        data = read_yaml(path, "method file", "give a YAML file with 'kind: gpaw'")
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
        if not isinstance(kind, str) or kind not in Method.kinds:
            hint = nearest(str(kind), Method.kinds) if kind is not None else f"known: {', '.join(Method.kinds)}"
            raise InputError(f"{where}: kind is {kind!r}; {hint}")
        model = Method.kinds[kind]
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

    def refusal(self, structure: Atoms) -> str | None:
        """Say why the method does not take a structure of this kind (its periodicity), or None."""
        return None

    def cannot(self, structure: Atoms) -> str | None:
        """Say why the method cannot label a structure, its species included, or None."""
        missing = self.missing_species(structure.symbols)
        unknown = f"the method has no parameters for {', '.join(missing)}" if missing else None
        return self.refusal(structure) or unknown

    @abstractmethod
    def calculator(self, structure: Atoms, numerics: Numerics | None = None, txt: str | None = None) -> BaseCalculator:
        """Return a fresh ASE calculator for a `boxed` structure; `txt` is the file of its log."""


def _one_line(error: ValidationError, model: type[Method]) -> str:
    """Say the first thing that is wrong, in one line."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in model.model_fields.items()]
        return f"unknown key {key!r}; {nearest(key, known)}"
    if first["type"] == "literal_error":
        return f"{key} is {first['input']!r}; {nearest(str(first['input']), _choices(model, key))}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key} is {first['input']!r}: {message}" if key else message


def _choices(model: type[Method], key: str) -> list[str]:
    return [str(choice) for choice in typing.get_args(model.model_fields[key].annotation)]


def refuse_unknown_species(magmoms: Mapping[str, float]) -> None:
    """Raise a ValueError where a key of initial moments is no element."""
    for species in magmoms:
        if species not in chemical_symbols[1:]:
            raise ValueError(f"magmoms: {species!r} is not an element")


def set_moments(structure: Atoms, magmoms: Mapping[str, float]) -> None:
    """Give each atom the initial moment (μB) of its species, 0 where none is given."""
    structure.set_initial_magnetic_moments([magmoms.get(symbol, 0.0) for symbol in structure.symbols])


def version_of(distribution: str) -> str:
    """Return the version of an installed package, for the method hash.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            f"{distribution} is not installed, and its version is part of the method hash; "
            f"pip install 'kossel[{distribution}]'"
        ) from error
