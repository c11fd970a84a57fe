"""The structure of what grew: coordination, pair distances, order of every atom, twins and axes, facets.

Several crystals (walkers, seeds) of one kind are looked at together: every number is the mean over them with its
standard error, std/√(n − 1).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict, Field

from growth.errors import InputError
from growth.observables import coordination, neighbour_sets, signature
from growth.order import KINDS, Order
from growth.periodic import nearest_images
from growth.study.bond_order import DEGREES, IDEAL, bond_order
from growth.study.facets import FACETS, PLACES, Surface, surface
from growth.study.pair_distribution import PairDistribution, pair_distribution
from growth.study.picture import draw_atoms, main_axes, new_panels
from growth.study.results import ACCENT, BAND, INK, SECOND, write_csv, write_figure, write_json, write_structures

FIVEFOLD, STRAIGHT = (5, 5, 5), np.cos(np.radians(30.0))
"""Signature of a bond on a five-fold axis; cosine of the angle up to which two such bonds make one axis."""
BULK_LIKE = 12
"""Neighbours from which an atom counts where bond order is averaged."""
PLACE_COLOURS = {
    "111": "#2f7d8c",
    "100": "#e0a458",
    "110": "#8f5fa8",
    "edge": "#9fb3c8",
    "vertex": "#566778",
    "other": "#d64545",
    "inside": "0.93",
}


class StructureSettings(BaseModel):
    """How structure is read. Lengths in Å."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    bond_length: float | None = Field(default=None, gt=0, description="of neighbours; default: sum of two bond radii")
    farthest: float = Field(default=9.0, gt=0, le=100, description="distance up to which pairs are counted")
    width: float = Field(default=0.1, gt=0, description="of a bin of pair distances")
    bond_order: bool = Field(default=True, description="Steinhardt's q and w, which take freud (kossel[study])")


@dataclass(frozen=True)
class CrystalStructure:
    """One crystal, looked at.

    Attributes:
        structure: as given. coordination: (n_atoms,). kinds: (n_atoms,), of `growth.order.KINDS`.
        stacking_faults: share of hcp among fcc and hcp atoms. n_axes: five-fold axes. fivefold_bonds: per atom.
        pairs: its radial distribution. surface: its facets.
        bond_order: (n_atoms,) each of q4, q6, w4, w6; empty where not asked for.
    """

    structure: Atoms
    coordination: np.ndarray
    kinds: list[str]
    stacking_faults: float
    n_axes: int
    fivefold_bonds: float
    pairs: PairDistribution
    surface: Surface
    bond_order: dict[str, np.ndarray]

    def numbers(self) -> dict[str, float]:
        """Everything that is one number; mean bond order of bulk-like atoms, nan where there are none."""
        n = len(self.structure)
        inner = self.coordination >= BULK_LIKE
        kinds, places = Counter(self.kinds), Counter(self.surface.places)
        exposed = max(n - places["inside"], 1)
        numbers = {
            "coordination": float(self.coordination.mean()),
            "stacking_faults": self.stacking_faults,
            "fivefold_axes": float(self.n_axes),
            "fivefold_bonds_per_atom": self.fivefold_bonds,
        }
        numbers |= {f"share_{kind}": kinds[kind] / n for kind in KINDS}
        numbers |= {f"area_share_{facet}": share for facet, share in self.surface.shares.items()}
        numbers |= {f"surface_atoms_{place}": places[place] / exposed for place in PLACES if place != "inside"}
        for name, values in self.bond_order.items():
            numbers[name] = float(np.nanmean(values[inner])) if inner.any() else float("nan")
        return numbers


@dataclass(frozen=True)
class StructureResult:
    """Several crystals, and what they have in common.

    Attributes:
        crystals: one each. means, errors: of each number over those that have it, and its standard error (nan for one).
        histogram, histogram_error: (14,), share of atoms with 0 … 13 and more neighbours.
        density, density_error: (n_bins,), radial distribution.
        wulff: area shares of the Wulff shape to compare with, by facet; empty where not given.
    """

    crystals: list[CrystalStructure]
    means: dict[str, float]
    errors: dict[str, float]
    histogram: np.ndarray
    histogram_error: np.ndarray
    density: np.ndarray
    density_error: np.ndarray
    wulff: dict[str, float]


def structure_of(
    crystals: Sequence[Atoms],
    settings: StructureSettings = StructureSettings(),  # noqa: B008 - frozen
    wulff: Mapping[str, float] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> StructureResult:
    """Look at the structure of crystals.

    Args:
        crystals: one or several of a kind. settings: how. wulff: area shares of the equilibrium shape ("111": 0.64, …).
        progress: told what is done.

    Raises:
        InputError: no crystals, or freud is missing where bond order is asked for.
    """
    if len(crystals) == 0:
        raise InputError("structure: expected at least one crystal, got none")
    found = []
    for k, crystal in enumerate(crystals):
        progress(f"structure of crystal {k + 1} of {len(crystals)}, {len(crystal)} atoms")
        found.append(_looked_at(crystal, settings))
    each = [crystal.numbers() for crystal in found]
    columns = {name: np.array([numbers[name] for numbers in each]) for name in each[0]}
    histograms = [np.bincount(np.minimum(c.coordination, 13), minlength=14) / len(c.structure) for c in found]
    histogram, histogram_error = mean_and_error(np.array(histograms))
    density, density_error = mean_and_error(np.array([c.pairs.density for c in found]))
    summary = {name: mean_and_error(values[np.isfinite(values)]) for name, values in columns.items()}
    return StructureResult(
        crystals=found,
        means={name: float(mean) for name, (mean, _) in summary.items()},
        errors={name: float(error) for name, (_, error) in summary.items()},
        histogram=histogram,
        histogram_error=histogram_error,
        density=density,
        density_error=density_error,
        wulff=dict(wulff or {}),
    )


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis and its standard error; nan for what one value, or none, does not tell.

    >>> [float(x) for x in mean_and_error(np.array([1.0, 3.0]))]
    [2.0, 1.0]
    """
    n = len(values)
    unknown = np.full(values.shape[1:], np.nan)
    mean = values.mean(axis=0) if n else unknown
    return np.asarray(mean), np.asarray(values.std(axis=0) / (n - 1) ** 0.5 if n > 1 else unknown)


def _looked_at(crystal: Atoms, settings: StructureSettings) -> CrystalStructure:
    order = Order(crystal, settings.bond_length)
    axes, n_bonds = fivefold_axes(crystal, settings.bond_length)
    return CrystalStructure(
        structure=crystal.copy(),
        coordination=coordination(crystal, bond_length=settings.bond_length),
        kinds=list(order.kinds),
        stacking_faults=order.stacking_faults,
        n_axes=axes,
        fivefold_bonds=n_bonds / len(crystal),
        pairs=pair_distribution(crystal, settings.farthest, settings.width),
        surface=surface(crystal, settings.bond_length),
        bond_order=bond_order(crystal, settings.bond_length) if settings.bond_order else {},
    )


def fivefold_axes(crystal: Atoms, bond_length: float | None = None) -> tuple[int, int]:
    """How many five-fold axes a crystal has, straight chains of bonds around which five atoms lie; and those bonds."""
    neighbours = neighbour_sets(crystal, bond_length)
    graph = nx.Graph()
    pairs = [(a, b) for a, around in enumerate(neighbours) for b in around if a < b]
    rings = [pair for pair in pairs if signature(*pair, neighbours) == FIVEFOLD]
    graph.add_nodes_from(rings)
    at: dict[int, list[tuple[int, int]]] = {}
    for pair in rings:
        for atom in pair:
            at.setdefault(atom, []).append(pair)
    for atom, meeting in at.items():
        ends = np.array([crystal.positions[sum(pair) - atom] - crystal.positions[atom] for pair in meeting])
        units = nearest_images(ends, crystal)
        units /= np.linalg.norm(units, axis=1)[:, None]
        for a, b in zip(*np.nonzero(np.triu(units @ units.T < -STRAIGHT, 1)), strict=True):
            graph.add_edge(meeting[a], meeting[b])
    return nx.number_connected_components(graph), len(rings)


def write_structure(result: StructureResult, out: Path) -> dict[str, Any]:
    """Write `structure.json`, `.csv` (a line a crystal), `_rdf.csv`, `.extxyz`, `.png`; return the headline numbers."""
    chosen = ["coordination", "share_fcc", "share_hcp", "share_ico", "stacking_faults", "fivefold_axes"]
    chosen += [f"area_share_{facet}" for facet in FACETS] + (["q6"] if "q6" in result.means else [])
    headline: dict[str, Any] = {"n_crystals": len(result.crystals)}
    for name in chosen:
        headline |= {name: result.means[name], f"{name}_error": result.errors[name]}
    everything = {"means": result.means, "errors": result.errors, "wulff_area_shares": result.wulff}
    write_json(out / "structure.json", headline | everything | {"coordination_histogram": result.histogram})
    rows = [{"n_atoms": len(c.structure)} | c.numbers() for c in result.crystals]
    write_csv(out / "structure.csv", {name: [row[name] for row in rows] for name in rows[0]})
    radii = result.crystals[0].pairs.radii
    columns = {"r_A": radii, "g": result.density, "g_error": result.density_error}
    columns["neighbours"] = np.mean([crystal.pairs.neighbours for crystal in result.crystals], axis=0)
    write_csv(out / "structure_rdf.csv", columns)
    write_structures(out / "structure.extxyz", [_marked(crystal) for crystal in result.crystals])
    write_figure(out / "structure.png", _figure(result))
    return headline


def _marked(crystal: CrystalStructure) -> Atoms:
    """The crystal with arrays: coordination, order and place as numbers in `KINDS` and `PLACES`, bond order."""
    marked = crystal.structure.copy()
    marked.info = {}
    marked.arrays["coordination"] = crystal.coordination
    marked.arrays["order_kind"] = np.array([KINDS.index(kind) for kind in crystal.kinds])
    marked.arrays["surface_place"] = np.array([PLACES.index(place) for place in crystal.surface.places])
    for name, values in crystal.bond_order.items():
        marked.arrays[name] = values
    return marked


def _figure(result: StructureResult) -> Figure:
    figure, panels = new_panels(3, 12.0, 7.6, rows=2)
    picture, rdf, neighbours, kinds, order, facets = panels
    first = result.crystals[0]
    draw_atoms(picture, first.structure, [PLACE_COLOURS[p] for p in first.surface.places], main_axes(first.structure))
    shown = [place for place in PLACES if place in first.surface.places]
    handles = [picture.plot([], [], "o", color=PLACE_COLOURS[p], mec=INK, mew=0.4, label=p)[0] for p in shown]
    picture.legend(handles=handles, frameon=False, fontsize=8, loc="upper center", ncols=4, bbox_to_anchor=(0.5, 0.0))
    radii, error = first.pairs.radii, np.nan_to_num(result.density_error)
    rdf.fill_between(radii, result.density - error, result.density + error, color=BAND, lw=0)
    rdf.plot(radii, result.density, color=INK, lw=1)
    rdf.axhline(1.0, color=BAND, lw=0.8, ls="--")
    rdf.set(xlabel="distance, Å", ylabel="g(r)", xlim=(0, radii[-1]), ylim=(0, None))
    _bars(neighbours, [str(k) for k in range(14)], result.histogram, result.histogram_error)
    neighbours.set(xlabel="neighbours", ylabel="share of the atoms")
    _named_bars(kinds, result, [f"share_{kind}" for kind in KINDS], list(KINDS), "share of the atoms")
    _draw_bond_order(order, result)
    names = [f"area_share_{facet}" for facet in FACETS]
    _named_bars(facets, result, names, [*(f"({f})" for f in FACETS[:-1]), "other"], "share of the surface")
    if result.wulff:
        wulff = [result.wulff.get(facet, 0.0) for facet in FACETS]
        facets.plot(range(len(FACETS)), wulff, "_", ms=28, mew=2, color=ACCENT, label="Wulff shape")
        facets.legend(frameon=False, fontsize=9)
    return figure


def _bars(axes: Axes, names: Sequence[str], values: np.ndarray, errors: np.ndarray) -> None:
    bars = errors if np.isfinite(errors).all() else None
    axes.bar(range(len(names)), values, yerr=bars, color=SECOND, ecolor=INK, width=0.7, error_kw={"lw": 1})
    axes.set_xticks(range(len(names)), names)


def _named_bars(axes: Axes, result: StructureResult, keys: list[str], names: list[str], label: str) -> None:
    _bars(axes, names, np.array([result.means[k] for k in keys]), np.array([result.errors[k] for k in keys]))
    axes.set_ylabel(label)


def _draw_bond_order(axes: Axes, result: StructureResult) -> None:
    """q6 against q4 of the bulk-like atoms, and where perfect crystals lie."""
    axes.set(xlabel=f"$q_{DEGREES[0]}$", ylabel=f"$q_{DEGREES[1]}$")
    for crystal in result.crystals:
        if crystal.bond_order:
            inner = crystal.coordination >= BULK_LIKE
            axes.plot(crystal.bond_order["q4"][inner], crystal.bond_order["q6"][inner], ".", color=SECOND, ms=5)
    for name, (q4, q6, _, _) in IDEAL.items():
        axes.plot(q4, q6, "o", ms=9, mfc="none", mec=ACCENT)
        axes.annotate(name, (q4, q6), (6, 4), textcoords="offset points", color=ACCENT, fontsize=9)
    axes.set(xlim=(-0.02, 0.26), ylim=(0.25, 0.7))
