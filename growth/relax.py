"""Relax many structures at once: one batch of force calls a round, a state of its own for each structure.

An optimiser is a generator: it yields the positions it wants to know about and is sent their energy and forces.
`relax` drives all generators together, so that the model always sees a batch; who has finished leaves the batch.
Every decision is made of inner products and distances, so a rotated or renumbered structure takes the same path.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from growth.energy_model import EnergyModel
from learner.prediction import Prediction

Leaves = Callable[[Atoms, np.ndarray], bool]
"""Whether a structure, by it and the std of its forces (n_atoms,) in eV/Å, is one to stop at."""
Optimiser = Generator[np.ndarray, tuple[float, np.ndarray], None]
"""Yields positions (n_movable, 3) in Å; is sent (energy in eV, forces (n_movable, 3) in eV/Å)."""

MAX_STEP = 0.25
"""Å; no atom moves further than this between two force calls."""
ENERGY_NOISE = 1e-7
"""Relative rise of the energy that counts as rounding (single precision), not as a step too far."""


@dataclass(frozen=True)
class Relaxed:
    """The lowest point that a relaxation saw, or where it was stopped.

    Attributes:
        structure: relaxed copy, constraints kept, no calculator.
        energy: eV. forces: (n_atoms, 3), eV/Å, of all atoms, fixed ones too. forces_std: (n_atoms,), eV/Å.
        member_energies: (n_members,), eV.
        start_energy: eV, before the first step.
        converged: whether every movable atom's force is below fmax.
        n_calls: force calls that this structure took.
        stopped: whether it was stopped here on its way, as not to be followed any further.
        way: positions (n_atoms, 3) at each force call, where they were to be kept.
    """

    structure: Atoms
    energy: float
    forces: np.ndarray
    forces_std: np.ndarray
    member_energies: np.ndarray
    start_energy: float
    converged: bool
    n_calls: int
    stopped: bool = False
    way: tuple[np.ndarray, ...] = ()


def relax(
    structures: Sequence[Atoms],
    model: EnergyModel,
    fmax: float = 0.05,
    max_steps: int = 200,
    movable: Sequence[np.ndarray] | None = None,
    leaves: Leaves | None = None,
    keep_way: bool = False,
) -> list[Relaxed]:
    """Relax structures to a largest force of fmax, all in one batch.

    Args:
        structures: left unchanged. Atoms under `FixAtoms` do not move.
        model: asked once a round for all structures that still move.
        fmax: eV/Å, largest force norm on any movable atom.
        max_steps: force calls a structure may take.
        movable: for each structure a mask (n_atoms,) of the atoms that may move; fixed atoms stay fixed.
        leaves: says of each structure on the way whether to stop at it.
        keep_way: tell the positions at every force call.

    Returns:
        One `Relaxed` a structure, in order. Its energy is never above the energy at the start, unless it was stopped.
    """
    jobs = [
        _Job(structure, None if movable is None else movable[k], fmax, max_steps, leaves, keep_way)
        for k, structure in enumerate(structures)
    ]
    active = list(jobs)
    while active:
        prediction = model([job.trial for job in active])
        active = [job for k, job in enumerate(active) if job.advance(prediction, k)]
    return [job.result() for job in jobs]


def movable_atoms(structure: Atoms) -> np.ndarray:
    """Mask (n_atoms,) of the atoms that no `FixAtoms` constraint holds."""
    mask = np.ones(len(structure), dtype=bool)
    for constraint in structure.constraints:
        if isinstance(constraint, FixAtoms):
            mask[constraint.index] = False
    return mask


class _Job:
    """One structure on its way: its trial positions, its optimiser and the best point so far."""

    def __init__(
        self,
        structure: Atoms,
        movable: np.ndarray | None,
        fmax: float,
        max_steps: int,
        leaves: Leaves | None,
        keep_way: bool,
    ) -> None:
        self.trial = structure.copy()
        self.movable = movable_atoms(structure)
        if movable is not None:
            self.movable &= np.asarray(movable, dtype=bool)
        self.fmax, self.max_steps, self.leaves = fmax, max_steps, leaves
        self.way: list[np.ndarray] | None = [] if keep_way else None
        self.n_calls = 0
        self.start_energy = np.inf
        self.best: Relaxed | None = None
        self.optimiser = lbfgs(structure.positions[self.movable].copy())

    def advance(self, prediction: Prediction, k: int) -> bool:
        """Take in entry k of a batch's prediction; True when another force call is wanted."""
        energy, forces = float(prediction.energies[k]), np.asarray(prediction.forces[k], dtype=float)
        self.n_calls += 1
        finite = bool(np.isfinite(energy) and np.isfinite(forces).all())
        largest = float(np.sqrt((forces[self.movable] ** 2).sum(1)).max(initial=0.0)) if finite else np.inf
        if self.n_calls == 1:
            self.start_energy = energy
        if self.way is not None:
            self.way.append(self.trial.positions.copy())
        if self.leaves is not None and finite and self.leaves(self.trial, prediction.forces_std[k]):
            self.best = replace(self._record(prediction, k, energy, forces, converged=False), stopped=True)
            return False
        converged = largest <= self.fmax and energy <= self.start_energy
        if self.best is None or (finite and (energy < self.best.energy or converged)):
            self.best = self._record(prediction, k, energy, forces, converged)
        if converged or not finite or self.n_calls >= self.max_steps:
            return False
        if self.n_calls == 1:
            next(self.optimiser)
        self.trial.positions[self.movable] = self.optimiser.send((energy, forces[self.movable]))
        return True

    def _record(self, prediction: Prediction, k: int, energy: float, forces: np.ndarray, converged: bool) -> Relaxed:
        return Relaxed(
            structure=self.trial.copy(),
            energy=energy,
            forces=forces.copy(),
            forces_std=np.array(prediction.forces_std[k], dtype=float),
            member_energies=np.array(prediction.member_energies[:, k], dtype=float),
            start_energy=self.start_energy,
            converged=converged,
            n_calls=self.n_calls,
        )

    def result(self) -> Relaxed:
        assert self.best is not None, "relax() advances every job at least once"
        return replace(self.best, n_calls=self.n_calls, way=tuple(self.way or ()))


def lbfgs(positions: np.ndarray, memory: int = 30, bond_stiffness: float = 1.0) -> Optimiser:
    """Preconditioned L-BFGS without line search; a step that raises the energy is retaken, shorter.

    Two-loop recursion (Nocedal & Wright, Numerical Optimization, algorithm 7.4) whose first Hessian is a network of
    springs between near atoms (Packwood et al., J. Chem. Phys. 144, 164109 (2016)), scaled by the last curvature.

    Args:
        positions: (n_movable, 3), Å.
        memory: pairs of steps and force changes remembered.
        bond_stiffness: eV/Å² of a spring between nearest neighbours, until curvature has been measured.
    """
    springs = _springs(positions)
    history: list[tuple[np.ndarray, np.ndarray]] = []
    scale, trust = 1.0 / bond_stiffness, MAX_STEP
    energy, forces = yield positions
    while True:
        step = _clamped(_two_loop(forces, history, springs, scale), trust)
        trial = positions + step
        trial_energy, trial_forces = yield trial
        change = forces - trial_forces
        curvature = float((step * change).sum())
        if curvature > 1e-12:
            history = [*history[-memory + 1 :], (step, change)]
            scale = curvature / float((change * cho_solve(springs, change)).sum())
        if trial_energy > energy + ENERGY_NOISE * abs(energy):
            trust = 0.4 * longest(step)
            continue
        trust = min(MAX_STEP, max(2.0 * trust, longest(step)))
        positions, energy, forces = trial, trial_energy, trial_forces


class LbfgsMemory:
    """L-BFGS steps towards where a field of forces vanishes, be it no gradient; without springs or energies."""

    def __init__(self, memory: int = 20, stiffness: float = 5.0) -> None:
        self.memory, self.scale = memory, 1.0 / stiffness
        self.history: list[tuple[np.ndarray, np.ndarray]] = []
        self.last: tuple[np.ndarray, np.ndarray] | None = None

    def step(self, positions: np.ndarray, forces: np.ndarray) -> np.ndarray:
        """Next step (n, 3) in Å from positions where these forces were found."""
        if self.last is not None:
            step, change = positions - self.last[0], self.last[1] - forces
            curvature = float((step * change).sum())
            if curvature > 1e-12:
                self.history = [*self.history[-self.memory + 1 :], (step, change)]
                self.scale = curvature / float((change * change).sum())
            else:
                self.history = []
        self.last = positions, forces
        return _two_loop(forces, self.history, None, self.scale)


def _springs(positions: np.ndarray, steepness: float = 3.0, anchor: float = 0.1) -> tuple[np.ndarray, bool]:
    """Cholesky factor of the spring network's matrix: Packwood's exponential preconditioner, A = steepness."""
    distances = cdist(positions, positions)
    np.fill_diagonal(distances, np.inf)
    nearest = float(np.median(distances.min(axis=1))) if len(positions) > 1 else 1.0
    weights = np.exp(-steepness * (distances / nearest - 1.0))
    weights = np.where(distances < 2.5 * nearest, np.minimum(weights, 1.0), 0.0)
    return cho_factor(np.diag(weights.sum(axis=1) + anchor) - weights)


def _two_loop(
    forces: np.ndarray,
    history: list[tuple[np.ndarray, np.ndarray]],
    springs: tuple[np.ndarray, bool] | None,
    scale: float,
) -> np.ndarray:
    """The L-BFGS step H·forces, for pairs of (step, change of -forces)."""
    q, projections = forces, []
    for step, change in reversed(history):
        rho = 1.0 / float((step * change).sum())
        a = rho * float((step * q).sum())
        q = q - a * change
        projections.append((rho, a))
    r = scale * (q if springs is None else cho_solve(springs, q))
    for (step, change), (rho, a) in zip(history, reversed(projections), strict=True):
        r = r + step * (a - rho * float((change * r).sum()))
    return r


def longest(step: np.ndarray) -> float:
    """Largest length among vectors (n, 3)."""
    return float(np.sqrt((step**2).sum(1)).max(initial=0.0))


def rms_moved(before: Atoms, after: Atoms) -> float:
    """How far atoms moved, root mean square, Å."""
    return float(np.sqrt(((after.positions - before.positions) ** 2).sum(axis=1).mean()))


def _clamped(step: np.ndarray, limit: float) -> np.ndarray:
    """The step scaled down as a whole so that no atom moves further than limit."""
    return step * min(1.0, limit / max(longest(step), 1e-12))
