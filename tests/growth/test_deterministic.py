"""A deterministic campaign: the same crystals and dataset whoever was quick, and however often it was killed."""

import random
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from pydantic import ValidationError

import growth.run
from growth.config import Config, load_config
from growth.pool import Done, OrderedPool, Pool, Role, SerialPool, Task
from growth.run import launch
from oracle.batch import BatchWorker
from oracle.dataset import Dataset
from oracle.durable import read_lines
from oracle.identity import uid

DEMO = Path(__file__).parents[2] / "growth" / "configs" / "al_emt.yaml"
SMALL = [
    "pool=serial",
    "deterministic=true",
    "growth.n_atoms=16",
    "initial.n=16",
    "learner.network={n_members: 2, n_features: 8, n_steps: 1, n_directions: 4}",
    "learner.train.steps=100",
    "learner.update.steps=15",
    "ask.audit_probability=0.3",
    "ask.stop_beyond=2",
    "ask.max_attempts=1",
    "certificate={path_steps: 0, site_steps: 0}",
]


class Killed(BaseException):
    """Nothing catches it, and nothing is written down when it comes."""


class Shuffled:
    """A serial pool that does what is queued in any order, as many workers of different speed would."""

    def __init__(self, pool: Pool, rng: random.Random) -> None:
        self._pool, self._rng, self._ready = pool, rng, list[Done]()
        self.busy_seconds = pool.busy_seconds

    def wait(self, timeout: float | None = None) -> list[Done]:
        while self._pool.pending():
            self._ready += self._pool.wait()
        self._rng.shuffle(self._ready)
        some = self._rng.randint(1, max(len(self._ready), 1))
        done, self._ready = self._ready[:some], self._ready[some:]
        return done

    def pending(self, role: Role | None = None) -> int:
        return self._pool.pending(role) + sum(role in (None, done.task.role) for done in self._ready)

    def withdraw(self, role: Role, keys: Collection[str]) -> bool:
        return self._pool.withdraw(role, keys)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


def small(*overrides: str) -> Config:
    return load_config(DEMO, [*SMALL, *overrides])


def outcome(run: Path) -> dict[str, Any]:
    """All of a run that must not depend on chance: what happened, crystals, labels, models."""
    events = read_lines(run / "events.jsonl")
    files = [*run.glob("grown/*/*"), *run.glob("sites/*/*"), *run.glob("dataset/segments/*"), *run.glob("models/*/*")]
    contents: dict[str, Any] = {str(path.relative_to(run)): path.read_bytes() for path in files}
    return {"events": [{k: v for k, v in event.items() if k != "seconds"} for event in events], **contents}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("deterministic") / "run"
    launch(small(), run)
    return run


def test_the_order_in_which_work_is_done_changes_nothing(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shuffled(*arguments: Any) -> Pool:
        return Shuffled(SerialPool(*arguments), random.Random(1))

    monkeypatch.setattr(growth.run, "SerialPool", shuffled)
    launch(small(), tmp_path / "run")
    assert outcome(tmp_path / "run") == outcome(undisturbed)


@pytest.mark.parametrize("seed", range(2))
def test_a_run_killed_again_and_again_gives_the_same(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Killed before or after something is written, at any of the places where that is done."""
    rng, kills, paid = random.Random(seed), 0, []
    countdown = rng.randint(1, 20)

    def perilous(act: Callable[..., Any]) -> Callable[..., Any]:
        def acting(*arguments: Any, **keywords: Any) -> Any:
            nonlocal countdown, kills
            countdown -= 1
            if countdown == 0 and rng.random() < 0.5:
                kills += 1
                raise Killed
            result = act(*arguments, **keywords)
            if countdown == 0:
                kills += 1
                raise Killed
            return result

        return acting

    def counted(self: BatchWorker, structures: Sequence[Atoms]) -> Any:
        paid.extend(uid(structure, "") for structure in structures)
        return label(self, structures)

    label = BatchWorker.__call__
    monkeypatch.setattr(BatchWorker, "__call__", counted)
    monkeypatch.setattr("growth.run_directory.append_lines", perilous(growth.run_directory.append_lines))
    monkeypatch.setattr("growth.run_directory.write_whole", perilous(growth.run_directory.write_whole))
    monkeypatch.setattr(Dataset, "add", perilous(Dataset.add))
    monkeypatch.setattr(OrderedPool, "wait", perilous(OrderedPool.wait))
    for attempt in range(60):
        try:
            launch(small(), tmp_path / "run")
            break
        except Killed:
            countdown = rng.randint(1, 20 + 20 * attempt)  # more and more, or a long round would never be done
    monkeypatch.undo()
    assert kills >= 4
    assert outcome(tmp_path / "run") == outcome(undisturbed)
    assert len(paid) == len(set(paid))
    assert not list((tmp_path / "run").glob("state/paid/*/*"))


def test_answers_come_in_the_order_of_the_questions() -> None:
    class Echo:
        def say(self, word: str) -> str:
            return word

        def close(self) -> None: ...

    pool = OrderedPool(Shuffled(SerialPool({"oracle": Echo, "learner": Echo}), random.Random(2)))
    words = [f"{n}" for n in range(20)]
    for n, word in enumerate(words):
        pool.submit(Task("learner" if n % 3 else "oracle", "say", word, (word,)))
    assert pool.pending() == 20
    assert pool.pending("oracle") == 7
    assert not pool.withdraw("oracle", ["19"])
    heard = []
    while pool.pending():
        heard += [done.result for done in pool.wait()]
    assert heard == words
    assert pool.wait() == []


@pytest.mark.parametrize("given", ["growth.kinetics=kmc", "budget.hours=1"])
def test_what_cannot_be_deterministic_is_refused(given: str) -> None:
    with pytest.raises((ValidationError, ValueError), match="deterministic"):
        small("growth.kmc={flux: {Al: 1.0}}", given)
