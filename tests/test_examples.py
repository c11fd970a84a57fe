"""The worked examples and the notebook of docs/examples run, and say what the pages say that they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
NOTEBOOK = EXAMPLES / "grow_and_look.ipynb"
NUMBER = r"(-?\d+\.?\d*)"


def run(name: str, cwd: Path) -> str:
    """What an example prints, typed in a folder that looks like the checkout."""
    (cwd / "docs").symlink_to(ROOT / "docs")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error::UserWarning", str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(pattern: str, text: str) -> list[tuple[float, ...]]:
    """The numbers that stand where a pattern has a #, line by line."""
    found = re.findall(pattern.replace("#", NUMBER), text)
    return [tuple(map(float, [each] if isinstance(each, str) else each)) for each in found]


def test_adatom_hop(tmp_path: Path) -> None:
    (clusters, spread, ends), (slabs, smaller, _) = numbers(
        r"barrier # ± # eV, ends differ by \+?#", run("adatom_hop", tmp_path)
    )
    assert abs(ends) < 0.01, "both hollows are the same"
    assert slabs == pytest.approx(0.446, abs=0.06), "GPAW's, docs/results/al100.md"
    assert clusters == pytest.approx(0.446, abs=0.15)
    assert smaller < spread, "who has seen slabs is surer of them"


def test_bulk_phonons(tmp_path: Path) -> None:
    found = numbers(r"a = # Å; X: #, # THz; L: #, # THz; lowest on the path # THz", run("bulk_phonons", tmp_path))
    (clusters, slabs) = found
    assert slabs[0] == pytest.approx(4.05, abs=0.05)
    assert clusters[0] == pytest.approx(4.05, abs=0.1)
    error = [abs(each[2] - 9.7) for each in found]
    assert error[1] < error[0], "slabs are nearer to bulk than clusters are"
    assert all(each[1] < each[2] and each[3] < each[4] for each in found)


def test_guarded_dynamics(tmp_path: Path) -> None:
    text = run("guarded_dynamics", tmp_path)
    cluster, bulk = text.splitlines()
    assert "cluster of 55: went on for 120 fs" in cluster
    assert "bulk: stopped after" in bulk
    assert (tmp_path / "doubtful.extxyz").exists()


def test_grow_and_open(tmp_path: Path) -> None:
    text = run("grow_and_open", tmp_path)
    assert [n for (n,) in numbers(r"(?m)^# atoms", text)] == [14, 15, 16, 17, 18]
    ((nearest,),) = numbers("nearest pair # Å", text)
    assert 2.3 < nearest < 2.7


def test_own_code(tmp_path: Path) -> None:
    text = run("own_code", tmp_path)
    assert "relabelled: 4 structures" in text
    assert "extended by 2 to 6" in text
    assert "labels of different methods do not mix" in text


def test_batched_dynamics(tmp_path: Path) -> None:
    pytest.importorskip("torch_sim")
    found = numbers(r"# atoms: # eV/atom, std # meV/atom", run("batched_dynamics", tmp_path))
    assert [n for n, _, _ in found] == [15, 16, 17, 18, 19, 20]
    energies = [energy for _, energy, _ in found]
    assert energies == sorted(energies, reverse=True), "cohesion grows with size"
    assert all(std < 15 for _, _, std in found)


def test_every_example_is_tested_and_on_the_page() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert names <= tested
    page = (ROOT / "docs" / "ecosystem.md").read_text()
    assert not [name for name in names if f"examples/{name}.py" not in page]
    assert all(len(path.read_text().splitlines()) <= 60 for path in EXAMPLES.glob("*.py"))


def test_the_notebook_runs_and_is_kept_with_what_it_showed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    kept = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(kept)
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert NOTEBOOK.stat().st_size < 500_000
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum("image/png" in output.get("data", {}) for cell in code for output in cell.outputs) >= 3
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    where = {"metadata": {"path": tmp_path}}
    nbclient.NotebookClient(kept, timeout=300, kernel_name="python3", resources=where).execute()
    errors = [output for cell in kept.cells for output in cell.get("outputs", []) if output.output_type == "error"]
    assert not errors
