"""The comparison of potentials: our side of it, on small data; the peers have an environment of their own."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import write

from scripts.benchmark_surrogates import keep
from scripts.make_gpaw_clusters import KINDS, PARTS, clusters
from scripts.surrogates.protocol import Caller, call_seconds, crystal, errors, labels
from tests.learner.conftest import cluster, with_label

SCRIPTS = Path(__file__).parents[1] / "scripts" / "surrogates"


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


class Constant:
    """Energy 1 eV and no force, whatever the structure."""

    n_parameters = 0

    def __call__(self, structures):
        return np.ones(len(structures)), [np.zeros((len(a), 3)) for a in structures]


def test_errors_are_those_of_the_labels():
    structures = [with_label(cluster(n)) for n in (5, 9, 13)]
    found = errors(Constant(), structures, batch=2)
    energies, forces = labels(structures)
    per_atom = np.abs(1 - energies) / [5, 9, 13]
    assert found["energy_mae_mev_per_atom"] == pytest.approx(1e3 * per_atom.mean())
    assert found["force_mae_mev_per_A"] == pytest.approx(1e3 * np.abs(np.concatenate(forces)).mean())
    assert found["force_rmse_mev_per_A"] > found["force_mae_mev_per_A"]


def test_a_crystal_has_the_size_asked_for():
    for n in (15, 75, 1000):
        atoms = crystal(n, "Al")
        assert len(atoms) == n
        assert atoms.get_distance(0, 1) > 2
    assert call_seconds(Caller(Constant()), 15, "Al")["n_calls"] >= 5


@pytest.mark.slow
def test_ours_learn_and_are_timed_and_safe(tmp_path):
    structures = [with_label(cluster(13 + k % 3, seed=k, symbol=s)) for k in range(30) for s in ("Al", "Cu")]
    write(tmp_path / "train.extxyz", structures[:40])
    write(tmp_path / "test-in.extxyz", structures[40:])
    for name in ("kossel-4", "vimpnn"):
        out = tmp_path / name
        run("ours.py", "train", name, "--data", str(tmp_path), "--cpu-seconds", "8", "--out", str(out))
        result = json.loads((out / "result.json").read_text())
        true = np.concatenate(labels(structures[40:])[1])
        assert result["errors"]["in"]["force_mae_mev_per_A"] < 1e3 * np.abs(true).mean()
        timed = json.loads(run("ours.py", "time", name, "--model", str(out), "--n-atoms", "15"))
        assert timed["n_atoms"] == 15
        assert 0 < timed["ms"] < 1e4
    given = ["--model", str(tmp_path / "kossel-4"), "--data", str(tmp_path), "--ps", "0.02", "--n", "2"]
    found = json.loads(run("safety.py", *given))
    assert found["rattled"]["n"] == 2
    assert found["compressed"]["falls"]["15"] == 0
    assert found["spread"][-1]["force_std_mev_per_A"] > found["spread"][0]["force_std_mev_per_A"]


def test_any_first_part_of_the_clusters_to_label_is_balanced():
    made = clusters(21, 0)
    assert [a.info["part"] for a in made] == list(PARTS) * 3
    kinds = [a.info["config_type"] for a in made if a.info["part"] == "train"]
    assert all(3 <= kinds.count(k) <= 7 for k in KINDS)
    learnt, tested = ({a.info["group"] for a in made if a.info["part"] == p} for p in ("train", "test"))
    assert not learnt & tested
    assert all(15 <= len(a) <= 30 for a in made)
    assert all(a.get_all_distances()[np.triu_indices(len(a), 1)].min() > 1 for a in made)


def test_runs_of_other_models_add_up_until_the_budget_changes(tmp_path):
    given = argparse.Namespace(out=tmp_path, cpu_seconds=300.0, seed=0)
    keep(given, "gpaw", {"painn": {"100": 1}})
    keep(given, "gpaw", {"painn": {"50": 2}, "mace": {"100": 3}})
    path = tmp_path / "gpaw.json"
    assert json.loads(path.read_text())["found"] == {"painn": {"100": 1, "50": 2}, "mace": {"100": 3}}
    given.cpu_seconds = 60.0
    keep(given, "gpaw", {"mace": {"100": 4}})
    assert json.loads(path.read_text()) == {"cpu_seconds": 60.0, "seed": 0, "found": {"mace": {"100": 4}}}
