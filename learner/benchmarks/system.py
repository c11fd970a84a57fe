"""A system: one structure of a benchmark, and what a split or a curve has to know about it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from ase import Atoms

from learner.curves import scaled

LEAST_SCALE, LARGEST_SCALE = 0.9, 1.5
"""Distances of unstable systems are 90-150 % of the stable ones."""
SCALES: tuple[float, ...] = tuple(float(s) for s in np.linspace(LEAST_SCALE, LARGEST_SCALE, 10))
"""The paper's 10 regular intervals. Scale 1 is not among them."""

ConfigType: TypeAlias = Literal["augmented-qm9", "infinite-crystal", "crystal-growth-stable", "crystal-growth-unstable"]
Info: TypeAlias = dict[str, str | float | bool]


@dataclass(frozen=True)
class System:
    """One structure of a benchmark.

    Attributes:
        stable: the structure at scale 1, shared by the systems of a series; not to be changed.
        config_type: which dataset it belongs to.
        series: name of the structures that differ by scale only.
        scale: all distances of `structure` over those of `stable`.
        group: what a split must not cut: the molecule, the growth seed, the element.
        bonds: bond types of the stable molecule as text, see `learner.benchmarks.bond_orders`; empty for a metal.
        extra: True for what is outside of the paper's set; no split has it.
    """

    stable: Atoms
    config_type: ConfigType
    series: str
    scale: float
    group: str
    bonds: str = ""
    extra: bool = False

    @property
    def info(self) -> Info:
        """What goes into `Atoms.info`: config_type, series, scale, group; bonds and extra where they say something."""
        info: Info = {
            "config_type": self.config_type,
            "series": self.series,
            "scale": self.scale,
            "group": self.group,
        }
        if self.bonds:
            info["bonds"] = self.bonds
        if self.extra:
            info["extra"] = True
        return info

    @property
    def structure(self) -> Atoms:
        """A new structure at this scale, with `info`."""
        structure = scaled(self.stable, self.scale)
        structure.info = dict(self.info)
        return structure


def spread(n: int, n_wanted: int) -> list[int]:
    """At most `n_wanted` of the numbers 0 … n-1: the middles of as many equal parts.

    >>> spread(100, 4), spread(3, 10)
    ([12, 37, 62, 87], [0, 1, 2])
    """
    n_wanted = min(n, n_wanted)
    return [(2 * i + 1) * n // (2 * n_wanted) for i in range(n_wanted)]
