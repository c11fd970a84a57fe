"""The order in which steps that wait for a dear oracle are asked about."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from growth.asking import AskSettings, Doubt, Radii
from growth.campaign_state import Labels, Models
from growth.config import Config, check_settings
from growth.events import State
from growth.pool import OrderedPool, Pool, SerialPool
from growth.questions import Questions
from growth.run_directory import RunDirectory
from growth.turns import Request, Turn
from oracle import Dataset, Method
from oracle.outcome import RawLabel, labelled

DEAR = {"kind": "ase", "calculator": "vasp"}
SURFACE = Method.from_dict(DEAR)


class Oracle:
    """Notes what it is asked, and says that all is zero."""

    def __init__(self, heard: list[str]) -> None:
        self.heard = heard

    def label(self, structures: list[Atoms]) -> list[Atoms]:
        self.heard += [structure.info["name"] for structure in structures]
        zero = [RawLabel(0.0, 0.0, np.zeros((len(structure), 3)), {"wall_time_s": 0.0}) for structure in structures]
        return [labelled(one.copy(), raw, SURFACE.hash) for one, raw in zip(structures, zero, strict=True)]

    def close(self) -> None: ...


@pytest.fixture
def made(tmp_path: Path) -> Callable[[bool], tuple[Questions, Pool, list[str]]]:
    """Questions to an oracle that is asked one thing at a time, and what it has heard."""

    def make(ordered: bool) -> tuple[Questions, Pool, list[str]]:
        heard: list[str] = []
        serial = SerialPool({"oracle": lambda: Oracle(heard)})
        pool = OrderedPool(serial) if ordered else serial
        config = check_settings(Config, {"oracle": {"method": DEAR}}, "test")
        run = RunDirectory(tmp_path / "run")
        labels = Labels(Dataset.open(run.path / "dataset", method=SURFACE), run, config)
        return Questions(pool, labels, Models(run, pool), config), pool, heard

    return make


def asked(name: str, doubt: float, features: list[float], turn: bool = True) -> Request:
    """About a step whose error may be so many tolerances; an audit where no step waits."""
    rng = np.random.default_rng(sum(map(ord, name)))
    structure = Atoms("Al2", rng.normal(size=(2, 3)))
    structure.info = {"name": name, "reason": "query" if turn else "audit"}
    radii = Radii(np.zeros(1), 0.0, doubt * AskSettings().force_tolerance)
    step = Turn(0, State(Atoms("Al")), doubt=Doubt(np.zeros(1), radii, radii, ())) if turn else None
    return Request(structure, step, features=np.array(features))


def answer_all(questions: Questions, pool: Pool) -> None:
    while pool.pending():
        for done in pool.wait():
            questions.answered(done)


def test_doubt_comes_first_and_the_same_again_last(made: Callable[[bool], tuple[Questions, Pool, list[str]]]) -> None:
    questions, pool, heard = made(False)
    for name, doubt, features in (("little", 1.5, [9.0, 0.0]), ("much", 5.0, [0.0, 0.0]), ("alike", 4.0, [0.1, 0.0])):
        questions.ask([asked(name, doubt, features)])
    answer_all(questions, pool)
    assert heard == ["much", "little", "alike"]


def test_sites_of_one_step_stay_together_and_audits_keep_their_place(
    made: Callable[[bool], tuple[Questions, Pool, list[str]]],
) -> None:
    questions, pool, heard = made(False)
    first, second = asked("first", 1.5, [0.0, 0.0]), asked("second", 3.0, [5.0, 0.0])
    rival = Request(asked("rival", 3.0, [4.0, 1.0]).structure, second.turn, features=np.array([4.0, 1.0]))
    questions.ask([first])
    questions.ask([asked("audit", 0.1, [0.0, 9.0], turn=False)])
    questions.ask([second, rival])
    answer_all(questions, pool)
    assert heard == ["second", "audit", "rival", "first"]


def test_where_answers_come_in_order_nothing_is_preferred(
    made: Callable[[bool], tuple[Questions, Pool, list[str]]],
) -> None:
    questions, pool, heard = made(True)
    for name, doubt in (("little", 1.5), ("much", 5.0)):
        questions.ask([asked(name, doubt, [doubt, 0.0])])
    answer_all(questions, pool)
    assert heard == ["little", "much"]


def test_what_is_passed_over_again_and_again_gets_its_turn(
    made: Callable[[bool], tuple[Questions, Pool, list[str]]],
) -> None:
    """While ever more doubtful questions come, one at a time."""
    questions, pool, heard = made(False)
    questions.ask([asked("patient", 1.1, [0.0, 0.0])])
    for k in range(60):
        questions.ask([asked(f"{k:02d}", 3.0, [float(k), 1.0])])
        for done in pool.wait():
            questions.answered(done)
        if "patient" in heard:
            break
    assert 3 <= heard.index("patient") < 50  # not before it has been passed over a few times
