"""Steinhardt's bond order of every atom, through freud.

Steinhardt, Nelson & Ronchetti, Phys. Rev. B 28, 784 (1983): q_l is the length of the atom's mean spherical harmonics of
degree l over the bonds to its neighbours, w_l their third-order invariant, normalised. Neighbours are those of
`growth.observables.contacts`, between the first and second shell of close packing; in bcc that counts 14.
"""

import importlib.util

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from growth.candidates import bond_radius, with_images
from growth.errors import InputError
from growth.observables import BONDED

DEGREES = (4, 6)
IDEAL = {
    "fcc": (0.1909, 0.5745, -0.1593, -0.0132),
    "hcp": (0.0972, 0.4848, 0.1341, -0.0124),
    "bcc": (0.0364, 0.5107, 0.1593, 0.0132),
    "ico": (0.0, 0.6633, float("nan"), -0.1698),
}
"""q4, q6, w4, w6 of the perfect surroundings (Mickel et al., J. Chem. Phys. 138, 044501 (2013))."""


def bond_order(structure: Atoms, bond_length: float | None = None) -> dict[str, np.ndarray]:
    """q4, q6, w4 and w6 of each atom, (n_atoms,); nan for an atom without neighbours.

    Args:
        bond_length: Å for every pair; default the sum of the two bond radii.

    Raises:
        InputError: freud is not installed.
    """
    if importlib.util.find_spec("freud") is None:
        raise InputError("structure.bond_order: freud is missing; install kossel[study], or set bond_order to false")
    import freud

    points, i, j = bonds(structure, bond_length)
    n, n_points = len(structure), len(points)
    vectors = (points[j] - points[i]).astype(np.float32)
    neighbours = freud.locality.NeighborList.from_arrays(n_points, n_points, i, j, vectors)
    box = freud.Box.cube(4.0 * float(np.abs(points).max()) + 1.0)  # so wide that nothing in it repeats
    lonely = np.bincount(i, minlength=n)[:n] == 0
    found = {}
    for degree in DEGREES:
        for name, wanted in ((f"q{degree}", False), (f"w{degree}", True)):
            steinhardt = freud.order.Steinhardt(degree, wl=wanted, wl_normalize=wanted)
            steinhardt.compute((box, points), neighbors=neighbours)
            found[name] = np.where(lonely, np.nan, np.array(steinhardt.particle_order[:n], dtype=float))
    return found


def bonds(
    structure: Atoms, bond_length: float | None = None, margin: float = BONDED
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atoms, then their images within margin bond lengths, (n_points, 3), Å, from their centre; bonds of the atoms.

    Returns:
        points; i, j: (n_bonds,), numbers of an atom and of a point, each atom's bonds in a row.
    """
    symbols = structure.get_chemical_symbols()
    table = {s: bond_radius(s) if bond_length is None else bond_length / 2.0 for s in set(symbols)}
    radii = np.array([table[symbol] for symbol in symbols])
    longest = 2.0 * float(radii.max())
    points, owner = with_images(structure, margin * longest)
    near = cKDTree(points).query_pairs(BONDED * longest, output_type="ndarray")
    i, j = np.concatenate([near, near[:, ::-1]]).T
    close = np.linalg.norm(points[i] - points[j], axis=1) < BONDED * (radii[owner[i]] + radii[owner[j]])
    i, j = i[close & (i < len(structure))], j[close & (i < len(structure))]
    order = np.lexsort((j, i))
    return points - points.mean(axis=0), i[order], j[order]
