"""A committee where few atoms of a crystal move: what stays as it is, is computed once.

Hidden states of step k change on A_k and nowhere else, where

    A_0 = the moving atoms,   A_k = A_(k-1) and its neighbours

so step k looks at the pairs with an end in A_(k-1), adds to the moments that the others bring, and updates A_k. Without
this a piece would have to be 2 T cutoffs thick around the moving atoms for their forces to be right, and all of it be
evaluated every time. Only pairs with a moving atom change their lengths and take part in forces on moving atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.constraints import FixAtoms
from jaxtyping import Float
from torch import Tensor

from .frozen import FrozenNetwork
from .graph import Graph, PairSearch
from .moments import Moments, Pairs

SKIN = 0.5
"""Å; when an atom has moved further, its surroundings are looked at anew."""
KEPT = 32
"""Surroundings remembered beyond those of one call."""


@dataclass(frozen=True)
class _Kept:
    """What a step takes over.

    Attributes:
        pairs: with an end in A_(k-1), but no moving atom.
        moments: on A_k, of all pairs without an end in A_(k-1).
    """

    pairs: Pairs
    moments: Moments


class Surroundings:
    """All that is needed of a structure to follow its moving atoms as long as none goes further than SKIN.

    Atoms are numbered by when they first feel a move: A_0, the rest of A_1, ..., those that never do.

    Args:
        network: frozen.
        cutoff: Å.
        atoms: as it is now.
        species: (n_atoms,) index into the network's species.
        moving: (n_atoms,) mask.
    """

    def __init__(
        self, network: FrozenNetwork, cutoff: float, atoms: Atoms, species: np.ndarray, moving: np.ndarray
    ) -> None:
        self.network, self.cutoff = network, cutoff
        v, w, vectors = PairSearch(cutoff + 2 * SKIN)(atoms)
        touching = moving[v] | moving[w]
        still = ~touching & (np.einsum("ex,ex->e", vectors, vectors) < cutoff**2)
        self.order, self.counts = _shells(moving, len(network.steps), (v, w), touching, still)
        """Atoms in their new order; sizes of A_0 … A_T."""
        place = np.empty(len(atoms), dtype=np.int64)
        place[self.order] = np.arange(len(atoms))
        self.species = torch.from_numpy(species[self.order])
        self.reference = atoms.positions[self.order[: self.counts[0]]]
        self.v, self.w = v[touching], w[touching]
        self.shift = vectors[touching] - (atoms.positions[self.w] - atoms.positions[self.v])
        self.centre, self.neighbour = place[self.v], place[self.w]
        self._remember(atoms.positions, self._pairs(place[v[still]], place[w[still]], vectors[still]))

    def holds(self, positions: np.ndarray) -> bool:
        """Whether no moving atom is further than SKIN from where it was."""
        moved = positions[self.order[: self.counts[0]]] - self.reference
        return bool(np.einsum("nx,nx->n", moved, moved).max(initial=0.0) <= SKIN**2)

    @torch.no_grad()
    def __call__(self, positions: np.ndarray) -> tuple[Float[np.ndarray, "m n"], Float[np.ndarray, "m n 3"]]:
        """Energy of each atom (eV, without E0) and force on each (eV/Å; zero on atoms that do not move).

        Args:
            positions: (n_atoms, 3), Å; only moving atoms are elsewhere than before.
        """
        network, counts = self.network, self.counts
        moved, sums = self._moved(positions, counts[-1])
        states, traces, of_step = [self.states[0]], [], []
        for k, step in enumerate(network.steps):
            pairs, n = _joined(moved, self.kept[k].pairs), counts[k + 1]
            new, trace = step.forward(states[-1][:, :n], pairs, self.kept[k].moments)
            states.append(torch.cat([new, self.states[k + 1][:, n:]], dim=1))
            traces.append(trace)
            of_step.append(pairs)
        energies, by_sums, by_states = network.readout(states, self.sums + sums, self.species[: counts[-1]])
        g_vectors = network.through_sums(by_sums, moved)
        g = by_states[-1]
        for k in reversed(range(len(network.steps))):
            by_pairs = g.new_zeros(len(g), len(of_step[k].centre), 3)
            g = network.steps[k].backward(g, traces[k], of_step[k], by_pairs, first_step=k == 0)
            g_vectors += by_pairs[:, : g_vectors.shape[1]]
            if k:
                g = g[:, : counts[k]] + by_states[k][:, : counts[k]]
        all_energies = self.atom_energies.copy()
        all_energies[:, self.order[: counts[-1]]] = energies.double().numpy()
        local = g_vectors.new_zeros(len(g_vectors), counts[1], 3)
        local.index_add_(1, moved.centre, g_vectors).index_add_(1, moved.neighbour, g_vectors, alpha=-1)
        forces = np.zeros((len(local), len(self.order), 3))
        forces[:, self.order[: counts[0]]] = local[:, : counts[0]].double().numpy()
        return all_energies, forces

    @torch.no_grad()
    def _remember(self, positions: np.ndarray, still: tuple[Pairs, Tensor]) -> None:
        """Evaluate the whole once; keep what pairs between atoms that do not move bring."""
        network, counts = self.network, self.counts
        pairs, sums = still
        moved, moved_sums = self._moved(positions, len(self.order))
        states, self.kept = [network.initial[:, self.species]], []
        for k, step in enumerate(network.steps):
            felt = torch.zeros(len(pairs.centre), dtype=torch.bool)
            if k:
                felt = (pairs.centre < counts[k]) | (pairs.neighbour < counts[k])
            sent = step.sent(states[-1])
            inner = _some(pairs, felt)
            rest = step.moments(sent, _some(pairs, ~felt))
            n = counts[k + 1]
            self.kept.append(_Kept(inner, (rest[0][:, :n].clone(), rest[1][:, :n].clone(), rest[2][:, :n].clone())))
            states.append(step.updated(states[-1], sent, step.moments(sent, _joined(moved, inner), rest))[0])
        energies, _, _ = network.readout(states, sums + moved_sums, self.species)
        self.atom_energies = np.empty(energies.shape)
        self.atom_energies[:, self.order] = energies.double().numpy()
        self.states = [h[:, : counts[-1]].clone() for h in states]
        self.sums = sums[:, : counts[-1]].clone()

    def _moved(self, positions: np.ndarray, n_atoms: int) -> tuple[Pairs, Tensor]:
        """The pairs with a moving atom that are within the cutoff now, and what they bring to the sums of n_atoms."""
        vectors = positions[self.w]
        vectors -= positions[self.v]
        vectors += self.shift
        inside = np.flatnonzero(np.einsum("ex,ex->e", vectors, vectors) < self.cutoff**2)
        return self._pairs(self.centre[inside], self.neighbour[inside], vectors[inside], n_atoms)

    def _pairs(
        self, centre: np.ndarray, neighbour: np.ndarray, vectors: np.ndarray, n_atoms: int | None = None
    ) -> tuple[Pairs, Tensor]:
        """Pairs as the network sees them, and what they bring to the sums of the first n_atoms."""
        species = self.species[:n_atoms]
        graph = Graph(
            species=species,
            structure=torch.zeros_like(species),
            centre=torch.from_numpy(centre),
            neighbour=torch.from_numpy(neighbour),
            vectors=torch.from_numpy(vectors).to(self.network.initial.dtype),
            n_structures=1,
        )
        return self.network.pairs(graph)


def _shells(
    moving: np.ndarray, n_steps: int, pairs: tuple[np.ndarray, np.ndarray], touching: np.ndarray, still: np.ndarray
) -> tuple[np.ndarray, list[int]]:
    """All atoms, those of A_0 first, then what A_1 adds, ..., then the rest; and the sizes of A_0 … A_T."""
    felt, order, counts = moving.copy(), [np.flatnonzero(moving)], [int(moving.sum())]
    for k in range(n_steps):
        v, w = (ends[still if k else touching] for ends in pairs)
        grown = felt.copy()
        grown[w[felt[v]]] = grown[v[felt[w]]] = True
        order.append(np.flatnonzero(grown & ~felt))
        counts.append(int(grown.sum()))
        felt = grown
    return np.concatenate([*order, np.flatnonzero(~felt)]), counts


def _some(pairs: Pairs, chosen: Tensor) -> Pairs:
    """Those of the pairs that a mask (e,) says."""
    of = (pairs.centre[chosen], pairs.neighbour[chosen], pairs.pair[chosen])
    return Pairs(*of, pairs.r[:, chosen].contiguous(), pairs.harmonics[:, chosen].contiguous(), pairs.spacing)


def _joined(first: Pairs, second: Pairs) -> Pairs:
    """Both, in this order."""
    if not len(second.centre):
        return first
    return Pairs(
        torch.cat([first.centre, second.centre]),
        torch.cat([first.neighbour, second.neighbour]),
        torch.cat([first.pair, second.pair]),
        torch.cat([first.r, second.r], dim=1),
        torch.cat([first.harmonics, second.harmonics], dim=1),
        first.spacing,
    )


class LocalEvaluator:
    """Evaluates what atoms that move change, and remembers what the others, under `FixAtoms`, contribute.

    Args:
        network: frozen. cutoff: Å.
    """

    def __init__(self, network: FrozenNetwork, cutoff: float) -> None:
        self.network, self.cutoff = network, cutoff
        self._known: dict[tuple[bytes, ...], Surroundings] = {}

    def __call__(
        self, structures: Sequence[Atoms], species: Sequence[np.ndarray]
    ) -> list[tuple[Float[np.ndarray, "m n"], Float[np.ndarray, "m n 3"]]]:
        """Of each structure the energy of every atom (m, n) and the forces (m, n, 3) on those that may move.

        Args:
            structures: any mix.
            species: of each structure (n_atoms,) index into the network's species.
        """
        found = [self._surroundings(atoms, z)(atoms.positions) for atoms, z in zip(structures, species, strict=True)]
        for key in list(self._known)[: -KEPT - len(structures)]:
            del self._known[key]
        return found

    def _surroundings(self, atoms: Atoms, species: np.ndarray) -> Surroundings:
        """As remembered, or looked at anew; last among those remembered."""
        moving = np.ones(len(atoms), dtype=bool)
        for constraint in atoms.constraints:
            if isinstance(constraint, FixAtoms):
                moving[constraint.index] = False
        parts = (atoms.numbers, moving, atoms.positions[~moving], atoms.cell.array, atoms.pbc)
        key = tuple(part.tobytes() for part in parts)
        known = self._known.pop(key, None)
        if known is None or not known.holds(atoms.positions):
            known = Surroundings(self.network, self.cutoff, atoms, species, moving)
        self._known[key] = known
        return known
