"""Walkers and their turns: where each stands, what it has proposed, and what the oracle is asked about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from ase import Atoms

from growth.asking import AskSettings, Doubt, uncertain_atoms, worst_atoms, worst_force_std
from growth.carve import carve_together
from growth.events import State, replay, standing
from growth.relax import Relaxed
from growth.run_directory import RunDirectory
from growth.simulator import Proposal
from growth.sites import Site
from oracle import FailedLabel

Status = Literal["ready", "proposing", "labelling", "learning", "blocked", "done"]
"""blocked: a step that failed on a crystal which an answer may still take back."""


@dataclass
class Turn:
    """One step of a walker, from the proposal to what the oracle says of it.

    Attributes:
        walker: its number. before: where it stands. attempt: proposals for this step that labels have contradicted.
        unasked: steps in a row before it that were taken without a label. rollbacks: of the walker before it.
        model_version: that proposed. uniform: the random number that draws the site, whatever becomes of its energies.
        seconds: that the proposal took. reason: why the oracle is asked.
        labels: what it said of the sites of the proposal. asked: what it was asked, by site.
        pending: labels that are awaited.
        passed: how often a step that came to the oracle later was preferred to it.
    """

    walker: int
    before: State
    attempt: int = 0
    unasked: int = 0
    rollbacks: int = 0
    model_version: int = 0
    uniform: float = 0.0
    seconds: float = 0.0
    proposal: Proposal | None = None
    doubt: Doubt | None = None
    reason: str = ""
    labels: dict[int, Atoms | FailedLabel] = field(default_factory=dict)
    asked: "dict[int, Request]" = field(default_factory=dict)
    pending: int = 0
    passed: int = 0


@dataclass
class Walker:
    """One growing crystal and what it waits for.

    Attributes:
        turn: the present step. open: steps that were taken before the oracle had answered, oldest first.
        task: key of the proposal that is under way. needs: uids that a model must have seen before it proposes again.
    """

    index: int
    state: State
    status: Status = "ready"
    turn: Turn = field(init=False)
    open: list[Turn] = field(default_factory=list)
    no_site_attempts: int = 0
    task: str = ""
    needs: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.turn = Turn(self.index, self.state)

    def next_turn(self, unasked: int) -> None:
        """Begin the next step from where the walker stands now."""
        self.turn = Turn(self.index, self.state, unasked=unasked, rollbacks=self.turn.rollbacks)

    def next_attempt(self, attempt: int) -> None:
        """Begin the same step anew."""
        self.turn = Turn(self.index, self.state, attempt, self.turn.unasked, self.turn.rollbacks)

    def is_live(self, turn: Turn | None) -> bool:
        """Whether a step is the present one, or was taken and awaits its answer."""
        return turn is not None and any(turn is other for other in (self.turn, *self.open))


@dataclass(frozen=True)
class Request:
    """A structure on its way to the oracle, and what the surrogate said of it before it saw the label.

    Attributes:
        turn: the step that the answer decides; None where nobody waits for it.
        site: index of the site in the proposal.
        group: sites of one proposal share it; energy differences are compared inside a group.
        drawn: whether it is the site that chance took, with which the others of its group are compared.
        chance: with which it is asked for.
        carved_from: atoms of the crystal that the structure was cut out of; None where it is whole.
        energy, forces: predicted, eV and (n_atoms, 3) eV/Å.
        energy_std: spread of the energy, eV.
        delta_e_std: spread of the energy difference to the drawn site, eV.
        force_std: largest std of a force vector near the adatom, eV/Å.
        energy_radius, delta_e_radius, force_radius: promised at `calibration.LEVEL`: eV/atom, eV, eV/Å.
        features: (n_features,) of the adatom's surroundings in the model that proposed the site; None where unknown.
    """

    structure: Atoms
    turn: Turn | None
    site: int = 0
    group: str = ""
    drawn: bool = True
    chance: float = 1.0
    carved_from: int | None = None
    energy: float = 0.0
    forces: np.ndarray | None = None
    energy_std: float = 0.0
    delta_e_std: float = 0.0
    force_std: float = 0.0
    energy_radius: float = 0.0
    delta_e_radius: float = 0.0
    force_radius: float = 0.0
    features: np.ndarray | None = None


def restored(index: int, crystal: Atoms, lines: Sequence[dict[str, Any]]) -> Walker:
    """A walker as its lines of `events.jsonl` leave it.

    Args:
        index: its number. crystal: that it began with. lines: its own; no speculative step stands among them.
    """
    done = standing(lines)
    time = float(done[-1].get("time") or 0.0) if done else 0.0
    walker = Walker(index, State(replay(crystal, done), len(done), time))
    for line in lines:
        match line["fate"]:
            case "rejected":
                walker.turn.attempt += 1
            case "rolled_back":
                walker.turn.attempt = line["attempt"]
                walker.turn.rollbacks += 1
            case "confirmed":
                pass
            case _:
                walker.turn.attempt = 0
    for line in done:
        if line["energy_std"] is not None:  # none: passed beyond doubt, and was never proposed
            walker.turn.unasked = walker.turn.unasked + 1 if line["fate"] == "accepted" else 0
    return walker


def without_open_steps(run: RunDirectory) -> list[dict[str, Any]]:
    """The log of a run that begins again, in which steps that no answer has confirmed are taken back."""
    events = run.lines("events")
    first: dict[int, dict[str, Any]] = {}
    for line in standing(events):
        if line["fate"] == "speculative":
            first.setdefault(line["walker"], line)
    for index, line in first.items():
        where = {key: line[key] for key in ("walker", "step", "attempt")}
        events.append({**where, "fate": "rolled_back", "reason": "interrupted"})
        run.append("events", events[-1])
        run.forget(index, line["step"])
    return events


def told(walker: Walker, event: Mapping[str, Any], newest: int, ask: AskSettings) -> dict[str, Any]:
    """One line of `events.jsonl`: what becomes of a walker's turn, and how sure the surrogate is of it.

    Args:
        walker: after the event where it is taken. event: what happened, its fate and reason among it.
        newest: model version. ask: the tolerances.
    """
    turn = walker.turn
    doubt, proposal = turn.doubt, turn.proposal
    assert doubt is not None
    assert proposal is not None
    line = {
        "walker": walker.index,
        "n_atoms": len(walker.state.crystal),
        "model_version": turn.model_version,
        "attempt": turn.attempt,
        "n_sites": len(proposal.sites),
        "n_stopped": sum(site.stopped for site in proposal.sites),
        "delta_e_error": doubt.delta_e_error,
        "energy_error": doubt.errors.energy,
        "force_error": doubt.errors.force,
        "model_lag": newest - turn.model_version,
        "doubt": doubt.ratio(ask),
        "seconds": round(turn.seconds, 3),
        "step": walker.state.step + 1,
        **event,
    }
    if line["reason"] is not None:
        line["worst_atoms"] = worst_atoms(proposal.sites[proposal.choice], proposal.atom)
    return line


def requests_about(
    turn: Turn, sites: Sequence[int], reason: str, chance: float, max_atoms: int | None
) -> list[Request]:
    """Sites of a proposal to label; what is asked after an answer, of the same step, is a group apart.

    Of a crystal of more than max_atoms what is around the first of them is cut out, with the others near it and the
    atoms there whose forces are in doubt; what the surrogate says of that is still to come.
    """
    proposal, doubt = turn.proposal, turn.doubt
    assert proposal is not None
    assert doubt is not None
    waits, again = reason == "query", reason == "query" and bool(turn.labels)
    step, version = turn.before.step + 1, turn.model_version
    group = f"w{turn.walker:02d}-{step}-{turn.attempt}-{turn.rollbacks}-v{version}{'-again' if again else ''}"
    wholes = [proposal.sites[i].structure for i in sites]
    pieces = carve_together(wholes, max_atoms, uncertain_atoms(proposal.sites[sites[0]]))
    requests = []
    for i, whole, piece in zip(sites, wholes, pieces, strict=True):
        if piece is None:
            continue
        structure = piece.copy()
        structure.info = {"config_type": "growth", "model_version": str(version), "reason": reason}
        request = Request(
            structure,
            turn if waits else None,
            site=i,
            group=group,
            drawn=i == proposal.choice and not again,
            chance=chance,
            carved_from=len(whole) if len(whole) > len(piece) else None,
            features=None if proposal.features is None else proposal.features[i],
        )
        requests.append(request if request.carved_from else with_prediction(request, proposal.sites[i], i, doubt))
    return requests


def with_prediction(request: Request, said: Site | Relaxed, number: int, doubt: Doubt) -> Request:
    """A request with what the surrogate said of its structure, the doubt about which has it under a number."""
    return replace(
        request,
        energy=said.energy,
        forces=said.forces,
        energy_std=float(said.member_energies.std()),
        delta_e_std=float(doubt.stds[number]),
        force_std=worst_force_std(said),
        energy_radius=doubt.promised.energy,
        delta_e_radius=float(doubt.promised.delta_e[number]),
        force_radius=doubt.promised.force,
    )
