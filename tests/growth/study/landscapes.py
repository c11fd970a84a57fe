"""Landscapes written down by hand."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from growth.study.landscape import Landscape, Saddle, Stationary
from growth.study.network import NetworkResult


def made(
    energies: Sequence[float],
    saddles: Sequence[tuple[int, int, float]],
    orders: Sequence[int] | None = None,
    logs: Sequence[float] | None = None,
    saddle_orders: Sequence[int] | None = None,
    n_members: int = 1,
) -> Landscape:
    """Minima of these energies (eV) and saddles that join them; two members differ by 10 % of the energy."""
    landscape = Landscape()
    atom = Atoms("Cu", cell=[9.0, 9.0, 9.0], pbc=True)
    spread = np.linspace(1.0, 1.1, n_members)
    for k, energy in enumerate(energies):
        own, order = float("nan") if logs is None else logs[k], 1 if orders is None else orders[k]
        landscape.minima.append(Stationary(atom, energy, energy * spread, order, own, 0))
    for k, (a, b, energy) in enumerate(saddles):
        own, order = float("nan") if logs is None else 0.5, 1 if saddle_orders is None else saddle_orders[k]
        landscape.saddles.append(Saddle(atom, energy, energy * spread, order, own, 1, (a, b), atom))
    return landscape


def result_of(landscape: Landscape) -> NetworkResult:
    """As if it had been found."""
    inside = list(range(len(landscape.minima)))
    missing, searched = np.full(len(inside), 0.1), np.full(len(inside), 9)
    return NetworkResult(landscape, 10, Counter({"known saddle": 10}), inside, missing, searched, 1.0, {}, {})
