"""The dataset: nothing lost, nothing twice, nothing mixed, whatever happens to the files."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.db import connect
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle import Dataset, FailedLabel, InputError, Method, durable, read_labelled, uid
from oracle.outcome import RawLabel, labelled

HASH = "abcdef0123456789"


def make(number: int, method_hash: str = HASH, **info) -> Atoms:
    """A labelled dimer whose bond length and energy tell its number."""
    structure = Atoms("Al2", [[0, 0, 0], [0, 0, 2.0 + number / 7]], info=info)
    forces = np.array([[0.0, 0.0, -1 / 3], [0.0, 0.0, 1 / 3]])
    return labelled(structure, RawLabel(-number / 3, -number / 3 - 0.1, forces, {"wall_time_s": 1.0}), method_hash)


def fill(directory: Path, count: int = 3) -> list[str]:
    """Store structures in one segment each."""
    with Dataset.open(directory, method_hash=HASH) as dataset:
        return [dataset.add([make(number)])[0] for number in range(count)]


def test_everything_comes_back_exactly(tmp_path, labels, emt):
    with Dataset.open(tmp_path / "set", method=emt) as writer:
        assert writer.add(labels) == [structure.info["uid"] for structure in labels]
        assert writer.add(labels) == []
    for dataset in (writer, Dataset.read(tmp_path / "set")):
        assert len(dataset) == len(labels)
        assert dataset.method_hash == emt.hash
        assert Method.from_dict(dataset.method) == emt
        assert dataset.verify() == []
        for before, after in zip(labels, dataset.structures(), strict=True):
            assert np.array_equal(before.positions, after.positions)
            assert np.array_equal(before.cell, after.cell)
            assert np.array_equal(before.pbc, after.pbc)
            assert np.array_equal(before.get_forces(), after.get_forces())
            assert before.get_potential_energy() == after.get_potential_energy()
            assert uid(after, emt.hash) == after.info["uid"]
            assert after.calc.results["free_energy"] == after.info["REF_free_energy"]
            assert "provenance" not in after.info
        found = dataset.find(labels[0].info["uid"])
        assert found.info["config_type"] == "seed"
        assert found.info["converged"] is True
        assert dataset.find("nothing") is None


numbers = st.lists(st.lists(st.integers(0, 12), max_size=5), max_size=6)
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=20)
@given(numbers)
def test_a_label_is_stored_once_in_order(batches):
    with tempfile.TemporaryDirectory() as folder:
        expected: list[int] = []
        with Dataset.open(folder, method_hash=HASH) as dataset:
            for batch in batches:
                fresh = [number for number in dict.fromkeys(batch) if number not in expected]
                assert dataset.add(map(make, batch)) == [make(number).info["uid"] for number in fresh]
                expected += fresh
        again = Dataset.read(folder)
        assert again.uids == dataset.uids == [make(number).info["uid"] for number in expected]
        assert len(list(Path(folder, "segments").glob("*.extxyz"))) <= len(batches)


def test_two_runs_write_the_same_segments(tmp_path):
    fill(tmp_path / "a")
    fill(tmp_path / "b")
    names = [path.name for path in sorted((tmp_path / "a" / "segments").iterdir())]
    assert names == sorted(f"00000{i}.extxyz{ending}" for i in range(3) for ending in ("", ".sha256"))
    for name in names:
        assert (tmp_path / "a/segments" / name).read_bytes() == (tmp_path / "b/segments" / name).read_bytes()
    records = durable.read_lines(tmp_path / "a" / "provenance.jsonl")
    assert [record["wall_time_s"] for record in records] == [1.0] * 3
    assert {"uid", "time", "host", "versions"} <= set(records[0])


@pytest.mark.parametrize("position", [0.0, 0.3, 0.99])
def test_a_flipped_bit_costs_one_segment(tmp_path, position):
    uids = fill(tmp_path)
    path = tmp_path / "segments" / "000001.extxyz"
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 4
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"000001.extxyz: content does not match its checksum; segment skipped"):
        dataset = Dataset.read(tmp_path)
    assert dataset.uids == [uids[0], uids[2]]
    assert ["000001.extxyz" in problem for problem in dataset.verify()] == [True]
    with pytest.warns(UserWarning, match="skipped"), Dataset.open(tmp_path) as writer:
        assert writer.add([make(1)]) == [uids[1]]
    assert path.read_bytes() == content
    assert (tmp_path / "segments" / "000003.extxyz").exists()


def test_a_torn_segment_or_a_lost_checksum_is_not_accepted(tmp_path):
    uids = fill(tmp_path)
    torn = tmp_path / "segments" / "000002.extxyz"
    torn.write_text(torn.read_text()[:-30])
    (tmp_path / "segments" / "000000.extxyz.sha256").unlink()
    with pytest.warns(UserWarning, match="skipped"):
        dataset = Dataset.read(tmp_path)
    assert dataset.uids == [uids[1]]
    assert len(dataset.verify()) == 2


@pytest.mark.parametrize("fails_at", range(1, 5))
def test_a_crash_at_any_write_leaves_a_good_dataset(tmp_path, monkeypatch, fails_at):
    uids = fill(tmp_path, 2)
    calls = 0
    replace = Path.replace

    def dying(self, target):
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError("the machine stopped")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", dying)
    with Dataset.open(tmp_path) as dataset:
        try:
            dataset.add([make(2)])
            dataset.add([make(3)])
        except OSError:
            pass
    monkeypatch.undo()
    survivors = Dataset.read(tmp_path)
    assert survivors.verify() == []
    assert survivors.uids[:2] == uids
    with Dataset.open(tmp_path) as dataset:
        dataset.add([make(2), make(3)])
        assert len(dataset) == 4
        assert dataset.verify() == []


def test_what_a_killed_writer_left_is_cleared(tmp_path):
    uids = fill(tmp_path, 1)
    left = tmp_path / "segments" / ".000001.extxyz.abc.tmp"
    left.write_text("1\n\nAl")
    (tmp_path / "segments" / "000001.extxyz.sha256").write_text("0  000001.extxyz\n")
    assert Dataset.read(tmp_path).uids == uids
    with Dataset.open(tmp_path) as dataset:
        dataset.add([make(1)])
        assert dataset.verify() == []
    assert not left.exists()
    assert len(Dataset.read(tmp_path)) == 2


def test_verify_sees_a_structure_that_is_not_its_uid(tmp_path):
    fill(tmp_path, 1)
    path = tmp_path / "segments" / "000000.extxyz"
    text = path.read_text().replace("Al 0.0 0.0 2.0", "Al 0.0 0.0 2.1")
    path.write_text(text)
    Path(f"{path}.sha256").write_text(f"{durable.sha256(text)}  {path.name}\n")
    assert "does not match its uid" in Dataset.read(tmp_path).verify()[0]


def test_one_writer(tmp_path):
    with Dataset.open(tmp_path, method_hash=HASH):
        with pytest.raises(InputError, match="another process writes"):
            Dataset.open(tmp_path)
        program = f"from oracle import Dataset; Dataset.open({str(tmp_path)!r})"
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert "another process writes" in other.stderr
        assert len(Dataset.read(tmp_path)) == 0
    Dataset.open(tmp_path).close()


def test_a_killed_writer_leaves_no_lock(tmp_path):
    program = textwrap.dedent(f"""
        import os, signal
        from oracle import Dataset
        Dataset.open({str(tmp_path)!r})
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    subprocess.run([sys.executable, "-c", program], check=False)
    Dataset.open(tmp_path).close()


def test_a_reader_follows_a_writer(tmp_path):
    with Dataset.open(tmp_path, method_hash=HASH) as writer:
        reader = Dataset.read(tmp_path)
        writer.add([make(1)])
        assert len(reader) == 0
        reader.refresh()
        assert reader.uids == writer.uids
    with pytest.raises(InputError, match="reading only"):
        reader.add([make(2)])


def test_methods_do_not_mix(tmp_path):
    fill(tmp_path, 1)
    with pytest.raises(InputError, match="do not mix"):
        Dataset.open(tmp_path, method_hash="b" * 16)
    with Dataset.open(tmp_path) as dataset:
        with pytest.raises(InputError, match="do not mix"):
            dataset.add([make(5), make(6, method_hash="b" * 16)])
        assert len(dataset) == 1
    assert len(list((tmp_path / "segments").glob("*.extxyz"))) == 1


def test_only_labels_are_stored(tmp_path):
    bad_shape = make(1)
    bad_shape.arrays["REF_forces"] = np.zeros((2, 2))
    infinite = make(1)
    infinite.info["REF_energy"] = np.inf
    with Dataset.open(tmp_path, method_hash=HASH) as dataset:
        for structure, words_ in ((Atoms("Al"), "no 'REF_energy'"), (bad_shape, "REF_forces"), (infinite, "finite")):
            with pytest.raises(InputError, match=words_):
                dataset.add([structure])
    assert not list((tmp_path / "segments").iterdir())


def test_places_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Dataset.open(tmp_path / "file" / "set")
    with pytest.raises(InputError, match="no dataset"):
        Dataset.read(tmp_path / "nothing")


def test_failures(tmp_path):
    broken = Atoms("Al2", [[0, 0, 0], [0, 0, np.nan]], info={"config_type": "seed"})
    slow = Atoms("Al2", [[0, 0, 0], [0, 0, 2 + 1 / 7]])
    with Dataset.open(tmp_path, method_hash=HASH) as dataset:
        dataset.add_failures([FailedLabel(broken, "gate_before", "not finite"), FailedLabel(slow, "crash", "first")])
        dataset.add_failures([FailedLabel(slow, "timeout", "no label within 1 s")])
    with (tmp_path / "failed_labels.jsonl").open("a") as file:
        file.write('{"uid": "torn')
    first, second = Dataset.read(tmp_path).failures()
    assert (first.reason, first.structure.info["config_type"]) == ("gate_before", "seed")
    assert (second.reason, second.detail) == ("timeout", "no label within 1 s")
    assert np.array_equal(second.structure.positions, slow.positions)
    with Dataset.open(tmp_path) as dataset:
        dataset.add_failures([FailedLabel(Atoms("Cu"), "crash", "after the torn line")])
        assert [failure.reason for failure in dataset.failures()] == ["gate_before", "timeout", "crash"]
        dataset.add([make(1)])
        assert [failure.reason for failure in dataset.failures()] == ["gate_before", "crash"]


@settings(max_examples=50)
@given(st.lists(st.dictionaries(words, st.integers() | words, max_size=3), max_size=5), st.integers(0, 200))
def test_lines_survive_a_cut_at_any_byte(records, cut):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lines.jsonl")
        durable.append_lines(path, records)
        content = path.read_bytes() if path.exists() else b""
        path.write_bytes(content[:cut])
        whole = content[:cut].count(b"\n")
        assert durable.read_lines(path) == records[:whole]
        durable.append_lines(path, [{"next": 1}])
        assert durable.read_lines(path) == [*records[:whole], {"next": 1}]


def plain_ase(path: Path) -> list[Atoms]:
    """Read a file as anybody would who knows nothing of ours."""
    if path.suffix == ".extxyz":
        return ase.io.read(path, ":")
    database = connect(path, **({"readonly": True} if path.suffix == ".aselmdb" else {}))
    return [row.toatoms() for row in database.select()]


@pytest.mark.parametrize("name", ["all.extxyz", "all.db", "all.aselmdb"])
def test_export_is_plain_ase_and_comes_back(tmp_path, labels, emt, name):
    if name.endswith("aselmdb"):
        pytest.importorskip("ase_db_backends")
    with Dataset.open(tmp_path / "set", method=emt) as dataset:
        dataset.add(labels)
        dataset.export(tmp_path / name)
        dataset.export(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "set"]
    for before, plain in zip(labels, plain_ase(tmp_path / name), strict=True):
        assert plain.get_potential_energy() == before.get_potential_energy()
        assert np.allclose(plain.get_forces(), before.get_forces(), atol=1e-12)
    for before, back in zip(labels, read_labelled(tmp_path / name), strict=True):
        assert back.info["uid"] == before.info["uid"] == uid(back, emt.hash)
        assert back.info["REF_free_energy"] == before.info["REF_free_energy"]
    assert read_labelled(tmp_path / name)[0].info["config_type"] == "seed"


def test_export_refuses(tmp_path):
    fill(tmp_path / "set", 1)
    dataset = Dataset.read(tmp_path / "set")
    for target in ("all.pdf", "missing/all.extxyz"):
        with pytest.raises(InputError, match="export to"):
            dataset.export(tmp_path / target)


def test_an_export_keeps_what_info_says(tmp_path):
    """Numbers that ASE's key-value pairs know, and words that they would refuse."""
    pytest.importorskip("ase_db_backends")
    info = {"config_type": "augmented-qm9", "series": "000017", "scale": 0.9, "index": 7, "bonds": "0-1:1 1-3:a"}
    with Dataset.open(tmp_path / "set", method_hash=HASH) as dataset:
        dataset.add([make(1, **info)])
        dataset.export(tmp_path / "all.aselmdb")
    row = next(iter(connect(tmp_path / "all.aselmdb", readonly=True).select()))
    assert row.energy == -1 / 3
    assert row.free_energy == -1 / 3 - 0.1
    assert row.forces.tolist() == [[0.0, 0.0, -1 / 3], [0.0, 0.0, 1 / 3]]
    assert (row.key_value_pairs["scale"], row.key_value_pairs["index"]) == (0.9, 7)
    assert row.data["info"] | info == row.data["info"]
    stored = Dataset.read(tmp_path / "set").structures()[0].info
    assert {key: type(stored[key]) for key in info} == {key: type(value) for key, value in info.items()}
    back = read_labelled(tmp_path / "all.aselmdb")[0]
    assert {key: back.info[key] for key in info} == info
    assert uid(back, HASH) == back.info["uid"]


def test_an_export_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    pytest.importorskip("ase_db_backends")
    fill(tmp_path / "set", 2)
    dataset = Dataset.read(tmp_path / "set")
    for name in ("all.extxyz", "all.db", "all.aselmdb"):
        dataset.export(tmp_path / name)
        before = (tmp_path / name).read_bytes()

        def broken(_self):
            yield make(1)
            raise OSError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(Dataset, "__iter__", broken)
            with pytest.raises(InputError, match="the disk is full"):
                dataset.export(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.aselmdb", "all.db", "all.extxyz", "set"]


def test_export_without_the_package_is_one_line(tmp_path, monkeypatch):
    fill(tmp_path / "set", 1)
    monkeypatch.setitem(sys.modules, "ase_db_backends", None)
    monkeypatch.setitem(sys.modules, "ase_db_backends.aselmdb", None)
    with pytest.raises(InputError, match=r"ase_db_backends.* is not installed; pip install 'kossel\[lmdb\]'"):
        Dataset.read(tmp_path / "set").export(tmp_path / "all.aselmdb")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_opening_reads_no_structure(tmp_path, monkeypatch):
    """What a large dataset costs at first is a checksum and a look at the comment lines."""
    uids = fill(tmp_path)

    def refuse(*_):
        raise AssertionError("a structure was read")

    with monkeypatch.context() as patched:
        patched.setattr("oracle.segments.parse_frames", refuse)
        with Dataset.open(tmp_path) as dataset:
            assert dataset.uids == uids
            assert dataset.add([make(0), make(7)]) == [make(7).info["uid"]]
            assert uids[0] in dataset
            assert len(dataset) == 4
    assert [structure.info["uid"] for structure in dataset] == dataset.uids


def test_a_dataset_may_grow_while_it_is_read(tmp_path):
    fill(tmp_path)
    with Dataset.open(tmp_path) as dataset:
        seen = []
        for number, structure in enumerate(dataset):
            seen.append(structure.info["uid"])
            dataset.add([make(20 + number)])
        assert seen == dataset.uids[:3]
        assert len(dataset) == 6


def test_a_segment_without_uids_is_refused(tmp_path):
    fill(tmp_path, 1)
    path = tmp_path / "segments" / "000000.extxyz"
    text = path.read_text().replace(f"uid={make(0).info['uid']} ", "")
    path.write_text(text)
    Path(f"{path}.sha256").write_text(f"{durable.sha256(text)}  {path.name}\n")
    with pytest.raises(InputError, match="without uid"):
        Dataset.read(tmp_path)


@given(st.lists(st.integers(1, 90_000), max_size=4), st.integers(0, 70_000))
@settings(max_examples=15, deadline=None)
def test_a_torn_tail_is_cut_however_long(lengths, torn):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lines.jsonl")
        records = [{"text": "x" * length} for length in lengths]
        durable.append_lines(path, records)
        with path.open("a") as file:
            file.write("y" * torn)
        durable.append_lines(path, [{"next": 1}])
        assert durable.read_lines(path) == [*records, {"next": 1}]


def test_the_header_is_json(tmp_path, emt):
    with Dataset.open(tmp_path, method=emt) as dataset:
        dataset.add([make(1, emt.hash)])
    assert json.loads((tmp_path / "dataset.json").read_text())["method"] == {"kind": "emt", "asap_cutoff": False}
