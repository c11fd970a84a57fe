"""Scenarios on a cluster on this machine: `python tests/ray_nodes.py SCENARIO PORT [MORE]` prints JSON.

Run by `test_ray.py`, each in a process of its own, which is the driver.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ray
from ray.cluster_utils import Cluster

import growth.run
from growth import actors
from growth.actors import ActorSpec, RayPool
from growth.config import load_config
from growth.errors import InputError
from growth.live import METRICS, Figure, Follower, pool_figures
from growth.pool import SerialPool, Task
from oracle.durable import read_lines

TASKS = 150


class Sleeper:
    """A worker that says which node it sleeps on; some cannot be made."""

    def __init__(self, seconds: float, fails: bool = False) -> None:
        if fails:
            raise RuntimeError("no licence for sleeping")
        self.seconds = seconds

    def sleep(self, number: int) -> tuple[int, str]:
        time.sleep(self.seconds)
        return number, ray.get_runtime_context().get_node_id()

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def close(self) -> None: ...


def refusal(pool: RayPool) -> str:
    """What a pool says that cannot go on."""
    try:
        pool.submit(Task("oracle", "sleep", "x", (5,)))
        while pool.pending():
            pool.wait(120)
    except InputError as error:
        return str(error)
    finally:
        pool.close()
    return ""


def leave_and_join(cluster: Cluster) -> dict[str, Any]:
    """One of three nodes is lost while workers work, and one joins."""
    bed = {"oracle": ActorSpec(Sleeper, (0.4,), 2, 0.5, resources={"bed": 1.0}, most=3)}
    try:
        refused = refusal(RayPool(bed))
    except InputError as error:
        refused = str(error)
    leaving, staying = (cluster.add_node(num_cpus=1, resources={"bed": 1}) for _ in range(2))
    pool, n_tasks = RayPool(bed), 0

    def submit(n: int) -> None:
        nonlocal n_tasks
        for number in range(n_tasks, n_tasks + n):
            pool.submit(Task("oracle", "sleep", str(number), (number,)))
        n_tasks += n

    submit(8)
    seen: list[tuple[int, str]] = []
    errors, joined, n_before = [], None, 0
    while pool.pending():
        for done in pool.wait(60):
            if done.error:
                errors.append(done.error)
                continue
            seen.append(done.result)
            if joined is None:  # both are at work before one is lost, however late its worker came up
                submit(1)
        if joined is None and {node for _, node in seen} == {leaving.node_id, staying.node_id}:
            cluster.remove_node(leaving, allow_graceful=False)
            joined = cluster.add_node(num_cpus=2, resources={"bed": 2})
            n_before = len(seen)
            submit(TASKS)
    pool.close()
    assert joined is not None
    names = {"leaving": leaving.node_id, "staying": staying.node_id, "joined": joined.node_id}
    return {**names, "tasks": n_tasks, "seen": seen, "n_before": n_before, "errors": errors, "refused": refused}


def bad_workers(cluster: Cluster) -> dict[str, Any]:
    """A task that kills whoever does it, workers that cannot be made, and a node with other versions."""
    cluster.add_node(num_cpus=2)
    pool = RayPool({"oracle": ActorSpec(Sleeper, (0.0,), 1, 0.5)})
    pool.submit(Task("oracle", "die", "a"))
    pool.submit(Task("oracle", "sleep", "b", (5,)))
    done = {}
    while pool.pending():
        done |= {finished.task.key: finished for finished in pool.wait(120)}
    pool.close()
    unmade = refusal(RayPool({"oracle": ActorSpec(Sleeper, (0.0, True), 1, 0.5)}))
    actors.versions = lambda: {"ase": "0.1", "python": sys.version.split()[0], "gone": "1"}
    versions = refusal(RayPool({"oracle": ActorSpec(Sleeper, (0.0,), 1, 0.5)}))
    return {"deadly": done["a"].error, "beside it": done["b"].result[0], "unmade": unmade, "versions": versions}


def offered() -> list[str]:
    """What the nodes offer to Prometheus of Kossel's, line by line."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    addresses = [f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics" for node in ray.nodes()]
    texts = [opener.open(address, timeout=10).read().decode() for address in addresses]
    return [line for text in texts for line in text.splitlines() if line.startswith("ray_kossel_")]


class WatchedPool(RayPool):
    """A pool that does not close before the nodes offer all that the logs have counted."""

    run: ClassVar[Path]
    figures: ClassVar[list[Figure]] = []
    lines: ClassVar[list[str]] = []

    def close(self) -> None:
        Follower(self.run, self.figures.append)(self)
        counted, gauges = Counter[str](), set[str]()
        for figure in self.figures:
            if METRICS[figure.name].kind == "counter":
                counted[f"ray_{figure.name}_total"] += int(figure.value)
            elif METRICS[figure.name].kind == "gauge":
                gauges.add(f"ray_{figure.name}")
        until, offers = time.monotonic() + 120, Counter[str]()  # Ray hands its metrics over now and then
        while time.monotonic() < until and not (gauges <= set(offers) and counted.items() <= offers.items()):
            self.watch(self)
            time.sleep(0.5)
            self.lines[:] = offered()
            offers = Counter()
            for line in self.lines:
                offers[line.split("{")[0]] += int(float(line.split()[-1]))
        super().close()


def monitored(cluster: Cluster) -> dict[str, Any]:
    """A campaign on Ray: what its logs hold in the end, and what the nodes then offer to Prometheus."""
    shares = ["oracle.num_cpus=0.3", "surrogate.num_cpus=0.3", "learner.num_cpus=0.3", "name=Größe"]
    demo = actors.ROOT / "growth" / "configs" / "al_emt.yaml"
    growth.run.RayPool = WatchedPool  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        WatchedPool.run = Path(folder) / "run"
        growth.run.launch(load_config(demo, [*json.loads(sys.argv[3]), *shares]), WatchedPool.run)
    of_pool = {figure.name for figure in pool_figures(SerialPool({}), 1.0)}
    told = [figure for figure in WatchedPool.figures if figure.name not in of_pool]
    return {"figures": told, "lines": WatchedPool.lines}


def living(name: str) -> set[str]:
    """Nodes on which actors of a class live."""
    known = ray._private.state.actors().values()
    return {a["Address"]["NodeID"] for a in known if a["ActorClassName"] == name and a["State"] == "ALIVE"}


def campaign(cluster: Cluster) -> dict[str, Any]:
    """A campaign over three nodes, of which one is lost in mid-run, and another joins."""
    leaving, staying = (cluster.add_node(num_cpus=1, resources={"bed": 1}) for _ in range(2))
    given = [*json.loads(sys.argv[3]), f"ray.address={cluster.address}", "oracle.resources={bed: 1}"]
    given += ["oracle.actors=2", "oracle.most_actors=3", "growth.n_atoms=20"]
    given += [f"{part}.num_cpus=0.3" for part in ("oracle", "surrogate", "learner")]
    run, log = Path(sys.argv[4]) / "run", Path(sys.argv[4]) / "log"
    sets = [word for override in given for word in ("--set", override)]
    demo = str(actors.ROOT / "growth" / "configs" / "al_emt.yaml")
    command = [sys.executable, str(actors.ROOT / "growth" / "run.py"), demo, "--run-dir", str(run), *sets]
    with log.open("wb") as file:
        driver = subprocess.Popen(command, stdout=file, stderr=file)
    before, after, steps, joined = set[str](), set[str](), 0, None
    while driver.poll() is None:
        time.sleep(0.2)
        steps = len(read_lines(run / "events.jsonl")) if (run / "events.jsonl").exists() else 0
        if joined is not None:
            after |= living("Oracle")
        elif steps >= 3:
            before = living("Oracle")
            cluster.remove_node(leaving, allow_graceful=False)
            joined, at = cluster.add_node(num_cpus=2, resources={"bed": 2}), steps
    assert joined is not None, log.read_text()
    nodes = {"leaving": leaving.node_id, "staying": staying.node_id, "joined": joined.node_id}
    told = {"code": driver.returncode, "log": log.read_text()[-3000:], "steps": (at, steps)}
    return {**nodes, **told, "before": sorted(before), "after": sorted(after - {leaving.node_id})}


def main() -> None:
    """Run one scenario."""
    scenarios = {each.__name__: each for each in (leave_and_join, bad_workers, monitored, campaign)}
    scenario, port = scenarios[sys.argv[1]], int(sys.argv[2])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "gcs_server_port": port})
    here = os.pathsep.join([str(actors.ROOT), str(Path(__file__).parent)])
    try:
        ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": here}})
        found = scenario(cluster)
    finally:
        ray.shutdown()
        cluster.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    from ray_nodes import main  # so that workers find its classes by the module's name

    main()
