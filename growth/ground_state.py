"""Growth that looks for the ground state at every size, without knowing it.

Sizes are visited upwards from a dimer, then downwards, and so on, each visit with a share of one budget of force
calls. A visit starts from the neighbouring sizes: an atom attached to the best structures of one atom less, the most
weakly bound atom taken from those of one atom more. Then it rearranges: atoms are moved to vacant contact points,
parts are regrown, turned, or joined with parts of other structures (rearrange.py). What is new is relaxed coarsely in
one batch; what is still promising and not yet known is relaxed to the end.

Every size keeps a few lowest structures of every motif (ranges of the shares of five-fold and of hcp bonds, see
`motif_shares`), not of the lowest motif alone: another motif may be the ground state some atoms later.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field
from scipy.spatial.distance import cdist, pdist

from growth import rearrange
from growth.candidates import bond_radius
from growth.contact_points import ContactPoints
from growth.energy_model import CountingModel, EnergyModel
from growth.errors import InputError
from growth.relax_together import RelaxedBatch, relax_together

CLOSE = 1.25
"""Bond lengths within which two atoms count as bonded where motifs are told apart."""


class GroundStateSettings(BaseModel):
    """How ground states are looked for. Lengths in Å, forces in eV/Å, energies in eV, budgets in force calls."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    species: str = Field(description="symbol of the one element")
    bond_length: float | None = Field(default=None, gt=0, description="touching distance; default: twice its radius")
    n_atoms: int = Field(ge=3, description="the largest size")
    budget: int = Field(ge=1, description="force calls for all sizes together: energies or forces of one structure")
    sweeps: tuple[float, ...] = Field(
        default=(0.4, 0.3, 0.3), min_length=1, description="relative shares of the sweeps up, down, up, ..."
    )
    even: float = Field(default=0.2, ge=0, le=1, description="part of a sweep that all sizes have equal shares of")
    effort: float = Field(default=3.0, ge=0, description="a size's share of the rest grows as size to this power")
    batch: int = Field(default=24, ge=1, description="structures relaxed together")
    beam: int = Field(default=4, ge=1, description="structures kept of every motif")
    fivefold: tuple[float, ...] = Field(
        default=(0.01, 0.15, 0.4, 0.7), description="five-fold bonds per atom that part the motifs, ascending"
    )
    hcp: tuple[float, ...] = Field(
        default=(0.01,), description="hcp bonds per atom that part the motifs further, ascending"
    )
    moves: dict[str, float] = Field(
        default={"relocate": 0.6, "regrow": 0.12, "splice": 0.1, "twist": 0.06, "shake": 0.06, "fresh": 0.06},
        description="relative shares of the rearrangements",
    )
    tries: int = Field(default=6, ge=1, description="rearrangements drawn until one has not been tried before")
    coarse_fmax: float = Field(default=0.05, gt=0, description="largest force after the coarse relaxation")
    coarse_calls: int = Field(default=60, ge=1, description="force calls of the coarse relaxation, a structure")
    fmax: float = Field(default=5e-4, gt=0, description="largest force after the full relaxation")
    max_calls: int = Field(default=120, ge=1, description="force calls of the full relaxation, a structure")
    slack: float = Field(default=0.01, ge=0, description="how much energy the full relaxation may still bring")
    energy_tolerance: float = Field(default=1e-4, ge=0, description="minima nearer than this in energy may be equal")
    distance_tolerance: float = Field(default=0.02, ge=0, description="and are, if pair distances differ less (rms)")


@dataclass(frozen=True)
class Minimum:
    """A relaxed cluster. Lengths in bond lengths.

    Attributes:
        positions: (n_atoms, 3). energy: eV. atom_energies: (n_atoms,), eV.
        distances: (n_pairs,), sorted. motif: numbers of the ranges that its `motif_shares` fall into.
        converged: whether forces are below fmax.
    """

    positions: np.ndarray
    energy: float
    atom_energies: np.ndarray
    distances: np.ndarray
    motif: tuple[int, int]
    converged: bool


@dataclass(frozen=True)
class Visit:
    """What is known of a size when a visit to it ends.

    Attributes:
        n_atoms: the size. sweep: number of the sweep, from 0.
        structure: the lowest minimum so far, no cell, no calculator. energy: its energy, eV.
        converged: whether its forces are below fmax.
        calls: force calls of the whole search so far. found_at: calls when this energy was found.
    """

    n_atoms: int
    sweep: int
    structure: Atoms
    energy: float
    converged: bool
    calls: int
    found_at: int


def find_ground_states(model: EnergyModel, settings: GroundStateSettings, rng: np.random.Generator) -> Iterator[Visit]:
    """Grow from a dimer to `settings.n_atoms`, looking for the ground state of every size on the way.

    Args:
        model: energies and forces of open clusters; its atom energies say who is weakly bound.
        settings: see `GroundStateSettings`; the budget is never exceeded.
        rng: every random choice.

    Yields:
        A `Visit` whenever a size has had its share of a sweep; the last of a size holds the best found.
    """
    search = _Search(model, settings, rng)
    for sweep, n_atoms, until in _timetable(settings):
        search.visit(n_atoms, until)
        if search.pools[n_atoms].members:
            yield search.report(n_atoms, sweep)


def _timetable(settings: GroundStateSettings) -> Iterator[tuple[int, int, int]]:
    """(sweep, size, calls of the whole search at which the visit ends), in order; the last is the budget."""
    sizes = np.arange(3, settings.n_atoms + 1)
    total, begun = sum(settings.sweeps), 0.0
    for sweep, share in enumerate(settings.sweeps):
        order = sizes if sweep % 2 == 0 else sizes[::-1]
        weights = order.astype(float) ** settings.effort
        parts = settings.even / len(order) + (1.0 - settings.even) * weights / weights.sum()
        for n_atoms, done in zip(order, np.cumsum(parts), strict=True):
            yield sweep, int(n_atoms), int((begun + share * done) / total * settings.budget + 1e-6)
        begun += share


def motif_shares(positions: np.ndarray) -> tuple[float, float]:
    """Five-fold and hcp bonds per atom, by the neighbours that a bond's two atoms have in common.

    Five-fold: five of them (555 of Honeycutt & Andersen, J. Phys. Chem. 91, 4950 (1987)); none in fcc and hcp
    crystals, a few along the axis of a decahedron, many in icosahedra. Hcp: four of them, three of which are a chain
    (422); none in fcc, half of the bonds in hcp, some at every twin plane.

    Args:
        positions: (n_atoms, 3), in bond lengths.
    """
    bonded = cdist(positions, positions) < CLOSE
    np.fill_diagonal(bonded, False)
    in_common = np.where(bonded, bonded.astype(float) @ bonded, 0.0)
    i, j = np.nonzero(np.triu(in_common == 4.0))
    four = np.nonzero(bonded[i] & bonded[j])[1].reshape(-1, 4)
    links = bonded[four[:, :, None], four[:, None, :]].sum(axis=2)
    chains = (links.sum(axis=1) == 4) & (links.max(axis=1, initial=0) == 2)
    return float((in_common == 5.0).sum()) / 2.0 / len(positions), float(chains.sum()) / len(positions)


class _Pool:
    """The lowest distinct minima of one size, at most `beam` of a motif, and the starts tried so far."""

    def __init__(self, settings: GroundStateSettings) -> None:
        self.settings = settings
        self.members: list[Minimum] = []
        self.tried: set[tuple[float, float]] = set()
        self.found_at = 0

    def of_motif(self, motif: tuple[int, int]) -> list[Minimum]:
        """Members of a motif, lowest energy first."""
        return [member for member in self.members if member.motif == motif]

    def is_new(self, found: Minimum, energy_tolerance: float, others: Sequence[Minimum] = ()) -> bool:
        """Whether no converged member and none of the others has this energy and these distances."""
        return not any(
            abs(known.energy - found.energy) <= energy_tolerance
            and np.sqrt(((known.distances - found.distances) ** 2).mean()) <= self.settings.distance_tolerance
            for known in [*(member for member in self.members if member.converged), *others]
        )

    def is_promising(self, found: Minimum, slack: float) -> bool:
        """Whether its motif has room for it, were its energy lower by slack."""
        rivals = self.of_motif(found.motif)
        return len(rivals) < self.settings.beam or found.energy - slack < rivals[-1].energy

    def add(self, found: Minimum, calls: int) -> None:
        """Take it in where it belongs, if it is new and promising."""
        if not (self.is_promising(found, 0.0) and self.is_new(found, self.settings.energy_tolerance)):
            return
        if not self.members or found.energy < self.members[0].energy - self.settings.energy_tolerance:
            self.found_at = calls
        self.members = sorted([*self.members, found], key=lambda member: member.energy)
        surplus = self.of_motif(found.motif)[self.settings.beam :]
        self.members = [member for member in self.members if not any(member is one for one in surplus)]

    def draw(self, rng: np.random.Generator) -> Minimum:
        """A parent: every motif is as likely as another; of its members low energies are drawn more often."""
        motifs = sorted({member.motif for member in self.members})
        members = self.of_motif(motifs[int(rng.integers(len(motifs)))])
        weights = 0.7 ** np.arange(len(members))
        return members[int(rng.choice(len(members), p=weights / weights.sum()))]

    def is_untried(self, positions: np.ndarray) -> bool:
        """Whether no start like this one was seen before; now it was. Turned and renumbered starts are alike."""
        distances = pdist(positions)
        key = round(float(np.exp(-distances).sum()), 2), round(float((distances**2).mean()), 2)
        known = key in self.tried
        self.tried.add(key)
        return not known


class _Search:
    """Pools of all sizes and the counted model."""

    def __init__(self, model: EnergyModel, settings: GroundStateSettings, rng: np.random.Generator) -> None:
        unknown = set(settings.moves) - set(MOVES)
        if unknown:
            raise InputError(f"moves: expected names among {sorted(MOVES)}, got {sorted(unknown)}")
        self.model, self.settings, self.rng = CountingModel(model), settings, rng
        self.bond = settings.bond_length or 2.0 * bond_radius(settings.species)
        self.pools = {n: _Pool(settings) for n in range(2, settings.n_atoms + 2)}
        pair = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        self.pools[2].add(Minimum(pair, 0.0, np.zeros(2), pdist(pair), (0, 0), False), 0)

    def visit(self, n_atoms: int, until: int) -> None:
        """Look for minima of one size until so many calls have been used in the whole search."""
        worst = self.settings.coarse_calls + self.settings.max_calls
        starts = self._from_neighbours(n_atoms)
        while (room := (until - self.model.structures) // worst) > 0:
            batch = [start for _, start in zip(range(min(room, self.settings.batch)), starts, strict=False)]
            if not batch:
                starts = self._rearranged(n_atoms)
                continue
            self._take(np.array(batch), n_atoms)

    def report(self, n_atoms: int, sweep: int) -> Visit:
        """The best of a size."""
        pool = self.pools[n_atoms]
        best = pool.members[0]
        structure = Atoms([self.settings.species] * n_atoms, best.positions * self.bond)
        return Visit(n_atoms, sweep, structure, best.energy, best.converged, self.model.structures, pool.found_at)

    def _take(self, starts: np.ndarray, n_atoms: int) -> None:
        """Relax a batch of starts (n_starts, n_atoms, 3) and put what is worth it into the pool."""
        pool, given = self.pools[n_atoms], self.settings
        coarse = self._relaxed(starts, given.coarse_fmax, given.coarse_calls)
        chosen: list[Minimum] = []
        for found in sorted(coarse, key=lambda found: found.energy):
            if pool.is_new(found, given.slack, chosen) and pool.is_promising(found, given.slack):
                chosen.append(found)
        if chosen:
            for found in self._relaxed(np.array([found.positions for found in chosen]), given.fmax, given.max_calls):
                pool.add(found, self.model.structures)

    def _relaxed(self, starts: np.ndarray, fmax: float, max_calls: int) -> list[Minimum]:
        n_atoms = starts.shape[1]
        symbols = [self.settings.species] * n_atoms
        batch = relax_together(starts * self.bond, symbols, self.model, fmax, max_calls)
        return [self._minimum(batch, int(k)) for k in np.flatnonzero(np.isfinite(batch.energies))]

    def _minimum(self, batch: RelaxedBatch, k: int) -> Minimum:
        positions = batch.positions[k] / self.bond
        fivefold, hcp = motif_shares(positions)
        motif = bisect_right(self.settings.fivefold, fivefold), bisect_right(self.settings.hcp, hcp)
        return Minimum(
            positions=positions - positions.mean(axis=0),
            energy=float(batch.energies[k]),
            atom_energies=batch.atom_energies[k],
            distances=np.sort(pdist(positions)),
            motif=motif,
            converged=bool(batch.converged[k]),
        )

    def _from_neighbours(self, n_atoms: int) -> Iterator[np.ndarray]:
        """Untried starts from the sizes below and above: best site, weakest atom first, then second best, ..."""
        pool = self.pools[n_atoms]
        for parent in list(self.pools[n_atoms - 1].members):
            yield from _first_untried(_attached(parent, self.rng), pool, 2)
        for parent in list(self.pools[n_atoms + 1].members):
            yield from _first_untried(_thinned(parent), pool, 2)

    def _rearranged(self, n_atoms: int) -> Iterator[np.ndarray]:
        """Rearrangements of members of the pool, without end."""
        pool = self.pools[n_atoms]
        names = list(self.settings.moves)
        shares = np.array(list(self.settings.moves.values()), dtype=float)
        while True:
            for _ in range(self.settings.tries):
                name = names[int(self.rng.choice(len(names), p=shares / shares.sum()))] if pool.members else "fresh"
                start = MOVES[name](pool, n_atoms, self.rng)
                if pool.is_untried(start):
                    break
            yield start


def _attached(parent: Minimum, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The parent with one more atom, at the point with most neighbours first."""
    field = ContactPoints(parent.positions)
    if len(field.points) == 0:
        yield field.fill(len(parent.positions) + 1, 0.0, rng)
    for k in np.argsort(-field.touches, kind="stable"):
        yield np.concatenate([parent.positions, field.points[k : k + 1]])


def _thinned(parent: Minimum) -> Iterator[np.ndarray]:
    """The parent with one atom less, the most weakly bound one first."""
    for k in np.argsort(-parent.atom_energies, kind="stable"):
        yield np.delete(parent.positions, k, axis=0)


def _first_untried(starts: Iterator[np.ndarray], pool: _Pool, most: int) -> Iterator[np.ndarray]:
    n_left = most
    for start in starts:
        if n_left == 0:
            return
        if pool.is_untried(start):
            n_left -= 1
            yield start


def _relocate(pool: _Pool, n_atoms: int, rng: np.random.Generator) -> np.ndarray:
    parent = pool.draw(rng)
    n_moved = min(int(rng.geometric(0.4)), n_atoms // 2)
    return rearrange.relocate(parent.positions, parent.atom_energies, n_moved, _noise(rng), rng)


def _regrow(pool: _Pool, n_atoms: int, rng: np.random.Generator) -> np.ndarray:
    return rearrange.regrow(pool.draw(rng).positions, float(rng.uniform(0.3, 0.9)), _noise(rng), rng)


def _splice(pool: _Pool, n_atoms: int, rng: np.random.Generator) -> np.ndarray:
    return rearrange.splice(pool.draw(rng).positions, pool.draw(rng).positions, n_atoms, _noise(rng), rng)


def _twist(pool: _Pool, n_atoms: int, rng: np.random.Generator) -> np.ndarray:
    return rearrange.twist(pool.draw(rng).positions, _noise(rng), rng)


def _shake(pool: _Pool, n_atoms: int, rng: np.random.Generator) -> np.ndarray:
    return rearrange.shake(pool.draw(rng).positions, float(rng.uniform(0.1, 0.3)), rng)


def _fresh(pool: _Pool, n_atoms: int, rng: np.random.Generator) -> np.ndarray:
    return rearrange.fresh(n_atoms, _noise(rng), rng)


def _noise(rng: np.random.Generator) -> float:
    """Contacts; from nearly greedy to loose, log-uniform between 0.05 and 1.5."""
    return float(np.exp(rng.uniform(np.log(0.05), np.log(1.5))))


MOVES: dict[str, Callable[[_Pool, int, np.random.Generator], np.ndarray]] = {
    "relocate": _relocate,
    "regrow": _regrow,
    "splice": _splice,
    "twist": _twist,
    "shake": _shake,
    "fresh": _fresh,
}
