"""Tasks in one process: order, errors as values, what is pending, what is closed."""

from typing import Any

import pytest

from growth.pool import ROLES, Role, SerialPool, Task, first_line


class Part:
    """Notes what it did."""

    made = 0

    def __init__(self, role: Role) -> None:
        type(self).made += 1
        self.role, self.closed = role, False

    def double(self, number: int) -> tuple[Role, int]:
        return self.role, 2 * number

    def fail(self) -> None:
        raise ValueError("no such luck\nand a second line")

    def stop(self) -> None:
        raise KeyboardInterrupt

    def close(self) -> None:
        self.closed = True


def serial() -> tuple[SerialPool, dict[Role, Part]]:
    parts: dict[Role, Part] = {}

    def maker(role: Role) -> Any:
        def make() -> Part:
            parts[role] = Part(role)
            return parts[role]

        return make

    return SerialPool({role: maker(role) for role in ROLES}), parts


@pytest.mark.parametrize("role", ROLES)
def test_a_task_comes_back_with_its_result(role: Role) -> None:
    pool, _ = serial()
    task = Task(role, "double", "key", (21,))
    pool.submit(task)
    (done,) = pool.wait()
    assert (done.task, done.result, done.error) == (task, (role, 42), None)
    assert done.seconds == pool.busy_seconds[role] >= 0.0
    assert pool.wait() == []


def test_what_has_not_begun_can_be_withdrawn_all_or_nothing() -> None:
    pool, parts = serial()
    for number in range(4):
        pool.submit(Task("oracle", "double", str(number), (number,)))
    (first,) = pool.wait()
    assert first.task.key == "0"
    assert not pool.withdraw("oracle", ["0", "1"])
    assert not pool.withdraw("learner", ["1"])
    assert pool.pending() == 3
    assert pool.withdraw("oracle", ["1", "3"])
    assert [done.task.key for done in pool.wait()] == ["2"]
    assert pool.pending() == 0
    assert set(parts) == {"oracle"}


@pytest.mark.parametrize("role", ROLES)
def test_an_error_is_a_value(role: Role) -> None:
    pool, _ = serial()
    pool.submit(Task(role, "fail", "bad"))
    pool.submit(Task(role, "double", "good", (1,)))
    (bad,), (good,) = pool.wait(), pool.wait()
    assert bad.result is None
    assert bad.error == "ValueError: no such luck"
    assert good.result == (role, 2)


def test_a_part_that_cannot_be_made_is_an_error_too() -> None:
    def broken() -> Any:
        raise OSError("no room")

    pool = SerialPool({"oracle": broken})
    pool.submit(Task("oracle", "label", "x"))
    assert pool.wait()[0].error == "OSError: no room"
    pool.close()


def test_an_interruption_passes() -> None:
    pool, _ = serial()
    pool.submit(Task("oracle", "stop", "x"))
    with pytest.raises(KeyboardInterrupt):
        pool.wait()


def test_labels_come_first_then_learning_then_growth() -> None:
    pool, _ = serial()
    for role in ("surrogate", "learner", "oracle"):
        for key in ("a", "b"):
            pool.submit(Task(role, "double", key, (0,)))
    order = [(done.task.role, done.task.key) for _ in range(6) for done in pool.wait()]
    assert order == [(role, key) for role in ("oracle", "learner", "surrogate") for key in ("a", "b")]


def test_pending_counts_by_role() -> None:
    pool, _ = serial()
    assert pool.pending() == 0
    for role in ("surrogate", "surrogate", "learner"):
        pool.submit(Task(role, "double", "x", (0,)))
    assert [pool.pending(role) for role in ("surrogate", "learner", "oracle")] == [2, 1, 0]
    pool.wait()
    assert pool.pending() == 2
    assert pool.size("surrogate") == 1


def test_what_is_shared_is_the_value_itself() -> None:
    pool, _ = serial()
    value = {"model": b"abc"}
    assert pool.share(value) is value


def test_parts_are_made_when_needed_once_and_closed() -> None:
    pool, parts = serial()
    before = Part.made
    for number in range(3):
        pool.submit(Task("learner", "double", "x", (number,)))
        pool.wait()
    assert Part.made == before + 1
    pool.close()
    assert parts["learner"].closed
    pool.close()


def test_an_error_without_words_is_its_type() -> None:
    assert first_line(RuntimeError()) == "RuntimeError"
    assert first_line(KeyError("a")) == "KeyError: 'a'"
