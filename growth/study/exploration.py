"""Minima and transition states around a structure: batched saddle searches from every minimum in turn, lowest first.

What a search ends on is laid on what is known (`alignment.py`): copies that are turned, mirrored or renumbered are one.
A minimum is searched until Good and Turing's estimate says that the next search would hardly find something new. Every
round draws from a generator of its own, seeded by its number: interrupted or not, the same landscape comes out.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field

from growth.energy_model import EnergyModel
from growth.errors import InputError
from growth.observables import coordination, n_parts
from growth.relax import movable_atoms, relax
from growth.saddles import Process, SaddleSettings, hessian, search_saddles
from growth.study.alignment import fingerprint, superposition, symmetry_order
from growth.study.checkpoint import minimum_of, open_checkpoint, record_of, saddle_of
from growth.study.landscape import Landscape, Saddle, Stationary
from growth.study.vibrations import normal_modes
from oracle.durable import append_lines

BUDGET = {"max_searches", "max_minima", "searches_per_minimum", "missing", "window", "oracle_minima"}
"""Settings of how much is searched: with others an exploration goes on from what it has."""


class NetworkSettings(BaseModel):
    """How minima and saddles are searched for and told apart. Lengths in Å, energies in eV."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_searches: int = Field(2000, ge=1, description="most saddle searches in all")
    max_minima: int = Field(500, ge=1, description="no more searches once so many minima are known")
    searches_per_minimum: int = Field(64, ge=1, description="most searches from one minimum")
    missing: float = Field(0.05, gt=0, lt=1, description="chance that a search finds a new saddle, at which they end")
    window: float = Field(1.0, gt=0, description="minima further than this above the lowest are not searched from")
    batch: int = Field(16, ge=1, description="searches side by side")
    most_neighbours: int | None = Field(None, ge=0, description="atoms with more are not pushed first; null: all are")
    mirror: bool = Field(True, description="mirror images are one minimum")
    same: float = Field(0.2, gt=0, description="structures are one if none of their atoms is off by more")
    same_energy: float = Field(0.002, gt=0, description="and their energies differ by no more")
    bond_length: float | None = Field(
        None, gt=0, description="by which pieces and neighbours are told; null: by species"
    )
    vibrations: bool = Field(True, description="frequencies of all minima and saddles, which rates need")
    oracle_minima: int = Field(6, ge=0, description="the oracle looks at so many lowest minima and the saddles between")
    saddles: SaddleSettings = SaddleSettings(radius=None, fmax=0.005)


@dataclass
class Exploration:
    """All that is known so far.

    Attributes:
        landscape: minima and saddles.
        n_searches: of each minimum. found: for each minimum, which saddles were found from it and how often.
        outcomes: of all searches; `new saddle`, `known saddle`, or why there was none.
        n_rounds: batches done.
    """

    landscape: Landscape = field(default_factory=Landscape)
    n_searches: Counter[int] = field(default_factory=Counter)
    found: dict[int, Counter[int]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    n_rounds: int = 0

    def missing_from(self, minimum: int) -> float:
        """Chance that the next successful search from a minimum finds a saddle that is not known from it; 1 at first.

        Good & Turing's f₁/n, with one more found once, so that a few searches that agree do not pass for many.
        """
        counts = self.found.get(minimum, Counter())
        return (sum(count == 1 for count in counts.values()) + 1) / (counts.total() + 1)

    def within(self, window: float) -> list[int]:
        """Numbers of the minima that are searched from, lowest first."""
        energies = self.landscape.energies
        order = np.argsort(energies, kind="stable")
        return [int(k) for k in order if energies[k] <= energies.min() + window]


def explore(
    start: Atoms,
    model: EnergyModel,
    settings: NetworkSettings,
    rng: np.random.Generator,
    checkpoint: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Exploration:
    """Search from every minimum within the window until budget or completeness ends it.

    Args:
        start: relaxed first; a cluster, slab or crystal, some of whose atoms may be held.
        rng: draws one seed, from which all else follows.
        checkpoint: JSON lines; a study that was interrupted goes on from there.

    Raises:
        InputError: the start does not relax, or the checkpoint is of another study.
    """
    search = _Search(start, model, settings)
    kept = settings.model_dump(mode="json", exclude=BUDGET)
    header = {"start": search.template.positions.tolist(), "settings": kept}
    seed, rounds = open_checkpoint(checkpoint, header, int(rng.integers(2**53)))
    for record in rounds:
        search.replay(record)
    while (minimum := search.next_minimum()) is not None:
        record = search.round(minimum, np.random.default_rng([seed, search.known.n_rounds]))
        search.replay(record)
        if checkpoint is not None:
            append_lines(checkpoint, [record])
        progress(search.told())
    return search.known


class _Search:
    """The exploration and what it takes to go on: `round` searches and tells, `replay` takes in what was told."""

    def __init__(self, start: Atoms, model: EnergyModel, settings: NetworkSettings) -> None:
        self.model, self.settings, self.known = model, settings, Exploration()
        relaxed = relax([start], model, settings.saddles.fmax, 2000)[0]
        if not relaxed.converged:
            left = f"{np.linalg.norm(relaxed.forces[movable_atoms(start)], axis=1).max():.3g} eV/Å"
            raise InputError(
                f"start: expected a structure that relaxes to {settings.saddles.fmax} eV/Å, {left} is left"
            )
        self.template = relaxed.structure
        self.n_parts = n_parts(start, settings.bond_length)
        self.prints: dict[bool, list[np.ndarray]] = {False: [], True: []}
        self._add_minimum(self._stationary(relaxed.structure, relaxed.energy, relaxed.member_energies))

    def next_minimum(self) -> int | None:
        """The lowest that is not yet searched enough; None when done."""
        known, given = self.known, self.settings
        if known.outcomes.total() >= given.max_searches or len(known.landscape.minima) >= given.max_minima:
            return None
        for k in known.within(given.window):
            if known.n_searches[k] < given.searches_per_minimum and known.missing_from(k) > given.missing:
                return k
        return None

    def round(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        """Search from a minimum; a record of what is new, and of which saddle each search found."""
        minimum = self.known.landscape.minima[number]
        left = self.settings.searches_per_minimum - self.known.n_searches[number]
        room = min(self.settings.batch, left, self.settings.max_searches - self.known.outcomes.total())
        around = rng.choice(self._pushed(minimum.structure), size=room).tolist()
        relaxed = relax([minimum.structure], self.model, np.inf, 1)[0]
        searched = search_saddles(relaxed, around, self.model, self.settings.saddles, rng)
        minima, saddles = list(self.known.landscape.minima), list(self.known.landscape.saddles)
        found: list[int | str] = []
        for process in searched:
            if isinstance(process, Process) and self._whole(process.saddle.structure, process.final.structure):
                found.append(self._place(process, number, minima, saddles))
            else:
                found.append("apart" if isinstance(process, Process) else process)
        n_minima, n_saddles = len(self.known.landscape.minima), len(self.known.landscape.saddles)
        for prints, n in zip(self.prints.values(), (n_minima, n_saddles), strict=True):
            del prints[n:]  # replay puts them in
        return {
            "round": self.known.n_rounds,
            "from": number,
            "found": found,
            "minima": [record_of(point) for point in minima[n_minima:]],
            "saddles": [record_of(point) for point in saddles[n_saddles:]],
        }

    def replay(self, record: dict[str, Any]) -> None:
        """Take in a round."""
        known = self.known
        for entry in record["minima"]:
            self._add_minimum(minimum_of(entry, self.template))
        before = len(known.landscape.saddles)
        for entry in record["saddles"]:
            saddle = saddle_of(entry, self.template)
            known.landscape.saddles.append(saddle)
            self.prints[True].append(fingerprint(saddle.structure))
        number = int(record["from"])
        known.n_searches[number] += len(record["found"])
        known.n_rounds += 1
        for outcome in record["found"]:
            if isinstance(outcome, str):
                known.outcomes[outcome] += 1
                continue
            new = outcome >= before and known.found.get(number, Counter())[outcome] == 0
            known.outcomes["new saddle" if new else "known saddle"] += 1
            known.found.setdefault(number, Counter())[outcome] += 1

    def told(self) -> str:
        """Where the exploration stands, in a line."""
        known, inside = self.known, self.known.within(self.settings.window)
        done = sum(known.n_searches[k] > 0 for k in inside)
        return (
            f"{known.outcomes.total()} searches: {len(known.landscape.minima)} minima "
            f"({done} of {len(inside)} in the window searched), {len(known.landscape.saddles)} saddles, "
            f"lowest {known.landscape.energies.min():.4f} eV"
        )

    def _place(self, process: Process, number: int, minima: list[Stationary], saddles: list[Saddle]) -> int:
        """Number of the saddle that a process went over, which joins the lists if it is new, as does its end."""
        at, end = process.saddle, process.final
        known = self._known(at.structure, at.energy, saddles, True)
        if known is not None:
            return known
        other = self._known(end.structure, end.energy, minima, False)
        if other is None:
            other = len(minima)
            minima.append(self._stationary(end.structure, end.energy, end.member_energies))
            self.prints[False].append(fingerprint(end.structure))
        point = self._stationary(at.structure, at.energy, at.member_energies)
        saddles.append(Saddle(**vars(point), ends=(number, other), final=end.structure))
        self.prints[True].append(fingerprint(at.structure))
        return len(saddles) - 1

    def _known(
        self, structure: Atoms, energy: float, points: list[Stationary] | list[Saddle], saddles: bool
    ) -> int | None:
        """Number of the point that a structure is a copy of."""
        mark, given = fingerprint(structure), self.settings
        for k, point in enumerate(points):
            if abs(point.energy - energy) > given.same_energy:
                continue
            if np.abs(self.prints[saddles][k] - mark).max(initial=0.0) > 2 * given.same:
                continue
            if superposition(structure, point.structure, given.same, given.mirror) is not None:
                return k
        return None

    def _stationary(self, structure: Atoms, energy: float, member_energies: np.ndarray) -> Stationary:
        logs, n_unstable = float("nan"), -1
        if self.settings.vibrations:
            found = normal_modes(structure, hessian(structure, self.model))[0]
            logs, n_unstable = float(np.log(found[found > 0]).sum()), int((found < 0).sum())
        order = symmetry_order(structure, self.settings.same, self.settings.mirror)
        return Stationary(structure, energy, np.asarray(member_energies), order, logs, n_unstable)

    def _add_minimum(self, minimum: Stationary) -> None:
        self.known.landscape.minima.append(minimum)
        self.prints[False].append(fingerprint(minimum.structure))

    def _pushed(self, structure: Atoms) -> np.ndarray:
        """Numbers of the atoms that searches push first."""
        atoms, most = np.flatnonzero(movable_atoms(structure)), self.settings.most_neighbours
        if most is None:
            return atoms
        few = atoms[coordination(structure, bond_length=self.settings.bond_length)[atoms] <= most]
        return few if len(few) else atoms

    def _whole(self, *structures: Atoms) -> bool:
        """Whether nothing has come off."""
        return all(n_parts(structure, self.settings.bond_length) <= self.n_parts for structure in structures)
