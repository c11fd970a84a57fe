"""The three parts as Ray actors, and the pool that feeds them."""

import functools
import logging
import math
import os
import platform
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError, RayError, RayTaskError
from ray.util.metrics import Counter as RayCounter
from ray.util.metrics import Gauge, Histogram

from growth.errors import InputError
from growth.live import METRICS, Figure, Metric
from growth.pool import ROLES, Done, Role, Task, first_line, last_line, reordered, without
from growth.process import n_cores, versions_of

RETRIES = 3
"""Times that a task is begun again whose worker was lost, and that a worker is started again that does not start."""
TICK_S = 2.0
"""How often a pool looks whether workers are missing or could be more."""
ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "torch-geometric", "ase", "numpy", "gpaw")
"""Whose versions must be the same on all nodes, where they are there at all."""


@dataclass(frozen=True)
class ActorSpec:
    """What plays a role: a worker class, what it is made with, how many of them, and what each reserves.

    `most`: up to so many where the cluster has room, as nodes join; None: `count`. `resources`: by Ray's custom names.
    """

    worker: type
    arguments: tuple[Any, ...]
    count: int
    num_cpus: float
    num_gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    most: int | None = None

    @property
    def reserved(self) -> dict[str, float]:
        """What one of them reserves, by Ray's names."""
        each = {"CPU": self.num_cpus, "GPU": self.num_gpus, **self.resources}
        return {name: amount for name, amount in each.items() if amount}


def connect(address: str | None, num_cpus: int | None, least: float = 0.0) -> bool:
    """Join the cluster at `address` (`auto` inside a job), or start a private one on this machine.

    Args:
        num_cpus: logical cores of a private cluster; default: this machine's.
        least: logical cores that are needed at all; a machine that has fewer shares them.

    Returns:
        Whether this call connected; False where the process was connected already.

    Raises:
        InputError: no cluster there, or it does not know us.
    """
    if ray.is_initialized():
        return False
    inside_job = "RAY_JOB_ID" in os.environ or "RAY_ADDRESS" in os.environ
    address = address or ("auto" if inside_job else None)
    where = (os.environ.get("RAY_ADDRESS") or address) if address == "auto" else address
    try:
        _knock(where)
        ray.init(
            address=address,
            num_cpus=None if address else num_cpus or max(n_cores(), math.ceil(least - 1e-6)),
            include_dashboard=None if address else False,
            runtime_env=code_of_this_checkout(),
            log_to_driver=True,
            logging_level=logging.WARNING,
            configure_logging=True,
        )
    except AuthenticationError as error:
        raise InputError(
            f"ray: {where or 'a cluster on this machine'} asks for a token and was given none, or another; "
            f"set RAY_AUTH_TOKEN_PATH to the file of the cluster's token ({str(error).split('. ')[0]})"
        ) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"ray: no cluster at {where or 'this machine'} that lets this process in ({first_line(error)}); expected "
            "HOST:PORT of a head in ray.address or RAY_ADDRESS, and RAY_AUTH_MODE=token with its token where it has one"
        ) from None
    return True


def _knock(where: str | None) -> None:
    """Raise OSError at once where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, colon, port = (where or "").rpartition(":")
    if colon and "/" not in host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def disconnect() -> None:
    """Leave the cluster; a private one ends."""
    ray.shutdown()


def code_of_this_checkout() -> dict[str, Any]:
    """The runtime environment that lets workers import the three packages wherever the driver was started from."""
    return {"py_modules": [str(ROOT / house) for house in ("growth", "learner", "oracle")], "excludes": ["__pycache__"]}


@dataclass(eq=False)
class _Worker:
    """An actor of a role."""

    role: Role
    actor: Any


class RayPool:
    """Tasks on Ray actors: one task at a time for each actor, the rest queued here, so that nothing piles up there.

    A worker that is lost (killed, out of memory, its node gone) is replaced, and what it was at is begun again by
    whoever is free. Where nodes join, a role with more to do gets more workers, up to `ActorSpec.most`.

    Args:
        specs: the workers of each role.

    Attributes:
        watch: called now and then while results are waited for, and at the end.

    Raises:
        InputError: the cluster has less than the workers reserve, so that some would never start; later, from `wait`:
            a node has other versions of packages than this process, or workers do not start.
    """

    def __init__(self, specs: Mapping[Role, ActorSpec]) -> None:
        check_resources(specs, ray.cluster_resources())
        self.busy_seconds: dict[Role, float] = dict.fromkeys(ROLES, 0.0)
        self._specs = dict(specs)
        self._workers: dict[Role, set[_Worker]] = {role: set() for role in self._specs}
        self._idle: dict[Role, deque[_Worker]] = {role: deque() for role in self._specs}
        self._starting: dict[ray.ObjectRef, _Worker] = {}
        self._stillborn: Counter[Role] = Counter()
        self._queues: dict[Role, deque[tuple[Task, int]]] = {role: deque() for role in ROLES}
        self._under_way: dict[ray.ObjectRef, tuple[Task, int, _Worker, float]] = {}
        self._n_under_way: Counter[Role] = Counter()
        self._looked = self._watched = 0.0
        self._refusal: InputError | None = None
        self.watch: Callable[[RayPool], None] = lambda pool: None
        self._staff()

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

    def waiting(self, role: Role) -> list[str]:
        return [task.key for task, _ in self._queues[role]]

    def prefer(self, role: Role, keys: Sequence[str]) -> None:
        self._queues[role] = reordered(self._queues[role], keys, [task.key for task, _ in self._queues[role]])

    def wait(self, timeout: float | None = None) -> list[Done]:
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        done: list[Done] = []
        while self.pending() and not done:
            if self._refusal is not None:  # once what had finished beside it is handed out
                raise self._refusal
            left = until - time.monotonic()
            if left <= 0:
                break
            waited_for = [*self._under_way, *self._starting]
            ready, others = ray.wait(waited_for, num_returns=1, timeout=min(left, TICK_S))
            if ready and others:  # with it, whatever else is there: asking for each alone costs with their number
                ready += ray.wait(others, num_returns=len(others), timeout=0)[0]
            for reference in ready:
                if reference in self._starting:
                    try:
                        self._welcome(reference)
                    except InputError as refusal:
                        self._refusal = refusal
                elif (finished := self._collect(reference)) is not None:
                    done.append(finished)
            self._staff()
            self._dispatch()
            if time.monotonic() - self._watched > TICK_S:
                self._watched = time.monotonic()
                self.watch(self)
        return done

    def pending(self, role: Role | None = None) -> int:
        return sum(len(self._queues[r]) + self._n_under_way[r] for r in ROLES if role in (None, r))

    def size(self, role: Role) -> int:
        return max(self._specs[role].count, len(self._workers[role]))

    def close(self) -> None:
        """Ask the actors to close what they hold (the oracle's label process), then end them."""
        self.watch(self)
        goodbyes = [worker.actor.close.remote() for idle in self._idle.values() for worker in idle]
        ray.wait(goodbyes, num_returns=len(goodbyes), timeout=3) if goodbyes else None
        for workers in self._workers.values():
            for worker in workers:
                ray.kill(worker.actor)

    def _staff(self) -> None:
        """Start workers that are missing, and now and then more, where there is room and more to do."""
        for role, spec in self._specs.items():
            while len(self._workers[role]) < spec.count:
                self._start(role)
        if time.monotonic() - self._looked < TICK_S or self._starting:
            return
        self._looked = time.monotonic()
        for role, spec in self._specs.items():
            if self._queues[role] and len(self._workers[role]) < (spec.most or spec.count):
                free = ray.available_resources()
                if all(free.get(name, 0.0) >= amount for name, amount in spec.reserved.items()):
                    self._start(role)

    def _start(self, role: Role) -> None:
        worker = _Worker(role, _actor(self._specs[role]))
        self._workers[role].add(worker)
        self._starting[worker.actor.versions.remote()] = worker

    def _welcome(self, reference: Any) -> None:
        """A worker has started, or has not."""
        worker = self._starting.pop(reference)
        try:
            node, theirs = ray.get(reference)
        except RayError as error:
            self._drop(worker)
            self._stillborn[worker.role] += 1
            if self._stillborn[worker.role] > RETRIES:
                raise InputError(
                    f"ray: no {worker.role} worker starts in {RETRIES + 1} tries: {last_line(error)}"
                ) from None
            return
        refuse_other_versions(node, versions(), theirs)
        self._stillborn[worker.role] = 0
        self._idle[worker.role].append(worker)

    def _drop(self, worker: _Worker) -> None:
        self._workers[worker.role].discard(worker)
        ray.kill(worker.actor)

    def _dispatch(self) -> None:
        for role, idle in self._idle.items():
            while idle and self._queues[role]:
                task, tries = self._queues[role].popleft()
                worker = idle.popleft()
                reference = worker.actor.do.remote(task.call, *task.arguments)
                self._under_way[reference] = (task, tries, worker, time.monotonic())
                self._n_under_way[role] += 1

    def _collect(self, reference: Any) -> Done | None:
        """The result behind `reference`; None where Ray lost it (worker, node, memory) and the task is queued again."""
        task, tries, worker, start = self._under_way.pop(reference)
        self._n_under_way[task.role] -= 1
        seconds = time.monotonic() - start
        self.busy_seconds[task.role] += seconds
        try:
            result, error = ray.get(reference), None
        except RayTaskError as raised:  # the part raised; trying again would raise again
            result, error = None, first_line(raised.cause or raised)
        except RayError as lost:
            self._drop(worker)
            if tries < RETRIES:
                self._queues[task.role].appendleft((task, tries + 1))
                return None
            return Done(task, None, seconds, f"lost by Ray after {RETRIES} retries: {first_line(lost)}")
        self._idle[task.role].append(worker)
        return Done(task, result, seconds, error)


class RayMetrics:
    """Figures as metrics of Ray's, which every node offers to Prometheus (docs/monitoring.md).

    Args:
        run: the campaign's name, a tag of all of them.
    """

    def __init__(self, run: str) -> None:
        run = run.encode("ascii", "backslashreplace").decode()  # Ray takes no other
        self._metrics = {name: _ray_metric(name, metric, run) for name, metric in METRICS.items()}

    def __call__(self, figure: Figure) -> None:
        metric, tags = self._metrics[figure.name], dict(figure.tags)
        match metric:
            case Gauge():
                metric.set(figure.value, tags)
            case RayCounter():
                metric.inc(figure.value, tags)
            case Histogram():
                metric.observe(figure.value, tags)


def _ray_metric(name: str, metric: Metric, run: str) -> Gauge | RayCounter | Histogram:
    about = {"description": metric.description, "tag_keys": ("run", *metric.tags)}
    match metric.kind:
        case "gauge":
            made = Gauge(name, **about)
        case "counter":
            made = RayCounter(name, **about)
        case "histogram":
            made = Histogram(name, boundaries=list(metric.boundaries), **about)
    made.set_default_tags({"run": run})
    return made


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that must agree."""
    return versions_of(PACKAGES)


def refuse_other_versions(node: str, ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """Results must not depend on the node.

    Raises:
        InputError: a table of what differs.
    """
    differing = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    if differing:
        rows = "; ".join(f"{name} {theirs[name]} (here {ours[name]})" for name in differing)
        raise InputError(f"ray: node {node} has other versions than this process: {rows}; install the same everywhere")


def check_resources(specs: Mapping[Role, ActorSpec], cluster: Mapping[str, float]) -> None:
    """Refuse workers that reserve more than there is: Ray would wait for it without a word.

    Args:
        specs: who reserves what.
        cluster: what there is, by Ray's names.

    Raises:
        InputError: says who reserves how much, and what to change.
    """
    for name in dict.fromkeys(name for spec in specs.values() for name in spec.reserved):
        each = {role: (spec.count, spec.reserved[name]) for role, spec in specs.items() if name in spec.reserved}
        wanted, available = sum(n * x for n, x in each.values()), float(cluster.get(name, 0.0))
        if wanted > available + 1e-6:
            parts = ", ".join(f"{role} {n} x {x:g}" for role, (n, x) in each.items())
            what, setting = (f"{name}s", f"num_{name.lower()}s") if name in ("CPU", "GPU") else (name, "resources")
            remedy = "raise ray.num_cpus, or " if name == "CPU" else "or "
            raise InputError(
                f"ray: the actors reserve {wanted:g} {what} ({parts}) and the cluster has {available:g}; "
                f"lower --workers, or actors and {setting} of the parts of a campaign, {remedy}set pool=serial"
            )


class PartActor:
    """One worker behind Ray; results travel as values."""

    def __init__(self, worker: type, arguments: tuple[Any, ...]) -> None:
        self._worker = worker(*arguments)

    def versions(self) -> tuple[str, dict[str, str]]:
        """The node's name, and the versions there."""
        return platform.node(), versions()

    def do(self, call: str, *arguments: Any) -> Any:
        return getattr(self._worker, call)(*arguments)

    def close(self) -> None:
        self._worker.close()


def _actor(spec: ActorSpec) -> Any:
    """An actor that does not come back once its process has died: the pool sees to that.

    Its process is called by its part: `ray::Oracle.do`. Nodes share the actors of a part.
    """
    options = {"num_cpus": spec.num_cpus, "num_gpus": spec.num_gpus, "resources": dict(spec.resources)}
    actor = _actor_class(spec.worker.__name__.removesuffix("Worker"))
    actor = actor.options(**options, max_restarts=0, scheduling_strategy="SPREAD")
    return actor.remote(spec.worker, spec.arguments)


@functools.cache
def _actor_class(name: str) -> Any:
    """One for all actors of a part: Ray sends each class to the workers."""
    return ray.remote(type(name, (PartActor,), {}))
