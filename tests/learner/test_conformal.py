"""Intervals that hold: known answers, limits, invariants, and Monte Carlo with its own error bar."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf
from scipy.stats import binom, binomtest, norm
from scipy.stats import t as student

from learner.conformal import (
    ONE_SIGMA,
    Prior,
    coverage,
    drift,
    effective_n,
    fit,
    missed_triggers,
    selected_std,
    std_edges,
    tolerance_to_std,
    weighted_quantile,
)
from learner.errors import InputError

NO_PRIOR = Prior(n=0)
LEVELS = st.floats(0.01, 0.99)
SEEDS = st.integers(0, 2**32 - 1)


def mean_and_error(values):
    return np.mean(values), np.std(values, ddof=1) / math.sqrt(len(values))


def labels(seed, n=30):
    """(errors, std, weights) of audits and queries."""
    rng = np.random.default_rng(seed)
    std = rng.lognormal(-4, 1, n)
    return rng.normal(size=n) * std * 2, std, np.where(std > 0.03, 1.0, 20.0)


# ------------------------------------------------------------------ the quantile


@given(st.integers(1, 60), LEVELS, st.floats(0.1, 50), SEEDS)
def test_equal_weights_are_standard_conformal_prediction(n, level, weight, seed):
    scores = np.random.default_rng(seed).exponential(size=n)
    rank = math.ceil((n + 1) * level - 1e-9)
    expected = np.sort(scores)[rank - 1] if rank <= n else math.inf
    assert weighted_quantile(scores, np.full(n, weight), level, test_weight=weight) == expected


@pytest.mark.parametrize(
    ("weights", "test_weight", "level", "expected"),
    [
        ([1.0, 1.0, 1.0], 1.0, 0.75, 3.0),
        ([1.0, 1.0, 1.0], 1.0, 0.76, math.inf),
        ([1.0, 1.0, 8.0], 1.0, 0.75, 3.0),
        ([8.0, 1.0, 1.0], 1.0, 0.7, 1.0),  # 8 of 11
        ([8.0, 1.0, 1.0], 1.0, 0.75, 2.0),  # 9 of 11
        ([8.0, 1.0, 1.0], 20.0, 0.4, math.inf),  # 10 of 30
        ([0.0, 1.0, 0.0], 0.0, 0.01, 2.0),
        ([0.0, 0.0, 0.0], 1.0, 0.5, math.inf),
    ],
)
def test_weighted_quantile_by_hand(weights, test_weight, level, expected):
    for order in ([0, 1, 2], [2, 0, 1]):
        scores = np.array([1.0, 2.0, 3.0])[order]
        assert weighted_quantile(scores, np.array(weights)[order], level, test_weight) == expected


@given(SEEDS, LEVELS)
def test_a_label_of_weight_two_is_two_labels(seed, level):
    rng = np.random.default_rng(seed)
    scores, times = rng.exponential(size=15), rng.integers(0, 4, 15)
    repeated = np.repeat(scores, times)
    assert weighted_quantile(scores, times.astype(float), level) == weighted_quantile(
        repeated, np.ones(len(repeated)), level
    )


@given(SEEDS, LEVELS, LEVELS, st.floats(0, 30), st.floats(0, 30))
def test_the_quantile_grows_with_level_and_with_the_new_points_weight(seed, level, other, weight, heavier):
    errors, _, weights = labels(seed)
    scores = np.abs(errors)
    (level, other), (weight, heavier) = sorted((level, other)), sorted((weight, heavier))
    at = weighted_quantile(scores, weights, level, weight)
    assert at <= weighted_quantile(scores, weights, other, weight)
    assert at <= weighted_quantile(scores, weights, level, heavier)


@pytest.mark.parametrize("level", [0.5, 0.68, 0.9, 0.95])
def test_coverage_of_exchangeable_scores(level):
    """Of exponential scores the share within q is known, 1 − e^−q; its mean is ⌈(n + 1) level⌉ / (n + 1)."""
    rng, n = np.random.default_rng(1), 38
    q = [weighted_quantile(scores, np.ones(n), level) for scores in rng.exponential(size=(1500, n))]
    held, error = mean_and_error(1 - np.exp(-np.array(q)))
    assert level - 3 * error <= held <= level + 1 / (n + 1) + 3 * error
    assert held == pytest.approx(math.ceil((n + 1) * level - 1e-9) / (n + 1), abs=3 * error)


# ------------------------------------------------------------------ labels asked for at unlike chances

AUDITED, SURE, ASK_ABOVE, LEVEL = 0.05, 0.9, math.exp(-4 + norm.ppf(0.9)), 0.9


def sigma(std):
    """Std of the true error: the more members agree, the more they are overconfident."""
    return std * np.sqrt(ASK_ABOVE / std) * 1.5


def campaign(rng, n_steps=1500):
    """(errors, std, asked) of the labels of a campaign: every unsure step, and 5 % of the sure ones."""
    std = rng.lognormal(-4, 1, n_steps)
    labelled = (std > ASK_ABOVE) | (rng.random(n_steps) < AUDITED)
    errors = rng.normal(size=n_steps) * sigma(std)
    return errors[labelled], std[labelled], std[labelled] > ASK_ABOVE


def held_by(conformal, std):
    """Share of the errors at these stds within the radius, known without drawing them."""
    return float(erf(conformal.radius(std, LEVEL) / sigma(std) / math.sqrt(2)).mean())


def held_shares(calibrate, n_runs=200):
    """Mean and standard error over campaigns of the share held among (sure, all) steps."""
    rng = np.random.default_rng(2)
    std = np.exp(-4 + norm.ppf((np.arange(4000) + 0.5) / 4000))
    conformals = [calibrate(*campaign(rng)) for _ in range(n_runs)]
    sure = mean_and_error([held_by(c, std[std <= ASK_ABOVE]) for c in conformals])
    return sure, mean_and_error([held_by(c, std) for c in conformals])


def test_without_weights_the_queries_hide_how_wrong_sure_steps_are():
    (sure, error), _ = held_shares(lambda e, s, asked: fit(e, s, prior=NO_PRIOR))
    assert sure < LEVEL - 0.05 - 3 * error


def test_inverse_chances_cover_all_steps_and_bound_the_misses_of_sure_ones():
    (sure, sure_error), (everywhere, error) = held_shares(
        lambda e, s, asked: fit(e, s, np.where(asked, 1.0, 1 / AUDITED), prior=NO_PRIOR)
    )
    assert LEVEL - 3 * error <= everywhere <= LEVEL + 0.025 + 3 * error
    assert sure >= 1 - (1 - LEVEL) / SURE - 3 * sure_error


def test_queries_of_no_weight_leave_an_interval_for_sure_steps_alone():
    (sure, error), _ = held_shares(lambda e, s, asked: fit(e, s, np.where(asked, 0.0, 1.0), prior=NO_PRIOR))
    assert LEVEL - 3 * error <= sure <= LEVEL + 1 / 50 + 3 * error


def test_bins_of_std_cover_sure_steps_and_each_range():
    def calibrate(errors, std, asked):
        weights = np.where(asked, 1.0, 1 / AUDITED)
        return fit(errors, std, weights, edges=std_edges(std, weights), prior=NO_PRIOR)

    (sure, sure_error), (everywhere, error) = held_shares(calibrate)
    assert sure >= LEVEL - 3 * sure_error
    assert everywhere >= LEVEL - 3 * error


def test_bins_serve_the_least_std_where_no_single_factor_does():
    errors, std, asked = campaign(np.random.default_rng(0), 200000)
    weights, least = np.where(asked, 1.0, 1 / AUDITED), np.full(1, 0.2 * math.exp(-4))
    single, binned = fit(errors, std, weights), fit(errors, std, weights, edges=std_edges(std, weights, most=8))
    assert held_by(single, least) < 0.75
    assert held_by(binned, least) > 0.85


# ------------------------------------------------------------------ fit, radius, expected


def test_without_labels_the_radius_is_the_priors():
    conformal = fit(np.array([]), np.array([]), floor=0.01, prior=Prior(n=5, scale=3))
    for level in (0.5, 0.9, 0.999):
        expected = 0.03 * 3 * student.ppf((1 + level) / 2, 5)
        assert conformal.radius(np.array([0.02]), level) == pytest.approx([expected])
    assert conformal.effective_n == 0
    assert fit(np.array([9.0]), np.array([0.1]), np.array([0.0])).radius(np.array([0.1]), 0.9) == pytest.approx(
        fit(np.array([]), np.array([])).radius(np.array([0.1]), 0.9)
    )


def test_without_a_prior_few_labels_promise_nothing():
    errors, std = np.linspace(0.1, 0.9, 9), np.full(9, 0.5)
    one = np.array([0.5])
    assert np.isinf(fit(errors[:8], std[:8], prior=NO_PRIOR).radius(one, 0.9))
    assert fit(errors, std, prior=NO_PRIOR).radius(one, 0.9) == pytest.approx([0.9])
    assert np.isfinite(fit(errors[:8], std[:8]).radius(one, 0.9))
    heavy = fit(errors, std, test_weight=20.0, prior=NO_PRIOR)
    assert np.isinf(heavy.radius(one, 0.9))


def test_the_new_point_weighs_as_much_as_the_heaviest_label_of_its_bin():
    weights = np.concatenate([np.full(8, 20.0), np.ones(15)])
    std = np.linspace(0.1, 0.2, 23)
    assert np.isinf(fit(std, std, weights, prior=NO_PRIOR).quantiles(0.9))  # 175 of 195
    assert np.isfinite(fit(std, std, weights, test_weight=19.0, prior=NO_PRIOR).quantiles(0.9))  # 175 of 194
    divided = fit(std, std, weights, prior=NO_PRIOR, edges=std[7:8])
    assert np.isinf(divided.quantiles(0.9)).tolist() == [True, False]


@pytest.mark.parametrize("weight", [1.0, 20.0])
def test_the_prior_stands_for_n_labels_and_for_infinity(weight):
    """Labels without any error: what they leave of the level is left to the prior's law, n + 1 = 6 points of it."""
    none, std, prior = np.zeros(10), np.full(10, 0.1), Prior(n=5, scale=3)
    conformal = fit(none, std, np.full(10, weight), prior=prior)
    left = (0.9 * (10 + 6) - 10) / 6
    assert conformal.quantiles(0.9) == pytest.approx([3 * student.ppf((1 + left) / 2, 5)])
    assert conformal.quantiles(0.6) == 0


def test_many_labels_outweigh_the_prior():
    rng, n, level = np.random.default_rng(3), 20000, 0.9
    std = rng.uniform(0.01, 0.1, n)
    conformal = fit(rng.normal(size=n) * std * 1.3, std, floor=1e-9)
    q = 1.3 * norm.ppf(0.95)
    error = math.sqrt(level * (1 - level) / n) / (2 * norm.pdf(norm.ppf(0.95))) * 1.3  # of a sample quantile
    assert conformal.quantiles(level) == pytest.approx([q], abs=3 * error + 0.001)
    assert conformal.expected(std) == pytest.approx(1.3 * std, rel=0.03)
    assert norm.cdf(1) - norm.cdf(-1) == pytest.approx(ONE_SIGMA)
    assert conformal.effective_n == pytest.approx(n)


@given(SEEDS, LEVELS, st.integers(1, 60), st.floats(0.1, 5))
def test_the_prior_never_narrows(seed, level, n, scale):
    errors, std, weights = labels(seed, n)
    alone = fit(errors, std, weights, prior=NO_PRIOR).radius(std, level)
    together = fit(errors, std, weights, prior=Prior(scale=scale)).radius(std, level)
    assert np.isfinite(together).all()
    assert (together >= np.where(np.isfinite(alone), alone, 0.0)).all()


def test_where_labels_are_too_few_the_radius_is_no_less_than_their_largest_error():
    errors, std, narrow = np.linspace(0.1, 0.8, 8), np.full(8, 0.5), Prior(scale=1e-3)
    assert np.isinf(fit(errors, std, prior=NO_PRIOR).radius(std[:1], 0.9))
    assert fit(errors, std, prior=narrow).radius(std[:1], 0.9) == pytest.approx([0.8])


@given(SEEDS, LEVELS, LEVELS, st.integers(0, 200), st.sampled_from([0.0, 4.0]), st.booleans())
def test_radius_grows_with_level_and_std(seed, level, other, n, n_prior, divided):
    errors, std, weights = labels(seed, n)
    edges = std_edges(std, weights, least=5.0) if divided else None
    conformal = fit(errors, std, weights, prior=Prior(n=n_prior), edges=edges)
    ladder = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 60), conformal.edges])
    ladder.sort()
    low, high = sorted((level, other))
    radii = conformal.radius(ladder, low)
    assert (radii[1:] >= radii[:-1]).all()
    assert (conformal.radius(ladder, high) >= radii).all()
    assert (radii >= 0).all()


@given(SEEDS, LEVELS, st.floats(1e-3, 1e3))
def test_units_do_not_matter(seed, level, unit):
    errors, std, weights = labels(seed)
    here = fit(errors, std, weights, floor=1e-3)
    there = fit(unit * errors, unit * std, weights, floor=unit * 1e-3)
    assert there.radius(unit * std, level) == pytest.approx(unit * here.radius(std, level))


def test_a_std_that_is_no_number_is_no_ground_for_trust():
    errors, std, weights = labels(0)
    radii = fit(errors, std, weights).radius(np.array([0.01, math.nan, math.inf]), 0.9)
    assert np.isinf(radii).tolist() == [False, True, True]


# ------------------------------------------------------------------ bins


def test_effective_n():
    assert effective_n(np.full(7, 3.0)) == pytest.approx(7)
    assert effective_n(np.array([1.0, 0.0])) == 1
    assert effective_n(np.array([])) == 0


@given(SEEDS, st.integers(0, 300), st.integers(1, 6))
def test_every_bin_has_enough(seed, n, most):
    _, std, weights = labels(seed, n)
    std = np.round(std, 3)
    edges = std_edges(std, weights, least=12.0, most=most)
    place = np.searchsorted(edges, std)
    assert len(edges) < most
    assert (np.diff(edges) > 0).all()
    if len(edges):
        assert all(effective_n(weights[place == i]) >= 12 for i in range(len(edges) + 1))


@pytest.mark.parametrize(
    ("weights", "most", "edges"),
    [
        (np.ones(100), 2, [49.0]),
        (np.ones(100), 4, [24.0, 49.0, 74.0]),
        (np.where(np.arange(100) < 60, 1.0, 0.0), 4, [29.0]),
        (np.where(np.arange(100) < 99, 1.0, 1000.0), 4, []),  # wherever the last one is, it alone speaks
        (np.where(np.arange(100) < 60, 20.0, 1.0), 3, [29.0, 59.0]),  # sure steps, which are more, are divided again
    ],
)
def test_edges_by_hand(weights, most, edges):
    assert std_edges(np.arange(100.0), weights, most=most).tolist() == edges


@pytest.mark.parametrize("std", [np.array([]), np.full(500, 0.1), np.linspace(0, 1, 39)])
def test_what_cannot_be_divided_is_one_bin(std):
    assert std_edges(std).shape == (0,)


# ------------------------------------------------------------------ tolerance and risk


@given(SEEDS, st.floats(1e-3, 1.0), st.floats(0.01, 0.5), st.integers(0, 200))
def test_up_to_the_largest_std_the_interval_is_within_tolerance(seed, tolerance, risk, n):
    errors, std, weights = labels(seed, n)
    conformal = fit(errors, std, weights, edges=std_edges(std, weights, least=5.0))
    largest = tolerance_to_std(conformal, tolerance, risk)
    if math.isinf(largest):
        assert conformal.radius(np.array([0.0]), 1 - risk)[0] > tolerance * (1 - 1e-9)
        return
    below, above = conformal.radius(np.array([largest * (1 - 1e-9), largest * (1 + 1e-9) + 1e-12]), 1 - risk)
    assert below <= tolerance * (1 + 1e-9)
    assert above > tolerance * (1 - 1e-9)
    assert largest <= tolerance_to_std(conformal, 2 * tolerance, risk)
    assert largest <= tolerance_to_std(conformal, tolerance, min(2 * risk, 0.99))


def test_above_an_edge_where_errors_leap_everything_is_asked():
    std = np.concatenate([np.linspace(0.01, 0.1, 20), np.linspace(0.11, 0.2, 20)])
    conformal = fit(np.where(std < 0.105, 0.1, 5.0) * std, std, edges=std[19:20], prior=NO_PRIOR)
    assert tolerance_to_std(conformal, 0.05, 0.1) == std[19]
    assert tolerance_to_std(conformal, 0.005, 0.1) < std[19] < 0.2 < tolerance_to_std(conformal, 2.0, 0.1)


def test_tolerance_to_std_by_hand():
    errors, std = np.full(19, 0.2), np.full(19, 0.09)
    conformal = fit(errors, std, floor=0.01, prior=NO_PRIOR)  # q = 2
    assert tolerance_to_std(conformal, 0.1, 0.05) == pytest.approx(0.04)
    assert tolerance_to_std(conformal, 0.019, 0.05) == -math.inf  # the floor alone is more
    assert tolerance_to_std(conformal, 0.1, 0.04) == -math.inf  # 19 labels promise no 96 %
    assert tolerance_to_std(fit(0 * errors, std, prior=NO_PRIOR), 0.1, 0.05) == math.inf


@given(SEEDS, st.floats(1e-3, 1.0), st.floats(0.01, 0.5), st.integers(0, 200))
def test_counting_by_definition(seed, tolerance, risk, n):
    errors, std, weights = labels(seed, n)
    counts = np.random.default_rng(seed).uniform(0, 1, n)
    found = selected_std(errors, std, weights, counts, tolerance, risk)
    shown = [-math.inf]
    for sigma in std:
        harm, below = np.abs(errors) > tolerance, std <= sigma
        counted = counts[below & harm].sum() + 1 <= risk * (counts[below].sum() + 1) * (1 + 1e-12)
        if counted and weights[below & harm].sum() <= risk * weights[below].sum() * (1 + 1e-12):
            shown.append(sigma)
    assert found == max(shown)


def test_counting_by_hand():
    std, small, ones = np.arange(1.0, 41.0) / 100, np.zeros(40), np.ones(40)
    counted = lambda errors, std, weights: selected_std(errors, std, weights, np.ones(len(std)), 0.1, 0.1)  # noqa: E731
    assert counted(small[:8], std[:8], ones[:8]) == -math.inf  # 8 labels promise no 90 %
    assert counted(small[:9], std[:9], ones[:9]) == std[8]
    late = np.where(std > 0.205, 1.0, 0.0)
    assert counted(late, std, ones) == std[20]  # (1 + 1) / (21 + 1) are less than a tenth, 3 / 23 more
    assert counted(late[::-1], np.full(40, 0.3), ones) == -math.inf  # equally doubtful: all or none
    assert counted(small[:0], std[:0], ones[:0]) == -math.inf
    one = np.where(np.arange(40) == 5, 1.0, 0.0)
    assert counted(one, std, ones) == std[39]
    assert counted(one, std, ones + 9 * one) == -math.inf  # an audit that stands for ten steps is more than a tenth
    assert selected_std(small, std, ones, 0.2 * ones, 0.1, 0.1) == -math.inf  # what has faded: 8 labels


def test_of_what_goes_unasked_no_more_than_the_risk_is_harmful():
    """Errors that do not grow with std: counting lets through what the interval does not, and keeps the risk."""
    rng = np.random.default_rng(7)
    asked_before = asked = 0
    harmful = []
    for _ in range(300):
        std = rng.exponential(0.02, 400)
        errors = rng.normal(0, 0.03 + 0.3 * np.maximum(std - 0.05, 0))
        conformal = fit(errors[:100], std[:100], floor=1e-3)
        allowed = conformal.sure_std(0.06, 0.1)
        later = slice(100, None)
        asked += int((std[later] > allowed).sum())
        asked_before += int((std[later] > tolerance_to_std(conformal, 0.06, 0.1)).sum())
        harmful.append(np.mean(np.abs(errors[later][std[later] <= allowed]) > 0.06))
    share, error = mean_and_error(harmful)
    assert share <= 0.1 + 3 * error
    assert asked < 0.5 * asked_before


def test_of_all_steps_no_more_than_the_risk_are_unasked_and_harmful():
    """Harm at twice the risk, whatever the std: some calibrations find a range sure, and of all steps few go wrong."""
    rng = np.random.default_rng(8)
    opened, wrong = [], []
    for _ in range(2000):
        std, harmful = rng.exponential(0.02, 101), rng.random(101) < 0.2
        ones = np.ones(100)
        allowed = selected_std(harmful[:100] * 1.0, std[:100], ones, ones, 0.5, 0.1)
        opened.append(np.isfinite(allowed))
        wrong.append(bool(harmful[100] and std[100] <= allowed))
    share, error = mean_and_error(opened)
    assert abs(share - 0.2) < 0.05 + 3 * error
    share, error = mean_and_error(wrong)
    assert share <= 0.1 + 3 * error


def test_what_weighs_nothing_is_not_counted():
    std = np.linspace(0.01, 0.3, 30)
    nothing = fit(np.zeros(30), std, np.zeros(30), test_weight=1.0)
    assert nothing.sure_std(0.1, 0.1) == tolerance_to_std(nothing, 0.1, 0.1)


@given(SEEDS, st.floats(1e-3, 1.0), st.floats(0.01, 0.5), st.integers(0, 200))
def test_the_bound_passes_the_tolerance_where_the_oracle_is_to_be_asked(seed, tolerance, risk, n):
    errors, std, weights = labels(seed, n)
    conformal = fit(errors, std, weights)
    allowed = conformal.sure_std(tolerance, risk)
    looked_at = np.concatenate([[0.0, math.nan], std, std * (1 + 1e-6)])
    bound = conformal.bound(looked_at, tolerance, risk)
    assert (bound <= conformal.radius(looked_at, 1 - risk)).all()
    clear = ~np.isclose(looked_at, allowed, rtol=1e-9)
    assert ((bound <= tolerance * (1 + 1e-9)) == (looked_at <= allowed))[clear].all()


# ------------------------------------------------------------------ measures of a running campaign


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (3, 11), (88, 100)])
def test_the_interval_of_a_share_is_clopper_and_pearsons(hits, n):
    errors = np.where(np.arange(n) < hits, 0.1, -0.9)
    exact = binomtest(hits, n).proportion_ci(confidence_level=0.9, method="exact")
    found = coverage(errors, np.full(n, 0.5), confidence=0.9)
    assert found == pytest.approx((hits / n, exact.low, exact.high))
    assert coverage(errors, np.full(n, 0.5), np.full(n, 20.0), confidence=0.9) == pytest.approx(found)
    assert missed_triggers(errors, np.zeros(n, bool), 0.5, confidence=0.9) == pytest.approx(
        (1 - hits / n, 1 - exact.high, 1 - exact.low)
    )


def test_the_interval_of_a_share_holds_as_often_as_it_says():
    """Exact for equal weights (by summing over all outcomes); for unlike ones the effective n keeps it close."""
    n, p = 25, 0.9
    cases = [coverage(np.where(np.arange(n) < k, 0.0, 2.0), np.ones(n)) for k in range(n + 1)]
    assert sum(binom.pmf(k, n, p) for k, c in enumerate(cases) if c.low <= p <= c.high) >= 0.95
    rng, weights = np.random.default_rng(4), np.where(np.arange(60) < 30, 20.0, 1.0)
    errors = 2.0 * (rng.random((1500, 60)) > p)
    held, error = mean_and_error([(c := coverage(e, np.ones(60), weights)).low <= p <= c.high for e in errors])
    assert held >= 0.95 - 3 * error


def test_coverage_by_hand():
    errors, radii = np.array([0.1, -0.1, 0.3, 9.0]), np.array([0.1, 0.2, 0.2, math.inf])
    assert coverage(errors, radii).share == 0.75
    assert coverage(errors, radii, np.array([1.0, 1.0, 2.0, 0.0])).share == 0.5
    empty = coverage(np.array([]), np.array([]))
    assert math.isnan(empty.share)
    assert (empty.low, empty.high) == (0, 1)


def test_missed_triggers_are_audits_beyond_tolerance():
    errors = np.array([0.01, -0.09, 0.02, 0.9, 0.9])
    asked = np.array([False, False, False, True, True])
    assert missed_triggers(errors, asked, 0.05).share == pytest.approx(1 / 3)
    assert missed_triggers(errors, asked, 0.05, np.array([1.0, 2.0, 1.0, 50.0, 50.0])).share == pytest.approx(0.5)
    assert math.isnan(missed_triggers(errors, np.ones(5, bool), 0.05).share)


def test_promised_coverage_is_kept_by_the_campaign_it_was_made_for():
    """Audits of a second half, judged by what the first half promised: the whole chain once."""
    rng = np.random.default_rng(5)
    first, second = campaign(rng, 20000), campaign(rng, 20000)
    weights = np.where(first[2], 1.0, 1 / AUDITED)
    conformal = fit(first[0], first[1], weights, edges=std_edges(first[1], weights))
    sure = ~second[2]
    found = coverage(second[0][sure], conformal.radius(second[1][sure], LEVEL), confidence=0.997)
    assert found.high >= LEVEL
    assert found.low <= LEVEL + 0.02
    allowed = tolerance_to_std(conformal, 0.1, 0.1)
    trusted = second[1] <= allowed
    missed = missed_triggers(second[0], ~trusted, 0.1, np.where(second[2], 1.0, 1 / AUDITED), confidence=0.997)
    assert trusted.sum() > 100
    assert missed.low <= 0.1


def test_drift():
    rng = np.random.default_rng(6)
    alarms, error = mean_and_error(
        [drift(rng.exponential(size=40), rng.exponential(size=50)).p_value < 0.05 for _ in range(400)]
    )
    assert alarms <= 0.05 + 3 * error
    scores = rng.exponential(size=200)
    assert drift(scores, scores) == pytest.approx((0, 1, 1))
    moved = drift(scores, 3 * scores)
    assert moved.p_value < 1e-3
    assert moved.ratio == pytest.approx(3)
    assert drift(3 * scores, scores).ratio == pytest.approx(1 / 3)
    nothing = drift(scores, np.array([]))
    assert (nothing.p_value, math.isnan(nothing.distance), math.isnan(nothing.ratio)) == (1.0, True, True)
    assert drift(np.zeros(3), np.ones(3)).ratio == math.inf


# ------------------------------------------------------------------ what is refused

GOOD, NAN, INFINITE = np.ones(3), np.array([1.0, math.nan, 1.0]), np.array([1.0, 1.0, math.inf])
NEGATIVE = np.array([1.0, 1.0, -1.0])
CONFORMAL = fit(GOOD, GOOD)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: weighted_quantile(NAN, GOOD, 0.9), "scores must be finite, but number 1 of 3 is nan"),
        (lambda: weighted_quantile(GOOD, INFINITE, 0.9), "weights must be finite"),
        (lambda: weighted_quantile(GOOD, NEGATIVE, 0.9), "weights must be ≥ 0"),
        (lambda: weighted_quantile(GOOD, GOOD, 0.9, -1.0), "test_weight must be ≥ 0"),
        (lambda: weighted_quantile(GOOD, GOOD, 1.0), "level must lie between 0 and 1"),
        (lambda: weighted_quantile(GOOD, GOOD, math.nan), "level must lie between 0 and 1"),
        (lambda: effective_n(NAN), "weights must be finite"),
        (lambda: fit(INFINITE, GOOD), "errors must be finite, but number 2 of 3 is inf"),
        (lambda: fit(GOOD, NAN), "std must be finite"),
        (lambda: fit(GOOD, NEGATIVE), "std must be ≥ 0"),
        (lambda: fit(GOOD, GOOD, NAN), "weights must be finite"),
        (lambda: fit(GOOD, GOOD, floor=0.0), "floor must be positive"),
        (lambda: fit(GOOD, GOOD, floor=math.nan), "floor must be positive"),
        (lambda: fit(GOOD, GOOD, test_weight=math.inf), "test_weight must be positive and finite"),
        (lambda: fit(GOOD, GOOD, edges=np.array([0.2, 0.1])), "edges must ascend"),
        (lambda: Prior(n=-1), "a prior needs finite n ≥ 0"),
        (lambda: Prior(scale=math.nan), "a prior needs .* scale > 0, not 4.0, nan"),
        (lambda: std_edges(INFINITE), "std must be finite"),
        (lambda: CONFORMAL.radius(GOOD, 0.0), "level must lie between 0 and 1"),
        (lambda: coverage(NAN, GOOD), "errors must be finite"),
        (lambda: coverage(GOOD, NAN), "radii must be numbers, but 1 of 3 are nan"),
        (lambda: coverage(GOOD, GOOD, NEGATIVE), "weights must be ≥ 0"),
        (lambda: coverage(GOOD, GOOD, confidence=1.0), "confidence must lie between 0 and 1"),
        (lambda: missed_triggers(NAN, GOOD > 2, 0.1), "errors must be finite"),
        (lambda: missed_triggers(GOOD, GOOD > 2, math.nan), "tolerance must be positive"),
        (lambda: drift(GOOD, INFINITE), "scores_after must be finite"),
        (lambda: tolerance_to_std(CONFORMAL, 0.0, 0.1), "tolerance must be positive"),
        (lambda: tolerance_to_std(CONFORMAL, 0.1, 1.0), "risk must lie between 0 and 1"),
        (lambda: selected_std(NAN, GOOD, GOOD, GOOD, 0.1, 0.1), "errors must be finite"),
        (lambda: selected_std(GOOD, NEGATIVE, GOOD, GOOD, 0.1, 0.1), "std must be ≥ 0"),
        (lambda: selected_std(GOOD, GOOD, GOOD, NEGATIVE, 0.1, 0.1), "counts must be ≥ 0"),
        (lambda: selected_std(GOOD, GOOD, GOOD, GOOD, 0.1, 0.0), "risk must lie between 0 and 1"),
    ],
)
def test_refused_in_one_clear_line(call, match):
    with pytest.raises(InputError, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)
