"""Frames: whatever is written comes back as what it was."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from oracle.extxyz import frames
from oracle.frame_parser import parse_frames

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
