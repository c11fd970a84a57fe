"""When the oracle is asked."""

from unittest.mock import create_autospec

import numpy as np
import pytest
from ase import Atoms

from growth.asking import Doubt, Radii
from growth.calibration import calibrated
from growth.campaign_state import Labels, Models
from growth.config import Config, load_config
from growth.events import State
from growth.policy import Policy
from growth.questions import Questions
from growth.simulator import Proposal
from growth.sites import Site
from growth.turns import Turn, Walker
from oracle import Method
from tests.growth.test_loop import DEMO

CRYSTAL = Atoms("Al2", positions=[[0, 0, 0], [0, 0, 2.7]])


def site(energy: float) -> Site:
    zeros = np.zeros((2, 3))
    return Site(CRYSTAL, energy, zeros, zeros[:, 0], np.full(2, energy), zeros[0], zeros[0], True)


def turn_of(delta_e: float = 0.0, energy: float = 0.0, force: float = 0.0, stopped: bool = False) -> Turn:
    """A step with three sites, drawn at the first, whose nearest rival is the third."""
    sites, chances = [site(0.0), site(0.3), site(0.1)], np.array([0.9, 0.0, 0.1])
    proposal = Proposal("attach", "Al", 1, sites, None, chances, 0, 0.0, np.zeros(2), {}, [])
    turn = Turn(0, State(CRYSTAL, 0, 0.0))
    turn.proposal = proposal
    radii = Radii(np.array([0.0, 0.0, delta_e]), energy, force)
    turn.doubt = Doubt(np.zeros(3), radii, radii, (2,), stopped)
    return turn


def policy_of(
    *settings: str, left: float = np.inf, asked: int = 0, doubts: tuple[float, ...] = (), gain: float | None = None
) -> Policy:
    config: Config = load_config(DEMO, list(settings))
    labels = create_autospec(Labels, instance=True)
    labels.budget_left.side_effect = lambda under_way: left - under_way
    labels.method, labels.calibration, labels.per_query = Method.from_dict(config.oracle.method), calibrated(), 2.0
    labels.gain.return_value, labels.uids.return_value = gain, {"a", "b", "c"}
    questions = create_autospec(Questions, instance=True)
    questions.under_way = asked
    models = create_autospec(Models, instance=True)
    models.trained = {"a"}
    return Policy(config, labels, models, questions, doubts, lambda: 3600.0)


@pytest.mark.parametrize(
    ("settings", "uniform", "expected"),
    [
        ((), 0.5, "delta_e"),
        (("ask.delta_e_tolerance=0.5",), 0.5, None),
        (("ask.arm=nothing",), 0.5, None),
        (("ask.arm=everything",), 0.5, "everything"),
        (("ask.arm=random", "ask.random_probability=0.4"), 0.3, "random"),
        (("ask.arm=random", "ask.random_probability=0.4"), 0.5, None),
    ],
)
def test_the_arm_decides_what_doubt_is_worth(settings: tuple[str, ...], uniform: float, expected: str | None) -> None:
    reason = policy_of(*settings).reason_to_ask(turn_of(delta_e=0.2), uniform)
    assert (reason is None) if expected is None else (reason is not None and reason.startswith(expected))


def test_a_sure_walker_asks_after_so_many_steps() -> None:
    turn = turn_of()
    turn.unasked = 3
    assert policy_of("ask.max_unasked=4").reason_to_ask(turn, 0.5) is None
    assert policy_of("ask.max_unasked=3").reason_to_ask(turn, 0.5) == "3 steps unasked"


def test_what_ends_asking() -> None:
    assert policy_of(left=5, asked=4).end is None
    assert policy_of(left=5, asked=5).end == "budget spent"
    assert policy_of("budget.hours=1.0").end == "budget spent"
    assert policy_of("budget.hours=1.1").end is None
    assert policy_of("budget.least_gain=0.1", gain=0.2).end is None
    assert (
        policy_of("budget.least_gain=0.1", gain=0.05).end == "labels bring too little (+5% on the last 20 asked steps)"
    )


def test_audits_are_for_the_committee_alone() -> None:
    assert policy_of("ask.audit_probability=0.1").audits(0.05)
    assert not policy_of("ask.audit_probability=0.1").audits(0.2)
    assert not policy_of("ask.audit_probability=0.1", "ask.arm=random").audits(0.05)


def test_the_rival_is_labelled_where_delta_e_is_in_doubt() -> None:
    policy = policy_of()
    assert policy.sites_to_query(turn_of(delta_e=0.2)) == [0, 2]
    assert policy.sites_to_query(turn_of(force=2.0)) == [0]
    assert policy.sites_to_query(turn_of(delta_e=0.2, stopped=True)) == [0]
    assert policy_of(left=1).sites_to_query(turn_of(delta_e=0.2)) == [0]
    assert policy_of("ask.arm=everything").sites_to_query(turn_of(force=2.0)) == [0, 2]


def test_short_labels_go_to_the_most_doubtful() -> None:
    walkers = [Walker(0, State(CRYSTAL, 0, 0.0))]
    doubts = tuple(np.linspace(1.1, 4.0, 30).tolist())
    short = policy_of("growth.n_atoms=22", "growth.hops_per_step=0", left=4, doubts=doubts)  # two queries, 20 atoms
    assert not short.worth_a_label(turn_of(delta_e=1.2 * 0.05), walkers)
    assert short.worth_a_label(turn_of(delta_e=3.9 * 0.05), walkers)
    enough = policy_of("growth.n_atoms=22", "growth.hops_per_step=0", left=40, doubts=doubts)
    assert enough.worth_a_label(turn_of(delta_e=1.2 * 0.05), walkers)
    unpaced = policy_of("growth.n_atoms=22", "budget.paced=false", left=4, doubts=doubts)
    assert unpaced.worth_a_label(turn_of(delta_e=1.2 * 0.05), walkers)


def test_who_may_run_ahead() -> None:
    walker = Walker(0, State(CRYSTAL, 0, 0.0))
    walker.turn, walker.status = turn_of(delta_e=0.2), "labelling"
    costly = "oracle.method={kind: gpaw, preset: lcao-fast}"
    assert policy_of(costly).may_speculate(walker)
    assert not policy_of().may_speculate(walker)
    assert not policy_of(costly, "deterministic=true").may_speculate(walker)
    walker.open = [turn_of(), turn_of()]
    assert not policy_of(costly).may_speculate(walker)
    walker.open, walker.turn = [], turn_of(stopped=True)
    assert not policy_of(costly).may_speculate(walker)


def test_relaxations_stop_only_where_the_oracle_can_be_asked() -> None:
    turn = turn_of()
    assert policy_of().stop_std(turn) < np.inf
    assert policy_of(left=0).stop_std(turn) == np.inf
    assert policy_of("ask.arm=nothing").stop_std(turn) == np.inf
    turn.attempt = 2
    assert policy_of().stop_std(turn) == np.inf


def test_answers_to_learn_are_counted_with_those_to_come() -> None:
    assert not policy_of("learner.labels_per_update=3").learner_is_behind
    assert policy_of("learner.labels_per_update=3", asked=1).learner_is_behind
