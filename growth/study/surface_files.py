"""Files and figure of surface energies."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from growth.study.grown_surface import GrownSurface
from growth.study.results import ACCENT, BAND, INK, SECOND, write_csv, write_figure, write_json, write_structures
from growth.study.surfaces import SurfacesResult
from growth.study.wulff import Wulff

FACES = (SECOND, "#e0a458", "#8f5fa8", "#6b9a5b", "#c2708b", "#5b7fb5", "#9c8b6a", BAND)
"""Colours of facets."""


def write_surfaces(result: SurfacesResult, out: Path, grown: GrownSurface | None = None) -> dict[str, Any]:
    """Write `surfaces.json`, `.csv`, `.extxyz` (relaxed slabs) and `.png`; return the headline numbers."""
    headline: dict[str, Any] = {
        "species": result.species,
        "lattice_constant_A": result.lattice_constant,
        "lattice_constant_A_std": result.lattice_constant_std,
    }
    stds = result.member_shares.std(axis=0) if len(result.member_shares) else np.full(len(result.surfaces), np.nan)
    for surface, std in zip(result.surfaces, stds, strict=True):
        headline[f"surface_energy_{surface.name}_j_per_m2"] = surface.energy
        headline[f"surface_energy_{surface.name}_j_per_m2_std"] = surface.std
        if result.wulff is not None:
            headline[f"wulff_area_share_{surface.name}"] = result.area_shares[surface.name]
            headline[f"wulff_area_share_{surface.name}_std"] = float(std)
    if grown is not None:
        headline["grown_surface_energy_j_per_m2"] = float(grown.energies.mean())
        headline["grown_surface_energy_j_per_m2_std"] = float(grown.energies.std())
    more: dict[str, Any] = {"lattice": result.lattice, "bulk_energy_ev_per_atom": float(result.bulk_energies.mean())}
    if result.wulff is not None:
        more["wulff"] = {"weighted_energy": result.wulff.weighted_energy, "anisotropy": result.wulff.anisotropy}
    if grown is not None:
        more["grown"] = vars(grown)
    write_json(out / "surfaces.json", headline | more | {"members_with_a_shape": len(result.member_shares)})
    columns: dict[str, list[Any]] = {
        "surface": [surface.name for surface in result.surfaces],
        "energy_j_per_m2": [surface.energy for surface in result.surfaces],
        "std_j_per_m2": [surface.std for surface in result.surfaces],
        "by_bulk_energy_j_per_m2": [float(surface.by_bulk.mean()) for surface in result.surfaces],
        "oracle_j_per_m2": [surface.oracle_energy for surface in result.surfaces],
        "wulff_area_share": [result.area_shares.get(surface.name, float("nan")) for surface in result.surfaces],
        "converged": [int(surface.converged) for surface in result.surfaces],
    }
    write_csv(out / "surfaces.csv", columns)
    write_structures(out / "surfaces.extxyz", [slab for surface in result.surfaces for slab in surface.slabs])
    write_figure(out / "surfaces.png", _figure(result, grown))
    return headline


def _figure(result: SurfacesResult, grown: GrownSurface | None) -> Figure:
    figure = Figure(figsize=(9.0, 4.4), layout="constrained")
    grid = figure.add_gridspec(1, 2)
    bars = figure.add_subplot(grid[0])
    bars.spines[["top", "right"]].set_visible(False)
    names = [f"({surface.name})" for surface in result.surfaces]
    colours = [FACES[k % len(FACES)] for k in range(len(names))]
    energies, stds = [s.energy for s in result.surfaces], [s.std for s in result.surfaces]
    bars.bar(names, energies, yerr=stds if any(stds) else None, color=colours, ecolor=INK, width=0.6)
    told = [surface.oracle_energy for surface in result.surfaces]
    if np.isfinite(told).any():
        bars.plot(names, told, "o", color=ACCENT, ms=7, label="oracle")
    if grown is not None:
        bars.axhline(float(grown.energies.mean()), color=INK, lw=1, ls="--", label="the slab that grew")
    if bars.get_legend_handles_labels()[0]:
        bars.legend(frameon=False, fontsize=9)
    ends = np.concatenate([np.add(energies, stds), np.subtract(energies, stds), told])
    ends = ends[np.isfinite(ends)]
    bars.set(ylabel="surface energy, J/m²", ylim=(min(0.0, 1.1 * ends.min()), max(0.0, 1.1 * ends.max())))
    if result.wulff is not None:
        draw_wulff(figure, grid[1], result.wulff, names, colours)
    return figure


def draw_wulff(figure: Figure, place: Any, shape: Wulff, names: list[str], colours: list[str]) -> None:
    """Draw an equilibrium shape in space, shaded by how its faces lie to the light."""
    axes = figure.add_subplot(place, projection="3d")
    light = np.array([0.45, 0.3, 0.85])
    for face, kind in zip(shape.faces, shape.face_kinds, strict=True):
        middle = face.mean(axis=0)
        bright = 0.72 + 0.28 * float(middle @ light) / (np.linalg.norm(middle) * np.linalg.norm(light))
        colour = np.clip(np.array(to_rgb(colours[kind])) * bright, 0.0, 1.0)
        axes.add_collection3d(Poly3DCollection([face], facecolors=[colour], edgecolors=INK, linewidths=0.6))
    rim = 0.75 * max(float(np.abs(face).max()) for face in shape.faces)
    axes.set(xlim=(-rim, rim), ylim=(-rim, rim), zlim=(-rim, rim))
    axes.set_box_aspect((1, 1, 1))
    axes.view_init(elev=22, azim=28)
    axes.set_axis_off()
    shown = [k for k, share in enumerate(shape.area_shares) if share > 0]
    handles = [Patch(color=colours[k], label=f"{names[k]} {100 * shape.area_shares[k]:.1f} %") for k in shown]
    axes.legend(handles=handles, frameon=False, fontsize=9, loc="lower center", ncols=3, bbox_to_anchor=(0.5, -0.08))
