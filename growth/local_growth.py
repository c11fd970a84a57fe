"""Growth at a cost that size does not change: only what is near the last change is looked at again.

All sites of the surface are kept, each with the energy that an adatom gains there. After an event the sites near it are
searched anew, in a piece cut from the crystal; surroundings met before are not relaxed again. The energy of the crystal
is the sum of exact differences between pieces (growth/region.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atom, Atoms
from ase.constraints import FixAtoms
from ase.units import kB
from pydantic import BaseModel, ConfigDict, Field

from growth.candidates import bond_lengths, find_candidates
from growth.energy_model import EnergyModel, where_few_move
from growth.environment import Environment, Neighbourhood, Overlay, overlays
from growth.errors import NoSitesError
from growth.observables import coordination
from growth.periodic import nearest_images
from growth.region import Region, cut
from growth.relax import Relaxed, movable_atoms, relax
from growth.simulator import boltzmann, pick

BURIED = 12
"""Neighbours from which on an atom is taken to be inside."""


class LocalSettings(BaseModel):
    """What grows, how hot, and how far an event is felt. Lengths in Å."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    species: str = Field("Cu", description="symbol of the atoms that arrive")
    temperature_K: float = Field(400.0, ge=0, description="of the choice among all sites; 0 takes the lowest")
    relax_radius: float = Field(5.0, gt=0, description="atoms further from an adatom stay put when it is relaxed")
    search_radius: float = Field(6.0, gt=0, description="around what moved, sites are searched anew")
    environment_radius: float = Field(6.0, gt=0, description="of the surroundings by which a site is known")
    tolerance: float = Field(0.4, gt=0, description="furthest that an atom of equal surroundings may be off")
    merge: float = Field(0.5, gt=0, description="sites nearer than this are one")
    noticed: float = Field(0.05, gt=0, description="atoms that moved less are not searched around")
    fmax: float = Field(0.02, gt=0, description="eV/Å")
    max_steps: int = Field(150, ge=1, description="force calls of a relaxation")


@dataclass(frozen=True, eq=False)
class SurfaceSite:
    """A place for an adatom.

    Attributes:
        position: (3,), Å.
        energy: eV, of the crystal with the adatom there less that without, both relaxed.
    """

    position: np.ndarray
    energy: float


@dataclass(frozen=True)
class Attachment:
    """What a step did.

    Attributes:
        position: (3,), Å. energy_change: eV. n_sites: competing sites. n_relaxed: surroundings met for the first time.
        n_moved: atoms that moved by more than `noticed`, the adatom included.
    """

    position: np.ndarray
    energy_change: float
    n_sites: int
    n_relaxed: int
    n_moved: int


@dataclass(frozen=True)
class _Known:
    """Surroundings of a raw site, with what became of the adatom: displacement (3,) and energy; or that it left."""

    environment: Environment
    symmetry: list[Overlay]
    displacement: np.ndarray
    energy: float
    stays: bool


class LocalGrowth:
    """A crystal that grows, one atom a step.

    Args:
        crystal: relaxed cluster or slab; atoms under `FixAtoms` do not move.
        model: energy model, of any reach. settings: see there.

    Attributes:
        crystal: as it is now. energy: eV, its energy; evaluated in whole once, at the start. sites: all of its surface.
    """

    def __init__(self, crystal: Atoms, model: EnergyModel, settings: LocalSettings) -> None:
        self.crystal, self.model, self.settings = crystal.copy(), where_few_move(model), settings
        self.energy = float(model([crystal]).energies[0])
        self.known: dict[str, list[_Known]] = {}
        self.sites: list[SurfaceSite] = []
        self.n_relaxed = 0
        for patch in self._patches():
            self._search(patch, settings.search_radius)

    def run(self, rng: np.random.Generator, n_atoms: int) -> Iterator[Attachment]:
        """Steps until the crystal has so many atoms."""
        while len(self.crystal) < n_atoms:
            yield self.step(rng)

    def step(self, rng: np.random.Generator) -> Attachment:
        """One atom arrives at a site drawn among all by exp(−E/kT).

        Raises:
            NoSitesError: the surface has no site left.
        """
        while self.sites:
            energies = np.array([site.energy for site in self.sites])
            site = self.sites[pick(boltzmann(energies, kB * self.settings.temperature_K), rng.random())]
            region, occupied = self._piece(site.position)
            before = float(self.model([region.structure]).energies[0])
            after = relax([occupied], self.model, self.settings.fmax, self.settings.max_steps)[0]
            rolled = np.linalg.norm(after.structure.positions[-1] - site.position)
            if after.converged and rolled < self.settings.merge:
                return self._take(region, before, after)
            self.sites.remove(site)  # known surroundings, but here the adatom leaves
        raise NoSitesError(f"no site for {self.settings.species} on {len(self.crystal)} atoms", [])

    def _take(self, region: Region, before: float, after: Relaxed) -> Attachment:
        """Put the relaxed piece back, with the new atom last, and look at the surface near what moved."""
        old = self.crystal.positions.copy()
        crystal = region.put_back(self.crystal, after.structure)
        crystal.append(Atom(self.settings.species, after.structure.positions[-1]))
        moved = np.flatnonzero(np.linalg.norm(crystal.positions[:-1] - old, axis=1) > self.settings.noticed)
        centres = crystal.positions[[*moved, len(crystal) - 1]]
        self.crystal, n_before = crystal, self.n_relaxed
        self.energy += after.energy - before
        n_sites = len(self.sites)
        self._search(centres, self.settings.search_radius)
        return Attachment(
            position=crystal.positions[-1].copy(),
            energy_change=after.energy - before,
            n_sites=n_sites,
            n_relaxed=self.n_relaxed - n_before,
            n_moved=len(centres),
        )

    def _piece(self, position: np.ndarray) -> tuple[Region, Atoms]:
        """A piece around a position, without and with an adatom there, last."""
        region = cut(self.crystal, position[None], self.settings.relax_radius, self.model.reach)
        occupied = region.structure.copy()
        occupied.append(Atom(self.settings.species, position))
        return region, occupied

    # ------------------------------------------------------------------ sites

    def _search(self, centres: np.ndarray, radius: float) -> None:
        """Forget the sites near some places (n, 3) and find those that are there now."""
        distances = self._distances(np.array([s.position for s in self.sites]).reshape(-1, 3), centres)
        beside = [site for site, d in zip(self.sites, distances, strict=True) if radius < d <= radius + 3.0]
        self.sites = [site for site, d in zip(self.sites, distances, strict=True) if d > radius]
        piece, raw = self._candidates(centres, radius)
        held = ~movable_atoms(self.crystal)[piece.atoms]
        environments = [self._surroundings(piece, held, position) for position in raw]
        found = [self._lookup(environment) for environment in environments]
        new = [k for k, known in enumerate(found) if known is None]
        self._learn([(raw[k], environments[k]) for k in new])
        settled = []
        for k in sorted(range(len(found)), key=lambda k: found[k] is None):
            known = found[k] or self._lookup(environments[k])
            assert known is not None, "just learnt"
            displacement, energy, stays = known
            if stays:
                settled.append((energy, raw[k] + displacement))
        for energy, position in sorted(settled, key=lambda pair: pair[0]):
            places = np.array([site.position for site in beside]).reshape(-1, 3)
            if self._distances(position[None], places)[0] > self.settings.merge:
                beside.append(SurfaceSite(position, energy))
                self.sites.append(beside[-1])

    def _patches(self, edge: float = 12.0) -> list[np.ndarray]:
        """Positions of the atoms of the surface, by cubes, each (n, 3)."""
        few = (coordination(self.crystal) < BURIED) & movable_atoms(self.crystal)
        positions = self.crystal.positions[few]
        cubes = np.unique(np.floor(positions / edge).astype(int), axis=0, return_inverse=True)[1].ravel()
        return [positions[cubes == cube] for cube in range(cubes.max(initial=-1) + 1)]

    def _distances(self, positions: np.ndarray, places: np.ndarray) -> np.ndarray:
        """How far each position (n, 3) is from the nearest of some places (m, 3), Å, (n,)."""
        nearest = np.full(len(positions), np.inf)
        for place in places:
            vectors = nearest_images(positions - place, self.crystal)
            nearest = np.minimum(nearest, np.einsum("nx,nx->n", vectors, vectors))
        return np.asarray(np.sqrt(nearest))

    def _candidates(self, centres: np.ndarray, radius: float) -> tuple[Region, np.ndarray]:
        """A piece around the centres, and in it raw positions within radius of them, symmetric copies too, (n, 3)."""
        bond = float(bond_lengths(self.crystal, self.settings.species).max())
        margin = max(3 * bond, self.settings.environment_radius)
        piece = cut(self.crystal, centres, radius + 1.5 * bond, margin)
        found = find_candidates(piece.structure, self.settings.species, symmetric_copies=True).positions
        return piece, found[self._distances(found, centres) <= radius]

    def _surroundings(self, piece: Region, held: np.ndarray, position: np.ndarray) -> Environment:
        """What an adatom at a position in a piece would see."""
        vectors = nearest_images(piece.structure.positions - position, piece.structure)
        near = np.flatnonzero((vectors**2).sum(axis=1) <= self.settings.environment_radius**2)
        few = Atoms(piece.structure.numbers[near], vectors[near])
        few.set_constraint(FixAtoms(np.flatnonzero(held[near])))
        few.append(Atom(self.settings.species, (0.0, 0.0, 0.0)))
        return Neighbourhood(few, self.settings.environment_radius).around(len(near))

    def _lookup(self, environment: Environment) -> tuple[np.ndarray, float, bool] | None:
        """Displacement, energy, and whether the adatom stays, of surroundings met before."""
        for known in self.known.get(environment.name, []):
            laid = overlays(known.environment, environment, self.settings.tolerance, known.symmetry)
            if laid:
                return laid[0].rotation @ known.displacement, known.energy, known.stays
        return None

    def _learn(self, new: list[tuple[np.ndarray, Environment]]) -> None:
        """Relax an adatom in surroundings not met before, each kind once, all in one batch; keep what came out."""
        kinds: list[tuple[np.ndarray, Environment, list[Overlay]]] = []
        for position, environment in new:
            alike = (k for k in kinds if k[1].name == environment.name)
            if not any(overlays(k[1], environment, self.settings.tolerance, k[2]) for k in alike):
                kinds.append((position, environment, overlays(environment, environment, self.settings.tolerance)))
        self.n_relaxed += len(kinds)
        pieces = [self._piece(position) for position, _, _ in kinds]
        before = self.model([region.structure for region, _ in pieces]).energies
        settled = relax([start for _, start in pieces], self.model, self.settings.fmax, self.settings.max_steps)
        for (position, environment, symmetry), empty, after in zip(kinds, before, settled, strict=True):
            displacement = after.structure.positions[-1] - position
            stays = after.converged and bool(np.linalg.norm(displacement) < 2 * self.settings.merge)
            entry = _Known(environment, symmetry, displacement, after.energy - float(empty), stays)
            self.known.setdefault(environment.name, []).append(entry)
