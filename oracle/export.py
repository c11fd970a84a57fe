"""Exports: labelled structures in one file that other programs read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.db import connect

from oracle.durable import whole_file
from oracle.errors import InputError
from oracle.extxyz import frame

_NOT_KEY_VALUES = ("REF_energy", "REF_free_energy")


def export(structures: Iterable[Atoms], path: Path) -> None:
    """Write labelled structures to `.extxyz`, `.db` or `.aselmdb`; an existing file is replaced when the new is whole.

    Raises:
        InputError: another ending, the package for it is not installed, or the folder cannot be written.
    """
    writers = {".extxyz": _to_extxyz, ".xyz": _to_extxyz, ".db": _to_database, ".aselmdb": _to_database}
    if path.suffix not in writers:
        raise InputError(f"export to {path}: ending {path.suffix!r} is not known; use .extxyz, .db or .aselmdb")
    if not path.parent.is_dir():
        raise InputError(f"export to {path}: the folder {path.parent} does not exist")
    try:
        writers[path.suffix](structures, path)
    except ModuleNotFoundError as error:
        raise InputError(f"export to {path}: {error.name} is not installed; pip install 'kossel[lmdb]'") from error
    except OSError as error:
        raise InputError(f"export to {path}: {error.strerror or error}") from error


def plain_frame(structure: Atoms) -> str:
    """Return a frame with REF_ keys, and the same as energy, free_energy and forces, which ASE takes for results."""
    plain = structure.copy()
    plain.info |= {"energy": plain.info["REF_energy"], "free_energy": plain.info["REF_free_energy"]}
    if "REF_forces" in plain.arrays:
        plain.arrays["forces"] = plain.arrays["REF_forces"]
    return frame(plain)


def _to_extxyz(structures: Iterable[Atoms], path: Path) -> None:
    with whole_file(path) as file:
        file.writelines(map(plain_frame, structures))


def _to_database(structures: Iterable[Atoms], path: Path) -> None:
    """Write results as ASE's own columns, the strings of `info` as key-value pairs, and all of it as data."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / f"export{path.suffix}"
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


def _looks_like_number(value: Any) -> bool:
    """ase.db refuses strings that read as numbers."""
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True
