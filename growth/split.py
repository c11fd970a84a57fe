"""Which labels are trained on and which only validate: a side that follows from the structure and never changes."""

import zlib
from collections.abc import Sequence

from ase import Atoms

from oracle import uid


def is_held_out(structure: Atoms, fraction: float) -> bool:
    """Whether a structure validates; about `fraction` of all do. Single atoms always train: they give E0.

    >>> dimers = [Atoms("Al2", positions=[[0, 0, 0], [0, 0, 2.0 + 0.001 * n]]) for n in range(400)]
    >>> 20 < sum(is_held_out(dimer, 0.1) for dimer in dimers) < 60
    True
    """
    return len(structure) > 1 and zlib.crc32(uid(structure, "").encode()) / 2**32 < fraction


def split(structures: Sequence[Atoms], fraction: float) -> tuple[list[Atoms], list[Atoms]]:
    """Structures to train on and structures to validate with."""
    held = [is_held_out(structure, fraction) for structure in structures]
    return (
        [s for s, out in zip(structures, held, strict=True) if not out],
        [s for s, out in zip(structures, held, strict=True) if out],
    )
