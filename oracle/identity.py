"""The identity of a labelled structure: which atoms, where, in which box, on which energy surface."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

RESOLUTION = 1e-5  # Å

# Coordinates are counted in cells of RESOLUTION whose borders lie at an irrational offset: hand-written coordinates
# (multiples of 1e-5 Å, halves and quarters of them) then never sit on a border, where rounding noise would decide.
_OFFSET = 1.0 / np.sqrt(7.0)


def letter_first(digest: str) -> str:
    """Turn the first hex digit into a letter a-f, so that extended XYZ never reads the hash as a number.

    >>> letter_first("12e45678"), letter_first("f00d")
    ('b2e45678', 'd00d')
    """
    return "abcdef"[int(digest[0], 16) % 6] + digest[1:]


def hash_of(data: Any, digits: int = 16) -> str:
    """Return a stable hash of JSON-like data: `digits` hex digits, the first a letter."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return letter_first(hashlib.sha256(text.encode()).hexdigest()[:digits])


def uid(structure: Atoms, method_hash: str) -> str:
    """Return the identity of the label of `structure` by the method: 24 hex digits, the first a letter.

    Hashed are the species in order, the positions (relative to the centroid when no direction is periodic), the cell
    and the periodic directions, all lengths rounded to 1e-5 Å, and the method hash.

    Raises:
        ValueError: a position or cell entry is not finite.
    """
    positions = structure.get_positions()
    if len(structure) and not structure.pbc.any():
        positions = positions - positions.mean(axis=0)
    digest = hashlib.sha256()
    digest.update(np.asarray(structure.numbers, dtype="<i8").tobytes())
    digest.update(_counted(positions).tobytes())
    digest.update(_counted(structure.cell.array).tobytes())
    digest.update(np.asarray(structure.pbc, dtype="u1").tobytes())
    digest.update(method_hash.encode())
    return letter_first(digest.hexdigest()[:24])


def _counted(lengths: Float[np.ndarray, "rows 3"]) -> Int[np.ndarray, "rows 3"]:
    """Return lengths (Å) as whole numbers of RESOLUTION: integers know neither -0.0 nor rounding noise."""
    if not np.isfinite(lengths).all():
        raise ValueError("a structure with positions or a cell that are not finite has no uid")
    return np.floor(lengths / RESOLUTION + _OFFSET).astype("<i8")
