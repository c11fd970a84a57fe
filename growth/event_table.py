"""What can happen to a crystal: processes found by saddle search, kept by the surroundings they happen in, and reused.

Surroundings met for the first time are searched, from the atom in their middle, until the chance that the next search
would find something new is small. Met again, turned or mirrored, their processes are laid on the crystal at hand.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field

from growth.energy_model import EnergyModel
from growth.environment import Environment, Neighbourhood, Overlay, nearest_images, overlays
from growth.errors import InputError
from growth.events import Kind
from growth.kinetics import good_turing
from growth.observables import coordination
from growth.region import cut
from growth.relax import Relaxed, movable_atoms, relax
from growth.saddles import Process, SaddleSettings, harmonic_prefactor, search_saddles
from oracle.durable import write_whole


class TableSettings(BaseModel):
    """How surroundings are told apart and searched. Lengths in Å."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    radius: float = Field(6.0, gt=0, description="of the surroundings by which an atom's processes are known")
    tolerance: float = Field(0.5, gt=0, description="furthest that an atom of equal surroundings may be off")
    batch: int = Field(6, ge=1, description="searches side by side")
    max_searches: int = Field(60, ge=1, description="most searches for one surroundings")
    missing: float = Field(0.05, gt=0, lt=1, description="chance that a search finds something new, at which they end")
    most_neighbours: int = Field(7, ge=0, description="atoms with more neighbours are not searched from")
    highest: float = Field(1.5, gt=0, description="processes with a higher barrier are not kept, eV")
    vibrations: bool = Field(False, description="find each process's harmonic prefactor")
    saddles: SaddleSettings = SaddleSettings()


@dataclass(frozen=True)
class KnownProcess:
    """A process in the surroundings of its atom; vectors are in the order of the surroundings' atoms.

    Attributes:
        kind: hop (one atom moves), exchange (one takes another's place), concerted (several move otherwise).
        saddle, final: (n, 3), Å, displacements from the minimum. mode: (n, 3), at the saddle.
        barrier, reverse_barrier, barrier_std: eV.
        prefactor: 1/s, Vineyard's; nan where vibrations were not asked for.
        found: how many searches found it or a symmetric copy.
    """

    kind: Kind
    saddle: np.ndarray
    final: np.ndarray
    mode: np.ndarray
    barrier: float
    reverse_barrier: float
    barrier_std: float
    prefactor: float
    found: int


@dataclass
class Entry:
    """What is known of surroundings: the searches done, those that found a process worth keeping, and the processes."""

    environment: Environment
    symmetry: list[Overlay]
    processes: list[KnownProcess] = field(default_factory=list)
    n_searches: int = 0
    n_fruitful: int = 0

    @property
    def missing(self) -> float:
        """Chance that a search that finds something finds what is not known (Good & Turing); 1 before any did."""
        counts = np.array([process.found for process in self.processes])
        return good_turing(counts)[0] if len(counts) else 1.0


@dataclass(frozen=True, eq=False)
class Transition:
    """A process laid on a crystal.

    Attributes:
        atom: in the middle of its surroundings. process: what it is a copy of.
        atoms: (n,) numbers of the surroundings' atoms. saddle, final: (n, 3), Å, their displacements.
        correction: (n, 3), Å, to where they would be in the surroundings that the process was found in: added to
            `final`, so that errors of many processes do not add up.
    """

    atom: int
    process: KnownProcess
    atoms: np.ndarray
    saddle: np.ndarray
    final: np.ndarray
    correction: np.ndarray

    def after(self, crystal: Atoms) -> Atoms:
        """The crystal with the process done, not relaxed."""
        result = crystal.copy()
        result.positions[self.atoms] += self.final + self.correction
        return result


class EventTable:
    """Processes by surroundings.

    Args:
        model: energy model that is searched on. settings: see there.
    """

    def __init__(self, model: EnergyModel, settings: TableSettings | None = None) -> None:
        self.model, self.settings = model, settings or TableSettings()
        self.entries: dict[str, list[Entry]] = {}

    def active(self, crystal: Atoms, among: np.ndarray | None = None) -> np.ndarray:
        """Numbers of the atoms whose surroundings are looked at: movable, with few enough neighbours.

        Args:
            crystal: cluster or slab. among: (n,) only these; default all.
        """
        few = coordination(crystal) <= self.settings.most_neighbours
        found = np.flatnonzero(few & movable_atoms(crystal))
        return found if among is None else np.intersect1d(found, among)

    def transitions(
        self, crystal: Atoms, rng: np.random.Generator, atoms: np.ndarray | None = None, each: bool = True
    ) -> list[Transition]:
        """Everything known that can happen; what is not known yet is searched for first.

        Args:
            crystal: relaxed. rng: draws the searches. atoms: (n,) look at these; default the active ones.
            each: once, not from every atom that it is found from.
        """
        near = Neighbourhood(crystal, self.settings.radius)
        found: list[Transition] = []
        for atom in self.active(crystal) if atoms is None else atoms:
            environment = near.around(int(atom))
            entry, laid = self._known(environment) or (None, [])
            if entry is None:
                entry = self._searched(crystal, environment, rng)
                laid = entry.symmetry
            found += _laid(entry, laid, environment)
        return each_once(found, self.settings.saddles.same) if each else found

    def save(self, path: Path) -> None:
        """Write it whole, as JSON: the settings, then surroundings with their processes, one to a line."""
        entries = [entry for known in self.entries.values() for entry in known]
        lines = [self.settings.model_dump_json(), *(json.dumps(_written(entry)) for entry in entries)]
        write_whole(path, "\n".join(lines) + "\n")

    @classmethod
    def load(cls, path: Path, model: EnergyModel) -> "EventTable":
        """Read what `save` wrote; whether it was found on this energy model is the caller's to know.

        Raises:
            InputError: no such file, or no event table.
        """
        try:
            first, *rest = path.read_text().splitlines()
            table = cls(model, TableSettings.model_validate_json(first))
            for line in rest:
                entry = _read(json.loads(line), table.settings.tolerance)
                table.entries.setdefault(entry.environment.name, []).append(entry)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: expected an event table, {' '.join(str(error).split())[:120]}") from error
        return table

    def _known(self, environment: Environment) -> tuple[Entry, list[Overlay]] | None:
        for entry in self.entries.get(environment.name, []):
            laid = overlays(entry.environment, environment, self.settings.tolerance, entry.symmetry)
            if laid:
                return entry, laid
        return None

    def _searched(self, crystal: Atoms, environment: Environment, rng: np.random.Generator) -> Entry:
        """A new entry: batches of searches until little is missing."""
        settings = self.settings
        entry = Entry(environment, overlays(environment, environment, settings.tolerance))
        radius = settings.saddles.radius or float("inf")
        region = cut(crystal, crystal.positions[environment.atoms[:1]], radius, self.model.reach)
        minimum = relax([region.structure], self.model, settings.saddles.fmax, 300)[0]
        middle = region.index(int(environment.atoms[0]))
        places = np.array([region.index(int(atom)) for atom in environment.atoms])
        while entry.n_searches < settings.max_searches and (
            entry.missing > settings.missing or entry.n_searches < 2 * settings.batch
        ):
            for result in search_saddles(minimum, [middle] * settings.batch, self.model, settings.saddles, rng):
                entry.n_searches += 1
                if isinstance(result, Process) and result.barrier <= settings.highest:
                    self._take_in(entry, minimum, result, places)
        self.entries.setdefault(environment.name, []).append(entry)
        return entry

    def _take_in(self, entry: Entry, minimum: Relaxed, process: Process, places: np.ndarray) -> None:
        """Add a process found, or count it if it or a symmetric copy is known."""
        saddle, final = (
            nearest_images(end.structure.positions - minimum.structure.positions, minimum.structure)
            for end in (process.saddle, process.final)
        )
        outside = np.ones(len(final), dtype=bool)
        outside[places] = False
        if np.linalg.norm(final[outside], axis=1).max(initial=0.0) > self.settings.saddles.same:
            return  # reaches further than what it is known by
        entry.n_fruitful += 1
        for k, known in enumerate(entry.processes):
            if abs(known.barrier - process.barrier) > self.settings.saddles.same_energy:
                continue
            copies = (_turned(known.final, overlay) for overlay in entry.symmetry)
            off = min(np.linalg.norm(copy - final[places], axis=1).max() for copy in copies)
            if off <= self.settings.saddles.same:
                entry.processes[k] = KnownProcess(**{**vars(known), "found": known.found + 1})
                return
        kind = kind_of(entry.environment.vectors, final[places])
        entry.processes.append(
            KnownProcess(
                kind=kind,
                saddle=saddle[places],
                final=final[places],
                mode=process.mode[places],
                barrier=process.barrier,
                reverse_barrier=process.reverse_barrier,
                barrier_std=process.barrier_std,
                prefactor=harmonic_prefactor(process, self.model) if self.settings.vibrations else float("nan"),
                found=1,
            )
        )


def kind_of(before: np.ndarray, displacements: np.ndarray, far: float = 1.0) -> Kind:
    """Hop, exchange or concerted, from positions (n, 3) and displacements (n, 3), Å."""
    moved = np.flatnonzero(np.linalg.norm(displacements, axis=1) > far)
    if len(moved) == 1:
        return "hop"
    after = before[moved] + displacements[moved]
    filled = np.linalg.norm(after[:, None] - before[moved][None], axis=2).min(axis=1) < far
    return "exchange" if len(moved) > 1 and len(moved) - filled.sum() == 1 else "concerted"


def _turned(vectors: np.ndarray, overlay: Overlay) -> np.ndarray:
    """Vectors (n, 3) of the known surroundings, turned and in the order of the others."""
    result = np.zeros_like(vectors)
    result[overlay.order] = vectors @ overlay.rotation.T
    return result


def _laid(entry: Entry, laid: list[Overlay], environment: Environment) -> list[Transition]:
    """Every process of an entry, in every way that its surroundings lie on those of the crystal."""
    found = []
    for overlay in laid:
        off = _turned(entry.environment.vectors, overlay) - environment.vectors
        correction = np.where(environment.held[:, None], 0.0, off - off.mean(axis=0))
        found += [
            Transition(
                atom=int(environment.atoms[0]),
                process=process,
                atoms=environment.atoms,
                saddle=_turned(process.saddle, overlay),
                final=_turned(process.final, overlay),
                correction=correction,
            )
            for process in entry.processes
        ]
    return found


def _written(entry: Entry) -> dict[str, Any]:
    """Plain values for JSON."""
    return {
        "name": entry.environment.name,
        **{name: getattr(entry.environment, name).tolist() for name in ("numbers", "held", "vectors", "atoms")},
        "n_searches": entry.n_searches,
        "n_fruitful": entry.n_fruitful,
        "processes": [
            {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(process).items()}
            for process in entry.processes
        ],
    }


def _read(written: dict[str, Any], tolerance: float) -> Entry:
    """What `_written` wrote."""
    environment = Environment(
        numbers=np.array(written["numbers"], dtype=int),
        held=np.array(written["held"], dtype=bool),
        vectors=np.array(written["vectors"], dtype=float).reshape(-1, 3),
        atoms=np.array(written["atoms"], dtype=int),
        name=str(written["name"]),
    )
    processes = []
    for process in written["processes"]:
        for name in ("saddle", "final", "mode"):
            process[name] = np.array(process[name], dtype=float).reshape(-1, 3)
        processes.append(KnownProcess(**process))
    symmetry = overlays(environment, environment, tolerance)
    return Entry(environment, symmetry, processes, int(written["n_searches"]), int(written["n_fruitful"]))


def moved_key(transition: Transition, same: float) -> tuple[int, ...]:
    """Numbers of the atoms that end further than 2 `same` (Å) from where they were, in order."""
    far = np.linalg.norm(transition.final, axis=1) > 2 * same
    return tuple(sorted(transition.atoms[far].tolist()))


def each_once(transitions: list[Transition], same: float) -> list[Transition]:
    """Those that end the same way, found from several atoms or by several symmetries, count once.

    Two are the same where the same atoms move to the same places, to within 2 `same` Å, over equally high barriers.
    """
    kept: list[Transition] = []
    groups: dict[tuple[int, ...], list[tuple[float, np.ndarray]]] = {}
    for transition in transitions:
        key = moved_key(transition, same)
        where = {int(atom): k for k, atom in enumerate(transition.atoms)}
        ends, barrier = transition.final[[where[atom] for atom in key]], transition.process.barrier
        known = groups.setdefault(key, [])
        if not any(abs(b - barrier) < 0.02 and np.abs(e - ends).max(initial=0.0) < 2 * same for b, e in known):
            known.append((barrier, ends))
            kept.append(transition)
    return kept
