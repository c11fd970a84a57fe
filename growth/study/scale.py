"""Energy against isotropic scale: the stable distance, how sure it is, and how the crystal comes apart.

All atoms move away from the centroid alike, and the cell with them where it repeats. The minimum is the one downhill
from the structure as it is, of a polynomial through the points around it; every member of a committee has a minimum of
its own, and their spread is the error of the stable distance.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms, units
from ase.eos import EquationOfState
from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from vesin import NeighborList

from growth.energy_model import EnergyModel
from growth.errors import InputError
from growth.study.picture import new_panels
from growth.study.results import ACCENT, BAND, INK, SECOND, write_csv, write_figure, write_json, write_structures
from growth.study.slab import kind_of, slab_axes

Mode = Literal["isotropic", "in-plane"]
DEGREE = 4
"""Of the polynomial around the minimum."""
STRAIN = 0.015
"""Largest change of length in the fit of the bulk modulus."""
NEAR = 0.12
"""Half width of the figure's first panel, in scale."""


class ScaleSettings(BaseModel):
    """Which scales are looked at. A scale of 1 is the structure as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    least: float = Field(default=0.85, gt=0.3, lt=1, description="smallest scale")
    most: float = Field(default=1.25, gt=1, le=2, description="largest scale of the dense part, around the minimum")
    step: float = Field(default=0.01, gt=0, le=0.05, description="between scales of the dense part")
    farthest: float = Field(default=3.0, gt=1, le=10, description="scale at which the crystal has come apart")
    n_far: int = Field(default=15, ge=0, description="scales between the dense part and the farthest")
    window: float = Field(default=0.04, gt=0, le=0.2, description="half width of the fit around the minimum, in scale")
    mode: Mode = Field(default="isotropic", description="in-plane: a slab is stretched along its surface only")
    n_oracle: int = Field(default=7, ge=1, description="scales at which the oracle is asked, where there is one")

    @model_validator(mode="after")
    def _fits(self) -> "ScaleSettings":
        if self.step * DEGREE > self.window:
            raise ValueError(f"window: expected at least {DEGREE} steps of {self.step}, got {self.window}")
        return self


@dataclass(frozen=True)
class ScaleResult:
    """An energy curve. Every std is the population std over the members of the committee.

    Attributes:
        structure: as given. stable: scaled to its minimum; None where there is none in the range.
        mode: what was stretched. kind: cluster, slab or bulk.
        scales: (n_scales,). energies: (n_scales,), eV, totals. member_energies: (n_members, n_scales), eV.
        isolated: (n_members,), eV, energy of all atoms infinitely far apart.
        stable_scale, stable_std: of the minimum downhill from 1; nan where there is none inside the range.
        stable_energies: (n_members,), eV, each member's energy at the common minimum.
        n_without: members that have no minimum inside the range.
        nearest: Å, mean distance of the nearest neighbours at a scale of 1.
        lattice_constants: (3,), Å, of the conventional cell at a scale of 1; None but for bulk.
        bulk_modulus, bulk_modulus_std: GPa, of the Birch–Murnaghan equation; nan but for bulk.
        oracle_scales, oracle_energies: (n_oracle,), eV, nan where a label failed; empty without an oracle.
    """

    structure: Atoms
    stable: Atoms | None
    mode: Mode
    kind: str
    scales: np.ndarray
    energies: np.ndarray
    member_energies: np.ndarray
    isolated: np.ndarray
    stable_scale: float
    stable_std: float
    stable_energies: np.ndarray
    n_without: int
    nearest: float
    lattice_constants: np.ndarray | None
    bulk_modulus: float
    bulk_modulus_std: float
    oracle_scales: np.ndarray
    oracle_energies: np.ndarray

    @property
    def cohesive_energies(self) -> np.ndarray:
        """(n_members,), eV per atom: what it takes to part all atoms of the stable structure."""
        return np.asarray((self.isolated - self.stable_energies) / len(self.structure))

    @property
    def lower_elsewhere(self) -> float:
        """eV per atom by which the lowest scale looked at lies below the stable one: a hole in the model if not 0."""
        return float(max(0.0, self.stable_energies.mean() - self.energies.min())) / len(self.structure)

    @property
    def difference_std(self) -> np.ndarray:
        """(n_scales,), eV per atom: std of the energy less that of the stable structure."""
        return np.asarray((self.member_energies - self.stable_energies[:, None]).std(axis=0) / len(self.structure))


def scale_curve(
    structure: Atoms,
    model: EnergyModel,
    settings: ScaleSettings = ScaleSettings(),  # noqa: B008 - frozen
    oracle: EnergyModel | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> ScaleResult:
    """Energy of a structure against its scale.

    Args:
        structure: at least two atoms; cluster, slab or bulk.
        model: asked in two batches. settings: the scales. oracle: asked at a few scales around the minimum.
        progress: told what is done.

    Raises:
        InputError: one atom alone, or `in-plane` where there is no slab.
    """
    if len(structure) < 2 and not structure.pbc.any():
        raise InputError("structure: expected at least two atoms to scale, got one")
    scales = _scales(settings)
    n_near = int((scales <= settings.most + 1e-9).sum())
    progress(f"energy at {len(scales)} scales")
    found = model([scaled(structure, s, settings.mode) for s in scales])
    members, near = found.member_energies, scales[:n_near]
    stable_scale = minimum(near, found.energies[:n_near], settings.window)
    own = np.array([minimum(near, energies[:n_near], settings.window) for energies in members])
    has = np.isfinite(own)
    stable = scaled(structure, stable_scale, settings.mode) if np.isfinite(stable_scale) else None
    kind = kind_of(structure)
    moduli = _bulk_moduli(structure, stable_scale, model)
    asked, told = _ask(oracle, structure, stable_scale, settings, progress)
    return ScaleResult(
        structure=structure.copy(),
        stable=stable,
        mode=settings.mode,
        kind=kind,
        scales=scales,
        energies=found.energies,
        member_energies=members,
        isolated=isolated_energies(structure, model),
        stable_scale=stable_scale,
        stable_std=_std_of_known(own),
        stable_energies=np.full(len(members), np.nan) if stable is None else model([stable]).member_energies[:, 0],
        n_without=int((~has).sum()),
        nearest=nearest_distance(structure),
        lattice_constants=_lattice_constants(structure) if kind == "bulk" else None,
        bulk_modulus=float(moduli[0]),
        bulk_modulus_std=float(moduli[np.isfinite(moduli)][1:].std())
        if np.isfinite(moduli).sum() > 1
        else float("nan"),
        oracle_scales=asked,
        oracle_energies=told,
    )


def scaled(structure: Atoms, scale: float, mode: Mode = "isotropic") -> Atoms:
    """A copy stretched about its centroid, cell and all; `in-plane`: along the surface only.

    >>> scaled(Atoms("Cu2", [[0, 0, 0], [2, 0, 0]]), 1.5).positions[:, 0].tolist()
    [-0.5, 2.5]
    """
    stretch = scale * np.eye(3)
    if mode == "in-plane":
        normal = slab_axes(structure).normal
        stretch = stretch + (1.0 - scale) * np.outer(normal, normal)
    centroid = structure.positions.mean(axis=0)
    copy = structure.copy()
    copy.set_constraint()
    copy.cell[:] = structure.cell[:] @ stretch
    copy.positions = centroid + (structure.positions - centroid) @ stretch
    copy.info = {}
    return copy


def minimum(x: np.ndarray, y: np.ndarray, window: float, start: float = 1.0) -> float:
    """Where a curve has its minimum, downhill from `start`; nan where that leads to an end of the range.

    Lower places beyond a barrier do not count: compressed far, a learned surface may have holes.

    Args:
        x: (n,), ascending. y: (n,). window: points so near the lowest one enter the polynomial of degree four.
    """
    k = int(np.argmin(np.abs(x - start)))
    while 0 < k < len(x) - 1 and min(y[k - 1], y[k + 1]) < y[k]:
        k += -1 if y[k - 1] < y[k + 1] else 1
    if k in (0, len(x) - 1) or not np.isfinite(y[k]):
        return float("nan")
    near = np.abs(x - x[k]) <= window + 1e-9
    fit = np.polynomial.Polynomial.fit(x[near], y[near] - y[k], min(DEGREE, int(near.sum()) - 1))
    roots = fit.deriv().roots()
    real = roots[np.abs(roots.imag) < 1e-9].real
    inside = real[(real >= x[k - 1]) & (real <= x[k + 1])]
    return float(inside[np.argmin(fit(inside))]) if len(inside) else float(x[k])


def isolated_energies(structure: Atoms, model: EnergyModel) -> np.ndarray:
    """(n_members,), eV: every member's energy of the structure's atoms, each alone."""
    symbols, counts = np.unique(structure.get_chemical_symbols(), return_counts=True)
    return np.asarray(model([Atoms(symbol) for symbol in symbols]).member_energies @ counts)


def nearest_distance(structure: Atoms) -> float:
    """Mean over the atoms of the distance to the nearest one, Å; images count."""
    cutoff = 4.0
    while True:
        i, d = NeighborList(cutoff=cutoff, full_list=True).compute(
            points=structure.positions,
            box=structure.cell.complete()[:] if structure.pbc.any() else np.zeros((3, 3)),
            periodic=structure.pbc,
            quantities="id",
        )
        nearest = np.full(len(structure), np.inf)
        np.minimum.at(nearest, i.astype(int), d)
        if np.isfinite(nearest).all():
            return float(nearest.mean())
        cutoff *= 2.0


def _scales(settings: ScaleSettings) -> np.ndarray:
    n_near = round((settings.most - settings.least) / settings.step) + 1
    near = settings.least + settings.step * np.arange(n_near)
    if settings.n_far == 0 or settings.farthest <= near[-1]:
        return near
    return np.concatenate([near, np.geomspace(near[-1], settings.farthest, settings.n_far + 1)[1:]])


def _ask(
    oracle: EnergyModel | None,
    structure: Atoms,
    stable: float,
    settings: ScaleSettings,
    progress: Callable[[str], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Scales around the minimum, the minimum among them, and the oracle's energies there."""
    if oracle is None:
        return np.zeros(0), np.zeros(0)
    centre = stable if np.isfinite(stable) else 1.0
    n_below = settings.n_oracle // 3
    below = np.linspace(max(settings.least, centre - 0.08), centre, n_below + 1)
    above = np.linspace(centre, min(settings.most, centre + 0.16), settings.n_oracle - n_below)
    asked = np.unique(np.concatenate([below, above]))
    progress(f"oracle at {len(asked)} scales")
    return asked, np.asarray(oracle([scaled(structure, s, settings.mode) for s in asked]).energies, dtype=float)


def _bulk_moduli(structure: Atoms, stable: float, model: EnergyModel) -> np.ndarray:
    """GPa, (1 + n_members,): of the mean curve, then of each member's; nan where there is no minimum."""
    if not (np.isfinite(stable) and kind_of(structure) == "bulk"):
        return np.full(2, np.nan)
    scales = stable * np.linspace(1.0 - STRAIN, 1.0 + STRAIN, 9)
    found = model([scaled(structure, s) for s in scales])
    volumes = structure.get_volume() * scales**3
    curves = np.vstack([found.energies, found.member_energies])
    return np.array([_bulk_modulus(volumes, energies) for energies in curves])


def _bulk_modulus(volumes: np.ndarray, energies: np.ndarray) -> float:
    """GPa, of energies against volumes; nan where no Birch–Murnaghan equation fits, as of a member that is far off."""
    try:
        _, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit(warn=False)
    except (RuntimeError, ValueError):
        return float("nan")
    return float(modulus / units.GPa)


def _std_of_known(values: np.ndarray) -> float:
    """Std of those that are numbers; nan where none is."""
    known = values[np.isfinite(values)]
    return float(known.std()) if len(known) else float("nan")


def _lattice_constants(structure: Atoms) -> np.ndarray:
    """(3,), Å, of the conventional cell."""
    crystal = Structure(structure.cell[:], structure.numbers, structure.positions, coords_are_cartesian=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of spglib's, about how pymatgen calls it
        conventional = SpacegroupAnalyzer(crystal, symprec=0.01).get_conventional_standard_structure()
    return np.array(conventional.lattice.abc)


def write_scale(result: ScaleResult, out: Path) -> dict[str, Any]:
    """Write `scale.json`, `scale.csv`, `scale.extxyz` and `scale.png`; return the headline numbers."""
    headline = _headline(result)
    oracle = {"scale": result.oracle_scales, "energy_ev": result.oracle_energies}
    write_json(out / "scale.json", headline | {"oracle": oracle, "n_members": len(result.member_energies)})
    columns: dict[str, np.ndarray] = {
        "scale": result.scales,
        "energy_ev": result.energies,
        "energy_std_ev": result.member_energies.std(axis=0),
        "energy_per_atom_ev": result.energies / len(result.structure),
        "std_of_difference_to_stable_ev_per_atom": result.difference_std,
    }
    write_csv(out / "scale.csv", columns)
    structures = [scaled(result.structure, s, result.mode) for s in result.scales]
    for structure, scale, energy in zip(structures, result.scales, result.energies, strict=True):
        structure.info |= {"scale": float(scale), "energy_ev": float(energy)}
    write_structures(out / "scale.extxyz", structures)
    write_figure(out / "scale.png", _figure(result))
    return headline


def _headline(result: ScaleResult) -> dict[str, Any]:
    cohesive = result.cohesive_energies
    headline: dict[str, Any] = {
        "n_atoms": len(result.structure),
        "kind": result.kind,
        "mode": result.mode,
        "stable_scale": result.stable_scale,
        "stable_scale_std": result.stable_std,
        "members_without_minimum": result.n_without,
        "lower_elsewhere_ev_per_atom": result.lower_elsewhere,
        "cohesive_energy_ev_per_atom": float(cohesive.mean()),
        "cohesive_energy_ev_per_atom_std": float(cohesive.std()),
    }
    if result.mode == "isotropic":
        headline |= {
            "stable_distance_A": result.stable_scale * result.nearest,
            "stable_distance_A_std": result.stable_std * result.nearest,
        }
    if result.lattice_constants is not None:
        headline |= {
            "lattice_constants_A": result.lattice_constants * result.stable_scale,
            "lattice_constants_A_std": result.lattice_constants * result.stable_std,
            "bulk_modulus_gpa": result.bulk_modulus,
            "bulk_modulus_gpa_std": result.bulk_modulus_std,
        }
    return headline


def _figure(result: ScaleResult) -> Figure:
    """Energy per atom above the stable structure: around the minimum, and until all atoms are apart."""
    n_atoms = len(result.structure)
    finite = np.isfinite(result.stable_energies).all()
    zero = float(result.stable_energies.mean() if finite else result.energies.min())
    relative, std = (result.energies - zero) / n_atoms, result.member_energies.std(axis=0) / n_atoms
    figure, (near, far) = new_panels(2, 10.0, 4.0)
    for axes in (near, far):
        if std.max() > 0.0:
            axes.fill_between(result.scales, relative - std, relative + std, color=BAND, alpha=0.35, lw=0, label="std")
        if finite and std.max() > 0.0:
            lower, upper = relative - result.difference_std, relative + result.difference_std
            axes.fill_between(result.scales, lower, upper, color=BAND, lw=0, label="std of the difference")
        axes.plot(result.scales, relative, color=INK, lw=1.5, label="model")
        if len(result.oracle_scales):
            points = (result.oracle_energies - zero) / n_atoms
            axes.plot(result.oracle_scales, points, "o", color=ACCENT, ms=5, zorder=3, label="oracle")
        axes.axvline(result.stable_scale, color=SECOND, lw=1, ls=":")
    apart = (result.isolated.mean() - zero) / n_atoms
    far.axhline(apart, color=SECOND, lw=1, ls="--")
    far.text(result.scales[-1], apart, "atoms alone", color=SECOND, ha="right", va="bottom", fontsize=9)
    centre = result.stable_scale if np.isfinite(result.stable_scale) else 1.0
    shown = np.abs(result.scales - centre) < NEAR
    top = float((relative + std)[shown].max())
    near.set(xlim=(centre - NEAR, centre + NEAR), ylim=(min(-0.06 * top, float((relative - std)[shown].min())), top))
    far.set(ylim=(min(-0.1 * apart, float((relative - std).min())), max(1.6 * apart, float(top))))
    what = "in-plane scale" if result.mode == "in-plane" else "scale"
    if result.mode == "isotropic":
        upper_axis = near.secondary_xaxis(
            "top", functions=(lambda s: np.multiply(s, result.nearest), lambda d: np.divide(d, result.nearest))
        )
        upper_axis.set_xlabel("nearest neighbours, Å")
    near.set(xlabel=what, ylabel="energy above the minimum, eV/atom")
    far.set(xlabel=what)
    near.legend(frameon=False, fontsize=9)
    return figure
