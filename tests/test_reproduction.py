"""The scripts that reproduce the paper: their arithmetic, and that they run from nothing to a table."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from learner.paper.settings import PaperSettings, PaperTrainSettings
from reproduction import data
from reproduction.data import Data, Parts, load
from reproduction.runs import Run
from reproduction.scale import SCALES, Scale
from reproduction.tables import compare, distances, measures, still_falling

ROOT = Path(__file__).resolve().parents[1]
RESULT = {
    "test": {"formula": ["Al2", "Al4"], "scale": [1.0, 1.1], "true": [-4.0, -10.0], "predicted": [-4.2, -9.0]},
    "curves": [
        {"series": "a", "n_atoms": 2, "true": 1.0, "predicted": 1.01},
        {"series": "b", "n_atoms": 4, "true": 0.98, "predicted": None},
        {"series": "c", "n_atoms": 4, "true": None, "predicted": 1.2},
    ],
    "history": [{"validation_energy_mae_mev_per_atom": v} for v in (9.0, 4.0, 3.0, 2.5, 2.0)],
}


def test_measures_by_hand() -> None:
    found = measures(RESULT)
    assert found["mae_ev"] == pytest.approx(0.6)
    assert found["mse_ev2"] == pytest.approx((0.04 + 1.0) / 2)
    assert found["relative_error"] == pytest.approx((0.05 + 0.1) / 2)
    assert found["mae_mev_per_atom"] == pytest.approx((100 + 250) / 2)
    assert found["dsc"] == pytest.approx(0.01)
    assert found["dsc_from_one"] == pytest.approx(0.01)
    assert distances(RESULT, stable=0.99)[0] == pytest.approx(0.02)
    assert found["n_curves"] == 2  # the oracle has no minimum in the third
    assert found["minima_found"] == 0.5
    assert measures(RESULT, sizes=(4, 9))["mae_ev"] == pytest.approx(1.0)
    assert np.isinf(distances(RESULT)[1])
    assert np.isnan(distances(RESULT)[2])
    assert still_falling(RESULT) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("better", "verdict"),
    [([1.0, 1.1, 0.9], "holds"), ([3.0, 3.1, 2.9], "the other way round"), ([1.0, 3.1, 2.1], "not decided")],
)
def test_a_claim_needs_twice_its_standard_error(better: list[float], verdict: str) -> None:
    table = {"new": {"mae_ev": better}, "old": {"mae_ev": [2.0, 2.05, 1.95]}}
    assert f"**{verdict}" in compare(table, "new", "old", "mae_ev").replace("does not hold: it is ", "")


def test_a_run_is_known_by_all_that_decides_it() -> None:
    run = Run(Data("crystal-growth"), PaperSettings(), PaperTrainSettings(), 0)
    others = [
        Run(Data("crystal-growth", split="random"), PaperSettings(), PaperTrainSettings(), 0),
        Run(Data("crystal-growth"), PaperSettings(combination="c"), PaperTrainSettings(), 0),
        Run(Data("crystal-growth"), PaperSettings(), PaperTrainSettings(steps=3), 0),
        Run(Data("crystal-growth"), PaperSettings(), PaperTrainSettings(), 1),
    ]
    assert len({run.key, *(other.key for other in others)}) == 5


def test_an_element_that_training_lacks_is_in_no_other_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten molecules, each in turn the one that holds fluorine: 8 of 10 times it is learnt."""
    learnt = []
    for holder in range(10):
        parts = ten_molecules(holder, monkeypatch)
        assert len(parts.train) == 8
        holding = [sum(9 in atoms.numbers for atoms in part) for part in parts]
        assert holding == ([1, 0, 0] if holding[0] else [0, 0, 0])
        assert sum(map(len, parts)) == 9 + holding[0]
        learnt.append(holding[0])
    assert sum(learnt) == 8


def ten_molecules(holder: int, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """Parts of ten H2, one of them HF instead."""

    def molecules(name: str, n: int | None, scale: Scale) -> list[Atoms]:
        every = [Atoms("HF" if k == holder else "H2", positions=[[0, 0, 0], [0, 0, 0.9]]) for k in range(10)]
        for k, atoms in enumerate(every):
            atoms.info |= {"bonds": "0-1:1", "config_type": "augmented-qm9", "group": f"{k:02d}", "series": f"{k:02d}"}
        return every

    monkeypatch.setattr(data, "_structures", molecules)
    return load(Data("augmented-qm9", n=10, split="molecule"), SCALES["smoke"], 0)


def run_script(name: str, data: Path) -> str:
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), "--scale", "smoke", "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_table_1_from_nothing_and_again_from_what_is_kept(tmp_path: Path) -> None:
    first = run_script("reproduce_table1", tmp_path)
    assert "trained" in first
    table = json.loads((tmp_path / "smoke" / "table1.json").read_text())["table"]
    assert all(len(row["mae_ev"]) == 1 and row["mae_ev"][0] > 0 for row in table.values())
    assert (tmp_path / "smoke" / "table1.md").read_text().count("\n| ") == len(table) + 1 - 1
    again = run_script("reproduce_table1", tmp_path)
    assert "trained" not in again
    assert json.loads((tmp_path / "smoke" / "table1.json").read_text())["table"] == table


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_paper_from_nothing(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "scripts" / "reproduce_paper.py"),
        "--scale",
        "smoke",
        "--data",
        str(tmp_path),
    ]
    subprocess.run(command, check=True, timeout=1100)
    page = (tmp_path / "paper.md").read_text()
    assert page.count("## ") == 10
    assert all((tmp_path / "smoke" / f"figure{k}.png").stat().st_size > 10_000 for k in (3, 4, 5, 6, 7))
