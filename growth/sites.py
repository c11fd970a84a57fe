"""Adatom sites without a lattice: local minima of an energy model, found from raw touching positions.

A funnel, widest where it is cheapest. Geometry proposes (candidates.py); the model's screen ranks the raw positions
in one batch; the lowest and a few random ones are relaxed coarsely, in one batch; equal minima are merged; the best
few are relaxed to the end on the full model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atom, Atoms
from pydantic import BaseModel, ConfigDict, Field

from growth.candidates import Candidates, find_candidates
from growth.energy_model import CountingModel, EnergyModel
from growth.observables import flaw, n_parts, pair_distances
from growth.relax import Relaxed, relax


class SiteSettings(BaseModel):
    """How sites are searched for. Lengths in Å, forces in eV/Å, energies in eV."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bond_length: float | None = Field(default=None, gt=0, description="touching distance; default: sum of two radii")
    max_ranked: int = Field(default=48, ge=1, description="raw candidates whose energy the screen is asked for")
    max_candidates: int = Field(default=12, ge=1, description="raw candidates that are relaxed on the screen")
    random_share: float = Field(default=0.2, ge=0, lt=1, description="share of those drawn at random")
    n_competing: int = Field(default=5, ge=1, description="sites relaxed to the end on the full model")
    screen_fmax: float = Field(default=0.15, gt=0, description="largest force after the coarse relaxation")
    screen_steps: int = Field(default=25, ge=1, description="force calls of the coarse relaxation, a structure")
    fmax: float = Field(default=0.05, gt=0, description="largest force after the full relaxation")
    max_steps: int = Field(default=100, ge=1, description="force calls of the full relaxation, a structure")
    relax_radius: float | None = Field(
        default=None, gt=0, description="atoms further from the adatom stay put; default: none"
    )
    nudge: float = Field(default=0.05, ge=0, description="random shift of candidates with < 3 touches, off saddles")
    energy_tolerance: float = Field(default=0.005, ge=0, description="minima nearer than this in energy may be equal")
    distance_tolerance: float = Field(default=0.05, ge=0, description="and are, if pair distances differ less (rms)")


@dataclass(frozen=True)
class Site:
    """A local minimum with the adatom in it.

    Attributes:
        structure: relaxed, adatom last, other atoms in the order of the structure it was found on; no calculator.
        energy: eV. forces: (n_atoms, 3), eV/Å. forces_std: (n_atoms,), eV/Å. member_energies: (n_members,), eV.
        position: (3,), Å, of the adatom. raw_position: (3,), Å, where its relaxation began.
        converged: whether every movable atom's force is below fmax.
    """

    structure: Atoms
    energy: float
    forces: np.ndarray
    forces_std: np.ndarray
    member_energies: np.ndarray
    position: np.ndarray
    raw_position: np.ndarray
    converged: bool

    @property
    def energy_std(self) -> float:
        """Population std of the energy over the members, eV."""
        return float(self.member_energies.std())


def find_sites(
    structure: Atoms, species: str, model: EnergyModel, settings: SiteSettings, rng: np.random.Generator
) -> list[Site]:
    """Adatom sites on a structure, lowest energy first; empty when none survives. See `search_sites`."""
    return search_sites(structure, species, model, settings, rng)[0]


def search_sites(
    structure: Atoms, species: str, model: EnergyModel, settings: SiteSettings, rng: np.random.Generator
) -> tuple[list[Site], dict[str, int], list[Atoms]]:
    """Adatom sites, what the search cost and lost, and the relaxed structures it rejected.

    Args:
        structure: cluster or slab, left unchanged; atoms under `FixAtoms` do not move.
        species: symbol of the adatom.
        model: energy model; its `screen` ranks and relaxes coarsely.
        settings: see `SiteSettings`.
        rng: draws the random share and the nudges; both turn with the structure.

    Returns:
        Sites, lowest energy first, at most `settings.n_competing`.
        Counts: n_raw, n_ranked, n_relaxed, n_distinct, n_sites, rejected_escaped, rejected_overlap, rejected_broken,
            rejected_not_finite, screen_calls, screen_atoms, full_calls, full_atoms (structures and atoms evaluated).
        Rejected structures.
    """
    counted = CountingModel(model)
    substrate = _bare(structure)
    raw = find_candidates(substrate, species, settings.bond_length)
    chosen = _choose(raw, substrate, species, counted.screen, settings, rng)
    coarse = _relaxed(substrate, species, chosen, counted.screen, settings.screen_fmax, settings.screen_steps, settings)
    sound, rejected = _sorted_out(coarse, structure, settings)
    distinct = merged(sound, 4 * settings.energy_tolerance, 2 * settings.distance_tolerance)
    best = distinct[: settings.n_competing]
    full = relax(
        [site.structure for site in best], counted, settings.fmax, settings.max_steps, _movable(best, settings)
    )
    finished = [_site(relaxed, site.raw_position) for relaxed, site in zip(full, best, strict=True)]
    finished, rejected_late = _sorted_out(finished, structure, settings)
    sites = merged(finished, settings.energy_tolerance, settings.distance_tolerance)
    reasons = [reason for reason, _ in rejected + rejected_late]
    counts = {
        "n_raw": len(raw),
        "n_ranked": min(len(raw), settings.max_ranked),
        "n_relaxed": len(coarse),
        "n_distinct": len(distinct),
        "n_sites": len(sites),
        **{f"rejected_{reason}": reasons.count(reason) for reason in ("escaped", "overlap", "broken", "not_finite")},
        "screen_calls": counted.screen.structures if counted.screen is not counted else 0,
        "screen_atoms": counted.screen.atoms if counted.screen is not counted else 0,
        "full_calls": counted.structures,
        "full_atoms": counted.atoms,
    }
    return sites, counts, [site.structure for _, site in rejected + rejected_late]


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
) -> Candidates:
    """The raw candidates worth a relaxation: lowest by the screen's energy, and a few at random."""
    closest = np.argsort(-raw.closeness, kind="stable")[: settings.max_ranked]
    ranked = raw[closest]
    if len(ranked) <= settings.max_candidates:
        return _nudged(ranked, settings.nudge, rng)
    energies = screen([with_adatom(substrate, species, position) for position in ranked.positions]).energies
    order = np.argsort(np.where(np.isfinite(energies), energies, np.inf), kind="stable")
    n_random = round(settings.random_share * settings.max_candidates)
    lowest, others = np.split(order, [settings.max_candidates - n_random])
    drawn = rng.choice(others, size=n_random, replace=False)
    return _nudged(ranked[np.concatenate([lowest, drawn])], settings.nudge, rng)


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
    fmax: float,
    max_steps: int,
    settings: SiteSettings,
) -> list[Site]:
    """All candidates relaxed in one batch."""
    starts = [with_adatom(substrate, species, position) for position in candidates.positions]
    movable = None if settings.relax_radius is None else [_near_last(start, settings.relax_radius) for start in starts]
    results = relax(starts, model, fmax, max_steps, movable)
    return [_site(relaxed, raw) for relaxed, raw in zip(results, candidates.positions, strict=True)]


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
    )


def _sorted_out(
    sites: Sequence[Site], before: Atoms, settings: SiteSettings
) -> tuple[list[Site], list[tuple[str, Site]]]:
    """Sound sites by energy, and the others with the reason why not."""
    parts = n_parts(before, settings.bond_length)
    verdicts = [(flaw(site.structure, site.energy, parts, settings.bond_length), site) for site in sites]
    sound = sorted((site for verdict, site in verdicts if verdict is None), key=lambda site: site.energy)
    return sound, [(verdict, site) for verdict, site in verdicts if verdict is not None]


def merged(sites: Sequence[Site], energy_tolerance: float, distance_tolerance: float) -> list[Site]:
    """The lowest of each group of equal minima: same energy and same pair distances (so also mirror images)."""
    kept: list[tuple[Site, np.ndarray]] = []
    for site in sites:
        distances = pair_distances(site.structure)
        equal = (
            abs(site.energy - other.energy) <= energy_tolerance
            and np.sqrt(np.mean((distances - others) ** 2)) <= distance_tolerance
            for other, others in kept
        )
        if not any(equal):
            kept.append((site, distances))
    return [site for site, _ in kept]
