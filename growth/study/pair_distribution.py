"""Radial distribution function of bulk crystals, slabs and free clusters, 1 for an ideal gas in the same room.

g(r) = (pairs in the shell) / (pairs that as many independent atoms in the same room would have there).

The room is the cell of a bulk crystal; a plate as thick as evenly distributed atoms of the same spread along the normal
would need (√12 σ); or a ball as large as evenly distributed atoms of the same radius of gyration would need (R = √(5/3)
R_g). In a plate and a ball an atom near the rim sees less than a whole shell: the share of its 4πr²dr that is inside,
on average over the room, is

    plate of thickness t: 1 − r/2t for r ≤ t, t/2r beyond;      ball of radius R: 1 − 3r/4R + r³/16R³ for r ≤ 2R.

Both are exact (the ball: e.g. Santaló, Integral Geometry and Geometric Probability (1976)).
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from vesin import NeighborList

from growth.study.slab import kind_of, slab_axes


@dataclass(frozen=True)
class PairDistribution:
    """Neighbours by distance.

    Attributes:
        radii: (n_bins,), Å, middles of the bins. width: Å, of a bin.
        density: (n_bins,), g(r). neighbours: (n_bins,), mean number of neighbours of an atom in each bin.
    """

    radii: np.ndarray
    width: float
    density: np.ndarray
    neighbours: np.ndarray


def pair_distribution(structure: Atoms, farthest: float, width: float) -> PairDistribution:
    """g(r) of a structure up to `farthest`, in bins of `width`, Å."""
    n_bins = max(1, round(farthest / width))
    edges = width * np.arange(n_bins + 1)
    distances = NeighborList(cutoff=float(edges[-1]), full_list=True).compute(
        points=structure.positions,
        box=structure.cell.complete()[:] if structure.pbc.any() else np.zeros((3, 3)),
        periodic=structure.pbc,
        quantities="d",
    )[0]
    neighbours = np.histogram(distances, edges)[0] / len(structure)
    expected = expected_neighbours(structure, edges)
    density = np.divide(neighbours, expected, out=np.zeros(n_bins), where=expected > 0)
    return PairDistribution(0.5 * (edges[1:] + edges[:-1]), width, density, neighbours)


def expected_neighbours(structure: Atoms, edges: np.ndarray) -> np.ndarray:
    """Neighbours that an atom of an ideal gas in the structure's room has in each bin, (n_bins,)."""
    n, kind = len(structure), kind_of(structure)
    if kind == "bulk":
        return np.asarray(n / structure.get_volume() * np.diff(4.0 / 3.0 * np.pi * edges**3))
    others = max(n - 1, 0)
    if kind == "slab":
        frame = slab_axes(structure)
        t = max(12**0.5 * float((structure.positions @ frame.normal).std()), 1e-9)
        return np.asarray(n / (frame.area * t) * np.diff(_volume_in_plate(edges, t)))
    from_centre = structure.positions - structure.positions.mean(axis=0)
    ball = (5.0 / 3.0 * float((from_centre**2).sum(axis=1).mean())) ** 0.5
    return np.asarray(others * np.diff(_share_in_ball(np.minimum(edges / max(ball, 1e-9), 2.0))))


def _volume_in_plate(r: np.ndarray, t: float) -> np.ndarray:
    """Volume of a ball of radius r that is inside, on average over its centre's place in a plate of thickness t."""
    inner = 4.0 * np.pi * (r**3 / 3.0 - r**4 / (8.0 * t))
    at_rim = 4.0 * np.pi * (t**3 / 3.0 - t**3 / 8.0)
    return np.where(r <= t, inner, at_rim + np.pi * t * (r**2 - t**2))


def _share_in_ball(x: np.ndarray) -> np.ndarray:
    """Chance that two independent points in a ball of radius 1 are nearer than x ≤ 2: ∫ 3x²(1 − 3x/4 + x³/16) dx."""
    return np.asarray(x**3 - 9.0 / 16.0 * x**4 + x**6 / 32.0)
