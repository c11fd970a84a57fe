"""Merging: nothing twice, nothing of another method, failures and origins carried, whatever the order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle import Dataset, FailedLabel, InputError
from oracle.merge import merge
from oracle.outcome import RawLabel, labelled

HASH = "abcdef0123456789"


def make(number: int, method_hash: str = HASH, **info) -> Atoms:
    structure = Atoms("Al2", [[0, 0, 0], [0, 0, 2.0 + number / 7]], info=info)
    return labelled(structure, RawLabel(-number / 3, -number / 3, np.zeros((2, 3)), {"wall_time_s": 1.0}), method_hash)


def failure(number: int) -> FailedLabel:
    return FailedLabel(Atoms("Al2", [[0, 0, 0], [0, 0, 2.0 + number / 7]]), "timeout", f"number {number}")


def fill(directory: Path, numbers: list[int], failed: list[int] = (), method_hash: str = HASH, **keywords) -> Path:
    with Dataset.open(directory, method_hash=method_hash, **keywords) as dataset:
        dataset.add([make(number, method_hash, config_type=directory.name) for number in numbers])
        dataset.add_failures(map(failure, failed))
    return directory


def content(directory: Path) -> tuple[set[str], set[str]]:
    dataset = Dataset.read(directory)
    assert dataset.verify() == []
    return set(dataset.uids), {failed.detail for failed in dataset.failures()}


def test_into_a_new_directory_and_into_one_that_is_there(tmp_path):
    a = fill(tmp_path / "a", [1, 2, 3], [8], settings={"kind": "far"})
    b = fill(tmp_path / "b", [3, 4], [1, 8, 9])
    found = merge(tmp_path / "new", [a, b])
    assert found["added"] == {str(a): 3, str(b): 1}
    assert (found["known"], found["failed"], found["structures"]) == (1, 2, 4)
    dataset = Dataset.read(tmp_path / "new")
    assert dataset.method == {"kind": "far"}
    assert dataset.method_hash == HASH
    assert [structure.info["config_type"] for structure in dataset] == ["a", "a", "a", "b"]
    assert [structure.info["REF_energy"] for structure in dataset] == [-number / 3 for number in (1, 2, 3, 4)]
    assert {failed.detail for failed in dataset.failures()} == {"number 8", "number 9"}
    assert merge(b, [a])["added"] == {str(a): 2}
    assert content(b)[0] == content(tmp_path / "new")[0]


def test_provenance_says_where_a_label_came_from(tmp_path):
    a, b = fill(tmp_path / "a", [1], [5]), fill(tmp_path / "b", [2])
    merge(tmp_path / "c", [a])
    merge(tmp_path / "d", [tmp_path / "c", b])
    origin, merged = Dataset.read(a).provenance(), Dataset.read(tmp_path / "d")
    one, two = merged.uids
    record = merged.provenance()[one]
    assert record["merged_from"] == [str(a), str(tmp_path / "c")]
    assert {key: value for key, value in record.items() if key != "merged_from"} == origin[one]
    assert merged.provenance()[two]["merged_from"] == [str(b)]
    assert merged.failure_records()[0]["merged_from"] == [str(a), str(tmp_path / "c")]


numbers = st.lists(st.integers(0, 9), max_size=6)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_merging_again_or_in_another_order_is_the_same(parts, random):
    with tempfile.TemporaryDirectory() as folder:
        sources = [fill(Path(folder, f"s{i}"), *part) for i, part in enumerate(parts)]
        forth, back = Path(folder, "forth"), Path(folder, "back")
        merge(forth, sources)
        segments = sorted((forth / "segments").iterdir())
        again = merge(forth, sources)
        assert (sum(again["added"].values()), again["failed"]) == (0, 0)
        assert sorted((forth / "segments").iterdir()) == segments
        shuffled = random.sample(sources, len(sources))
        for source in shuffled:
            merge(back, [source])
        assert content(forth) == content(back)
        labels = {number for part in parts for number in part[0]}
        failed = {number for part in parts for number in part[1]} - labels
        assert content(forth) == (
            {make(number).info["uid"] for number in labels},
            {f"number {number}" for number in failed},
        )


def test_a_carried_failure_can_be_retried(tmp_path):
    merge(tmp_path / "new", [fill(tmp_path / "a", [], [7])])
    with Dataset.open(tmp_path / "new") as dataset:
        assert [failed.detail for failed in dataset.failures()] == ["number 7"]
        dataset.add([make(7)])
        assert dataset.failures() == []


def test_what_is_refused_writes_nothing(tmp_path):
    a, b = fill(tmp_path / "a", [1]), fill(tmp_path / "b", [1], method_hash="b" * 16)
    c = fill(tmp_path / "c", [3], method_hash="b" * 16)
    before = sorted(c.rglob("*"))
    for target, others, words in (
        (tmp_path / "new", [a, b], "different methods do not mix"),
        (c, [a], "do not mix"),
        (a, [a], "into itself"),
        (tmp_path / "new", [tmp_path / "none"], "no dataset"),
        (tmp_path / "new", [], "at least one"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            merge(target, others)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()
    assert sorted(c.rglob("*")) == before
