"""Reading the frames of extended XYZ that `oracle.extxyz` writes, some five times as fast as ASE does.

Anything out of the ordinary in a frame goes to ASE's reader, whose answer is the same: a test holds both together.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.data import atomic_numbers
from ase.io.extxyz import key_val_str_to_dict

_PAIR = re.compile(r'([A-Za-z_][A-Za-z0-9_-]*)=("(?:[^"\\]|\\.)*"|[^\s"\\\'{}\[\]=]+)(?: +|$)')
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+(?:e[-+]?[0-9]+)?")
HASH = re.compile(r"[a-f][0-9a-f]{15,}")  # a word, and never one that reads as a number
_JSON_STRING = re.compile(r'"_JSON (\\".*\\")"')
_ESCAPED = re.compile(r"\\(.)")
_ENDLESS = re.compile(r"""Properties=["']?[^\s"']*:[0-9]{5}""")
_KINDS: dict[str, type] = {"R": float, "I": int, "L": bool}
_PLACED_BY_ASE = {*all_properties, "move_mask", "Z", "charge", "positions", "numbers", "symbols", "initial_charges"}
"""Columns and keys that ASE's reader puts elsewhere than into `arrays` and `info` under their own name."""


class Span(NamedTuple):
    """One frame in a file: what it says of itself, and its bytes from `start` to `stop`."""

    uid: str
    method_hash: str
    start: int
    stop: int


def parse_frames(text: str) -> list[Atoms]:
    """Return the structures of a text that `oracle.extxyz.frames` made.

    Raises:
        ValueError: it did not make such a text.
    """
    lines = text.split("\n")
    return [_parse(lines[first:last]) for first, last in _frame_lines(lines)]


def index_frames(content: bytes) -> list[Span]:
    """Return where the frames of a file's content are, without reading their atoms. Absent identities are ""."""
    lines = content.split(b"\n")
    offsets = [0, *itertools.accumulate(len(line) + 1 for line in lines)]
    spans = []
    for first, last in _frame_lines(lines):
        comment = lines[first + 1].decode("utf-8")
        pairs = _pairs(comment)
        if pairs is None:
            with _as_value_error():
                pairs = key_val_str_to_dict(comment)
        uid, method_hash = (str(pairs.get(key, "")).strip('"') for key in ("uid", "method_hash"))
        spans.append(Span(uid, method_hash, offsets[first], offsets[last]))
    return spans


def _frame_lines(lines: list[Any]) -> Iterator[tuple[int, int]]:
    """Yield the first line of each frame and the one after its last; `lines` are str or bytes."""
    first = 0
    while first < len(lines) and lines[first].strip():
        last = first + 2 + int(lines[first])
        if last < first + 2:
            raise ValueError(f"a frame of {last - first - 2} atoms")
        if last > len(lines):
            raise ValueError(f"a frame of {last - first - 2} atoms ends after {len(lines) - first - 2}")
        yield first, last
        first = last


def _parse(lines: list[str]) -> Atoms:
    """Return the structure of one frame's lines."""
    with _as_value_error():
        structure = _parse_plain(lines)
        if structure is None:
            if endless(lines[1]):
                raise ValueError("more columns than a file can have")
            return next(iter(ase.io.iread(io.StringIO("\n".join(lines) + "\n"), index=":", format="extxyz")))
        return structure


def endless(comment: str) -> bool:
    """Whether a comment line speaks of so many columns that ASE's reader would not come to an end."""
    return _ENDLESS.search(comment) is not None


@contextlib.contextmanager
def _as_value_error() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # ASE's parsers have exceptions of many kinds
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _parse_plain(lines: list[str]) -> Atoms | None:
    """Return the structure of an ordinary frame, or None where something is out of the ordinary."""
    pairs = _pairs(lines[1])
    if pairs is None:
        return None
    columns = _columns(pairs.pop("Properties", ""))
    pbc = pairs.pop("pbc", "").strip('"').split()
    lattice = pairs.pop("Lattice", None)
    if columns is None or len(pbc) != 3 or (lattice is not None and lattice.count(" ") != 8):
        return None
    if not _PLACED_BY_ASE.isdisjoint(pairs):
        return None
    rows = [line.split() for line in lines[2:]]
    if any(len(row) != columns[-1][3] for row in rows) or any(row[0] not in atomic_numbers for row in rows):
        return None
    structure = Atoms(
        numbers=[atomic_numbers[row[0]] for row in rows],
        cell=None if lattice is None else np.array(lattice.strip('"').split(), dtype=float).reshape(3, 3),
        pbc=[flag == "T" for flag in pbc],
        info={key: _value(key, raw) for key, raw in pairs.items()},
    )
    for name, kind, start, stop in columns[1:]:
        structure.arrays["positions" if name == "pos" else name] = _array(rows, kind, start, stop)
    return structure


def _pairs(comment: str) -> dict[str, str] | None:
    """Return the raw values of a comment line by key, or None where it needs ASE's parser."""
    pairs = {}
    end = 0
    for match in _PAIR.finditer(comment):
        if match.start() != end:
            return None
        end = match.end()
        pairs[match[1]] = match[2]
    return pairs if end == len(comment) else None


@functools.lru_cache(maxsize=256)
def _columns(properties: str) -> tuple[tuple[str, str, int, int], ...] | None:
    """Return (name, kind, first column, column after the last) of `Properties`; None where it needs ASE's parser."""
    words = properties.split(":")
    if words[:6] != ["species", "S", "1", "pos", "R", "3"] or len(words) % 3:
        return None
    columns: list[tuple[str, str, int, int]] = []
    start = 0
    for name, kind, width in zip(words[::3], words[1::3], words[2::3], strict=True):
        if name in _PLACED_BY_ASE or (columns and kind not in _KINDS):
            return None
        columns.append((name, kind, start, start + int(width)))
        start += int(width)
    return tuple(columns)


def _array(rows: list[list[str]], kind: str, start: int, stop: int) -> np.ndarray:
    """Return columns of the rows as an array, (n_atoms,) for one column and (n_atoms, width) for several."""
    if kind == "L":
        flat: list[Any] = [word in ("T", "True") for row in rows for word in row[start:stop]]
    else:
        flat = [_KINDS[kind](word) for row in rows for word in row[start:stop]]
    array: np.ndarray = np.array(flat, dtype=_KINDS[kind])
    return array if stop - start == 1 else array.reshape(len(rows), stop - start)


def _value(key: str, raw: str) -> Any:
    """Return what ASE makes of a value; numbers with a point, hashes and quoted strings need no asking."""
    if HASH.fullmatch(raw):
        return raw
    if key.lower() == "uid":  # never a number to ASE
        return _ESCAPED.sub(r"\1", raw[1:-1]) if raw.startswith('"') else raw
    if _FLOAT.fullmatch(raw):
        return np.float64(raw)
    quoted = _JSON_STRING.fullmatch(raw)
    if quoted is not None:
        return json.loads(_ESCAPED.sub(r"\1", quoted[1]))
    return copy.copy(_value_by_ase(raw))


@functools.lru_cache(maxsize=4096)
def _value_by_ase(raw: str) -> Any:
    return key_val_str_to_dict(f"key={raw}")["key"]
