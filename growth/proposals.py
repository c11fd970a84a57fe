"""What happens next to a walker, by the kinetics that the settings name, on the energy model of the moment.

Growth without a clock offers competing sites (growth/simulator.py). Growth in time runs on (growth/kmc.py) until an
atom arrives, something happens for the first time, or a barrier is in doubt; what was sure on the way is told too.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from growth.deposition import deposit
from growth.energy_model import EnergyModel
from growth.errors import DepositionError, NoSitesError
from growth.event_table import EventTable, KnownProcess, Transition
from growth.events import Event, Kind
from growth.kmc import KineticEvent, KineticGrowth
from growth.relax import Relaxed
from growth.simulator import (
    GrowthSettings,
    Proposal,
    State,
    arriving,
    as_they_are,
    changes,
    propose,
    propose_hop,
    site_of,
)
from learner.site_head import SiteHead

MOST_PASSED = 200
"""Events beyond doubt after which the loop hears of them all the same."""
ATTEMPTS = 5
"""Flights of an atom that may fail (it bounces, or the crystal breaks) before none is tried any more."""
RIVAL_SHARE = 0.1
"""A process counts in what happens next if this share of all would be its own, were its barrier two stds lower."""


class Proposer:
    """Makes proposals for walkers; what it has learnt of processes serves all of them, whatever the model.

    Args:
        settings: what grows and by which rules.
    """

    def __init__(self, settings: GrowthSettings) -> None:
        self.settings = settings
        self._table: EventTable | None = None
        self._model: EnergyModel | None = None
        self._growths: dict[int, KineticGrowth] = {}
        self._seen: list[KnownProcess] = []

    def propose(
        self,
        state: State,
        model: EnergyModel,
        rng: np.random.Generator,
        kind: Kind = "attach",
        walker: int = 0,
        sure: float = np.inf,
        head: SiteHead | None = None,
        stop_std: float = np.inf,
    ) -> Proposal:
        """The next step of a walker.

        Args:
            state: where it stands. model: the present one. rng: draws what is left to chance.
            kind: attach or hop, in growth without a clock.
            walker: its number. sure: std of a barrier up to which an event in time needs no question, eV.
            head: helps to find sites, in growth without a clock.
            stop_std: of a force near the adatom, at which a relaxation of a site goes no further, eV/Å; likewise.

        Raises:
            NoSitesError: nothing sound was found; carries the rejected structures.
            InputError: nothing can happen.
        """
        match self.settings.kinetics:
            case "kmc":
                return self._in_time(state, model, rng, walker, sure)
            case "md":
                return self._by_dynamics(state, model, rng)
            case _:
                search = propose if kind == "attach" else propose_hop
                return search(state, model, rng, self.settings, head, stop_std)

    def _by_dynamics(self, state: State, model: EnergyModel, rng: np.random.Generator) -> Proposal:
        """An atom flies in, on momenta drawn anew; the crystal as it is, hot, when the next one would come."""
        species = arriving(self.settings.fluxes, rng)
        settings = self.settings.dynamics(species)
        for attempt in range(ATTEMPTS):
            try:
                after = deposit(state.crystal, model, settings, rng)
                break
            except DepositionError as error:
                if attempt == ATTEMPTS - 1:
                    raise NoSitesError(f"{error}, {ATTEMPTS} times", [state.crystal.copy()]) from error
        after.arrays.pop("momenta", None)
        before, settled = as_they_are([state.crystal, after], model)
        return _settled("attach", species, len(after) - 1, [settled], before, 1e-12 * settings.picoseconds)

    # ------------------------------------------------------------------ in time

    def _in_time(
        self, state: State, model: EnergyModel, rng: np.random.Generator, walker: int, sure: float
    ) -> Proposal:
        growth = self._growth(state, model, walker)
        here, energy = state, np.nan
        passed: list[Event] = []
        while True:
            after, event = growth.step(rng)
            rival = self._doubtful_rival(growth, sure)
            new = event.transition is not None and self._is_new(event.transition.process)
            arrived_or_left = len(after.crystal) != len(here.crystal)
            last = here.step + 1 == self.settings.max_events or len(passed) >= MOST_PASSED
            if last or arrived_or_left or new or event.barrier_std > sure or rival:
                break
            process = event.transition.process  # type: ignore[union-attr]  # of every kind but attach
            if not passed or event.began is not here.crystal:
                energy = float(model([event.began]).energies[0])
            energy += process.barrier - process.reverse_barrier
            here, told = _passed(here, after.crystal, event, energy)
            passed.append(told)
        return self._event(here, after, event, rival, model, tuple(passed))

    def _growth(self, state: State, model: EnergyModel, walker: int) -> KineticGrowth:
        """The walker's growth as it was left, or one that begins where the walker stands."""
        settings = self.settings.in_time
        if self._table is None:
            self._table, self._model = EventTable(model, settings.table), model
        if model is not self._model:
            self._table.renew(model)
            self._model, self._growths, self._seen = model, {}, []
        known = self._growths.get(walker)
        if known is None or not _same(known.state.crystal, state.crystal):
            self._growths[walker] = KineticGrowth(model, settings, state, self._table)
        return self._growths[walker]

    def _is_new(self, process: KnownProcess) -> bool:
        """Whether it happens for the first time on this model."""
        if any(process is seen for seen in self._seen):
            return False
        self._seen.append(process)
        return True

    def _doubtful_rival(self, growth: KineticGrowth, sure: float) -> Transition | None:
        """The most doubtful process that might have happened instead, if its barrier is in doubt and it counts."""
        transitions = growth.catalogue.transitions
        stds = np.array([t.process.barrier_std for t in transitions])
        if not (stds > sure).any():
            return None
        rates = growth.rates(transitions)
        fastest = rates * np.exp(2 * stds / self.settings.kT)
        counts = (stds > sure) & (fastest > RIVAL_SHARE * (rates.sum() + growth.arrivals(growth.state.crystal).sum()))
        return transitions[int(np.argmax(np.where(counts, stds, -1.0)))] if counts.any() else None

    def _event(
        self,
        here: State,
        after: State,
        event: KineticEvent,
        rival: Transition | None,
        model: EnergyModel,
        passed: tuple[Event, ...],
    ) -> Proposal:
        """What happened as a proposal: where it leads, then saddle and minimum that it came from, then a rival's."""
        structures = [after.crystal]
        if event.transition is not None:
            structures += [event.transition.at_saddle(event.before)] if event.kind != "detach" else []
            structures.append(event.before)
        if rival is not None and rival is not event.transition and rival.process.kind != "detach":
            structures += [rival.at_saddle(event.began), event.began]
        start, *relaxed = as_they_are([here.crystal, *structures], model)
        proposal = _settled(
            event.kind,
            after.crystal.symbols[event.atom] if event.kind != "detach" else event.before.symbols[event.atom],
            event.atom,
            relaxed,
            start,
            after.time - here.time,
            event,
        )
        return Proposal(**{**vars(proposal), "passed": passed, "start": here if passed else None})


def _settled(
    kind: Kind,
    species: str,
    atom: int,
    relaxed: Sequence[Relaxed],
    before: Relaxed,
    duration: float,
    event: KineticEvent | None = None,
) -> Proposal:
    """A proposal that leaves nothing to choose."""
    climbed = event is not None and event.transition is not None
    sites = [site_of(found, min(atom, len(found.structure) - 1)) for found in relaxed]
    if kind == "detach":
        sites[0] = site_of(relaxed[0], len(relaxed[0].structure) - 1)
    return Proposal(
        kind=kind,
        species=species,
        atom=atom,
        sites=sites,
        stay=None,
        probabilities=np.eye(len(sites))[0],
        choice=0,
        energy_before=before.energy,
        member_energies_before=before.member_energies,
        counts={},
        duration=duration,
        barrier=event.barrier if event is not None and climbed else None,
        barrier_std=event.barrier_std if event is not None and climbed else None,
    )


def _passed(here: State, after: Atoms, event: KineticEvent, energy: float) -> tuple[State, Event]:
    """An event beyond doubt, told; the energy is the sum of what the processes on the way changed."""
    assert event.transition is not None
    position, moved = changes(event.kind, event.atom, here.crystal, after)
    process, time = event.transition.process, here.time + event.duration
    told = Event(
        step=here.step + 1,
        kind=event.kind,
        accepted=True,
        species=event.before.symbols[event.atom],
        atom=event.atom,
        position=position,
        moved=moved,
        n_atoms=len(after),
        energy=energy,
        energy_change=process.barrier - process.reverse_barrier,
        energy_change_std=None,
        forces_std=None,
        n_candidates=1,
        probability=1.0,
        converged=True,
        time=time,
        duration=event.duration,
        barrier=event.barrier,
        barrier_std=event.barrier_std,
    )
    return State(after, here.step + 1, time), told


def _same(a: Atoms, b: Atoms) -> bool:
    return len(a) == len(b) and bool((a.positions == b.positions).all() and (a.numbers == b.numbers).all())
