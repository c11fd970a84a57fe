"""Files and figures of an adatom map."""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.spatial import cKDTree

from growth.candidates import bond_radius
from growth.study.adatom_map import AdatomMap
from growth.study.picture import draw_atoms, main_axes
from growth.study.results import ACCENT, BAND, INK, write_csv, write_figure, write_json, write_structures
from growth.study.slab import slab_axes, upright

COLOURS, ABOVE = "viridis", 2.0
"""Colour map; eV above the lowest point beyond which the colours saturate (repulsive places)."""


def write_adatom_map(result: AdatomMap, out: Path) -> dict[str, Any]:
    """Write `adatom_map.json`, `.csv`, `.extxyz` (relaxed minima), `_points.extxyz`, `.png`; return the headline."""
    known = np.isfinite(result.energies)
    lowest = result.minima[0]
    headline = {
        "kind": result.kind,
        "species": result.species,
        "n_points": len(result.energies),
        "n_not_converged": int((known & ~result.converged).sum()),
        "n_minima": len(result.minima),
        "binding_energy_ev": lowest.binding_energy,
        "binding_energy_ev_std": lowest.binding_energy_std,
        "corrugation_ev": float(np.ptp(result.energies[known])),
        "barrier_of_lowest_ev": lowest.barrier,
        "barrier_of_lowest_ev_std": lowest.barrier_std,
    }
    minima = [
        {name: value for name, value in vars(minimum).items() if name != "structure"}
        | {"position": minimum.structure.positions[-1]}
        for minimum in result.minima
    ]
    ways = [vars(way) | {"position": result.positions[way.saddle]} for way in result.ways]
    write_json(out / "adatom_map.json", headline | {"shape": result.shape, "minima": minima, "ways": ways})
    columns = dict(zip(("x_A", "y_A", "z_A"), result.positions.T, strict=True))
    columns |= {
        "energy_ev": result.energies,
        "std_of_difference_to_lowest_ev": result.difference_std,
        "converged": result.converged.astype(int),
    }
    write_csv(out / "adatom_map.csv", columns)
    write_structures(out / "adatom_map.extxyz", [_told(minimum.structure, vars(minimum)) for minimum in result.minima])
    points = Atoms(int(known.sum()) * [result.species], result.positions[known], cell=result.substrate.cell)
    points.pbc = result.substrate.pbc
    points.arrays["energy_ev"] = result.energies[known]
    write_structures(out / "adatom_map_points.extxyz", [points])
    write_figure(out / "adatom_map.png", _slab_figure(result) if result.kind == "slab" else _cluster_figure(result))
    return headline


def _told(structure: Atoms, facts: dict[str, Any]) -> Atoms:
    told = structure.copy()
    told.info = {name: value for name, value in facts.items() if isinstance(value, float) and np.isfinite(value)}
    return told


def _shade(result: AdatomMap) -> tuple[np.ndarray, ScalarMappable]:
    """Energies above the lowest point, eV, and their colours."""
    above = result.energies - np.nanmin(result.energies)
    return above, ScalarMappable(Normalize(0.0, min(ABOVE, float(np.nanmax(above)))), COLOURS)


def _slab_figure(result: AdatomMap) -> Figure:
    figure = Figure(figsize=(10.0, 4.6), layout="constrained")
    plane, levels = figure.subplots(1, 2, width_ratios=[1.5, 1.0])
    assert result.shape is not None
    above, shade = _shade(result)
    frame = slab_axes(result.substrate)
    x = frame.in_plane[0] / np.linalg.norm(frame.in_plane[0])
    rows = np.array([x, np.cross(frame.normal, x)])
    n, m = result.shape
    i, j = np.indices((n + 1, m + 1)).reshape(2, -1)
    nodes = (np.column_stack([i / n, j / m]) @ frame.in_plane @ rows.T).reshape(n + 1, m + 1, 2)
    grid = np.pad(above.reshape(n, m), ((0, 1), (0, 1)), mode="wrap")
    plane.pcolormesh(nodes[..., 0], nodes[..., 1], grid, shading="gouraud", cmap=COLOURS, clim=shade.get_clim())
    _draw_top_layer(plane, result.substrate, rows)
    _mark(plane, result, result.lines @ rows.T)
    rim = nodes[[0, -1, -1, 0, 0], [0, 0, -1, -1, 0]]
    plane.plot(rim[:, 0], rim[:, 1], color=INK, lw=0.8)
    plane.set(aspect="equal", xlabel="Å", ylabel="Å")
    plane.set(xlim=(rim[:, 0].min(), rim[:, 0].max()), ylim=(rim[:, 1].min(), rim[:, 1].max()))
    plane.spines[:].set_visible(False)
    figure.colorbar(shade, ax=plane, shrink=0.8, label="energy above the lowest point, eV")
    _draw_levels(levels, result)
    return figure


def _draw_top_layer(axes: Axes, substrate: Atoms, rows: np.ndarray) -> None:
    """Circles for the uppermost atoms and their images."""
    slab = upright(substrate).repeat((3, 3, 1))
    slab.positions -= slab.cell[0] / 3 + slab.cell[1] / 3
    heights = slab.positions @ slab_axes(substrate).normal
    radius = bond_radius(substrate.get_chemical_symbols()[0])
    for point in slab.positions[heights > heights.max() - radius] @ rows.T:
        axes.plot(*point, "o", ms=7, mfc="none", mec="white", mew=1.0, alpha=0.9)


def _mark(axes: Axes, result: AdatomMap, places: np.ndarray) -> None:
    """Numbers at the relaxed minima's points, crosses at the passes."""
    for way in result.ways[: 4 * len(result.minima)]:
        axes.plot(*places[way.saddle], "x", color=ACCENT, ms=5, mew=1.2)
    for rank, minimum in enumerate(result.minima):
        x, y = places[minimum.point]
        axes.plot(x, y, "o", ms=11, mfc="white", mec=INK, mew=0.8)
        axes.text(x, y, str(rank + 1), ha="center", va="center", fontsize=7, color=INK)


def _draw_levels(axes: Axes, result: AdatomMap) -> None:
    """Energies of the relaxed minima, std as bars, the ways out of them, and the oracle."""
    ranks = np.arange(1, len(result.minima) + 1)
    energies = np.array([minimum.energy for minimum in result.minima])
    std = np.array([minimum.energy_std for minimum in result.minima])
    barriers = np.array([minimum.barrier for minimum in result.minima])
    told = np.array([minimum.oracle_energy for minimum in result.minima])
    axes.errorbar(ranks, energies, std, fmt="o", ms=5, color=INK, ecolor=BAND, elinewidth=3, label="relaxed minimum")
    if np.isfinite(barriers).any():
        axes.plot(ranks, energies + barriers, "x", color=ACCENT, ms=5, label="way out, on the map")
    if np.isfinite(told).any():
        axes.plot(ranks, told, "o", color=ACCENT, ms=5, zorder=3, label="oracle")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlabel="minimum", ylabel="energy above the lowest minimum, eV")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=9)


def _cluster_figure(result: AdatomMap) -> Figure:
    figure = Figure(figsize=(12.0, 7.6), layout="constrained")
    grid = figure.add_gridspec(2, 3)
    globe = figure.add_subplot(grid[0, :2], projection="mollweide")
    above, shade = _shade(result)
    view = main_axes(result.substrate)
    seen = result.lines @ view.T
    longitude, latitude = np.meshgrid(np.linspace(-np.pi, np.pi, 361), np.linspace(-np.pi / 2, np.pi / 2, 181))
    parallels = np.cos(latitude)
    globe_points = np.stack([parallels * np.cos(longitude), parallels * np.sin(longitude), np.sin(latitude)], axis=-1)
    globe.pcolormesh(longitude, latitude, smoothed(seen, above, globe_points), cmap=COLOURS, clim=shade.get_clim())
    _mark(globe, result, np.column_stack([np.arctan2(seen[:, 1], seen[:, 0]), np.arcsin(seen[:, 2].clip(-1, 1))]))
    globe.set_xticklabels([])
    globe.set_yticklabels([])
    globe.grid(alpha=0.3)
    figure.colorbar(shade, ax=globe, shrink=0.7, label="energy above the lowest point, eV")
    _draw_levels(figure.add_subplot(grid[0, 2]), result)
    x, y, z = view
    for place, (rows, title) in enumerate(
        (((y, z, x), "longitude 0"), ((-y, z, -x), "longitude 180°"), ((x, y, z), "pole"))
    ):
        _draw_side(figure.add_subplot(grid[1, place]), result, np.array(rows), title, above, shade)
    return figure


def _draw_side(
    axes: Axes, result: AdatomMap, rows: np.ndarray, title: str, above: np.ndarray, shade: ScalarMappable
) -> None:
    """The cluster from one side with the map's points in front of it."""
    centre = draw_atoms(axes, result.substrate, view=rows)
    seen = (result.positions - centre) @ rows.T
    front = np.isfinite(above) & (seen[:, 2] > 0.0)
    x, y = seen[front, :2].T
    axes.scatter(x, y, c=shade.to_rgba(above[front]), s=14, linewidths=0, zorder=3)
    rim = np.abs(seen[np.isfinite(above), :2]).max() + 1.0
    axes.set(xlim=(-rim, rim), ylim=(-rim, rim), title=title)


def smoothed(directions: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values between directions on the unit sphere, weighted by the inverse distance from the nearest four.

    Args:
        directions: (n, 3), unit vectors. values: (n,), nan where unknown. wanted: (..., 3), unit vectors.
    """
    known = np.isfinite(values)
    distance, near = cKDTree(directions[known]).query(wanted, k=4)
    weights = 1.0 / np.maximum(distance, 1e-9) ** 2
    return np.asarray((weights * values[known][near]).sum(axis=-1) / weights.sum(axis=-1))
