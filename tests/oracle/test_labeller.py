"""Labels: right, in order, and never lost to a bad neighbour, a hang, a crash or a killed parent."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from oracle import FailedLabel, InputError, Labeller, LabelSettings, Method, label, uid, worker
from oracle.batch import BatchWorker
from oracle.outcome import RawFailure, RawLabel
from oracle.runner import LabelRunner, clean_environment, read_result

POISON = """
    import os, subprocess, sys, time
    from ase.calculators.emt import EMT
    calculate = EMT.calculate
    class KohnShamConvergenceError(Exception): pass
    def poisoned(self, atoms, *arguments, **keywords):
        print("chatter that must not reach the replies", flush=True)
        first = atoms.symbols[0]
        if first == "Au":
            with open(os.environ["PIDS"], "a") as file:
                file.write(f"{os.getpid()}\\n")
            if len(open(os.environ["PIDS"]).readlines()) <= int(os.environ.get("DEATHS", "0")):
                os.kill(os.getpid(), 9)
        if first == "He":
            child = subprocess.Popen(["sleep", "600"])
            with open(os.environ["PIDS"], "a") as file:
                file.write(f"{os.getpid()}\\n{child.pid}\\n")
            time.sleep(600)
        if first == "Ne":
            os._exit(3)
        if first == "Ar":
            raise KohnShamConvergenceError
        if first == "Kr":
            os.kill(os.getpid(), 11)
        calculate(self, atoms, *arguments, **keywords)
        if first == "N":
            self.results["energy"] = float("nan")
        if first == "O":
            self.results["forces"][:] = 1e4
    EMT.calculate = poisoned
"""


@pytest.fixture
def poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have EMT in child processes hang on He, exit on Ne, not converge on Ar, crash on Kr, and be killed the first
    `DEATHS` times on Au; return the file of pids."""
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(POISON))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    return tmp_path / "pids"


def pair(species: str) -> Atoms:
    return Atoms([species, "Al"], [[0, 0, 0], [0, 0, 2.6]])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pids: list[int], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still there: {[pid for pid in pids if alive(pid)]}"
        time.sleep(0.05)


def read_pids(path: Path, count: int = 2) -> list[int]:
    deadline = time.monotonic() + 60
    while not path.exists() or len(path.read_text().split()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return [int(line) for line in path.read_text().split()]


def test_labels_are_those_of_the_calculator(structures, labels, emt):
    for structure, labelled in zip(structures, labels, strict=True):
        direct = structure.copy()
        direct.calc = EMT()
        assert labelled.get_potential_energy() == pytest.approx(direct.get_potential_energy(), abs=1e-12)
        assert np.allclose(labelled.get_forces(), direct.get_forces(), atol=1e-12)
        assert labelled.info["REF_energy"] == labelled.calc.results["energy"]
        assert labelled.info["REF_free_energy"] == labelled.calc.results["free_energy"]
        assert labelled.info["method_hash"] == emt.hash
        assert labelled.info["uid"] == uid(structure, emt.hash)
        assert labelled.info["converged"] is True
        assert structure.calc is None
        assert "uid" not in structure.info
    assert labels[0].info["config_type"] == "seed"


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "lj", "epsilon": 0.3, "sigma": 2.4},
        {"kind": "ase", "calculator": "morse", "settings": {"r0": 2.8, "epsilon": 0.4}},
        {"kind": "ase", "calculator": "emt"},
    ],
)
def test_every_cheap_method_labels(data, cluster):
    method = Method.from_dict(data)
    outcome = label([cluster], method)[0]
    direct = cluster.copy()
    direct.calc = method.calculator(direct)
    assert outcome.info["REF_energy"] == outcome.info["REF_free_energy"] == direct.get_potential_energy()
    assert np.array_equal(outcome.get_forces(), direct.get_forces())


def test_a_calculator_that_is_not_there_fails_with_its_name(cluster):
    outcome = label([cluster], Method.from_dict({"kind": "ase", "calculator": "hotbit"}))[0]
    assert isinstance(outcome, FailedLabel)
    assert "calculator 'hotbit' is not installed" in outcome.detail


def test_forces_are_raw_whatever_is_fixed(cluster, emt):
    fixed = cluster.copy()
    fixed.set_constraint(FixAtoms([0, 1]))
    outcome = label([fixed], emt)[0]
    direct = cluster.copy()
    direct.calc = EMT()
    assert np.allclose(outcome.arrays["REF_forces"], direct.get_forces())


def test_poison_does_not_lose_the_others(poison, emt):
    bad = pair("Al")
    bad.positions[0, 0] = np.nan
    batch = [
        pair("Al"),
        bad,
        pair("He"),
        pair("Cu"),
        pair("Ne"),
        pair("Ar"),
        pair("Kr"),
        pair("Fe"),
        pair("N"),
        pair("O"),
    ]
    batch += [pair("Al")]
    with Labeller(emt, LabelSettings(cheap_timeout_s=3)) as labeller:
        outcomes = labeller(batch)
        again = labeller([pair("Al")])[0]
    wanted = [
        None,
        "gate_before",
        "timeout",
        None,
        "crash",
        "not_converged",
        "crash",
        "crash",
        "gate_after",
        "gate_after",
        None,
    ]
    assert [outcome.reason if isinstance(outcome, FailedLabel) else None for outcome in outcomes] == wanted
    assert outcomes[0].info["REF_energy"] == outcomes[-1].info["REF_energy"] == again.info["REF_energy"]
    assert "No EMT-potential for Fe" in outcomes[7].detail
    wait_until_gone(read_pids(poison))


def test_progress_comes_as_labels_come(emt, structures):
    seen = []
    with Labeller(emt) as labeller:
        labeller(structures, progress=lambda index, outcome: seen.append((index, type(outcome))))
    assert seen == [(index, Atoms) for index in range(len(structures))]


def test_a_worker_that_died_between_two_batches_is_replaced(emt, cluster):
    with Labeller(emt) as labeller:
        first = labeller([cluster])[0]
        labeller._batch._process.kill()
        labeller._batch._process.wait()
        assert labeller([cluster])[0].info["REF_energy"] == first.info["REF_energy"]


@pytest.mark.parametrize("costly", [True, False])
@pytest.mark.parametrize("deaths", [2, 3])
def test_what_something_outside_kills_is_begun_anew(poison, emt, monkeypatch, costly, deaths):
    monkeypatch.setattr(type(emt), "cheap", property(lambda self: not costly))
    monkeypatch.setenv("DEATHS", str(deaths))
    with Labeller(emt, LabelSettings(tries=3)) as labeller:
        outcomes = labeller([pair("Cu"), pair("Au"), pair("Al")])
    assert isinstance(outcomes[0], Atoms)
    assert isinstance(outcomes[2], Atoms)
    assert len(read_pids(poison, 3)) == 3
    if deaths < 3:
        assert outcomes[1].info["REF_energy"] == label([pair("Au")], emt)[0].info["REF_energy"]
    else:
        assert outcomes[1].reason == "crash"


def test_a_worker_that_is_killed_while_it_starts_is_started_anew(emt, monkeypatch):
    started, popen = [], subprocess.Popen

    def start(*arguments, **keywords):
        child = popen(*arguments, **keywords)
        started.append(child)
        if len(started) <= 2:
            child.kill()
        return child

    monkeypatch.setattr("oracle.batch.subprocess.Popen", start)
    with Labeller(emt) as labeller:
        assert isinstance(labeller([pair("Cu")])[0], Atoms)
    assert len(started) == 3


def test_a_worker_that_cannot_start_says_so_at_once(emt, monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    with Labeller(emt) as labeller, pytest.raises(RuntimeError, match="does not start"):
        labeller([pair("Cu")])


def test_an_interrupted_batch_leaves_no_stale_replies(emt, structures):
    class StopError(Exception):
        pass

    def stop(index, outcome):
        raise StopError

    with Labeller(emt) as labeller:
        with pytest.raises(StopError):
            labeller(structures, progress=stop)
        assert labeller([Atoms("Cu")])[0].info["REF_energy"] == label([Atoms("Cu")], emt)[0].info["REF_energy"]


def test_a_label_process_times_out_with_all_its_children(poison, emt, tmp_path):
    runner = LabelRunner(emt, LabelSettings(timeout_s=8), tmp_path / "scratch")  # imports take 4 on a busy machine
    result = runner(pair("He"))
    assert isinstance(result, RawFailure)
    assert result.reason == "timeout"
    wait_until_gone(read_pids(poison), 2)
    assert list((tmp_path / "scratch").glob("label-*/output.txt"))


@pytest.mark.parametrize(
    ("species", "reason", "words"),
    [
        ("Ne", "crash", "exit status 3"),
        ("Kr", "crash", "signal 11"),
        ("Ar", "not_converged", "KohnShamConvergenceError"),
        ("Fe", "crash", "No EMT-potential for Fe"),
    ],
)
def test_a_label_process_fails_with_a_reason(poison, emt, species, reason, words):
    result = LabelRunner(emt, LabelSettings())(pair(species))
    assert isinstance(result, RawFailure)
    assert result.reason == reason
    assert words in result.detail


def test_a_label_process_labels(emt, cluster, labels, tmp_path):
    result = LabelRunner(emt, LabelSettings(), tmp_path)(cluster)
    assert isinstance(result, RawLabel)
    assert result.energy == labels[0].info["REF_energy"]
    assert np.array_equal(result.forces, labels[0].arrays["REF_forces"])
    assert result.provenance["wall_time_s"] >= 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["oracle", "ase"])
def test_what_lies_where_it_starts_does_not_shadow_a_package(emt, cluster, labels, tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    monkeypatch.chdir(tmp_path)
    assert isinstance(label([cluster], emt)[0], Atoms)
    runner = LabelRunner(emt, LabelSettings(), tmp_path / "scratch")
    assert isinstance(runner(cluster), RawLabel)


@pytest.mark.parametrize("costly", [True, False])
def test_a_killed_parent_leaves_no_orphan(poison, costly):
    program = """
        import os, sys
        from pathlib import Path
        from ase import Atoms
        from oracle import LabelSettings, Method
        from oracle.batch import BatchWorker
        from oracle.runner import LabelRunner
        run = LabelRunner if sys.argv[1] == "True" else BatchWorker
        structure = Atoms("HeAl", [[0, 0, 0], [0, 0, 2.6]])
        scratch = [Path(os.environ["PIDS"]).parent] if run is LabelRunner else []
        worker = run(Method.from_dict({"kind": "emt"}), LabelSettings(), *scratch)
        print(worker(structure) if run is LabelRunner else list(worker([structure])))
    """
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], root])}
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), str(costly)], env=environment)
    pids = read_pids(poison)
    assert all(alive(pid) for pid in pids)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until_gone(pids if costly else pids[:1])
    if not costly:  # no cheap method starts children of its own
        os.kill(pids[1], signal.SIGKILL)


def test_a_scratch_folder_that_vanishes(poison, emt, tmp_path):
    """Between two labels it is made anew; under a label, that one fails and the next goes well."""
    scratch = tmp_path / "scratch"
    runner = LabelRunner(emt, LabelSettings(tries=1), scratch)
    scratch.rmdir()
    assert isinstance(runner(pair("Cu")), RawLabel)
    results = []
    thread = threading.Thread(target=lambda: results.append(runner(pair("He"))))
    thread.start()
    pids = read_pids(poison)
    shutil.rmtree(scratch)
    os.kill(pids[0], signal.SIGKILL)
    thread.join(20)
    assert results == [RawFailure("crash", results[0].detail, killed=True)]
    assert "its folder is gone" in results[0].detail
    assert isinstance(runner(pair("Cu")), RawLabel)
    wait_until_gone(pids)


def test_close_kills_what_runs(poison, emt):
    runner = LabelRunner(emt, LabelSettings())
    results = []
    thread = threading.Thread(target=lambda: results.append(runner(pair("He"))))
    thread.start()
    pids = read_pids(poison)
    runner.close()
    thread.join(10)
    assert isinstance(results[0], RawFailure)
    wait_until_gone(pids)


def test_costly_labels_in_parallel_keep_their_order(emt, structures, labels, monkeypatch):
    monkeypatch.setattr(type(emt), "cheap", property(lambda self: False))
    for n_parallel in (1, 2):
        outcomes = label(structures[:3], emt, LabelSettings(n_parallel=n_parallel))
        assert [o.info["REF_energy"] for o in outcomes] == [o.info["REF_energy"] for o in labels[:3]]


def test_the_ladder_is_climbed_until_one_rung_holds(monkeypatch, cluster):
    class ConvergenceError(Exception):
        pass

    tried = []

    def evaluate(structure, method, numerics, txt):
        tried.append(dict(numerics))
        if len(tried) < succeed_at:
            raise ConvergenceError
        return {"energy": 1.0, "free_energy": 1.0, "forces": None}

    monkeypatch.setattr(worker, "evaluate", evaluate)
    method = Method.from_dict({"kind": "gpaw"})
    for succeed_at in (1, 2, 3):
        tried.clear()
        assert worker.outcome(cluster, method)["provenance"]["rung"] == succeed_at - 1
        assert tried == [dict(rung) for rung in method.ladder[:succeed_at]]
    tried.clear()
    succeed_at = 4
    assert worker.outcome(cluster, method) == {
        "reason": "not_converged",
        "detail": "ConvergenceError, 3 settings of mixing tried",
    }


def test_the_environment_is_scrubbed():
    outer = {
        "PMI_SIZE": "2",
        "PMIX_RANK": "0",
        "OMPI_COMM_WORLD_SIZE": "4",
        "SLURM_NTASKS": "9",
        "HOME": "/h",
        "PYTHONPATH": "/x",
    }
    clean = clean_environment(outer, 3)
    assert not {"PMI_SIZE", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS"} & set(clean)
    assert clean["HOME"] == "/h"
    assert clean["OMP_NUM_THREADS"] == clean["OPENBLAS_NUM_THREADS"] == "3"
    assert clean["PYTHONPATH"].endswith("/x")


def test_ranks_need_mpirun(monkeypatch, tmp_path):
    method = Method.from_dict({"kind": "gpaw"})
    settings = LabelSettings(n_ranks=4)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="'mpirun' is not on PATH"):
        LabelRunner(method, settings)
    mpirun = tmp_path / "mpirun"
    mpirun.write_text("#!/bin/sh\n")
    mpirun.chmod(0o755)
    command = LabelRunner(method, settings).command(tmp_path)
    assert command[:6] == ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "4"]
    assert command[6:10] == [sys.executable, "-m", "gpaw", "python"]


def test_a_silent_death_has_words(tmp_path):
    log = tmp_path / "output.txt"
    log.write_text("")
    killed = RawFailure("crash", "the label process ended with signal 9: no output", killed=True)
    assert read_result(tmp_path, 137, log) == killed


def test_a_cache_pays_once(emt, cluster, tmp_path, monkeypatch):
    first = label([cluster], emt, cache=tmp_path / "cache")[0]
    with Labeller(emt, cache=tmp_path / "cache") as labeller:
        monkeypatch.setattr(BatchWorker, "_start", lambda self: pytest.fail("paid again"))
        moved = cluster.copy()
        moved.translate([1.0, 2.0, 3.0])
        moved.info["config_type"] = "mine"
        hit = labeller([moved])[0]
    assert hit.info["REF_energy"] == first.info["REF_energy"]
    assert np.array_equal(hit.get_forces(), first.get_forces())
    assert hit.info["config_type"] == "mine"
    assert np.allclose(hit.positions, moved.positions)


def test_a_damaged_label_in_the_cache_is_made_anew(emt, cluster, tmp_path):
    energy = label([cluster], emt, cache=tmp_path)[0].info["REF_energy"]
    (path,) = tmp_path.rglob("*.extxyz")
    path.write_text(path.read_text().replace("REF_energy=", "REF_energy=1"))
    with pytest.warns(UserWarning, match="checksum"):
        assert label([cluster], emt, cache=tmp_path)[0].info["REF_energy"] == energy
