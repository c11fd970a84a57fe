"""Crystal Growth: fcc clusters of Al and Cu of 15 to 114 atoms, grown from the 14-atom seed at random.

Stable: 20 growth seeds of each element, 100 sizes, scale 1: 4,000 systems. Unstable: the first 5 of those growth seeds,
100 sizes, 10 scales: 10,000 systems. A growth seed is one sequence of random placements; its crystals of successive
sizes differ by one atom, which is why splits by whole growth seed stand beside the paper's random ones. Crystals of
two growth seeds may be the same structure, mostly at 15 atoms, where one site of the seed has been drawn twice.
"""

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from learner.benchmarks.fcc import LATTICE_CONSTANTS, grow_on_lattice
from learner.benchmarks.system import SCALES, ConfigType, System
from learner.errors import InputError

LEAST_SIZE, LARGEST_SIZE = 15, 114
N_STABLE_SEEDS, N_UNSTABLE_SEEDS = 20, 5
VARIANTS: dict[ConfigType, list[tuple[int, float]]] = {
    "crystal-growth-stable": [(number, 1.0) for number in range(N_STABLE_SEEDS)],
    "crystal-growth-unstable": [(number, scale) for scale in SCALES for number in range(N_UNSTABLE_SEEDS)],
}
"""Growth seed and scale of the systems of one size."""
_STRIDE = {20: 7, 50: 21}
"""By the number of variants, and coprime to it: successive picks differ in growth seed and scale."""


def crystal_growth(
    sizes: tuple[int, int] = (LEAST_SIZE, LARGEST_SIZE),
    seed: int = 0,
    limit: int | None = None,
    lattice_constants: Mapping[str, float] = LATTICE_CONSTANTS,
) -> list[System]:
    """The systems: stable before unstable; by element, growth seed, size, scale.

    `series` is `Al-07-045` (element, growth seed, atoms) for stable and unstable alike, `group` is `Al-07`. Scale 1 is
    the measured lattice constant, as in `infinite_crystal`.

    Args:
        sizes: least and largest number of atoms, 15 to 114.
        seed: random seed of all growth seeds.
        limit: so many systems, the same for the same arguments: as many of each element, stable and unstable (where
            there are as many), evenly spread over sizes, growth seeds and scales. By default all.
        lattice_constants: Å, of the cubic cell at scale 1, by element.

    Raises:
        InputError: sizes outside of 15 to 114, or no positive limit.
    """
    low, high = sizes
    if not LEAST_SIZE <= low <= high <= LARGEST_SIZE:
        raise InputError(f"sizes {low}-{high}: expected a range within {LEAST_SIZE}-{LARGEST_SIZE}, such as 15-75")
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}, expected at least 1 system")
    crystals = {species: _Crystals(species, a, seed) for species, a in lattice_constants.items()}
    kinds = list(product(VARIANTS, lattice_constants))
    every = [len(VARIANTS[config_type]) * (high - low + 1) for config_type, _ in kinds]
    systems = []
    for (config_type, species), n_wanted in zip(kinds, every if limit is None else shares(limit, every), strict=True):
        for number, n_atoms, scale in sorted(picks(low, high, VARIANTS[config_type], n_wanted)):
            systems.append(crystals[species].system(config_type, number, n_atoms, scale))
    return systems


class _Crystals:
    """The crystals of one element; each growth seed is grown once, to the largest size."""

    def __init__(self, species: str, lattice_constant: float, seed: int) -> None:
        self._species, self._a, self._seed = species, lattice_constant, seed
        self._sites: dict[int, np.ndarray] = {}
        self._stable: dict[tuple[int, int], Atoms] = {}

    def system(self, config_type: ConfigType, number: int, n_atoms: int, scale: float) -> System:
        group = f"{self._species}-{number:02d}"
        return System(self._crystal(number, n_atoms), config_type, f"{group}-{n_atoms:03d}", scale, group)

    def _crystal(self, number: int, n_atoms: int) -> Atoms:
        if number not in self._sites:
            rng = np.random.default_rng([self._seed, atomic_numbers[self._species], number])
            self._sites[number] = grow_on_lattice(LARGEST_SIZE, rng)
        if (number, n_atoms) not in self._stable:
            positions = (self._sites[number][:n_atoms] - 1) * (self._a / 2.0)
            self._stable[number, n_atoms] = Atoms([self._species] * n_atoms, positions)
        return self._stable[number, n_atoms]


def picks(low: int, high: int, variants: list[tuple[int, float]], n_wanted: int) -> Iterator[tuple[int, int, float]]:
    """`n_wanted` different (growth seed, size, scale), evenly spread over all three.

    Sizes go up from low to high; variants are taken with a stride, so that any few successive picks differ in growth
    seed and scale, and as many as there are variants take each once.
    """
    n_sizes, stride = high - low + 1, _STRIDE[len(variants)]
    for j in range(n_wanted):
        number, scale = variants[j * stride % len(variants)]
        yield number, low + (2 * j + 1) * n_sizes // (2 * n_wanted), scale


def shares(n: int, capacities: list[int]) -> list[int]:
    """`n` things in parts as equal as their capacities let them be.

    >>> shares(10, [4, 4, 4]), shares(14, [2, 9, 9]), shares(99, [1, 2])
    ([4, 3, 3], [2, 6, 6], [1, 2])
    """
    parts = [0] * len(capacities)
    by_capacity = sorted(range(len(capacities)), key=lambda i: capacities[i])
    for k, i in enumerate(by_capacity):
        parts[i] = min(capacities[i], -(-(n - sum(parts)) // (len(capacities) - k)))
    return parts
