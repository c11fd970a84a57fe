"""Relax many open clusters of one size in step: the optimiser of relax.py with an array axis for the structures.

Searches for ground states relax thousands of small clusters on cheap models, where a Python step for each structure
would cost more than its forces. Same springs, same L-BFGS recursion, same retreat from a step that raises the energy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from growth.energy_model import EnergyModel
from growth.relax import ENERGY_NOISE, MAX_STEP

MEMORY = 12
"""Pairs of steps and force changes that L-BFGS remembers."""
SPRING_CONSTANT = 1.0
"""eV/Å² of a spring between nearest neighbours, until curvature has been measured."""


@dataclass(frozen=True)
class RelaxedBatch:
    """Lowest points that relaxations saw, one row a structure.

    Attributes:
        positions: (n_structures, n_atoms, 3), Å.
        energies: (n_structures,), eV; infinite where the model never gave a number.
        atom_energies: (n_structures, n_atoms), eV.
        converged: (n_structures,), whether every atom's force is below fmax.
    """

    positions: np.ndarray
    energies: np.ndarray
    atom_energies: np.ndarray
    converged: np.ndarray


def relax_together(
    positions: np.ndarray, symbols: Sequence[str] | str, model: EnergyModel, fmax: float, max_calls: int
) -> RelaxedBatch:
    """Relax open clusters of equal composition to a largest force of fmax.

    Args:
        positions: (n_structures, n_atoms, 3), Å, left unchanged.
        symbols: of one structure's atoms, as `ase.Atoms` takes them.
        model: asked once a round for all structures that still move.
        fmax: eV/Å.
        max_calls: force calls that a structure may take.
    """
    n_structures, n_atoms, _ = positions.shape
    best = RelaxedBatch(
        positions.astype(float),
        np.full(n_structures, np.inf),
        np.zeros((n_structures, n_atoms)),
        np.zeros(n_structures, dtype=bool),
    )
    structures = [Atoms(symbols, rows) for rows in positions]
    rows, descent, trial = np.arange(n_structures), _Descent(positions.astype(float)), positions.astype(float)
    for call in range(max_calls):
        if len(rows) == 0:
            break
        for structure, moved in zip(structures, trial, strict=False):
            structure.positions = moved
        prediction = model(structures[: len(rows)])
        energies, forces = np.array(prediction.energies, dtype=float), np.array(prediction.forces, dtype=float)
        finite = np.isfinite(energies) & np.isfinite(forces).all(axis=(1, 2))
        with np.errstate(over="ignore", invalid="ignore"):
            largest = np.sqrt((forces**2).sum(axis=2)).max(axis=1, initial=0.0)
        lower = finite & (energies < best.energies[rows])
        better = rows[lower]
        best.positions[better], best.energies[better] = trial[lower], energies[lower]
        best.atom_energies[better] = np.array(prediction.atom_energies, dtype=float)[lower]
        best.converged[better] = largest[lower] <= fmax
        going = finite & (largest > fmax)
        rows, descent = rows[going], descent.only(going)
        trial = descent.next(energies[going], forces[going]) if call + 1 < max_calls and len(rows) else trial
    return best


@dataclass
class _Descent:
    """L-BFGS of a batch: `steps` and `changes` hold the pairs remembered, latest last, `weights` 1/(step·change)."""

    positions: np.ndarray
    inverse_springs: np.ndarray = field(default_factory=lambda: np.empty(0))
    energies: np.ndarray | None = None

    def __post_init__(self) -> None:
        n_structures = len(self.positions)
        self.inverse_springs = _inverse_springs(self.positions)
        self.forces = np.zeros_like(self.positions)
        self.step = np.zeros_like(self.positions)
        self.steps: list[np.ndarray] = []
        self.changes: list[np.ndarray] = []
        self.weights: list[np.ndarray] = []
        self.scale = np.full(n_structures, 1.0 / SPRING_CONSTANT)
        self.trust = np.full(n_structures, MAX_STEP)

    def only(self, kept: np.ndarray) -> "_Descent":
        """Forget the structures that have finished."""
        if kept.all():
            return self
        for name in ("positions", "inverse_springs", "forces", "step", "scale", "trust"):
            setattr(self, name, getattr(self, name)[kept])
        self.energies = None if self.energies is None else self.energies[kept]
        for name in ("steps", "changes", "weights"):
            setattr(self, name, [values[kept] for values in getattr(self, name)])
        return self

    def next(self, energies: np.ndarray, forces: np.ndarray) -> np.ndarray:
        """Positions to try next, given energies and forces of those tried last."""
        if self.energies is None:
            self.energies, self.forces = energies, forces
        else:
            self._remember(forces)
            risen = energies > self.energies + ENERGY_NOISE * np.abs(self.energies)
            longest = _longest(self.step)
            self.trust = np.where(risen, 0.4 * longest, np.minimum(MAX_STEP, np.maximum(2.0 * self.trust, longest)))
            self.energies = np.where(risen, self.energies, energies)
            self.forces = np.where(risen[:, None, None], self.forces, forces)
            self.positions = np.where(risen[:, None, None], self.positions, self.positions + self.step)
        step = self._two_loop()
        self.step = step * np.minimum(1.0, self.trust / np.maximum(_longest(step), 1e-12))[:, None, None]
        return self.positions + self.step

    def _remember(self, forces: np.ndarray) -> None:
        change = self.forces - forces
        curvature = _dot(self.step, change)
        upward = curvature > 1e-12
        softened = _dot(change, self.inverse_springs @ change)
        self.scale = np.where(upward, curvature / np.where(upward, softened, 1.0), self.scale)
        self.steps = [*self.steps[-MEMORY + 1 :], self.step]
        self.changes = [*self.changes[-MEMORY + 1 :], change]
        weight = np.where(upward, 1.0 / np.where(upward, curvature, 1.0), 0.0)
        self.weights = [*self.weights[-MEMORY + 1 :], weight]

    def _two_loop(self) -> np.ndarray:
        q, projections = self.forces, []
        for step, change, weight in zip(self.steps[::-1], self.changes[::-1], self.weights[::-1], strict=True):
            a = weight * _dot(step, q)
            q = q - a[:, None, None] * change
            projections.append(a)
        r = self.scale[:, None, None] * (self.inverse_springs @ q)
        for step, change, weight, a in zip(self.steps, self.changes, self.weights, projections[::-1], strict=True):
            r = r + step * np.where(weight > 0.0, a - weight * _dot(change, r), 0.0)[:, None, None]
        return r


def _inverse_springs(positions: np.ndarray, steepness: float = 3.0, anchor: float = 0.1) -> np.ndarray:
    """Inverse (n_structures, n_atoms, n_atoms) of the exponential spring network of Packwood et al. (2016)."""
    n_atoms = positions.shape[1]
    diagonal = np.arange(n_atoms)
    distances = np.sqrt(((positions[:, :, None] - positions[:, None]) ** 2).sum(axis=3))
    distances[:, diagonal, diagonal] = np.inf
    nearest = np.median(distances.min(axis=2), axis=1) if n_atoms > 1 else np.ones(len(positions))
    ratio = distances / nearest[:, None, None]
    weights = np.where(ratio < 2.5, np.minimum(np.exp(-steepness * (ratio - 1.0)), 1.0), 0.0)
    springs = -weights
    springs[:, diagonal, diagonal] += weights.sum(axis=2) + anchor
    return np.linalg.inv(springs)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner products (n_structures,) of arrays (n_structures, n_atoms, 3)."""
    return np.asarray(np.einsum("kij,kij->k", a, b))


def _longest(step: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt((step**2).sum(axis=2)).max(axis=1, initial=0.0))
