"""An energy landscape as a network: minima, and the saddles that join them."""

from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np
from ase import Atoms


@dataclass(frozen=True, eq=False)
class Stationary:
    """A point of no force.

    Attributes:
        structure: no calculator. energy: eV. member_energies: (n_members,), eV.
        order: how many symmetry motions it has, see `growth.study.alignment.symmetry_order`.
        log_frequencies: Σ ln(ν/Hz) of the stable modes; nan where vibrations were not asked for.
        n_unstable: unstable modes, by its Hessian; -1 where vibrations were not asked for.
    """

    structure: Atoms
    energy: float
    member_energies: np.ndarray
    order: int
    log_frequencies: float
    n_unstable: int


@dataclass(frozen=True, eq=False)
class Saddle(Stationary):
    """A transition state.

    Attributes:
        ends: numbers of the minima that it joins; twice the same is a degenerate rearrangement, in which atoms change
            places.
        final: the second minimum as it was reached, its atoms in the order of the first minimum's structure.
    """

    ends: tuple[int, int]
    final: Atoms


@dataclass(frozen=True)
class Landscape:
    """Minima and the saddles between them, each in the order in which it was found."""

    minima: list[Stationary] = field(default_factory=list)
    saddles: list[Saddle] = field(default_factory=list)

    @property
    def energies(self) -> np.ndarray:
        """Of the minima, (n_minima,), eV."""
        return np.array([minimum.energy for minimum in self.minima])

    @property
    def lowest(self) -> int:
        """Number of the lowest minimum."""
        return int(self.energies.argmin())

    @property
    def joining(self) -> list[Saddle]:
        """Saddles between two minima that differ."""
        return [saddle for saddle in self.saddles if saddle.ends[0] != saddle.ends[1]]

    def std(self, point: Stationary) -> float:
        """Std over the members, eV, of how far each puts a point above the lowest minimum."""
        return float((point.member_energies - self.minima[self.lowest].member_energies).std())

    def graph(self) -> nx.MultiGraph:
        """Nodes are numbers of minima, keys of edges numbers of saddles; attributes are those of the points, and `std`.

        Degenerate rearrangements are no edges: a node's `degenerate` counts its.
        """
        graph = nx.MultiGraph()
        for number, minimum in enumerate(self.minima):
            own = sum(saddle.ends == (number, number) for saddle in self.saddles)
            graph.add_node(number, **self._attributes(minimum), degenerate=own)
        for number, saddle in enumerate(self.saddles):
            if saddle.ends[0] != saddle.ends[1]:
                graph.add_edge(*saddle.ends, key=number, **self._attributes(saddle))
        return graph

    def _attributes(self, point: Stationary) -> dict[str, Any]:
        return {
            "energy": point.energy,
            "std": self.std(point),
            "order": point.order,
            "log_frequencies": point.log_frequencies,
            "structure": point.structure,
        }
