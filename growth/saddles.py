"""Saddle points beside a minimum, found without end states: many min-mode searches in one batch of force calls.

From a random push around an atom, or from one that sends it into a neighbour's place, a search climbs along the softest
mode and relaxes across it (Henkelman & Jónsson, J. Chem. Phys. 111, 7010 (1999)). The mode comes from Lanczos on
force differences, as in the activation-relaxation technique (Malek & Mousseau, Phys. Rev. E 62, 7723 (2000)), warm from
one step to the next. What it ends on is a process only if one mode alone is unstable there and the two slopes lead back
to the minimum and on to another.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field

from growth.energy_model import EnergyModel
from growth.kinetics import frequencies, vineyard
from growth.periodic import nearest_images
from growth.relax import LbfgsMemory, Relaxed, longest, movable_atoms, relax

Ask = Generator[np.ndarray, tuple[float, np.ndarray], "_Climbed"]
"""Yields positions (n_movable, 3) in Å; is sent (energy in eV, forces (n_movable, 3) in eV/Å)."""


class SaddleSettings(BaseModel):
    """How saddles are searched for. Lengths in Å, energies in eV."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    radius: float | None = Field(8.0, gt=0, description="atoms further from the pushed one stay put; null: none does")
    push_radius: float = Field(4.0, gt=0, description="how far around an atom others are pushed with it")
    push: float = Field(0.35, gt=0, description="standard deviation of the push of the atom in the middle")
    exchange: float = Field(0.1, ge=0, le=1, description="share of searches that push an atom into a neighbour's place")
    fmax: float = Field(0.01, gt=0, description="largest force left at saddle and minimum, eV/Å")
    max_calls: int = Field(600, ge=10, description="force calls of one climb")
    ceiling: float = Field(4.0, gt=0, description="a climb that is further above its minimum is given up")
    max_step: float = Field(0.15, gt=0, description="furthest that an atom moves between two looks at the mode")
    difference: float = Field(0.01, gt=0, description="length of the displacements that measure curvature")
    shallow: float = Field(0.003, ge=0, description="a minimum less deep than this below the saddle is none")
    same: float = Field(0.3, gt=0, description="a structure none of whose atoms is further away is the same one")
    same_energy: float = Field(0.005, gt=0, description="saddles further apart in energy are not the same one")


@dataclass(frozen=True)
class Process:
    """A way from a minimum over a saddle to another minimum. All structures have the atoms in the same order.

    Attributes:
        initial, saddle, final: relaxed to the settings' force, with energy, forces, and their std over the members.
        mode: (n_atoms, 3), unit vector of the unstable mode at the saddle, towards the final structure.
        curvature: eV/Å², along it. next_curvature: eV/Å², of the softest mode across it.
        n_calls: force calls that the search took.
    """

    initial: Relaxed
    saddle: Relaxed
    final: Relaxed
    mode: np.ndarray
    curvature: float
    next_curvature: float
    n_calls: int

    @property
    def barrier(self) -> float:
        """eV."""
        return self.saddle.energy - self.initial.energy

    @property
    def reverse_barrier(self) -> float:
        """eV."""
        return self.saddle.energy - self.final.energy

    @property
    def barrier_std(self) -> float:
        """eV, population std over the members of each member's own barrier."""
        return float((self.saddle.member_energies - self.initial.member_energies).std())

    def moved(self, furthest: float) -> np.ndarray:
        """Numbers of the atoms that end further than so many Å from where they were."""
        return np.flatnonzero(_distances(self.final.structure, self.initial.structure) > furthest)


def search_saddles(
    minimum: Relaxed, around: Sequence[int], model: EnergyModel, settings: SaddleSettings, rng: np.random.Generator
) -> list[Process | str]:
    """One search from each of some atoms, all in one batch.

    Args:
        minimum: relaxed to `settings.fmax`.
        around: number of the atom that each search pushes first.
        model: energy model.
        settings: see there.
        rng: draws the pushes.

    Returns:
        For each search the process that it found, or why none: `lost` (no saddle within the calls), `too high`,
        `elsewhere` (the saddle's slopes do not lead back to the minimum), `higher order`, `back` (both lead back),
        `shallow` (one end is hardly lower than the saddle).
    """
    start = minimum.structure
    climbs = []
    for atom in around:
        swaps = rng.random() < settings.exchange
        push = (_exchange_push if swaps else _push)(start, atom, settings, rng)
        climbs.append((start.positions + push, push, _movable(start, atom, settings.radius)))
    return _climbed_and_connected(minimum, climbs, model, settings)


def refine_saddles(
    minimum: Relaxed,
    guesses: Sequence[tuple[np.ndarray, np.ndarray, int]],
    model: EnergyModel,
    settings: SaddleSettings,
) -> list[Process | str]:
    """Converge saddles known roughly, such as those carried over from equal surroundings, all in one batch.

    Args:
        minimum: relaxed.
        guesses: positions (n_atoms, 3), Å; direction of the mode (n_atoms, 3); atom in the middle of what moves.
        model, settings: as in `search_saddles`; so is what comes back.
    """
    masks = [_movable(minimum.structure, atom, settings.radius) for _, _, atom in guesses]
    climbs = [(guess, mode, mask) for (guess, mode, _), mask in zip(guesses, masks, strict=True)]
    return _climbed_and_connected(minimum, climbs, model, settings)


def same_structure(a: Atoms, b: Atoms, tolerance: float) -> bool:
    """Whether no atom of one is further than tolerance (Å) from where it is in the other."""
    return bool((_distances(a, b) <= tolerance).all())


def exchange_way(structure: Atoms, atom: int, other: int) -> np.ndarray:
    """Displacements (n_atoms, 3), Å, that put an atom in a neighbour's place, and that one out of the surface beyond.

    The neighbour's way is that of the atom mirrored in the plane of the surface, whose normal leads away from the
    neighbour's other neighbours.
    """
    apart = nearest_images(structure.positions - structure.positions[other], structure)
    behind = _neighbours(structure, other)
    normal = _unit(-apart[behind[behind != atom]].sum(axis=0))
    way = np.zeros((len(structure), 3))
    way[atom] = -apart[atom]
    way[other] = way[atom] - 2 * (way[atom] @ normal) * normal
    return way


def hessian(structure: Atoms, model: EnergyModel, step: float = 0.01) -> np.ndarray:
    """Second derivatives of the energy by the positions of the movable atoms, (3 n, 3 n), eV/Å²; 6 n force calls.

    Args:
        structure: atoms under `FixAtoms` are left out. model: energy model. step: Å, of central differences.
    """
    movable = np.flatnonzero(movable_atoms(structure))
    moved = []
    for atom in movable:
        for axis in range(3):
            for sign in (1, -1):
                trial = structure.copy()
                trial.positions[atom, axis] += sign * step
                moved.append(trial)
    forces = [f[movable].ravel() for start in range(0, len(moved), 64) for f in model(moved[start : start + 64]).forces]
    slopes = -(np.array(forces[::2]) - np.array(forces[1::2])) / (2 * step)
    return np.asarray(0.5 * (slopes + slopes.T))


def harmonic_prefactor(process: Process, model: EnergyModel) -> float:
    """Vineyard's, 1/s, of the atoms that are not held; for a crystal that something holds.

    Raises:
        InputError: minimum or saddle has not as many unstable modes as it should.
    """
    ends = [process.initial.structure, process.saddle.structure]
    masses = ends[0].get_masses()[movable_atoms(ends[0])]
    n_rigid = len(_rigid(ends[0], movable_atoms(ends[0])))
    return vineyard(*(frequencies(hessian(end, model), masses, n_rigid) for end in ends))


# ---------------------------------------------------------------------- climbing


@dataclass(frozen=True)
class _Climbed:
    """Where a climb ended: positions (n_movable, 3), softest mode, two lowest curvatures; or why it failed."""

    positions: np.ndarray
    mode: np.ndarray
    curvatures: tuple[float, float]
    failure: str | None
    n_calls: int


def _climbed_and_connected(
    minimum: Relaxed,
    starts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    model: EnergyModel,
    settings: SaddleSettings,
) -> list[Process | str]:
    """From starts (positions (n_atoms, 3), mode (n_atoms, 3), mask of the movable atoms) to processes, in one batch."""
    ceiling, masks = minimum.energy + settings.ceiling, [mask for _, _, mask in starts]
    climbs = [
        _climb(positions[mask], mode[mask], ceiling, _rigid(minimum.structure, mask), settings)
        for positions, mode, mask in starts
    ]
    return _connected(minimum, _drive(climbs, minimum.structure, masks, model), masks, model, settings)


def _climb(positions: np.ndarray, mode: np.ndarray, ceiling: float, rigid: np.ndarray, settings: SaddleSettings) -> Ask:
    """From positions, and a guess of the softest mode there, to the saddle."""
    mode = _unit(_without(mode, rigid))
    n_calls, width, memory = 1, 12, LbfgsMemory()
    energy, forces = yield positions
    while True:
        if energy > ceiling or not np.isfinite(energy):
            return _Climbed(positions, mode, (np.nan, np.nan), "too high", n_calls)
        (low, following), mode, used = yield from _softest(positions, forces, mode, rigid, width, settings.difference)
        n_calls += used
        if low < 0 and longest(forces) <= settings.fmax:
            mixed = _unit(_without(mode + 0.5 * _unit(np.random.default_rng(0).normal(size=mode.shape)), rigid))
            (low, following), mode, used = yield from _softest(positions, forces, mixed, rigid, 40, settings.difference)
            n_calls += used
            failure = None if low < 0 <= following else "higher order"
            return _Climbed(positions, mode, (low, following), failure, n_calls)
        if n_calls >= settings.max_calls:
            return _Climbed(positions, mode, (low, following), "lost", n_calls)
        along = (forces * mode).sum() * mode
        if low >= 0:  # out of the basin first
            memory, width = LbfgsMemory(), 6
            uphill = -along / max(float(np.linalg.norm(along)), 1e-9)
            step = settings.max_step * uphill / max(longest(uphill), 1e-9)
            positions = positions + step
            energy, forces = yield positions
            n_calls += 1
            continue
        width = 4
        wanted = forces - 2 * along
        step = memory.step(positions, wanted)
        positions = positions + step * min(1.0, settings.max_step / max(longest(step), 1e-12))
        energy, forces = yield positions
        n_calls += 1


def _softest(
    positions: np.ndarray, forces: np.ndarray, guess: np.ndarray, rigid: np.ndarray, width: int, difference: float
) -> Generator[np.ndarray, tuple[float, np.ndarray], tuple[tuple[float, float], np.ndarray, int]]:
    """The two lowest curvatures and the softest mode in a Krylov space of at most `width` force calls.

    Reorthogonalised Lanczos; it ends when the lowest curvature changes by less than one part in fifty.
    """
    basis: list[np.ndarray] = []
    images: list[np.ndarray] = []
    vector, values, low = guess, np.array([np.inf]), np.inf
    small = np.zeros((0, 0))
    while len(basis) < min(width, positions.size - len(rigid)):
        _, pushed = yield positions + difference * vector / max(longest(vector), 1e-9)
        image = _without(-(pushed - forces) / (difference / max(longest(vector), 1e-9)), rigid)
        basis.append(vector)
        images.append(image)
        small = np.array([[float((v * w).sum()) for w in images] for v in basis])
        values, vectors = np.linalg.eigh(0.5 * (small + small.T))
        done = len(basis) > 2 and abs(values[0] - low) < 0.02 * abs(values[0]) + 1e-3 and width < 40
        low = float(values[0])
        rest = image - sum(float((image * v).sum()) * v for v in basis)
        rest = _without(rest - sum(float((rest * v).sum()) * v for v in basis), rigid)
        if done or float(np.linalg.norm(rest)) < 1e-6:
            break
        vector = _unit(rest)
    mode = _unit(sum(c * v for c, v in zip(vectors[:, 0], basis, strict=True)))
    if float((mode * guess).sum()) < 0:
        mode = -mode
    return (low, float(values[1]) if len(values) > 1 else np.nan), mode, len(basis)


def _drive(climbs: list[Ask], structure: Atoms, masks: list[np.ndarray], model: EnergyModel) -> list[_Climbed]:
    """All climbs together: one batch of structures a round."""
    ended: dict[int, _Climbed] = {}
    wanted = {k: next(climb) for k, climb in enumerate(climbs)}
    while wanted:
        batch = []
        for k, positions in wanted.items():
            trial = structure.copy()
            trial.positions[masks[k]] = positions
            batch.append(trial)
        found, asked = model(batch), list(wanted)
        wanted = {}
        for n, k in enumerate(asked):
            try:
                answer = float(found.energies[n]), np.asarray(found.forces[n], dtype=float)[masks[k]]
                wanted[k] = climbs[k].send(answer)
            except StopIteration as stop:
                ended[k] = stop.value
    return [ended[k] for k in range(len(climbs))]


def _connected(
    minimum: Relaxed,
    climbed: list[_Climbed],
    masks: list[np.ndarray],
    model: EnergyModel,
    settings: SaddleSettings,
) -> list[Process | str]:
    """Slide down both slopes of every saddle, and keep what leads from the minimum to another."""
    results: list[Process | str] = [c.failure or "" for c in climbed]
    sound = [k for k, c in enumerate(climbed) if c.failure is None]
    at, down, whose = [], [], []
    for k in sound:
        structure = minimum.structure.copy()
        structure.positions[masks[k]] = climbed[k].positions
        at.append(structure)
        for sign in (1, -1):
            slope = structure.copy()
            slope.positions[masks[k]] += sign * 0.1 * climbed[k].mode / longest(climbed[k].mode)
            down.append(slope)
            whose.append(masks[k])
    if not sound:
        return results
    saddles = relax(at, model, np.inf, 1)
    slopes = relax(down, model, settings.fmax, 400, whose)
    for n, k in enumerate(sound):
        ahead, behind = slopes[2 * n], slopes[2 * n + 1]
        home = [same_structure(end.structure, minimum.structure, settings.same) for end in (ahead, behind)]
        if not (ahead.converged and behind.converged):
            results[k] = "lost"
        elif all(home):
            results[k] = "back"
        elif not any(home):
            results[k] = "elsewhere"
        elif saddles[n].energy - max(ahead.energy, behind.energy) < settings.shallow:
            results[k] = "shallow"
        else:
            mode = np.zeros((len(minimum.structure), 3))
            mode[masks[k]] = climbed[k].mode * (-1 if home[0] else 1)
            n_calls = climbed[k].n_calls + 1 + ahead.n_calls + behind.n_calls
            final = behind if home[0] else ahead
            results[k] = Process(minimum, saddles[n], final, mode, *climbed[k].curvatures, n_calls)
    return results


# ---------------------------------------------------------------------- geometry


def _push(structure: Atoms, atom: int, settings: SaddleSettings, rng: np.random.Generator) -> np.ndarray:
    """Random displacements (n_atoms, 3) around an atom, weaker further out."""
    distances = structure.get_distances(atom, range(len(structure)), mic=structure.pbc.any())
    weights = np.where(distances <= settings.push_radius, np.exp(-0.5 * (2 * distances / settings.push_radius) ** 2), 0)
    weights[~movable_atoms(structure)] = 0.0
    return np.asarray(rng.normal(0, settings.push, (len(structure), 3)) * weights[:, None])


def _exchange_push(structure: Atoms, atom: int, settings: SaddleSettings, rng: np.random.Generator) -> np.ndarray:
    """Displacements (n_atoms, 3) a third of the way along `exchange_way`; random ones where no neighbour can move.

    Random pushes rarely begin so, though on some metals it is the lowest way (Feibelman, Phys. Rev. Lett. 65, 729
    (1990)).
    """
    near = _neighbours(structure, atom)
    near = near[movable_atoms(structure)[near]]
    push = _push(structure, atom, settings, rng)
    if len(near) == 0:
        return push
    way = exchange_way(structure, atom, int(rng.choice(near)))
    return np.asarray(0.3 * push + rng.uniform(0.25, 0.45) * way)


def _neighbours(structure: Atoms, atom: int) -> np.ndarray:
    """Numbers of the atoms not much further away than the nearest."""
    lengths = np.linalg.norm(nearest_images(structure.positions - structure.positions[atom], structure), axis=1)
    lengths[atom] = np.inf
    return np.flatnonzero(lengths < 1.3 * lengths.min())


def _movable(structure: Atoms, atom: int, radius: float | None) -> np.ndarray:
    """Mask (n_atoms,)."""
    mask = movable_atoms(structure)
    if radius is None:
        return mask
    return np.asarray(mask & (structure.get_distances(atom, range(len(structure)), mic=structure.pbc.any()) <= radius))


def _rigid(structure: Atoms, mask: np.ndarray) -> np.ndarray:
    """Orthonormal rigid motions of a free cluster, (up to 6, n_movable, 3); none where anything holds it."""
    if structure.pbc.any() or not mask.all():
        return np.zeros((0, int(mask.sum()), 3))
    around = structure.positions - structure.positions.mean(axis=0)
    motions = [np.broadcast_to(axis, around.shape) for axis in np.eye(3)]
    motions += [np.cross(axis, around) for axis in np.eye(3)]
    values, weights = np.linalg.svd(np.reshape(motions, (6, -1)), full_matrices=False)[1:]
    return np.asarray(weights[values > 1e-6 * values[0]].reshape(-1, len(around), 3))


def _without(vectors: np.ndarray, rigid: np.ndarray) -> np.ndarray:
    """Vectors (n_movable, 3) without their rigid part."""
    return vectors - np.einsum("k,knx->nx", np.einsum("knx,nx->k", rigid, vectors), rigid)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / max(float(np.linalg.norm(vectors)), 1e-12)


def _distances(a: Atoms, b: Atoms) -> np.ndarray:
    """How far each atom is from where it is in the other structure, nearest image, (n_atoms,), Å."""
    vectors = nearest_images(a.positions - b.positions, a)
    return np.asarray(np.linalg.norm(vectors, axis=1))
