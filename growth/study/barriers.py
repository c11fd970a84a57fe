"""Barriers by climbing-image nudged elastic bands, all images of a band in one call of the energy model.

The band is ASE's (`ase.mep.NEB`, improved tangents: Henkelman & Jónsson, J. Chem. Phys. 113, 9978 (2000); climbing
image: Henkelman, Uberuaga & Jónsson, ibid. 9901; first guess by the image-dependent pair potential: Smidstrup et al.,
J. Chem. Phys. 140, 214106 (2014)). It is first brought to rest roughly, then its highest image climbs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.calculators.singlepoint import SinglePointCalculator
from ase.mep import NEB
from ase.mep.neb import idpp_interpolate
from ase.optimize import FIRE
from ase.utils.forcecurve import ForceFit, fit_raw
from pydantic import BaseModel, ConfigDict, Field

from growth.energy_model import EnergyModel
from growth.errors import InputError
from growth.periodic import nearest_images
from growth.relax import Relaxed, movable_atoms, relax
from growth.saddles import same_structure
from growth.study.results import ACCENT, BAND, INK, new_figure, write_csv, write_figure, write_json, write_structures
from learner.prediction import Prediction


class BarrierSettings(BaseModel):
    """How a band is laid and brought to rest. Lengths in Å, energies in eV."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    n_images: int = Field(7, ge=1, description="images between the ends")
    spring: float = Field(0.1, gt=0, description="spring constant, eV/Å²")
    fmax: float = Field(0.01, gt=0, description="largest force left on the band and at the ends, eV/Å")
    rough_fmax: float = Field(0.1, gt=0, description="largest force at which the highest image begins to climb, eV/Å")
    max_steps: int = Field(600, ge=1, description="steps of the band, rough and climbing together")
    relax_ends: bool = Field(True, description="relax both ends first")
    same: float = Field(0.3, gt=0, description="ends none of whose atoms is further apart are one structure")
    shallow: float = Field(0.005, gt=0, description="a dip less deep than this along the band is no minimum")


@dataclass(frozen=True)
class BarrierResult:
    """A path of least energy between two minima.

    Attributes:
        images: (n_images + 2) structures, ends included. path: (n_images + 2,), Å, length along the band.
        energies: (n_images + 2,), eV. member_energies: (n_members, n_images + 2), eV.
        curve: spline through energies and slopes: `fit_path` (Å), `fit_energies` (eV above the start).
        fmax: eV/Å, largest force left across the band, the climbing image's whole force among them.
        converged: whether that is below the settings' and both ends relaxed.
        n_calls: calls of the model for the band, each for all images; n_end_calls: force calls that the ends took.
        between: minima that the band passes through, relaxed; neither end is among them.
        oracle: (n_images + 2,), eV, nan where a label failed; None without an oracle.
    """

    images: list[Atoms]
    path: np.ndarray
    energies: np.ndarray
    member_energies: np.ndarray
    curve: ForceFit
    fmax: float
    converged: bool
    n_calls: int
    n_end_calls: int
    between: list[Relaxed]
    oracle: np.ndarray | None

    @property
    def highest(self) -> int:
        """Number of the highest image."""
        return int(self.energies.argmax())

    @property
    def barrier(self) -> float:
        """From the first end, eV."""
        return float(self.energies[self.highest] - self.energies[0])

    @property
    def reverse_barrier(self) -> float:
        """From the last end, eV."""
        return float(self.energies[self.highest] - self.energies[-1])

    def std(self, image: int, over: int = 0) -> float:
        """Std over the members, eV, of how far each puts one image above another."""
        return float((self.member_energies[:, image] - self.member_energies[:, over]).std())


def barrier(
    ends: tuple[Atoms, Atoms],
    model: EnergyModel,
    settings: BarrierSettings,
    rng: np.random.Generator,
    oracle: EnergyModel | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> BarrierResult:
    """The barrier between two structures.

    Args:
        ends: with the same atoms in the same order, the same cell and the same atoms held.
        oracle: asked for every image.

    Raises:
        InputError: the ends do not match, or relax to one and the same minimum.
    """
    _check(ends)
    n_end_calls, relaxed = 0, True
    if settings.relax_ends:
        rested = relax(list(ends), model, settings.fmax, 1000)
        ends = rested[0].structure, rested[1].structure
        n_end_calls, relaxed = sum(end.n_calls for end in rested), all(end.converged for end in rested)
        progress(f"ends at {rested[0].energy:.4f} and {rested[1].energy:.4f} eV")
    if same_structure(*ends, settings.same):
        raise InputError(f"ends: expected two minima, but both lead to one (no atom {settings.same} Å apart)")
    band = _Band(_guess(ends, settings.n_images), model, settings.spring)
    n_rough = _rest(band, max(settings.rough_fmax, settings.fmax), settings.max_steps)
    progress(f"band at rest to {settings.rough_fmax} eV/Å after {band.n_calls} calls; climbing")
    band.climb = True
    _rest(band, settings.fmax, settings.max_steps - n_rough)
    found, fmax = model(band.images), float(band.get_residual())
    held = ~movable_atoms(ends[0])
    forces = [np.where(held[:, None], 0.0, force) for force in found.forces]
    curve = fit_raw(
        found.energies, forces, [image.positions for image in band.images], band.images[0].cell, band.images[0].pbc
    )
    progress(f"barrier {found.energies.max() - found.energies[0]:.4f} eV after {band.n_calls} calls")
    return BarrierResult(
        images=[_bare(image) for image in band.images],
        path=np.array(curve.path),
        energies=np.array(found.energies, dtype=float),
        member_energies=np.array(found.member_energies, dtype=float),
        curve=curve,
        fmax=fmax,
        converged=bool(relaxed and fmax <= settings.fmax),
        n_calls=band.n_calls + 1,
        n_end_calls=n_end_calls,
        between=_dips(band.images, found.energies, model, settings),
        oracle=None if oracle is None else np.array(oracle([_bare(image) for image in band.images]).energies),
    )


def write_barrier(result: BarrierResult, out: Path) -> dict[str, Any]:
    """Write `barrier.json`, `.csv` (along the band), `.extxyz` (images, then minima between) and `.png`."""
    top = result.highest
    headline = {
        "barrier_ev": result.barrier,
        "barrier_ev_std": result.std(top),
        "reverse_barrier_ev": result.reverse_barrier,
        "reverse_barrier_ev_std": result.std(top, len(result.images) - 1),
        "change_ev": float(result.energies[-1] - result.energies[0]),
        "converged": result.converged,
        "fmax_ev_per_A": result.fmax,
        "model_calls": result.n_calls,
        "minima_between": len(result.between),
    }
    if result.oracle is not None:
        headline["oracle_barrier_ev"] = float(result.oracle[top] - result.oracle[0])
        headline["oracle_reverse_barrier_ev"] = float(result.oracle[top] - result.oracle[-1])
    above = [minimum.energy - result.energies[0] for minimum in result.between]
    curve = {"path_A": result.curve.fit_path, "energy_above_start_ev": result.curve.fit_energies}
    write_json(out / "barrier.json", {**headline, "minima_between_above_start_ev": above, "curve": curve})
    columns = {
        "path_A": result.path,
        "energy_ev": result.energies,
        "above_start_ev": result.energies - result.energies[0],
        "std_ev": [result.std(k) for k in range(len(result.images))],
    }
    if result.oracle is not None:
        columns["oracle_above_start_ev"] = result.oracle - result.oracle[0]
    write_csv(out / "barrier.csv", columns)
    images = [image.copy() for image in result.images] + [minimum.structure.copy() for minimum in result.between]
    energies = [*result.energies.tolist(), *(minimum.energy for minimum in result.between)]
    for number, (image, energy) in enumerate(zip(images, energies, strict=True)):
        image.info = {"kind": "image" if number < len(result.images) else "minimum between", "energy": energy}
    write_structures(out / "barrier.extxyz", images)
    _draw(result, out / "barrier.png")
    return headline


class _Band(NEB):
    """A band whose images are evaluated together."""

    def __init__(self, images: list[Atoms], model: EnergyModel, spring: float) -> None:
        super().__init__(images, k=spring, method="improvedtangent", remove_rotation_and_translation=False)
        self.model, self.n_calls = model, 0
        self.is_free = not images[0].pbc.any() and bool(movable_atoms(images[0]).all())
        _tell(images, model(images))

    def get_forces(self) -> np.ndarray:
        """Forces on the images between the ends, (n_images * n_atoms, 3), eV/Å."""
        if self.is_free:
            for before, image in zip(self.images, self.images[1:], strict=False):
                minimize_rotation_and_translation(before, image)
        _tell(self.images[1:-1], self.model([_bare(image) for image in self.images[1:-1]]))
        if self.is_free:  # the last end has been turned, and with it what is known of it
            _turned(self.images[-1])
        self.n_calls += 1
        return np.asarray(super().get_forces())

    def get_residual(self) -> float:
        """Largest force on any image, the climbing one's too, eV/Å."""
        forces = self.get_forces()
        return float(np.linalg.norm(forces, axis=1).max(initial=0.0))


def _tell(images: list[Atoms], found: Prediction) -> None:
    """Let images know their energies and forces."""
    for image, energy, forces in zip(images, found.energies, found.forces, strict=True):
        image.calc = SinglePointCalculator(image, energy=float(energy), forces=np.array(forces, dtype=float))


def _turned(image: Atoms) -> None:
    """A rigid motion leaves the energy as it was; the forces of an end are not asked for."""
    image.calc = SinglePointCalculator(image, energy=image.calc.results["energy"], forces=image.calc.results["forces"])


def _bare(image: Atoms) -> Atoms:
    """Copy without calculator."""
    return image.copy()


def _rest(band: _Band, fmax: float, max_steps: int) -> int:
    """Move the band until no force across it is above fmax; steps taken."""
    optimiser = FIRE(band, logfile=None)
    optimiser.run(fmax=fmax, steps=max_steps)
    return int(optimiser.nsteps)


def _guess(ends: tuple[Atoms, Atoms], n_images: int) -> list[Atoms]:
    """First band: straight along nearest images, then by the image-dependent pair potential."""
    first, last = ends[0].copy(), ends[1].copy()
    if first.pbc.any():
        last.positions = first.positions + nearest_images(last.positions - first.positions, first)
    elif movable_atoms(first).all():
        minimize_rotation_and_translation(first, last)
    images = [first, *(first.copy() for _ in range(n_images)), last]
    for image, share in zip(images, np.linspace(0.0, 1.0, n_images + 2), strict=True):
        image.positions = first.positions + share * (last.positions - first.positions)
    chain = NEB(images, method="improvedtangent")
    idpp_interpolate(chain, traj=None, log=None, mic=bool(first.pbc.any()), fmax=0.1, steps=200)
    return images


def _dips(images: list[Atoms], energies: np.ndarray, model: EnergyModel, settings: BarrierSettings) -> list[Relaxed]:
    """Minima between the ends: where the energy dips, relaxed, unless that leads to an end or to one found already."""
    starts = []
    for k in range(1, len(images) - 1):
        lower = energies[k] < min(energies[k - 1], energies[k + 1])
        walls = min(energies[:k].max(), energies[k + 1 :].max())
        if lower and walls - energies[k] > settings.shallow:
            starts.append(_bare(images[k]))
    found: list[Relaxed] = []
    for minimum in relax(starts, model, settings.fmax, 1000):
        known = [images[0], images[-1], *(other.structure for other in found)]
        if minimum.converged and not any(same_structure(minimum.structure, other, settings.same) for other in known):
            found.append(minimum)
    return found


def _check(ends: tuple[Atoms, Atoms]) -> None:
    first, last = ends
    if not np.array_equal(first.numbers, last.numbers):
        raise InputError(f"ends: expected the same atoms in the same order, got {first.symbols} and {last.symbols}")
    if not (np.allclose(first.cell[:], last.cell[:], atol=1e-6) and np.array_equal(first.pbc, last.pbc)):
        raise InputError("ends: expected the same cell and periodic directions of both")
    held = ~movable_atoms(first)
    if not np.array_equal(held, ~movable_atoms(last)):
        raise InputError("ends: expected the same atoms to be held by FixAtoms in both")
    off = np.linalg.norm(nearest_images(last.positions - first.positions, first), axis=1)[held].max(initial=0.0)
    if off > 1e-3:
        raise InputError(f"ends: expected held atoms in the same places, one is {off:.3g} Å away")


def _draw(result: BarrierResult, path: Path) -> None:
    figure, axes = new_figure(6.0, 4.0)
    heights = result.energies - result.energies[0]
    std = np.array([result.std(k) for k in range(len(heights))])
    curve = np.array(result.curve.fit_path), np.array(result.curve.fit_energies)
    if std.max() > 0:
        spread = np.interp(curve[0], result.path, std)
        axes.fill_between(curve[0], curve[1] - spread, curve[1] + spread, color=BAND, alpha=0.6, lw=0, label="std")
    axes.plot(*curve, color=INK, lw=1.6)
    axes.plot(result.path, heights, "o", color=INK, ms=5, label="images")
    if result.oracle is not None:
        axes.plot(result.path, result.oracle - result.oracle[0], "D", mec=ACCENT, mfc="none", ms=8, label="oracle")
    top = result.highest
    text = f"{result.barrier:.3f} eV" + (f" ± {std[top]:.3f}" if std[top] > 0 else "")
    axes.annotate(
        text, (result.path[top], heights[top]), xytext=(0, 8), textcoords="offset points", ha="center", color=INK
    )
    axes.set(xlabel="length along the path, Å", ylabel="energy above the start, eV")
    axes.margins(y=0.15)
    if std.max() > 0 or result.oracle is not None:
        axes.legend(frameon=False)
    write_figure(path, figure)
