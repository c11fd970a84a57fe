"""When the oracle is asked: doubt against the tolerances, the arms for comparison, what labels are left."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from growth.asking import to_label, worth_a_label
from growth.campaign_state import Labels, Models
from growth.config import Config
from growth.questions import Questions
from growth.turns import Turn, Walker

SPECULATE = 2
"""Steps that a walker may be ahead of the oracle's answers, where a label takes long."""
RECENT = 30
"""Latest steps whose doubts tell how doubtful the next ones will be."""


class Policy:
    """What a campaign may ask, and must.

    Args:
        config: the resolved settings. labels, models, questions: of the run.
        doubts: of the steps so far, the latest last, as multiples of the tolerances.
        elapsed: wall time of the run, s.
    """

    def __init__(
        self,
        config: Config,
        labels: Labels,
        models: Models,
        questions: Questions,
        doubts: Iterable[float],
        elapsed: Callable[[], float],
    ) -> None:
        self._config, self._labels, self._models, self._questions = config, labels, models, questions
        self._doubts = deque(doubts, maxlen=RECENT)
        self._elapsed = elapsed

    def note(self, turn: Turn) -> None:
        """Remember how doubtful a step is."""
        assert turn.doubt is not None
        self._doubts.append(turn.doubt.ratio(self._config.ask))

    # ------------------------------------------------------------------ labels that are left

    @property
    def left(self) -> float:
        """Labels that may still be asked for."""
        return self._labels.budget_left(self._questions.under_way)

    @property
    def is_spent(self) -> bool:
        """Whether no more labels may be asked for."""
        hours = self._config.budget.hours
        return self.left <= 0 or (hours is not None and self._elapsed() >= 3600 * hours)

    @property
    def end(self) -> str | None:
        """Why a step in doubt is asked about no more."""
        if self.is_spent:
            return "budget spent"
        budget = self._config.budget
        gain = None if budget.least_gain is None else self._labels.gain()
        if budget.least_gain is not None and gain is not None and gain < budget.least_gain:
            return f"labels bring too little ({gain:+.0%} on the last {budget.gain_steps} asked steps)"
        return None

    @property
    def most_at_once(self) -> int:
        """Structures that may be asked about where a search has found no site; 0 where nobody may be asked."""
        ask = self._config.ask
        return 0 if ask.arm == "nothing" or self.end else int(min(ask.sites_per_query, self.left))

    def worth_a_label(self, turn: Turn, walkers: Sequence[Walker]) -> bool:
        """Whether labels will last for steps as doubtful as this one."""
        assert turn.doubt is not None
        growth, ask = self._config.growth, self._config.ask
        if not self._config.budget.paced or ask.arm != "committee" or growth.kinetics in ("kmc", "md"):
            return True
        atoms = sum(max(growth.n_atoms - len(walker.state.crystal), 0) for walker in walkers)
        share = self.left / self._labels.per_query / max(atoms * (1 + growth.hops_per_step), 1)
        return worth_a_label(turn.doubt.ratio(ask), self._doubts, share)

    # ------------------------------------------------------------------ one step

    def stop_std(self, turn: Turn) -> float:
        """Std of forces at which relaxations stop, eV/Å: of steps that the oracle can still be asked about again."""
        ask = self._config.ask
        may_ask = ask.arm == "committee" and turn.attempt < ask.max_attempts and self.end is None
        return ask.stop_std(self._labels.calibration) if may_ask else float("inf")

    def reason_to_ask(self, turn: Turn, uniform: float) -> str | None:
        """Why the oracle should be asked about what is proposed: doubt, or so many steps without a label.

        Args:
            uniform: the step's random number, between 0 and 1.
        """
        assert turn.doubt is not None
        ask = self._config.ask
        if ask.arm == "nothing":
            return None
        if ask.arm == "everything":
            return ask.arm
        if ask.arm == "random":
            return ask.arm if uniform < ask.random_probability else None
        overdue = ask.max_unasked is not None and turn.unasked >= ask.max_unasked
        return turn.doubt.reason(ask) or (f"{turn.unasked} steps unasked" if overdue else None)

    def is_doubtful(self, turn: Turn) -> bool:
        """Whether an error may be beyond its tolerance, whatever the arm does about it."""
        assert turn.doubt is not None
        return turn.doubt.reason(self._config.ask) is not None

    def audits(self, uniform: float) -> bool:
        """Whether a sure step is labelled all the same; not in the arms for comparison."""
        ask = self._config.ask
        return ask.arm == "committee" and uniform < ask.audit_probability

    def sites_to_query(self, turn: Turn) -> list[int]:
        """Sites to label of a step that is asked about: of one whose only doubt is not of ΔE, just the drawn one."""
        assert turn.doubt is not None
        ask, doubt = self._config.ask, turn.doubt
        only_other_doubt = self.is_doubtful(turn) and doubt.delta_e_error <= ask.delta_e_tolerance
        one = doubt.stopped or (only_other_doubt and ask.arm == "committee")
        return self.sites(turn, 1 if one else ask.sites_per_query)

    def sites(self, turn: Turn, wanted: int) -> list[int]:
        """Of a proposal, so many sites as are wanted and labels are left for, the drawn one first."""
        proposal, doubt = turn.proposal, turn.doubt
        assert proposal is not None
        assert doubt is not None
        if proposal.duration is not None:  # a barrier is a difference of all of them
            wanted = max(wanted, 3)
        affordable = int(min(wanted, max(self.left, 1)))
        return to_label(proposal.choice, doubt.rivals, len(proposal.sites), affordable)

    # ------------------------------------------------------------------ walkers and the learner

    def may_speculate(self, walker: Walker) -> bool:
        """Whether a walker that waits for labels may take its step before they come; to a minimum, it may."""
        most = self._config.ask.speculate
        waits = self._labels.method.cheap or self._config.ask.learn_first
        most = (0 if waits else SPECULATE) if most is None else most
        most = 0 if self._config.deterministic else most
        minimum = walker.turn.doubt is not None and not walker.turn.doubt.stopped
        return walker.status == "labelling" and walker.turn.proposal is not None and minimum and len(walker.open) < most

    @property
    def learner_is_behind(self) -> bool:
        """Whether so many answers wait to be learnt that the next model should be seen before asking more."""
        unseen = self._labels.uids() - self._models.trained
        return bool(unseen) and len(unseen) + self._questions.under_way >= self._config.learner.labels_per_update
