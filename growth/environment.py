"""The surroundings of an atom: a name that equal ones share, and the motions that lay one on another.

The name is a hash of the graph of contacts (colour refinement of Weisfeiler & Lehman), the same however the crystal is
turned, moved, renumbered, or slightly strained. Two surroundings of one name are laid on one another by geometry: every
rotation or reflection that does it is found, so a process found once is known in all its symmetric copies (after the
kinetic activation-relaxation technique, El-Mellouhi, Mousseau & Lewis, Phys. Rev. B 78, 153202 (2008)).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from growth.candidates import bond_radius
from growth.observables import BONDED
from growth.periodic import nearest_images
from growth.relax import movable_atoms

ROUNDS = 4
"""Of colour refinement."""


@dataclass(frozen=True)
class Environment:
    """Atoms around one, which comes first.

    Attributes:
        numbers: (n,) atomic numbers. held: (n,) whether the atom is fixed.
        vectors: (n, 3), Å, from the first atom, nearest image, by distance.
        atoms: (n,) their numbers in the crystal.
        name: equal for equal surroundings.
    """

    numbers: np.ndarray
    held: np.ndarray
    vectors: np.ndarray
    atoms: np.ndarray
    name: str


class Neighbourhood:
    """A crystal that is asked for the surroundings of many of its atoms."""

    def __init__(self, crystal: Atoms, radius: float) -> None:
        self.crystal, self.radius = crystal, radius
        self.held = ~movable_atoms(crystal)
        self.radii = {z: bond_radius(Atoms([z]).get_chemical_symbols()[0]) for z in set(crystal.numbers.tolist())}

    def around(self, atom: int) -> Environment:
        """The surroundings of an atom within the radius."""
        crystal = self.crystal
        vectors = nearest_images(crystal.positions - crystal.positions[atom], crystal)
        distances = np.linalg.norm(vectors, axis=1)
        near = np.flatnonzero(distances <= self.radius)
        near = near[np.lexsort((near, distances[near] * (near != atom)))]
        numbers, held = crystal.numbers[near], self.held[near]
        return Environment(numbers, held, vectors[near], near, self._name(numbers, held, vectors[near]))

    def _name(self, numbers: np.ndarray, held: np.ndarray, vectors: np.ndarray) -> str:
        radii = np.array([self.radii[z] for z in numbers.tolist()])
        pairs = cKDTree(vectors).query_pairs(2 * BONDED * radii.max(), output_type="ndarray")
        ratio = np.linalg.norm(vectors[pairs[:, 0]] - vectors[pairs[:, 1]], axis=1)
        pairs = pairs[ratio < BONDED * (radii[pairs[:, 0]] + radii[pairs[:, 1]])]
        colours = 2 * numbers.astype(np.int64) + held
        colours[0] += 1000
        return graph_name(colours, pairs)


def graph_name(colours: np.ndarray, pairs: np.ndarray) -> str:
    """A hash of a coloured graph that does not depend on the order of its nodes.

    Args:
        colours: (n,) integers. pairs: (n_pairs, 2) joined nodes.
    """
    i, j = np.concatenate([pairs, pairs[:, ::-1]]).T if len(pairs) else np.zeros((2, 0), dtype=int)
    hashes = _mixed(colours.astype(np.uint64))
    for _ in range(ROUNDS):
        sums = np.zeros_like(hashes)
        with np.errstate(over="ignore"):
            np.add.at(sums, i, _mixed(hashes[j]))
            hashes = _mixed(hashes * np.uint64(0x9E3779B97F4A7C15) + sums)
    counts = np.array([len(colours), len(pairs)], dtype=np.uint64)
    return blake2b(np.sort(hashes).tobytes() + counts.tobytes() + hashes[:1].tobytes(), digest_size=10).hexdigest()


def _mixed(x: np.ndarray) -> np.ndarray:
    """Bits well stirred (the finaliser of SplitMix64, Steele, Lea & Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


@dataclass(frozen=True)
class Overlay:
    """One way to lay surroundings on others: x ↦ x @ rotation.T, and atom k of one on atom `order[k]` of the other.

    rms: Å, what is left between them.
    """

    rotation: np.ndarray
    order: np.ndarray
    rms: float


def overlays(
    known: Environment, new: Environment, tolerance: float, symmetry: Sequence[Overlay] | None = None
) -> list[Overlay]:
    """Every rotation and reflection about the first atom that lays `known` on `new`, best first.

    Args:
        known, new: surroundings of the same number of atoms.
        tolerance: Å, furthest that an atom may be off.
        symmetry: the overlays of `known` on itself, if they are at hand: then one way is looked for, and the others
            follow from it.
    """
    if len(known.numbers) != len(new.numbers) or (np.bincount(known.numbers) != np.bincount(new.numbers)).any():
        return []
    anchors = _anchors(known)
    if anchors is None:
        return [Overlay(np.eye(3), np.arange(len(known.numbers)), 0.0)] if len(known.numbers) == 1 else []
    found: dict[bytes, Overlay] = {}
    for rotation in _rotations(known, new, anchors, tolerance):
        matched = _matched(known, new, rotation, tolerance)
        if matched is not None and symmetry is not None:
            return [Overlay(matched.rotation @ s.rotation, matched.order[s.order], matched.rms) for s in symmetry]
        if matched is not None and matched.order.tobytes() not in found:
            found[matched.order.tobytes()] = matched
    return sorted(found.values(), key=lambda overlay: overlay.rms)


def _anchors(known: Environment) -> tuple[int, int] | None:
    """Two atoms that, with the first, span a plane."""
    lengths = np.linalg.norm(known.vectors, axis=1)
    for a in range(1, len(lengths)):
        for b in range(a + 1, len(lengths)):
            area = np.linalg.norm(np.cross(known.vectors[a], known.vectors[b]))
            if area > 0.5 * lengths[a] * lengths[b]:
                return a, b
    return None


def _rotations(
    known: Environment, new: Environment, anchors: tuple[int, int], tolerance: float
) -> Sequence[np.ndarray]:
    """Candidates (3, 3): those that lay the two anchors on atoms like them."""
    a, b = anchors
    lengths = np.linalg.norm(new.vectors, axis=1)
    of_a, of_b = (
        np.flatnonzero(
            (new.numbers == known.numbers[k])
            & (new.held == known.held[k])
            & (abs(lengths - np.linalg.norm(known.vectors[k])) < 2 * tolerance)
        )
        for k in anchors
    )
    apart = cdist(new.vectors[of_a], new.vectors[of_b])
    wanted = np.linalg.norm(known.vectors[a] - known.vectors[b])
    s, t = np.nonzero((abs(apart - wanted) < 2 * tolerance) & (of_a[:, None] != of_b[None]))
    in_line = np.linalg.norm(np.cross(new.vectors[of_a[s]], new.vectors[of_b[t]]), axis=1) < 1e-3
    s, t = s[~in_line], t[~in_line]
    here = _axes(known.vectors[a][None], known.vectors[b][None])[0]
    there = _axes(new.vectors[of_a[s]], new.vectors[of_b[t]])
    return [frame.T @ np.diag([1.0, 1.0, sign]) @ here for frame in there for sign in (1.0, -1.0)]


def _axes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Orthonormal axes as rows, (n, 3, 3): along first, in the plane of both, across it."""
    x = first / np.linalg.norm(first, axis=1)[:, None]
    z = np.cross(first, second)
    z = z / np.linalg.norm(z, axis=1)[:, None]
    return np.stack([x, np.cross(z, x), z], axis=1)


def _matched(known: Environment, new: Environment, rotation: np.ndarray, tolerance: float) -> Overlay | None:
    """The overlay near a rotation, made as good as it can be; None where atoms do not meet their like."""
    order = np.arange(0)
    for _ in range(2):
        distances = cdist(known.vectors @ rotation.T, new.vectors)
        order = distances.argmin(axis=1)
        if len(np.unique(order)) < len(order):
            return None
        u, _, v = np.linalg.svd(new.vectors[order].T @ known.vectors)
        u[:, -1] *= np.sign(np.linalg.det(u @ v)) * np.sign(np.linalg.det(rotation))
        rotation = u @ v
    off = np.linalg.norm(known.vectors @ rotation.T - new.vectors[order], axis=1)
    alike = (known.numbers == new.numbers[order]).all() and (known.held == new.held[order]).all()
    if order[0] != 0 or off.max() > tolerance or not alike:
        return None
    return Overlay(rotation, order, float(np.sqrt((off**2).mean())))
