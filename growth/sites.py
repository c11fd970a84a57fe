"""Adatom sites without a lattice: local minima of an energy model, found from raw touching positions.

A funnel, widest where it is cheapest. Geometry proposes (candidates.py); the model's screen gives the raw positions'
energies in one batch, and a site head that has learnt from earlier relaxations what they will be (promising.py); the
best by either and a few random ones are relaxed coarsely, in one batch; equal minima are merged; the best few are
relaxed to the end on the full model.

A complete search (`SiteSettings.complete`) is no funnel: every raw candidate is relaxed (or a share of them), from a
cover of the whole shell in which an adatom can be bound, and only what has met on the way down goes on as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from ase import Atom, Atoms
from pydantic import BaseModel, ConfigDict, Field
from scipy.spatial import cKDTree

from growth.candidates import Candidates, bond_lengths, distances_by_species, find_candidates, with_images
from growth.energy_model import CountingModel, EnergyModel
from growth.known_region import relax_within
from growth.observables import flaw, n_parts, pair_distances
from growth.promising import APART, Relaxations, promising, site_features
from growth.relax import ENERGY_NOISE, Relaxed, movable_atoms, relax
from learner.site_head import SiteHead

MET = 0.05
"""Å; relaxations of a complete search whose atoms have come so near one another go on as one."""
CREEP, ROUNDS = 0.1, (6, 6, 12, 24, 48)
"""Å, the longest step of a complete search's first relaxation; its force calls between looks for what has met."""
N_PUSHES, PUSH = 3, 0.1
"""How often, and how far (Å), a complete search pushes an adatom off a saddle."""
SMALL = 60
"""Atoms up to which the distances of all pairs tell minima apart."""
DISPLACED = 0.5
"""Å; an atom that is this far from where another site has it may have changed places with the adatom."""


class SiteSettings(BaseModel):
    """How sites are searched for. Lengths in Å, forces in eV/Å, energies in eV."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    bond_length: float | None = Field(default=None, gt=0, description="touching distance; default: sum of two radii")
    complete: bool = Field(
        default=False,
        description="every minimum is wanted, in cavities too: all candidates of a cover are relaxed; dear",
    )
    spacing: float = Field(default=0.2, gt=0, description="bond lengths between a complete search's raw candidates")
    share: float = Field(
        default=1.0, gt=0, le=1, description="of a complete search's candidates that are relaxed, the promising ones"
    )
    max_ranked: int | None = Field(
        default=48, ge=1, description="raw candidates whose energy the screen is asked for; none: all"
    )
    max_candidates: int | None = Field(
        default=12, ge=1, description="raw candidates that are relaxed on the screen; none: all"
    )
    random_share: float = Field(default=0.2, ge=0, lt=1, description="share of those drawn at random")
    n_competing: int = Field(default=5, ge=1, description="sites relaxed to the end on the full model")
    screen_fmax: float = Field(default=0.15, gt=0, description="largest force after the coarse relaxation")
    screen_steps: int = Field(default=25, ge=1, description="force calls of the coarse relaxation, a structure")
    fmax: float = Field(default=0.05, gt=0, description="largest force after the full relaxation")
    max_steps: int = Field(default=100, ge=1, description="force calls of the full relaxation, a structure")
    relax_radius: float | None = Field(
        default=None, ge=0, description="atoms further from the adatom stay put, at 0 all; default: none"
    )
    nudge: float = Field(default=0.05, ge=0, description="random shift of candidates with < 3 touches, off saddles")
    energy_tolerance: float = Field(default=0.005, ge=0, description="minima nearer than this in energy may be equal")
    distance_tolerance: float = Field(
        default=0.05, ge=0, description="and are, if pair distances differ less (rms); in large crystals the adatom's"
    )


@dataclass(frozen=True)
class Site:
    """A local minimum with the adatom in it.

    Attributes:
        structure: relaxed, adatom last, other atoms in the order of the structure it was found on; no calculator.
        energy: eV. forces: (n_atoms, 3), eV/Å. forces_std: (n_atoms,), eV/Å. member_energies: (n_members,), eV.
        position: (3,), Å, of the adatom. raw_position: (3,), Å, where its relaxation began.
        converged: whether every movable atom's force is below fmax.
        stopped: no minimum, but where its relaxation left what the model knows.
    """

    structure: Atoms
    energy: float
    forces: np.ndarray
    forces_std: np.ndarray
    member_energies: np.ndarray
    position: np.ndarray
    raw_position: np.ndarray
    converged: bool
    stopped: bool = False

    @property
    def energy_std(self) -> float:
        """Population std of the energy over the members, eV."""
        return float(self.member_energies.std())


class SiteSearch(NamedTuple):
    """What a search for sites brought.

    Attributes:
        sites: lowest energy first, at most `n_competing` (a large number for all of a complete search).
        counts: n_raw, n_ranked, n_relaxed, n_distinct, n_sites, n_stopped (of the sites), rejected_escaped,
            rejected_overlap, rejected_broken, rejected_not_finite, screen_calls, screen_atoms, full_calls, full_atoms
            (structures and atoms evaluated).
        rejected: relaxed structures that were no sites.
        learnt: sound coarse relaxations, for a site head.
    """

    sites: list[Site]
    counts: dict[str, int]
    rejected: list[Atoms]
    learnt: Relaxations


def find_sites(
    structure: Atoms,
    species: str,
    model: EnergyModel,
    settings: SiteSettings,
    rng: np.random.Generator,
    head: SiteHead | None = None,
) -> list[Site]:
    """Adatom sites on a structure, lowest energy first; empty when none survives. See `search_sites`."""
    return search_sites(structure, species, model, settings, rng, head).sites


def search_sites(
    structure: Atoms,
    species: str,
    model: EnergyModel,
    settings: SiteSettings,
    rng: np.random.Generator,
    head: SiteHead | None = None,
    stop_std: float = np.inf,
) -> SiteSearch:
    """Adatom sites, what the search cost and lost, the relaxed structures it rejected, and what it can teach.

    Args:
        structure: cluster or slab, left unchanged; atoms under `FixAtoms` do not move.
        species: symbol of the adatom.
        model: energy model; its `screen` ranks and relaxes coarsely.
        settings: see `SiteSettings`.
        rng: draws the random share and the nudges; both turn with the structure.
        head: helps to choose what is relaxed.
        stop_std: eV/Å, largest std of a force vector near the adatom at which a relaxation goes on.
    """
    counted = CountingModel(model)
    substrate = _bare(structure)
    raw = find_candidates(substrate, species, settings.bond_length, settings.spacing if settings.complete else None)
    chosen, features, empty = _choose(raw, substrate, species, counted.screen, settings, rng, head)
    ways: dict[bytes, tuple[np.ndarray, ...]] = {}
    if settings.complete:
        coarse = _together(substrate, species, chosen, counted.screen, settings)
        coarse = _minima(coarse, counted.screen, settings)
    else:
        coarse, ways = _relaxed(substrate, species, chosen, counted.screen, settings, stop_std < np.inf)
    sound, rejected = _sorted_out(coarse, structure, settings)
    learnt = _taught(sound, chosen, features, empty)
    distinct = (
        sound if settings.complete else merged(sound, 4 * settings.energy_tolerance, 2 * settings.distance_tolerance)
    )
    best = distinct[: settings.n_competing]
    full = relax_within(
        [site.structure for site in best],
        counted,
        settings.fmax,
        settings.max_steps,
        _movable(best, settings),
        stop_std,
        [ways.get(site.raw_position.tobytes(), ()) for site in best],
    )
    finished = [_site(relaxed, site.raw_position) for relaxed, site in zip(full, best, strict=True)]
    finished, rejected_late = _sorted_out(finished, structure, settings)
    minima_first = sorted(finished, key=lambda site: site.stopped)
    sites = merged(minima_first, settings.energy_tolerance, settings.distance_tolerance, settings.complete)
    sites = _by_energy(sites)
    reasons = [reason for reason, _ in rejected + rejected_late]
    counts = {
        "n_raw": len(raw),
        "n_ranked": len(_ranked(raw, settings)),
        "n_relaxed": len(chosen),
        "n_distinct": len(distinct),
        "n_sites": len(sites),
        "n_stopped": sum(site.stopped for site in sites),
        **{f"rejected_{reason}": reasons.count(reason) for reason in ("escaped", "overlap", "broken", "not_finite")},
        "screen_calls": counted.screen.structures if counted.screen is not counted else 0,
        "screen_atoms": counted.screen.atoms if counted.screen is not counted else 0,
        "full_calls": counted.structures,
        "full_atoms": counted.atoms,
    }
    return SiteSearch(sites, counts, [site.structure for _, site in rejected + rejected_late], learnt)


def _bare(structure: Atoms) -> Atoms:
    """Copy without info and calculator; constraints stay."""
    bare = structure.copy()
    bare.info = {}
    return bare


def with_adatom(structure: Atoms, species: str, position: np.ndarray) -> Atoms:
    """Copy of a structure with one atom more, last."""
    grown = structure.copy()
    grown.append(Atom(species, position))
    return grown


def _choose(
    raw: Candidates,
    substrate: Atoms,
    species: str,
    screen: EnergyModel,
    settings: SiteSettings,
    rng: np.random.Generator,
    head: SiteHead | None,
) -> tuple[Candidates, np.ndarray | None, float]:
    """The raw candidates worth a relaxation: the promising ones, and a few at random.

    Returns:
        Candidates; their features (n, f), None where all are relaxed unseen; energy of the substrate, eV.
    """
    ranked = _ranked(raw, settings)
    most = round(settings.share * len(ranked)) if settings.complete else settings.max_candidates
    if most is None or len(ranked) <= most:
        return _nudged(ranked, settings.nudge, rng), None, np.nan
    places = [with_adatom(substrate, species, position) for position in ranked.positions]
    empty, *energies = screen([substrate, *places]).energies
    raised = np.array(energies) - empty
    raised[~np.isfinite(raised)] = np.inf
    features = site_features(substrate, species, ranked.positions, np.minimum(raised, 1e6))
    orders = [np.argsort(raised, kind="stable")]
    if head is not None:
        orders.insert(0, np.argsort(head(features).energy, kind="stable"))
    n_random = round(settings.random_share * most)
    apart = APART * float(bond_lengths(substrate, species, settings.bond_length).max())
    best = promising(ranked.positions, orders, most - n_random, apart)
    others = np.setdiff1d(orders[-1], best, assume_unique=True)
    drawn = rng.choice(others[np.argsort(raised[others], kind="stable")], size=n_random, replace=False)
    chosen = np.concatenate([best, drawn])
    return _nudged(ranked[chosen], settings.nudge, rng), features[chosen], float(empty)


def _taught(sound: Sequence[Site], chosen: Candidates, features: np.ndarray | None, empty: float) -> Relaxations:
    """What sound coarse relaxations tell a site head."""
    if features is None:
        return Relaxations.none()
    number = {position.tobytes(): k for k, position in enumerate(chosen.positions)}
    known = [(site, number[site.raw_position.tobytes()]) for site in sound if site.raw_position.tobytes() in number]
    return Relaxations(
        features[[k for _, k in known]],
        np.array([site.energy - empty for site, _ in known]),
        np.array([float(np.linalg.norm(site.position - site.raw_position)) for site, _ in known]),
    )


def _ranked(raw: Candidates, settings: SiteSettings) -> Candidates:
    """The raw candidates that are looked at: those with most neighbours, or all of them."""
    most = None if settings.complete else settings.max_ranked
    return raw[np.argsort(-raw.closeness, kind="stable")[:most]]


def _nudged(candidates: Candidates, width: float, rng: np.random.Generator) -> Candidates:
    """Shift candidates with fewer than three touches within their own frames: they sit on saddles by symmetry."""
    shifts = rng.normal(0.0, width, size=(len(candidates), 3)) * (candidates.n_touches < 3)[:, None]
    positions = candidates.positions + np.einsum("nk,nkx->nx", shifts, candidates.frames)
    return Candidates(positions, *(getattr(candidates, name) for name in list(candidates.__dataclass_fields__)[1:]))


def _relaxed(
    substrate: Atoms,
    species: str,
    candidates: Candidates,
    model: EnergyModel,
    settings: SiteSettings,
    keep_ways: bool,
) -> tuple[list[Site], dict[bytes, tuple[np.ndarray, ...]]]:
    """All candidates relaxed in one batch; by raw position the ways that they took, if these are to be kept."""
    starts = [with_adatom(substrate, species, position) for position in candidates.positions]
    movable = None if settings.relax_radius is None else [_near_last(start, settings.relax_radius) for start in starts]
    results = relax(starts, model, settings.screen_fmax, settings.screen_steps, movable, keep_way=keep_ways)
    pairs = list(zip(results, candidates.positions, strict=True))
    return [_site(end, raw) for end, raw in pairs], {raw.tobytes(): end.way for end, raw in pairs if keep_ways}


def _together(
    substrate: Atoms, species: str, candidates: Candidates, model: EnergyModel, settings: SiteSettings
) -> list[Site]:
    """All candidates relaxed as far as the screen goes, those that meet on the way as one; by energy."""
    tracks = [_Track(with_adatom(substrate, species, place), place, settings) for place in candidates.positions]
    for n_calls in ROUNDS:
        for _ in range(n_calls):
            moving = [track for track in tracks if track.moving]
            if not moving:
                break
            prediction = model([track.trial for track in moving])
            for k, track in enumerate(moving):
                track.advance(float(prediction.energies[k]), np.asarray(prediction.forces[k], dtype=float))
        tracks = _apart(tracks)
    movable = [track.movable for track in tracks]
    results = relax([track.here for track in tracks], model, settings.fmax, settings.max_steps, movable)
    return _by_energy([_site(end, track.raw) for end, track in zip(results, tracks, strict=True)])


class _Track:
    """A structure that creeps downhill: steepest descent in steps of at most `CREEP`, so that it leaves no small basin.

    Step lengths by Barzilai & Borwein (IMA J. Numer. Anal. 8, 141 (1988)); an uphill step is retaken, shorter.
    """

    def __init__(self, start: Atoms, raw: np.ndarray, settings: SiteSettings) -> None:
        self.here, self.trial, self.raw = start, start.copy(), raw
        self.movable = movable_atoms(start)
        if settings.relax_radius is not None:
            self.movable &= _near_last(start, settings.relax_radius)
        self.energy, self.forces, self.fmax = np.inf, np.zeros((int(self.movable.sum()), 3)), settings.fmax
        self.length, self.longest, self.moving = 0.02, CREEP, True

    def advance(self, energy: float, forces: np.ndarray) -> None:
        """Take in what the model says of `trial`, and set the next one."""
        mine = forces[self.movable]
        if not (np.isfinite(energy) and np.isfinite(mine).all()):
            self.moving = False
            return
        step = (self.trial.positions - self.here.positions)[self.movable]
        if energy <= self.energy + ENERGY_NOISE * abs(energy):
            curvature, size = float((step * (self.forces - mine)).sum()), float((step**2).sum())
            self.length = size / curvature if curvature > 1e-12 else 2.0 * self.length
            self.longest = min(CREEP, 1.5 * self.longest)
            self.here, self.energy, self.forces = self.trial, energy, mine
            self.moving = float((mine**2).sum(axis=1).max(initial=0.0)) > self.fmax**2
        else:
            self.length *= 0.3
            self.longest = 0.4 * float(np.sqrt((step**2).sum(axis=1).max(initial=0.0)))
        self.trial = self.here.copy()
        shift = self.length * self.forces
        furthest = float(np.sqrt((shift**2).sum(axis=1).max(initial=0.0)))
        self.trial.positions[self.movable] += shift * min(1.0, self.longest / max(furthest, 1e-12))


def _apart(tracks: Sequence[_Track]) -> list[_Track]:
    """The tracks, in order, without those whose atoms are all within `MET` of a lower one's."""
    adatoms = np.array([track.here.positions[-1] for track in tracks]).reshape(-1, 3)
    tree, alive = cKDTree(adatoms), np.ones(len(tracks), dtype=bool)
    for n in np.argsort([track.energy for track in tracks], kind="stable"):
        if alive[n]:
            for k in tree.query_ball_point(adatoms[n], MET):
                shift = tracks[k].here.positions - tracks[n].here.positions
                alive[k] &= k == n or bool((shift**2).sum(axis=1).max() > MET**2)
    return [track for track, kept in zip(tracks, alive, strict=True) if kept]


def _minima(sites: Sequence[Site], model: EnergyModel, settings: SiteSettings) -> list[Site]:
    """Distinct sites, by energy; from a saddle, where symmetry has held an adatom, both ways down instead of it."""
    found: list[Site] = []
    waiting = merged(sites, settings.energy_tolerance, settings.distance_tolerance, strict=True)
    for _ in range(N_PUSHES):
        curvature, direction = _softest(waiting, model)
        found += [site for site, value in zip(waiting, curvature, strict=True) if not value < 0.0]
        saddles = [(waiting[n], push * direction[n]) for n in np.flatnonzero(curvature < 0.0) for push in (PUSH, -PUSH)]
        if not saddles:
            break
        starts = [_moved(site.structure, shift) for site, shift in saddles]
        movable = _movable([site for site, _ in saddles], settings)
        down = relax(starts, model, settings.fmax, settings.max_steps, movable)
        waiting = _by_energy([_site(end, site.raw_position) for end, (site, _) in zip(down, saddles, strict=True)])
        waiting = merged(waiting, settings.energy_tolerance, settings.distance_tolerance, strict=True)
    else:
        found += waiting
    return merged(_by_energy(found), settings.energy_tolerance, settings.distance_tolerance, strict=True)


def _softest(sites: Sequence[Site], model: EnergyModel, h: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Lowest curvature (n,), eV/Å², that an adatom feels while the rest stays, and its direction (n, 3)."""
    shifts = h * np.concatenate([np.eye(3), -np.eye(3)])
    asked = model([_moved(site.structure, shift) for site in sites for shift in shifts]) if sites else None
    forces = np.array([f[-1] for f in asked.forces] if asked else []).reshape(-1, 2, 3, 3)
    hessians = (forces[:, 1] - forces[:, 0]) / (2.0 * h)
    sound = np.isfinite(hessians).all(axis=(1, 2))
    hessians[~sound] = np.eye(3)
    values, vectors = np.linalg.eigh(0.5 * (hessians + hessians.transpose(0, 2, 1)))
    return values[:, 0], vectors[:, :, 0]


def _moved(structure: Atoms, shift: np.ndarray) -> Atoms:
    """A copy with its adatom shifted."""
    moved = structure.copy()
    moved.positions[-1] += shift
    return moved


def _by_energy(sites: Sequence[Site]) -> list[Site]:
    """Lowest first, what is no number last."""
    return sorted(sites, key=lambda site: site.energy if np.isfinite(site.energy) else np.inf)


def _movable(sites: Sequence[Site], settings: SiteSettings) -> list[np.ndarray] | None:
    if settings.relax_radius is None:
        return None
    return [_near_last(site.structure, settings.relax_radius) for site in sites]


def _near_last(structure: Atoms, radius: float) -> np.ndarray:
    """Mask (n_atoms,) of the atoms within radius (Å) of the last one."""
    return np.asarray(structure.get_distances(-1, range(len(structure)), mic=structure.pbc.any()) <= radius)


def _site(relaxed: Relaxed, raw_position: np.ndarray) -> Site:
    return Site(
        structure=relaxed.structure,
        energy=relaxed.energy,
        forces=relaxed.forces,
        forces_std=relaxed.forces_std,
        member_energies=relaxed.member_energies,
        position=relaxed.structure.positions[-1].copy(),
        raw_position=raw_position.copy(),
        converged=relaxed.converged,
        stopped=relaxed.stopped,
    )


def _sorted_out(
    sites: Sequence[Site], before: Atoms, settings: SiteSettings
) -> tuple[list[Site], list[tuple[str, Site]]]:
    """Sound sites by energy, and the others with the reason why not."""
    parts = n_parts(before, settings.bond_length)
    verdicts = [(flaw(site.structure, site.energy, parts, settings.bond_length), site) for site in sites]
    sound = sorted((site for verdict, site in verdicts if verdict is None), key=lambda site: site.energy)
    return sound, [(verdict, site) for verdict, site in verdicts if verdict is not None]


def merged(
    sites: Sequence[Site], energy_tolerance: float, distance_tolerance: float, strict: bool = False
) -> list[Site]:
    """The first of each group of equal minima, energy first: also mirror images and atoms that changed places.

    Equal are two of the same energy whose adatoms have the same distances to their neighbours (48 of each element,
    rms), or in which as many atoms as in the other have such neighbours as either adatom has. Crystals of up to
    `SMALL` atoms are equal also when the distances of all pairs are; in larger ones an adatom changes too few of them.

    Args:
        sites: in the order in which they are to win.
        energy_tolerance: eV.
        distance_tolerance: Å.
        strict: for tight minima, where none is to be lost: the neighbours alone decide, and within the tolerance, not
            twice that.
    """
    kept: list[_Seen] = []
    for site in sites:
        seen = _Seen(site, distance_tolerance, strict)
        near = (other for other in kept if abs(site.energy - other.site.energy) <= energy_tolerance)
        if not any(seen.equals(other) for other in near):
            kept.append(seen)
    return [seen.site for seen in kept]


class _Seen:
    """A site with what tells whether another is equal, worked out when first asked for."""

    def __init__(self, site: Site, tolerance: float, strict: bool) -> None:
        self.site = site
        self.pair_tolerance = -1.0 if strict or len(site.structure) > SMALL else tolerance
        self.tolerance = tolerance if strict else 2.0 * tolerance

    @cached_property
    def pairs(self) -> np.ndarray:
        """(n_pairs,), Å, sorted."""
        return pair_distances(self.site.structure)

    @cached_property
    def adatom(self) -> np.ndarray:
        """(n_values,), Å, sorted distances to the adatom's neighbours."""
        return _neighbourhoods(self.site.structure, np.array([len(self.site.structure) - 1]))[0]

    @cached_property
    def alike(self) -> np.ndarray:
        """(n_of_species, n_values), Å, the same of all atoms of the adatom's species."""
        numbers = self.site.structure.numbers
        return _neighbourhoods(self.site.structure, np.flatnonzero(numbers == numbers[-1]))

    def _count(self, fingerprint: np.ndarray) -> int:
        return int((_rms(self.alike - fingerprint) <= self.tolerance).sum())

    def equals(self, other: "_Seen") -> bool:
        """Whether both are the same minimum, given that their energies are."""
        if self.pair_tolerance >= 0.0 and _rms(self.pairs - other.pairs) <= self.pair_tolerance:
            return True
        if len(self.adatom) != len(other.adatom):
            return False
        if _rms(self.adatom - other.adatom) <= self.tolerance:
            return True
        rest = self.site.structure.positions[:-1] - other.site.structure.positions[:-1]
        if np.abs(rest).max(initial=0.0) < DISPLACED:
            return False
        return all(self._count(one.adatom) == other._count(one.adatom) > 0 for one in (self, other))


def _rms(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.mean(values**2, axis=-1)))


def _neighbourhoods(structure: Atoms, atoms: np.ndarray) -> np.ndarray:
    """Sorted distances from atoms to the nearest of each species, (len(atoms), n_values), Å, as far as images go."""
    if not structure.pbc.any():
        return distances_by_species(structure.positions[atoms], structure.positions, structure.numbers)
    width = 2.4 * float(bond_lengths(structure, structure.get_chemical_symbols()[-1]).max())
    wrapped = structure.copy()
    wrapped.wrap(eps=1e-6)
    points, owner = with_images(wrapped, width)
    found = distances_by_species(wrapped.positions[atoms], points, structure.numbers[owner])
    return np.minimum(found, width)
