"""Networks as the oracle's method: an earlier campaign's surrogate, or a foundation model, teaches or stands in for it.

They are defined here, where both houses meet, so that `oracle` imports no learner; importing this module makes the
kinds `model` and `mace` known to `oracle.Method`.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.data import chemical_symbols
from pydantic import Field, field_validator

import learner  # its names are loaded when first used, and torch with them
from growth.damage import model_problem
from growth.errors import InputError
from oracle import Method
from oracle.method import Numerics, version_of

DEFINING = ("architecture", "network", "species", "channels", "e0", "weights_sha256")
"""Entries of a model's header that say what surface it is."""


class ModelMethod(Method):
    """The mean of a trained committee: `{kind: model, path: MODEL}`; hashed by what its files say, not by the path."""

    kind: Literal["model"] = "model"
    path: Path = Field(description="model directory: model.json and model.safetensors")

    home: ClassVar[str] = "growth.teacher"
    energy_per_atom_window: ClassVar[tuple[float, float] | None] = None

    @field_validator("path")
    @classmethod
    def _there(cls, path: Path) -> Path:
        path = path.expanduser().absolute()
        if not (path / "model.json").is_file():
            raise ValueError("no model there; give a model directory (model.json, model.safetensors)")
        if problem := model_problem(path):
            raise ValueError(problem)
        _header(path)
        return path

    def surface(self) -> dict[str, Any]:
        header = _header(self.path)
        return {"kind": self.kind, **{name: header.get(name) for name in DEFINING}}

    def missing_species(self, symbols: Iterable[str]) -> list[str]:
        return sorted(set(symbols) - {chemical_symbols[z] for z in _header(self.path)["species"]})

    def calculator(self, structure: Atoms, numerics: Numerics | None = None, txt: str | None = None) -> BaseCalculator:
        return learner.KosselCalculator(_committee(self.path, str(_header(self.path)["weights_sha256"])))


UNGUARDED = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
"""Makes torch read pickles that may do anything; nothing but a network that was asked for is read so."""


class MaceMethod(Method):
    """A MACE network, a foundation model or one's own: `{kind: mace, path: FILE.model}`; hashed by what the file holds.

    Such a file is a pickle, which may do anything when it is read: take it from whom you trust. In float64 on the CPU.
    """

    kind: Literal["mace"] = "mace"
    path: Path = Field(description="file of a MACE network, as mace-torch saves it")
    head: str | None = Field(default=None, description="of a network with several, the one to ask")

    home: ClassVar[str] = "growth.teacher"
    energy_per_atom_window: ClassVar[tuple[float, float] | None] = None

    @field_validator("path")
    @classmethod
    def _there(cls, path: Path) -> Path:
        path = path.expanduser().absolute()
        if not path.is_file():
            raise ValueError("no such file; give that of a MACE network")
        return path

    def surface(self) -> dict[str, Any]:
        told = {"kind": self.kind, "sha256": _sha256(self.path, self.path.stat().st_mtime_ns), "head": self.head}
        return {key: value for key, value in told.items() if value is not None} | {"mace": version_of("mace-torch")}

    def calculator(self, structure: Atoms, numerics: Numerics | None = None, txt: str | None = None) -> BaseCalculator:
        return _mace(self.path, self.head)


@lru_cache(maxsize=2)
def _sha256(path: Path, changed: int) -> str:
    """Of a file as it was when last changed, in ns."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1)
def _mace(path: Path, head: str | None) -> BaseCalculator:
    """A network, loaded once in a process.

    Raises:
        InputError: it has no such head, for which mace would take another one.
    """
    before = os.environ.get(UNGUARDED)
    try:
        from mace.calculators import MACECalculator  # sets UNGUARDED, under which it alone can read its files

        calculator = MACECalculator(model_paths=str(path), device="cpu", default_dtype="float64", head=head)
    finally:
        os.environ.pop(UNGUARDED, None)
        if before is not None:
            os.environ[UNGUARDED] = before
    if head is not None and head not in calculator.available_heads:
        raise InputError(f"head is {head!r}; {path.name} has {', '.join(calculator.available_heads)}")
    return calculator


def _header(path: Path) -> dict[str, Any]:
    """What `model.json` says.

    Raises:
        ValueError: it is none.
    """
    try:
        header = json.loads((path / "model.json").read_bytes())
        known = {chemical_symbols[z] for z in header["species"]}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"model.json there is no header of a model ({type(error).__name__}: {error})") from error
    if not known or not header.get("weights_sha256"):
        raise ValueError("model.json there names no species, or not the hash of its weights")
    return dict(header)


@lru_cache(maxsize=2)
def _committee(path: Path, weights_sha256: str) -> "learner.Committee":
    """A committee, loaded once in the process that labels."""
    return learner.Committee.load(path)


Method.kinds |= {"model": ModelMethod, "mace": MaceMethod}
