"""What happened to a crystal, told so completely that it can be redone."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ase import Atom, Atoms

from growth.errors import InputError

Kind = Literal["attach", "hop", "exchange", "concerted", "detach"]


@dataclass(frozen=True)
class State:
    """A growing crystal. crystal: bare `Atoms`. step: events so far that changed or were offered to it. time: s."""

    crystal: Atoms
    step: int = 0
    time: float = 0.0


@dataclass(frozen=True)
class Event:
    """One change of a crystal, complete enough to redo it; floats survive JSON bit for bit.

    Attributes:
        step: 1 for the first event. kind: see `Proposal`. accepted: False when a hopping atom stayed.
        species, atom, position: which atom moved, its number in the crystal afterwards, where it now is (Å); of one
            that left, where and under which number it was.
        moved: number of every atom whose position changed, as text, and its new position (Å); the adatom included.
        n_atoms: afterwards. energy: eV, afterwards. energy_change: eV.
        energy_change_std: eV, population std over the members of each member's own change.
        forces_std: eV/Å, largest over the atoms. Both None for an event in time that was beyond doubt.
        n_candidates: competing sites. probability: with which this one was drawn. converged: its relaxation.
        time: s, afterwards; None in growth without a clock. duration: s, since the event before.
        barrier, barrier_std: eV; None where none was climbed.
    """

    step: int
    kind: Kind
    accepted: bool
    species: str
    atom: int
    position: list[float]
    moved: dict[str, list[float]]
    n_atoms: int
    energy: float
    energy_change: float
    energy_change_std: float | None
    forces_std: float | None
    n_candidates: int
    probability: float
    converged: bool
    time: float | None = None
    duration: float | None = None
    barrier: float | None = None
    barrier_std: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for one line of JSON."""
        return asdict(self)


def standing(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps that hold among the lines of `events.jsonl`, in their order.

    What was `rejected` never happened, and what was `rolled_back` no longer, with all that the walker did after it. A
    `speculative` step that was `confirmed` counts as `queried`.

    Raises:
        InputError: a step is confirmed that was not taken.

    >>> line = lambda step, fate: {"walker": 0, "step": step, "fate": fate}
    >>> log = [line(1, "speculative"), line(2, "accepted"), line(1, "confirmed"), line(3, "speculative")]
    >>> [(kept["step"], kept["fate"]) for kept in standing([*log, line(3, "rolled_back"), line(3, "rejected")])]
    [(1, 'queried'), (2, 'accepted')]
    """
    kept: list[dict[str, Any]] = []
    for line in lines:
        walker, step = line["walker"], line["step"]
        match line["fate"]:
            case "rejected":
                pass
            case "rolled_back":
                kept = [other for other in kept if other["walker"] != walker or other["step"] < step]
            case "confirmed":
                taken = [k for k, other in enumerate(kept) if (other["walker"], other["step"]) == (walker, step)]
                if not taken:
                    raise InputError(f"events: step {step} of walker {walker} is confirmed, and was never taken")
                kept[taken[0]] = {**kept[taken[0]], "fate": "queried"}
            case _:
                kept.append(line)
    return kept


def replay(seed: Atoms, events: Iterable[Event | dict[str, Any]]) -> Atoms:
    """Rebuild a crystal, bit for bit, from the crystal of `init` and its events (or their JSON)."""
    crystal = seed.copy()
    crystal.info, crystal.calc = {}, None
    for event in events:
        entry = event.to_dict() if isinstance(event, Event) else event
        if entry["kind"] == "attach":
            crystal.append(Atom(entry["species"], entry["position"]))
        elif entry["kind"] == "detach":
            del crystal[entry["atom"]]
        if entry["n_atoms"] != len(crystal):
            raise InputError(
                f"events: step {entry['step']} ends with {entry['n_atoms']} atoms, replay has {len(crystal)}"
            )
        for number, position in entry["moved"].items():
            crystal.positions[int(number)] = position
    return crystal
