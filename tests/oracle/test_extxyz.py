"""Frames: whatever is written comes back as what it was."""

from __future__ import annotations

import io

import ase.io
import numpy as np
import pytest
from ase import Atoms
from hypothesis import example, given
from hypothesis import strategies as st

from oracle.extxyz import frames
from oracle.frame_parser import index_frames, parse_frames

TRICKY = [
    "123",
    "1e5",
    "1d5",
    "T",
    "T F",
    "",
    "a b",
    " a",
    "a ",
    'q"\\',
    "None",
    "nan",
    "[1]",
    "{",
    "}",
    "_JSON 1",
    "x=y",
    "a\nb",
]
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12) | st.sampled_from(TRICKY)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(words, words, numbers, st.integers(-(2**40), 2**40), st.booleans())
def test_info_comes_back(first, second, number, count, flag):
    info = {"config_type": first, "reason": second, "number": number, "count": count, "flag": flag, "last": "end"}
    back = parse_frames(frames([Atoms("Al", info=info)] * 2))[1].info
    assert back == info
    assert {key: type(back[key]) for key in ("config_type", "reason", "flag")} == {
        "config_type": str,
        "reason": str,
        "flag": bool,
    }


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=5), st.integers(0, 7))
def test_arrays_come_back_bit_for_bit(vectors, pbc):
    structure = Atoms(["Cu"] * len(vectors), vectors, cell=np.diag([1 / 3, 2.0, 3.0]), pbc=[pbc & 1, pbc & 2, pbc & 4])
    structure.arrays["REF_forces"] = np.array(vectors)[:, ::-1].copy()
    structure.arrays["rim"] = np.arange(len(vectors)) % 2 == 0
    structure.arrays["tags"] = np.arange(len(vectors))
    back = parse_frames(frames([structure]))[0]
    assert set(back.arrays) == set(structure.arrays)
    for name, array in structure.arrays.items():
        assert np.array_equal(back.arrays[name], array)
    assert np.array_equal(back.cell, structure.cell)
    assert np.array_equal(back.pbc, structure.pbc)


def test_what_is_not_a_scalar_stays_out():
    structure = Atoms("Al", info={"provenance": {"host": "a"}, "list": [1, 2], "kept": 1})
    assert parse_frames(frames([structure]))[0].info == {"kept": 1}


def by_ase(text: str) -> list[Atoms]:
    return list(ase.io.iread(io.StringIO(text), index=":", format="extxyz"))


def alike(one: Atoms, other: Atoms) -> bool:
    """Whether both readers understood a frame in the same way, types included."""
    same_info = list(one.info.items()) == list(other.info.items())
    same_types = [type(value) for value in one.info.values()] == [type(value) for value in other.info.values()]
    same_arrays = set(one.arrays) == set(other.arrays) and all(
        np.array_equal(array, other.arrays[name]) and array.dtype.kind == other.arrays[name].dtype.kind
        for name, array in one.arrays.items()
    )
    same_box = np.array_equal(one.cell, other.cell) and np.array_equal(one.pbc, other.pbc)
    return same_info and same_types and same_arrays and same_box


values = words | numbers | st.integers(-(2**40), 2**40) | st.booleans()
keys = st.sampled_from(["config_type", "uid", "scale", "bonds", "UID", "a-b", "c d", "energy", "é", "key", "charge"])


@given(st.dictionaries(keys, values, max_size=5), st.integers(1, 3), st.booleans())
@example({"uid": "123"}, 1, False)
@example({"bonds": "0-1:1 0-2:a", "scale": 0.9}, 2, True)
def test_the_fast_reader_understands_what_ase_understands(info, n_atoms, with_forces):
    structure = Atoms(["Al"] * n_atoms, np.arange(3 * n_atoms).reshape(-1, 3) / 7, info=info)
    if with_forces:
        structure.arrays["REF_forces"] = structure.positions / 3
        structure.set_cell([3.0, 4.0, 5.0])
        structure.pbc = [True, False, True]
    text = frames([structure, Atoms("Cu")])
    assert all(alike(one, other) for one, other in zip(parse_frames(text), by_ase(text), strict=True))


FOREIGN = [
    '2\nProperties=species:S:1:pos:R:3 energy=-1.0 pbc="F F F"\nAl 0 0 0\nal 0 0 2.5\n',
    '1\nLattice="4 0 0 0 4 0 0 0 4"\nCu 0 0 0\n',
    "1\n\nCu 0 0 0\n",
    '1\nProperties=species:S:1:pos:R:3:forces:R:3 list="1 2 3" flag pbc="T T T"\nCu 0 0 0 0 0 1\n',
    '1\nProperties=species:S:1:pos:R:3:tags:I:1:rim:L:1 a=[1, 2] b={1 2} pbc="F F F"\nCu 0 0 0 7 T\n',
    '1\nProperties=species:S:1:pos:R:3:move_mask:L:1 pbc="F F F"\nCu 0 0 0 F\n',
    '1\nProperties=pos:R:3:species:S:1 a=1,2 b=1d5 c="T F" pbc="F F F"\n0 0 1 Cu\n',
]


@pytest.mark.parametrize("text", FOREIGN)
def test_frames_of_others_go_to_ase(text):
    one, other = parse_frames(text)[0], by_ase(text)[0]
    assert {key: str(value) for key, value in one.info.items()} == {
        key: str(value) for key, value in other.info.items()
    }
    assert one.arrays.keys() == other.arrays.keys()
    assert all(np.array_equal(array, other.arrays[name]) for name, array in one.arrays.items())
    assert np.array_equal(one.cell, other.cell)
    assert np.array_equal(one.pbc, other.pbc)
    assert len(one.constraints) == len(other.constraints)
    assert (one.calc is None) == (other.calc is None)


def test_a_list_is_nobody_elses_list():
    text = '1\nProperties=species:S:1:pos:R:3 list="T F" pbc="F F F"\nCu 0 0 0\n'
    first = parse_frames(text)[0].info["list"]
    first[0] = "changed"
    assert parse_frames(text)[0].info["list"] == [True, False]


@given(st.lists(st.tuples(st.integers(1, 4), words), max_size=5))
def test_the_index_finds_every_frame(found):
    structures = [
        Atoms(["Al"] * n_atoms, info={"reason": reason, "uid": f"a{i:023d}", "method_hash": "b" * 16})
        for i, (n_atoms, reason) in enumerate(found)
    ]
    content = frames(structures).encode()
    spans = index_frames(content)
    assert [span.uid for span in spans] == [structure.info["uid"] for structure in structures]
    assert {span.method_hash for span in spans} <= {"b" * 16}
    pieces = [content[span.start : span.stop] for span in spans]
    assert b"".join(pieces) == content
    for piece, structure in zip(pieces, structures, strict=True):
        assert parse_frames(piece.decode())[0].info == structure.info


def test_a_frame_that_ends_early_is_an_error():
    with pytest.raises(ValueError, match="ends after"):
        parse_frames("3\n\nAl 0 0 0\n")
