"""The fcc lattice on which the paper's crystals grow: sites as whole numbers of half lattice constants."""

import numpy as np
from jaxtyping import Int

LATTICE_CONSTANTS = {"Al": 4.05, "Cu": 3.61}
"""Å, cubic cell; measured values as in ASE's table. They define scale 1, whatever the method of the labels."""

_NEIGHBOURS = tuple(
    (x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if abs(x) + abs(y) + abs(z) == 2
)
SEED_SITES = tuple((x, y, z) for x in range(3) for y in range(3) for z in range(3) if (x + y + z) % 2 == 0)
"""The 14-atom seed: 8 corners and 6 face centres of the cubic cell."""


def grow_on_lattice(
    n_atoms: int, rng: np.random.Generator, most_coordinated: bool = False
) -> Int[np.ndarray, "n_atoms 3"]:
    """Sites of a crystal in the order in which they were filled: the 14 of the seed, then one at a time.

    A surface position is an empty lattice site that has at least one of its 12 nearest neighbours in the crystal; each
    is as likely as any other.

    Args:
        n_atoms: size of the crystal, at least 14.
        rng: draws the sites.
        most_coordinated: draw among the surface positions of most neighbours only.

    Returns:
        (n_atoms, 3) in units of half the lattice constant; the seed's lower corner is the origin.
    """
    crystal = list(SEED_SITES)
    occupied = set(crystal)
    counts: dict[tuple[int, int, int], int] = {}
    for site in crystal:
        _count(site, occupied, counts)
    while len(crystal) < n_atoms:
        most = max(counts.values())
        free = sorted(site for site, count in counts.items() if count == most or not most_coordinated)
        site = free[int(rng.integers(len(free)))]
        crystal.append(site)
        occupied.add(site)
        del counts[site]
        _count(site, occupied, counts)
    return np.array(crystal)


def _count(
    site: tuple[int, int, int], occupied: set[tuple[int, int, int]], counts: dict[tuple[int, int, int], int]
) -> None:
    """Count a filled site as a neighbour of the empty sites around it."""
    for dx, dy, dz in _NEIGHBOURS:
        beside = (site[0] + dx, site[1] + dy, site[2] + dz)
        if beside not in occupied:
            counts[beside] = counts.get(beside, 0) + 1
