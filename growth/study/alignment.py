"""Whether two structures are one: the motions that lay one on the other, and with that the symmetry of each.

A free cluster may be turned, moved and, if wanted, mirrored; a periodic structure may be moved and turned as its cell
allows. Atoms of one element count as alike where both are free or both are held. The invariants (sorted distances) only
rule out; that two structures are the same is always shown by laying one on the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms

from growth.relax import movable_atoms

AT_ONCE = 2_000_000
"""Distances in one array."""
LINEAR = 1e-3
"""Å; atoms all nearer than this to one axis are a linear molecule."""


@dataclass(frozen=True)
class Motion:
    """Lays a on b: b.positions[order] = a.positions @ rotation.T + shift, up to lattice vectors.

    Attributes:
        rotation: (3, 3), a reflection's determinant is -1. shift: (3,), Å. order: (n_atoms,).
        furthest: Å, that an atom is off.
    """

    rotation: np.ndarray
    shift: np.ndarray
    order: np.ndarray
    furthest: float

    def lay(self, positions: np.ndarray) -> np.ndarray:
        """Move positions (n_atoms, 3) in the order of a; what comes back is in the order of b."""
        moved = np.empty_like(positions)
        moved[self.order] = positions @ self.rotation.T + self.shift
        return moved

    def turn(self, vectors: np.ndarray) -> np.ndarray:
        """The same of displacements (n_atoms, 3)."""
        turned = np.empty_like(vectors)
        turned[self.order] = vectors @ self.rotation.T
        return turned


def fingerprint(structure: Atoms) -> np.ndarray:
    """Distances of all pairs, (n_pairs,), Å, sorted within each pair of kinds of atoms.

    Where no atom of two equal structures is off by more than d, no entry differs by more than 2 d.
    """
    distances = structure.get_all_distances(mic=bool(structure.pbc.any()))
    kinds = _kinds(structure)
    i, j = np.triu_indices(len(structure), 1)
    low, high = np.minimum(kinds[i], kinds[j]), np.maximum(kinds[i], kinds[j])
    return np.asarray(distances[i, j][np.lexsort((distances[i, j], high, low))])


def superposition(a: Atoms, b: Atoms, tolerance: float, mirror: bool = True) -> Motion | None:
    """A motion that lays a on b so that no atom is off by more than tolerance (Å); None where there is none."""
    return next(_motions(a, b, tolerance, mirror), None)


def symmetry_order(structure: Atoms, tolerance: float, mirror: bool = True) -> int:
    """Motions that lay a structure on itself: the order of its point group, or without mirrors its symmetry number.

    A permutation-inversion count: N atoms of a kind have 2 N!/order distinct copies (N!/order without mirrors), so of a
    linear molecule it is twice its symmetry number, and of a periodic one moves of the cell count too.
    """
    vectors = structure.positions - structure.positions.mean(axis=0)
    if not structure.pbc.any() and _is_linear(vectors):
        ways = sum(1 for _ in _motions(structure, structure, tolerance, False))
        return 2 * ways if mirror else ways
    return sum(1 for _ in _motions(structure, structure, tolerance, mirror))


def _motions(a: Atoms, b: Atoms, tolerance: float, mirror: bool) -> Iterator[Motion]:
    """Every motion, once."""
    kinds_a, kinds_b = _kinds(a), _kinds(b)
    if len(a) != len(b) or not np.array_equal(np.sort(kinds_a), np.sort(kinds_b)):
        return
    if a.pbc.any():
        yield from _periodic(a, b, kinds_a, kinds_b, tolerance, mirror)
    else:
        yield from _free(a, b, kinds_a, kinds_b, tolerance, mirror)


def _kinds(structure: Atoms) -> np.ndarray:
    """(n_atoms,), equal for atoms that may take one another's place."""
    return np.asarray(2 * structure.numbers + ~movable_atoms(structure))


def _is_linear(vectors: np.ndarray) -> bool:
    """Whether vectors (n, 3) from the centre lie on one line (or there is but one atom)."""
    axis = vectors[np.linalg.norm(vectors, axis=1).argmax()]
    length = float(np.linalg.norm(axis))
    return length < LINEAR or float(np.linalg.norm(np.cross(vectors, axis / length), axis=1).max()) < LINEAR


# ---------------------------------------------------------------------- free clusters


def _free(
    a: Atoms, b: Atoms, kinds_a: np.ndarray, kinds_b: np.ndarray, tolerance: float, mirror: bool
) -> Iterator[Motion]:
    """Rotations that carry the frame of two atoms of a into that of two atoms of b."""
    x, y = a.positions - a.positions.mean(axis=0), b.positions - b.positions.mean(axis=0)
    for chunk in _chunks(_rotations(x, y, kinds_a, kinds_b, tolerance, mirror), len(a)):
        laid = np.einsum("nx,mcx->mnc", x, chunk)
        squares = ((laid[:, :, None] - y) ** 2).sum(axis=3)
        squares[:, kinds_a[:, None] != kinds_b] = np.inf
        for m in np.flatnonzero(squares.min(axis=2).max(axis=1) <= (3.0 * tolerance) ** 2):
            order = squares[m].argmin(axis=1)
            if len(np.unique(order)) < len(order):
                continue
            rotation = _kabsch(x, y[order], float(np.linalg.det(chunk[m])))
            furthest = float(np.linalg.norm(x @ rotation.T - y[order], axis=1).max(initial=0.0))
            if furthest <= tolerance:
                shift = b.positions.mean(axis=0) - rotation @ a.positions.mean(axis=0)
                yield Motion(rotation, shift, order, furthest)


def _rotations(
    x: np.ndarray, y: np.ndarray, kinds_x: np.ndarray, kinds_y: np.ndarray, tolerance: float, mirror: bool
) -> np.ndarray:
    """Candidates (m, 3, 3), from two atoms of x that few pairs of atoms of y can stand for."""
    signs = [1.0, -1.0] if mirror else [1.0]
    if _is_linear(x) != _is_linear(y):
        return np.empty((0, 3, 3))
    if _is_linear(x):
        return _of_lines(x, y)
    radii, others = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    alike = (np.abs(radii[:, None] - others) <= 2 * tolerance) & (kinds_x[:, None] == kinds_y)
    counts = alike.sum(axis=1)
    p = int(np.where(radii > 0.4 * radii.max(), counts, np.inf).argmin())
    across = np.linalg.norm(np.cross(x, x[p] / radii[p]), axis=1)
    q = int(np.where(across > 0.4 * across.max(), counts, np.inf).argmin())
    apart = np.linalg.norm(y[:, None] - y, axis=2)
    near = np.abs(apart - np.linalg.norm(x[p] - x[q])) <= 2 * tolerance
    pairs = np.argwhere(alike[p][:, None] & alike[q] & near)
    pairs = pairs[np.linalg.norm(np.cross(y[pairs[:, 0]], y[pairs[:, 1]]), axis=1) > 1e-6]
    mine, theirs = _frames(x[[p]], x[[q]])[0], _frames(y[pairs[:, 0]], y[pairs[:, 1]])
    return np.concatenate([np.einsum("mkc,k,kx->mcx", theirs, np.array([1.0, 1.0, s]), mine) for s in signs])


def _frames(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Right-handed orthonormal axes (m, 3 axes, 3) from pairs of vectors (m, 3)."""
    one = first / np.linalg.norm(first, axis=1, keepdims=True)
    two = second - (second * one).sum(axis=1, keepdims=True) * one
    two = two / np.linalg.norm(two, axis=1, keepdims=True)
    return np.stack([one, two, np.cross(one, two)], axis=1)


def _of_lines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two rotations (2, 3, 3), that lay one line on the other either way round; the identity for single atoms."""
    k, n = np.linalg.norm(x, axis=1).argmax(), np.linalg.norm(y, axis=1).argmax()
    if np.linalg.norm(x[k]) < LINEAR:
        return np.eye(3)[None]
    across = np.eye(3)[[np.abs(x[k]).argmin()]], np.eye(3)[[np.abs(y[n]).argmin()]]
    mine = _frames(x[[k]], across[0])[0]
    return np.stack([_frames(sign * y[[n]], across[1])[0].T @ mine for sign in (1.0, -1.0)])


def _kabsch(x: np.ndarray, y: np.ndarray, sign: float) -> np.ndarray:
    """The rotation, or for a negative sign the improper one, that brings x (n, 3) nearest to y (Kabsch 1976)."""
    u, _, vt = np.linalg.svd(y.T @ x)
    flip = np.sign(sign) * np.sign(np.linalg.det(u @ vt))
    return np.asarray(u @ np.diag([1.0, 1.0, flip]) @ vt)


# ---------------------------------------------------------------------- periodic structures


def _periodic(
    a: Atoms, b: Atoms, kinds_a: np.ndarray, kinds_b: np.ndarray, tolerance: float, mirror: bool
) -> Iterator[Motion]:
    """Turns of the cell, each with every shift that carries one atom of the rarest kind onto one of b."""
    cell = a.cell.complete()[:]
    if not (np.array_equal(a.pbc, b.pbc) and np.allclose(cell, b.cell.complete()[:], atol=1e-6)):
        return
    scaled_a, scaled_b = a.positions @ np.linalg.inv(cell), b.positions @ np.linalg.inv(cell)
    values, counts = np.unique(kinds_a, return_counts=True)
    rarest = values[counts.argmin()]
    anchor, places = int(np.flatnonzero(kinds_a == rarest)[0]), scaled_b[kinds_b == rarest]
    few = np.unique(np.linspace(0, len(a) - 1, 8).astype(int))
    for turn in _turns(cell, a.pbc, mirror):
        turned = scaled_a @ turn
        shifts = places - turned[anchor]
        sound = _off(turned[few], shifts, scaled_b, kinds_a[few], kinds_b, cell, a.pbc).min(axis=2).max(axis=1)
        for shift in shifts[sound <= 3.0 * tolerance]:
            off = _off(turned, shift[None], scaled_b, kinds_a, kinds_b, cell, a.pbc)[0]
            order = off.argmin(axis=1)
            if len(np.unique(order)) < len(order):
                continue
            rest = turned + shift - scaled_b[order]
            rest = (rest - np.where(a.pbc, np.round(rest), 0.0)) @ cell
            furthest = float(np.linalg.norm(rest - rest.mean(axis=0), axis=1).max(initial=0.0))
            if furthest <= tolerance:
                rotation = (np.linalg.inv(cell) @ turn @ cell).T
                yield Motion(rotation, shift @ cell - rest.mean(axis=0), order, furthest)


def _turns(cell: np.ndarray, pbc: np.ndarray, mirror: bool) -> np.ndarray:
    """Integer matrices (m, 3, 3) W that keep a reduced cell's metric and mix no periodic with an open direction."""
    entries = np.array(list(product((-1, 0, 1), repeat=9)), dtype=float).reshape(-1, 3, 3)
    entries = entries[(entries[:, pbc[:, None] != pbc] == 0).all(axis=1)]
    metric = cell @ cell.T
    kept = np.abs(np.einsum("mij,jk,mlk->mil", entries, metric, entries) - metric).max(axis=(1, 2))
    entries = entries[kept <= 1e-4 * metric.max()]
    return entries if mirror else entries[np.linalg.det(entries) > 0]


def _off(
    turned: np.ndarray,
    shifts: np.ndarray,
    places: np.ndarray,
    kinds: np.ndarray,
    kinds_there: np.ndarray,
    cell: np.ndarray,
    pbc: np.ndarray,
) -> np.ndarray:
    """Distances (n_shifts, n_atoms, n_places), Å, of turned and shifted atoms from places; all scaled coordinates."""
    apart = turned[:, None] + shifts[:, None, None] - places
    apart -= np.where(pbc, np.round(apart), 0.0)
    off = np.linalg.norm(apart @ cell, axis=3)
    off[:, kinds[:, None] != kinds_there] = np.inf
    return np.asarray(off)


def _chunks(candidates: np.ndarray, n_atoms: int) -> Iterator[np.ndarray]:
    most = max(1, AT_ONCE // max(1, n_atoms**2))
    for start in range(0, len(candidates), most):
        yield candidates[start : start + most]
