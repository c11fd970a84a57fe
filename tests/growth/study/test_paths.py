"""Paths and rates against small chains solved directly and against brute force."""

from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.io import read
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from growth.errors import InputError
from growth.study.alignment import superposition
from growth.study.landscape import Landscape, Saddle, Stationary
from growth.study.paths import PathSettings, along, fastest_path, lowest_path, paths, write_paths
from growth.study.rates import first_passage, occupation, rate_constant, rate_matrix
from tests.growth.study.landscapes import made

T = 500.0


@st.composite
def joined(draw: st.DrawFn) -> tuple[Any, ...]:
    """Three to six minima, all joined, each with its symmetry and vibrations."""
    n = draw(st.integers(3, 6))
    energies = draw(st.lists(st.floats(-0.5, 0.0), min_size=n, max_size=n))
    orders = draw(st.lists(st.sampled_from([1, 2, 4, 6]), min_size=n, max_size=n))
    logs = draw(st.lists(st.floats(25.0, 35.0), min_size=n, max_size=n))
    ends = [(k, draw(st.integers(0, k - 1))) for k in range(1, n)]
    ends += draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=6))
    rises = draw(st.lists(st.floats(0.01, 0.6), min_size=len(ends), max_size=len(ends)))
    its_orders = draw(st.lists(st.sampled_from([1, 2]), min_size=len(ends), max_size=len(ends)))
    saddles = [(a, b, max(energies[a], energies[b]) + rise) for (a, b), rise in zip(ends, rises, strict=True)]
    return energies, saddles, orders, logs, its_orders


@settings(max_examples=60, deadline=None)
@given(joined())
def test_detailed_balance(case: tuple[Any, ...]) -> None:
    landscape = made(*case)
    rates, shares = rate_matrix(landscape, T, 1e13), occupation(landscape, T, range(len(landscape.minima)))
    flux = shares[:, None] * rates
    assert np.allclose(flux, flux.T, rtol=1e-9, atol=0)
    forward, reverse = rate_constant(rates, shares, [0], [1, 2]), rate_constant(rates, shares, [1, 2], [0])
    assert shares[0] * forward == pytest.approx((shares[1] + shares[2]) * reverse, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(joined())
def test_rates_against_a_linear_system(case: tuple[Any, ...]) -> None:
    landscape = made(*case)
    n = len(landscape.minima)
    rates, shares = rate_matrix(landscape, T, 1e13), occupation(landscape, T, range(n))
    flow = np.diag(rates.sum(axis=1)) - rates
    assume(np.linalg.cond(flow[:-1, :-1]) < 1e10)
    times = np.append(np.linalg.solve(flow[:-1, :-1], np.ones(n - 1)), 0.0)
    start = [0, 1]
    expected = times[start] @ shares[start] / shares[start].sum()
    assert first_passage(rates, shares, start, [n - 1]) == pytest.approx(expected, rel=1e-4)
    others = list(range(2, n - 1))
    splitting = np.zeros(n)  # chance to reach the end before the start
    splitting[n - 1] = 1.0
    if others:
        splitting[others] = np.linalg.solve(flow[np.ix_(others, others)], rates[others, n - 1])
    steady = (shares[start] @ rates[start] @ np.where(np.isin(np.arange(n), start), 0.0, splitting)) / shares[
        start
    ].sum()
    assert rate_constant(rates, shares, start, [n - 1]) == pytest.approx(steady, rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(joined())
def test_paths_against_all_paths(case: tuple[Any, ...]) -> None:
    landscape = made(*case)
    n, rates = len(landscape.minima), rate_matrix(landscape, T, 1e13)
    ways = [[0, *middle, n - 1] for k in range(n - 1) for middle in permutations(range(1, n - 1), k)]
    ways = [way for way in ways if all(rates[a, b] > 0 for a, b in pairwise(way))]
    branching = rates / rates.sum(axis=1, keepdims=True)

    def chance(way: list[int]) -> float:
        return float(np.prod([branching[a, b] for a, b in pairwise(way)]))

    def highest(way: list[int]) -> float:
        steps = [{a, b} for a, b in pairwise(way)]
        return max(min(s.energy for s in landscape.joining if set(s.ends) == step) for step in steps)

    fastest, lowest = fastest_path(landscape, rates, [0], [n - 1]), lowest_path(landscape, rates, [0], [n - 1])
    assert fastest.probability == pytest.approx(max(map(chance, ways)), rel=1e-9)
    assert fastest.probability == pytest.approx(chance(fastest.minima), rel=1e-9)
    assert highest(lowest.minima) == min(map(highest, ways))
    for way in (fastest, lowest):
        for saddle, ends in zip(way.saddles, pairwise(way.minima), strict=True):
            assert set(landscape.saddles[saddle].ends) == set(ends)


def test_rates_hold_where_subtraction_would_not() -> None:
    """A pair that flickers at 1e12 1/s and leaks over 3 eV at 300 K: one part in 1e38."""
    landscape = made([0.0, 0.05, -1.0], [(0, 1, 0.06), (1, 2, 3.0)])
    found = paths(landscape, PathSettings(start=(0, 1), end=(2,), temperature_K=300.0))
    kT = units.kB * 300.0
    shares = np.exp(-np.array([0.0, 0.05]) / kT)
    expected = 1e13 * np.exp(-2.95 / kT) * shares[1] / shares.sum()
    assert found.forward == pytest.approx(expected, rel=1e-9)
    assert found.mean_time == pytest.approx(1 / expected, rel=1e-6)
    assert found.reverse == pytest.approx(1e13 * np.exp(-4.0 / kT), rel=1e-9)


def test_symmetry_opens_ways() -> None:
    """Four equal hops lead out of a hollow of order 8 over a bridge of order 2."""
    rates = rate_matrix(made([0.0, 0.0], [(0, 1, 0.4)], [8, 1], [30.0, 30.0], [2]), T, 1e13)
    assert rates[0, 1] == pytest.approx(4 * np.exp(29.5 - 0.4 / (units.kB * T)))
    assert rates[1, 0] == pytest.approx(rates[0, 1] / 8)


def test_members_that_disagree() -> None:
    landscape = made([-1.0, -2.0], [(0, 1, -0.5)], n_members=2)
    found = paths(landscape, PathSettings(temperature_K=T))
    assert (found.start, found.end) == ((0,), (1,))
    assert found.forward_std == pytest.approx(0.5 * 0.05 / (units.kB * T), rel=1e-9)


@pytest.mark.parametrize(
    ("landscape", "given", "message"),
    [
        (made([0.0], []), {}, "expected two minima at least"),
        (made([0.0, 1.0], []), {}, "no saddle known joins"),
        (made([0.0, 1.0], [(0, 1, 2.0)]), {"start": (5,)}, "expected numbers of minima from 0 to 1, got 5"),
        (made([0.0, 1.0], [(0, 1, 2.0)]), {"start": (0,), "end": (0,)}, "both name 0"),
    ],
)
def test_what_cannot_be_asked(landscape: Landscape, given: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        paths(landscape, PathSettings(**given))  # type: ignore[arg-type]


def test_structures_follow_the_atoms(tmp_path: Path) -> None:
    """Three shapes of four atoms; each stretch was found in its own frame, its atoms in an order of its own."""
    rng = np.random.default_rng(0)
    shapes = [Atoms("Cu4", rng.normal(0, 2, (4, 3))) for _ in range(5)]  # minimum, saddle, minimum, saddle, minimum
    turned = shapes[2].copy()
    turned.rotate(70, "x")
    turned = turned[[2, 0, 3, 1]]
    landscape = Landscape()
    for k, shape in enumerate((shapes[0], turned, shapes[4])):
        landscape.minima.append(Stationary(shape, 0.1 * k, np.array([0.1 * k]), 2, float("nan"), 0))
    values = {"order": 2, "log_frequencies": float("nan"), "n_unstable": 1}
    landscape.saddles.append(Saddle(shapes[1], 0.5, np.array([0.5]), **values, ends=(0, 1), final=shapes[2]))  # type: ignore[arg-type]
    landscape.saddles.append(Saddle(shapes[3], 0.6, np.array([0.6]), **values, ends=(2, 1), final=shapes[2]))  # type: ignore[arg-type]
    found = paths(landscape, PathSettings(start=(0,), end=(2,)))
    frames = along(landscape, found.fastest, found.settings)
    for frame, shape in zip(frames, shapes, strict=True):
        assert np.allclose(frame.positions, shape.positions, atol=1e-6)
    assert superposition(frames[2], turned, 0.1) is not None
    told = write_paths(found, tmp_path)
    assert told["fastest_path"] == [0, 1, 2]
    assert told["fastest_path_highest_ev"] == pytest.approx(0.6)
    kinds = [frame.info["kind"] for frame in read(tmp_path / "paths.extxyz", index=":")]
    assert kinds == ["minimum", "saddle", "minimum", "saddle", "minimum"]
    assert {path.name for path in tmp_path.iterdir()} == {f"paths.{end}" for end in ("json", "csv", "extxyz", "png")}
