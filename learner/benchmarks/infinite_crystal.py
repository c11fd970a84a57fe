"""Infinite Crystal: fcc Al and Cu as periodic primitive cells of one atom, 20,000 lattice constants each."""

from collections.abc import Mapping

import numpy as np
from ase.build import bulk

from learner.benchmarks.fcc import LATTICE_CONSTANTS
from learner.benchmarks.system import LARGEST_SCALE, LEAST_SCALE, System
from learner.errors import InputError

N_SCALES = 20_000


def infinite_crystal(
    limit: int | None = None, lattice_constants: Mapping[str, float] = LATTICE_CONSTANTS
) -> list[System]:
    """The systems, Al before Cu, by increasing scale.

    Scale 1 is the measured lattice constant (the paper's "known stable distance"), not the minimum of a method: so the
    structures are the same for every method, and labels by two methods can be compared. EMT has its minimum at scale
    0.986 (Al, 3.995 Å) and 0.994 (Cu, 3.590 Å).

    Args:
        limit: points of each element, evenly spread over 90-150 % with both ends; by default all 20,000.
        lattice_constants: Å, of the cubic cell at scale 1, by element.

    Raises:
        InputError: no positive limit.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}, expected at least 1 point of each element")
    scales = np.linspace(LEAST_SCALE, LARGEST_SCALE, N_SCALES)
    kept = np.linspace(0, N_SCALES - 1, min(limit or N_SCALES, N_SCALES)).round().astype(int)
    systems = []
    for species, a in lattice_constants.items():
        cell = bulk(species, "fcc", a=a)
        systems += [System(cell, "infinite-crystal", species, float(scales[i]), species) for i in kept]
    return systems
