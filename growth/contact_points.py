"""Contact points of a cluster of one element: where one more atom would touch three or two of its atoms.

The dynamic lattice of Shao, Cheng & Cai, J. Comput. Chem. 25, 1693 (2004): the vacant places that a cluster itself
defines, found anew as atoms are placed. `candidates.py` finds adatom sites on any structure, symmetric copies merged,
once an event; this is its quick relative for searches that fill many places of thousands of small open clusters.
"""

import numpy as np
from scipy.spatial.distance import cdist

NEAR = 1.6
"""Touched atoms lie within this many bond lengths of one another."""
OVERLAP = 0.85
"""Fraction of the bond length below which two atoms overlap."""
SOFTNESS = 0.3
"""Bond lengths beyond the first over which a contact fades to 1/e."""


def closeness(distances: np.ndarray) -> np.ndarray:
    """How much of a contact each distance is, between 0 and 1; distances in bond lengths."""
    return np.asarray(np.exp(-((np.maximum(distances - 1.0, 0.0) / SOFTNESS) ** 2)))


class ContactPoints:
    """A growing cluster and its contact points. Lengths are in bond lengths.

    Attributes:
        atoms: (n_atoms, 3). points: (n_points, 3), none overlapping an atom. touches: (n_points,), smooth number of
            neighbours of each point.
    """

    def __init__(self, atoms: np.ndarray) -> None:
        self.atoms = np.asarray(atoms, dtype=float)
        self.points = np.empty((0, 3))
        self.touches = np.empty(0)
        near = np.triu(cdist(self.atoms, self.atoms) < NEAR, k=1)
        i, j = np.nonzero(near)
        pair, k = np.nonzero(near[i] & near[j])
        a, b, c = self.atoms[i], self.atoms[j], self.atoms[k]
        self._add(np.concatenate([_on_three(a[pair], b[pair], c), self._on_two(a, b)]))

    def place(self, position: np.ndarray) -> "ContactPoints":
        """Put an atom at position (3,): overlapped points vanish, those that touch the new atom appear."""
        distances = np.linalg.norm(self.points - position, axis=1)
        free = distances >= OVERLAP
        self.points, self.touches = self.points[free], self.touches[free] + closeness(distances[free])
        near = self.atoms[np.linalg.norm(self.atoms - position, axis=1) < NEAR]
        self.atoms = np.concatenate([self.atoms, position[None]])
        i, j = np.nonzero(np.triu(cdist(near, near) < NEAR, k=1))
        new = np.broadcast_to(position, (len(i), 3))
        pairs = self._on_two(np.broadcast_to(position, near.shape), near)
        self._add(np.concatenate([_on_three(new, near[i], near[j]), pairs]))
        return self

    def ban(self, position: np.ndarray, radius: float) -> "ContactPoints":
        """Drop the points within radius of position (3,)."""
        kept = np.linalg.norm(self.points - position, axis=1) >= radius
        self.points, self.touches = self.points[kept], self.touches[kept]
        return self

    def fill(self, n_atoms: int, noise: float, rng: np.random.Generator) -> np.ndarray:
        """Place atoms where most neighbours are, until there are n_atoms; their positions (n_atoms, 3).

        Args:
            noise: width of the Gumbel noise added to the number of neighbours: a point is drawn by exp(touches/noise).
            rng: draws it, and a direction where there is no contact point yet.
        """
        while len(self.atoms) < n_atoms:
            if len(self.points) == 0:
                self.place(self._beside_any(rng))
                continue
            gain = self.touches + noise * rng.gumbel(size=len(self.points))
            self.place(self.points[int(np.argmax(gain))])
        return self.atoms

    def _add(self, points: np.ndarray) -> None:
        distances = cdist(points, self.atoms)
        free = distances.min(axis=1, initial=np.inf) >= OVERLAP
        self.points = np.concatenate([self.points, points[free]])
        self.touches = np.concatenate([self.touches, closeness(distances[free]).sum(axis=1)])

    def _on_two(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Points that touch a and b (n_pairs, 3), each as far from the centre of the cluster as it can be."""
        foot, axis = (a + b) / 2.0, b - a
        length2 = (axis**2).sum(axis=1)
        out = foot - self.atoms.mean(axis=0) if len(self.atoms) else foot
        out = out - ((out * axis).sum(axis=1) / length2)[:, None] * axis
        width = np.linalg.norm(out, axis=1)
        kept = width > 0.1
        rise = np.sqrt(1.0 - length2[kept] / 4.0) / width[kept]
        return np.asarray(foot[kept] + rise[:, None] * out[kept])

    def _beside_any(self, rng: np.random.Generator) -> np.ndarray:
        """A place that touches an atom drawn at random and overlaps none: far out along a random direction."""
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        if len(self.atoms) == 0:
            return np.zeros(3)
        along = self.atoms @ direction
        return np.asarray(self.atoms[int(np.argmax(along))] + direction)


def _on_three(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Both points at unit distance from three others, for all triples a, b, c of shape (n_triples, 3)."""
    d = np.linalg.norm(b - a, axis=1)
    ex = (b - a) / d[:, None]
    i = ((c - a) * ex).sum(axis=1)
    ey = c - a - i[:, None] * ex
    j = np.linalg.norm(ey, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = (i**2 + j**2 - i * d) / (2.0 * j)
        height2 = 1.0 - d**2 / 4.0 - y**2
        real = (j > 0.2) & (height2 > 0.0)
    ex, ey = ex[real], ey[real] / j[real, None]
    foot = a[real] + (d[real, None] / 2.0) * ex + y[real, None] * ey
    rise = np.sqrt(height2[real])[:, None] * np.cross(ex, ey)
    return np.concatenate([foot + rise, foot - rise])
