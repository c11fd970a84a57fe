"""What a structure looks like: contacts, coordination, connected parts, pair distances, local order."""

from itertools import combinations

import networkx as nx
import numpy as np
from ase import Atoms
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from growth.candidates import bond_radius, with_images

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


def n_parts(structure: Atoms, bond_length: float | None = None) -> int:
    """In how many pieces a structure is, atoms further apart than `ATTACHED` bond lengths being separate."""
    i, j, _ = contacts(structure, ATTACHED, bond_length)
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(len(structure), len(structure)))
    return int(connected_components(graph, directed=False)[0])


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


def pair_signatures(structure: Atoms, bond_length: float | None = None) -> dict[str, float]:
    """Shares of the Honeycutt-Andersen signatures among bonded pairs of a cluster.

    A pair's signature: how many neighbours it shares, bonds among those, length of the longest chain of these bonds
    (Honeycutt & Andersen, J. Phys. Chem. 91, 4950 (1987)). 421: fcc. 421 and 422: hcp. 555: a five-fold axis.
    """
    i, j, _ = contacts(structure, BONDED, bond_length)
    graph = nx.Graph(zip(i.tolist(), j.tolist(), strict=True))
    counts: dict[str, int] = {}
    for a, b in graph.edges:
        shared = graph.subgraph(set(graph[a]) & set(graph[b]))
        longest = max((_longest_chain(shared.subgraph(part)) for part in nx.connected_components(shared)), default=0)
        key = f"{len(shared)}{shared.number_of_edges()}{longest}"
        counts[key] = counts.get(key, 0) + 1
    total = max(sum(counts.values()), 1)
    return {key: count / total for key, count in sorted(counts.items())}


def _longest_chain(graph: nx.Graph) -> int:
    """Bonds in the longest chain: all of them, as for a ring or a line; one fewer branch where it forks."""
    if all(degree <= 2 for _, degree in graph.degree):
        return graph.number_of_edges()
    ends = combinations(graph.nodes, 2)
    return max(len(path) - 1 for a, b in ends for path in nx.all_simple_paths(graph, a, b))
