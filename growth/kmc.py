"""Growth in physical time: the residence-time algorithm over processes that saddle searches find on the way.

From a crystal everything its event table knows can happen at ν exp(−E/kT), and atoms arrive with the flux. One event is
drawn, with the time until it. States among which the crystal only flickers are folded: time and place of the way out
are drawn from their exact law, without the hops between (growth/kinetics.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from ase import Atom, Atoms
from pydantic import BaseModel, ConfigDict, Field

from growth.candidates import bond_lengths
from growth.energy_model import EnergyModel
from growth.errors import GrowthError, InputError, UnsettledError
from growth.event_table import EventTable, TableSettings, Transition, each_once, moved_key
from growth.events import Kind, State
from growth.kinetics import arrhenius, arrival_rates, draw_event, draw_exits, flicker
from growth.observables import ATTACHED
from growth.periodic import nearest_images
from growth.region import cut
from growth.relax import relax

MOST_SETTLINGS = 20
"""Relaxations, one after another, of a crystal that is no minimum, before one event."""


class KineticSettings(BaseModel):
    """How fast things happen, and how events are carried out."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    temperature_K: float = Field(300.0, gt=0)
    flux: dict[str, float] = Field({}, description="arriving atoms of each species, 1/(Å² s)")
    sticking: dict[str, float] = Field({}, description="share of them that stay; default 1")
    prefactor: float | None = Field(1e13, gt=0, description="of every process, 1/s; null: Vineyard's, of each its own")
    relax_every: int = Field(1, ge=0, description="events after which what moved is relaxed again; 0: if it drifts")
    relax_drift: float = Field(
        0.15, gt=0, description="Å; surroundings further off those that they are known by are relaxed after each event"
    )
    relax_radius: float = Field(5.0, gt=0, description="around what moved, Å")
    fmax: float = Field(0.01, gt=0, description="eV/Å")
    fold_faster: float | None = Field(
        None, gt=0, description="states joined by steps faster than this (1/s) both ways are folded; null: none are"
    )
    memory: int = Field(60, ge=2, description="states remembered for that")
    converge_below: float | None = Field(
        None,
        gt=0,
        description="processes with a lower barrier (eV) are converged anew on the crystal that they are met on, whose "
        "strain their surroundings do not show; null: none is",
    )
    table: TableSettings = TableSettings()


@dataclass(frozen=True)
class KineticEvent:
    """What a step did.

    Attributes:
        kind: hop, exchange, concerted, attach or detach. atom: in its middle. duration: s.
        before: the crystal in which it happened: the one before the step, or of states folded the one that was left.
        n_folded: states that were folded; 1 where none were.
        began: the crystal that the step was taken from, relaxed if it was no minimum. transition: what happened; None
            for attach.
    """

    kind: Kind
    atom: int
    duration: float
    before: Atoms
    n_folded: int
    began: Atoms
    transition: Transition | None = None

    @property
    def barrier(self) -> float:
        """eV; zero for attach."""
        return 0.0 if self.transition is None else self.transition.process.barrier

    @property
    def barrier_std(self) -> float:
        """eV; zero for attach."""
        return 0.0 if self.transition is None else self.transition.process.barrier_std


class Catalogue:
    """What can happen to one crystal; after a change only what is near it is looked at again."""

    def __init__(self, table: EventTable, converge_below: float | None = None) -> None:
        self.table, self.converge_below = table, converge_below
        self._of_atom: dict[int, list[Transition]] = {}
        self._groups: dict[tuple[int, ...], list[Transition]] = {}
        self._unique: dict[tuple[int, ...], list[Transition]] = {}

    def update(
        self,
        crystal: Atoms,
        rng: np.random.Generator,
        changed: np.ndarray | None = None,
        back: Transition | None = None,
    ) -> None:
        """Bring it up to date with a crystal.

        Args:
            crystal: relaxed. rng: draws searches of surroundings not met before.
            changed: numbers of the atoms that are elsewhere than at the last update; default all.
            back: the way back of the event that led here.
        """
        same = self.table.settings.saddles.same
        near = None if changed is None else self._near(crystal, changed)
        stale = set(self._of_atom) if near is None else set(self._of_atom) & set(near.tolist())
        dirty = set()
        for atom in stale:
            for transition in self._of_atom.pop(atom):
                key = moved_key(transition, same)
                self._groups[key].remove(transition)
                dirty.add(key)
        active = self.table.active(crystal, near)
        for transition in self.table.transitions(crystal, rng, active, each=False, back=back):
            key = moved_key(transition, same)
            self._of_atom.setdefault(transition.atom, []).append(transition)
            self._groups.setdefault(key, []).append(transition)
            dirty.add(key)
        for key in dirty:
            self._unique[key] = each_once(self._groups[key], same)
            if not self._groups[key]:
                del self._groups[key], self._unique[key]
        if self.converge_below is not None:
            self._converge(crystal, dirty)

    def _converge(self, crystal: Atoms, keys: set[tuple[int, ...]]) -> None:
        """Low processes as they are on this crystal; one whose saddle is not found on it stays as it is known."""
        low = {
            (key, n): transition
            for key in sorted(keys)
            for n, transition in enumerate(self._unique.get(key, []))
            if transition.process.kind != "detach" and transition.process.barrier <= (self.converge_below or 0.0)
        }
        for (key, n), converged in zip(low, self.table.converged_on(crystal, list(low.values())), strict=True):
            if converged is not None:
                self._unique[key][n] = converged

    @property
    def transitions(self) -> list[Transition]:
        """Each once."""
        return [transition for group in self._unique.values() for transition in group]

    def _near(self, crystal: Atoms, changed: np.ndarray) -> np.ndarray:
        """Atoms in whose surroundings something changed."""
        places = crystal.positions[changed]
        middle = places[0] + nearest_images(places - places[0], crystal).mean(axis=0)
        spread = np.linalg.norm(nearest_images(places - middle, crystal), axis=1).max()
        distances = np.linalg.norm(nearest_images(crystal.positions - middle, crystal), axis=1)
        return np.flatnonzero(distances <= spread + self.table.settings.radius + 1.0)


@dataclass
class _Visited:
    """A state that was visited.

    Attributes:
        crystal: as it is there. transitions: what can happen. rates: (n,), 1/s.
        targets: (n,), to which remembered state each leads; -1 to none.
        by_moved: numbers of the transitions by the atoms that they move.
    """

    crystal: Atoms
    transitions: list[Transition]
    rates: np.ndarray
    targets: np.ndarray
    by_moved: dict[tuple[int, ...], list[int]]


class KineticGrowth:
    """A crystal that grows in time.

    Args:
        model: energy model. settings: see there. state: relaxed crystal to begin with.
        table: of an earlier run; default an empty one.
    """

    def __init__(
        self, model: EnergyModel, settings: KineticSettings, state: State, table: EventTable | None = None
    ) -> None:
        self.model, self.settings, self.state = model, settings, state
        self.table = table or EventTable(model, settings.table)
        unknown = set(self.settings.sticking) - set(self.settings.flux)
        if unknown:
            raise InputError(f"sticking: expected species of the flux, got {', '.join(sorted(unknown))}")
        if self.settings.prefactor is None and not self.table.settings.vibrations:
            raise InputError("kinetics: prefactor null needs table.vibrations: true")
        self.catalogue = Catalogue(self.table, self.settings.converge_below)
        self._fresh: np.ndarray | None = None
        self._back: Transition | None = None
        self._states: list[_Visited] = []
        self._recent: list[int] = []
        self._mobile: set[int] = set()

    def run(self, rng: np.random.Generator, n_steps: int | None = None) -> Iterator[tuple[State, KineticEvent]]:
        """Steps, one after another; for ever without a number."""
        while n_steps is None or n_steps > 0:
            yield self.step(rng)
            n_steps = None if n_steps is None else n_steps - 1

    def step(self, rng: np.random.Generator) -> tuple[State, KineticEvent]:
        """One event, or the way out of folded states; `state` is replaced.

        Raises:
            InputError: nothing can happen: no process is known and no flux was given.
            GrowthError: the crystal does not come to rest.
        """
        crystal = self._looked_at(rng)
        transitions = self.catalogue.transitions
        rates = self.rates(transitions)
        arrivals = self.arrivals(crystal)
        if not rates.sum() + arrivals.sum() > 0:
            raise InputError("kinetics: nothing can happen to this crystal; give a flux, or search higher barriers")
        n_folded = 1
        if self.settings.fold_faster is not None:
            self._remember(crystal, transitions, rates)
            folded = self._way_out(arrivals, rng)
            if folded is not None:
                crystal, transitions, rates, choice, duration, n_folded = folded
        if n_folded == 1:
            choice, duration = draw_event(np.concatenate([rates, arrivals]), rng)
        if choice < len(rates):
            after, event, moved = self._happen(crystal, transitions[choice], duration, n_folded)
        else:
            after, event, moved = self._attach(crystal, list(self.settings.flux)[choice - len(rates)], duration, rng)
        if len(after) != len(crystal):
            self._states, self._recent = [], []
        if event.kind == "detach":  # atoms have other numbers now
            self._forget()
        else:
            old = self.state.crystal.positions
            vectors = nearest_images(after.positions[: len(old)] - old, after)
            far = np.linalg.norm(vectors, axis=1) > (1e-3 if n_folded > 1 else np.inf)
            self._fresh = np.union1d(moved, np.flatnonzero(far))
        stays = event.transition is not None and event.kind != "detach"
        self._back = event.transition.back() if stays and event.transition is not None else None
        self.state = State(after, self.state.step + 1, self.state.time + duration)
        return self.state, event

    def _looked_at(self, rng: np.random.Generator) -> Atoms:
        """The crystal, with the catalogue of what can happen to it; relaxed first where it turns out not to rest."""
        for _ in range(MOST_SETTLINGS):
            crystal = self.state.crystal
            try:
                self.catalogue.update(crystal, rng, self._fresh, self._back)
                return crystal
            except UnsettledError as unsettled:
                self.state = replace(self.state, crystal=unsettled.settled)
                self._forget()
        raise GrowthError(f"kinetics: the crystal moves on after {MOST_SETTLINGS} relaxations; lower kmc.fmax")

    def _forget(self) -> None:
        """Look at the whole crystal anew: other atoms, or other places, than what is remembered was of."""
        self.catalogue, self._fresh = Catalogue(self.table, self.settings.converge_below), None
        self._states, self._recent = [], []

    def rates(self, transitions: list[Transition]) -> np.ndarray:
        """1/s, (n_transitions,)."""
        barriers = np.array([max(t.process.barrier, 0.0) for t in transitions])
        fixed = self.settings.prefactor
        prefactors = np.array([t.process.prefactor if fixed is None else fixed for t in transitions])
        return arrhenius(barriers, prefactors, self.settings.temperature_K)

    def arrivals(self, crystal: Atoms) -> np.ndarray:
        """Atoms of each species of the flux that arrive and stay, 1/s."""
        if not self.settings.flux:
            return np.zeros(0)
        flux = np.array(list(self.settings.flux.values()), dtype=float)
        sticking = np.array([self.settings.sticking.get(symbol, 1.0) for symbol in self.settings.flux], dtype=float)
        return arrival_rates(flux, open_area(crystal), sticking)

    def _happen(
        self, crystal: Atoms, transition: Transition, duration: float, n_folded: int
    ) -> tuple[Atoms, KineticEvent, np.ndarray]:
        after = transition.after(crystal)
        kind, began = transition.process.kind, self.state.crystal
        event = KineticEvent(kind, transition.atom, duration, crystal, n_folded, began, transition)
        if event.kind == "detach":
            return self._relaxed(after, crystal.positions[[transition.atom]]), event, np.array([], dtype=int)
        far = np.linalg.norm(transition.final, axis=1) > self.settings.table.saddles.same
        moved = transition.atoms[far]
        every = self.settings.relax_every
        drifted = float(np.linalg.norm(transition.correction, axis=1).max()) > self.settings.relax_drift
        if drifted or (every and (self.state.step + 1) % every == 0):
            after = self._relaxed(after, after.positions[moved])
        return after, event, moved

    def _attach(
        self, crystal: Atoms, species: str, duration: float, rng: np.random.Generator
    ) -> tuple[Atoms, KineticEvent, np.ndarray]:
        after = crystal.copy()
        after.append(Atom(species, flight(crystal, species, rng)[0]))
        moved = np.array([len(crystal)])
        landed = self._relaxed(after, after.positions[moved])
        settled = self._relaxed(landed, landed.positions[moved])  # where it has rolled to
        return settled, KineticEvent("attach", len(crystal), duration, crystal, 1, self.state.crystal), moved

    def _relaxed(self, crystal: Atoms, places: np.ndarray) -> Atoms:
        """What is near some places (n, 3), relaxed."""
        region = cut(crystal, places, self.settings.relax_radius, self.model.reach)
        return region.put_back(crystal, relax([region.structure], self.model, self.settings.fmax, 400)[0].structure)

    # ------------------------------------------------------------------ folding

    def _remember(self, crystal: Atoms, transitions: list[Transition], rates: np.ndarray) -> None:
        """Add the present state, or find it among those remembered, and tell which of them it is joined to.

        States differ in the atoms that moved since the first of them: these alone are compared.
        """
        if len(self._states) >= self.settings.memory:
            self._states, self._recent = [], []
        moved: set[int] = set()
        if self._states:
            vectors = nearest_images(crystal.positions - self._states[0].crystal.positions, crystal)
            moved = set(np.flatnonzero(np.linalg.norm(vectors, axis=1) > self._far).tolist())
        mobile = self._mobile | moved
        number = self._find(crystal.positions, crystal, mobile)
        if number is None:
            self._mobile = mobile if self._states else set()
            number = len(self._states)
            same = self.settings.table.saddles.same
            by_moved: dict[tuple[int, ...], list[int]] = {}
            for k, transition in enumerate(transitions):
                if transition.process.kind != "detach":
                    by_moved.setdefault(moved_key(transition, same), []).append(k)
            self._states.append(_Visited(crystal, transitions, rates, np.full(len(rates), -1), by_moved))
            self._join()
        self._recent.append(number)

    def _join(self) -> None:
        """Note by which transitions the newest remembered state is joined to the others.

        A transition can lead from one state to another only if the atoms that it moves are those that differ.
        """
        atoms = np.array(sorted(self._mobile), dtype=int)
        new = len(self._states) - 1
        places = np.array([state.crystal.positions[atoms] for state in self._states])
        crystal = self._states[new].crystal
        ways = nearest_images((places[new] - places).reshape(-1, 3), crystal).reshape(places.shape)
        differs = (ways**2).sum(axis=2) > self._far**2
        for other in range(new):
            moved = tuple(atoms[differs[other]].tolist())
            for start, end, way in ((other, new, ways[other]), (new, other, -ways[other])):
                state = self._states[start]
                for k in state.by_moved.get(moved, []):
                    if state.targets[k] < 0 and self._leads(state.transitions[k], atoms, way):
                        state.targets[k] = end

    def _leads(self, transition: Transition, atoms: np.ndarray, way: np.ndarray) -> bool:
        """Whether a transition takes these atoms (n,), in order, this way (n, 3), and no other of them anywhere."""
        here = np.isin(transition.atoms, atoms)
        off = way.copy()
        off[np.searchsorted(atoms, transition.atoms[here])] -= (transition.final + transition.correction)[here]
        return bool((off**2).sum(axis=1).max(initial=0.0) <= self._far**2)

    def _find(self, positions: np.ndarray, crystal: Atoms, mobile: set[int]) -> int | None:
        """Number of the remembered state with these atoms at these positions (n_atoms, 3)."""
        if not self._states:
            return None
        atoms = sorted(mobile)
        known = np.array([state.crystal.positions[atoms] for state in self._states])
        off = nearest_images((known - positions[atoms]).reshape(-1, 3), crystal).reshape(known.shape)
        apart = (off**2).sum(axis=2).max(axis=1, initial=0.0)
        nearest = int(apart.argmin())
        return nearest if apart[nearest] <= self._far**2 else None

    @property
    def _far(self) -> float:
        """Å by which an atom is elsewhere."""
        return 2 * self.settings.table.saddles.same

    def _way_out(
        self, arrivals: np.ndarray, rng: np.random.Generator
    ) -> tuple[Atoms, list[Transition], np.ndarray, int, float, int] | None:
        """From which folded state the crystal leaves, by which event, and when; None where nothing flickers."""
        assert self.settings.fold_faster is not None
        n = len(self._states)
        matrix = np.zeros((n, n))
        for i, state in enumerate(self._states):
            known = state.targets >= 0
            np.add.at(matrix[i], state.targets[known], state.rates[known])
        np.fill_diagonal(matrix, 0.0)
        recent = np.array(self._recent[-4 * self.settings.memory :])
        folded = flicker(matrix, recent, self.settings.fold_faster)
        if len(folded) < 2:
            return None
        inside = np.isin(np.arange(n), folded)
        ways = []
        for place, i in enumerate(folded):
            state = self._states[i]
            leaves = (state.targets < 0) | ~inside[np.maximum(state.targets, 0)]
            ways += [(place, int(k), float(state.rates[k])) for k in np.flatnonzero(leaves)]
            ways += [(place, len(state.rates) + a, float(rate)) for a, rate in enumerate(arrivals)]
        exits = np.zeros((len(folded), len(ways)))
        for column, (place, _, rate) in enumerate(ways):
            exits[place, column] = rate
        used = np.flatnonzero(exits.sum(axis=0) > 0)
        if len(used) == 0:
            return None
        times, columns = draw_exits(matrix[np.ix_(folded, folded)], exits[:, used], 0, rng)
        place, choice, _ = ways[int(used[columns[0]])]
        state = self._states[folded[place]]
        self._recent.append(int(folded[place]))
        return state.crystal, state.transitions, state.rates, choice, float(times[0]), len(folded)


def open_area(crystal: Atoms) -> float:
    """Å² through which atoms arrive: the cell's cross-section over a slab, the sphere around a cluster."""
    if crystal.pbc.any():
        cell = crystal.cell.complete()[:]
        periodic = cell[crystal.pbc]
        if len(periodic) != 2:
            raise InputError(f"crystal: expected a cluster or a slab periodic in two directions, got {crystal.pbc}")
        return float(np.linalg.norm(np.cross(*periodic)))
    around = crystal.positions - crystal.positions.mean(axis=0)
    radius = float(np.linalg.norm(around, axis=1).max()) + float(bond_lengths(crystal, crystal.symbols[0]).mean())
    return 4 * np.pi * radius**2


def flight(crystal: Atoms, species: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where an atom that flies straight in first touches the crystal, (3,), Å, and its direction, (3,), a unit vector.

    On a slab it comes down along z at a random place. On a cluster it enters the sphere around it at a random place,
    in a direction drawn by the cosine law. Where it misses (through a hole, past the cluster) it is drawn anew.
    """
    reach = bond_lengths(crystal, species)
    start_of = _above if crystal.pbc.any() else _around
    while True:
        start, direction = start_of(crystal, float(reach.max()), rng)
        place = _touch(crystal, start, direction, reach)
        if np.isfinite(place).all():
            return place, direction


def _above(crystal: Atoms, reach: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    start = rng.random(3) @ (crystal.cell.complete()[:] * crystal.pbc[:, None])
    start[2] = crystal.positions[:, 2].max() + 2 * reach
    return start, np.array([0.0, 0.0, -1.0])


def _around(crystal: Atoms, reach: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """On the sphere around a cluster, inwards by Lambert's law: a point of the unit sphere about the inward normal."""
    centre = crystal.positions.mean(axis=0)
    radius = np.linalg.norm(crystal.positions - centre, axis=1).max() + ATTACHED * reach
    outward, scattered = rng.normal(size=(2, 3))
    outward /= np.linalg.norm(outward)
    direction = scattered / np.linalg.norm(scattered) - outward
    return centre + radius * outward, direction / max(float(np.linalg.norm(direction)), 1e-12)


def _touch(crystal: Atoms, start: np.ndarray, direction: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """First point of a ray at `reach` (n_atoms,) from an atom; not finite where the ray misses all."""
    to_atoms = crystal.positions - start
    if crystal.pbc.any():
        flat = nearest_images(to_atoms, crystal)
        to_atoms = np.where(crystal.pbc, flat, to_atoms)
    along = to_atoms @ direction
    across2 = (to_atoms**2).sum(axis=1) - along**2
    hits = (across2 < reach**2) & (along > 0)
    if not hits.any():
        return np.full(3, np.inf)
    lengths = along[hits] - np.sqrt(reach[hits] ** 2 - across2[hits])
    return np.asarray(start + lengths.min() * direction)
