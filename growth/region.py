"""A piece of a crystal in which what happens is what would happen in the whole, at a cost that size does not change.

An atom's force depends on the atoms within the energy model's reach. So around the atoms that may move a shell of that
thickness, held still, makes their forces, and every energy difference between their positions, those of the whole
crystal. Sum of forces along a path equals energy difference: the shell's own energies need not be right.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from growth.periodic import narrowest, nearest_images
from growth.relax import movable_atoms


@dataclass(frozen=True)
class Region:
    """A piece cut from a crystal.

    Attributes:
        structure: the piece, around the centres where these are; atoms beyond `radius` and those held in the crystal
            are under `FixAtoms`.
        atoms: (n,) number in the crystal of each of its atoms.
    """

    structure: Atoms
    atoms: np.ndarray

    def index(self, atom: int) -> int:
        """Number in the piece of an atom of the crystal."""
        return int(np.flatnonzero(self.atoms == atom)[0])

    def put_back(self, crystal: Atoms, changed: Atoms) -> Atoms:
        """The crystal with the atoms of a changed piece where they now are; atoms added to the piece, last, are not."""
        result = crystal.copy()
        result.positions[self.atoms] += changed.positions[: len(self.atoms)] - self.structure.positions
        return result


def cut(crystal: Atoms, centres: np.ndarray, radius: float, reach: float) -> Region:
    """The piece around some places.

    Args:
        crystal: cluster or slab. centres: (n, 3), Å.
        radius: Å; atoms within it of a centre may move.
        reach: Å, of the energy model.

    Returns:
        The whole crystal (with the same atoms held) where a piece would not be smaller, or would meet its own image.
    """
    nearest, towards = np.full(len(crystal), np.inf), np.zeros((len(crystal), 3))
    whose = np.zeros(len(crystal), dtype=int)
    for k, centre in enumerate(centres):
        vectors = nearest_images(crystal.positions - centre, crystal)
        distances = np.sqrt(np.einsum("nx,nx->n", vectors, vectors))
        closer = distances < nearest
        nearest[closer], towards[closer], whose[closer] = distances[closer], vectors[closer], k
    held = (nearest > radius) | ~movable_atoms(crystal)
    inside = nearest <= radius + reach
    meets_itself = _width(crystal, centres) + 2 * (radius + reach) > narrowest(crystal)
    atoms = np.arange(len(crystal)) if meets_itself or inside.all() else np.flatnonzero(inside)
    piece = crystal[atoms]
    piece.info, piece.constraints = {}, [FixAtoms(np.flatnonzero(held[atoms]))]
    if len(atoms) < len(crystal):
        anchor = centres[0] + nearest_images(centres - centres[0], crystal)
        piece.positions = anchor[whose[atoms]] + towards[atoms]
        piece.pbc = False
    return Region(piece, atoms)


def _width(crystal: Atoms, centres: np.ndarray) -> float:
    """How far the centres lie apart, Å."""
    return float(np.linalg.norm(nearest_images(centres - centres[0], crystal), axis=1).max() * 2)
