"""Splits: a group is never cut, equal input gives equal files, and nothing is in two parts."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase import Atoms
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oracle import Dataset, InputError, read_labelled
from oracle.outcome import RawLabel, labelled
from oracle.split import PARTS, assign, parse_ratio, split

HASH = "abcdef0123456789"
shares = st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(0, 10))


@given(st.sets(st.text(max_size=4), max_size=40), shares, st.integers(0, 3), st.randoms(use_true_random=False))
def test_every_group_has_one_part_whatever_the_order(groups, ratio, seed, random):
    exact = [len(groups) * share / max(sum(ratio), 1) for share in ratio]
    try:
        parts = assign(groups, ratio, seed)
    except InputError:
        assert sum(ratio) == 0 or any(share > 0 and number < 1 for share, number in zip(ratio, exact, strict=True))
        return
    assert set(parts) == groups
    for part, number in zip(PARTS, exact, strict=True):
        assert abs(sum(found == part for found in parts.values()) - number) < 1
    again = random.sample(sorted(groups), len(groups)) * 2
    assert assign(again, ratio, seed) == parts


@settings(max_examples=20)
@given(st.integers(8, 20), st.integers(0, 50))
def test_another_seed_is_another_split(n_groups, seed):
    groups = [f"group {i}" for i in range(n_groups)]
    splits = {tuple(assign(groups, (2, 1, 1), seed + i)[group] for group in groups) for i in range(8)}
    assert len(splits) > 1


@given(st.integers(2, 30), shares)
def test_whole_shares_are_kept_exactly(n_groups, ratio):
    assume(min(ratio) > 0)
    parts = list(assign([f"{i}" for i in range(n_groups * sum(ratio))], ratio).values())
    assert [parts.count(part) for part in PARTS] == [n_groups * share for share in ratio]


def make(number: int, **info) -> Atoms:
    structure = Atoms("Al2", [[0, 0, 0], [0, 0, 2.0 + number / 7]], info=info)
    return labelled(structure, RawLabel(-number / 3, -number / 3 - 0.1, np.full((2, 3), 0.5), {}), HASH)


@pytest.fixture
def dataset(tmp_path):
    """Ten groups of one to ten structures."""
    number = 0
    with Dataset.open(tmp_path / "set", method_hash=HASH) as dataset:
        for group in range(10):
            for scale in range(group + 1):
                dataset.add([make(number, group=f"seed-{group}", scale=0.9 + scale / 10, index=group)])
                number += 1
    return tmp_path / "set"


@pytest.mark.parametrize("by", ["group", "index"])
def test_files(tmp_path, dataset, by):
    counts = split(dataset, tmp_path / "a", (60, 20, 20), by=by, seed=3)
    assert [counts[part]["groups"] for part in PARTS] == [6, 2, 2]
    found = {part: read_labelled(counts[part]["file"]) for part in PARTS}
    groups = {part: {structure.info[by] for structure in structures} for part, structures in found.items()}
    assert sum(map(len, groups.values())) == len(set.union(*groups.values())) == 10
    uids = [structure.info["uid"] for structures in found.values() for structure in structures]
    assert sorted(uids) == sorted(Dataset.read(dataset).uids)
    assert {part: len(structures) for part, structures in found.items()} == {
        part: counts[part]["structures"] for part in PARTS
    }
    plain = ase.io.read(tmp_path / "a" / "test.extxyz", index=0)
    assert plain.get_potential_energy() == pytest.approx(found["test"][0].info["REF_energy"])
    assert np.all(plain.get_forces() == 0.5)


def test_equal_input_gives_equal_files(tmp_path, dataset):
    """And the order in which the labels came only changes the order in a file."""
    with Dataset.open(tmp_path / "turned", method_hash=HASH) as turned:
        turned.add(Dataset.read(dataset).structures()[::-1])
    for source, out in ((dataset, "a"), (dataset, "b"), (tmp_path / "turned", "c")):
        split(source, tmp_path / out, by="group", seed=1)
    for part in PARTS:
        one, two, three = (tmp_path / out / f"{part}.extxyz" for out in "abc")
        assert one.read_bytes() == two.read_bytes()
        assert {s.info["uid"] for s in read_labelled(one)} == {s.info["uid"] for s in read_labelled(three)}


def test_without_a_key_each_structure_stands_for_itself(tmp_path, dataset):
    counts = split(dataset, tmp_path / "out", (90, 10, 0))
    assert {part: found["structures"] for part, found in counts.items()} == {"train": 50, "validation": 5}
    assert not (tmp_path / "out" / "test.extxyz").exists()


def test_what_is_refused(tmp_path, dataset):
    for arguments, words in (
        ({"by": "groop"}, "no key 'groop' to split by; did you mean 'group'"),
        ({"by": "group", "ratio": (98, 1, 1)}, "10 groups are too few for a ratio of 98/1/1"),
        ({"ratio": (1, 1)}, "expected three shares"),
        ({"ratio": (1, -1, 1)}, "expected three shares"),
        ({"ratio": (float("nan"), 1, 1)}, "expected three shares"),
    ):
        with pytest.raises(InputError, match=words):
            split(dataset, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
    split(dataset, tmp_path / "out")
    with pytest.raises(InputError, match=r"test\.extxyz is of another split; remove it"):
        split(dataset, tmp_path / "out", (90, 10, 0))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        split(dataset, tmp_path / "file" / "out")
    with pytest.raises(InputError, match="80/10/10"):
        parse_ratio("80:20")
