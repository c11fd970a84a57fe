"""Which raw candidates are worth a relaxation: those low in energy as they are, and those that a site head expects low.

Both lists are gone through in turn, and nothing is taken that lies beside what is taken already: two candidates in one
basin end in one site.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from scipy.spatial import cKDTree

from growth.candidates import bond_lengths, with_images
from learner.site_head import N_FEATURES, REACH, SiteHead, describe

APART = 0.4
"""Bond lengths between the candidates that are taken, while there are others."""


@dataclass(frozen=True)
class Relaxations:
    """What became of raw candidates, as the site head learns it.

    Attributes:
        features: (n, f), see `learner.site_head.describe`. energies: (n,), eV, of the crystal with the relaxed adatom
            less that without. displacements: (n,), Å, of the adatom.
    """

    features: np.ndarray
    energies: np.ndarray
    displacements: np.ndarray

    @classmethod
    def none(cls) -> "Relaxations":
        """Of nothing."""
        return cls(np.zeros((0, N_FEATURES)), np.zeros(0), np.zeros(0))

    def __len__(self) -> int:
        return len(self.energies)

    def __add__(self, other: "Relaxations") -> "Relaxations":
        return Relaxations(*(np.concatenate([a, vars(other)[name]]) for name, a in vars(self).items()))

    def last(self, n: int) -> "Relaxations":
        """The latest of them."""
        return Relaxations(*(a[-n:] for a in vars(self).values()))

    def head(self) -> SiteHead:
        """The site head that has learnt them."""
        return SiteHead(self.features, self.energies, self.displacements)


def site_features(substrate: Atoms, species: str, positions: np.ndarray, raw_energies: np.ndarray) -> np.ndarray:
    """Invariants (n, f) of raw positions (n, 3), Å, around each of which the neighbours are seen.

    Args:
        substrate: cluster or slab. species: symbol of the adatom.
        raw_energies: (n,), eV, of the crystal with an unrelaxed adatom there less that without.
    """
    lengths = bond_lengths(substrate, species)
    width = REACH * float(lengths.max())
    points, owner = with_images(substrate, 2 * width)
    like = substrate.numbers == atomic_numbers[species]
    vectors, same = [], []
    for position, near in zip(positions, cKDTree(points).query_ball_point(positions, width), strict=True):
        numbers = np.array(sorted(near), dtype=int)
        scaled = (points[numbers] - position) / lengths[owner[numbers]][:, None]
        inside = np.linalg.norm(scaled, axis=1) < REACH
        vectors.append(scaled[inside])
        same.append(like[owner[numbers]][inside])
    return describe(vectors, same, raw_energies)


def promising(positions: np.ndarray, orders: Sequence[np.ndarray], n: int, apart: float) -> np.ndarray:
    """Numbers of n positions (m, 3): from each order in turn the first that lies `apart` (Å) from all taken so far.

    Where none does any more, the first that are left.
    """
    tree, free = cKDTree(positions), np.ones(len(positions), dtype=bool)
    taken: list[int] = []
    walks = [iter(order) for order in orders]
    while len(taken) < n and free.any():
        for walk in walks:
            number = next((int(k) for k in walk if free[k]), None)
            if number is not None and len(taken) < n:
                taken.append(number)
                free[tree.query_ball_point(positions[number], apart)] = False
    left = [int(k) for k in orders[0] if int(k) not in set(taken)]
    return np.array((taken + left)[:n], dtype=int)
