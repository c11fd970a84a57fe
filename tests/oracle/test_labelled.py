"""Reading anybody's labelled structures: which key wins, and what is refused."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from oracle import Dataset, InputError, read_labelled

FORCES = np.array([[0.0, 0.0, -0.25], [0.0, 0.0, 0.25]])


def dimer(**info) -> Atoms:
    return Atoms("Al2", [[0, 0, 0], [0, 0, 2.6]], info=info)


def with_results(structure: Atoms, **results) -> Atoms:
    structure.calc = SinglePointCalculator(structure, **results)
    return structure


def write(path, structures):
    ase.io.write(path, structures)
    return path


def test_plain_results_and_ref_keys_give_the_same(tmp_path):
    plain = with_results(dimer(), energy=-1.0, free_energy=-1.1, forces=FORCES)
    ref = dimer(REF_energy=-1.0, REF_free_energy=-1.1)
    ref.arrays["REF_forces"] = FORCES
    for structure in (plain, ref):
        back = read_labelled(write(tmp_path / "x.extxyz", [structure]))[0]
        assert (back.info["REF_energy"], back.info["REF_free_energy"]) == (-1.0, -1.1)
        assert back.get_potential_energy() == -1.0
        assert back.get_potential_energy(force_consistent=True) == -1.1
        assert np.array_equal(back.arrays["REF_forces"], FORCES)
        assert np.array_equal(back.get_forces(), FORCES)


def everything() -> Atoms:
    structure = with_results(dimer(REF_energy=-1.0, dft=-3.0), energy=-2.0, free_energy=-2.5, forces=2 * FORCES)
    structure.arrays["REF_forces"] = FORCES
    structure.arrays["dft_forces"] = 3 * FORCES
    return structure


@pytest.mark.parametrize(
    ("keys", "energy", "free_energy", "factor"),
    [
        ((), -1.0, -1.0, 1),
        (("dft", "dft_forces"), -3.0, -3.0, 3),
        (("energy", "forces"), -2.0, -2.0, 2),
        (("missing",), -1.0, -1.0, 1),
    ],
)
def test_which_key_wins(tmp_path, keys, energy, free_energy, factor):
    back = read_labelled(write(tmp_path / "x.extxyz", [everything()]), *keys)[0]
    assert (back.info["REF_energy"], back.info["REF_free_energy"]) == (energy, free_energy)
    assert np.array_equal(back.arrays["REF_forces"], factor * FORCES)


def test_an_energy_alone_is_enough(tmp_path):
    back = read_labelled(write(tmp_path / "x.extxyz", [with_results(dimer(), energy=-1.0)]))[0]
    assert back.info["REF_free_energy"] == -1.0
    assert "forces" not in back.calc.results


@pytest.mark.parametrize(
    ("structures", "words"),
    [
        ([with_results(dimer(), energy=-1.0), dimer()], "structure 1: no energy"),
        ([dimer(dft=1.0)], "name its key"),
        ([dimer(REF_energy="much")], "energy is 'much'"),
        ([dimer(REF_energy=np.nan)], "energy is nan"),
        ([with_results(dimer(), energy=-1.0, forces=FORCES + np.inf)], "forces are not finite"),
        (
            [with_results(dimer(), energy=-1.0, forces=FORCES), with_results(dimer(), energy=-1.0)],
            "structure 1: no forces",
        ),
        ([dimer(REF_energy=-1.0, method_hash="a" * 16), dimer(REF_energy=-1.0, method_hash="b" * 16)], "do not mix"),
        ([dimer(REF_energy=-1.0, method_hash="a" * 16), dimer(REF_energy=-1.0)], "do not mix"),
    ],
)
def test_refused(tmp_path, structures, words):
    path = write(tmp_path / "x.extxyz", structures)
    with pytest.raises(InputError, match=words) as caught:
        read_labelled(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file"),
        ("", "x.extxyz"),
        ("1\nProperties=species:S:1:pos:R:3\nQq 0 0 0\n", "unknown element"),
        ("2\n\nAl 0 0 0\n", "cannot be read"),
    ],
)
def test_files_that_are_none(tmp_path, text, words):
    path = tmp_path / "x.extxyz"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_labelled(path)
    assert "\n" not in str(caught.value)


def test_a_dataset_directory_is_read_too(tmp_path, labels, emt):
    with Dataset.open(tmp_path, method=emt) as dataset:
        dataset.add(labels)
    assert [structure.info["uid"] for structure in read_labelled(tmp_path)] == dataset.uids
