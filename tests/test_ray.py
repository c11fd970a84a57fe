"""Kossel on Ray: a real cluster, real actors, a real `ray job submit`; EMT as the oracle, a very small committee.

Whatever starts a cluster is in this file, which one process runs: two clusters at a time get into each other's way.
"""

import ctypes
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.io import read

from growth.actors import ActorSpec, check_resources, connect
from growth.config import load_config
from growth.errors import InputError
from growth.live import METRICS
from growth.make_dataset import read_benchmark
from growth.seeds import make_seed
from growth.simulator import init, replay
from oracle import Dataset
from oracle.durable import read_lines

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "growth" / "configs" / "al_emt.yaml"
SMALL = [
    "growth.n_atoms=16",
    "growth.hops_per_step=0",
    "growth.sites.max_candidates=5",
    "growth.sites.n_competing=3",
    "growth.sites.max_steps=30",
    "initial.n=14",
    "learner.network={n_members: 2, n_features: 8, n_steps: 1, n_directions: 4}",
    "learner.train.steps=60",
    "learner.update.steps=10",
    "certificate={path_steps: 2, site_steps: 1}",
]
pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def settings() -> list[str]:
    return [word for override in SMALL for word in ("--set", override)]


def assert_grown(run: Path, n_atoms: int = 16) -> None:
    """Both walkers are there, and their events rebuild them."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    seed = init(make_seed(load_config(DEMO).structure)).crystal
    for walker in range(2):
        lines = [e for e in events if e["walker"] == walker and e["fate"] != "rejected"]
        grown = read(run / "grown" / f"w{walker:02d}" / f"{lines[-1]['step']:06d}.extxyz")
        assert len(grown) == n_atoms
        assert np.array_equal(replay(seed, lines).positions, grown.positions)
    assert (run / "certificate.json").exists()


def free_ports(count: int) -> list[int]:
    """Ports below the range from which Ray's workers take theirs, so that a cluster beside this one is not met."""
    found: list[int] = []
    for port in range(7000 + os.getpid() % 1000, 9999):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a client of a small cluster with token authentication, ended by pid."""
    dashboard, agent, client, metrics, port = free_ports(5)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}",
        "KOSSEL_TEST_HEAD": f"127.0.0.1:{port}",
    }
    command = ["ray", "start", "--head", "--block", "--num-cpus=2", "--dashboard-host=127.0.0.1"]
    command += [f"--port={port}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    command += [f"--ray-client-server-port={client}", f"--metrics-export-port={metrics}"]
    # Ray's sockets lie in this folder, and the path of a socket has at most 107 bytes: pytest's own is too long.
    folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
    command += [f"--temp-dir={folder.name}"]
    head_environment = {key: value for key, value in environment.items() if key != "RAY_ADDRESS"}
    log = tmp_path_factory.mktemp("log") / "head.log"
    with log.open("w") as output:
        head = subprocess.Popen(
            command,
            env=head_environment,
            stdout=output,
            stderr=output,
            preexec_fn=_die_with_parent,  # noqa: PLW1509
        )
    try:
        _wait_for(environment, head, log)
        yield environment
    finally:
        head.send_signal(signal.SIGTERM)
        try:
            head.wait(30)
        except subprocess.TimeoutExpired:
            head.kill()
        folder.cleanup()


def _die_with_parent() -> None:
    """Have the kernel stop the head (PR_SET_PDEATHSIG = 1) when the tests are killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _wait_for(environment: dict[str, str], head: subprocess.Popen[bytes], log: Path) -> None:
    """Until a job that does nothing has gone through: the head takes jobs only some time after it answers."""
    for _ in range(60):
        command = ["ray", "job", "submit", "--", "true"]
        tried = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
        if tried.returncode == 0:
            return
        assert head.poll() is None, log.read_text()
        time.sleep(1)
    raise AssertionError(log.read_text())


def submit(
    cluster: dict[str, str], cwd: Path, options: list[str], entry: list[str]
) -> subprocess.CompletedProcess[str]:
    command = ["ray", "job", "submit", *options, "--", *entry]
    return subprocess.run(command, env=cluster, cwd=cwd, capture_output=True, text=True, timeout=400, check=False)


def test_job_from_an_unrelated_folder(cluster: dict[str, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    entry = ["python", str(ROOT / "growth" / "run.py"), str(DEMO), "--run-dir", str(run), *settings()]
    done = submit(cluster, tmp_path, [], entry)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert_grown(run)


def test_job_with_its_own_working_directory(cluster: dict[str, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    entry = ["python", "growth/run.py", "growth/configs/al_emt.yaml", "--run-dir", str(run), *settings()]
    done = submit(cluster, ROOT, ["--working-dir", "."], entry)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert_grown(run)


def test_relative_run_directory_in_a_job_copy_is_refused(cluster: dict[str, str]) -> None:
    done = submit(cluster, ROOT, ["--working-dir", "."], ["python", "growth/run.py", "--run-dir", "here"])
    assert done.returncode != 0
    assert "absolute" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"RAY_AUTH_TOKEN": ""}, "asks for a token and was given none"),
        ({"RAY_AUTH_TOKEN": 64 * "0"}, "no cluster at HERE that lets this process in"),
        ({"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": ""}, "no cluster at HERE that lets this process in"),
    ],
    ids=["no token", "another token", "no authentication"],
)
def test_a_cluster_lets_nobody_in_without_its_token(
    cluster: dict[str, str], tmp_path: Path, given: dict[str, str], words: str
) -> None:
    """With the token the tests above go through; without it there is one clear line, and from the dashboard a 401."""
    here = cluster["KOSSEL_TEST_HEAD"]
    environment = {key: value for key, value in {**cluster, "RAY_ADDRESS": here, **given}.items() if value}
    command = [sys.executable, "-m", "growth.cli", "grow", "--run-dir", str(tmp_path / "run"), *settings()]
    done = subprocess.run(
        command,
        env=environment | {"HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(told) == 1
    assert words.replace("HERE", here) in told[0]
    assert "Traceback" not in done.stderr
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{cluster['RAY_ADDRESS']}/api/jobs/", timeout=30)
    refused.value.close()
    assert refused.value.code == 401


def test_where_no_cluster_is_that_is_told_at_once(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    with pytest.raises(
        InputError, match=rf"no cluster at 127.0.0.1:{port} that lets this process in .ConnectionRefused"
    ):
        connect(f"127.0.0.1:{port}", None)


def test_more_actors_than_cpus_are_refused() -> None:
    specs = {"oracle": ActorSpec(object, (), 3, 0.5), "learner": ActorSpec(object, (), 1, 0.5)}
    check_resources(specs, {"CPU": 2.0})
    with pytest.raises(InputError, match=r"reserve 2 CPUs .oracle 3 x 0.5, learner 1 x 0.5. and the cluster has 1;"):
        check_resources(specs, {"CPU": 1.0})
    with pytest.raises(InputError, match=r"reserve 1 GPUs .surrogate 2 x 0.5. and the cluster has 0;"):
        check_resources({"surrogate": ActorSpec(object, (), 2, 0.0, 0.5)}, {"CPU": 1.0})


def on_nodes(scenario: str, *more: str, **environment_too: str) -> dict[str, Any]:
    """What a scenario of `tests/ray_nodes.py` comes to, in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "ray").mkdir()
        environment |= {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0", **environment_too}
        command = [sys.executable, str(ROOT / "tests" / "ray_nodes.py"), scenario, str(free_ports(1)[0]), *more]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_nodes_may_leave_and_join() -> None:
    """One of three is lost while its workers work: all is done once, the rest by others; a new one is made use of."""
    found = on_nodes("leave_and_join")
    assert found["refused"].startswith("ray: the actors reserve 2 bed (oracle 2 x 1) and the cluster has 0;")
    assert not found["errors"]
    assert sorted(number for number, _ in found["seen"]) == list(range(found["tasks"]))
    where = [node for _, node in found["seen"]]
    assert set(where[: found["n_before"]]) == {found["leaving"], found["staying"]}
    assert set(where[-20:]) == {found["joined"], found["staying"]}
    assert where[-20:].count(found["joined"]) > where[-20:].count(found["staying"])  # a replacement, and one more


@pytest.mark.slow
def test_a_campaign_over_three_nodes_outlives_one_and_uses_another(tmp_path: Path) -> None:
    found = on_nodes("campaign", json.dumps(SMALL), str(tmp_path))
    assert found["code"] == 0, found["log"]
    assert found["leaving"] in found["before"]
    assert found["joined"] in found["after"]
    assert found["steps"][1] > found["steps"][0]
    dataset = Dataset.read(tmp_path / "run" / "dataset")
    assert not dataset.verify()
    made = [line["uid"] for line in read_lines(tmp_path / "run" / "dataset" / "provenance.jsonl") if "uid" in line]
    assert sorted(made) == sorted(dataset.uids)
    assert (tmp_path / "run" / "certificate.json").exists()


def test_workers_that_die_that_do_not_start_and_on_nodes_with_other_versions() -> None:
    found = on_nodes("bad_workers")
    assert found["deadly"].startswith("lost by Ray after 3 retries")
    assert found["beside it"] == 5
    assert found["unmade"] == "ray: no oracle worker starts in 4 tries: RuntimeError: no licence for sleeping"
    assert re.fullmatch(
        r"ray: node \S+ has other versions than this process: ase \S+ \(here 0.1\); install the same everywhere",
        found["versions"],
    )


def test_prometheus_is_offered_what_the_logs_hold() -> None:
    """Gauges stand where the last lines leave them, counters have counted all of them, under the campaign's name."""
    found = on_nodes("monitored", json.dumps(SMALL), RAY_metrics_report_interval_ms="3000")
    pattern = re.compile(r"ray_(\w+)\{(.*)\} (\S+)")
    offered: dict[tuple[str, ...], float] = {}
    for line in found["lines"]:
        matched = pattern.fullmatch(line)
        assert matched is not None
        name, labels, value = matched.groups()
        assert r'run="Gr\\xf6\\xdfe"' in labels
        told = sorted(re.findall(r'(walker|fate|outcome|reason|verdict|quantity|role)="([^"]*)"', labels))
        if ',le="' not in labels:
            offered[name, *(value for _, value in told)] = float(value)
    expected: dict[tuple[str, ...], float] = {}
    for name, value, tags in found["figures"]:
        words = tuple(value for _, value in sorted(tags.items()))
        kind = METRICS[name].kind
        key = (f"{name}{ {'gauge': '', 'counter': '_total', 'histogram': '_count'}[kind] }", *words)
        expected[key] = value if kind == "gauge" else expected.get(key, 0.0) + (1.0 if kind == "histogram" else value)
    assert {key: offered.get(key) for key in expected} == pytest.approx(expected)
    assert offered["kossel_atoms", "01"] == 16
    assert offered["kossel_workers", "oracle"] == 1
    assert offered["kossel_queue", "surrogate"] == 0
    assert 0 < offered["kossel_busy_share", "oracle"] < 1


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("dataset/segments/*.extxyz", id="first model under way"),
        pytest.param("events.jsonl", id="first event written", marks=pytest.mark.slow),
    ],
)
def test_interrupted_and_continued(moment: str, tmp_path: Path) -> None:
    """SIGINT as soon as a file is there that matches `moment`; the same command finishes the run."""
    run = tmp_path / "run"
    command = [sys.executable, str(ROOT / "growth" / "run.py"), str(DEMO), "--run-dir", str(run), *settings()]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 240
    while not any(run.glob(moment)) and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert first.poll() is None
    first.send_signal(signal.SIGINT)
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 130, output[-3000:]
    assert "Traceback" not in output
    assert "the same command goes on from here" in output
    before = (run / "events.jsonl").read_text() if (run / "events.jsonl").exists() else ""
    labels = set(Dataset.read(run / "dataset").uids)
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False)
    assert second.returncode == 0, second.stdout[-3000:] + second.stderr[-3000:]
    assert (run / "events.jsonl").read_text().startswith(before[: before.rfind("\n") + 1])
    assert labels <= set(Dataset.read(run / "dataset").uids)
    assert_grown(run)


def make_dataset(words: Sequence[str], until: Path | None = None) -> int:
    """The command in a process of its own; stopped by SIGTERM as soon as the file `until` is there."""
    command = [str(Path(sys.executable).parent / "kossel"), "make-dataset", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 240
    while until is not None and not until.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if until is not None:
        process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=400)
    assert "Traceback" not in output, output[-3000:]
    assert (process.returncode == 130) == ("the same command goes on from here" in output), output[-3000:]
    return process.returncode


def content(directory: Path) -> dict[str, bytes]:
    """Every file but those in which two runs differ: when it ran, and where."""
    files = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in ("provenance.jsonl", ".lock")}


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_make_dataset_by_one_worker_two_and_two_that_were_stopped(tmp_path: Path) -> None:
    (tmp_path / "emt.yaml").write_text("kind: emt\n")
    words = ["infinite-crystal", "--limit", "600", "--method", str(tmp_path / "emt.yaml")]
    one, two, stopped = (tmp_path / name for name in ("one", "two", "stopped"))
    assert make_dataset([*words, "--workers", "1", "--out", str(one)]) == 0
    assert make_dataset([*words, "--workers", "2", "--out", str(two)]) == 0
    first_segment = stopped / "segments" / "000000.extxyz"
    assert make_dataset([*words, "--workers", "2", "--out", str(stopped)], until=first_segment) == 130
    assert 0 < len(Dataset.read(stopped)) < 1200
    assert make_dataset([*words, "--workers", "2", "--out", str(stopped)]) == 0
    assert content(one) == content(two) == content(stopped)
    assert len(read_benchmark(one)) == 1200
