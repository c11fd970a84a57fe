"""The growth of every walker, packed for a page: where each atom was after each step."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from growth.events import replay
from growth.observables import neighbour_sets
from growth.order import KINDS, Order
from growth.page.run_files import RunFiles

MOST_ATOMS = 300_000
"""Atoms of all kept crystals of all walkers together; of a longer growth every second, third ... step is kept."""
RESOLUTION = 1e-3
"""Å, to which positions are kept where the crystal is not too wide for 16 bits."""


@dataclass(frozen=True)
class Stage:
    """A crystal after a step; step 0 is the seed.

    Attributes:
        line: its line of events.jsonl; None for the seed. crystal: bare.
        ids: (n_atoms,) number of each atom in the order of arrival over the whole growth.
        kinds: (n_atoms,) numbers in `growth.order.KINDS`.
    """

    line: dict[str, Any] | None
    crystal: Atoms
    ids: list[int]
    kinds: np.ndarray

    @property
    def step(self) -> int:
        return 0 if self.line is None else int(self.line["step"])

    def order(self) -> dict[str, float]:
        """Share of the atoms in each kind of surroundings."""
        counts = np.bincount(self.kinds, minlength=len(KINDS)) / max(len(self.kinds), 1)
        return dict(zip(KINDS, counts.tolist(), strict=True))


@dataclass(frozen=True)
class Growth:
    """What one walker grew.

    born, species: step at which each atom ever seen arrived, by id (0 for the seed), and what it is. left_out: stages.
    """

    walker: int
    stages: list[Stage]
    born: list[int]
    species: list[str]
    left_out: int

    @property
    def last(self) -> Stage:
        return self.stages[-1]


def growths(run: RunFiles) -> list[Growth]:
    """Replay every walker from its events; an empty list where there is no seed yet."""
    if run.seed is None:
        return []
    total = sum(line["n_atoms"] for line in run.steps)
    every = max(1, -(-total // MOST_ATOMS))
    return [_grown(run.seed, walker, run.walker(walker), every) for walker in range(run.n_walkers)]


def _grown(seed: Atoms, walker: int, lines: Sequence[dict[str, Any]], every: int) -> Growth:
    stages: list[Stage] = []
    born, species = [0] * len(seed), list(seed.symbols)
    kinds = Kinds()
    for number, (line, crystal, ids) in enumerate(_replayed(seed, lines, born, species)):
        if number % every == 0 or number == len(lines):
            stages.append(Stage(line, crystal, ids, kinds.of(crystal)))
    return Growth(walker, stages, born, species, len(lines) + 1 - len(stages))


class Kinds:
    """The order of a growing crystal's atoms, looked at again only where neighbours have changed."""

    def __init__(self) -> None:
        self._order: Order | None = None
        self._near: list[set[int]] = []

    def of(self, crystal: Atoms) -> np.ndarray:
        """Number in `growth.order.KINDS` of each atom, (n_atoms,)."""
        near = neighbour_sets(crystal)
        if self._order is None or len(near) < len(self._near):
            self._order = Order(crystal)
        else:
            changed = [k for k, before in enumerate(self._near) if near[k] != before]
            self._order.update(crystal, np.array(changed, dtype=int))
        self._near = near
        return np.array([KINDS.index(kind) for kind in self._order.kinds], dtype=np.uint8)


def _replayed(
    seed: Atoms, lines: Sequence[dict[str, Any]], born: list[int], species: list[str]
) -> Iterator[tuple[dict[str, Any] | None, Atoms, list[int]]]:
    """Yield line, crystal and ids after each step; `born` and `species` gain what arrives."""
    crystal, ids = replay(seed, []), list(range(len(seed)))
    yield None, crystal, ids
    for line in lines:
        ids = list(ids)
        if line["kind"] == "attach":
            ids.append(len(born))
            born.append(line["step"])
            species.append(line["species"])
        elif line["kind"] == "detach":
            del ids[line["atom"]]
        crystal = replay(crystal, [line])
        yield line, crystal, ids


def packed_positions(crystals: Sequence[Atoms]) -> dict[str, Any]:
    """Positions of crystals one after the other, as 16-bit multiples of `unit` Å about a `centre`, in base64."""
    points = np.concatenate([crystal.positions for crystal in crystals]) if crystals else np.zeros((0, 3))
    centre = (points.min(axis=0) + points.max(axis=0)) / 2 if len(points) else np.zeros(3)
    width = float(np.abs(points - centre).max(initial=0.0))
    unit = max(RESOLUTION, width / 32_000)
    return {
        "unit": unit,
        "centre": np.round(centre, 4).tolist(),
        "data": base64_of(np.round((points - np.round(centre, 4)) / unit).astype("<i2")),
    }


def packed_levels(values: Sequence[np.ndarray | None], sizes: Sequence[int]) -> dict[str, Any] | None:
    """Per-atom values of crystals as 16-bit levels between `low` and `high`; 65535 where there is none.

    Args:
        values: (n_atoms,) for each crystal, or None. sizes: atoms of each.

    Returns:
        None where no crystal has any.
    """
    known = [value for value in values if value is not None and len(value)]
    if not known:
        return None
    low, high = float(min(v.min() for v in known)), float(max(v.max() for v in known))
    scale = 65_534 / (high - low) if high > low else 0.0
    levels = [
        np.full(size, 65_535) if value is None else np.round((value - low) * scale)
        for value, size in zip(values, sizes, strict=True)
    ]
    return {"low": low, "high": high, "data": base64_of(np.concatenate(levels).astype("<u2"))}


def base64_of(array: np.ndarray) -> str:
    """The bytes of an array."""
    return base64.b64encode(array.tobytes()).decode("ascii")
