"""Structures to and from extended XYZ without loss, and structures from any file that ASE reads.

ASE's writer keeps 8 decimals, too few for a uid to come out the same after reading. The frames written here hold every
number in its shortest exact form; any reader of extended XYZ takes them.
"""

from __future__ import annotations

import functools
import itertools
import json
import lzma
import re
import sys
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.db import connect
from ase.io.extxyz import key_val_dict_to_str, key_val_str_to_dict
from ase.io.formats import open_with_compression

from oracle.errors import InputError
from oracle.frame_parser import HASH, endless

_SCALARS = (str, bool, int, float, np.bool_, np.integer, np.floating)
_ORDINARY = re.compile(r"[A-Za-z][A-Za-z0-9_ .,:;+/-]*")
_HEADER_KEYS = ("Properties", "Lattice", "pbc")
_DATABASES: dict[str, dict[str, Any]] = {".db": {}, ".aselmdb": {"readonly": True}}
_COLUMN_KINDS = {"f": "R", "i": "I", "b": "L"}
_COLUMN_TYPES = {"f": float, "i": int, "b": bool}


def frame(structure: Atoms) -> str:
    """Return one frame: species, positions, every other numeric per-atom array, and scalars of `info`.

    Results of a calculator and constraints are not written.
    """
    others = {
        name: array
        for name, array in structure.arrays.items()
        if name not in ("numbers", "positions") and array.dtype.kind in _COLUMN_KINDS and array.ndim <= 2
    }
    columns = {"pos": structure.positions, **others}
    properties = ["species:S:1"]
    for name, array in columns.items():
        properties.append(f"{name}:{_COLUMN_KINDS[array.dtype.kind]}:{array.shape[1] if array.ndim == 2 else 1}")
    header = f'Properties={":".join(properties)} {_info_text(structure.info)} pbc="{_join(structure.pbc)}"'
    if structure.cell.array.any():
        header = f'Lattice="{_join(structure.cell.array.ravel())}" ' + header
    words = [[chemical_symbols[number]] for number in structure.numbers]
    for array in columns.values():
        rows = (array if array.ndim == 2 else array[:, None]).astype(_COLUMN_TYPES[array.dtype.kind]).tolist()
        write = repr if array.dtype.kind == "f" else _number
        for line, row in zip(words, rows, strict=True):
            line += map(write, row)
    return "\n".join([str(len(structure)), header, *map(" ".join, words)]) + "\n"


def frames(structures: Iterable[Atoms]) -> str:
    """Return the text of a file that holds the structures."""
    return "".join(frame(structure) for structure in structures)


def read_structures(path: str | Path) -> list[Atoms]:
    """Read every structure of any file that ASE reads.

    Raises:
        InputError: no such file, no structure in it, or it cannot be read (an unknown element, a torn file).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a file of structures that ASE reads, such as extxyz")
    refuse_endless_xyz(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structures = _read_database(path) if path.suffix in _DATABASES else ase.io.read(path, index=":")
    except Exception as error:  # every reader of ASE has exceptions of its own
        raise InputError(f"{path}: cannot be read as structures ({_explain(error)})") from error
    if not structures:
        raise InputError(f"{path}: holds no structure")
    return list(structures)


def refuse_endless_xyz(path: Path) -> None:
    """Raise an InputError where an XYZ file has fewer atoms or columns than it says; ASE would look for billions.

    Whatever else is wrong is for ASE's reader to say.
    """
    if not {".xyz", ".extxyz"} & set(path.suffixes):
        return
    with open_with_compression(path, "rb") as file:
        try:
            for line in file:
                n_atoms = int(line)
                wide = endless(next(file, b"").decode("utf-8", "replace"))
                n_found = sum(1 for _ in itertools.islice(file, min(n_atoms, sys.maxsize)))
                if wide or n_found < n_atoms:
                    told = "columns without end" if wide else f"a structure of {n_atoms} atoms ends after {n_found}"
                    raise InputError(f"{path}: cannot be read as structures ({told})")
        except InputError:
            raise
        except (ValueError, EOFError, OSError, zlib.error, lzma.LZMAError):
            return


def _read_database(path: Path) -> list[Atoms]:
    """Read a database of ASE with what our export keeps in its rows, else their key-value pairs (ase.io drops both)."""
    structures = []
    for row in connect(path, **_DATABASES[path.suffix]).select():
        structure = row.toatoms()
        structure.info |= row.data.get("info") or row.key_value_pairs
        structures.append(structure)
    return structures


def _explain(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"unknown element or key {error}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _info_text(info: dict[str, Any]) -> str:
    """Write the scalars of `info`, each so that it reads back as what it is."""
    pairs = []
    for key, value in info.items():
        if key in _HEADER_KEYS or not isinstance(value, _SCALARS):
            continue
        pairs.append(_string_text(key, value) if isinstance(value, str) else key_val_dict_to_str({key: value}))
    return " ".join(pairs)


@functools.lru_cache(maxsize=4096)
def _string_text(key: str, value: str) -> str:
    """Write a string plainly where it reads back so, else as JSON."""
    text = key_val_dict_to_str({key: value})
    if _reads_back(text, key, value):
        return text
    quoted = json.dumps(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'{key_val_dict_to_str({key: None})}="_JSON {quoted}"'


def _reads_back(text: str, key: str, value: str) -> bool:
    """Whether the plain form is safe: ordinary words that ASE does not take for a number, a truth value or a list."""
    if not _ORDINARY.fullmatch(value):
        return False
    if HASH.fullmatch(value) and key.isidentifier():
        return True
    found = key_val_str_to_dict(text)[key]
    return isinstance(found, str) and found == value


def _join(values: Iterable[Any]) -> str:
    return " ".join(_number(value) for value in values)


def _number(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "T" if value else "F"
    return str(int(value)) if isinstance(value, int | np.integer) else repr(float(value))
