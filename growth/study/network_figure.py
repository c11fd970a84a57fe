"""The figure of a network: levels joined by arches where minima are few, a graph of discs where they are many."""

from collections.abc import Mapping
from pathlib import Path

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize

from growth.study.landscape import Landscape, Saddle
from growth.study.results import ACCENT, BAND, INK, SECOND, new_figure, write_figure

FEW = 12
"""Minima up to which levels are drawn."""
BAR = 0.34
"""Half the length of a minimum's bar, in columns."""


def draw_network(
    landscape: Landscape,
    completeness: float,
    oracle_minima: Mapping[int, float],
    oracle_saddles: Mapping[int, float],
    path: Path,
) -> None:
    """Draw a landscape.

    Args:
        completeness: for the title. oracle_minima, oracle_saddles: eV, by number; shown where levels are drawn.
    """
    few = len(landscape.minima) <= FEW
    figure, axes = new_figure(6.5, 4.5) if few else new_figure(7.0, 5.6)
    counts = _counted(len(landscape.minima), "minimum", "minima")
    saddles = _counted(len(landscape.saddles), "saddle", "saddles")
    own = len(landscape.saddles) - len(landscape.joining)
    title = f"{counts}, {saddles} ({own} within one minimum); completeness {completeness:.2f}"
    axes.set_title(title, fontsize=10, color=INK)
    if few:
        _levels(landscape, axes)
        _points(landscape, oracle_minima, oracle_saddles, axes)
    else:
        discs = _graph(landscape, axes)
        figure.colorbar(discs, ax=axes, label="energy above the lowest minimum (ringed), eV", shrink=0.8, pad=0.01)
    write_figure(path, figure)


def _counted(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def _columns(landscape: Landscape) -> dict[int, int]:
    """Where each minimum stands, from the lowest on the left."""
    return {int(k): x for x, k in enumerate(np.argsort(landscape.energies, kind="stable"))}


def _places(landscape: Landscape) -> dict[int, float]:
    """Where each saddle stands: between its minima, those within one side by side above it."""
    columns = _columns(landscape)
    places: dict[int, float] = {}
    for a in columns:
        own = [k for k, saddle in enumerate(landscape.saddles) if saddle.ends == (a, a)]
        own.sort(key=lambda k: landscape.saddles[k].energy)
        places |= {k: columns[a] + x for k, x in zip(own, np.linspace(-0.3, 0.3, len(own) + 2)[1:-1], strict=True)}
    for k, saddle in enumerate(landscape.saddles):
        places.setdefault(k, 0.5 * (columns[saddle.ends[0]] + columns[saddle.ends[1]]))
    return places


def _levels(landscape: Landscape, axes: Axes) -> None:
    """Minima as bars; an arch over each saddle between two; a stem up to each within one."""
    columns, places, zero = _columns(landscape), _places(landscape), landscape.energies.min()
    for k, saddle in enumerate(landscape.saddles):
        top, x = saddle.energy - zero, places[k]
        if saddle.ends[0] == saddle.ends[1]:
            foot = landscape.minima[saddle.ends[0]].energy - zero
            axes.plot([x, x], [foot, top], ":", color=BAND, lw=1.2, zorder=1)
        else:
            axes.plot(*_arch(landscape, saddle, columns, x, top, zero), color=BAND, lw=1.2, zorder=1)
        axes.errorbar(x, top, landscape.std(saddle) or None, fmt="none", ecolor=BAND, elinewidth=4, zorder=1)
        axes.plot([x - 0.04, x + 0.04], [top, top], color=SECOND, lw=2.0, zorder=2)
    for k, x in columns.items():
        height, colour = landscape.minima[k].energy - zero, ACCENT if k == landscape.lowest else INK
        axes.errorbar(x, height, landscape.std(landscape.minima[k]) or None, fmt="none", ecolor=BAND, elinewidth=4)
        axes.plot([x - BAR, x + BAR], [height, height], color=colour, lw=3.0, zorder=3, solid_capstyle="butt")
        axes.annotate(
            str(k), (x, height), xytext=(0, -4), textcoords="offset points", ha="center", va="top", fontsize=8
        )
    axes.set(ylabel="energy above the lowest minimum, eV", xticks=[], xlabel="minima, by energy; above them saddles")
    axes.set_xlim(-0.7, len(columns) - 0.3)
    axes.margins(y=0.1)


def _arch(
    landscape: Landscape, saddle: Saddle, columns: Mapping[int, int], x: float, top: float, zero: float
) -> tuple[np.ndarray, np.ndarray]:
    """A smooth curve from one minimum over the saddle to the other."""
    ends = sorted(saddle.ends, key=lambda k: columns[k])
    heights = [landscape.minima[k].energy - zero for k in ends]
    across = np.linspace(0.0, 1.0, 40)
    ease = 0.5 - 0.5 * np.cos(np.pi * across)
    start, stop = columns[ends[0]] + BAR, columns[ends[1]] - BAR
    left = start + (x - start) * across
    right = x + (stop - x) * across
    rising, falling = heights[0] + (top - heights[0]) * ease, top + (heights[1] - top) * ease
    return np.concatenate([left, right]), np.concatenate([rising, falling])


def _points(
    landscape: Landscape, oracle_minima: Mapping[int, float], oracle_saddles: Mapping[int, float], axes: Axes
) -> None:
    """The oracle's energies above its own of the lowest minimum."""
    zero, columns, places = oracle_minima.get(landscape.lowest, np.nan), _columns(landscape), _places(landscape)
    points = [(float(columns[k]), energy - zero) for k, energy in oracle_minima.items()]
    points += [(places[k], energy - zero) for k, energy in oracle_saddles.items()]
    finite = np.array([point for point in points if np.isfinite(point[1])])
    if len(finite):
        axes.plot(finite[:, 0], finite[:, 1], "D", mec=ACCENT, mfc="none", ms=7, zorder=4, label="oracle")
        axes.legend(frameon=False)


def _graph(landscape: Landscape, axes: Axes) -> PathCollection:
    """Minima as discs, coloured by energy and larger the more others they are joined with."""
    graph = nx.Graph(landscape.graph())
    places = nx.spring_layout(graph, seed=1, k=1.6 / np.sqrt(max(len(graph), 1)), iterations=200)
    axes.set_axis_off()
    energies = landscape.energies - landscape.energies.min()
    degree = np.array([graph.degree(k) for k in range(len(landscape.minima))])
    crowded = min(1.0, (60 / max(len(graph), 1)) ** 0.5)
    nx.draw_networkx_edges(
        graph, places, ax=axes, edge_color=BAND, width=0.4 + 0.8 * crowded, alpha=0.35 + 0.5 * crowded
    )
    discs = axes.scatter(
        [places[k][0] for k in range(len(energies))],
        [places[k][1] for k in range(len(energies))],
        s=(40 + 25 * degree) * crowded,
        c=energies,
        cmap="viridis_r",
        norm=Normalize(0.0, max(float(energies.max()), 1e-6)),
        edgecolors="white",
        linewidths=0.5,
        zorder=2,
    )
    x, y = places[landscape.lowest]
    size, colour = (40 + 25 * degree[landscape.lowest]) * crowded, discs.to_rgba(np.zeros(1))
    axes.scatter(x, y, s=size + 30, color=colour, edgecolors=ACCENT, linewidths=1.8, zorder=3)
    return discs
