"""Vibrations of a relaxed structure in the harmonic approximation, and the free energy that they give.

Rigid motions are projected out of the mass-weighted Hessian, exactly: six of a free cluster, five of a linear one,
three of a periodic structure, none where an atom is held. What remains are oscillators; a mode that is unstable is
reported and left out of the sums. Translation and rotation have no part in these free energies.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from pydantic import BaseModel, ConfigDict, Field

from growth.energy_model import EnergyModel, members_of
from growth.errors import InputError
from growth.kinetics import PLANCK
from growth.relax import Relaxed, longest, movable_atoms, relax
from growth.saddles import hessian
from growth.study.results import BAND, INK, SECOND, new_figure, write_csv, write_figure, write_json, write_structures

CM = units.invcm / PLANCK
"""Hz of one cm⁻¹."""


class VibrationSettings(BaseModel):
    """How vibrations are found. Lengths in Å."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    fmax: float = Field(0.001, gt=0, description="largest force left before the Hessian is taken, eV/Å")
    max_steps: int = Field(1000, ge=1, description="force calls of that relaxation")
    step: float = Field(0.01, gt=0, description="displacement of the central differences")
    highest_K: float = Field(1000.0, gt=0, description="temperatures go from zero to this")
    n_temperatures: int = Field(101, ge=2, description="how many temperatures, zero among them")
    members: bool = Field(True, description="the committee's std: a Hessian of every member (as many times the calls)")


@dataclass(frozen=True)
class Oscillators:
    """Sums over harmonic oscillators at temperatures; eV, and eV/K for entropy and heat capacities.

    Attributes:
        temperatures_K: (n_temperatures,). zero_point: eV.
        free_energy, entropy, heat_capacity: (n_temperatures,), quantum; zero-point energy included.
        classical_free_energy: (n_temperatures,), zero at T = 0. classical_heat_capacity: n_modes k_B, eV/K.
    """

    temperatures_K: np.ndarray
    zero_point: float
    free_energy: np.ndarray
    entropy: np.ndarray
    heat_capacity: np.ndarray
    classical_free_energy: np.ndarray
    classical_heat_capacity: float


@dataclass(frozen=True)
class VibrationsResult:
    """Vibrations of one minimum.

    Attributes:
        relaxed: the minimum. frequencies: (n_modes,), Hz, lowest first; an unstable mode's is negative.
        modes: (n_modes, n_atoms, 3), displacements of unit length, of no mass-weighting; held atoms have zeros.
        frequencies_std: (n_modes,), Hz, over the members; None where the model has none.
        n_rigid: motions left out. oscillators: of the stable modes. free_energy_std: (n_temperatures,), eV, or None.
        oracle_fmax: eV/Å, largest force by the oracle at the minimum; nan where its label failed, None without one.
    """

    relaxed: Relaxed
    frequencies: np.ndarray
    modes: np.ndarray
    frequencies_std: np.ndarray | None
    n_rigid: int
    oscillators: Oscillators
    free_energy_std: np.ndarray | None
    oracle_fmax: float | None

    @property
    def n_unstable(self) -> int:
        """Modes of negative curvature."""
        return int((self.frequencies < 0).sum())


def vibrations(
    structure: Atoms,
    model: EnergyModel,
    settings: VibrationSettings,
    rng: np.random.Generator,
    oracle: EnergyModel | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> VibrationsResult:
    """Relax a structure and find its harmonic frequencies and free energy.

    Args:
        structure: atoms under `FixAtoms` do not vibrate.
        oracle: asked for forces at the minimum.

    Raises:
        InputError: no atom may move.
    """
    if not movable_atoms(structure).any():
        raise InputError("structure: expected atoms that may move, got none; all are held by FixAtoms")
    relaxed = relax([structure], model, settings.fmax, settings.max_steps)[0]
    progress(f"relaxed in {relaxed.n_calls} calls; Hessian of {movable_atoms(structure).sum()} atoms")
    found, modes = normal_modes(relaxed.structure, hessian(relaxed.structure, model, settings.step))
    temperatures = np.linspace(0.0, settings.highest_K, settings.n_temperatures)
    spread, free_spread = None, None
    members = members_of(model, len(relaxed.member_energies))
    if settings.members and len(members) > 1:
        each = [normal_modes(relaxed.structure, hessian(relaxed.structure, m, settings.step))[0] for m in members]
        progress(f"Hessians of {len(members)} members")
        spread = np.std(each, axis=0)
        free_spread = np.std([oscillators(f[f > 0], temperatures).free_energy for f in each], axis=0)
    return VibrationsResult(
        relaxed=relaxed,
        frequencies=found,
        modes=modes,
        frequencies_std=spread,
        n_rigid=len(rigid_motions(relaxed.structure)),
        oscillators=oscillators(found[found > 0], temperatures),
        free_energy_std=free_spread,
        oracle_fmax=None if oracle is None else _largest_force(relaxed.structure, oracle),
    )


def normal_modes(structure: Atoms, curvatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies without rigid motions, and the modes.

    Args:
        structure: n of its atoms may move. curvatures: (3 n, 3 n), eV/Å², see `growth.saddles.hessian`.

    Returns:
        (n_modes,), Hz, lowest first, negative where unstable; (n_modes, n_atoms, 3), displacements of length one.
    """
    movable = movable_atoms(structure)
    roots = np.sqrt(np.repeat(structure.get_masses()[movable], 3))
    rigid = rigid_motions(structure).reshape(-1, 3 * int(movable.sum())) * roots
    inner = _complement(rigid)
    squares, vectors = np.linalg.eigh(inner.T @ (curvatures / np.outer(roots, roots)) @ inner)
    found = np.sign(squares) * np.sqrt(np.abs(squares)) * units.second / (2 * np.pi)
    moves = np.zeros((len(found), len(structure), 3))
    moves[:, movable] = ((inner @ vectors) / roots[:, None]).T.reshape(len(found), -1, 3)
    lengths = np.linalg.norm(moves.reshape(len(found), -1), axis=1)
    return np.asarray(found), moves / lengths[:, None, None]


def rigid_motions(structure: Atoms) -> np.ndarray:
    """Displacements (n_rigid, n_movable, 3) that cost no energy: 6, 5 (linear), 3 (periodic, or one atom), 0 (held)."""
    if not movable_atoms(structure).all():
        return np.zeros((0, int(movable_atoms(structure).sum()), 3))
    masses = structure.get_masses()
    around = structure.positions - structure.get_center_of_mass()
    motions = [np.broadcast_to(axis, around.shape) for axis in np.eye(3)]
    if not structure.pbc.any():
        motions += [np.cross(axis, around) for axis in np.eye(3)]
    weighted = (np.array(motions) * np.sqrt(masses)[:, None]).reshape(len(motions), -1)
    _, values, rows = np.linalg.svd(weighted, full_matrices=False)
    kept = rows[values > 1e-4 * values[0]].reshape(-1, len(structure), 3)
    return np.asarray(kept / np.sqrt(masses)[:, None])


def oscillators(frequencies: np.ndarray, temperatures_K: np.ndarray) -> Oscillators:
    """Harmonic free energy, entropy and heat capacity, quantum and classical.

    F = Σ [hν/2 + kT ln(1 − exp(−hν/kT))]; classical Σ kT ln(hν/kT).

    Args:
        frequencies: (n_modes,), Hz, > 0. temperatures_K: (n_temperatures,), K, ≥ 0.
    """
    quanta = PLANCK * np.asarray(frequencies, dtype=float)
    kT = units.kB * np.asarray(temperatures_K, dtype=float)[:, None]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        x = np.where(kT > 0, quanta / kT, np.inf)
        decay = np.exp(-x)
        occupied = decay / -np.expm1(-x)
        logs = -np.log1p(-decay)
        entropy = np.where(np.isfinite(x), np.where(decay > 0, x, 0.0) * occupied + logs, 0.0)
        heat = np.where(np.isfinite(x), np.where(decay > 0, x, 0.0) ** 2 * occupied * (1.0 + occupied), 0.0)
        classical = np.where(kT > 0, kT * np.log(np.where(np.isfinite(x), x, 1.0)), 0.0)
    zero_point = float(0.5 * quanta.sum())
    return Oscillators(
        temperatures_K=np.asarray(temperatures_K, dtype=float),
        zero_point=zero_point,
        free_energy=zero_point - (kT * logs).sum(axis=1),
        entropy=units.kB * entropy.sum(axis=1),
        heat_capacity=units.kB * heat.sum(axis=1),
        classical_free_energy=classical.sum(axis=1),
        classical_heat_capacity=float(units.kB * len(quanta)),
    )


def write_vibrations(result: VibrationsResult, out: Path) -> dict[str, Any]:
    """Write `vibrations.json`, `.csv` (temperatures), `.extxyz` (the minimum), `.png`; return the headline numbers."""
    sums, room = result.oscillators, int(np.abs(result.oscillators.temperatures_K - 300.0).argmin())
    headline = {
        "energy_ev": result.relaxed.energy,
        "converged": result.relaxed.converged,
        "n_modes": len(result.frequencies),
        "n_rigid": result.n_rigid,
        "n_unstable": result.n_unstable,
        "zero_point_ev": sums.zero_point,
        "temperature_K": sums.temperatures_K[room],
        "free_energy_ev": sums.free_energy[room],
        "free_energy_ev_std": None if result.free_energy_std is None else result.free_energy_std[room],
        "oracle_fmax_ev_per_A": result.oracle_fmax,
    }
    std = result.frequencies_std
    modes = {
        "frequencies_Hz": result.frequencies,
        "frequencies_per_cm": result.frequencies / CM,
        "frequencies_mev": 1000 * PLANCK * result.frequencies,
        "std_per_cm": None if std is None else std / CM,
    }
    write_json(out / "vibrations.json", {**headline, **modes, "std": "of the members" if std is not None else "none"})
    columns = {
        "temperature_K": sums.temperatures_K,
        "free_energy_ev": sums.free_energy,
        "entropy_ev_per_K": sums.entropy,
        "heat_capacity_ev_per_K": sums.heat_capacity,
        "classical_free_energy_ev": sums.classical_free_energy,
    }
    if result.free_energy_std is not None:
        columns["free_energy_ev_std"] = result.free_energy_std
    write_csv(out / "vibrations.csv", columns)
    minimum = result.relaxed.structure.copy()
    minimum.info = {"energy": result.relaxed.energy, "zero_point": sums.zero_point}
    write_structures(out / "vibrations.extxyz", [minimum])
    _draw(result, out / "vibrations.png")
    return headline


def _draw(result: VibrationsResult, path: Path) -> None:
    """Density of states on the left, free energy on the right."""
    figure, axes = new_figure(9.0, 3.8)
    axes.remove()
    left, right = figure.subplots(1, 2)
    for panel in (left, right):
        panel.spines[["top", "right"]].set_visible(False)
    waves, sums = result.frequencies / CM, result.oscillators
    grid = np.linspace(min(0.0, 1.1 * waves.min()), 1.08 * waves.max() + 1e-9, 600)
    width = max((waves.max() - waves.min()) / 40, 1e-3)
    density = np.exp(-0.5 * ((grid[:, None] - waves) / width) ** 2).sum(axis=1) / (width * np.sqrt(2 * np.pi))
    left.fill_between(grid, density, color=BAND, alpha=0.5, lw=0)
    left.plot(grid, density, color=INK, lw=1.2)
    left.vlines(waves, -0.05 * density.max(), -0.01 * density.max(), color=INK, lw=0.6)
    left.set(xlabel="wavenumber, cm⁻¹ (negative: unstable)", ylabel="modes per cm⁻¹", xlim=(grid[0], grid[-1]))
    right.plot(sums.temperatures_K, sums.free_energy, color=INK, lw=1.6, label="quantum")
    right.plot(sums.temperatures_K, sums.classical_free_energy, "--", color=SECOND, lw=1.4, label="classical")
    if result.free_energy_std is not None:
        low, high = sums.free_energy - result.free_energy_std, sums.free_energy + result.free_energy_std
        right.fill_between(sums.temperatures_K, low, high, color=BAND, alpha=0.6, lw=0, label="std of the committee")
    right.set(xlabel="temperature, K", ylabel="vibrational free energy, eV", xlim=(0, sums.temperatures_K[-1]))
    right.legend(frameon=False)
    write_figure(path, figure)


def _largest_force(structure: Atoms, oracle: EnergyModel) -> float:
    found = oracle([structure])
    movable = movable_atoms(structure)
    return longest(found.forces[0][movable]) if np.isfinite(found.energies[0]) else float("nan")


def _complement(rows: np.ndarray) -> np.ndarray:
    """Orthonormal columns (n, n − k) across independent rows (k, n)."""
    if len(rows) == 0:
        return np.eye(rows.shape[1])
    return np.asarray(np.linalg.qr(rows.T, mode="complete")[0][:, len(rows) :])
