"""What the surface of a close-packed crystal is made of: (111), (100) and (110) facets, edges and vertices.

No orientation and no lattice is given, so that twins and icosahedra are read as well. The surface is tiled by polygons
of bonded atoms on which one more atom would have room: triangles are (111), squares (100). Where the place above a
triangle is also the place above another, unlike one, the two are the walls of a trough: the unit of a (110) facet, and
of a step with a (111) wall. A place shared with a square is at a step, `other`. Terraces that lie at the foot of a step
are not counted where no atom has room on them.

An atom is of a facet where all that is exposed around it is of that facet; where two facets meet it is at an edge,
where three meet a vertex.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from growth.candidates import with_images
from growth.study.bond_order import bonds

FACETS = ("111", "100", "110", "other")
PLACES = ("111", "100", "110", "edge", "vertex", "other", "inside")
"""Of atoms. `other`: exposed, but in none of these ways. `inside`: no place for an atom touches it."""
ROOM, SHARED = 0.85, 0.3
"""Bond lengths: a place has room if no further atom is nearer; two places so near one another are one."""
SQUARE, PLANAR = 0.2, np.cos(np.radians(20.0))
"""Bond lengths by which a square may be from right; cosine of the angle within which two polygons are in a plane."""
WALL = 2**0.5 / 2
"""Bond lengths squared of a (110) facet that one wall of a trough stands for: half of its cell of 1 by √2."""


@dataclass(frozen=True)
class Polygon:
    """A triangle or square of the surface.

    Attributes:
        atoms: three or four numbers. kind: one of `FACETS`. area: Å², of the facet that it stands for.
        normal: (3,), outwards. place: (3,), Å, where one more atom would sit. angle: rad, at each of its corners.
        share: of it that belongs to the atom it was found at: 1/3 or 1/4, for it is found at each of its atoms.
    """

    atoms: tuple[int, ...]
    kind: str
    area: float
    normal: np.ndarray
    place: np.ndarray
    angle: float
    share: float


@dataclass(frozen=True)
class Surface:
    """The surface of a crystal.

    Attributes:
        areas: Å² of each of `FACETS`, both sides of a slab. places: (n_atoms,), one of `PLACES` for each atom.
    """

    areas: dict[str, float]
    places: list[str]

    @property
    def shares(self) -> dict[str, float]:
        """Share of the area that each of `FACETS` has; zeros where nothing is exposed."""
        total = sum(self.areas.values())
        return {kind: area / total if total > 0 else 0.0 for kind, area in self.areas.items()}


def surface(structure: Atoms, bond_length: float | None = None) -> Surface:
    """Tile the surface of a crystal.

    Args:
        structure: cluster, slab or bulk of close-packed atoms. bond_length: Å; default the sum of two bond radii.
    """
    polygons = _with_kinds([*_exposed(structure, bond_length)], structure)
    areas = {kind: sum(p.area * p.share for p in polygons if p.kind == kind) for kind in FACETS}
    around: list[list[Polygon]] = [[] for _ in range(len(structure))]
    for polygon in polygons:
        around[polygon.atoms[0]].append(polygon)
    return Surface(areas, [_place(these) for these in around])


def _exposed(structure: Atoms, bond_length: float | None) -> Iterator[Polygon]:
    """Triangles and squares with room on one side, each found at every atom of the cell that it has."""
    points, i, j = bonds(structure, bond_length, margin=2.5)
    tree, n = cKDTree(points), len(structure)
    starts = np.searchsorted(i, np.arange(n + 1))
    for atom in range(n):
        near = j[starts[atom] : starts[atom + 1]]
        vectors = points[near] - points[atom]
        lengths = np.linalg.norm(vectors, axis=1)
        for a, b in combinations(range(len(near)), 2):
            d = 0.5 * (lengths[a] + lengths[b])
            across = float(np.linalg.norm(vectors[a] - vectors[b]))
            if across < 1.25 * d:
                corners: tuple[int, ...] = (atom, int(near[a]), int(near[b]))
                angle = np.pi / 3
            elif abs(across - 2**0.5 * d) < SQUARE * d:
                gap, last = tree.query(points[near[a]] + points[near[b]] - points[atom])
                if gap > SQUARE * d:
                    continue
                corners, angle = (atom, int(near[a]), int(near[b]), int(last)), np.pi / 2
            else:
                continue
            yield from _sides(points, tree, corners, float(d), angle)


def _sides(points: np.ndarray, tree: cKDTree, corners: tuple[int, ...], d: float, angle: float) -> Iterator[Polygon]:
    """The polygon, once for each side on which an atom has room."""
    x = points[list(corners)]
    centre = x.mean(axis=0)
    across = np.cross(x[1] - x[0], x[2] - x[0])
    normal = across / np.linalg.norm(across)
    height = max(d * d - float(((x - centre) ** 2).sum(axis=1).mean()), 0.0) ** 0.5
    area = float(np.linalg.norm(across)) * (0.5 if len(corners) == 3 else 1.0)
    kind = "111" if len(corners) == 3 else "100"
    for side in (normal, -normal):
        place = centre + height * side
        if all(k in corners for k in tree.query_ball_point(place, ROOM * d)):
            yield Polygon(corners, kind, area, side, place, angle, 1.0 / len(corners))


def _with_kinds(polygons: list[Polygon], structure: Atoms) -> list[Polygon]:
    """Kinds by whether the place above is shared with an unlike polygon: walls of troughs, steps."""
    if not polygons:
        return []
    crystal = Atoms(len(polygons) * "X", [p.place for p in polygons], cell=structure.cell, pbc=structure.pbc)
    places, owner = with_images(crystal, max(map(_side, polygons)))
    tree = cKDTree(places)
    kinds = []
    for polygon in polygons:
        near = [polygons[owner[k]] for k in tree.query_ball_point(polygon.place, SHARED * _side(polygon))]
        unlike = [other for other in near if float(other.normal @ polygon.normal) < PLANAR]
        kinds.append(_kind(polygon, unlike))
    return [
        Polygon(p.atoms, kind, WALL * _side(p) ** 2 if kind == "110" else p.area, p.normal, p.place, p.angle, p.share)
        for p, kind in zip(polygons, kinds, strict=True)
    ]


def _side(polygon: Polygon) -> float:
    """Length of a side, Å, by the area."""
    return float(np.sqrt(polygon.area * (4 / 3**0.5 if len(polygon.atoms) == 3 else 1.0)))


def _kind(polygon: Polygon, unlike: list[Polygon]) -> str:
    if not unlike:
        return polygon.kind
    return "110" if len(polygon.atoms) == 3 and all(len(other.atoms) == 3 for other in unlike) else "other"


def _place(around: list[Polygon]) -> str:
    """What an atom is, by the polygons around it."""
    if not around:
        return "inside"
    kinds = Counter(polygon.kind for polygon in around)
    planes: list[np.ndarray] = []
    for polygon in around:
        if not any(float(normal @ polygon.normal) > PLANAR for normal in planes):
            planes.append(polygon.normal)
    if set(kinds) == {"110"}:
        return "110"
    if len(planes) == 1:
        whole = sum(polygon.angle for polygon in around) > np.radians(300.0)
        return around[0].kind if whole and len(kinds) == 1 else "other"
    return "edge" if len(planes) == 2 else "vertex"
