"""Disconnectivity graphs: which minima can reach one another below an energy.

Becker & Karplus, J. Chem. Phys. 106, 1495 (1997); Wales, Miller & Walsh, Nature 394, 758 (1998). The tree is exact:
with saddles taken in the order of their energy, each that joins two sets of minima not joined before is a fork. Two
minima part at the energy of the highest saddle on the path between them whose highest saddle is lowest. Only the
drawing gathers forks by levels, as is usual.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from growth.errors import InputError
from growth.study.network import NetworkResult
from growth.study.results import ACCENT, BAND, INK, new_figure, write_csv, write_figure, write_json

FEW = 30
"""Minima up to which they are numbered in the figure and branches meet exactly where they do."""


class DisconnectivitySettings(BaseModel):
    """How the graph is drawn; the tree itself has nothing to set."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    levels: int = Field(
        40, ge=0, description="energy levels at which many branches meet in the figure; 0: where they do"
    )
    drawn: int = Field(250, ge=1, description="the figure shows so many lowest minima")
    unit: float = Field(1.0, gt=0, description="energy unit of the figure, eV")
    unit_name: str = Field("eV", description="its name")


@dataclass(frozen=True)
class Tree:
    """Minima 0 … n − 1 are leaves, forks n, n + 1, … follow in the order of their energy.

    Attributes:
        n_minima: leaves. energies: (n_nodes,), eV, of a minimum or of the saddle at the fork.
        parent: (n_nodes,), -1 of a root; several roots where minima are not joined.
        lowest: (n_nodes,), lowest minimum below. saddle: (n_nodes,), number of the saddle at the fork, -1 of a leaf.
    """

    n_minima: int
    energies: np.ndarray
    parent: np.ndarray
    lowest: np.ndarray
    saddle: np.ndarray

    def merge_energy(self, a: int, b: int) -> float:
        """Lowest energy (eV) at which two minima are joined; infinite where no saddle known does."""
        above = set(self._line(a))
        return next((float(self.energies[node]) for node in self._line(b) if node in above), float("inf"))

    def ends_at(self, minimum: int) -> int:
        """The fork at which a minimum's branch meets that of a lower one; -1 of the lowest of all."""
        return next((node for node in self._line(minimum) if self.lowest[node] != minimum), -1)

    def barrier(self, minimum: int) -> float:
        """From a minimum to where a lower one can be reached, eV; infinite of the lowest."""
        fork = self.ends_at(minimum)
        return float(self.energies[fork] - self.energies[minimum]) if fork >= 0 else float("inf")

    def below(self, node: int, energy: float) -> int:
        """The highest node above a node whose energy is no higher than so many eV."""
        while self.parent[node] >= 0 and self.energies[self.parent[node]] <= energy:
            node = int(self.parent[node])
        return node

    def order(self) -> list[int]:
        """Minima from left to right: the lowest in the middle, later joined further out, no branches crossing."""
        below: dict[int, list[int]] = {k: [k] for k in range(self.n_minima)}
        children: dict[int, list[int]] = {}
        for node, parent in enumerate(self.parent.tolist()):
            children.setdefault(parent, []).append(node)
        for node in range(self.n_minima, len(self.parent)):
            below[node] = _beside([below.pop(child) for child in children[node]], self.energies)
        return _beside([below[root] for root in children[-1]], self.energies)

    def _line(self, node: int) -> Iterable[int]:
        """A node and all above it."""
        while node >= 0:
            yield node
            node = int(self.parent[node])


@dataclass(frozen=True)
class DisconnectivityResult:
    """The tree of a network and how it is to be drawn."""

    tree: Tree
    network: NetworkResult
    settings: DisconnectivitySettings


def disconnectivity_tree(energies: np.ndarray, saddles: Sequence[tuple[int, int, float]]) -> Tree:
    """The exact tree, by joining sets of minima saddle by saddle.

    Args:
        energies: (n_minima,), eV. saddles: minima that each joins, and its energy, eV; any order, any multiplicity.

    Raises:
        InputError: a saddle names a minimum that is not there.
    """
    n = len(energies)
    heights, parent = [float(e) for e in energies], [-1] * n
    lowest, at = list(range(n)), [-1] * n
    top = list(range(n))  # of each minimum a node higher up, shortened as it is followed

    def root(node: int) -> int:
        while top[node] != node:
            top[node] = top[top[node]]
            node = top[node]
        return node

    for number in sorted(range(len(saddles)), key=lambda k: saddles[k][2]):
        a, b, energy = saddles[number]
        if not (0 <= a < n and 0 <= b < n):
            raise InputError(f"saddles[{number}]: expected numbers of {n} minima, got {a} and {b}")
        one, other = root(a), root(b)
        if one == other:
            continue
        fork = len(parent)
        parent[one] = parent[other] = fork
        top[one] = top[other] = fork
        parent.append(-1)
        top.append(fork)
        heights.append(float(energy))
        lowest.append(min(lowest[one], lowest[other], key=lambda k: (heights[k], k)))
        at.append(number)
    return Tree(n, np.array(heights), np.array(parent, dtype=int), np.array(lowest, dtype=int), np.array(at, dtype=int))


def disconnectivity(network: NetworkResult, settings: DisconnectivitySettings) -> DisconnectivityResult:
    """The disconnectivity graph of a network."""
    landscape = network.landscape
    saddles = [(*saddle.ends, saddle.energy) for saddle in landscape.saddles]
    return DisconnectivityResult(disconnectivity_tree(landscape.energies, saddles), network, settings)


def write_disconnectivity(result: DisconnectivityResult, out: Path) -> dict[str, Any]:
    """Write `disconnectivity.json` (the exact tree), `.csv` (barriers of the minima) and `.png`; headline numbers."""
    tree, landscape = result.tree, result.network.landscape
    barriers = [tree.barrier(k) for k in range(tree.n_minima)]
    order = np.argsort(landscape.energies, kind="stable")
    deepest = max((b for b in barriers if np.isfinite(b)), default=float("nan"))
    headline = {
        "minima": tree.n_minima,
        "separate_parts": int((tree.parent < 0).sum()),
        "highest_fork_ev": float(tree.energies[tree.n_minima :].max(initial=-np.inf)),
        "deepest_trap_ev": deepest,
        "gap_to_second_ev": float(np.diff(np.sort(landscape.energies))[0]) if tree.n_minima > 1 else float("nan"),
    }
    nodes = {name: getattr(tree, name) for name in ("energies", "parent", "lowest", "saddle")}
    write_json(out / "disconnectivity.json", {**headline, "nodes": nodes})
    columns: dict[str, Any] = {
        "number": order,
        "energy_ev": landscape.energies[order],
        "barrier_to_lower_ev": [barriers[k] for k in order],
    }
    write_csv(out / "disconnectivity.csv", columns)
    _draw(result, out / "disconnectivity.png")
    return headline


def _beside(groups: list[list[int]], energies: np.ndarray) -> list[int]:
    """Join ordered groups around the one with the lowest minimum, each on the side that has less so far."""
    middle, *others = sorted(groups, key=lambda group: min(energies[group]))
    centre = min(middle, key=lambda k: (energies[k], k))
    left, right = middle[: middle.index(centre)], middle[middle.index(centre) :]
    for group in others:
        if len(left) < len(right):
            left = [*group, *left]
        else:
            right = [*right, *group]
    return left + right


def _draw(result: DisconnectivityResult, path: Path) -> None:
    """Each minimum is one line: up from its energy, then across to the lower one whose branch it meets."""
    tree, given, landscape = result.tree, result.settings, result.network.landscape
    shown = set(np.argsort(landscape.energies, kind="stable")[: given.drawn].tolist())
    order = [k for k in tree.order() if k in shown]
    place = {k: x for x, k in enumerate(order)}
    zero, unit = landscape.energies.min(), given.unit
    figure, axes = new_figure(min(4.0 + 0.016 * len(order), 8.0), 6.5)
    forks = [tree.energies[tree.ends_at(k)] for k in order if tree.ends_at(k) >= 0]
    top = max([*forks, landscape.energies[order].max()])
    top += 0.04 * (top - zero)
    gathered = given.levels > 0 and len(order) > FEW
    grid = np.linspace(zero, top, given.levels + 1) if gathered else None
    thin = float(np.clip(60 / max(len(order), 1), 0.7, 1.4))
    for k in order:
        xs, ys = _line_of(tree, k, place, grid, top)
        colour, width = (ACCENT, 1.6 * thin) if k == landscape.lowest else (INK, thin)
        axes.plot(xs, (np.array(ys) - zero) / unit, color=colour, lw=width, solid_joinstyle="round", zorder=2)
    if len(order) > FEW:
        feet = [(tree.energies[k] - zero) / unit for k in order]
        axes.plot(range(len(order)), feet, ".", color=INK, ms=2.0, zorder=3)
    _draw_errors(result, place, axes)
    axes.set_xlim(-1.0 - 0.03 * len(order), len(order) + 0.03 * len(order))
    axes.set_ylim(bottom=-0.03 * (top - zero) / unit, top=(top - zero) / unit)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_ylabel(f"energy above the lowest minimum, {given.unit_name}")
    if len(order) <= FEW:
        for k in order:
            axes.annotate(
                str(k),
                (place[k], (landscape.energies[k] - zero) / unit),
                xytext=(0, -4),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8,
                color=INK,
            )
    write_figure(path, figure)


def _line_of(
    tree: Tree, minimum: int, place: dict[int, int], grid: np.ndarray | None, top: float
) -> tuple[list[float], list[float]]:
    """Corners of a minimum's line."""
    x, low, fork = place[minimum], float(tree.energies[minimum]), tree.ends_at(minimum)
    if fork < 0:
        return [x, x], [low, top]
    height = float(tree.energies[fork])
    if grid is None:
        bend = max(low, height - 0.02 * (top - float(tree.energies.min())))
        return [x, x, place[int(tree.lowest[fork])]], [low, bend, height]
    upper = float(grid[min(int(np.searchsorted(grid, height)), len(grid) - 1)])
    lower = max(low, float(grid[max(int(np.searchsorted(grid, height)) - 1, 0)]))
    trunk = int(tree.lowest[tree.below(fork, upper)])
    return [x, x, place[trunk]], [low, lower, upper]


def _draw_errors(result: DisconnectivityResult, place: dict[int, int], axes: Any) -> None:
    """The committee's std at the feet of the lines; the oracle's minima and the saddles at forks as points."""
    landscape, unit, network = result.network.landscape, result.settings.unit, result.network
    zero = landscape.energies.min()
    std = {k: landscape.std(landscape.minima[k]) / unit for k in place}
    if max(std.values()) > 0:
        feet = [(landscape.energies[k] - zero) / unit for k in place]
        axes.errorbar(list(place.values()), feet, list(std.values()), fmt="none", ecolor=BAND, elinewidth=2.0, zorder=1)
    own = network.oracle_minima.get(landscape.lowest, float("nan"))
    minima = [(place[k], (e - own) / unit) for k, e in network.oracle_minima.items() if k in place]
    forks = {int(result.tree.saddle[result.tree.ends_at(k)]): k for k in place if result.tree.ends_at(k) >= 0}
    saddles = [(place[forks[s]], (e - own) / unit) for s, e in network.oracle_saddles.items() if s in forks]
    for points, marker, name in ((minima, "o", "oracle, minima"), (saddles, "D", "oracle, saddles")):
        finite = [(x, y) for x, y in points if np.isfinite(y)]
        if finite:
            axes.scatter(*zip(*finite, strict=True), marker=marker, s=22, color=ACCENT, zorder=4, label=name)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="upper right")
