"""Structures as one padded graph: each atom with a row of neighbours, over which the paper's messages are summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float, Int
from torch import Tensor

from learner.graph import PairSearch, species_index

FAR = 1e3  # Å, the length of the vector in an empty slot: beyond every cutoff


@dataclass(frozen=True)
class Graph:
    """A batch of structures. An atom has `n_neighbours` slots; those beyond its true neighbours are empty.

    Attributes:
        species: (n_atoms,) index into the network's list of species.
        structure: (n_atoms,) index of the structure.
        neighbours: (n_atoms, n_neighbours) index of atom w in each slot of atom v; v itself in an empty slot.
        vectors: (n_atoms, n_neighbours, 3) Å, r_vw = x_w + shift − x_v; (FAR, 0, 0) in an empty slot.
        n_structures: structures in the batch.
    """

    species: Int[Tensor, " n_atoms"]
    structure: Int[Tensor, " n_atoms"]
    neighbours: Int[Tensor, "n_atoms n_neighbours"]
    vectors: Float[Tensor, "n_atoms n_neighbours 3"]
    n_structures: int

    def to(self, device: torch.device) -> Graph:
        """The same on another device."""
        species, structure = self.species.to(device), self.structure.to(device)
        return Graph(species, structure, self.neighbours.to(device), self.vectors.to(device), self.n_structures)


def build_graph(structures: Sequence[Atoms], species: Sequence[int], cutoff: float, dtype: torch.dtype) -> Graph:
    """Neighbour lists of all structures in one padded batch.

    Args:
        structures: any mix of sizes and boundary conditions.
        species: atomic numbers, the order of the network's embedding.
        cutoff: Å.
        dtype: of the vectors; they are computed in float64 first.

    Raises:
        InputError: an element that is not in `species`, or positions that are not finite.
    """
    index = species_index(structures, species)
    sizes = np.array([len(a) for a in structures], dtype=np.int64)
    first = np.concatenate([[0], np.cumsum(sizes)])
    edges = [PairSearch(cutoff, both=True)(a) for a in structures if len(a)]
    offsets = [first[k] for k, a in enumerate(structures) if len(a)]
    i = np.concatenate([e[0] + o for e, o in zip(edges, offsets, strict=True)]) if edges else np.zeros(0, np.int64)
    j = np.concatenate([e[1] + o for e, o in zip(edges, offsets, strict=True)]) if edges else np.zeros(0, np.int64)
    n_atoms = int(first[-1])
    count = np.bincount(i, minlength=n_atoms)
    width = max(1, int(count.max(initial=0)))
    slot = np.arange(len(i)) - (np.cumsum(count) - count)[i]
    neighbours = np.repeat(np.arange(n_atoms)[:, None], width, axis=1)
    vectors = np.zeros((n_atoms, width, 3))
    vectors[:, :, 0] = FAR
    if len(i):
        neighbours[i, slot] = j
        vectors[i, slot] = np.concatenate([e[2] for e in edges])
    return Graph(
        species=torch.from_numpy(np.concatenate(index) if index else np.zeros(0, np.int64)),
        structure=torch.from_numpy(np.repeat(np.arange(len(structures)), sizes)),
        neighbours=torch.from_numpy(neighbours),
        vectors=torch.from_numpy(vectors).to(dtype),
        n_structures=len(structures),
    )


def join_graphs(graphs: Sequence[Graph]) -> Graph:
    """One batch of several graphs, by tensor operations only; slots are padded to the widest."""
    width = max(g.neighbours.shape[1] for g in graphs)
    n_atoms = sum(g.neighbours.shape[0] for g in graphs)
    neighbours = torch.arange(n_atoms)[:, None].repeat(1, width)
    vectors = torch.zeros(n_atoms, width, 3, dtype=graphs[0].vectors.dtype)
    vectors[..., 0] = FAR
    structure = torch.empty(n_atoms, dtype=torch.int64)
    atom, number = 0, 0
    for g in graphs:
        n, w = g.neighbours.shape
        neighbours[atom : atom + n, :w] = g.neighbours + atom
        vectors[atom : atom + n, :w] = g.vectors
        structure[atom : atom + n] = g.structure + number
        atom, number = atom + n, number + g.n_structures
    return Graph(torch.cat([g.species for g in graphs]), structure, neighbours, vectors, number)


def sum_atoms(x: Float[Tensor, "m n"], graph: Graph) -> Float[Tensor, "m s"]:
    """Sum of a value per atom over each structure."""
    return x.new_zeros(x.shape[0], graph.n_structures).index_add_(1, graph.structure, x)
