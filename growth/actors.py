"""The three parts as Ray actors, and the pool that feeds them."""

import logging
import os
import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from growth.errors import InputError
from growth.pool import ROLES, Done, Role, Task, first_line, without

RETRIES = 3
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class ActorSpec:
    """What plays a role: a worker class, what it is made with, how many of them, and what each reserves."""

    worker: type
    arguments: tuple[Any, ...]
    count: int
    num_cpus: float
    num_gpus: float = 0.0


def connect(address: str | None, num_cpus: int | None) -> bool:
    """Join the cluster at `address` (`auto` inside a job), or start a private one on this machine.

    Returns:
        Whether this call connected; False where the process was connected already.
    """
    if ray.is_initialized():
        return False
    inside_job = "RAY_JOB_ID" in os.environ or "RAY_ADDRESS" in os.environ
    address = address or ("auto" if inside_job else None)
    ray.init(
        address=address,
        num_cpus=None if address else num_cpus,
        include_dashboard=None if address else False,
        runtime_env=code_of_this_checkout(),
        log_to_driver=True,
        logging_level=logging.WARNING,
        configure_logging=True,
    )
    return True


def disconnect() -> None:
    """Leave the cluster; a private one ends."""
    ray.shutdown()


def code_of_this_checkout() -> dict[str, Any]:
    """The runtime environment that lets workers import the three packages wherever the driver was started from."""
    return {"py_modules": [str(ROOT / house) for house in ("growth", "learner", "oracle")], "excludes": ["__pycache__"]}


class RayPool:
    """Tasks on Ray actors: one task at a time for each actor, the rest queued here, so that nothing piles up there.

    Args:
        specs: the workers of each role.

    Raises:
        InputError: the cluster has fewer CPUs or GPUs than the workers reserve, so that some would never start.
    """

    def __init__(self, specs: Mapping[Role, ActorSpec]) -> None:
        check_resources(specs, ray.cluster_resources())
        self.busy_seconds: dict[Role, float] = dict.fromkeys(ROLES, 0.0)
        self._specs = dict(specs)
        self._actors = {role: [_start(spec) for _ in range(spec.count)] for role, spec in self._specs.items()}
        self._idle = {role: deque(actors) for role, actors in self._actors.items()}
        self._queues: dict[Role, deque[tuple[Task, int]]] = {role: deque() for role in ROLES}
        self._under_way: dict[ray.ObjectRef, tuple[Task, int, Any, float]] = {}

    def share(self, value: Any) -> Any:
        return ray.put(value)

    def submit(self, task: Task) -> None:
        self._queues[task.role].append((task, 0))
        self._dispatch()

    def withdraw(self, role: Role, keys: Collection[str]) -> bool:
        kept = without(self._queues[role], keys, [task.key for task, _ in self._queues[role]])
        if kept is None:
            return False
        self._queues[role] = kept
        return True

    def wait(self, timeout: float | None = None) -> list[Done]:
        if not self._under_way:
            return []
        ready, _ = ray.wait(list(self._under_way), num_returns=1, timeout=timeout)
        done = [finished for reference in ready if (finished := self._collect(reference)) is not None]
        self._dispatch()
        return done

    def pending(self, role: Role | None = None) -> int:
        queued = sum(len(self._queues[r]) for r in ROLES if role in (None, r))
        return queued + sum(role in (None, task.role) for task, *_ in self._under_way.values())

    def size(self, role: Role) -> int:
        return self._specs[role].count

    def close(self) -> None:
        """Ask the actors to close what they hold (the oracle's label process), then end them."""
        goodbyes = [actor.close.remote() for actor in self._idle_actors()]
        ray.wait(goodbyes, num_returns=len(goodbyes), timeout=3) if goodbyes else None
        for actors in self._actors.values():
            for actor in actors:
                ray.kill(actor)

    def _idle_actors(self) -> list[Any]:
        return [actor for actors in self._idle.values() for actor in actors]

    def _dispatch(self) -> None:
        for role, idle in self._idle.items():
            while idle and self._queues[role]:
                task, tries = self._queues[role].popleft()
                actor = idle.popleft()
                reference = actor.do.remote(task.call, *task.arguments)
                self._under_way[reference] = (task, tries, actor, time.monotonic())

    def _collect(self, reference: Any) -> Done | None:
        """The result behind `reference`; None where Ray lost it (actor, node, memory) and the task was queued again."""
        task, tries, actor, start = self._under_way.pop(reference)
        self._idle[task.role].append(actor)
        seconds = time.monotonic() - start
        self.busy_seconds[task.role] += seconds
        try:
            return Done(task, ray.get(reference), seconds)
        except RayTaskError as error:  # the part raised; trying again would raise again
            return Done(task, None, seconds, first_line(error.cause or error))
        except RayError as error:
            if tries < RETRIES:
                self._queues[task.role].appendleft((task, tries + 1))
                return None
            return Done(task, None, seconds, f"lost by Ray after {RETRIES} retries: {first_line(error)}")


def check_resources(specs: Mapping[Role, ActorSpec], cluster: Mapping[str, float]) -> None:
    """Refuse workers that reserve more CPUs or GPUs than there are: Ray would wait for them without a word.

    Args:
        specs: who reserves what.
        cluster: what there is, by Ray's names.

    Raises:
        InputError: says who reserves how much, and what to change.
    """
    for name, of, remedy in (("CPU", "num_cpus", "raise ray.num_cpus, or "), ("GPU", "num_gpus", "or ")):
        each = {role: (spec.count, getattr(spec, of)) for role, spec in specs.items() if getattr(spec, of)}
        wanted, available = sum(n * x for n, x in each.values()), float(cluster.get(name, 0.0))
        if wanted > available + 1e-6:
            parts = ", ".join(f"{role} {n} x {x:g}" for role, (n, x) in each.items())
            raise InputError(
                f"ray: the actors reserve {wanted:g} {name}s ({parts}) and the cluster has {available:g}; "
                f"lower --workers, or actors and {of} of the parts of a campaign, {remedy}set pool=serial"
            )


class PartActor:
    """One worker behind Ray; results travel as values."""

    def __init__(self, worker: type, arguments: tuple[Any, ...]) -> None:
        self._worker = worker(*arguments)

    def do(self, call: str, *arguments: Any) -> Any:
        return getattr(self._worker, call)(*arguments)

    def close(self) -> None:
        self._worker.close()


def _start(spec: ActorSpec) -> Any:
    """A worker that comes back after its process died; with a retry of Ray's own, calls wait while it restarts.

    Its process is called by its part: `ray::Oracle.do`.
    """
    named = type(spec.worker.__name__.removesuffix("Worker"), (PartActor,), {})
    actor = ray.remote(named).options(
        num_cpus=spec.num_cpus, num_gpus=spec.num_gpus, max_restarts=-1, max_task_retries=1
    )
    return actor.remote(spec.worker, spec.arguments)
