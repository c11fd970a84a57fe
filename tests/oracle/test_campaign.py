"""Labelling files into datasets: resumable, refusing before it pays, and counting what came out."""

from __future__ import annotations

import subprocess
import sys

import ase.io
import numpy as np
import pytest
from ase import Atoms

from oracle import Dataset, InputError, LabelSettings, Method
from oracle.campaign import dataset_info, import_labelled, label_file, retry_failed


@pytest.fixture
def source(tmp_path, structures):
    path = tmp_path / "in.extxyz"
    ase.io.write(path, [*structures, structures[0]])
    return path


def test_label_file_resumes(tmp_path, source, emt):
    lines: list[str] = []
    first = label_file(source, emt, tmp_path / "set", progress=lines.append)
    assert (first["structures"], first["labelled"], first["known"], first["failed"]) == (6, 5, 1, {})
    assert lines[0].startswith("1/5 Al13 ")
    assert "eV/atom" in lines[0]
    assert label_file(source, emt, tmp_path / "set")["labelled"] == 0
    info = dataset_info(tmp_path / "set")
    assert info["structures"] == 5
    assert info["species"] == {"Al": 13 + 12 + 8 + 1, "Cu": 9}
    assert info["atoms"]["most"] == 13
    assert info["method"]["kind"] == "emt"
    assert info["problems"] == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Atoms("Al2", [[0, 0, 0], [0, 0, 0.3]]), "structure 1: atoms 0 .Al. and 1 .Al. overlap"),
        (Atoms("Al", [[0, 0, np.nan]]), "structure 1: position of atom 0 is not finite"),
        (Atoms("X"), "structure 1: atom 0 has atomic number 0"),
        (Atoms("Fe"), "structure 1: the method has no parameters for Fe"),
    ],
)
def test_nothing_is_written_for_a_bad_file(tmp_path, emt, bad, words):
    ase.io.write(tmp_path / "in.extxyz", [Atoms("Al"), bad])
    with pytest.raises(InputError, match=words):
        label_file(tmp_path / "in.extxyz", emt, tmp_path / "set")
    assert not (tmp_path / "set").exists()


@pytest.fixture
def untold():
    """EMT by its name in ASE's registry: which species it lacks shows only when it fails."""
    return Method.from_dict({"kind": "ase", "calculator": "emt"})


def test_failures_are_listed_and_retried(tmp_path, untold):
    pair = Atoms("Fe2", [[0, 0, 0], [0, 0, 2.4]])
    ase.io.write(tmp_path / "in.extxyz", [pair, Atoms("Al")])
    assert label_file(tmp_path / "in.extxyz", untold, tmp_path / "set")["failed"] == {"crash": 1}
    assert dataset_info(tmp_path / "set")["failed"] == {"crash": 1}
    again = retry_failed(tmp_path / "set", untold)
    assert (again["structures"], again["labelled"], again["failed"]) == (1, 0, {"crash": 1})
    with pytest.raises(InputError, match="no dataset"):
        retry_failed(tmp_path / "none", untold)
    assert not (tmp_path / "none").exists()


def test_a_hopeless_method_stops_and_keeps_what_it_has(tmp_path, untold):
    irons = [Atoms("Fe2", [[0, 0, 0], [0, 0, 2.4 + i / 10]]) for i in range(6)]
    ase.io.write(tmp_path / "in.extxyz", [Atoms("Al"), *irons])
    with pytest.raises(InputError, match="3 labels failed in a row"):
        label_file(tmp_path / "in.extxyz", untold, tmp_path / "set", LabelSettings(failure_budget=3))
    dataset = Dataset.read(tmp_path / "set")
    assert len(dataset) == 1
    assert len(dataset.failures()) == 3


def test_another_method_is_refused(tmp_path, source, emt):
    label_file(source, emt, tmp_path / "set")
    with pytest.raises(InputError, match="do not mix"):
        label_file(source, Method.from_dict({"kind": "lj"}), tmp_path / "set")


def test_import(tmp_path, source, emt, labels):
    label_file(source, emt, tmp_path / "set")
    Dataset.read(tmp_path / "set").export(tmp_path / "all.extxyz")
    assert import_labelled(tmp_path / "all.extxyz", tmp_path / "copy", emt) == 5
    assert import_labelled(tmp_path / "all.extxyz", tmp_path / "copy", emt) == 0
    assert Dataset.read(tmp_path / "copy").uids == Dataset.read(tmp_path / "set").uids
    with pytest.raises(InputError, match="not of the given method"):
        import_labelled(tmp_path / "all.extxyz", tmp_path / "other", Method.from_dict({"kind": "lj"}))
    assert not (tmp_path / "other").exists()
    plain = [structure.copy() for structure in labels]
    for structure, labelled in zip(plain, labels, strict=True):
        structure.info.clear()
        del structure.arrays["REF_forces"]
        structure.calc = labelled.calc
    ase.io.write(tmp_path / "plain.traj", plain)
    assert import_labelled(tmp_path / "plain.traj", tmp_path / "copy", emt) == 0


def test_importing_the_oracle_is_instant():
    program = "import sys, oracle; assert not {'ase', 'numpy', 'gpaw', 'pydantic'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_public_names_are_there():
    import oracle

    for name in oracle.__all__:
        assert getattr(oracle, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        oracle.nothing  # noqa: B018
    assert callable(oracle.label)
    assert callable(oracle.uid)
