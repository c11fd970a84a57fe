"""Relabelling: the same structures, all they carry, and a call that goes on where it stopped."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from oracle import Dataset, InputError, LabelSettings, Method
from oracle.campaign import label_into, retry_failed
from oracle.relabel import relabel


@pytest.fixture
def lj() -> Method:
    return Method.from_dict({"kind": "lj", "epsilon": 0.4, "sigma": 2.3})


@pytest.fixture
def source(tmp_path, emt):
    """Eight EMT labels with all that a benchmark says of its structures."""
    structures = []
    for i in range(8):
        dimer = Atoms("Al2", [[0, 0, 0], [0, 0, 2.2 + 0.1 * i]], tags=[0, i])
        dimer.info = {"config_type": "crystal-growth", "series": "al-01", "scale": 0.9 + 0.1 * i, "parent_uid": "old"}
        structures.append(dimer)
    with Dataset.open(tmp_path / "emt", method=emt) as dataset:
        label_into(dataset, structures, emt)
    return tmp_path / "emt"


def test_the_same_structures_by_another_method(tmp_path, source, lj):
    lines: list[str] = []
    found = relabel(source, lj, tmp_path / "lj", progress=lines.append)
    assert (found["structures"], found["labelled"], found["known"], found["failed"]) == (8, 8, 0, {})
    assert len(lines) == 8
    old, new = Dataset.read(source), Dataset.read(tmp_path / "lj")
    assert new.method_hash == lj.hash
    assert new.verify() == []
    for before, after in zip(old, new, strict=True):
        assert np.array_equal(before.positions, after.positions)
        assert list(after.arrays["tags"]) == list(before.arrays["tags"])
        assert after.info["parent_uid"] == before.info["uid"] != after.info["uid"]
        for key in ("config_type", "series", "scale"):
            assert after.info[key] == before.info[key]
        check = before.copy()
        check.calc = lj.calculator(check)
        assert after.get_potential_energy() == pytest.approx(check.get_potential_energy())
        assert np.allclose(after.get_forces(), check.get_forces())
        assert after.get_potential_energy() != before.get_potential_energy()


def test_what_was_stopped_goes_on(tmp_path, source, lj):
    """Stopped in the third label: what is there is kept and not made again, and the end is that of one call."""

    def stop(line: str) -> None:
        if line.startswith("3/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        relabel(source, lj, tmp_path / "new", progress=stop)
    assert len(Dataset.read(tmp_path / "new")) == 2
    found = relabel(source, lj, tmp_path / "new")
    assert (found["known"], found["labelled"]) == (2, 6)
    relabel(source, lj, tmp_path / "whole")
    resumed, whole = Dataset.read(tmp_path / "new"), Dataset.read(tmp_path / "whole")
    assert resumed.uids == whole.uids
    assert relabel(source, lj, tmp_path / "new")["labelled"] == 0


def test_failures_are_listed_with_what_they_carry_and_retried(tmp_path, source, lj):
    """The nearest atoms push so hard that the first cap refuses them."""
    strict = LabelSettings(force_cap=3.0)
    found = relabel(source, lj, tmp_path / "new", strict)
    n_failed = found["failed"]["gate_after"]
    assert 0 < n_failed < 8
    failed = Dataset.read(tmp_path / "new").failures()
    assert len(failed) == n_failed
    assert failed[0].structure.info == {
        "config_type": "crystal-growth",
        "series": "al-01",
        "scale": pytest.approx(0.9),
        "parent_uid": Dataset.read(source).uids[0],
    }
    assert retry_failed(tmp_path / "new", lj)["labelled"] == n_failed
    assert sorted(structure.info["scale"] for structure in Dataset.read(tmp_path / "new")) == pytest.approx(
        [0.9 + 0.1 * i for i in range(8)]
    )


def test_the_method_must_be_another(tmp_path, source, emt):
    with pytest.raises(InputError, match=f"is of method {emt.hash} already"):
        relabel(source, emt, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_is_labelled_where_the_method_cannot(tmp_path, lj, emt):
    iron = Atoms("Fe2", [[0, 0, 0], [0, 0, 2.4]])
    with Dataset.open(tmp_path / "lj", method=lj) as dataset:
        label_into(dataset, [iron], lj)
    with pytest.raises(InputError, match="no parameters for Fe"):
        relabel(tmp_path / "lj", emt, tmp_path / "new")
    Dataset.open(tmp_path / "empty", method=lj).close()
    with pytest.raises(InputError, match="nothing to relabel"):
        relabel(tmp_path / "empty", emt, tmp_path / "new")
    with pytest.raises(InputError, match="no dataset"):
        relabel(tmp_path / "none", emt, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="do not mix"):
        relabel(tmp_path / "lj", Method.from_dict({"kind": "lj"}), tmp_path / "lj")
