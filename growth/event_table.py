"""What can happen to a crystal: processes found by saddle search, kept by the surroundings they happen in, and reused.

Surroundings met for the first time are searched: from the atom in their middle towards each place where it could touch
its neighbours anew, back along the event that led there, and at random until the chance that the next search would find
something new is small. Met again, turned or mirrored, their processes are laid on the crystal at hand.
"""

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field

from growth.candidates import bond_lengths, find_candidates
from growth.energy_model import EnergyModel, where_few_move
from growth.environment import Environment, Neighbourhood, Overlay, overlays
from growth.errors import InputError, UnsettledError
from growth.events import Kind
from growth.observables import coordination, coordination_of
from growth.periodic import nearest_images
from growth.region import Region, cut
from growth.relax import Relaxed, movable_atoms, relax
from growth.saddles import Process, SaddleSettings, harmonic_prefactor, refine_saddles, search_saddles
from oracle.durable import write_whole

DIGITS = 6
"""Decimals of what is kept, Å: a table is small when written, and read as it was."""
GONE = 1e3
"""Å; the displacement of an atom that leaves."""
DETACHING = 1e13
"""1/s, the prefactor of an atom that leaves, which has no saddle whose vibrations could tell it."""
NEARBY = 1.25
"""Bond lengths from an atom, within which places that it could move to are tried one by one."""


class TableSettings(BaseModel):
    """How surroundings are told apart and searched. Lengths in Å."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    radius: float = Field(6.0, gt=0, description="of the surroundings by which an atom's processes are known")
    tolerance: float = Field(0.5, gt=0, description="furthest that an atom of equal surroundings may be off")
    batch: int = Field(6, ge=1, description="searches side by side")
    max_searches: int = Field(60, ge=1, description="most searches for one surroundings")
    missing: float = Field(0.05, gt=0, lt=1, description="chance that a search finds something new, at which they end")
    most_neighbours: int = Field(7, ge=0, description="atoms with more neighbours are not searched from")
    highest: float = Field(1.5, gt=0, description="processes with a higher barrier are not kept, eV")
    vibrations: bool = Field(False, description="find each process's harmonic prefactor")
    detach: bool = Field(True, description="atoms may leave the crystal, over a barrier as high as they are bound")
    saddles: SaddleSettings = SaddleSettings()


@dataclass(frozen=True)
class KnownProcess:
    """A process in the surroundings of its atom; vectors are in the order of the surroundings' atoms.

    Attributes:
        kind: hop (one atom moves), exchange (one takes another's place), concerted (several move otherwise), detach
            (the atom in the middle leaves).
        saddle, final: (n, 3), Å, displacements from the minimum. mode: (n, 3), at the saddle.
        barrier, reverse_barrier, barrier_std: eV.
        prefactor: 1/s, Vineyard's; nan where vibrations were not asked for.
        found: how many random searches found it or a symmetric copy. directed: whether another one did.
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
    directed: bool = False


@dataclass
class Entry:
    """What is known of surroundings: the searches done, those that found a process worth keeping, and the processes.

    `current` is False for what was found on an earlier energy model.
    """

    environment: Environment
    symmetry: list[Overlay]
    processes: list[KnownProcess] = field(default_factory=list)
    n_searches: int = 0
    n_fruitful: int = 0
    current: bool = True

    @property
    def missing(self) -> float:
        """Chance that the next random search that finds something finds what is not known; 1 before any did.

        Good & Turing's share of what was found once, with one more such find counted, so that a few searches that
        agree do not pass for many. What a directed search found too would be known without the random one.
        """
        by_chance = [process for process in self.processes if process.found]
        alone = sum(process.found == 1 and not process.directed for process in by_chance)
        return (alone + 1) / (sum(process.found for process in by_chance) + 1)


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
    mode: np.ndarray
    final: np.ndarray
    correction: np.ndarray

    def after(self, crystal: Atoms) -> Atoms:
        """The crystal with the process done, not relaxed."""
        result = crystal.copy()
        if self.process.kind == "detach":
            del result[self.atom]
        else:
            result.positions[self.atoms] += self.final + self.correction
        return result

    def at_saddle(self, crystal: Atoms) -> Atoms:
        """The crystal on the way, at the saddle; of `detach`, which has none, as it is."""
        result = crystal.copy()
        result.positions[self.atoms] += self.saddle
        return result

    def back(self) -> "Transition":
        """The way back, as seen from where it led."""
        return replace(self, saddle=self.saddle - self.final, mode=-self.mode, final=-self.final)


class EventTable:
    """Processes by surroundings.

    Args:
        model: energy model that is searched on. settings: see there.
    """

    def __init__(self, model: EnergyModel, settings: TableSettings | None = None) -> None:
        self.model, self.settings = where_few_move(model), settings or TableSettings()
        self.entries: dict[str, list[Entry]] = {}

    def active(self, crystal: Atoms, among: np.ndarray | None = None) -> np.ndarray:
        """Numbers of the atoms whose surroundings are looked at: movable, with few enough neighbours.

        Args:
            crystal: cluster or slab. among: (n,) only these; default all.
        """
        if among is None:
            return np.flatnonzero((coordination(crystal) <= self.settings.most_neighbours) & movable_atoms(crystal))
        return among[(coordination_of(crystal, among) <= self.settings.most_neighbours) & movable_atoms(crystal)[among]]

    def transitions(
        self,
        crystal: Atoms,
        rng: np.random.Generator,
        atoms: np.ndarray | None = None,
        each: bool = True,
        back: Transition | None = None,
    ) -> list[Transition]:
        """Everything known that can happen; what is not known yet is searched for first.

        Args:
            crystal: relaxed. rng: draws the searches. atoms: (n,) look at these; default the active ones.
            each: once, not from every atom that it is found from.
            back: the way back of the event that led here, which exists too.

        Raises:
            UnsettledError: surroundings that were to be searched are elsewhere when relaxed. What was found is kept.
        """
        near = Neighbourhood(crystal, self.settings.radius)
        found: list[Transition] = []
        for atom in self.active(crystal) if atoms is None else atoms:
            environment = near.around(int(atom))
            if len(environment.atoms) == 1:  # nothing that it could move along
                continue
            entry, laid = self._known(environment) or (None, [])
            if entry is None or not entry.current:
                returning = back if back is not None and back.atom == atom else None
                entry = self._searched(crystal, environment, rng, entry, laid, returning)
                laid = overlays(entry.environment, environment, self.settings.tolerance, entry.symmetry)
            found += _laid(entry, laid, environment)
        return each_once(found, self.settings.saddles.same) if each else found

    def renew(self, model: EnergyModel) -> None:
        """Go on with another energy model of the same matter: what is known is converged on it when it is next met."""
        self.model = where_few_move(model)
        for known in self.entries.values():
            for entry in known:
                entry.current = False

    def converged_on(self, crystal: Atoms, transitions: Sequence[Transition]) -> list[Transition | None]:
        """The same processes with saddle and end converged on this very crystal, which strains its surroundings.

        None where that fails. Those in the middle of which is one atom are converged in one batch.
        """
        result: list[Transition | None] = [None] * len(transitions)
        by_atom: dict[int, list[int]] = {}
        for k, transition in enumerate(transitions):
            by_atom.setdefault(transition.atom, []).append(k)
        for numbers in by_atom.values():
            atoms = transitions[numbers[0]].atoms
            piece = self._piece(crystal, atoms)
            guesses = [(transitions[k].saddle, transitions[k].mode) for k in numbers]
            for k, found in zip(numbers, self._refined(piece, guesses), strict=True):
                old = transitions[k].process
                if isinstance(found, Process):
                    process = self._known_process(piece, found, old.kind, old.found)
                    still = np.zeros_like(process.final)
                    result[k] = Transition(
                        transitions[k].atom, process, atoms, process.saddle, process.mode, process.final, still
                    )
        return result

    def save(self, path: Path) -> None:
        """Write it whole, as JSON: the settings, then surroundings with their processes, one to a line.

        A name that ends in .gz is written compressed.
        """
        entries = [entry for known in self.entries.values() for entry in known]
        lines = [self.settings.model_dump_json(), *(json.dumps(_written(entry)) for entry in entries)]
        text = "\n".join(lines) + "\n"
        write_whole(path, gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text)

    @classmethod
    def load(cls, path: Path, model: EnergyModel) -> "EventTable":
        """Read what `save` wrote; whether it was found on this energy model is the caller's to know.

        Raises:
            InputError: no such file, or no event table.
        """
        try:
            content = path.read_bytes()
            first, *rest = (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()
            table = cls(model, TableSettings.model_validate_json(first))
            for line in rest:
                entry = _read(json.loads(line), table.settings.tolerance)
                table.entries.setdefault(entry.environment.name, []).append(entry)
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: expected an event table, {' '.join(str(error).split())[:120]}") from error
        return table

    def _known(self, environment: Environment) -> tuple[Entry, list[Overlay]] | None:
        for entry in self.entries.get(environment.name, []):
            laid = overlays(entry.environment, environment, self.settings.tolerance, entry.symmetry)
            if laid:
                return entry, laid
        return None

    def _piece(self, crystal: Atoms, atoms: np.ndarray) -> "_Piece":
        """What searches from the first of some atoms are done in, relaxed."""
        radius = self.settings.saddles.radius or float("inf")
        region = cut(crystal, crystal.positions[atoms[:1]], radius, self.model.reach)
        minimum = relax([region.structure], self.model, self.settings.saddles.fmax, 300)[0]
        return _Piece(region, minimum, np.array([region.index(int(atom)) for atom in atoms]))

    def _searched(
        self,
        crystal: Atoms,
        environment: Environment,
        rng: np.random.Generator,
        old: Entry | None = None,
        laid: Sequence[Overlay] = (),
        back: Transition | None = None,
    ) -> Entry:
        """A new entry: what an old one holds, laid on these; directed searches; batches of random ones.

        It is known by the surroundings as they are when relaxed, which its processes start from.
        """
        settings = self.settings
        piece = self._piece(crystal, environment.atoms)
        kept = replace(environment, vectors=np.round(piece.vectors(), DIGITS))
        symmetry = overlays(kept, kept, settings.tolerance)  # none of atoms on one line
        off = float(np.linalg.norm(kept.vectors - environment.vectors, axis=1).max())
        if off > settings.tolerance or (symmetry and not overlays(kept, environment, settings.tolerance)):
            message = f"atom {environment.atoms[0]}: expected surroundings at rest, got {off:.2f} Å when relaxed"
            raise UnsettledError(message, piece.region.put_back(crystal, piece.minimum.structure))
        entry = Entry(kept, symmetry)
        least, most = settings.batch, settings.max_searches
        if old is not None:
            self._carry_over(entry, old, laid[0], piece)
            least, most = entry.n_searches + settings.batch, entry.n_searches + settings.max_searches
        for result in self._refined(piece, _directed(entry, piece, back)):
            if isinstance(result, Process) and self._counts(piece, result):
                self._take_in(entry, piece, result, found=0, directed=True)
        middle = [int(piece.places[0])] * settings.batch
        while entry.n_searches < most and (entry.missing > settings.missing or entry.n_searches < least):
            for result in search_saddles(piece.minimum, middle, self.model, settings.saddles, rng):
                entry.n_searches += 1
                if isinstance(result, Process) and self._counts(piece, result):
                    entry.n_fruitful += 1
                    self._take_in(entry, piece, result)
        if settings.detach:
            self._add_detach(entry, piece)
        known = self.entries.setdefault(environment.name, [])
        if old is not None:
            known.remove(old)
        known.append(entry)
        return entry

    def _carry_over(self, entry: Entry, old: Entry, laid: Overlay, piece: "_Piece") -> None:
        """Converge the processes of an old entry on the present model; those that are none any more are dropped.

        Where one is dropped, the old model's searches found another landscape: this one's are counted from none.
        """
        kept = [process for process in old.processes if process.kind != "detach"]
        entry.n_searches, entry.n_fruitful, dropped = old.n_searches, old.n_fruitful, False
        guesses = [(_turned(process.saddle, laid), _turned(process.mode, laid)) for process in kept]
        for process, found in zip(kept, self._refined(piece, guesses), strict=True):
            if isinstance(found, Process) and self._counts(piece, found):
                self._take_in(entry, piece, found, process.found, process.directed)
            else:
                dropped = True
        if dropped:
            entry.n_searches = entry.n_fruitful = 0
            entry.processes = [replace(process, found=0, directed=True) for process in entry.processes]

    def _refined(self, piece: "_Piece", guesses: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Process | str]:
        """Processes from saddles and modes known roughly, (n, 3) each, in the order of the surroundings."""
        starts = []
        for saddle, mode in guesses:
            positions, direction = piece.minimum.structure.positions.copy(), np.zeros((len(piece.minimum.structure), 3))
            positions[piece.places] += saddle
            direction[piece.places] = mode
            starts.append((positions, direction, int(piece.places[0])))
        return refine_saddles(piece.minimum, starts, self.model, self.settings.saddles) if starts else []

    def _counts(self, piece: "_Piece", process: Process) -> bool:
        """Whether a process is worth keeping: low enough, and within what its atom is known by."""
        far = piece.displacements(process.final)
        far[piece.places] = 0.0
        reaches_out = np.linalg.norm(far, axis=1).max(initial=0.0) > self.settings.saddles.same
        return process.barrier <= self.settings.highest and not reaches_out

    def _take_in(self, entry: Entry, piece: "_Piece", process: Process, found: int = 1, directed: bool = False) -> None:
        """Add a process found, or count it if it or a symmetric copy is known."""
        final = piece.displacements(process.final)[piece.places]
        for k, known in enumerate(entry.processes):
            if abs(known.barrier - process.barrier) > self.settings.saddles.same_energy:
                continue
            copies = (_turned(known.final, overlay) for overlay in entry.symmetry)
            if min(np.linalg.norm(copy - final, axis=1).max() for copy in copies) <= self.settings.saddles.same:
                counted = replace(known, found=known.found + found, directed=known.directed or directed)
                entry.processes[k] = counted
                return
        kind = kind_of(entry.environment.vectors, final)
        entry.processes.append(replace(self._known_process(piece, process, kind, found), directed=directed))

    def _known_process(self, piece: "_Piece", process: Process, kind: Kind, found: int) -> KnownProcess:
        return KnownProcess(
            kind=kind,
            saddle=np.round(piece.displacements(process.saddle)[piece.places], DIGITS),
            final=np.round(piece.displacements(process.final)[piece.places], DIGITS),
            mode=np.round(process.mode[piece.places], DIGITS),
            barrier=process.barrier,
            reverse_barrier=process.reverse_barrier,
            barrier_std=process.barrier_std,
            prefactor=harmonic_prefactor(process, self.model) if self.settings.vibrations else float("nan"),
            found=found,
        )

    def _add_detach(self, entry: Entry, piece: "_Piece") -> None:
        """The way out for the atom in the middle, if it is bound weakly enough: no saddle, all of its energy."""
        rest, alone = piece.minimum.structure.copy(), piece.minimum.structure[[int(piece.places[0])]]
        del rest[int(piece.places[0])]
        alone.set_constraint()
        alone.pbc = False
        without = relax([rest], self.model, self.settings.saddles.fmax, 300)[0]
        single = self.model([alone])
        bound = without.member_energies + single.member_energies[:, 0] - piece.minimum.member_energies
        barrier = without.energy + float(single.energies[0]) - piece.minimum.energy
        if barrier <= self.settings.highest:
            nothing, gone = np.zeros((2, len(piece.places), 3))
            gone[0] = (0.0, 0.0, GONE)
            prefactor = DETACHING if self.settings.vibrations else float("nan")
            spread = float(bound.std())
            entry.processes.append(
                KnownProcess("detach", nothing, gone, nothing, barrier, 0.0, spread, prefactor, found=0)
            )


@dataclass(frozen=True)
class _Piece:
    """A piece of a crystal in which surroundings are searched, relaxed.

    Attributes:
        region: the piece as it was cut. minimum: it relaxed.
        places: (n,) number in it of each atom of the surroundings, the one in the middle first.
    """

    region: Region
    minimum: Relaxed
    places: np.ndarray

    def vectors(self) -> np.ndarray:
        """(n, 3), Å, of the surroundings from the atom in the middle."""
        places = self.minimum.structure.positions[self.places]
        return nearest_images(places - places[0], self.minimum.structure)

    def displacements(self, end: Relaxed) -> np.ndarray:
        """(n_atoms, 3), Å, from the minimum."""
        start = self.minimum.structure
        return nearest_images(end.structure.positions - start.positions, start)


def _directed(entry: Entry, piece: _Piece, back: Transition | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Starts of directed searches, displacements and modes (n, 3) each: half way to each new place, and the way back.

    Places where the atom in the middle could rest on three others, within `NEARBY` bond lengths; of symmetric ones one.
    """
    structure, middle = piece.minimum.structure, int(piece.places[0])
    here, species = structure.positions[middle], structure.symbols[middle]
    vectors = nearest_images(structure.positions - here, structure)
    bond = float(bond_lengths(structure, species).max())
    near = np.flatnonzero(np.linalg.norm(vectors, axis=1) <= 4 * bond)
    rest = Atoms(structure.numbers[near], vectors[near])[near != middle]
    starts, taken = [], np.zeros((0, 3))
    touching = find_candidates(rest, species, symmetric_copies=True)
    places = touching.positions[touching.n_touches == 3]
    for place in places[np.argsort(np.linalg.norm(places, axis=1), kind="stable")]:
        length = float(np.linalg.norm(place))
        known = len(taken) > 0 and np.linalg.norm(taken - place, axis=1).min() < 0.2 * bond
        if 0.35 * bond < length < NEARBY * bond and not known:
            taken = np.concatenate([taken, [overlay.rotation @ place for overlay in entry.symmetry]])
            mode = np.zeros((len(piece.places), 3))
            mode[0] = place / length
            starts.append((0.5 * length * mode, mode))
    if back is not None:
        where = {int(atom): k for k, atom in enumerate(back.atoms)}
        order = [where.get(int(atom), -1) for atom in entry.environment.atoms]
        known_here = np.array(order)[:, None] >= 0
        starts.append((np.where(known_here, back.saddle[order], 0.0), np.where(known_here, back.mode[order], 0.0)))
    return starts


def kind_of(before: np.ndarray, displacements: np.ndarray, far: float = 1.0) -> Kind:
    """Hop, exchange or concerted, from positions (n, 3) and displacements (n, 3), Å.

    Atoms that go further than `far` count, or where none does, further than half of the longest way.
    """
    lengths = np.linalg.norm(displacements, axis=1)
    far = min(far, 0.5 * float(lengths.max()))
    moved = np.flatnonzero(lengths > far)
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
    for k, overlay in enumerate(laid):
        off = _turned(entry.environment.vectors, overlay) - environment.vectors
        correction = np.where(environment.held[:, None], 0.0, off - off.mean(axis=0))
        found += [
            Transition(
                atom=int(environment.atoms[0]),
                process=process,
                atoms=environment.atoms,
                saddle=_turned(process.saddle, overlay),
                mode=_turned(process.mode, overlay),
                final=_turned(process.final, overlay),
                correction=correction,
            )
            for process in entry.processes
            if process.kind != "detach" or k == 0  # an atom leaves in one way
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
