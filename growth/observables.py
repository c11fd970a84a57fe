"""What a structure looks like: contacts, coordination, connected parts, pair distances, local order."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import networkx as nx
import numpy as np
from ase import Atoms
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from growth.candidates import bond_radius, with_images
from growth.periodic import narrowest, nearest_images

BONDED = 1.25
"""Bond lengths below which two atoms count as neighbours (between the first and second shell of close packing)."""
ATTACHED = 1.5
"""Bond lengths below which an atom still belongs to a cluster."""
OVERLAPPING = 0.6
"""Bond lengths below which two atoms have merged."""


def contacts(
    structure: Atoms, stretch: float = BONDED, bond_length: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of atoms within stretch bond lengths, periodic images included, each pair both ways.

    Args:
        structure: (n_atoms) cluster or slab.
        stretch: in bond lengths. bond_length: Å for every pair; default the sum of the two bond radii.

    Returns:
        i, j: (n_pairs,) atom numbers; ratio: (n_pairs,) distance in bond lengths.
    """
    symbols = structure.get_chemical_symbols()
    table = {s: bond_radius(s) if bond_length is None else bond_length / 2.0 for s in set(symbols)}
    radii = np.array([table[symbol] for symbol in symbols])
    width = 2.0 * stretch * float(radii.max(initial=0.0))
    points, owner = with_images(structure, width)
    near = cKDTree(points).query_pairs(width, output_type="ndarray")
    i, j = np.concatenate([near, near[:, ::-1]]).T
    inside = i < len(structure)
    i, j = i[inside], j[inside]
    ratio = np.linalg.norm(points[i] - points[j], axis=1) / (radii[owner[i]] + radii[owner[j]])
    close = ratio < stretch
    return owner[i][close], owner[j][close], ratio[close]


def coordination(structure: Atoms, stretch: float = BONDED, bond_length: float | None = None) -> np.ndarray:
    """Number of neighbours of each atom, (n_atoms,)."""
    return np.bincount(contacts(structure, stretch, bond_length)[0], minlength=len(structure))


def coordination_of(structure: Atoms, atoms: np.ndarray) -> np.ndarray:
    """Number of neighbours of some atoms (n,) that lie near one another, (n,), at a cost that size does not change."""
    if len(atoms) == 0:
        return np.zeros(0, dtype=int)
    vectors = nearest_images(structure.positions - structure.positions[atoms[0]], structure)
    distances = np.linalg.norm(vectors, axis=1)
    reach = float(distances[atoms].max()) + 2 * BONDED * max(bond_radius(s) for s in set(structure.symbols))
    near = np.flatnonzero(distances <= reach)
    if 2 * reach >= narrowest(structure):
        return coordination(structure)[atoms]
    counts = coordination(Atoms(structure.numbers[near], vectors[near]))
    return counts[np.searchsorted(near, atoms)]


def parts(structure: Atoms, stretch: float = ATTACHED, bond_length: float | None = None) -> np.ndarray:
    """Number of the piece that each atom belongs to, from 0, (n_atoms,); stretch bond lengths apart is separate."""
    i, j, _ = contacts(structure, stretch, bond_length)
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(len(structure), len(structure)))
    return np.asarray(connected_components(graph, directed=False)[1])


def n_parts(structure: Atoms, bond_length: float | None = None) -> int:
    """In how many pieces a structure is, atoms further apart than `ATTACHED` bond lengths being separate."""
    return int(parts(structure, ATTACHED, bond_length).max(initial=-1)) + 1


def flaw(structure: Atoms, energy: float, parts_before: int, bond_length: float | None = None) -> str | None:
    """Why a relaxed structure with its adatom last is no site, or None.

    Returns:
        `not_finite`: energy or a position is not a number. `overlap`: two atoms merged. `escaped`: the adatom touches
        nothing. `broken`: the rest fell into more pieces than there were. None: sound.
    """
    if not (np.isfinite(energy) and np.isfinite(structure.positions).all()):
        return "not_finite"
    i, _, ratio = contacts(structure, ATTACHED, bond_length)
    if (ratio < OVERLAPPING).any():
        return "overlap"
    if not (i == len(structure) - 1).any():
        return "escaped"
    return "broken" if n_parts(structure, bond_length) > parts_before else None


def pair_distances(structure: Atoms) -> np.ndarray:
    """All pair distances in increasing order, (n_atoms·(n_atoms−1)/2,), Å; nearest image where periodic."""
    if not structure.pbc.any():
        return np.sort(pdist(structure.positions))
    distances = structure.get_all_distances(mic=True)
    return np.sort(distances[np.triu_indices(len(structure), 1)])


def neighbour_sets(structure: Atoms, bond_length: float | None = None) -> list[set[int]]:
    """Numbers of the neighbours of each atom."""
    i, j, _ = contacts(structure, BONDED, bond_length)
    neighbours: list[set[int]] = [set() for _ in range(len(structure))]
    for a, b in zip(i.tolist(), j.tolist(), strict=True):
        neighbours[a].add(b)
    return neighbours


def signature(a: int, b: int, neighbours: Sequence[set[int]]) -> tuple[int, int, int]:
    """How many neighbours two bonded atoms share, bonds among those, length of the longest chain of these bonds.

    Honeycutt & Andersen, J. Phys. Chem. 91, 4950 (1987). 421: fcc. 421 and 422: hcp. 555: a five-fold axis.
    """
    shared = neighbours[a] & neighbours[b]
    bonds = [(c, d) for c in shared for d in neighbours[c] & shared if c < d]
    return len(shared), len(bonds), _longest_chain(bonds)


def pair_signatures(structure: Atoms, bond_length: float | None = None) -> dict[str, float]:
    """Shares of the signatures (three digits, see `signature`) among the bonded pairs of a cluster."""
    neighbours = neighbour_sets(structure, bond_length)
    pairs = [(a, b) for a, around in enumerate(neighbours) for b in around if a < b]
    counts = Counter("".join(map(str, signature(a, b, neighbours))) for a, b in pairs)
    return {key: count / max(len(pairs), 1) for key, count in sorted(counts.items())}


def _longest_chain(bonds: Sequence[tuple[int, int]]) -> int:
    """Bonds in the longest chain: all of a ring or a line; one fewer where it forks."""
    longest, left = 0, set(bonds)
    while left:
        piece = {left.pop()}
        while joined := {bond for bond in left if any(set(bond) & set(other) for other in piece)}:
            left, piece = left - joined, piece | joined
        longest = max(longest, _longest_in(piece))
    return longest


def _longest_in(bonds: set[tuple[int, int]]) -> int:
    """The same of bonds that hang together."""
    degrees = Counter(atom for bond in bonds for atom in bond)
    if max(degrees.values()) <= 2:
        return len(bonds)
    graph = nx.Graph(bonds)
    ends = combinations(graph.nodes, 2)
    return max(len(path) - 1 for a, b in ends for path in nx.all_simple_paths(graph, a, b))
