"""`kossel dataset merge | relabel | split | export` as a user types them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import molecule
from ase.db import connect

from growth.cli import main
from oracle import Dataset, Method, read_labelled
from oracle.campaign import label_into

EMT = Method.from_dict({"kind": "emt"})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twelve EMT labels of four molecules at three scales each."""
    structures = []
    for name in ("H2O", "CH4", "NH3", "C2H4"):
        for scale in (1.0, 1.1, 1.2):
            structure = molecule(name)
            structure.positions *= scale
            structure.info = {"config_type": "augmented-qm9", "group": name, "scale": scale}
            structures.append(structure)
    with Dataset.open(tmp_path / "emt", method=EMT) as dataset:
        label_into(dataset, structures, EMT)
    return tmp_path / "emt"


def method_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "method.yaml"
    path.write_text(text)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error of `kossel dataset ...`."""
    code = 0
    try:
        main(["dataset", *map(str, arguments)])
    except SystemExit as ended:
        code = int(ended.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def refused(found: tuple[int, str, str], *words: str) -> None:
    code, out, err = found
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


def test_merge(tmp_path, source, capsys):
    code, out, _ = run(capsys, "merge", tmp_path / "all", source)
    assert code == 0
    assert json.loads(out)["structures"] == 12
    code, out, _ = run(capsys, "merge", tmp_path / "all", source)
    assert (code, json.loads(out)["known"]) == (0, 12)
    lj = Method.from_dict({"kind": "lj"})
    with Dataset.open(tmp_path / "lj", method=lj) as other:
        label_into(other, [Atoms("Ar2", [[0, 0, 0], [0, 0, 1.2]])], lj)
    refused(run(capsys, "merge", tmp_path / "all", tmp_path / "lj"), EMT.hash, lj.hash, "do not mix")
    refused(run(capsys, "merge", tmp_path / "all"), "kossel dataset merge --help")


def test_relabel_by_tight_binding(tmp_path, source, capsys):
    pytest.importorskip("tblite")
    method = method_file(tmp_path, "kind: tblite\nmethod: GFN2-xTB\n")
    code, out, _ = run(capsys, "relabel", source, "--method", method, "--out", tmp_path / "xtb")
    assert code == 0
    summary = json.loads(out[out.index("{") :])
    assert (summary["labelled"], summary["failed"]) == (12, {})
    new = Dataset.read(tmp_path / "xtb")
    assert {structure.info["parent_uid"] for structure in new} == set(Dataset.read(source).uids)
    assert {structure.info["group"] for structure in new} == {"H2O", "CH4", "NH3", "C2H4"}
    assert new.method["method"] == "GFN2-xTB"
    refused(run(capsys, "relabel", tmp_path / "xtb", "--method", method, "--out", tmp_path / "again"), "already")
    assert not (tmp_path / "again").exists()


def test_relabel_says_what_failed(tmp_path, source, capsys):
    """A well far too deep: forces are over the cap; the failures are there for `retry`."""
    method = method_file(tmp_path, "kind: lj\nepsilon: 40\nsigma: 1.5\n")
    code, out, err = run(capsys, "relabel", source, "--method", method, "--out", tmp_path / "lj")
    assert code == 1
    n_failed = sum(json.loads(out[out.index("{\n") :])["failed"].values())
    assert n_failed == len(Dataset.read(tmp_path / "lj").failures()) > 0
    assert f"labels that failed: {n_failed}" in err
    assert f"kossel dataset retry {tmp_path / 'lj'}" in err


def test_relabel_interrupted_says_that_it_goes_on(tmp_path, source, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("oracle.relabel.relabel", stop)
    method = method_file(tmp_path, "kind: lj\n")
    code, _, err = run(capsys, "relabel", source, "--method", method, "--out", tmp_path / "lj")
    assert (code, err.strip()) == (130, "interrupted; the same command goes on from here")


def test_split(tmp_path, source, capsys):
    arguments = ("split", source, "--out", tmp_path / "parts", "--ratio", "50/25/25", "--by", "group", "--seed", "2")
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    counts = json.loads(out)
    assert [counts[part]["structures"] for part in ("train", "validation", "test")] == [6, 3, 3]
    assert len({structure.info["group"] for structure in read_labelled(tmp_path / "parts" / "test.extxyz")}) == 1
    refused(run(capsys, "split", source, "--out", tmp_path / "none", "--by", "gruop"), "did you mean 'group'")
    refused(run(capsys, "split", source, "--out", tmp_path / "none", "--ratio", "8:1:1"), "80/10/10")
    assert not (tmp_path / "none").exists()


def test_export_to_lmdb(tmp_path, source, capsys, monkeypatch):
    pytest.importorskip("ase_db_backends")
    code, out, _ = run(capsys, "export", source, tmp_path / "all.aselmdb")
    assert (code, out) == (0, f"12 structures written to {tmp_path / 'all.aselmdb'}\n")
    rows = list(connect(tmp_path / "all.aselmdb", readonly=True).select())
    labels = Dataset.read(source).structures()
    assert [row.free_energy for row in rows] == [label.info["REF_free_energy"] for label in labels]
    assert all((row.forces == label.get_forces()).all() for row, label in zip(rows, labels, strict=True))
    assert [row.data["info"]["group"] for row in rows] == [label.info["group"] for label in labels]
    monkeypatch.setitem(sys.modules, "ase_db_backends", None)
    monkeypatch.setitem(sys.modules, "ase_db_backends.aselmdb", None)
    refused(run(capsys, "export", source, tmp_path / "more.aselmdb"), "pip install 'kossel[lmdb]'")
    assert not (tmp_path / "more.aselmdb").exists()
