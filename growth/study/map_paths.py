"""Minima of a map on a mesh, and how high a path on it must climb from one to the next.

A flood from below (union-find by rising energy): two minima are joined at the lowest level at which a path on the mesh
leads from one to the other. Where the map repeats, each edge says by how many cells it crosses the border, so that a
path from a minimum to its own copy in the next cell counts too.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull


@dataclass(frozen=True)
class Mesh:
    """Points with neighbours.

    Attributes:
        edges: (n_edges, 2), numbers of two neighbours, each pair once.
        crossings: (n_edges, 2), cells between the first point's and the second's; zeros where nothing repeats.
    """

    edges: np.ndarray
    crossings: np.ndarray


@dataclass(frozen=True)
class Pass:
    """The lowest way over which two minima are joined.

    Attributes:
        minima: numbers of two points of the mesh; the same one twice: it and its copy in another cell.
        saddle: number of the highest point on the way. energy: there, eV.
    """

    minima: tuple[int, int]
    saddle: int
    energy: float


def periodic_mesh(n: int, m: int) -> Mesh:
    """A grid of n by m points that repeats, eight neighbours each; point (i, j) has the number i·m + j."""
    i, j = (index.ravel() for index in np.indices((n, m)))
    edges, crossings = [], []
    for di, dj in ((1, 0), (0, 1), (1, 1), (1, -1)):
        edges.append(np.column_stack([i * m + j, (i + di) % n * m + (j + dj) % m]))
        crossings.append(np.column_stack([(i + di) // n, (j + dj) // m]))
    return Mesh(np.concatenate(edges), np.concatenate(crossings))


def sphere_mesh(directions: np.ndarray) -> Mesh:
    """Directions (n, 3) on the unit sphere, neighbours along the edges of their convex hull (Delaunay)."""
    triangles = ConvexHull(directions).simplices
    pairs = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [0, 2]]]), axis=1)
    edges = np.unique(pairs, axis=0)
    return Mesh(edges, np.zeros_like(edges))


def local_minima(mesh: Mesh, energies: np.ndarray) -> np.ndarray:
    """Numbers of the points below all of their neighbours, lowest first; of equal neighbours the first counts."""
    low, high = mesh.edges.T
    rank = _ranks(energies)
    beaten = ~np.isfinite(energies)
    beaten[np.where(rank[low] > rank[high], low, high)] = True
    lowest = np.flatnonzero(~beaten)
    return np.asarray(lowest[np.argsort(rank[lowest])])


def passes(mesh: Mesh, energies: np.ndarray) -> list[Pass]:
    """The lowest ways between minima, in the order in which a flood opens them: a tree, and ways around the cell.

    Args:
        energies: (n_points,), eV; points that are not finite are never crossed.
    """
    rank = _ranks(energies)
    level, flood, found = rank[mesh.edges].max(axis=1), _Flood(rank), []
    n_finite = int(np.isfinite(energies).sum())
    for edge in np.argsort(level, kind="stable"):
        if level[edge] >= n_finite:
            break
        a, b = mesh.edges[edge].tolist()
        joined = flood.join(a, b, mesh.crossings[edge])
        saddle = a if rank[a] > rank[b] else b
        if joined is not None and saddle not in joined:
            found.append(Pass(joined, saddle, float(energies[saddle])))
    return found


def _ranks(energies: np.ndarray) -> np.ndarray:
    """(n_points,), 0 for the lowest, in an order without ties; what is not finite comes last."""
    rank = np.empty(len(energies), dtype=int)
    rank[np.argsort(np.where(np.isfinite(energies), energies, np.inf), kind="stable")] = np.arange(len(energies))
    return rank


def first_ways_out(ways: list[Pass]) -> dict[int, Pass]:
    """For each minimum the lowest pass out of its basin: to another minimum, or to its copy in another cell."""
    out: dict[int, Pass] = {}
    for way in ways:
        for minimum in way.minima:
            out.setdefault(minimum, way)
    return out


class _Flood:
    """Union-find whose pools know their lowest point, and each point its displacement in cells from the pool's root."""

    def __init__(self, rank: np.ndarray) -> None:
        self.rank = rank
        self.parent = np.arange(len(rank))
        self.shift = np.zeros((len(rank), 2), dtype=int)
        self.spans: dict[int, list[np.ndarray]] = {}

    def root(self, point: int) -> tuple[int, np.ndarray]:
        """The lowest point of a point's pool, and cells from there to the point."""
        shift = np.zeros(2, dtype=int)
        while self.parent[point] != point:
            shift = shift + self.shift[point]
            point = int(self.parent[point])
        return point, shift

    def join(self, a: int, b: int, crossing: np.ndarray) -> tuple[int, int] | None:
        """Join two points' pools; the lowest points of both, None where that opens no way that was closed."""
        (root_a, at_a), (root_b, at_b) = self.root(a), self.root(b)
        between = at_a + crossing - at_b
        if root_a == root_b:
            return (root_a, root_a) if self._widened(root_a, [between]) else None
        if self.rank[root_b] < self.rank[root_a]:
            root_a, root_b, between = root_b, root_a, -between
        self.parent[root_b], self.shift[root_b] = root_a, between
        self._widened(root_a, self.spans.pop(root_b, []))
        return root_a, root_b

    def _widened(self, root: int, loops: list[np.ndarray]) -> bool:
        """Whether loops lead into other cells in a direction in which none of the pool led before."""
        known = self.spans.setdefault(root, [])
        before = len(known)
        for loop in loops:
            if np.linalg.matrix_rank(np.array([*known, loop])) > len(known):
                known.append(loop)
        return len(known) > before
