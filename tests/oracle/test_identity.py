"""The uid: equal where the label is equal, different where it may differ, the same after writing and reading."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from oracle.extxyz import frames
from oracle.frame_parser import parse_frames
from oracle.identity import hash_of, letter_first, uid

HASH = "abcdef0123456789"
# Coordinates as people write them: multiples of 1e-4 Å, where rounding noise could decide if the borders lay there.
written = st.integers(-80_000, 80_000).map(lambda n: n / 10_000)
anything = st.floats(-1e4, 1e4)


def points(coordinate: st.SearchStrategy[float]) -> st.SearchStrategy[list[tuple[float, float, float]]]:
    return st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=1, max_size=8)


@given(points(written), st.tuples(written, written, written))
def test_translation_does_not_change_a_cluster(positions, shift):
    structure = Atoms(["Al"] * len(positions), positions)
    moved = structure.copy()
    moved.translate(shift)
    assert uid(structure, HASH) == uid(moved, HASH)


@given(points(anything))
def test_survives_a_file_exactly(positions):
    structure = Atoms(["Cu"] * len(positions), positions, cell=[3.1, 4.7, 1 / 3], pbc=[True, False, False])
    back = parse_frames(frames([structure]))[0]
    assert np.array_equal(back.positions, structure.positions)
    assert uid(back, HASH) == uid(structure, HASH)


@given(points(written))
def test_minus_zero_is_zero(positions):
    array = np.array(positions)
    negative = np.where(array == 0.0, -0.0, array)
    species = ["Al"] * len(array)
    assert uid(Atoms(species, array, pbc=True), HASH) == uid(Atoms(species, negative, pbc=True), HASH)


@given(points(written), st.integers(0, 7), st.integers(0, 2), st.sampled_from([-1e-3, 3e-5, 0.1]))
def test_a_moved_atom_is_another_structure(positions, index, axis, distance):
    structure = Atoms(["Al"] * len(positions), positions, pbc=True)
    moved = structure.copy()
    moved.positions[index % len(positions), axis] += distance
    assert uid(structure, HASH) != uid(moved, HASH)


def change_species(structure: Atoms) -> None:
    structure.numbers[0] = 29


def change_cell(structure: Atoms) -> None:
    structure.set_cell([4.0, 4.0, 4.001])


def change_pbc(structure: Atoms) -> None:
    structure.pbc = [True, True, False]


def shift_periodic(structure: Atoms) -> None:
    structure.translate(0.1)


@pytest.mark.parametrize("change", [change_species, change_cell, change_pbc, shift_periodic])
def test_sensitive(change):
    structure = Atoms("Al2", [[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True)
    changed = structure.copy()
    change(changed)
    assert uid(structure, HASH) != uid(changed, HASH)


def test_another_method_is_another_uid():
    assert uid(Atoms("Al"), "a" * 16) != uid(Atoms("Al"), "b" * 16)


def test_noise_below_the_resolution_is_nothing():
    structure = Atoms("Al2", [[0, 0, 0], [0, 0, 2.5]])
    noisy = structure.copy()
    noisy.positions += 1e-9 * np.array([[1, -1, 1], [-1, 1, -1]])
    assert uid(structure, HASH) == uid(noisy, HASH)


def test_not_finite_has_no_uid():
    with pytest.raises(ValueError, match="not finite"):
        uid(Atoms("Al", [[np.nan, 0, 0]]), HASH)


@given(st.integers(0, 16**24 - 1))
def test_hashes_never_read_as_numbers(number):
    text = letter_first(f"{number:024x}")
    back = parse_frames(frames([Atoms("H", info={"uid": text})]))[0].info["uid"]
    assert back == text
    assert isinstance(back, str)


def test_hash_of_ignores_the_order_of_keys():
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1}) != hash_of({"a": 2, "b": 1})
