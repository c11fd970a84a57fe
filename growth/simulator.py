"""Growth, one atom after another: `init` + `step(state, model, rng, settings) -> (state, info)`.

`step` is made of two parts, so that a learning loop can put its own judgement between them: `propose` finds competing
sites and draws one, `apply` builds the next state and the event that tells how. Nothing here keeps hidden state;
randomness is an argument; events rebuild the crystal exactly (`replay`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.units import kB
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from growth.deposition import DepositionSettings
from growth.energy_model import EnergyModel
from growth.errors import InputError, NoSitesError
from growth.events import Event, Kind, State, replay
from growth.kmc import KineticSettings
from growth.observables import coordination
from growth.promising import Relaxations
from growth.relax import Relaxed, movable_atoms, relax
from growth.sites import Site, SiteSearch, SiteSettings, merged, search_sites
from learner.site_head import SiteHead

__all__ = [
    "Event",
    "GrowthSettings",
    "Kind",
    "Proposal",
    "State",
    "apply",
    "boltzmann",
    "grow",
    "init",
    "loose_atom",
    "propose",
    "propose_hop",
    "replay",
    "step",
]


Kinetics = Literal["boltzmann", "greedy", "kmc", "md"]


class GrowthSettings(BaseModel):
    """What grows, how far, how hot, and by which rules."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    species: dict[str, float] | str = Field(
        default="Al", description="symbol of arriving atoms, or symbol: relative flux"
    )
    n_atoms: int = Field(default=55, ge=1, description="growth ends when the crystal has so many atoms")
    kinetics: Kinetics = Field(
        default="boltzmann",
        description="boltzmann: each atom takes a site by exp(-E/kT); greedy: the lowest; kmc: atoms arrive with a "
        "flux and move over barriers, in physical time; md: they fly in, and dynamics is run between arrivals",
    )
    temperature_K: float = Field(default=400.0, ge=0, description="0: of the sites the lowest is taken")
    max_events: int | None = Field(default=None, ge=1, description="growth also ends after so many events")
    hops_per_step: int = Field(default=0, ge=0, description="after each attachment, loose atoms offered a better place")
    sites: SiteSettings = SiteSettings()
    kmc: KineticSettings = KineticSettings()
    md: DepositionSettings = DepositionSettings()

    @field_validator("species")
    @classmethod
    def _known(cls, species: dict[str, float] | str) -> dict[str, float] | str:
        fluxes = {species: 1.0} if isinstance(species, str) else species
        unknown = [symbol for symbol in fluxes if symbol not in chemical_symbols[1:]]
        if unknown or not fluxes or min(fluxes.values()) < 0 or sum(fluxes.values()) <= 0:
            raise ValueError(f"species: expected element symbols with fluxes above zero, got {species!r}")
        return species

    @model_validator(mode="after")
    def _agree(self) -> "GrowthSettings":
        """What the kinetics need is there, and nothing is said twice."""
        for part, name in (("kmc", "temperature_K"), ("md", "temperature_K"), ("md", "species")):
            given = getattr(self, part)
            if getattr(given, name) != type(given).model_fields[name].default:
                raise ValueError(f"{part}.{name}: expected growth.{name} alone, which holds for every kinetics")
        if self.kinetics in ("kmc", "md"):
            if self.hops_per_step:
                raise ValueError(
                    f"hops_per_step: expected 0 with kinetics {self.kinetics}, where atoms move by themselves"
                )
            if self.temperature_K == 0:
                raise ValueError(f"temperature_K: expected above 0 with kinetics {self.kinetics}")
        closed = not self.kmc.flux and self.max_events is not None
        if self.kinetics == "kmc" and not closed and set(self.kmc.flux) != set(self.fluxes):
            expected = ", ".join(self.fluxes)
            raise ValueError(f"kmc.flux: expected 1/(Å² s) for {expected}, or none together with growth.max_events")
        return self

    @property
    def fluxes(self) -> dict[str, float]:
        """Relative flux of each species."""
        return {self.species: 1.0} if isinstance(self.species, str) else self.species

    @property
    def kT(self) -> float:
        """eV, of the choice among sites."""
        return 0.0 if self.kinetics == "greedy" else kB * self.temperature_K

    @property
    def in_time(self) -> KineticSettings:
        """Of growth by events with barriers, at this temperature."""
        return self.kmc.model_copy(update={"temperature_K": self.temperature_K})

    def dynamics(self, species: str) -> DepositionSettings:
        """Of the arrival of an atom, at this temperature."""
        return self.md.model_copy(update={"temperature_K": self.temperature_K, "species": species})


@dataclass(frozen=True)
class Proposal:
    """Competing next crystals, and the one that chance took; in growth with a clock, the event that happens.

    Attributes:
        kind: `attach`: an atom arrives. `hop`: a loose atom is offered other places. With a clock, any kind.
        species: symbol of the atom that moves.
        atom: its number in the next crystal.
        sites: competing sites, lowest energy first. Site structures have the atom last.
        stay: which of the sites is the present crystal (a hop that does not happen); None for `attach`.
        probabilities: (n_sites,), see `boltzmann`.
        choice: the site drawn.
        energy_before: eV, of the crystal before the event. member_energies_before: (n_members,), eV.
        counts: what the search cost and rejected, see `search_sites`.
        rejected: relaxed structures that were no sites. learnt: what the search can teach a site head.
        duration: s, until the event; None without a clock. With one, nothing is left to choose: the first of the sites
            is what the event leads to, the others the saddle and the minimum that it came from.
        barrier, barrier_std: eV; None where none is climbed.
        passed: events that happened before, each beyond doubt. start: the state after these; None without any.
        features: (n_sites, n_features) of the adatom's surroundings, as networks see them; None where there are none.
    """

    kind: Kind
    species: str
    atom: int
    sites: list[Site]
    stay: int | None
    probabilities: np.ndarray
    choice: int
    energy_before: float
    member_energies_before: np.ndarray
    counts: dict[str, int]
    rejected: list[Atoms] = field(default_factory=list)
    learnt: Relaxations = field(default_factory=Relaxations.none)
    duration: float | None = None
    barrier: float | None = None
    barrier_std: float | None = None
    passed: tuple[Event, ...] = ()
    start: State | None = None
    features: np.ndarray | None = None


def boltzmann(energies: np.ndarray, kT: float) -> np.ndarray:
    """Probabilities (n_sites,) ∝ exp(−E_i/kT) for energies (n_sites,) in eV; kT = 0 takes the lowest.

    Each distinct minimum counts once: symmetric copies of a site do not add up. (Sites are merged by what they relax
    to, from a sample of raw positions, so a multiplicity would be a guess.)
    """
    if kT == 0.0:
        return np.eye(len(energies))[int(np.argmin(energies))]
    weights = np.exp(-(energies - energies.min()) / kT)
    return np.asarray(weights / weights.sum())


def init(seed: Atoms, model: EnergyModel | None = None, settings: GrowthSettings | None = None) -> State:
    """The state before the first event: the seed as it is, or relaxed when a model is given."""
    if len(seed) == 0:
        raise InputError("seed: expected at least one atom, got none")
    crystal = seed.copy()
    crystal.info, crystal.calc = {}, None
    if model is not None:
        sites = (settings or GrowthSettings()).sites
        crystal = relax([crystal], model, sites.fmax, sites.max_steps)[0].structure
    return State(crystal)


def propose(
    state: State,
    model: EnergyModel,
    rng: np.random.Generator,
    settings: GrowthSettings,
    head: SiteHead | None = None,
    stop_std: float = np.inf,
) -> Proposal:
    """Find sites for the next atom, with the help of a site head where there is one, and draw one.

    Sites whose relaxation left what the model knows, by `stop_std` (see `search_sites`), are among them, as stopped.

    Raises:
        NoSitesError: nothing sound was found; carries the rejected structures.
    """
    species = arriving(settings.fluxes, rng)
    before = as_they_are([state.crystal], model)[0]
    search = search_sites(state.crystal, species, model, settings.sites, rng, head, stop_std)
    if not search.sites:
        reasons = {key: n for key, n in search.counts.items() if key.startswith("rejected") and n}
        raise NoSitesError(
            f"no site for {species} on {len(state.crystal)} atoms: {search.counts['n_raw']} raw, {reasons}",
            search.rejected,
        )
    return _drawn("attach", species, len(state.crystal), search.sites, None, before, search, rng, settings)


def propose_hop(
    state: State,
    model: EnergyModel,
    rng: np.random.Generator,
    settings: GrowthSettings,
    head: SiteHead | None = None,
    stop_std: float = np.inf,
) -> Proposal:
    """Take a loosely bound atom off, find where it could be instead, and draw among these places and its own.

    The atom is drawn among those with few neighbours, by exp(−coordination); it keeps its number. Its own place is
    relaxed as far as the others are (the model may have changed since), and found again it counts once; it is never
    stopped, see `propose`.
    """
    atom = loose_atom(state.crystal, rng, settings.sites.bond_length)
    species = state.crystal.get_chemical_symbols()[atom]
    rest = state.crystal.copy()
    del rest[atom]
    before = as_they_are([state.crystal], model)[0]
    here = site_of(_relaxed_around(atom, state.crystal, model, settings.sites), atom)
    search = search_sites(rest, species, model, settings.sites, rng, head, stop_std)
    distinct = merged([here, *search.sites], settings.sites.energy_tolerance, settings.sites.distance_tolerance)
    sites = sorted(distinct, key=lambda site: site.energy)
    return _drawn("hop", species, atom, sites, here, before, search, rng, settings)


def _drawn(
    kind: Kind,
    species: str,
    atom: int,
    sites: list[Site],
    here: Site | None,
    before: Relaxed,
    search: SiteSearch,
    rng: np.random.Generator,
    settings: GrowthSettings,
) -> Proposal:
    """One of the sites drawn by Boltzmann's probabilities; `here` is the present place of a hopping atom."""
    probabilities = boltzmann(np.array([site.energy for site in sites]), settings.kT)
    return Proposal(
        kind=kind,
        species=species,
        atom=atom,
        sites=sites,
        stay=None if here is None else next(k for k, site in enumerate(sites) if site is here),
        probabilities=probabilities,
        choice=pick(probabilities, rng.random()),
        energy_before=before.energy,
        member_energies_before=before.member_energies,
        counts=search.counts,
        rejected=search.rejected,
        learnt=search.learnt,
    )


def apply(state: State, proposal: Proposal, choice: int | None = None) -> tuple[State, Event]:
    """The next state, and the event that leads to it.

    Args:
        state: the one that the proposal was made for, after what has `passed`.
        proposal: from `propose`, `propose_hop`, or `growth.proposals`.
        choice: another site than the one drawn.
    """
    choice = proposal.choice if choice is None else choice
    site = proposal.sites[choice]
    crystal = site.structure if proposal.kind == "detach" else _renumbered(site.structure, proposal.atom)
    position, moved = changes(proposal.kind, proposal.atom, state.crystal, crystal)
    time = None if proposal.duration is None else state.time + proposal.duration
    event = Event(
        step=state.step + 1,
        kind=proposal.kind,
        accepted=choice != proposal.stay,
        species=proposal.species,
        atom=proposal.atom,
        position=position,
        moved=moved,
        n_atoms=len(crystal),
        energy=site.energy,
        energy_change=site.energy - proposal.energy_before,
        energy_change_std=float((site.member_energies - proposal.member_energies_before).std()),
        forces_std=float(site.forces_std.max()),
        n_candidates=len(proposal.sites),
        probability=float(proposal.probabilities[choice]),
        converged=site.converged,
        time=time,
        duration=proposal.duration,
        barrier=proposal.barrier,
        barrier_std=proposal.barrier_std,
    )
    return State(crystal, event.step, time or 0.0), event


def changes(kind: Kind, atom: int, before: Atoms, after: Atoms) -> tuple[list[float], dict[str, list[float]]]:
    """Where the atom of an event is (of one that left: was), and the positions of all that moved, as in `Event`."""
    old = before.positions
    position = (old if kind == "detach" else after.positions)[atom].tolist()
    if kind == "detach":
        old = np.delete(old, atom, axis=0)
    changed = np.ones(len(after), dtype=bool)
    changed[: len(old)] = (after.positions[: len(old)] != old).any(axis=1)
    return position, {str(n): after.positions[n].tolist() for n in np.flatnonzero(changed)}


def step(
    state: State, model: EnergyModel, rng: np.random.Generator, settings: GrowthSettings
) -> tuple[State, dict[str, Any]]:
    """One atom arrives at a site, then loose atoms are offered better places; in time see `growth.proposals`.

    Returns:
        The next state; info with `events` (list of `Event`), `proposals`, and the summed `counts` of all searches.
    """
    proposals, events = [], []
    for kind in ["attach"] + ["hop"] * settings.hops_per_step:
        proposal = (propose if kind == "attach" else propose_hop)(state, model, rng, settings)
        state, event = apply(state, proposal)
        proposals.append(proposal)
        events.append(event)
    counts = {key: sum(p.counts[key] for p in proposals) for key in proposals[0].counts}
    return state, {"events": events, "proposals": proposals, "counts": counts}


def grow(
    seed: Atoms, model: EnergyModel, settings: GrowthSettings, rng_seed: int
) -> Iterator[tuple[State, dict[str, Any]]]:
    """Grow the relaxed seed to `settings.n_atoms`; yields the relaxed seed with empty info, then after every atom."""
    rng = np.random.default_rng(rng_seed)
    state = init(seed, model, settings)
    yield state, {}
    while len(state.crystal) < settings.n_atoms:
        state, info = step(state, model, rng, settings)
        yield state, info


def loose_atom(crystal: Atoms, rng: np.random.Generator, bond_length: float | None = None) -> int:
    """Number of an atom drawn by exp(−number of neighbours) among those that may move.

    Raises:
        InputError: every atom is fixed, or there is only one.
    """
    movable = np.flatnonzero(movable_atoms(crystal))
    if len(movable) == 0 or len(crystal) < 2:
        raise InputError("crystal: expected a movable atom beside others for a hop, found none")
    weights = boltzmann(coordination(crystal, bond_length=bond_length)[movable].astype(float), kT=1.0)
    return int(movable[pick(weights, rng.random())])


def arriving(fluxes: dict[str, float], rng: np.random.Generator) -> str:
    """Symbol of the next atom, drawn by the fluxes."""
    if len(fluxes) == 1:
        return next(iter(fluxes))
    return list(fluxes)[pick(np.array(list(fluxes.values())) / sum(fluxes.values()), rng.random())]


def pick(probabilities: np.ndarray, uniform: float) -> int:
    """Number that a uniform random number in [0, 1) picks with these probabilities."""
    return min(int(np.searchsorted(np.cumsum(probabilities), uniform, side="right")), len(probabilities) - 1)


def as_they_are(crystals: Sequence[Atoms], model: EnergyModel) -> list[Relaxed]:
    """Crystals unmoved, with their predictions, in one batch."""
    return relax(crystals, model, fmax=np.inf, max_steps=1)


def _relaxed_around(atom: int, crystal: Atoms, model: EnergyModel, settings: SiteSettings) -> Relaxed:
    """The crystal relaxed as a site of `atom` is: to the same force, within the same radius."""
    movable = None
    if settings.relax_radius is not None:
        distances = crystal.get_distances(atom, range(len(crystal)), mic=crystal.pbc.any())
        movable = [np.asarray(distances <= settings.relax_radius)]
    return relax([crystal], model, settings.fmax, settings.max_steps, movable)[0]


def site_of(present: Relaxed, atom: int) -> Site:
    """A crystal as a site of one of its atoms, which comes last."""
    order = [n for n in range(len(present.structure)) if n != atom] + [atom]
    position = present.structure.positions[atom].copy()
    return Site(
        structure=_reordered(present.structure, order),
        energy=present.energy,
        forces=present.forces[order],
        forces_std=present.forces_std[order],
        member_energies=present.member_energies,
        position=position,
        raw_position=position,
        converged=present.converged,
    )


def _renumbered(structure: Atoms, atom: int) -> Atoms:
    """The last atom becomes number `atom`."""
    last = len(structure) - 1
    return _reordered(structure, [*range(atom), last, *range(atom, last)])


def _reordered(structure: Atoms, order: list[int]) -> Atoms:
    """Atoms in another order; constraints follow."""
    return structure[order]
