"""Raw adatom positions from geometry alone: where a probe atom touches three, two or one surface atoms.

No lattice and no list of known sites: the probe is a sphere, the bond lengths are its radii, and a candidate is where
it comes to rest without overlap. Order and choice follow atom numbers and distances only, never directions in space,
so that a rotated structure has the rotated candidates in the same order.

Where every site is wanted, and not just the good ones, a cover is added: points all around each atom, so that the whole
shell in which an adatom can be bound is within a known distance of a candidate, cavities included.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii, reference_states
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from growth.errors import InputError
from growth.relax import movable_atoms

NEAR = 1.8
"""Touched atoms lie within this many bond lengths of one another (a square's diagonal is 1.41, a long bridge 1.73)."""
OVERLAP = 0.85
"""Fraction of the bond length below which the probe overlaps an atom."""
MERGE = (0.2, 0.5, 0.9)
"""Bond lengths: how near an earlier candidate swallows one with three, two, one touches."""
SHELLS = (1.0, 0.85, 1.2)
"""Bond lengths: how far from an atom the cover's points lie."""
STRETCHES = (0.9, 1.1)
"""Bond lengths at which the cover touches three atoms as well."""
CROWDED = 0.7
"""What `OVERLAP` is for the cover and the touches beside it: rough places are tighter than touching spheres."""
OPEN = 0.12
"""Length of the mean unit vector to the neighbours below which a position counts as buried (bulk vacancy: 0)."""
NEAREST_DISTANCE = {"fcc": 0.5**0.5, "bcc": 0.75**0.5, "diamond": 0.1875**0.5, "hcp": 1.0}
"""Nearest-neighbour distance over the lattice constant a."""


@dataclass(frozen=True)
class Candidates:
    """Raw positions for an adatom.

    Attributes:
        positions: (n_candidates, 3), Å, most touches first.
        n_touches: (n_candidates,), 3, 2 or 1; 0 for a point of the cover.
        frames: (n_candidates, 3, 3), rows are axes that turn with the structure; for a nudge that does the same.
        closeness: (n_candidates,), smooth number of neighbours; more means more tightly bound, roughly.
        fingerprints: (n_candidates, n_values), sorted distances to the atoms, Å: equal for symmetric copies.
    """

    positions: np.ndarray
    n_touches: np.ndarray
    frames: np.ndarray
    closeness: np.ndarray
    fingerprints: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, chosen: np.ndarray) -> "Candidates":
        return Candidates(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def bond_radius(symbol: str) -> float:
    """Half the nearest-neighbour distance in the element's crystal, Å; its covalent radius where that is not simple."""
    state = reference_states[atomic_numbers[symbol]]
    if state is not None and state["symmetry"] in NEAREST_DISTANCE:
        return float(state["a"] * NEAREST_DISTANCE[state["symmetry"]] / 2.0)
    return float(covalent_radii[atomic_numbers[symbol]])


def bond_lengths(structure: Atoms, species: str, bond_length: float | None = None) -> np.ndarray:
    """Distance at which an adatom touches each atom, (n_atoms,), Å: the sum of two radii, or the given length."""
    if bond_length is not None:
        return np.full(len(structure), float(bond_length))
    radii = {symbol: bond_radius(symbol) for symbol in set(structure.get_chemical_symbols())}
    return np.array([radii[symbol] + bond_radius(species) for symbol in structure.get_chemical_symbols()])


def find_candidates(
    structure: Atoms,
    species: str,
    bond_length: float | None = None,
    spacing: float | None = None,
    symmetric_copies: bool = False,
) -> Candidates:
    """Every place where an adatom can rest on three, two or one atoms, symmetric copies merged.

    Args:
        structure: cluster or slab with at least one atom; atoms under `FixAtoms` are touched only beside free ones
            (the fixed side of a slab stands for the bulk), unless all are fixed.
        species: symbol of the adatom.
        bond_length: Å, replaces the sum of the two radii.
        spacing: bond lengths. Given, a cover is added, no place is left out as buried, and only what comes nearer to
            an earlier candidate than this is: many more candidates, for a search that is to miss nothing.
        symmetric_copies: keep them too.

    Raises:
        InputError: no atoms, or a spacing that is not above zero.
    """
    if len(structure) == 0:
        raise InputError("structure: expected at least one atom to grow on, got none")
    if spacing is not None and not spacing > 0.0:
        raise InputError(f"spacing: expected bond lengths above zero, got {spacing}")
    lengths = bond_lengths(structure, species, bond_length)
    reach = float(lengths.max())
    points, owner = with_images(structure, 2.5 * reach)
    numbers = structure.numbers[owner]
    surface = _Surface(points, lengths[owner], reach, len(structure), spacing is not None)
    groups = [_three_touches(surface), _two_touches(surface), _one_touch(surface)]
    if spacing is not None:
        parts = [_three_touches(surface, stretch) for stretch in STRETCHES]
        parts.append(_cover(surface, spacing, _unlike_atoms(structure, points, numbers, reach)))
        groups.append((np.concatenate([p for p, _ in parts]), np.concatenate([f for _, f in parts])))
    positions = np.concatenate([position for position, _ in groups])
    frames = np.concatenate([frame for _, frame in groups])
    n_touches = np.repeat([3, 2, 1, 0][: len(groups)], [len(position) for position, _ in groups])
    positions = _in_window(positions, structure)
    overlap = OVERLAP if spacing is None else CROWDED
    free = surface.free(positions, overlap) & _beside_movable(positions, structure, surface, owner, spacing)
    allowed = np.flatnonzero(free)
    closeness, openness = _surroundings(positions[allowed], surface)
    order = np.lexsort((-closeness.round(6), -n_touches[allowed]))[: len(allowed)]
    allowed, closeness, openness = allowed[order], closeness[order], openness[order]
    merge = np.array([0.0, MERGE[2], MERGE[1], MERGE[0]]) if spacing is None else np.full(4, spacing)
    kept = _not_swallowed(positions[allowed], reach * merge[n_touches[allowed]], structure)
    kept &= (openness > OPEN) | (spacing is not None)
    allowed, closeness = allowed[kept], closeness[kept]
    marks = _marks(positions[allowed], structure, points, numbers, reach)
    found = Candidates(positions[allowed], n_touches[allowed], frames[allowed], closeness, marks)
    return found if symmetric_copies else found[_distinct(marks, 0.01 * reach)]


def _marks(
    places: np.ndarray, structure: Atoms, points: np.ndarray, numbers: np.ndarray, reach: float, most: int = 48
) -> np.ndarray:
    """Fingerprints (n_places, n_values), Å, cut where the images end."""
    distances = distances_by_species(places, points, numbers, most)
    return np.minimum(distances, 2.4 * reach) if structure.pbc.any() else distances


def _unlike_atoms(structure: Atoms, points: np.ndarray, numbers: np.ndarray, reach: float) -> np.ndarray:
    """Numbers of the atoms that are no symmetric copies of earlier ones."""
    alike = _marks(structure.positions, structure, points, numbers, reach, most=96)
    kinds = 100.0 * reach * np.column_stack([structure.numbers, movable_atoms(structure)])
    return _distinct(np.column_stack([alike, kinds]), 0.01 * reach)


def with_images(structure: Atoms, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the atoms, then of their periodic images within width (Å): (n_points, 3), and whose they are."""
    n_atoms, positions = len(structure), structure.positions
    if not structure.pbc.any():
        return positions.copy(), np.arange(n_atoms)
    cell = structure.cell.complete()
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell[:]), axis=0)
    repeats = np.where(structure.pbc, np.ceil(width / heights) + 1, 0).astype(int)
    grid = np.array(list(np.ndindex(*(2 * repeats + 1)))) - repeats
    grid = grid[np.argsort((grid != 0).any(axis=1), kind="stable")]
    points = (positions[None] + (grid @ cell[:])[:, None]).reshape(-1, 3)
    owner = np.tile(np.arange(n_atoms), len(grid))
    scaled, scaled_atoms = cell.scaled_positions(points), cell.scaled_positions(positions)
    low = scaled_atoms.min(axis=0) - width / heights
    high = np.maximum(scaled_atoms.max(axis=0), scaled_atoms.min(axis=0) + 1.0) + width / heights
    near = ((scaled > low) & (scaled < high)).all(axis=1)
    return points[near], owner[near]


class _Surface:
    """The points a probe may touch.

    points: (n_points, 3), Å, atoms before images. radii: (n_points,), bond length to each. outer: numbers of the points
    that are not walled in, or all where buried places count too. Pairs and triples hold at least one atom: all others
    are translations of these.
    """

    def __init__(self, points: np.ndarray, radii: np.ndarray, reach: float, n_atoms: int, buried: bool) -> None:
        self.points, self.radii, self.reach, self.n_atoms = points, radii, reach, n_atoms
        self.tree = cKDTree(points)
        n_near = self.tree.query_ball_point(points, 1.25 * reach, return_length=True) - 1
        self.outer = np.flatnonzero(buried | (n_near < 12) | (np.linalg.norm(self.away_from(points), axis=1) > 0.05))

    def away_from(self, places: np.ndarray) -> np.ndarray:
        """Minus the mean unit vector from each place to the points around it, (n_places, 3); zero where none are."""
        near = self.tree.query_ball_point(places, 1.5 * self.reach, return_sorted=True)
        counts = np.array([len(numbers) for numbers in near], dtype=int)
        place = np.repeat(np.arange(len(places)), counts)
        vectors = places[place] - self.points[np.concatenate([*near, []]).astype(int)]
        lengths = np.linalg.norm(vectors, axis=1)
        vectors[lengths < 1e-9] = 0.0
        units = vectors / np.maximum(lengths, 1e-9)[:, None]
        total = np.column_stack([np.bincount(place, units[:, k], len(places)) for k in range(3)])
        return total / np.maximum(counts, 1)[:, None]

    def pairs(self) -> np.ndarray:
        """Numbers of near outer points, (n_pairs, 2), smaller first, in order; images among themselves too."""
        near = self.outer[cKDTree(self.points[self.outer]).query_pairs(NEAR * self.reach, output_type="ndarray")]
        near = near[np.lexsort((near[:, 1], near[:, 0]))].reshape(-1, 2)
        return np.asarray(near)

    def triples(self) -> np.ndarray:
        """Numbers of mutually near outer points, (n_triples, 3), in order."""
        pairs, n_points = self.pairs(), len(self.points)
        adjacent = np.zeros((n_points, n_points), dtype=bool)
        adjacent[pairs[:, 0], pairs[:, 1]] = True
        found = [np.empty((0, 3), dtype=int)]
        for i in np.unique(pairs[pairs[:, 0] < self.n_atoms, 0]):
            others = np.flatnonzero(adjacent[i])
            j, k = np.nonzero(adjacent[np.ix_(others, others)])
            found.append(np.column_stack([np.full(len(j), i), others[j], others[k]]))
        return np.concatenate(found)

    def free(self, positions: np.ndarray, overlap: float) -> np.ndarray:
        """Mask (n,) of the positions that are no nearer to any point than this part of its bond length."""
        if len(positions) == 0:
            return np.zeros(0, dtype=bool)
        distances, nearest = self.tree.query(positions, k=list(range(1, min(12, len(self.points)) + 1)))
        return np.asarray((distances >= overlap * self.radii[nearest]).all(axis=1))


Group = tuple[np.ndarray, np.ndarray]
"""Positions (n, 3) and frames (n, 3, 3) of candidates with the same number of touches."""


def _three_touches(surface: _Surface, stretch: float = 1.0) -> Group:
    """Both points at given distances, bond lengths times stretch, from three others (trilateration)."""
    triples = surface.triples()
    p1, p2, p3 = (surface.points[triples[:, n]] for n in range(3))
    r1, r2, r3 = (stretch * surface.radii[triples[:, n]] for n in range(3))
    d = np.linalg.norm(p2 - p1, axis=1)
    ex = (p2 - p1) / d[:, None]
    i = ((p3 - p1) * ex).sum(axis=1)
    ey = p3 - p1 - i[:, None] * ex
    j = np.linalg.norm(ey, axis=1)
    spread = j > 0.2 * surface.reach
    p1, r1, r2, r3, d, ex, i, j = (a[spread] for a in (p1, r1, r2, r3, d, ex, i, j))
    ey = ey[spread] / j[:, None]
    x = (r1**2 - r2**2 + d**2) / (2 * d)
    y = (r1**2 - r3**2 + i**2 + j**2 - 2 * i * x) / (2 * j)
    height2 = r1**2 - x**2 - y**2
    real = height2 > 0.0
    frames = np.stack([ex, ey, np.cross(ex, ey)], axis=1)[real]
    foot = (p1 + x[:, None] * ex + y[:, None] * ey)[real]
    rise = np.sqrt(height2[real])[:, None] * frames[:, 2]
    positions = np.stack([foot + rise, foot - rise], axis=1).reshape(-1, 3)
    return positions, np.repeat(frames, 2, axis=0)


def _two_touches(surface: _Surface) -> Group:
    """The point on the circle around a pair that lies furthest out."""
    pairs = surface.pairs()
    pairs = pairs[pairs[:, 0] < surface.n_atoms]
    p1, p2 = (surface.points[pairs[:, n]] for n in range(2))
    r1, r2 = (surface.radii[pairs[:, n]] for n in range(2))
    d = np.linalg.norm(p2 - p1, axis=1)
    axis = (p2 - p1) / d[:, None]
    x = (r1**2 - r2**2 + d**2) / (2 * d)
    foot = p1 + x[:, None] * axis
    frames = _frames(axis, surface.away_from(foot))
    return foot + np.sqrt(np.maximum(r1**2 - x**2, 0.0))[:, None] * frames[:, 1], frames


def _one_touch(surface: _Surface) -> Group:
    """On top of each outer point, straight out."""
    atoms = surface.outer[surface.outer < surface.n_atoms]
    places = surface.points[atoms]
    nearest = surface.points[surface.tree.query(places, k=[min(2, len(surface.points))])[1][:, 0]]
    frames = _frames(surface.away_from(places), nearest - places)
    return places + surface.radii[atoms, None] * frames[:, 0], frames


def _cover(surface: _Surface, spacing: float, atoms: np.ndarray) -> Group:
    """Points all around the given atoms, in frames that turn with the structure, on spheres of `SHELLS` bond lengths.

    The directions are a Fibonacci sphere's (González, Math. Geosci. 42, 49 (2010)), nearer to one another than twice
    the spacing. Axes: away from the rest, or to the nearest atom where that points nowhere; then to the first
    neighbour that is not in line.
    """
    n = int(np.ceil(4.0 * np.pi / (1.6 * spacing) ** 2))
    height = 1.0 - (2.0 * np.arange(n) + 1.0) / n
    angle = np.pi * (1.0 + 5.0**0.5) * np.arange(n)
    across = np.sqrt(1.0 - height**2)
    directions = np.column_stack([height, across * np.cos(angle), across * np.sin(angle)])
    places = surface.points[atoms]
    n_near = min(8, len(surface.points) - 1)
    nearest = surface.tree.query(places, k=list(range(1, n_near + 2)))[1][:, 1:]
    bonds = surface.points[nearest] - places[:, None]
    away = surface.away_from(places)
    walled = (np.linalg.norm(away, axis=1) < 0.05) & (n_near > 0)
    first = np.where(walled[:, None], bonds[:, :1].sum(axis=1), away)
    slant = np.linalg.norm(np.cross(first[:, None], bonds), axis=2)
    slant /= np.maximum(np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(bonds, axis=2), 1e-12)
    chosen = (slant > 0.2).argmax(axis=1) if n_near else np.zeros(len(atoms), dtype=int)
    second = bonds[np.arange(len(atoms)), chosen] if n_near else np.zeros((len(atoms), 3))
    frames = _frames(first, second)
    turned = np.einsum("nk,akx->anx", directions, frames)
    shells = [places[:, None] + scale * surface.radii[atoms, None, None] * turned for scale in SHELLS]
    return np.concatenate(shells).reshape(-1, 3), np.tile(np.repeat(frames, n, axis=0), (len(SHELLS), 1, 1))


def _frames(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Right-handed axes (n, 3, 3), rows: along first, then along second as far as it is perpendicular to first.

    Where the structure leaves a direction open (a single atom, a dimer's circle) any will do, and a fixed one is taken.
    """
    axes = np.eye(3)
    ex = _units(first, np.broadcast_to(axes[2], first.shape))
    across = second - (second * ex).sum(axis=1)[:, None] * ex
    ey = _units(across, _units(np.cross(ex, axes[np.abs(ex).argmin(axis=1)]), ex))
    return np.stack([ex, ey, np.cross(ex, ey)], axis=1)


def _units(vectors: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Unit vectors (n, 3); the other ones where a vector has no length."""
    lengths = np.linalg.norm(vectors, axis=1)[:, None]
    return np.where(lengths > 1e-6, vectors / np.maximum(lengths, 1e-6), otherwise)


def _beside_movable(
    positions: np.ndarray, structure: Atoms, surface: _Surface, owner: np.ndarray, spacing: float | None
) -> np.ndarray:
    """Mask (n,) of the positions that touch an atom which is not fixed; all of them where every atom is fixed."""
    movable = movable_atoms(structure)[owner]
    if movable.all() or not movable.any():
        return np.ones(len(positions), dtype=bool)
    distances, nearest = cKDTree(surface.points[movable]).query(positions)
    return np.asarray(distances <= (1.2 if spacing is None else max(SHELLS) + 1e-6) * surface.radii[movable][nearest])


def _in_window(positions: np.ndarray, structure: Atoms) -> np.ndarray:
    """Positions (n, 3) moved by cell vectors to where the atoms are, so that all their surroundings are at hand."""
    if not structure.pbc.any():
        return positions
    cell = structure.cell.complete()
    scaled = cell.scaled_positions(positions) - cell.scaled_positions(structure.positions).min(axis=0)
    return np.asarray(positions - np.where(structure.pbc, np.floor(scaled + 1e-6), 0.0) @ cell[:])


def _not_swallowed(positions: np.ndarray, limits: np.ndarray, structure: Atoms) -> np.ndarray:
    """Mask (n,) that leaves out whoever comes nearer than its limit (n,), Å, to an earlier candidate or its image."""
    alive = np.ones(len(positions), dtype=bool)
    if len(positions) == 0:
        return alive
    marks = Atoms(numbers=np.ones(len(positions)), positions=positions, cell=structure.cell, pbc=structure.pbc)
    widest = float(limits.max())
    points, owner = with_images(marks, widest)
    tree = cKDTree(points)
    for i in range(len(positions)):
        if alive[i]:
            near = np.array(tree.query_ball_point(positions[i], widest))
            near = near[owner[near] > i]
            distances = np.linalg.norm(points[near] - positions[i], axis=1)
            alive[owner[near][distances < limits[owner[near]]]] = False
    return alive


def _surroundings(positions: np.ndarray, surface: _Surface) -> tuple[np.ndarray, np.ndarray]:
    """Smooth number of neighbours (n,), and length of the mean unit vector to those within 1.4 bond lengths (n,)."""
    near = surface.tree.query_ball_point(positions, 2.4 * surface.reach, return_sorted=True)
    place = np.repeat(np.arange(len(positions)), [len(numbers) for numbers in near])
    point = np.concatenate([*near, []]).astype(int)
    vectors = surface.points[point] - positions[place]
    distances = np.linalg.norm(vectors, axis=1)
    ratio = distances / surface.radii[point]
    shares = np.exp(-((np.maximum(ratio - 1.0, 0.0) / 0.3) ** 2))
    units = vectors * ((ratio < 1.4) / distances)[:, None]
    total = np.column_stack([np.bincount(place, units[:, k], len(positions)) for k in range(3)])
    counts = np.maximum(np.bincount(place, ratio < 1.4, len(positions)), 1)
    return np.bincount(place, shares, len(positions)), np.linalg.norm(total / counts[:, None], axis=1)


def distances_by_species(places: np.ndarray, points: np.ndarray, numbers: np.ndarray, most: int = 48) -> np.ndarray:
    """For each place the sorted distances to the nearest points of each species, (n_places, n_values), Å."""
    distances = cdist(places, points)
    columns = []
    for z in np.unique(numbers):
        of_species = distances[:, numbers == z]
        if of_species.shape[1] > most:
            of_species = np.partition(of_species, most - 1, axis=1)[:, :most]
        columns.append(np.sort(of_species, axis=1))
    return np.concatenate(columns, axis=1)


def _distinct(fingerprints: np.ndarray, tolerance: float) -> np.ndarray:
    """Numbers of the rows that differ from every earlier kept row by more than the tolerance somewhere."""
    alive = np.ones(len(fingerprints), dtype=bool)
    if len(fingerprints) > 1:
        tree = cKDTree(fingerprints)
        for n in range(len(fingerprints)):
            if alive[n]:
                copies = np.array(tree.query_ball_point(fingerprints[n], tolerance, p=np.inf))
                alive[copies[copies > n]] = False
    return np.flatnonzero(alive)
