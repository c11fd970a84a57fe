from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from ase.units import _amu, _e, kB
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chisquare, ks_2samp, kstest

from growth.errors import InputError
from growth.kinetics import (
    LARGE,
    _binomial,
    _poisson,
    arrhenius,
    arrival_rates,
    draw_event,
    draw_exits,
    equilibrium,
    flicker,
    flux_of_monolayers,
    found_by_dynamics,
    free_energy_change,
    frequencies,
    good_turing,
    harmonic_free_energy,
    mean_exit,
    missing_share,
    reverse_prefactor,
    reverse_rate,
    stationary,
    total_rate,
    unseen,
    vineyard,
    xu_henkelman,
)

UNLIKELY = 1e-3
"""Seeds are fixed: a right program passes always, a wrong one has p-values far below."""
SIGMAS = 4.0


def chain(right: list[float], left: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """States in a row with an exit at either end: rates to the right (the last out), to the left (the first out)."""
    transient = np.diag(right[:-1], 1) + np.diag(left[1:], -1)
    exits = np.zeros((len(right), 2))
    exits[0, 0], exits[-1, 1] = left[0], right[-1]
    return transient, exits


def chain_probability(right: list[float], left: list[float], start: int) -> float:
    """Of the exit on the right: committors of a row of states add up like resistances."""
    resistances = np.cumprod([1.0, *(b / a for a, b in zip(right, left, strict=True))])
    return float(resistances[: start + 1].sum() / resistances.sum())


def random_basin(rng: np.random.Generator, n: int, decades: float) -> tuple[np.ndarray, np.ndarray]:
    transient = 10.0 ** rng.uniform(0.0, decades, (n, n)) * (rng.random((n, n)) < 0.7)
    transient += np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)
    exits = 10.0 ** rng.uniform(-1.0, 0.5, (n, 3)) * (rng.random((n, 3)) < 0.6)
    exits[0, 0] += 0.1
    return transient, exits


def hop_by_hop(
    transient: np.ndarray, exits: np.ndarray, start: int, rng: np.random.Generator, n_draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """Exits by the plain residence-time algorithm, all walkers side by side."""
    n = len(transient)
    rates = np.hstack([transient * (1 - np.eye(n)), exits])
    totals, cumulative = rates.sum(axis=1), np.cumsum(rates, axis=1)
    where, times = np.full(n_draws, start), np.zeros(n_draws)
    while (inside := np.flatnonzero(where < n)).size:
        i = where[inside]
        times[inside] += rng.exponential(1.0 / totals[i])
        where[inside] = (cumulative[i] <= rng.random((len(i), 1)) * cumulative[i, -1:]).sum(axis=1)
    return times, where - n


def exit_law(transient: np.ndarray, exits: np.ndarray, start: int, exit: int) -> Callable[[np.ndarray], np.ndarray]:
    """Distribution function of the time of one exit, the phase-type law by diagonalisation (mild rates only)."""
    n = len(transient)
    generator = transient * (1 - np.eye(n))
    generator -= np.diag(generator.sum(axis=1) + exits.sum(axis=1))
    values, vectors = np.linalg.eig(generator)
    weights = vectors[start] * np.linalg.solve(vectors, exits[:, exit].astype(complex)) / -values
    return lambda t: np.real((1.0 - np.exp(np.multiply.outer(t, values))) @ weights / weights.sum())


# Rates


def test_arrhenius_and_its_slope() -> None:
    assert arrhenius(0.0, 1e13, 300.0) == 1e13
    assert arrhenius(0.5, 1e13, 300.0) == pytest.approx(1e13 * np.exp(-0.5 / (8.617333262e-5 * 300.0)), rel=1e-4)
    k = arrhenius(np.array([0.1, 0.7]), np.array([1e12, 1e13]), 500.0)
    assert kB * 500.0 * np.log(k[0] / k[1] * 10.0) == pytest.approx(0.6)


def test_frequency_of_a_diatomic_molecule() -> None:
    """Two masses on a spring k: sqrt(k/μ)/2π along the axis, five rigid modes."""
    k, masses = 12.5, np.array([1.0, 3.0])
    hessian = np.zeros((6, 6))
    hessian[np.ix_([0, 3], [0, 3])] = k * np.array([[1.0, -1.0], [-1.0, 1.0]])
    expected = np.sqrt(k * _e * 1e20 / (0.75 * _amu)) / (2 * np.pi)
    assert frequencies(hessian, masses, n_rigid=5) == pytest.approx([expected], rel=1e-9)


def test_frequencies_of_an_atom_in_an_isotropic_well_beside_a_free_one() -> None:
    found = frequencies(np.diag([0.0, 0.0, 0.0, 2.0, 2.0, -2.0]), np.array([1.0, 3.0]), n_rigid=3)
    assert found == pytest.approx(
        np.array([-1, 1, 1]) * np.sqrt(2.0 * _e * 1e20 / (3.0 * _amu)) / (2 * np.pi), rel=1e-9
    )


def test_prefactor_of_a_cosine_valley() -> None:
    """E = A/2 (1 − cos 2πx/a) + c/2 (1 + b cos 2πx/a) y²: √(A/2m)/a along x, and y stiffer at the minimum."""
    A, a, c, b, mass = 0.4, 2.5, 3.0, 0.2, 27.0
    along = 0.5 * A * (2 * np.pi / a) ** 2
    well = frequencies(np.diag([along, c * (1 + b)]), np.array([mass, mass]))
    top = frequencies(np.diag([-along, c * (1 - b)]), np.array([mass, mass]))
    rate_of_1d = np.sqrt(A * _e / (2 * mass * _amu)) / (a * 1e-10)
    assert vineyard(well, top) == pytest.approx(rate_of_1d * np.sqrt((1 + b) / (1 - b)), rel=1e-9)


def test_both_ways_over_a_saddle_balance_the_free_energies_of_the_wells() -> None:
    start, end, saddle = np.array([2e12, 5e12, 8e12]), np.array([1e12, 4e12, 9e12]), np.array([-3e12, 3e12, 7e12])
    T, barrier, change = 450.0, 0.62, -0.17
    forward = float(arrhenius(barrier, vineyard(start, saddle), T))
    backward = float(arrhenius(barrier - change, vineyard(end, saddle), T))
    dF = harmonic_free_energy(change, end, T) - harmonic_free_energy(0.0, start, T)
    assert free_energy_change(forward, backward, T) == pytest.approx(dF, rel=1e-9)
    assert reverse_rate(forward, dF, T) == pytest.approx(backward, rel=1e-9)
    assert reverse_prefactor(vineyard(start, saddle), start, end) == pytest.approx(vineyard(end, saddle), rel=1e-12)


def test_classical_free_energy_is_that_of_the_partition_function() -> None:
    """One mode of hν = kT has q = 1; entropy −dF/dT of one mode is k(1 + ln kT/hν)."""
    T, h = 300.0, 4.135667696e-15
    assert harmonic_free_energy(-1.5, np.array([kB * T / h]), T) == pytest.approx(-1.5)
    slope = (
        harmonic_free_energy(0.0, np.array([1e12]), T + 0.1) - harmonic_free_energy(0.0, np.array([1e12]), T - 0.1)
    ) / 0.2
    assert -slope == pytest.approx(kB * (1 + np.log(kB * T / (h * 1e12))), rel=1e-6)


def test_flux() -> None:
    """0.1 monolayers a second on 100 sites are ten atoms a second; half of them stay."""
    site = 8.2
    flux = flux_of_monolayers(np.array([0.1, 0.02]), site)
    assert arrival_rates(flux, 100 * site) == pytest.approx([10.0, 2.0])
    assert arrival_rates(flux, 100 * site, np.array([0.5, 1.0])) == pytest.approx([5.0, 2.0])


# The residence-time algorithm


def test_a_single_event_waits_exponentially() -> None:
    rng = np.random.default_rng(1)
    drawn = [draw_event(np.array([0.0, 4.0, 0.0]), rng) for _ in range(2000)]
    times = np.array([time for _, time in drawn])
    assert {event for event, _ in drawn} == {1}
    assert abs(times.mean() - 0.25) < SIGMAS * 0.25 / np.sqrt(len(times))
    assert kstest(times, "expon", args=(0.0, 0.25)).pvalue > UNLIKELY


def test_competing_events_come_as_their_rates_and_the_time_does_not_tell_which() -> None:
    rates, rng = np.array([1.0, 0.0, 3.0, 6.0]), np.random.default_rng(2)
    drawn = [draw_event(rates, rng) for _ in range(4000)]
    events, times = np.array([e for e, _ in drawn]), np.array([t for _, t in drawn])
    counts = np.bincount(events, minlength=4)
    assert counts[1] == 0
    assert chisquare(counts[[0, 2, 3]], 4000 * rates[[0, 2, 3]] / 10.0).pvalue > UNLIKELY
    for event in (0, 2, 3):
        assert kstest(times[events == event], "expon", args=(0.0, 0.1)).pvalue > UNLIKELY


# Superbasins


@pytest.mark.parametrize("ratio", [1.0, 1e4, 1e8, 1e12])
@pytest.mark.parametrize("start", [0, 1])
def test_two_flickering_states_in_closed_form(ratio: float, start: int) -> None:
    """A ⇄ B at f, out of A at a, of B at b: all from sums of products, no difference."""
    f, a, b = ratio, 0.7, 0.2
    below = f * a + f * b + a * b
    expected_times = [(f + b) / below, f / below] if start == 0 else [f / below, (f + a) / below]
    times, probabilities = mean_exit(np.array([[0.0, f], [f, 0.0]]), np.diag([a, b]), start)
    assert np.allclose(times, expected_times, rtol=1e-13, atol=0.0)
    assert np.allclose(probabilities, np.array([a, b]) * expected_times, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("ratio", [1.0, 1e4, 1e8, 1e12])
def test_three_states_in_closed_form_and_in_any_order(ratio: float) -> None:
    """A ⇄ B ⇄ C, out of A and of C, from B: excursions from B to either side end outside or back in B."""
    right, left = [3.0 * ratio, 0.5 * ratio, 0.3], [1e-3, 2.0 * ratio, 5.0 * ratio]
    transient, exits = chain(right, left)
    p = chain_probability(right, left, 1)
    out_left, out_right = left[0] / (left[0] + right[0]), right[2] / (right[2] + left[2])  # before a return to B
    middle = 1.0 / (left[1] * out_left + right[1] * out_right)
    expected = middle * np.array([left[1] / (left[0] + right[0]), 1.0, right[1] / (right[2] + left[2])])
    for order in permutations(range(3)):
        o = np.array(order)
        times, probabilities = mean_exit(transient[np.ix_(o, o)], exits[o], order.index(1))
        assert np.allclose(times, expected[o], rtol=1e-10, atol=0.0)
        assert np.allclose(probabilities, [1.0 - p, p], rtol=1e-10, atol=0.0)


def test_elimination_keeps_digits_that_a_linear_solve_loses() -> None:
    f, a = 1.1e12, 0.7
    transient, exits = chain([f, f, f, a], [0.0, f, f, f])
    exact = 4.0 / a + 6.0 / f  # a row of n: each step to the right waits for those left of it
    generator = np.diag(transient.sum(axis=1) + exits.sum(axis=1)) - transient
    naive = np.linalg.solve(generator, np.ones(4))[0]
    assert abs(naive / exact - 1.0) > 1e-6
    assert mean_exit(transient, exits, 0)[0].sum() == pytest.approx(exact, rel=1e-10)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_mean_exit_agrees_with_a_linear_solve_where_that_is_sound(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    transient, exits = random_basin(rng, n, 2.0)
    start = int(rng.integers(n))
    off = transient * (1 - np.eye(n))
    green = np.linalg.inv(np.diag(off.sum(axis=1) + exits.sum(axis=1)) - off)[start]
    times, probabilities = mean_exit(transient, exits, start)
    assert np.allclose(times, green, rtol=1e-9)
    assert np.allclose(probabilities, green @ exits, rtol=1e-9)


@pytest.mark.parametrize(("seed", "n", "decades"), [(4, 1, 1.0), (0, 2, 1.0), (1, 3, 1.5), (2, 4, 1.0), (3, 6, 0.7)])
def test_folding_changes_neither_times_nor_destinations(seed: int, n: int, decades: float) -> None:
    """Against the exact joint law, and against walking hop by hop."""
    rng, n_draws = np.random.default_rng(seed), 6000
    transient, exits = random_basin(rng, n, decades)
    start = n // 2
    times, destinations = draw_exits(transient, exits, start, rng, n_draws)
    walked, ends = hop_by_hop(transient, exits, start, rng, n_draws)
    mean, probabilities = mean_exit(transient, exits, start)
    for t in (times, walked):
        assert abs(t.mean() - mean.sum()) < SIGMAS * t.std() / np.sqrt(n_draws)
    assert ks_2samp(times, walked).pvalue > UNLIKELY
    used = probabilities > 0
    for d in (destinations, ends):
        counts = np.bincount(d, minlength=3)
        assert not counts[~used].any()
        assert chisquare(counts[used], n_draws * probabilities[used]).pvalue > UNLIKELY
    for exit in np.flatnonzero(used & (n_draws * probabilities > 50)):
        assert kstest(times[destinations == exit], exit_law(transient, exits, start, exit)).pvalue > UNLIKELY
        assert ks_2samp(times[destinations == exit], walked[ends == exit]).pvalue > UNLIKELY


def test_time_and_destination_belong_together() -> None:
    """A row entered at its left end: exits there come early, exits at the far end late, each as the law says."""
    transient, exits = chain([1.0, 1.0, 1.0], [1.0, 1.0, 1.0])
    times, destinations = draw_exits(transient, exits, 0, np.random.default_rng(4), 6000)
    assert times[destinations == 1].mean() > 2.0 * times[destinations == 0].mean()
    for exit in (0, 1):
        assert kstest(times[destinations == exit], exit_law(transient, exits, 0, exit)).pvalue > UNLIKELY


@pytest.mark.parametrize("ratio", [1e8, 1e12, 1e20])
def test_stiff_flickers_are_drawn_exactly(ratio: float) -> None:
    """Fast against the exit, the time is exponential, the destination independent of it."""
    right, left = [3.0 * ratio, 0.5 * ratio, 0.3], [1e-3, 2.0 * ratio, 5.0 * ratio]
    transient, exits = chain(right, left)
    exits[1, 0] = 0.02
    mean, probabilities = mean_exit(transient, exits, 1)
    times, destinations = draw_exits(transient, exits, 1, np.random.default_rng(5), 4000)
    assert kstest(times, "expon", args=(0.0, mean.sum())).pvalue > UNLIKELY
    assert chisquare(np.bincount(destinations), 4000 * probabilities).pvalue > UNLIKELY
    assert ks_2samp(times[destinations == 0], times[destinations == 1]).pvalue > UNLIKELY


@pytest.mark.parametrize(("n", "p"), [(100.0, 0.3), (1e13, 2e-13), (1e13, 1e-5), (1e16, 0.25), (1e20, 0.5)])
def test_numbers_of_very_many_jumps(n: float, p: float) -> None:
    rng, size = np.random.default_rng(6), 20000
    drawn = _binomial(np.full(size, n), np.full(size, p), rng)
    scaled = (drawn - n * p) / np.sqrt(n * p * (1 - p))
    assert abs(scaled.mean()) < SIGMAS / np.sqrt(size)
    assert abs(scaled.var() - 1.0) < SIGMAS * np.sqrt((2.0 + 1.0 / (n * p)) / size)
    assert drawn.min() >= 0.0
    if n * p < 30:
        top = int(drawn.max()) + 1
        expected = binom.pmf(np.arange(5), min(n, 1e9), n * p / min(n, 1e9))
        counts = np.bincount(drawn.astype(int), minlength=top)[:5]
        assert (np.abs(counts - size * expected) < SIGMAS * np.sqrt(size * expected) + 1).all()
    many = _poisson(np.full(size, 50.0 * LARGE), rng)
    assert abs((many - 50.0 * LARGE).std() / np.sqrt(50.0 * LARGE) - 1.0) < SIGMAS / np.sqrt(2 * size)


def test_an_exit_with_columns_for_each_event_tells_where_it_left() -> None:
    """Splitting one exit column into one for each state sums to it, and the draws stay the same in law."""
    transient, exits = random_basin(np.random.default_rng(7), 4, 1.0)
    merged = mean_exit(transient, exits.sum(axis=1, keepdims=True), 2)
    split = mean_exit(transient, np.diag(exits.sum(axis=1)), 2)
    assert np.allclose(merged[0], split[0], rtol=1e-13)
    assert np.allclose(split[1], merged[0] * exits.sum(axis=1), rtol=1e-13)


# What flickers


def test_flickers_are_found_among_states_seen_again_joined_by_fast_events_both_ways() -> None:
    """0 ⇄ 1 ⇄ 2 fast; 1 → 3 fast one way only; 2 ⇄ 4 slow; 2 ⇄ 5 fast but 5 seen once; 6 ⇄ 7 fast, apart."""
    rates = np.zeros((8, 8))
    for i, j, there, back in [
        (0, 1, 1e6, 1e7),
        (1, 2, 1e8, 1e5),
        (1, 3, 1e9, 1.0),
        (2, 4, 10.0, 10.0),
        (2, 5, 1e7, 1e7),
        (6, 7, 1e9, 1e9),
    ]:
        rates[i, j], rates[j, i] = there, back
    recent = np.array([5, 6, 7, 6, 7, 3, 1, 3, 4, 2, 4, 2, 1, 0, 1, 0])
    assert flicker(rates, recent, 1e3).tolist() == [0, 1, 2]
    assert flicker(rates, recent, 1e3, max_states=2).tolist() == [0, 1]
    assert flicker(rates, recent, 5e5).tolist() == [0, 1]
    assert flicker(rates, recent, 2e6).tolist() == [0]
    assert flicker(rates, recent, 1.0, min_visits=3).tolist() == [0, 1]
    assert flicker(rates, recent, 5.0).tolist() == [0, 1, 2, 4]
    assert flicker(rates, np.append(recent, 1), 1e3).tolist() == [1, 0, 2]
    assert flicker(rates, np.append(recent, [2, 5]), 1e3).tolist() == [5, 2, 1, 0]


# Closed systems


@given(seed=st.integers(0, 10**6), n=st.integers(2, 7))
@settings(max_examples=30, deadline=None)
def test_detailed_balance_ends_in_boltzmanns_occupation(seed: int, n: int) -> None:
    """Free energies over 1 eV at 300 K, occupations over 17 decades, each right to ten digits."""
    rng, T = np.random.default_rng(seed), 300.0
    F = rng.uniform(0.0, 1.0, n)
    saddles = 1.0 + rng.uniform(0.0, 0.6, (n, n))
    rates = np.asarray(arrhenius(np.maximum(saddles, saddles.T) - F[:, None], 1e13, T))
    assert np.allclose(stationary(rates), equilibrium(F, T), rtol=1e-10, atol=0.0)


def test_a_one_way_ring_stays_longest_where_it_leaves_slowest() -> None:
    """No detailed balance: the same current everywhere, shares as 1/k."""
    k = np.array([1.0, 1e12, 5.0, 1e-6])
    rates = np.zeros((4, 4))
    rates[np.arange(4), [1, 2, 3, 0]] = k
    assert np.allclose(stationary(rates), (1 / k) / (1 / k).sum(), rtol=1e-13, atol=0.0)


# Completeness


def search(rng: np.random.Generator, preferences: np.ndarray, n_searches: int, n_tables: int) -> np.ndarray:
    """(n_tables, n_events) how often each event was found."""
    return np.asarray(rng.multinomial(n_searches, preferences / preferences.sum(), size=n_tables))


def test_good_turing_is_unbiased_and_knows_its_error() -> None:
    """Against the probability left unfound by one search less; searches prefer some events a hundredfold."""
    rng, n, n_tables = np.random.default_rng(8), 60, 4000
    preferences = 10.0 ** rng.uniform(-2.0, 0.0, 40)
    q = preferences / preferences.sum()
    counts = search(rng, preferences, n, n_tables)
    estimates = np.array([good_turing(c) for c in counts])
    truth = (q * (1 - q) ** (n - 1)).sum()
    left = ((counts == 0) * q).sum(axis=1)
    assert abs(estimates[:, 0].mean() - truth) < SIGMAS * estimates[:, 0].std() / np.sqrt(n_tables)
    assert (estimates[:, 1] ** 2).mean() == pytest.approx(((estimates[:, 0] - left) ** 2).mean(), rel=0.1)


def test_unseen_events_are_counted_where_searches_find_all_alike() -> None:
    rng, n, n_events, n_tables = np.random.default_rng(9), 100, 60, 3000
    rates = 10.0 ** rng.uniform(0.0, 3.0, n_events)
    counts = search(rng, np.ones(n_events), n, n_tables)
    found = np.array([unseen(c, rates) for c in counts])
    lacking = np.column_stack([(counts == 0).sum(axis=1), (counts == 0) @ rates])
    error = (found - lacking).std(axis=0) / np.sqrt(n_tables)
    assert (np.abs((found - lacking).mean(axis=0)) < SIGMAS * error + 0.02 * lacking.mean(axis=0)).all()


def test_unseen_events_are_a_lower_bound_where_some_are_hard_to_find() -> None:
    """By how much is known: (n−1)/n E[f₁]²/(2 E[f₂]), from Cauchy and Schwarz."""
    rng, n, n_tables = np.random.default_rng(10), 200, 2000
    preferences = np.repeat([1.0, 0.2], 40)
    q = preferences / preferences.sum()
    counts = search(rng, preferences, n, n_tables)
    number = np.array([unseen(c, np.ones(80))[0] for c in counts])
    f1, f2 = (n * q * (1 - q) ** (n - 1)).sum(), (n * (n - 1) / 2 * q**2 * (1 - q) ** (n - 2)).sum()
    bound = (n - 1) / n * f1**2 / (2 * f2)
    assert number.mean() == pytest.approx(bound, rel=0.1)
    assert number.mean() < (counts == 0).sum(axis=1).mean() - SIGMAS * number.std() / np.sqrt(n_tables)


def test_missing_share_of_the_rate() -> None:
    """Three found once at 2/s and two twice at 5/s: one event more at 2/s (of 7 searches), 2 f₁(f₁−1)/(f₂+1)..."""
    counts, rates = np.array([1, 1, 1, 2, 2, 0]), np.array([2.0, 2.0, 2.0, 5.0, 5.0, 99.0])
    number = 6 / 7 * 3 * 2 / (2 * 3)
    assert unseen(counts, rates) == pytest.approx((number, 2.0 * number))
    assert missing_share(counts, rates) == pytest.approx(2.0 * number / (16.0 + 2.0 * number))
    assert missing_share(np.array([1]), np.array([3.0])) == 1.0
    assert missing_share(np.array([4, 5]), np.array([3.0, 1.0])) == 0.0


def test_total_rate_of_events_found_by_dynamics_is_unbiased() -> None:
    """Chance finds each event by its rate at high temperature; the sum corrects for those that it missed."""
    rng, n_tables = np.random.default_rng(11), 5000
    barriers = np.linspace(0.3, 0.8, 12)
    cold, hot = (np.asarray(arrhenius(barriers, 1e13, T)) for T in (700.0, 1500.0))
    p = found_by_dynamics(hot, 2e-12)
    assert p.min() < 0.1 and p.max() > 0.8
    estimates = np.array([total_rate(cold[f], p[f]) for f in rng.random((n_tables, 12)) < p])
    assert abs(estimates.mean() - cold.sum()) < SIGMAS * estimates.std() / np.sqrt(n_tables)


def test_first_finds_come_as_dynamics_says() -> None:
    first = np.random.default_rng(12).exponential(1 / 3.0, 10000)
    p = float(found_by_dynamics(np.array([3.0]), 0.4)[0])
    assert abs((first < 0.4).mean() - p) < SIGMAS * np.sqrt(p * (1 - p) / 10000)


@pytest.mark.parametrize(("n_repeats", "confidence"), [(0, 0.0), (1, 0.0), (10, 0.9), (1000, 0.999)])
def test_confidence_of_xu_and_henkelman(n_repeats: int, confidence: float) -> None:
    assert xu_henkelman(n_repeats) == pytest.approx(confidence)


# What cannot be used


one, two, rng0 = np.ones(1), np.ones((2, 2)), np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: arrhenius(-0.1, 1e13, 300.0), "barriers"),
        (lambda: arrhenius(np.array([0.1, np.nan]), 1e13, 300.0), "barriers"),
        (lambda: arrhenius(0.1, 0.0, 300.0), "prefactors"),
        (lambda: arrhenius(0.1, 1e13, 0.0), "temperature_K"),
        (lambda: frequencies(np.ones((6, 5)), np.ones(2)), "hessian"),
        (lambda: frequencies(np.eye(6), np.ones(4)), "hessian"),
        (lambda: frequencies(np.eye(6), np.array([1.0, 0.0])), "masses"),
        (lambda: vineyard(np.array([-1.0, 1.0]), np.array([-1.0, 1.0])), "minimum"),
        (lambda: vineyard(np.ones(2), np.ones(2)), "saddle"),
        (lambda: vineyard(np.ones(3), np.array([-1.0, 1.0])), "saddle"),
        (lambda: harmonic_free_energy(0.0, np.array([0.0]), 300.0), "minimum"),
        (lambda: free_energy_change(0.0, 1.0, 300.0), "forward, reverse"),
        (lambda: reverse_prefactor(1e13, one, -one), "end"),
        (lambda: flux_of_monolayers(1.0, 0.0), "site_area"),
        (lambda: arrival_rates(-1.0, 1.0), "flux"),
        (lambda: arrival_rates(1.0, -1.0), "area"),
        (lambda: arrival_rates(1.0, 1.0, 1.5), "sticking"),
        (lambda: draw_event(np.array([-1.0, 2.0]), rng0), "rates"),
        (lambda: draw_event(np.zeros(3), rng0), "rates"),
        (lambda: draw_event(np.array([]), rng0), "rates"),
        (lambda: flicker(np.ones((2, 3)), np.array([0]), 1.0), "rates, recent"),
        (lambda: flicker(two, np.array([], dtype=int), 1.0), "rates, recent"),
        (lambda: flicker(two, np.array([2]), 1.0), "recent"),
        (lambda: flicker(two, np.array([0]), 0.0), "fast"),
        (lambda: mean_exit(two, two, 2), "transient, exits, start"),
        (lambda: mean_exit(two, np.ones((3, 1)), 0), "transient, exits, start"),
        (lambda: mean_exit(two, np.zeros((2, 1)), 0), "exits"),
        (lambda: draw_exits(two, np.zeros((2, 0)), 0, rng0), "exits"),
        (lambda: mean_exit(np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[1.0], [0.0]]), 0), "transient"),
        (lambda: draw_exits(np.array([[0.0, np.inf], [1.0, 0.0]]), two, 0, rng0), "transient"),
        (lambda: draw_exits(two, -two, 0, rng0), "exits"),
        (lambda: stationary(np.array([[0.0, 1.0], [0.0, 0.0]])), "transient"),
        (lambda: good_turing(np.zeros(3, dtype=int)), "counts"),
        (lambda: unseen(np.array([1, -1]), np.ones(2)), "counts"),
        (lambda: unseen(np.array([1, 1]), one), "rates"),
        (lambda: unseen(np.array([1]), np.zeros(1)), "rates"),
        (lambda: total_rate(one, np.zeros(1)), "found"),
        (lambda: total_rate(np.ones(2), one), "found"),
    ],
)
def test_bad_input_is_named_in_one_line(call: Callable[[], object], name: str) -> None:
    with pytest.raises(InputError, match=f"^{name}: expected [^\n]*$"):
        call()
