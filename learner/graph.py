"""Structures as one graph: atoms, and pairs of neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float, Int
from torch import Tensor
from vesin import NeighborList

from .errors import InputError

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]
"""v, w (n_pairs,), r_vw (n_pairs, 3) Å."""
Search = Callable[[Atoms], Pairs]


@dataclass(frozen=True)
class Graph:
    """A batch of structures; every pair of neighbours once (a pair of images of one atom too).

    Attributes:
        species: (n_atoms,) index into the network's list of species.
        structure: (n_atoms,) index of the structure.
        centre, neighbour: (n_pairs,) index of atom v, rising, and of its neighbour w.
        vectors: (n_pairs, 3) Å, r_vw = x_w + shift − x_v.
        n_structures: structures in the batch.
    """

    species: Int[Tensor, " n_atoms"]
    structure: Int[Tensor, " n_atoms"]
    centre: Int[Tensor, " n_pairs"]
    neighbour: Int[Tensor, " n_pairs"]
    vectors: Float[Tensor, "n_pairs 3"]
    n_structures: int

    def to(self, device: torch.device) -> Graph:
        """The same graph on a device."""
        return replace(
            self,
            species=self.species.to(device),
            structure=self.structure.to(device),
            centre=self.centre.to(device),
            neighbour=self.neighbour.to(device),
            vectors=self.vectors.to(device),
        )


def species_index(structures: Sequence[Atoms], species: Sequence[int]) -> list[np.ndarray]:
    """Index of every atom's element in `species`, one array a structure.

    Raises:
        InputError: a structure holds an element that is not in `species`, or a position that is not finite.
    """
    lookup = np.full(120, -1)
    lookup[list(species)] = np.arange(len(species))
    out = []
    for number, atoms in enumerate(structures):
        index = lookup[atoms.numbers]
        if (index < 0).any():
            symbol = atoms.symbols[int(np.argmax(index < 0))]
            raise InputError(f"structure {number} holds {symbol}, which the model was not trained on")
        if not np.isfinite(atoms.positions).all():
            raise InputError(f"structure {number} has positions that are not finite")
        out.append(index)
    return out


@dataclass(frozen=True)
class PairSearch:
    """Finds the pairs of neighbours of a structure within a cutoff (Å), each once, or from both its atoms."""

    cutoff: float
    both: bool = False

    def __call__(self, atoms: Atoms) -> Pairs:
        """v, w and r_vw (Å), as arrays; v rises."""
        if len(atoms) == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3))
        periodic = atoms.pbc.any()
        box = np.asarray(atoms.cell.complete()) if periodic else np.zeros((3, 3))
        search = NeighborList(cutoff=self.cutoff, full_list=self.both, sorted=True, n_threads=1)
        centre, neighbour, vectors = search.compute(
            atoms.positions, box, atoms.pbc.tolist() if periodic else False, "ijD"
        )
        return centre.astype(np.int64), neighbour.astype(np.int64), vectors


class SkinSearch:
    """As `PairSearch`, for one structure that moves a little at a time: pairs are sought anew when they might change.

    They are sought within cutoff + skin, and are those within the cutoff as long as no atom has moved by half the skin;
    another cell, other elements or boundary conditions start anew.

    Args:
        cutoff, skin: Å.

    Raises:
        InputError: a negative skin, with which pairs would be missed.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        if not skin >= 0:
            raise InputError(f"skin is {skin} Å, expected 0 or more")
        self.cutoff, self.skin = cutoff, skin
        self._search = PairSearch(cutoff + skin)
        self._sought: Atoms | None = None

    def __call__(self, atoms: Atoms) -> Pairs:
        """v, w and r_vw (Å), as arrays; v rises."""
        if self._sought is None or not self._holds(atoms, self._sought):
            self._sought = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
            self._centre, self._neighbour, vectors = self._search(atoms)
            self._shift = vectors - (atoms.positions[self._neighbour] - atoms.positions[self._centre])
        vectors = atoms.positions[self._neighbour]
        vectors -= atoms.positions[self._centre]
        vectors += self._shift
        near = np.flatnonzero(np.einsum("ex,ex->e", vectors, vectors) < self.cutoff**2)
        return self._centre[near], self._neighbour[near], vectors[near]

    def _holds(self, atoms: Atoms, before: Atoms) -> bool:
        if not np.array_equal(atoms.numbers, before.numbers) or not np.array_equal(atoms.pbc, before.pbc):
            return False
        if not np.array_equal(atoms.cell.array, before.cell.array):
            return False
        moved = atoms.positions - before.positions
        return bool(np.einsum("nx,nx->n", moved, moved).max(initial=0.0) < (self.skin / 2) ** 2)


def build_graph(
    structures: Sequence[Atoms],
    species: Sequence[int],
    cutoff: float,
    dtype: torch.dtype,
    search: Search | None = None,
) -> Graph:
    """Neighbour lists of all structures in one batch.

    Args:
        structures: any mix of sizes and boundary conditions.
        species: atomic numbers, the order of the network's embedding.
        cutoff: Å.
        dtype: of the vectors; they are computed in float64 first.
        search: finds the pairs of a structure within the cutoff; `PairSearch` by default.

    Raises:
        InputError: an element that is not in `species`, or positions that are not finite.
    """
    index = species_index(structures, species)
    search = search or PairSearch(cutoff)
    pairs = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3))), *map(search, structures)]
    sizes = np.array([len(a) for a in structures], dtype=np.int64)
    first = np.repeat(np.cumsum([0, 0, *sizes[:-1]][: len(pairs)]), [len(p[0]) for p in pairs])
    return Graph(
        species=torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *index])),
        structure=torch.from_numpy(np.repeat(np.arange(len(structures)), sizes)),
        centre=torch.from_numpy(np.concatenate([p[0] for p in pairs]) + first),
        neighbour=torch.from_numpy(np.concatenate([p[1] for p in pairs]) + first),
        vectors=torch.from_numpy(np.concatenate([p[2] for p in pairs])).to(dtype),
        n_structures=len(structures),
    )


def join_graphs(graphs: Sequence[Graph]) -> Graph:
    """One batch of several graphs, in their order."""
    atoms = np.cumsum([0, *(len(g.species) for g in graphs)]).tolist()
    structures = np.cumsum([0, *(g.n_structures for g in graphs)]).tolist()
    return Graph(
        species=torch.cat([g.species for g in graphs]),
        structure=torch.cat([g.structure + k for g, k in zip(graphs, structures, strict=False)]),
        centre=torch.cat([g.centre + k for g, k in zip(graphs, atoms, strict=False)]),
        neighbour=torch.cat([g.neighbour + k for g, k in zip(graphs, atoms, strict=False)]),
        vectors=torch.cat([g.vectors for g in graphs]),
        n_structures=structures[-1],
    )


def sum_atoms(x: Float[Tensor, "m n"], structure: Int[Tensor, " n"], n_structures: int) -> Float[Tensor, "m s"]:
    """Sum of a value per atom over each structure."""
    return x.new_zeros(x.shape[0], n_structures).index_add_(1, structure, x)
