"""Planted problems are found, each with what to do; a machine in order has none."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ase.build import bulk
from filelock import FileLock

from growth import doctor
from growth.cli import main
from growth.doctor import Finding
from growth.run_directory import RunDirectory
from oracle import Dataset, Method, label

NOBODY = "http://127.0.0.1:9"


def server(code: int) -> HTTPServer:
    """Answers everything with one status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    made = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return made


@pytest.fixture
def answering() -> Iterator[dict[int, str]]:
    """Addresses of servers that answer 200 and 401."""
    servers = {code: server(code) for code in (200, 401)}
    yield {code: f"http://127.0.0.1:{each.server_port}" for code, each in servers.items()}
    for each in servers.values():
        each.shutdown()
        each.server_close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with two labels."""
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    (path / "config.yaml").write_text("name: run\n")
    (path / "provenance.jsonl").write_text(
        json.dumps({"what": "start", "versions": {"numpy": doctor._version("numpy")}}) + "\n"
    )
    method = Method.from_dict({"kind": "emt"})
    with Dataset.open(path / "dataset", method=method) as dataset:
        dataset.add([s for s in label([bulk("Al", a=a) for a in (4.0, 4.1)], method) if not isinstance(s, str)])
    return path


def bad(findings: Iterator[Finding]) -> list[Finding]:
    found = [finding for finding in findings if finding.state == "bad"]
    assert all(finding.remedy for finding in found)
    return found


def test_a_machine_in_order(tmp_path: Path, run: Path, answering: dict[int, str]) -> None:
    private = tmp_path / "ray"
    private.mkdir(mode=0o700)
    environment = {
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "x",
        "RAY_ADDRESS": answering[401],
        "RAY_TMPDIR": str(private),
    }
    found = doctor.examine(environment, run)
    wrong = [finding for finding in found if finding.state == "bad" and finding.what not in ("Ray's folder", "GPAW")]
    assert not wrong
    assert {"packages", "PAW data", "Ray's token", "its dataset"} <= {f.what for f in found if f.state == "good"}


@pytest.mark.parametrize(
    ("environment", "look", "said"),
    [
        ({"GPAW_SETUP_PATH": "/nowhere"}, "gpaw_build", "/nowhere"),
        ({"PMI_SIZE": "4", "PMI_RANK": "0"}, "mpi_variables", "PMI_SIZE"),
        ({"RAY_ADDRESS": NOBODY}, "authentication", "not token"),
        ({"RAY_AUTH_MODE": "token", "HOME": "/nowhere"}, "authentication", "/nowhere/.ray/auth_token"),
        ({"RAY_ADDRESS": NOBODY}, "dashboard", "nobody answers"),
        ({"RAY_TMPDIR": "/tmp/" + "x" * 80}, "ray_folder", "85 characters"),
        ({"RAY_TMPDIR": "/nowhere"}, "ray_folder", "cannot be written"),
    ],
)
def test_planted_in_the_environment(environment: dict[str, str], look: str, said: str) -> None:
    (found,) = bad(getattr(doctor, look)(environment))
    assert said in found.seen


@pytest.mark.parametrize("given", ["0", "many", "64"])
def test_planted_threads(given: str) -> None:
    (found,) = bad(doctor.threads({"OMP_NUM_THREADS": given}, 2))
    assert given in found.seen


@pytest.mark.parametrize(("wanted", "said"), [("numpy>=99", "wanted >=99"), ("no-such-package", "not installed")])
def test_planted_packages(wanted: str, said: str) -> None:
    (found,) = bad(doctor.python_and_packages(["ase>=3", 'nothing; extra == "dev"', wanted]))
    assert said in found.seen and "ase" not in found.seen


def test_planted_ray_without_a_token(answering: dict[int, str]) -> None:
    (found,) = bad(doctor.dashboard({"RAY_ADDRESS": answering[200]}))
    assert "without a token" in found.seen
    assert not bad(doctor.dashboard({"RAY_ADDRESS": answering[401]}))


def test_planted_token_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("x")
    path.chmod(0o644)
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}
    (found,) = bad(doctor.authentication(environment))
    assert "read by others" in found.seen
    path.chmod(0o600)
    assert not bad(doctor.authentication(environment))


def test_planted_full_disk_and_few_files(tmp_path: Path) -> None:
    found = bad(doctor.space({"disk": tmp_path}, least_gb=1e6, shared=tmp_path / "none"))
    assert [finding.what for finding in found] == ["disk"]
    assert bad(doctor.limits(256))


def test_planted_in_a_run_directory(run: Path, tmp_path: Path) -> None:
    assert not bad(doctor.run_directory(run))
    (segment,) = (run / "dataset" / "segments").glob("*.extxyz")
    content = segment.read_bytes()
    segment.write_bytes(content[:-9] + b"1" + content[-8:])
    (found,) = bad(doctor.run_directory(run))
    assert found.what == "its dataset" and segment.name in found.seen
    segment.write_bytes(content)
    with FileLock(run / ".lock"):
        assert "a process works on it" in [finding.seen for finding in doctor.run_directory(run)]
    (run / "provenance.jsonl").write_text(json.dumps({"what": "start", "versions": {"numpy": "0.1"}}) + "\n")
    assert any("numpy 0.1" in finding.seen for finding in doctor.run_directory(run))
    assert bad(doctor.run_directory(tmp_path))


def test_planted_damage_in_a_run_directory(run: Path) -> None:
    """A log, the checkpoint and a model are told of in one finding, and stay as they are."""
    directory = RunDirectory(run)
    directory.append("events", {"step": 1}, {"step": 2})
    directory.write_checkpoint({"elapsed_s": 1.0})
    directory.save_model(1, {"model.json": b"{}"})
    directory.close()
    assert not bad(doctor.run_directory(run))
    for name in ("events.jsonl", "state/checkpoint.json", "models/v0001/model.json"):
        (run / name).write_bytes((run / name).read_bytes()[:-2] + b"x\n")
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    (found,) = bad(doctor.run_directory(run))
    assert found.what == "its files"
    for said in ("events.jsonl: damaged line 2", "checkpoint.json: damaged", "v0001: files do not match"):
        assert said in found.seen
    assert files == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_failed_labels_are_told(tmp_path: Path) -> None:
    method = Method.from_dict({"kind": "emt"})
    with Dataset.open(tmp_path / "labels", method=method) as dataset:
        close = bulk("Al", cubic=True)
        close.positions[1] = close.positions[0] + 0.1
        dataset.add_failures(label([close], method))  # type: ignore[arg-type]
    (found,) = doctor.dataset(tmp_path / "labels", "labels")
    assert found.state == "note" and "kossel dataset retry" in found.remedy


def test_the_exit_code_tells(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GPAW_SETUP_PATH", "/nowhere")
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", str(run), "--json"])
    assert stopped.value.code == 1
    told = json.loads(capsys.readouterr().out)
    assert next(each["what"] for each in told if each["state"] == "bad") == "PAW data"
