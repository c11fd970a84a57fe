"""Energy of an adatom everywhere over a surface: a slab of any orientation, or all around a cluster.

Over a slab the adatom comes down along the normal at every point of a grid; around a cluster it comes in along rays
from the centroid. It starts where a sphere would rest on the outermost atoms, and is relaxed along its line only, all
lines in one batch. Then the minima of the map are relaxed with everything free.

Paths on the map (`map_paths.py`) give barriers at a glance: what stands still in the map would give way, so they lie
above those of a search for saddles; but for the mesh, which may miss the top of a pass and the bottom of a minimum by
some 0.03 eV at 0.4 Å between points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from pydantic import BaseModel, ConfigDict, Field

from growth.candidates import bond_lengths, with_images
from growth.energy_model import EnergyModel, where_few_move
from growth.errors import InputError
from growth.periodic import nearest_images
from growth.relax import LbfgsMemory, Relaxed, longest, movable_atoms, relax
from growth.sites import with_adatom
from growth.study.map_paths import Mesh, Pass, first_ways_out, local_minima, passes, periodic_mesh, sphere_mesh
from growth.study.slab import kind_of, slab_axes, upright

ATOMS_AT_ONCE = 40_000
"""Atoms in one call of the model, so that a fine map over a large crystal fits into memory."""
MAX_STEP = 0.2
"""Å; no atom moves further between two force calls."""
SAME = 0.3
"""Å; minima whose adatoms are this near one another after relaxation are one."""


class AdatomMapSettings(BaseModel):
    """How fine the map is and how far it is relaxed. Lengths in Å, forces in eV/Å."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    species: str | None = Field(default=None, description="of the adatom; default: that of the structure's last atom")
    bond_length: float | None = Field(default=None, gt=0, description="touching distance; default: sum of two radii")
    spacing: float = Field(default=0.4, gt=0.02, description="between points of the map, about")
    n_directions: int | None = Field(
        default=None, ge=20, le=100_000, description="cluster: rays from the centroid; default: by the spacing"
    )
    settle: bool = Field(default=True, description="relax the structure before the map is made")
    relax_substrate: bool = Field(default=False, description="let the substrate give way at each point; dear")
    fmax: float = Field(default=0.02, gt=0, description="largest force along the line, at the end")
    max_calls: int = Field(default=60, ge=1, description="force calls of a point")
    refined_fmax: float = Field(default=0.01, gt=0, description="largest force on the fully relaxed minima")
    n_refined: int = Field(default=16, ge=1, description="minima of the map that are relaxed fully, the lowest ones")
    n_oracle: int = Field(default=4, ge=1, description="refined minima that the oracle is asked about, the lowest ones")


@dataclass(frozen=True)
class RefinedMinimum:
    """A minimum of the map, relaxed with the substrate.

    Attributes:
        structure: adatom last. point: number of the map's point that it comes from.
        energy, energy_std: eV, above the lowest minimum; the std is that of the difference.
        binding_energy, binding_energy_std: eV, gained from bare substrate and lone atom; negative is bound.
        converged: whether forces are below `refined_fmax`.
        barrier, barrier_std: eV, on the map, from its minimum to the lowest way out; nan where none leads out.
        oracle_energy: eV, above the oracle's energy of the lowest minimum; nan where it was not asked or failed.
    """

    structure: Atoms
    point: int
    energy: float
    energy_std: float
    binding_energy: float
    binding_energy_std: float
    converged: bool
    barrier: float
    barrier_std: float
    oracle_energy: float


@dataclass(frozen=True)
class AdatomMap:
    """Energies of an adatom over a surface, less those of the bare substrate and the lone atom, eV.

    Attributes:
        substrate: relaxed, if it was to be. species: of the adatom. kind: slab or cluster.
        shape: (n, m) of a slab's grid along its two in-plane vectors; None around a cluster.
        lines: (n_points, 3), where a point's line begins on the plane through the origin (slab), or its direction.
        positions: (n_points, 3), Å, of the relaxed adatom; nan where no line touches an atom.
        energies: (n_points,); nan likewise. member_energies: (n_members, n_points).
        converged: (n_points,).
        ways: the lowest ways between the map's minima.
        minima: relaxed, lowest first.
    """

    substrate: Atoms
    species: str
    kind: Literal["slab", "cluster"]
    shape: tuple[int, int] | None
    lines: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    member_energies: np.ndarray
    converged: np.ndarray
    ways: list[Pass]
    minima: list[RefinedMinimum]

    @property
    def lowest(self) -> int:
        """Number of the map's lowest point."""
        return int(np.nanargmin(self.energies))

    @property
    def difference_std(self) -> np.ndarray:
        """(n_points,), eV, std of the energy less that of the map's lowest point."""
        return np.asarray((self.member_energies - self.member_energies[:, [self.lowest]]).std(axis=0))


def adatom_map(
    structure: Atoms,
    model: EnergyModel,
    settings: AdatomMapSettings = AdatomMapSettings(),  # noqa: B008 - frozen
    oracle: EnergyModel | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> AdatomMap:
    """Energy of an adatom over the upper surface of a slab, or all around a cluster.

    Args:
        structure: the bare slab or cluster; atoms under `FixAtoms` never move.
        model: asked for all points in one batch a round. settings: how fine. oracle: asked about the lowest minima.
        progress: told what is done.

    Raises:
        InputError: a bulk crystal, which has no surface, or one that no line touches.
    """
    kind = kind_of(structure)
    if kind == "bulk":
        raise InputError("structure: expected a slab or a cluster for an adatom map, got a bulk crystal")
    species = settings.species or structure.get_chemical_symbols()[-1]
    substrate = structure.copy()
    if settings.settle:
        progress("relaxing the bare structure")
        substrate = relax([structure], model, settings.refined_fmax, 300)[0].structure
    shape, lines, origins, axes, mesh = _lines(substrate, settings)
    starts = resting_places(substrate, species, origins, axes, settings.bond_length)
    touched = np.flatnonzero(np.isfinite(starts[:, 0]))
    if len(touched) == 0:
        raise InputError("structure: no line of the map touches an atom; expected a surface")
    alone = model([substrate, Atoms(species)]).member_energies
    structures = [with_adatom(substrate, species, start) for start in starts[touched]]
    found = relax_on_lines(structures, axes[touched], model, settings, progress)
    positions, members = np.full(starts.shape, np.nan), np.full((len(alone), len(starts)), np.nan)
    converged = np.zeros(len(starts), dtype=bool)
    for point, line in zip(touched, found, strict=True):
        positions[point], converged[point] = line.structure.positions[-1], line.converged
        members[:, point] = line.member_energies - alone.sum(axis=1)
    energies = members.mean(axis=0)
    ways = passes(mesh, energies)
    points = local_minima(mesh, energies)[: settings.n_refined]
    at_minima = [with_adatom(substrate, species, positions[point]) for point in points]
    progress(f"relaxing {len(points)} minima of the map")
    refined = relax(at_minima, model, settings.refined_fmax, 300)
    minima = _minima(refined, points, ways, members, alone, oracle, settings, progress)
    side: Literal["slab", "cluster"] = "slab" if kind == "slab" else "cluster"
    return AdatomMap(substrate, species, side, shape, lines, positions, energies, members, converged, ways, minima)


def _lines(
    substrate: Atoms, settings: AdatomMapSettings
) -> tuple[tuple[int, int] | None, np.ndarray, np.ndarray, np.ndarray, Mesh]:
    """Shape of the grid; what tells lines apart, where each begins and where it points, (n, 3) each; neighbours."""
    if kind_of(substrate) == "slab":
        frame = slab_axes(substrate)
        n, m = (max(3, round(float(np.linalg.norm(a)) / settings.spacing)) for a in frame.in_plane)
        i, j = np.indices((n, m)).reshape(2, -1)
        origins = np.column_stack([i / n, j / m]) @ frame.in_plane
        return (n, m), origins, origins, np.tile(frame.normal, (n * m, 1)), periodic_mesh(n, m)
    centroid = substrate.positions.mean(axis=0)
    radius = float(np.linalg.norm(substrate.positions - centroid, axis=1).max()) + 2.0
    evenly = round(4.0 * np.pi * radius**2 / settings.spacing**2)
    directions = fibonacci_sphere(settings.n_directions or min(max(evenly, 200), 100_000))
    return None, directions, np.tile(centroid, (len(directions), 1)), directions, sphere_mesh(directions)


def fibonacci_sphere(n: int) -> np.ndarray:
    """n directions (n, 3) that cover the sphere evenly: equal steps in height, the golden angle between two.

    >>> bool(np.allclose(np.linalg.norm(fibonacci_sphere(50), axis=1), 1.0))
    True
    """
    k = np.arange(n) + 0.5
    z, turn = 1.0 - 2.0 * k / n, np.pi * (1.0 + 5.0**0.5) * k
    return np.column_stack([np.sqrt(1.0 - z * z) * np.cos(turn), np.sqrt(1.0 - z * z) * np.sin(turn), z])


def resting_places(
    substrate: Atoms, species: str, origins: np.ndarray, axes: np.ndarray, bond_length: float | None = None
) -> np.ndarray:
    """Where an adatom that comes in along each line first touches an atom, (n_lines, 3), Å; nan where it never does.

    Args:
        origins: (n_lines, 3), a point of each line. axes: (n_lines, 3), unit vectors against which it comes in.
    """
    lengths = bond_lengths(substrate, species, bond_length)
    outermost = upright(substrate) if substrate.pbc.any() else substrate
    points, owner = with_images(outermost, float(lengths.max()) + 1.0)
    reach = lengths[owner]
    height = np.full(len(origins), -np.inf)
    for point, length in zip(points, reach, strict=True):
        from_line = point - origins
        along = (from_line * axes).sum(axis=1)
        room = length**2 - (from_line**2).sum(axis=1) + along**2
        touches = room > 0.0
        height[touches] = np.maximum(height[touches], along[touches] + np.sqrt(room[touches]))
    height[~np.isfinite(height)] = np.nan
    return np.asarray(origins + height[:, None] * axes)


@dataclass
class LineRelaxation:
    """A structure whose adatom, last, stays on a line.

    Attributes:
        structure: where it is, or where it ended. axis: (3,), unit vector of the line.
        movable: (n_atoms,), which atoms move. member_energies: (n_members,), eV, at the latest point.
    """

    structure: Atoms
    axis: np.ndarray
    movable: np.ndarray
    member_energies: np.ndarray
    converged: bool = False

    def __post_init__(self) -> None:
        self.memory = LbfgsMemory()

    def advance(self, forces: np.ndarray, fmax: float) -> None:
        """Move on, by forces (n_atoms, 3) of which what leads off the line is left out."""
        forces = np.where(self.movable[:, None], forces, 0.0)
        forces[-1] = (forces[-1] @ self.axis) * self.axis
        self.converged = bool(np.isfinite(forces).all()) and longest(forces) <= fmax
        if not self.converged and np.isfinite(forces).all():
            step = self.memory.step(self.structure.positions.copy(), forces)
            self.structure.positions += step * min(1.0, MAX_STEP / max(longest(step), 1e-12))


def relax_on_lines(
    structures: Sequence[Atoms],
    axes: np.ndarray,
    model: EnergyModel,
    settings: AdatomMapSettings,
    progress: Callable[[str], None] = lambda text: None,
) -> list[LineRelaxation]:
    """Relax structures whose last atom stays on a line along axes (n_structures, 3), in one batch a round.

    The rest moves too where the settings say so. What does not move is held by `FixAtoms`, of which models profit.
    """
    local = model if settings.relax_substrate else where_few_move(model)
    lines = [_begun(structure, axis, settings) for structure, axis in zip(structures, axes, strict=True)]
    size = max(1, ATOMS_AT_ONCE // max(len(lines[0].structure), 1))
    for call in range(settings.max_calls):
        going = [line for line in lines if not line.converged]
        if not going:
            break
        progress(f"map: round {call + 1}, {len(going)} of {len(lines)} points still move")
        last = call + 1 == settings.max_calls
        for batch in (going[start : start + size] for start in range(0, len(going), size)):
            found = local([line.structure for line in batch])
            for k, line in enumerate(batch):
                line.member_energies = np.array(found.member_energies[:, k], dtype=float)
                if not last:
                    line.advance(np.array(found.forces[k], dtype=float), settings.fmax)
    return lines


def _begun(structure: Atoms, axis: np.ndarray, settings: AdatomMapSettings) -> LineRelaxation:
    movable = movable_atoms(structure) if settings.relax_substrate else np.zeros(len(structure), dtype=bool)
    movable[-1] = True
    held = structure.copy()
    held.set_constraint(FixAtoms(mask=~movable))
    return LineRelaxation(held, axis, movable, np.zeros(0))


def _minima(
    refined: Sequence[Relaxed],
    points: np.ndarray,
    ways: list[Pass],
    members: np.ndarray,
    alone: np.ndarray,
    oracle: EnergyModel | None,
    settings: AdatomMapSettings,
    progress: Callable[[str], None],
) -> list[RefinedMinimum]:
    """The refined minima without repetitions, lowest first, each with its way out on the map and the oracle's word."""
    order = sorted(range(len(refined)), key=lambda k: refined[k].energy)
    kept: list[int] = []
    for k in order:
        if not any(_same(refined[k], refined[other]) for other in kept):
            kept.append(k)
    told = np.full(len(kept), np.nan)
    if oracle is not None:
        asked = [refined[k].structure for k in kept[: settings.n_oracle]]
        progress(f"oracle at {len(asked)} minima")
        told[: len(asked)] = oracle(asked).energies
        told -= told[0]
    lowest, out = refined[kept[0]].member_energies, first_ways_out(ways)
    return [
        _refined(refined[k], int(points[k]), out.get(int(points[k])), lowest, members, alone, float(told[rank]))
        for rank, k in enumerate(kept)
    ]


def _refined(
    found: Relaxed,
    point: int,
    way: Pass | None,
    lowest: np.ndarray,
    members: np.ndarray,
    alone: np.ndarray,
    oracle_energy: float,
) -> RefinedMinimum:
    above = found.member_energies - lowest
    binding = found.member_energies - alone.sum(axis=1)
    climb = np.full(1, np.nan) if way is None else members[:, way.saddle] - members[:, point]
    return RefinedMinimum(
        structure=found.structure,
        point=point,
        energy=float(above.mean()),
        energy_std=float(above.std()),
        binding_energy=float(binding.mean()),
        binding_energy_std=float(binding.std()),
        converged=found.converged,
        barrier=float(climb.mean()),
        barrier_std=float(climb.std()),
        oracle_energy=oracle_energy,
    )


def _same(one: Relaxed, other: Relaxed) -> bool:
    apart = one.structure.positions[-1] - other.structure.positions[-1]
    return float(np.linalg.norm(nearest_images(apart[None], one.structure))) < SAME
