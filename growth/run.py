#!/usr/bin/env python
"""Launch a growth campaign: `python growth/run.py [CONFIG.yaml]`, also as the entry point of a Ray job.

Without CONFIG it runs the demo. It is the same program as `kossel grow`.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a file: the packages' parent belongs on the path, growth/ itself does not
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(entry for entry in sys.path if Path(entry or ".").resolve() != here)]

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from growth.actors import ActorSpec, RayMetrics, RayPool, connect, disconnect
from growth.certificate import certify
from growth.config import Config, check_settings
from growth.errors import InputError
from growth.initial_set import given_labels, given_model
from growth.live import Follower
from growth.loop import Campaign, species_of
from growth.oracle_worker import OracleWorker
from growth.page.page import write_report
from growth.pool import Pool, Role, SerialPool
from growth.process import absolute, stop_signals, versions_of
from growth.report import Progress, plot_run, print_summary, summarise
from growth.run_directory import PAID, RunDirectory
from growth.seeds import make_seed, seed_of_run
from growth.workers import LearnerWorker, SurrogateWorker
from oracle import Dataset, Method

PACKAGES = ("kossel", "torch", "ase", "ray", "numpy", "gpaw")


def resolve_run_dir(given: Path | None, config: Config) -> Path:
    """Where a run writes: what was given, else runs/NAME below the working directory.

    Raises:
        InputError: a relative directory inside a Ray job's own copy of the working directory.
    """
    return absolute(given or Path("runs") / config.name, "run directory")


def launch(config: Config, run_dir: Path) -> None:
    """Run or resume the campaign of `config` in `run_dir`, to its summary, certificate and plots.

    Raises:
        InputError: the run directory or the seed cannot be used.
        KeyboardInterrupt: on SIGINT or SIGTERM, after the state was written; the same command goes on.
    """
    seed = seed_of_run(run_dir) or make_seed(config.structure)
    method = Method.from_dict(config.oracle.method)
    elements = [*seed.symbols, *species_of(config.growth)]
    missing = method.missing_species(elements)
    if missing:
        raise InputError(f"oracle.method {config.oracle.method} has no parameters for {', '.join(missing)}")
    given_labels(config.initial, method, elements)  # what is refused is refused before anything is written
    given_model(config.initial, method, elements)
    progress = Progress(Console(soft_wrap=True, highlight=False))
    with contextlib.ExitStack() as stack:
        run = RunDirectory(run_dir)
        stack.callback(run.close)
        config = Config.model_validate(run.settle_config(config.model_dump(mode="json", exclude_unset=True), resolved))
        seed = run.settle_seed(seed)
        run.record_start(installed_versions())
        dataset = stack.enter_context(Dataset.open(run.path / "dataset", method=method))
        progress({"what": "say", "text": f"run directory {run.path}"})
        pool = stack.enter_context(open_pool(config, run.path))
        stack.enter_context(stop_signals())
        campaign = Campaign(config, run, dataset, pool, seed, progress)
        try:
            campaign.run()
        except KeyboardInterrupt:
            campaign.checkpoint()
            raise
        elapsed, busy = campaign.elapsed, campaign.busy
        crystals = [walker.state.crystal for walker in campaign.walkers]
        certificate = certify(run, dataset, crystals, pool, method, config, progress)
        workers = {role: pool.size(role) for role in ("oracle", "surrogate", "learner")}
        summary = summarise(run, elapsed, busy, workers, campaign.labels)
        plots = plot_run(run, certificate, crystals)
        try:
            plots.append(write_report(run.path))
        except InputError as error:
            progress({"what": "say", "text": f"no report: {error}"})
        print_summary(progress.console, summary, certificate)
        for path in (*plots, run.path / "grown", run.path / "sites", run.path / "dataset", run.path / "models"):
            progress.console.print(f"  {path}")


def resolved(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings checked, with every default filled in, as plain values."""
    return check_settings(Config, content, "config").model_dump(mode="json")


@contextlib.contextmanager
def open_pool(config: Config, run_dir: Path) -> Iterator[Pool]:
    """The pool that the config names, closed at the end; Ray is left as it was found."""
    cache = absolute(config.oracle.cache, "oracle.cache") if config.oracle.cache else run_dir / PAID
    oracle = (config.oracle.method, config.oracle.labels, run_dir / "dataset" / "logs", cache)
    surrogate = (config.growth, config.surrogate.threads, config.surrogate.device)
    learner = (config.learner.network, config.learner.train, config.learner.update, config.learner.threads)
    ours = False
    pool: Pool
    if config.pool == "serial":
        pool = SerialPool(
            {
                "oracle": lambda: OracleWorker(*oracle),
                "surrogate": lambda: SurrogateWorker(*surrogate),
                "learner": lambda: LearnerWorker(*learner),
            }
        )
    else:
        asks, grows, learns = config.oracle, config.surrogate, config.learner
        parts: dict[Role, ActorSpec] = {
            "oracle": ActorSpec(
                OracleWorker, oracle, asks.actors, asks.cores, resources=asks.resources, most=asks.most_actors
            ),
            "surrogate": ActorSpec(
                SurrogateWorker, surrogate, grows.actors, grows.num_cpus, grows.num_gpus, grows.resources
            ),
            "learner": ActorSpec(LearnerWorker, learner, 1, learns.num_cpus, learns.num_gpus, learns.resources),
        }
        one_of_each = sum(part.num_cpus for part in parts.values())
        ours = connect(config.ray.address, config.ray.num_cpus, one_of_each)
        pool = RayPool(parts)
        pool.watch = Follower(run_dir, RayMetrics(config.name))
    try:
        yield pool
    finally:
        pool.close()
        if ours:
            disconnect()


def installed_versions() -> dict[str, str]:
    """Versions of what matters, and the cores."""
    return {**versions_of(PACKAGES), "cpus": str(os.cpu_count())}


if __name__ == "__main__":
    from growth.cli import main

    main(["grow", *sys.argv[1:]])
