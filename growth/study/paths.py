"""From one minimum to another: the fastest path, the path of lowest saddles, and overall rate constants (`rates.py`).

The fastest path is Wales' (J. Chem. Phys. 121, 1080 (2004)), found by Dijkstra's algorithm: of all paths it has the
largest product of branching probabilities, and so the largest share of the flux in the steady state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field

from growth.errors import InputError
from growth.study.alignment import superposition
from growth.study.landscape import Landscape, Stationary
from growth.study.rates import first_passage, occupation, rate_constant, rate_matrix
from growth.study.results import (
    ACCENT,
    BAND,
    INK,
    SECOND,
    new_figure,
    write_csv,
    write_figure,
    write_json,
    write_structures,
)


class PathSettings(BaseModel):
    """Where from, where to, how hot."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    start: tuple[int, ...] | None = Field(None, description="numbers of the minima to start from; null: second lowest")
    end: tuple[int, ...] | None = Field(None, description="numbers of the minima to reach; null: the lowest")
    temperature_K: float = Field(300.0, gt=0, description="K")
    prefactor: float = Field(1e13, gt=0, description="1/s, of every saddle where vibrations are not known")
    same: float = Field(0.3, gt=0, description="Å, to which consecutive stretches of a path are laid together")
    mirror: bool = Field(True, description="mirror images count as one minimum, as in the network")


@dataclass(frozen=True)
class Way:
    """A way over saddles.

    Attributes:
        minima: numbers, from start to end. saddles: numbers, one fewer.
        probability: product of the branching probabilities of its steps. slowest: 1/s, the smallest rate of a step.
    """

    minima: list[int]
    saddles: list[int]
    probability: float
    slowest: float


@dataclass(frozen=True)
class PathsResult:
    """Paths and rates from one set of minima to another.

    Attributes:
        start, end: numbers of the minima. landscape: of the numbers.
        fastest: of the largest product of branching probabilities. lowest: whose highest saddle is lowest.
        forward, reverse: 1/s, rate constants in the steady state, start to end and back; equal fluxes in equilibrium.
        mean_time: s, mean first passage from start, in equilibrium within itself, to end.
        forward_std: of ln k over the members, each with its own energies; 0 with one member.
        occupation: (n_minima,) equilibrium shares of the minima that are joined with start and end, zero elsewhere.
    """

    landscape: Landscape
    settings: PathSettings
    start: tuple[int, ...]
    end: tuple[int, ...]
    fastest: Way
    lowest: Way
    forward: float
    reverse: float
    mean_time: float
    forward_std: float
    occupation: np.ndarray


def paths(landscape: Landscape, settings: PathSettings) -> PathsResult:
    """Fastest and lowest path and rate constants between two sets of minima.

    Raises:
        InputError: the sets are empty, overlap or name unknown minima, or no saddle known joins them.
    """
    start, end = _ends(landscape, settings)
    within = _joined(landscape, [*start, *end])
    temperature, nu = settings.temperature_K, settings.prefactor
    rates = rate_matrix(landscape, temperature, nu)
    shares = occupation(landscape, temperature, within)
    here, there = [within.index(k) for k in start], [within.index(k) for k in end]
    inside, shares_inside = rates[np.ix_(within, within)], shares[within]
    forward, reverse = (
        rate_constant(inside, shares_inside, here, there),
        rate_constant(inside, shares_inside, there, here),
    )
    each = []
    for member in range(len(landscape.minima[0].member_energies)):
        own = rate_matrix(landscape, temperature, nu, member)[np.ix_(within, within)]
        each.append(np.log(rate_constant(own, occupation(landscape, temperature, within, member)[within], here, there)))
    return PathsResult(
        landscape=landscape,
        settings=settings,
        start=start,
        end=end,
        fastest=fastest_path(landscape, rates, start, end),
        lowest=lowest_path(landscape, rates, start, end),
        forward=forward,
        reverse=reverse,
        mean_time=first_passage(inside, shares_inside, here, there),
        forward_std=float(np.std(each)),
        occupation=shares,
    )


def fastest_path(landscape: Landscape, rates: np.ndarray, start: Sequence[int], end: Sequence[int]) -> Way:
    """The path with the largest product of branching probabilities k_ij / Σ_l k_il (Dijkstra on −ln of these)."""
    graph, out = nx.DiGraph(), rates.sum(axis=1)
    for a, b in np.argwhere(rates > 0).tolist():
        graph.add_edge(a, b, length=-np.log(rates[a, b] / out[a]))
    return _told(landscape, rates, _shortest(graph, start, end))


def lowest_path(landscape: Landscape, rates: np.ndarray, start: Sequence[int], end: Sequence[int]) -> Way:
    """The path whose highest saddle is lowest, then the next highest and so on: within a minimum spanning tree."""
    graph = nx.Graph()
    for saddle in landscape.joining:
        known = graph.get_edge_data(*saddle.ends, default={"energy": np.inf})["energy"]
        graph.add_edge(*saddle.ends, energy=min(saddle.energy, known))
    tree = nx.minimum_spanning_tree(graph, weight="energy")
    ways = [
        nx.shortest_path(tree, a, b) for a in start for b in end if a in tree and b in tree and nx.has_path(tree, a, b)
    ]
    if not ways:
        raise InputError(f"start, end: no saddle known joins {_list(start)} and {_list(end)}; search more")

    def heights(way: list[int]) -> list[float]:
        return sorted((tree.edges[a, b]["energy"] for a, b in pairwise(way)), reverse=True)

    return _told(landscape, rates, min(ways, key=heights))


def along(landscape: Landscape, path: Way, settings: PathSettings) -> list[Atoms]:
    """Structures from start to end over the saddles, each laid so that the atoms go their way through all of them."""
    frames = [landscape.minima[path.minima[0]].structure.copy()]
    for here, number in zip(path.minima, path.saddles, strict=False):
        saddle = landscape.saddles[number]
        first, middle, last = landscape.minima[saddle.ends[0]].structure, saddle.structure, saddle.final
        stretch = [first, middle, last] if saddle.ends[0] == here else [last, middle, first]
        motion = superposition(stretch[0], frames[-1], settings.same, settings.mirror)
        for structure in stretch[1:]:
            laid = frames[-1].copy()
            laid.positions = structure.positions if motion is None else motion.lay(structure.positions)
            frames.append(laid)
    points = [landscape.minima[path.minima[0]]]
    for number, minimum in zip(path.saddles, path.minima[1:], strict=True):
        points += [landscape.saddles[number], landscape.minima[minimum]]
    for n, (frame, point) in enumerate(zip(frames, points, strict=True)):
        frame.info = {"kind": "saddle" if n % 2 else "minimum", "energy": point.energy}
    return frames


def write_paths(result: PathsResult, out: Path) -> dict[str, Any]:
    """Write `paths.json`, `paths.csv` (both paths), `paths.extxyz` (the fastest, from start to end) and `paths.png`."""
    landscape = result.landscape
    base = landscape.minima[result.fastest.minima[0]]
    headline = {
        "start": result.start,
        "end": result.end,
        "temperature_K": result.settings.temperature_K,
        "rate_per_s": result.forward,
        "rate_back_per_s": result.reverse,
        "ln_rate_std": result.forward_std,
        "mean_first_passage_s": result.mean_time,
        "fastest_path": result.fastest.minima,
        "fastest_path_highest_ev": _highest(landscape, result.fastest) - base.energy,
        "lowest_path": result.lowest.minima,
        "lowest_path_highest_ev": _highest(landscape, result.lowest) - base.energy,
    }
    write_json(out / "paths.json", {**headline, "fastest": vars(result.fastest), "lowest": vars(result.lowest)})
    columns: dict[str, list[Any]] = {name: [] for name in ("path", "kind", "number", "energy_ev", "std_ev")}
    for name, path in (("fastest", result.fastest), ("lowest", result.lowest)):
        for kind, number, point in _points(landscape, path):
            row = name, kind, number, point.energy, float((point.member_energies - base.member_energies).std())
            for key, value in zip(columns, row, strict=True):
                columns[key].append(value)
    write_csv(out / "paths.csv", columns)
    write_structures(out / "paths.extxyz", along(landscape, result.fastest, result.settings))
    _draw(result, out / "paths.png")
    return headline


def _shortest(graph: nx.DiGraph, start: Sequence[int], end: Sequence[int]) -> list[int]:
    found: list[tuple[float, list[int]]] = []
    for b in end:
        try:
            sources = {a for a in start if a in graph}
            found.append(nx.multi_source_dijkstra(graph, sources, target=b, weight="length"))
        except (nx.NetworkXNoPath, nx.NodeNotFound, ValueError):
            continue
    if not found:
        raise InputError(f"start, end: no saddle known joins {_list(start)} and {_list(end)}; search more")
    return min(found)[1]


def _told(landscape: Landscape, rates: np.ndarray, minima: list[int]) -> Way:
    """The path with its lowest saddles."""
    steps = list(pairwise(minima))
    saddles = [
        min(
            (k for k, saddle in enumerate(landscape.saddles) if set(saddle.ends) == {a, b}),
            key=lambda k: landscape.saddles[k].energy,
        )
        for a, b in steps
    ]
    probability = float(np.prod([rates[a, b] / rates[a].sum() for a, b in steps]))
    return Way(minima, saddles, probability, min(float(rates[a, b]) for a, b in steps))


def _ends(landscape: Landscape, settings: PathSettings) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if len(landscape.minima) < 2:
        raise InputError("network: expected two minima at least, got one; search more or widen the window")
    order = [int(k) for k in np.argsort(landscape.energies, kind="stable")]
    start = (order[1],) if settings.start is None else settings.start
    end = (order[0],) if settings.end is None else settings.end
    for name, numbers in (("start", start), ("end", end)):
        if not numbers or not all(0 <= k < len(order) for k in numbers):
            raise InputError(f"{name}: expected numbers of minima from 0 to {len(order) - 1}, got {_list(numbers)}")
    if set(start) & set(end):
        raise InputError(f"start, end: expected different minima, both name {_list(sorted(set(start) & set(end)))}")
    return start, end


def _joined(landscape: Landscape, numbers: list[int]) -> list[int]:
    """Minima that saddles join with these."""
    graph = landscape.graph()
    parts = [nx.node_connected_component(graph, number) for number in numbers]
    if any(part != parts[0] for part in parts):
        raise InputError(f"start, end: no saddle known joins all of {_list(numbers)}; search more")
    return sorted(parts[0])


def _highest(landscape: Landscape, path: Way) -> float:
    return max(landscape.saddles[number].energy for number in path.saddles)


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _points(landscape: Landscape, path: Way) -> list[tuple[str, int, Stationary]]:
    """Kind, number and point, from start to end."""
    points: list[tuple[str, int, Stationary]] = [("minimum", path.minima[0], landscape.minima[path.minima[0]])]
    for number, minimum in zip(path.saddles, path.minima[1:], strict=True):
        points.append(("saddle", number, landscape.saddles[number]))
        points.append(("minimum", minimum, landscape.minima[minimum]))
    return points


def _draw(result: PathsResult, path: Path) -> None:
    """Energy along both paths, smooth between minima and saddles."""
    landscape, (figure, axes) = result.landscape, new_figure(6.5, 4.0)
    base = landscape.minima[result.fastest.minima[0]]
    ways = [("fastest", result.fastest, INK, "-")]
    if result.lowest.minima != result.fastest.minima:
        ways.append(("lowest saddles", result.lowest, SECOND, "--"))
    for name, way, colour, style in ways:
        points = [point for _, _, point in _points(landscape, way)]
        heights = np.array([point.energy - base.energy for point in points])
        std = np.array([(point.member_energies - base.member_energies).std() for point in points])
        at = np.linspace(0, len(heights) - 1, 40 * (len(heights) - 1) + 1)
        low = np.minimum(at.astype(int), len(heights) - 2)
        ease = 0.5 - 0.5 * np.cos(np.pi * (at - low))
        axes.plot(
            at / 2, heights[low] + (heights[low + 1] - heights[low]) * ease, style, color=colour, lw=1.6, label=name
        )
        axes.errorbar(np.arange(len(heights)) / 2, heights, std, fmt="o", ms=4, color=colour, ecolor=BAND, elinewidth=3)
        for k, number in enumerate(way.minima):
            place = (k, heights[2 * k])
            axes.annotate(
                str(number), place, xytext=(0, -7), textcoords="offset points", ha="center", va="top", fontsize=8
            )
    axes.set(xlabel="minima along the path", ylabel="energy above the start, eV", xticks=[])
    axes.margins(y=0.15)
    rate = f"{result.settings.temperature_K:g} K: {result.forward:.2e} /s there, {result.reverse:.2e} /s back"
    axes.set_title(rate, fontsize=10, color=ACCENT if result.forward_std > 1.0 else INK)
    axes.legend(frameon=False)
    write_figure(path, figure)
