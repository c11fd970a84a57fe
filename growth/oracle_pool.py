"""A pool of oracles alone, for work that has no surrogate and no learner."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from growth.actors import ActorSpec, RayPool, connect, disconnect
from growth.oracle_worker import OracleWorker
from growth.pool import Pool, SerialPool
from growth.process import stop_signals
from oracle import LabelSettings, Method


@contextlib.contextmanager
def open_oracle_pool(
    method: Method, settings: LabelSettings, workers: int, logs: Path, cache: Path | None = None
) -> Iterator[Pool]:
    """Oracle workers on Ray (the job's cluster, or a private one), or one in this process; closed at the end.

    Meanwhile SIGTERM ends in a KeyboardInterrupt, as SIGINT does.

    Args:
        method: the energy surface. settings: limits and numerics of labelling.
        workers: labels side by side, one core each.
        logs: folder for the logs of failed labels. cache: folder of labels that are looked up before they are paid for.

    Raises:
        InputError: the job's cluster has fewer CPUs than workers.
    """
    arguments = (method.to_dict(), settings, logs, cache)
    with contextlib.ExitStack() as stack:
        pool: Pool
        if workers == 1:
            pool = SerialPool({"oracle": lambda: OracleWorker(*arguments)})
        else:
            if connect(None, workers):
                stack.callback(disconnect)
            pool = RayPool({"oracle": ActorSpec(OracleWorker, arguments, workers, 1.0)})
        stack.callback(pool.close)
        stack.enter_context(stop_signals())
        yield pool
