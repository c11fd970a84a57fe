"""Who does the work: a pool takes tasks for the three parts and hands back what they returned.

The loop knows only `Pool`. `SerialPool` does everything in this process, in order; `growth.actors.RayPool`
does it on Ray. `OrderedPool` makes either's answers come in the order of the questions.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

Role = Literal["surrogate", "oracle", "learner"]
T = TypeVar("T")
ROLES: tuple[Role, ...] = ("oracle", "learner", "surrogate")


@dataclass(frozen=True)
class Task:
    """One call of one part: `worker.call(*arguments)`, asked for under `key`."""

    role: Role
    call: str
    key: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Done:
    """A finished task: its `result`, or the `error` (type and text) that the part raised; `seconds` of wall time."""

    task: Task
    result: Any
    seconds: float
    error: str | None = None


@runtime_checkable
class Pool(Protocol):
    """Where tasks run."""

    @property
    def busy_seconds(self) -> dict[Role, float]:
        """Seconds of work by role, summed over workers."""

    def share(self, value: Any) -> Any:
        """A handle of `value` that may stand among a task's arguments and travels once, however often it is used."""

    def submit(self, task: Task) -> None:
        """Queue `task`; returns at once."""

    def withdraw(self, role: Role, keys: Collection[str]) -> bool:
        """Give up tasks of a role, all of them, if none has been begun; otherwise none, and False."""

    def waiting(self, role: Role) -> list[str]:
        """Keys of a role's tasks that have not been begun, if that is no matter of chance; first who comes first."""

    def prefer(self, role: Role, keys: Sequence[str]) -> None:
        """Begin tasks of a role that wait in this order; they share out the places in the queue that they have."""

    def wait(self, timeout: float | None = None) -> list[Done]:
        """What has finished: at least one task, unless `timeout` seconds pass or nothing is queued or under way."""

    def pending(self, role: Role | None = None) -> int:
        """How many tasks (of `role`) are queued or under way."""

    def size(self, role: Role) -> int:
        """How many workers play `role`."""

    def close(self) -> None:
        """Stop the workers; what is under way is given up."""


class SerialPool:
    """Every part in this process, one task at a time: labels first, then learning, then growth.

    Growth comes last so that a walker that waits for a label or a model does not starve while another stays sure.

    Args:
        make: how to make the worker of each role; called at the role's first task.
    """

    def __init__(self, make: Mapping[Role, Callable[[], Any]]) -> None:
        self.busy_seconds: dict[Role, float] = dict.fromkeys(ROLES, 0.0)
        self._make = dict(make)
        self._workers: dict[Role, Any] = {}
        self._queues: dict[Role, deque[Task]] = {role: deque() for role in ROLES}

    def share(self, value: Any) -> Any:
        return value

    def submit(self, task: Task) -> None:
        self._queues[task.role].append(task)

    def withdraw(self, role: Role, keys: Collection[str]) -> bool:
        kept = without(self._queues[role], keys, [task.key for task in self._queues[role]])
        if kept is None:
            return False
        self._queues[role] = kept
        return True

    def waiting(self, role: Role) -> list[str]:
        return [task.key for task in self._queues[role]]

    def prefer(self, role: Role, keys: Sequence[str]) -> None:
        self._queues[role] = reordered(self._queues[role], keys, [task.key for task in self._queues[role]])

    def wait(self, timeout: float | None = None) -> list[Done]:
        for role in ROLES:
            if self._queues[role]:
                return [self._run(self._queues[role].popleft())]
        return []

    def pending(self, role: Role | None = None) -> int:
        return sum(len(self._queues[r]) for r in ROLES if role in (None, r))

    def size(self, role: Role) -> int:
        return 1

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def _run(self, task: Task) -> Done:
        start = time.monotonic()
        try:
            result, error = getattr(self._worker(task.role), task.call)(*task.arguments), None
        except Exception as raised:  # whatever a part raises is a value here, as it is on Ray
            result, error = None, first_line(raised)
        seconds = time.monotonic() - start
        self.busy_seconds[task.role] += seconds
        return Done(task, result, seconds, error)

    def _worker(self, role: Role) -> Any:
        if role not in self._workers:
            self._workers[role] = self._make[role]()
        return self._workers[role]


class OrderedPool:
    """Another pool, whose results come in the order in which they were asked for, one at a time.

    What follows from them then does not depend on how many workers there are and which of them is quick.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._asked: deque[Task] = deque()
        self._done: dict[int, Done] = {}

    @property
    def busy_seconds(self) -> dict[Role, float]:
        return self._pool.busy_seconds

    def share(self, value: Any) -> Any:
        return self._pool.share(value)

    def submit(self, task: Task) -> None:
        self._asked.append(task)
        self._pool.submit(task)

    def withdraw(self, role: Role, keys: Collection[str]) -> bool:
        """Never: what has been begun is a matter of chance."""
        return False

    def waiting(self, role: Role) -> list[str]:
        return []

    def prefer(self, role: Role, keys: Sequence[str]) -> None:
        """Nothing: answers come in the order of the questions, whatever is done first."""

    def wait(self, timeout: float | None = None) -> list[Done]:
        until = None if timeout is None else time.monotonic() + timeout
        while self._asked and id(self._asked[0]) not in self._done:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return []
            self._done |= {id(done.task): done for done in self._pool.wait(left)}
        return [self._done.pop(id(self._asked.popleft()))] if self._asked else []

    def pending(self, role: Role | None = None) -> int:
        return sum(role in (None, task.role) for task in self._asked)

    def size(self, role: Role) -> int:
        return self._pool.size(role)

    def close(self) -> None:
        self._pool.close()


def without(queue: deque[T], keys: Collection[str], named: Sequence[str]) -> deque[T] | None:
    """A queue without the entries of some keys; None if one of the keys is not in it.

    >>> without(deque("abc"), {"a", "c"}, "abc")
    deque(['b'])
    """
    if not set(keys) <= set(named):
        return None
    return deque(entry for entry, key in zip(queue, named, strict=True) if key not in keys)


def reordered(queue: deque[T], keys: Sequence[str], named: Sequence[str]) -> deque[T]:
    """A queue in which the entries of some keys stand in the order of these, at the places that they had together.

    >>> reordered(deque("abcd"), ["d", "gone", "a"], "abcd")
    deque(['d', 'b', 'c', 'a'])
    """
    entries = dict(zip(named, queue, strict=True))
    wanted = iter([entries[key] for key in keys if key in entries])
    return deque(next(wanted) if name in keys else entry for entry, name in zip(queue, named, strict=True))


def first_line(error: BaseException) -> str:
    """The type and the first line of what an exception says.

    >>> first_line(ValueError("too far\\nsee above"))
    'ValueError: too far'
    """
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def last_line(error: BaseException) -> str:
    """The last line of what an exception says: of a traceback that another process sent, what was raised there.

    >>> last_line(RuntimeError("it died:\\n  File 'a'\\nValueError: too far"))
    'ValueError: too far'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
