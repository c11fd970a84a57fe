"""What order a crystal has: fcc, hcp, bcc or icosahedral surroundings of each atom, layers and roughness of a film.

Common neighbour analysis (Honeycutt & Andersen, J. Phys. Chem. 91, 4950 (1987); Faken & Jónsson, Comput. Mater. Sci. 2,
279 (1994)): a bond is known by how many neighbours its atoms share, how many bonds join these, and how long the longest
chain of such bonds is; an atom by the bonds that it has.
"""

from collections import Counter

import numpy as np
from ase import Atoms

from growth.observables import neighbour_sets, signature

KINDS = ("fcc", "hcp", "bcc", "ico", "surface", "other")
"""`surface`: fewer than 12 neighbours. `other`: as many or more, in no order known."""
PATTERNS = {
    (((4, 2, 1), 12),): "fcc",
    (((4, 2, 1), 6), ((4, 2, 2), 6)): "hcp",
    (((4, 4, 4), 6), ((6, 6, 6), 8)): "bcc",
    (((5, 5, 5), 12),): "ico",
}


class Order:
    """The kind of every atom of a crystal; after a change only what is near it is looked at again.

    Args:
        crystal: cluster or slab. bond_length: Å; default the sum of two bond radii.

    Attributes:
        kinds: for each atom one of `KINDS`.
    """

    def __init__(self, crystal: Atoms, bond_length: float | None = None) -> None:
        self.bond_length = bond_length
        self.kinds: list[str] = []
        self.update(crystal)

    def update(self, crystal: Atoms, changed: np.ndarray | None = None) -> None:
        """Look at a crystal.

        Args:
            crystal: with the same atoms as before and perhaps more, last. changed: (n,) numbers of those that moved or
                are new; default all.
        """
        neighbours = neighbour_sets(crystal, self.bond_length)
        before = len(self.kinds)
        self.kinds += ["other"] * (len(crystal) - before)
        stale = set(range(len(crystal)))
        if changed is not None:
            near = set(changed.tolist()) | set(range(before, len(crystal)))
            moved = near | {b for a in near for b in neighbours[a]} | self._were_near(near)
            stale = moved | {b for a in moved for b in neighbours[a]}
        self._neighbours = neighbours
        for atom in stale:
            self.kinds[atom] = _kind(atom, neighbours)

    def _were_near(self, atoms: set[int]) -> set[int]:
        """Neighbours at the last look."""
        known = getattr(self, "_neighbours", [])
        return {b for a in atoms if a < len(known) for b in known[a]}

    @property
    def fractions(self) -> dict[str, float]:
        """Share of the atoms of each kind."""
        counts = Counter(self.kinds)
        return {kind: counts[kind] / max(len(self.kinds), 1) for kind in KINDS}

    @property
    def stacking_faults(self) -> float:
        """Share of hcp atoms among those that are fcc or hcp; zero where there are none."""
        counts = Counter(self.kinds)
        return counts["hcp"] / max(counts["fcc"] + counts["hcp"], 1)


def _kind(atom: int, neighbours: list[set[int]]) -> str:
    around = neighbours[atom]
    if len(around) < 12:
        return "surface"
    if len(around) > 14:
        return "other"
    counts = Counter(signature(atom, other, neighbours) for other in around)
    return PATTERNS.get(tuple(sorted(counts.items())), "other")


def layers(crystal: Atoms, n_substrate: int, layer_height: float) -> np.ndarray:
    """Coverage of each layer that grew on a slab, in atoms of the substrate's uppermost layer, (n_layers,).

    Args:
        crystal: slab with its normal along z, the substrate's atoms first. n_substrate: how many these are.
        layer_height: Å.
    """
    z = crystal.positions[:, 2]
    top = z[:n_substrate].max()
    n_sites = int((z[:n_substrate] > top - 0.5 * layer_height).sum())
    level = np.round((z[n_substrate:] - top) / layer_height).astype(int)
    return np.asarray(np.bincount(np.maximum(level, 1) - 1) / n_sites) if len(level) else np.zeros(0)


def roughness(coverages: np.ndarray) -> float:
    """Root mean square height of a surface in layers, from the coverage of each layer (n_layers,).

    A column is as high as the last layer that covers it: the share h high is θ_h − θ_{h+1} (no overhangs counted).
    """
    theta = np.minimum(np.concatenate([[1.0], coverages, [0.0]]), 1.0)
    shares = np.maximum(theta[:-1] - theta[1:], 0.0)
    heights = np.arange(len(shares))
    mean = (shares * heights).sum() / shares.sum()
    return float(np.sqrt((shares * (heights - mean) ** 2).sum() / shares.sum()))
