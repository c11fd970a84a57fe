"""Splits of the benchmarks: disjoint, complete, groups whole, the paper's sizes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.benchmarks import (
    Split,
    crystal_growth,
    infinite_crystal,
    split_by_growth_seed,
    split_by_molecule,
    split_by_scale,
    split_randomly,
)
from learner.errors import InputError

seeds = st.integers(0, 2**32 - 1)
infos_of_molecules = st.lists(
    st.builds(lambda i, extra: {"group": f"qm9-{i:03d}", "extra": extra}, st.integers(0, 40), st.booleans()),
    max_size=80,
)
infos_of_crystals = st.lists(
    st.builds(
        lambda s, i, scale: {"group": f"{s}-{i:02d}", "scale": scale},
        st.sampled_from(["Al", "Cu"]),
        st.integers(0, 19),
        st.floats(0.9, 1.5),
    ),
    max_size=80,
)


def sizes(split: Split) -> list[int]:
    return [len(part) for part in split]


def assert_partition(split: Split, infos: Sequence[Mapping[str, Any]]) -> None:
    together = np.concatenate(split)
    assert sorted(together.tolist()) == [i for i, info in enumerate(infos) if not info.get("extra", False)]
    assert all((np.diff(part) > 0).all() for part in split)


def assert_groups_whole(split: Split, infos: Sequence[Mapping[str, Any]]) -> None:
    train, validation, test = ({infos[i]["group"] for i in part} for part in split)
    assert not train & validation
    assert not train & test
    assert not validation & test


@given(infos_of_molecules, seeds)
def test_molecules_are_whole(infos: list[dict[str, Any]], seed: int) -> None:
    split = split_by_molecule(infos, seed)
    assert_partition(split, infos)
    assert_groups_whole(split, infos)
    again = split_by_molecule(infos, seed)
    assert all(np.array_equal(a, b) for a, b in zip(split, again, strict=True))


@given(st.integers(0, 300), seeds)
def test_a_random_split_is_six_two_two(n: int, seed: int) -> None:
    infos = [{"group": "Al-00"}] * n
    split = split_randomly(infos, seed)
    assert_partition(split, infos)
    assert np.abs(np.array(sizes(split)) - np.array([0.6, 0.2, 0.2]) * n).max() < 1


@given(infos_of_crystals, seeds)
def test_growth_seeds_are_whole(infos: list[dict[str, Any]], seed: int) -> None:
    split = split_by_growth_seed(infos, seed)
    assert_partition(split, infos)
    assert_groups_whole(split, infos)


@given(infos_of_crystals, seeds, st.integers(0, 80))
def test_a_growth_seed_has_one_side_in_every_selection(infos: list[dict[str, Any]], seed: int, n: int) -> None:
    sides = {infos[i]["group"]: side for side, part in enumerate(split_by_growth_seed(infos, seed)) for i in part}
    for side, part in enumerate(split_by_growth_seed(infos[:n], seed)):
        assert all(sides[infos[i]["group"]] == side for i in part)


@given(infos_of_crystals, st.integers(1, 12))
def test_scales_train_at_even_distances(infos: list[dict[str, Any]], n_train: int) -> None:
    for info in infos:
        info["group"] = info["group"][:2]
    split = split_by_scale(infos, n_train)
    assert_partition(split, infos)
    for group in {info["group"] for info in infos}:
        here = [i for i, info in enumerate(infos) if info["group"] == group]
        assert len(set(here) & set(split.train.tolist())) == min(n_train, len(here))


@pytest.mark.parametrize("seed", range(2))
def test_the_papers_sizes(seed: int) -> None:
    molecules = [info for i in range(10_000) for info in [{"group": f"qm9-{i:06d}"}] * 10]
    assert sizes(split_by_molecule(molecules, seed)) == [80_000, 10_000, 10_000]
    crystals = [system.info for system in crystal_growth((15, 16))]
    for kind, n_seeds, cut in (("stable", 20, (12, 4, 4)), ("unstable", 5, (3, 1, 1))):
        infos = [info for info in crystals if info["config_type"] == f"crystal-growth-{kind}"]
        split = split_by_growth_seed(infos, seed)
        per_seed = len(infos) // (2 * n_seeds)
        assert sizes(split) == [2 * n * per_seed for n in cut]
        for species in ("Al", "Cu"):
            groups = [{infos[i]["group"] for i in part if str(infos[i]["group"]).startswith(species)} for part in split]
            assert tuple(len(part) for part in groups) == cut
        assert sizes(split_randomly(infos, seed)) == [len(infos) * 6 // 10, len(infos) * 2 // 10, len(infos) * 2 // 10]


def test_the_infinite_crystal_trains_on_eight_points_of_each_element() -> None:
    infos = [system.info for system in infinite_crystal()]
    split = split_by_scale(infos)
    assert sizes(split) == [16, 19_992, 19_992]
    for species in ("Al", "Cu"):
        scales = sorted(infos[i]["scale"] for i in split.train if infos[i]["group"] == species)
        assert np.allclose(scales, np.linspace(0.9, 1.5, 8), atol=2e-5)
    tested = np.array([infos[i]["scale"] for i in split.test])
    validated = np.array([infos[i]["scale"] for i in split.validation])
    assert np.quantile(tested, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(validated, [0.1, 0.5, 0.9]), abs=1e-4)


def test_seeds_matter() -> None:
    infos = [system.info for system in crystal_growth((15, 15))]
    tests = {tuple(sorted({str(infos[i]["group"]) for i in split_by_growth_seed(infos, k).test})) for k in range(10)}
    assert len(tests) > 5
    assert not np.array_equal(split_randomly(infos, 0).test, split_randomly(infos, 1).test)


def test_a_group_that_is_no_growth_seed_is_refused() -> None:
    with pytest.raises(InputError, match="group 'Al': expected a growth seed such as 'Al-07'"):
        split_by_growth_seed([{"group": "Al"}], 0)
