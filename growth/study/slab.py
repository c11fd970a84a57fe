"""How a structure lies in its cell: cluster, slab or bulk, and the axes of a slab."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms

from growth.errors import InputError

VACUUM = 6.0
"""Å; a gap this wide along a cell vector that repeats makes a slab of a crystal."""


@dataclass(frozen=True)
class SlabAxes:
    """The frame of a slab.

    Attributes:
        normal_axis: number of the cell vector that leaves the slab.
        in_plane: (2, 3), Å, the cell vectors that span the surface.
        normal: (3,), unit vector across them, along the cell vector that leaves the slab.
    """

    normal_axis: int
    in_plane: np.ndarray
    normal: np.ndarray

    @property
    def area(self) -> float:
        """Å², of one side."""
        return float(np.linalg.norm(np.cross(*self.in_plane)))


def kind_of(structure: Atoms) -> Literal["cluster", "slab", "bulk"]:
    """What a structure is by its periodic directions; a gap of `VACUUM` along one of three makes a slab."""
    if not structure.pbc.any():
        return "cluster"
    if structure.pbc.all():
        return "bulk" if gaps(structure).max() < VACUUM else "slab"
    return "slab"


def gaps(structure: Atoms) -> np.ndarray:
    """Widest gap between atoms along each cell vector, (3,), Å, measured across the other two."""
    scaled = np.sort(structure.get_scaled_positions(wrap=True), axis=0)
    steps = np.diff(np.vstack([scaled, scaled[:1] + 1.0]), axis=0)
    return np.asarray(steps.max(axis=0) / np.linalg.norm(structure.cell.reciprocal()[:], axis=1))


def slab_axes(structure: Atoms) -> SlabAxes:
    """The frame of a slab.

    Raises:
        InputError: it is no slab that repeats in two directions.
    """
    repeats = int(structure.pbc.sum())
    if repeats == 3 and kind_of(structure) == "slab":
        axis = int(np.argmax(gaps(structure)))
    elif repeats == 2:
        axis = int(np.argmin(structure.pbc))
    else:
        raise InputError(
            f"structure: expected a slab, which repeats in two directions or has {VACUUM:g} Å of vacuum along one of "
            f"three, got {kind_of(structure)} with pbc {structure.pbc.tolist()}"
        )
    cell = structure.cell.complete()[:]
    in_plane = np.delete(cell, axis, axis=0)
    normal = np.cross(*in_plane)
    normal /= np.linalg.norm(normal)
    return SlabAxes(axis, in_plane, normal * np.sign(normal @ cell[axis]))


def upright(slab: Atoms) -> Atoms:
    """A copy that repeats along its surface only, atoms wrapped into the cell, third cell vector along the normal."""
    frame = slab_axes(slab)
    order = [k for k in range(3) if k != frame.normal_axis]
    height = float(np.linalg.norm(slab.cell[frame.normal_axis])) or 1.0
    copy = Atoms(slab.numbers, slab.positions, cell=[*slab.cell[order], height * frame.normal], pbc=(True, True, False))
    copy.wrap()
    return copy
