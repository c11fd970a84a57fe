"""The command line from outside: bad input is one line, exit code 2, no traceback, nothing half-written."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import write

from growth.cli import main

ROOT = Path(__file__).parents[1]
EMT_METHOD = "kind: emt\n"


def kossel(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "kossel"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd or ROOT, capture_output=True, text=True, timeout=240, check=False)


def assert_refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    for word in said:
        assert word in lines[0]


@pytest.fixture
def method(tmp_path: Path) -> Path:
    path = tmp_path / "method.yaml"
    path.write_text(EMT_METHOD)
    return path


def labelled_dimer(distance: float) -> Atoms:
    dimer = Atoms("Al2", positions=[[0, 0, 0], [0, 0, distance]])
    dimer.calc = EMT()
    dimer.get_forces()
    return dimer


def test_help_answers_at_once() -> None:
    start = time.monotonic()
    done = kossel("--help")
    assert done.returncode == 0
    for command in ("grow", "label", "dataset", "train", "evaluate", "export"):
        assert command in done.stdout
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["grow", "none.yaml"], "none.yaml"),
        (["grow", "--set", "growth.n_atom=20"], "n_atoms"),
        (["grow", "--set", "structure.species=Qq"], "Qq"),
        (["grow", "--set", "structure.species=U", "--set", "growth.species=U"], "U"),
        (["grow", "--set", "walkers=0"], "walkers"),
        (["export", "nowhere"], "nowhere"),
        (["evaluate", "no_model", "no.extxyz"], "no_model"),
        (["train", "--data", "no.extxyz", "--out", "model"], "no.extxyz"),
        (["grow", "--bogus"], "kossel grow --help"),
        (["label"], "structures"),
        (["growth"], "growth"),
        (["dataset"], "command"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    assert_refused(kossel(*arguments, cwd=tmp_path), said)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_run_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_refused(kossel("grow", "--run-dir", tmp_path / "file" / "run", "--set", "pool=serial"), "run directory")


@pytest.mark.parametrize("config", sorted((ROOT / "growth/configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_dry_run_says_what_it_costs(config: Path, tmp_path: Path) -> None:
    done = kossel("grow", config, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "core-hours" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        (Atoms("Al2", positions=[[0, 0, 0], [0, 0, 0.2]]), "structure 0"),
        (Atoms("Al2", positions=[[0, 0, 0], [0, 0, float("nan")]]), "finite"),
        (Atoms("UAl", positions=[[0, 0, 0], [0, 0, 2.8]]), "U"),
    ],
)
def test_what_cannot_be_labelled(structure: Atoms, reason: str, method: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.extxyz"
    write(source, structure)
    assert_refused(kossel("label", source, "--method", method, "--dataset", tmp_path / "data"), reason)


def test_a_label_that_failed_shows_in_the_exit_code(method: Path, tmp_path: Path) -> None:
    """Two platinum atoms so near that the force on them is over the cap."""
    near, far = (Atoms("Pt2", positions=[[0, 0, 0], [0, 0, distance]]) for distance in (1.39, 2.7))
    write(tmp_path / "both.extxyz", [near, far])
    write(tmp_path / "far.extxyz", [far])
    done = kossel("label", tmp_path / "both.extxyz", "--method", method, "--dataset", tmp_path / "data")
    assert done.returncode == 1
    assert "Pt2 failed: gate_after" in done.stdout
    assert '"labelled": 1' in done.stdout
    assert "labels that failed: 1" in done.stderr
    assert "retry" in done.stderr
    done = kossel("label", tmp_path / "far.extxyz", "--method", method, "--dataset", tmp_path / "data")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "interrupted", "said"),
    [
        (["grow"], "growth.config.load_config", "interrupted; the same command goes on from here\n"),
        (["dataset", "info", "data"], "oracle.campaign.dataset_info", "interrupted\n"),
    ],
)
def test_an_interruption_is_one_line(
    arguments: list[str],
    interrupted: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupted, stop)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 130
    assert capsys.readouterr().err.lstrip("\n") == said


def test_training_reads_calculator_results_and_ref_keys_alike(tmp_path: Path) -> None:
    from oracle import read_labelled

    dimers = [labelled_dimer(distance) for distance in (2.3, 2.6, 2.9, 3.4)]
    write(tmp_path / "calculator.extxyz", dimers)
    for dimer in dimers:
        dimer.info = {"REF_energy": dimer.get_potential_energy()}
        dimer.arrays["REF_forces"] = dimer.get_forces()
        dimer.calc = None
    write(tmp_path / "ref.extxyz", dimers)
    one, two = (read_labelled(tmp_path / f"{name}.extxyz") for name in ("calculator", "ref"))
    for a, b in zip(one, two, strict=True):
        assert a.get_potential_energy() == pytest.approx(b.get_potential_energy(), abs=1e-8)
        assert a.get_forces() == pytest.approx(b.get_forces(), abs=1e-8)


def test_train_evaluate_round_trip(tmp_path: Path) -> None:
    write(tmp_path / "data.extxyz", [labelled_dimer(distance) for distance in (2.2, 2.4, 2.6, 2.8, 3.0, 3.4)])
    small = ["--set", "train.steps=20", "--set", "network={n_members: 2, n_features: 8}"]
    done = kossel("train", "--data", tmp_path / "data.extxyz", "--out", tmp_path / "model", *small)
    assert done.returncode == 0, done.stderr
    done = kossel("evaluate", tmp_path / "model", tmp_path / "data.extxyz", "--json", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    assert "force_mae_mev_per_A" in (tmp_path / "out.json").read_text()


def test_training_data_without_energies_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "bare.extxyz", [labelled_dimer(2.5), Atoms("Al2", positions=[[0, 0, 0], [0, 0, 2.5]])])
    done = kossel("train", "--data", tmp_path / "bare.extxyz", "--out", tmp_path / "model")
    assert_refused(done, "energy", "bare.extxyz", "1")
    assert not (tmp_path / "model").exists()


def test_mixed_methods_are_refused(tmp_path: Path) -> None:
    dimers = [labelled_dimer(2.5), labelled_dimer(2.8)]
    for dimer, method_hash in zip(dimers, ("a" * 16, "b" * 16), strict=True):
        dimer.info["method_hash"] = method_hash
    write(tmp_path / "mixed.extxyz", dimers)
    assert_refused(kossel("train", "--data", tmp_path / "mixed.extxyz", "--out", tmp_path / "model"), "method")
