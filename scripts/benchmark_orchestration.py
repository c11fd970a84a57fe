"""What it costs to keep oracles busy: the real loop on Ray, with oracles that sleep and surrogates that cost nothing.

    python scripts/benchmark_orchestration.py                 (some minutes; a process for each oracle)
    python scripts/benchmark_orchestration.py --part weak --oracles 4 8 --labels 20      (a minute)

`weak`: so many oracles that sleep 1 s a label, four walkers to each, in four processes: how busy the oracles are, what
share of a core the driver takes. `memory`: one crystal's worth of fast steps, none of them labelled: how the driver's
memory grows with the steps.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.actors import ActorSpec, RayPool
from growth.config import Config, load_config
from growth.loop import Campaign
from growth.pool import Pool
from growth.run_directory import RunDirectory
from growth.seeds import make_seed
from oracle import Dataset, Method
from oracle.durable import write_whole
from scripts.markdown import table
from scripts.orchestration.parts import FakeLearner, FakeSurrogate, SleepingOracle

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
COMMAND = "python scripts/benchmark_orchestration.py"
PROCESSES = 4
WALKERS_PER_ORACLE = 4
SECONDS = 1.0

Found = dict[str, Any]


def settings(walkers: int, steps: int, *more: str) -> Config:
    """Hops of one atom; costly labels, one a step."""
    given = [
        f"walkers={walkers}",
        "growth.n_atoms=1000",
        "growth.hops_per_step=1000000",
        f"growth.max_events={steps}",
        "oracle.method={kind: gpaw, preset: lcao-fast}",
        "oracle.num_cpus=0",
        "initial.n=20",
        "learner.labels_per_update=1000000",
        "budget={}",
        "ask={arm: everything, sites_per_query: 1, max_attempts: 0, speculate: 0}",
        *more,
    ]
    return load_config(ROOT / "growth" / "configs" / "al_emt.yaml", given)


def pool_of(config: Config, oracles: int, seconds: float) -> RayPool:
    """Parts that cost nothing but sleep."""
    sleeping = ActorSpec(SleepingOracle, (config.oracle.method, seconds), oracles, 0.0)
    return RayPool(
        {
            "oracle": sleeping,
            "surrogate": ActorSpec(FakeSurrogate, (), PROCESSES, 0.0),
            "learner": ActorSpec(FakeLearner, (), 1, 0.0),
        }
    )


def run(config: Config, pool: Pool, report: Callable[[dict[str, Any]], None]) -> None:
    """A campaign in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(Path(folder) / "run")
        with Dataset.open(directory.path / "dataset", method=Method.from_dict(config.oracle.method)) as dataset:
            Campaign(config, directory, dataset, pool, make_seed(config.structure), report).run()
        directory.close()


class Stopwatch:
    """Labels by time, and the driver's own time, from the first step to the last that finds all oracles busy."""

    def __init__(self, skip: int, last: int) -> None:
        self._skip, self._last, self._n = skip, last, 0
        self.begin: tuple[float, float] | None = None
        self.end: tuple[float, float] | None = None

    def __call__(self, line: dict[str, Any]) -> None:
        if line["what"] == "step":
            self._n += 1
            if self._n == self._skip:
                self.begin = (time.perf_counter(), time.process_time())
            if self._n == self._last:
                self.end = (time.perf_counter(), time.process_time())

    def measured(self, oracles: int) -> Found:
        """Utilisation of the oracles, and cores that the driver takes."""
        assert self.begin is not None
        assert self.end is not None
        wall, own = self.end[0] - self.begin[0], self.end[1] - self.begin[1]
        labels = self._last - self._skip
        busy = labels * SECONDS / (oracles * wall)
        return {"oracles": oracles, "labels": labels, "wall_s": wall, "busy": busy, "driver": own / wall}


def weak(oracles: int, labels_each: int) -> Found:
    """So many oracles, and so many labels for each."""
    walkers = WALKERS_PER_ORACLE * oracles
    steps = max(2, labels_each // WALKERS_PER_ORACLE)
    config = settings(walkers, steps)
    pool = pool_of(config, oracles, SECONDS)
    total = walkers * steps
    watch = Stopwatch(2 * oracles, total - 2 * oracles)
    run(config, pool, watch)
    pool.close()
    return watch.measured(oracles)


def memory(steps: int) -> Found:
    """Resident memory of the driver every hundred steps; slope with its standard error, kB a thousand steps."""
    walkers = 16
    config = settings(walkers, steps // walkers, "ask={arm: nothing}")
    pool = pool_of(config, 1, 0.0)
    process, done = psutil.Process(), 0
    seen = np.zeros((steps // 100, 3))  # all there at once: nothing of the benchmark's own grows

    def look(line: dict[str, Any]) -> None:
        nonlocal done
        if line["what"] == "step":
            done += 1
            if done % 100 == 0:
                seen[done // 100 - 1] = done, process.memory_info().rss / 1024, time.perf_counter()

    run(config, pool, look)
    pool.close()
    seen = seen[: done // 100]
    n, kb, _ = seen[len(seen) // 5 :].T  # without what is loaded at first
    coefficients, covariance = np.polyfit(n / 1000, kb, 1, cov=True)
    tenth = len(seen) // 10
    rates = [100 * tenth / (seen[k + tenth, 2] - seen[k, 2]) for k in (0, len(seen) - tenth - 1)]
    return {
        "steps": done,
        "slope": float(coefficients[0]),
        "slope_error": float(np.sqrt(covariance[0, 0])),
        "memory_mb": float(kb[-1] / 1024),
        "steps_per_s_early": rates[0],
        "steps_per_s_late": rates[1],
    }


def page(found: Found) -> str:
    """The results as Markdown."""
    lines = ["# What it costs to keep oracles busy", "", " ".join((__doc__ or "").split("\n\n")[0].split()), ""]
    lines += [
        " ".join((__doc__ or "").split("\n\n")[-1].split()),
        "",
        f"`{found['command']}`, {found['cores']} cores.",
        "",
    ]
    if found.get("weak"):
        rows = [
            [
                str(row["oracles"]),
                str(WALKERS_PER_ORACLE * row["oracles"]),
                str(row["labels"]),
                f"{100 * row['busy']:.1f} %",
                f"{row['labels'] / row['wall_s']:.1f}",
                f"{row['driver']:.2f}",
            ]
            for row in found["weak"]
        ]
        lines += table(["oracles", "walkers", "labels", "oracles busy", "labels/s", "cores of the driver"], rows)
    if found.get("memory"):
        m = found["memory"]
        lines += [
            f"{m['steps']} fast steps: the driver's memory grows by {m['slope']:.0f} ± {m['slope_error']:.0f} kB a "
            f"thousand steps, to {m['memory_mb']:.0f} MB; {m['steps_per_s_early']:.0f} steps/s in the first tenth of "
            f"them, {m['steps_per_s_late']:.0f} in the last.",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["weak", "memory"], action="append", help="default: both")
    parser.add_argument("--oracles", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--labels", type=int, default=60, help="for each oracle")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for orchestration.json and orchestration.md")
    given = parser.parse_args()
    ray.init(
        num_cpus=os.cpu_count(),
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}},
    )
    store = given.out / "orchestration.json"
    found: Found = json.loads(store.read_text()) if store.exists() else {}
    found["cores"] = os.cpu_count()
    oracles = " ".join(map(str, given.oracles))
    found["command"] = f"{COMMAND} --oracles {oracles} --labels {given.labels} --steps {given.steps}"
    for part in given.part or ["memory", "weak"]:  # memory first, in a young process
        found[part] = [weak(n, given.labels) for n in given.oracles] if part == "weak" else memory(given.steps)
        print(part, json.dumps(found[part], indent=1), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    write_whole(store, json.dumps(found, indent=1) + "\n")
    write_whole(given.out / "orchestration.md", page(found))
    ray.shutdown()


if __name__ == "__main__":
    main()
