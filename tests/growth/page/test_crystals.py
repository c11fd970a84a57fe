"""What a page holds of the growth, unpacked again, is what the events say."""

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from hypothesis import given
from hypothesis import strategies as st

from growth.events import replay
from growth.order import KINDS, Order
from growth.page import crystals
from growth.page.crystals import RESOLUTION, Kinds, growths, packed_levels, packed_positions
from growth.page.run_files import read_run
from tests.growth.page.imitation import fcc_sites, imitate


def unpacked(packed: dict, kind: str = "<i2") -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["data"]), dtype=kind)


def positions_of(packed: dict) -> np.ndarray:
    return unpacked(packed).reshape(-1, 3) * packed["unit"] + np.array(packed["centre"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imitate(tmp_path_factory.mktemp("page") / "run")


def test_every_stage_is_the_crystal_of_its_step(run: Path) -> None:
    found = read_run(run)
    assert found.seed is not None
    for growth in growths(found):
        lines = found.walker(growth.walker)
        assert [stage.step for stage in growth.stages] == [0, *(line["step"] for line in lines)]
        for n, stage in enumerate(growth.stages):
            exact = replay(found.seed, lines[:n])
            assert np.array_equal(stage.crystal.positions, exact.positions)
            assert stage.kinds.tolist() == [KINDS.index(kind) for kind in Order(exact).kinds]
            assert sum(stage.order().values()) == pytest.approx(1.0)


def test_age_is_the_step_of_arrival(run: Path) -> None:
    growth = growths(read_run(run))[0]
    assert growth.born == [0] * 14 + [1, 2, 3, 4, 5, 6]
    assert growth.last.ids == list(range(20))


def test_an_atom_that_leaves_takes_its_age_with_it(run: Path) -> None:
    found = read_run(run)
    own = found.walker(0)
    last = own[-1]
    leaves = {**last, "step": 7, "kind": "detach", "atom": 15, "n_atoms": 19, "moved": {}}
    returns = {**last, "step": 8, "n_atoms": 20, "moved": {}}
    growth = growths(replace(found, steps=[*found.steps, leaves, returns]))[0]
    ids = growth.last.ids
    assert 15 not in ids
    assert [growth.born[id_] for id_ in ids] == [0] * 14 + [1, 3, 4, 5, 6, 8]


def test_a_long_growth_is_thinned_and_keeps_its_end(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crystals, "MOST_ATOMS", 50)  # of 210
    growth = growths(read_run(run))[0]
    assert [stage.step for stage in growth.stages] == [0, 5, 6]
    assert growth.left_out == 4
    whole = growths(replace(read_run(run), steps=read_run(run).steps[:1]))[0]
    assert whole.left_out == 0


def test_without_a_seed_nothing_has_grown(run: Path) -> None:
    assert growths(replace(read_run(run), seed=None)) == []


@given(st.integers(1, 40), st.floats(0.1, 300.0), st.integers(0, 2**32 - 1))
def test_positions_survive_packing(n: int, width: float, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(-width, width, (n, 3)) + 1000.0
    packed = packed_positions([Atoms(f"H{n}", points)])
    assert np.abs(positions_of(packed) - points).max() <= packed["unit"] / 2 + 1e-9
    assert packed["unit"] == RESOLUTION or width > 31


def test_levels_survive_packing_and_gaps_are_told() -> None:
    values = [np.array([-1.0, 0.25]), None, np.array([3.0])]
    packed = packed_levels(values, [2, 3, 1])
    assert packed is not None
    levels = unpacked(packed, "<u2")
    assert levels[2:5].tolist() == [65_535] * 3
    known = packed["low"] + (packed["high"] - packed["low"]) * levels[[0, 1, 5]] / 65_534
    assert known == pytest.approx([-1.0, 0.25, 3.0], abs=1e-4)
    assert packed_levels([None], [3]) is None


def test_equal_values_are_packed_as_themselves() -> None:
    packed = packed_levels([np.full(3, 0.5)], [3])
    assert packed is not None
    assert unpacked(packed, "<u2").tolist() == [0, 0, 0]
    assert packed["low"] == packed["high"] == 0.5


def test_kinds_are_those_of_a_crystal_looked_at_whole() -> None:
    rng = np.random.default_rng(0)
    sites = fcc_sites(90)
    kinds = Kinds()
    for n in (60, 70, 71, 90, 80):
        crystal = Atoms(f"Al{n}", sites[:n] + rng.normal(0, 0.25, (n, 3)))
        assert kinds.of(crystal).tolist() == [KINDS.index(kind) for kind in Order(crystal).kinds]


@pytest.mark.parametrize("crystal", [bulk("Cu", cubic=True) * 3, fcc111("Al", (4, 4, 4), vacuum=6.0)])
def test_kinds_see_periodic_neighbours(crystal: Atoms) -> None:
    assert KINDS[np.bincount(Kinds().of(crystal)).argmax()] in ("fcc", "surface")
    assert KINDS.index("fcc") in Kinds().of(crystal)
