"""Exports: labelled structures in one file that other programs read."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from ase.db import connect

from oracle.durable import write_whole
from oracle.errors import InputError
from oracle.extxyz import frames

_NOT_KEY_VALUES = ("REF_energy", "REF_free_energy")


def export(structures: Sequence[Atoms], path: Path) -> None:
    """Write labelled structures to `.extxyz` or `.db`; an existing file is replaced when the new one is whole.

    Raises:
        InputError: another ending, or the folder cannot be written.
    """
    writers = {".extxyz": _to_extxyz, ".xyz": _to_extxyz, ".db": _to_db}
    if path.suffix not in writers:
        raise InputError(f"export to {path}: ending {path.suffix!r} is not known; use .extxyz or .db")
    if not path.parent.is_dir():
        raise InputError(f"export to {path}: the folder {path.parent} does not exist")
    try:
        writers[path.suffix](structures, path)
    except OSError as error:
        raise InputError(f"export to {path}: {error.strerror or error}") from error


def _to_extxyz(structures: Sequence[Atoms], path: Path) -> None:
    """Write REF_ keys, and the same as energy, free_energy and forces, which ASE takes for results."""
    plain = []
    for structure in structures:
        copy = structure.copy()
        copy.info |= {"energy": copy.info["REF_energy"], "free_energy": copy.info["REF_free_energy"]}
        if "REF_forces" in copy.arrays:
            copy.arrays["forces"] = copy.arrays["REF_forces"]
        plain.append(copy)
    write_whole(path, frames(plain))


def _to_db(structures: Sequence[Atoms], path: Path) -> None:
    """Write results as ASE's own columns and the strings of `info` as key-value pairs."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / "export.db"
        with connect(temporary) as database:
            for structure in structures:
                bare = structure.copy()
                bare.info.clear()
                bare.calc = structure.calc
                pairs = {
                    key: value
                    for key, value in structure.info.items()
                    if key not in _NOT_KEY_VALUES and isinstance(value, str | int | float) and value != ""
                }
                text = {key: value for key, value in pairs.items() if not _looks_like_number(value)}
                database.write(bare, key_value_pairs=text, data={"info": pairs})
        temporary.replace(path)


def _looks_like_number(value: object) -> bool:
    """ase.db refuses strings that read as numbers."""
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True
