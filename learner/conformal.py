"""From a committee's std to an interval that holds: weighted split-conformal calibration. Pure functions of arrays.

A label tells how wrong the model was before it saw the label. Its score says so in units of the committee's doubt at
that moment,

    s = |error| / (std + floor),

and a quantile q of the scores of earlier labels makes the interval ± q (std + floor) around the next prediction. No
law of errors is assumed, only that labels differ from other steps by the chance at which they were asked for: 1 where
the committee was unsure (a query), a few per cent where it was sure (an audit). Each label counts 1 / chance, for all
the steps like it that nobody labelled.

What then holds, with chances that depend on nothing but what was known before the label: the interval at a level
contains the truth in at least that share of all steps. Of the sure steps alone, a share `sure` of all, it may miss up
to (1 − level) / sure. Where that is too loose, give the queries weight 0, or divide by std (`std_edges`): each bin of
std holds its own level.

Models change while labels come in, so older scores tell of a model that is gone. `drift` looks for that; weights that
fade with age bear it (R. F. Barber, E. J. Candès, A. Ramdas, R. J. Tibshirani, Annals of Statistics 51, 816 (2023)).

What goes unasked is told apart in two ways. By the interval: a std at which it is still within the tolerance. And by
counting: a std up to which, by the labels, errors beyond the tolerance are no commoner than the risk (`selected_std`).
The first needs no label at that std, and pays for it where errors do not grow with std, as intervals do; the second
needs enough of them. Either is ground enough not to ask.

Sources: weights and the point at infinity, R. J. Tibshirani, R. F. Barber, E. J. Candès, A. Ramdas, NeurIPS 2019,
arXiv:1904.06019, corollary 1; bins, V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World (2005),
section 4.5 (Mondrian predictors); counting, A. N. Angelopoulos, S. Bates, A. Fisch, L. Lei, T. Schuster, Conformal Risk
Control, ICLR 2024, arXiv:2208.02814, equation 4, here with a stricter denominator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import betaincinv, stdtrit

from .errors import InputError

ONE_SIGMA = math.erf(math.sqrt(0.5))
"""Share of a normal law within one standard deviation of its mean: 0.683."""
_ROUNDING = 1e-12
"""Share of the total weight by which a sum may fall short of a level and still count as having reached it."""


class Share(NamedTuple):
    """A measured share, and the interval that holds the true one with the confidence asked for; nan, 0, 1 if empty."""

    share: float
    low: float
    high: float


class Drift(NamedTuple):
    """How far scores have moved.

    Attributes:
        distance: largest distance between the two cumulative distributions, 0 to 1; nan without scores on one side.
        p_value: chance of a distance as large by luck alone; 1 without scores on one side.
        ratio: median after / median before; nan without scores on one side.
    """

    distance: float
    p_value: float
    ratio: float


def weighted_quantile(
    scores: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], level: float, test_weight: float = 1.0
) -> float:
    """The conformal quantile: what the score of a new point stays within with probability `level` or more.

        least q with Σ_i w_i 1[s_i ≤ q] ≥ level (Σ_i w_i + w_test)

    (arXiv:1904.06019, corollary 1). The new point's own weight stands at infinity. With equal weights, `test_weight`
    among them, it is the ⌈(n + 1) level⌉-th smallest score.

    Args:
        scores: of earlier labels.
        weights: of each, ≥ 0, 1 / the chance at which it was asked for; 0 drops it.
        level: between 0 and 1, neither included.
        test_weight: of the new point, ≥ 0. A quantile for points of several weights takes the largest.

    Returns:
        q in the unit of the scores; inf where the labels weigh too little for the level.

    Raises:
        InputError: a score or weight that is not finite, a negative weight, a level outside of (0, 1).

    >>> weighted_quantile(np.arange(9.0), np.ones(9), 0.9), weighted_quantile(np.arange(8.0), np.ones(8), 0.9)
    (8.0, inf)
    """
    _check_finite(scores=scores)
    _check_not_negative(weights=weights, test_weight=np.array([test_weight]))
    _check_level("level", level)
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weights[order])
    place = int(np.searchsorted(reached, level * (weights.sum() + test_weight) * (1 - _ROUNDING)))
    return float(scores[order][place]) if place < len(scores) else math.inf


def effective_n(weights: Float[np.ndarray, " n"]) -> float:
    """How many labels of equal weight would tell as much: (Σ w)² / Σ w² (L. Kish, Survey Sampling, 1965).

    >>> effective_n(np.array([3.0, 3.0])), effective_n(np.array([20.0, 1.0, 1.0])), effective_n(np.array([]))
    (2.0, 1.2, 0.0)
    """
    _check_not_negative(weights=weights)
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


@dataclass(frozen=True)
class Prior:
    """What is believed of scores before there are any: as if n earlier errors had been seen.

    With n normal errors seen, of root mean square `scale` (std + floor), the next score follows |Student's t| with n
    degrees of freedom, times `scale`: wide, and finite at every level below 1.

    Attributes:
        n: errors that the prior counts for, each with the weight of the new point; 0 for no prior.
        scale: their root mean square for each unit of std. Members agree more than they should, so more than 1.
    """

    n: float = 4.0
    scale: float = 2.0

    def __post_init__(self) -> None:
        if not (0 <= self.n < math.inf and 0 < self.scale < math.inf):
            raise InputError(f"a prior needs finite n ≥ 0 and scale > 0, not {self.n}, {self.scale}")

    def quantile(self, level: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """Score that a share `level` (0 to 1) of the prior's law stays within."""
        return np.asarray(self.scale * stdtrit(self.n, (1 + level) / 2))


@dataclass(frozen=True, eq=False)
class Bin:
    """The labels of one range of std.

    Attributes:
        scores: (n,) ascending. weights: (n,) of each, > 0.
        test_weight: of a new point in this range.
    """

    scores: Float[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"]
    test_weight: float

    def quantile(self, level: float, prior: Prior) -> float:
        """Score that a new point stays within with probability `level` or more.

        The prior may widen what the labels say, never narrow it: the quantile is the larger of theirs (the largest
        score where theirs is infinite) and that of labels and prior together, in which the prior's law F has the place
        of the point at infinity,

            least q with Σ_i w_i 1[s_i ≤ q] + (n_prior + 1) w_test F(q) ≥ level (Σ_i w_i + (n_prior + 1) w_test).

        So it is finite; the guarantee of `weighted_quantile` stands wherever that is finite; and the prior's say
        falls off as n_prior / n.
        """
        alone = weighted_quantile(self.scores, self.weights, level, self.test_weight)
        if prior.n == 0:
            return alone
        steps = np.concatenate([[0.0], self.scores])
        reached = np.concatenate([[0.0], np.cumsum(self.weights)])
        spread = (prior.n + 1) * self.test_weight
        missing = np.clip((level * (reached[-1] + spread) - reached) / spread, 0.0, 1.0)
        together = np.maximum(steps, prior.quantile(missing)).min()
        return float(max(together, min(alone, steps[-1])))


@dataclass(frozen=True, eq=False)
class Conformal:
    """What `fit` has learnt: from a std to an interval.

    Attributes:
        bins: the labels, by ranges of std.
        edges: (n_bins − 1,) ascending, largest std of each bin but the last.
        floor: added to every std, same unit.
        prior: what holds before there are labels.
        errors, std, weights, counts: (n,) of the labels, see `fit`.
    """

    bins: tuple[Bin, ...]
    edges: Float[np.ndarray, " n_edges"]
    floor: float
    prior: Prior
    errors: Float[np.ndarray, " n"]
    std: Float[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"]
    counts: Float[np.ndarray, " n"]
    _told: dict[float, Float[np.ndarray, " n_bins"]] = field(default_factory=dict, init=False, repr=False)
    _counted: dict[tuple[float, float], float] = field(default_factory=dict, init=False, repr=False)

    @property
    def effective_n(self) -> float:
        """Labels of equal weight that would tell as much as these do."""
        return effective_n(np.concatenate([b.weights for b in self.bins]))

    def quantiles(self, level: float) -> Float[np.ndarray, " n_bins"]:
        """Score that a new point of each bin stays within with probability `level` or more."""
        if level not in self._told:
            self._told[level] = np.array([b.quantile(level, self.prior) for b in self.bins])
        return self._told[level]

    def radius(self, std: Float[np.ndarray, " k"], level: float) -> Float[np.ndarray, " k"]:
        """Half-width of the interval that contains the truth with probability `level` or more.

        Over the edges of bins it never falls as std grows: more doubt does not promise less error. That only widens.

        Args:
            std: the committee's. What is not a finite number is no ground for trust: its radius is infinite.
            level: between 0 and 1, neither included.

        Returns:
            In the unit of std; inf only without a prior, or for such a std.

        Raises:
            InputError: a level outside of (0, 1).
        """
        q = self.quantiles(level)
        tops = np.concatenate([[0.0], (self.edges + self.floor) * q[:-1]])
        finite = np.where(np.isfinite(std), std, 0.0)
        place = np.searchsorted(self.edges, finite)
        wide = np.maximum((finite + self.floor) * q[place], np.maximum.accumulate(tops)[place])
        return np.where(np.isfinite(std), wide, np.inf)

    def bound(self, std: Float[np.ndarray, " k"], tolerance: float, risk: float) -> Float[np.ndarray, " k"]:
        """What errors stay within but for the risk, given that errors within the tolerance do no harm.

        The interval at level 1 − risk, or the tolerance where that is less and std is counted as sure (`selected_std`):
        there it is said of all that is no more doubtful together.

        Args:
            std: the committee's.
            tolerance, risk: as in `tolerance_to_std`.

        Returns:
            In the unit of std; beyond the tolerance just where std is above `sure_std`.

        Raises:
            InputError: as `tolerance_to_std`.
        """
        counted = std <= self._selected(tolerance, risk)
        radius = self.radius(std, 1 - risk)
        return np.where(counted, np.minimum(radius, tolerance), radius)

    def _selected(self, tolerance: float, risk: float) -> float:
        if (tolerance, risk) not in self._counted:
            found = selected_std(self.errors, self.std, self.weights, self.counts, tolerance, risk)
            self._counted[tolerance, risk] = found
        return self._counted[tolerance, risk]

    def sure_std(self, tolerance: float, risk: float) -> float:
        """The largest std that may go unasked, by the interval or by counting.

        Args, returns and errors are those of `tolerance_to_std`.
        """
        return max(tolerance_to_std(self, tolerance, risk), self._selected(tolerance, risk))

    def expected(self, std: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """The error to expect, for use as one σ: the radius at 68.3 %, which is σ itself where errors are normal."""
        return self.radius(std, ONE_SIGMA)


def fit(
    errors: Float[np.ndarray, " n"],
    std: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, " n"] | None = None,
    floor: float = 1e-3,
    test_weight: float | None = None,
    prior: Prior = Prior(),
    edges: Float[np.ndarray, " n_edges"] | None = None,
    counts: Float[np.ndarray, " n"] | None = None,
) -> Conformal:
    """Learn how wrong a committee is from labels that it had not seen.

    Args:
        errors: model − label, any sign.
        std: the committee's at that moment, ≥ 0, same unit.
        weights: of each label, 1 / the chance at which it was asked for; 1 by default, 0 drops it.
        floor: > 0, same unit, added to std, so that a lucky agreement does not blow up a score.
        test_weight: of a new point, > 0; by default the largest weight in its bin.
        prior: what holds before there are labels; `Prior(n=0)` for none, and infinite radii while labels are few.
        edges: ascending, from `std_edges` or settled beforehand: |error| / std is not independent of std, so each
            range of std gets its own quantile. One range by default. A range without labels is left to the prior.
        counts: of each label, where labels are counted as they are (`selected_std`); 1 by default; 0 where
            the weight is.

    Raises:
        InputError: a number that is not finite, a negative std or weight, a floor or test weight that is not positive,
            edges that do not ascend.

    >>> nothing = fit(np.array([]), np.array([]))
    >>> nothing.radius(np.array([0.01]), 0.9)
    array([0.0469])
    """
    weights = np.ones(len(errors)) if weights is None else weights
    edges = np.array([]) if edges is None else edges
    counts = (np.ones(len(errors)) if counts is None else counts) * (weights > 0)
    _check_finite(errors=errors, edges=edges)
    _check_not_negative(std=std, weights=weights, counts=counts)
    _check_positive("floor", floor)
    if test_weight is not None:
        _check_positive("test_weight", test_weight)
    if (np.diff(edges) <= 0).any():
        raise InputError(f"edges must ascend, not {edges.tolist()}")
    scores = np.abs(errors) / (std + floor)
    place = np.searchsorted(edges, std)
    bins = []
    for i in range(len(edges) + 1):
        chosen = np.flatnonzero((place == i) & (weights > 0))
        chosen = chosen[np.argsort(scores[chosen], kind="stable")]
        heaviest = float(weights[chosen].max()) if len(chosen) else 1.0
        bins.append(Bin(scores[chosen], weights[chosen], heaviest if test_weight is None else test_weight))
    return Conformal(tuple(bins), edges, floor, prior, errors, std, weights, counts)


def std_edges(
    std: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, " n"] | None = None,
    least: float = 20.0,
    most: int = 4,
) -> Float[np.ndarray, " n_edges"]:
    """Where to divide labels by std, so that each part has enough of them.

    The rule: a part is divided where the poorer side keeps the largest effective n (Kish), if that is `least` or more;
    of the parts that can be divided, the one that stands for most steps (the largest weight) goes first, until there
    are `most`. Errors have no say in it, as in bins they must not. A part in which a few audits leave many queries
    little say is poor, however many labels it has.

    Args:
        std: of each label, ≥ 0.
        weights: of each, ≥ 0; 1 by default, 0 drops it.
        least: effective n of a part. A quantile at a level needs more than level / (1 − level): 9 at 0.9, 19 at 0.95.
        most: parts.

    Returns:
        Ascending, the largest std of each part but the last; empty where there are too few labels to divide.

    Raises:
        InputError: a std or weight that is negative or not finite.

    >>> std_edges(np.arange(50.0)), std_edges(np.arange(30.0)).shape
    (array([24.]), (0,))
    """
    weights = np.ones(len(std)) if weights is None else weights
    _check_not_negative(std=std, weights=weights)
    order = np.argsort(std, kind="stable")
    order = order[weights[order] > 0]
    std, weights = std[order], weights[order]
    cuts = [0, len(std)]
    while len(cuts) <= most:
        parts = [(*_best_cut(std, weights, *part), float(weights[slice(*part)].sum())) for part in pairwise(cuts)]
        possible = [(weight, cut) for poorer, cut, weight in parts if poorer >= least]
        if not possible:
            break
        cuts = sorted([*cuts, max(possible)[1]])
    return np.asarray(std[np.array(cuts[1:-1], dtype=int) - 1])


def coverage(
    errors: Float[np.ndarray, " n"],
    radii: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, " n"] | None = None,
    confidence: float = 0.95,
) -> Share:
    """Share of errors within their radii.

    Args:
        errors: model − label.
        radii: half-width of each interval, as it was promised before the label; may be infinite.
        weights: of each, 1 by default.
        confidence: of the interval of the share.

    Returns:
        The weighted share. Its interval is exact for equal weights (C. J. Clopper, E. S. Pearson, Biometrika 26, 404
        (1934)); for others the same formula with the effective n (E. L. Korn, B. I. Graubard, Survey Methodology 24,
        193 (1998)).

    Raises:
        InputError: an error or weight that is not finite, a radius that is not a number, a negative weight.

    >>> covered = coverage(np.array([0.1, -0.3, 0.2]), np.full(3, 0.25))
    >>> [round(x, 3) for x in covered]
    [0.667, 0.094, 0.992]
    """
    weights = np.ones(len(errors)) if weights is None else weights
    _check_finite(errors=errors)
    _check_not_negative(weights=weights)
    if np.isnan(radii).any():
        raise InputError(f"radii must be numbers, but {int(np.isnan(radii).sum())} of {len(radii)} are nan")
    return _share(np.abs(errors) <= radii, weights, confidence)


def missed_triggers(
    errors: Float[np.ndarray, " n"],
    asked: Bool[np.ndarray, " n"],
    tolerance: float,
    weights: Float[np.ndarray, " n"] | None = None,
    confidence: float = 0.95,
) -> Share:
    """Share of sure steps that should have been asked about: wrong by more than the tolerance.

    Args:
        errors: model − label, of audits and queries.
        asked: whether the committee's doubt had the label asked for; these do not count here.
        tolerance: > 0, in the unit of the errors.
        weights: of each, 1 / its chance; 1 by default.
        confidence: of the interval of the share.

    Returns:
        The share and its interval, as `coverage` has it: exact while all audits have the same chance.

    Raises:
        InputError: an error or weight that is not finite, a negative weight, a tolerance that is not positive.
    """
    weights = np.ones(len(errors)) if weights is None else weights
    _check_finite(errors=errors)
    _check_not_negative(weights=weights)
    _check_positive("tolerance", tolerance)
    return _share(np.abs(errors[~asked]) > tolerance, weights[~asked], confidence)


def drift(scores_before: Float[np.ndarray, " n"], scores_after: Float[np.ndarray, " m"]) -> Drift:
    """Whether scores have changed, as between two promotions (the two-sample test of Kolmogorov and Smirnov).

    Both sides must be of one kind, audits or queries: another mixture of the two looks like drift, and is none. Of
    twenty comparisons without drift one has a p_value below 0.05.

    Raises:
        InputError: a score that is not finite.
    """
    _check_finite(scores_before=scores_before, scores_after=scores_after)
    if not len(scores_before) or not len(scores_after):
        return Drift(math.nan, 1.0, math.nan)
    from scipy.stats import ks_2samp  # takes a second to import, which `kossel --help` would pay

    test = ks_2samp(scores_before, scores_after)
    before, after = float(np.median(scores_before)), float(np.median(scores_after))
    if before == 0:
        return Drift(float(test.statistic), float(test.pvalue), math.inf if after > 0 else 1.0)
    return Drift(float(test.statistic), float(test.pvalue), after / before)


def selected_std(
    errors: Float[np.ndarray, " n"],
    std: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, " n"],
    counts: Float[np.ndarray, " n"],
    tolerance: float,
    risk: float,
) -> float:
    """The largest std up to which, by the labels, errors beyond the tolerance are no commoner than the risk.

    With h_i = 1[|e_i| > tolerance], and all sums over the labels with σ_i ≤ σ, the most σ with both

        Σ c_i h_i + 1 ≤ risk (Σ c_i + 1),        Σ w_i h_i ≤ risk Σ w_i.

    The first counts labels as they are, the new one among them. Labels lie thicker where doubt is greater, so where
    harm grows with doubt there is no less of it among them than among all steps. The second estimates the share among
    all steps, whether harm grows or not. Some (1 − risk) / risk labels are the least, 9 at a risk of 0.1, without an
    error too large.

    What is bounded by the risk, for labels that are like the steps, is the share of all steps that are unasked and
    wrong (arXiv:2208.02814, equation 4, which has all labels in the denominator). The share among those unasked is an
    estimate, looked at anew with every label: where harm is twice the risk throughout, one in five calibrations on 100
    labels still finds some range sure. Audits tell.

    Args:
        errors, std: as in `fit`.
        weights: w, of each, as in `fit`. counts: c, the same without 1 / chance: what has faded counts less than 1.
        tolerance, risk: as in `tolerance_to_std`.

    Returns:
        The std of a label; −inf where no labels show it.

    Raises:
        InputError: a number that is not finite, a negative std, weight or count, a tolerance that is not positive, a
            risk outside of (0, 1).

    >>> std = np.linspace(0.01, 0.3, 30)
    >>> selected_std(np.where(std < 0.205, 0.05, 0.2), std, np.ones(30), np.ones(30), 0.1, 0.1)
    0.21
    """
    _check_finite(errors=errors)
    _check_not_negative(std=std, weights=weights, counts=counts)
    _check_positive("tolerance", tolerance)
    _check_level("risk", risk)
    order = np.argsort(std, kind="stable")
    std, weights, counts = std[order], weights[order], counts[order]
    harm = np.abs(errors[order]) > tolerance
    last = np.append(np.diff(std) > 0, True)[: len(std)]  # of equally doubtful ones all or none
    counted = np.cumsum(counts * harm) + 1 <= risk * (np.cumsum(counts) + 1) * (1 + _ROUNDING)
    weighed = np.cumsum(weights * harm) <= risk * np.cumsum(weights) * (1 + _ROUNDING)
    shown = np.flatnonzero(last & counted & weighed)
    return float(std[shown[-1]]) if len(shown) else -math.inf


def tolerance_to_std(conformal: Conformal, tolerance: float, risk: float) -> float:
    """The largest std that may go unasked: there the interval at level 1 − risk is still within the tolerance.

    Args:
        conformal: from `fit`.
        tolerance: error that is still harmless, > 0, in the unit of std.
        risk: chance of a larger one that is borne, between 0 and 1.

    Returns:
        In the unit of std. −inf where no std is small enough, so that everything is asked; inf where every one is.

    Raises:
        InputError: a tolerance that is not positive, a risk outside of (0, 1).
    """
    _check_positive("tolerance", tolerance)
    _check_level("risk", risk)
    largest = -math.inf
    lower = np.concatenate([[0.0], conformal.edges])
    upper = np.concatenate([conformal.edges, [math.inf]])
    for q, first, last in zip(conformal.quantiles(1 - risk), lower, upper, strict=True):
        within = tolerance / q - conformal.floor if q > 0 else math.inf
        if within < first:
            break
        largest = float(min(within, last))
        if within < last:
            break
    return largest


def _best_cut(
    std: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], first: int, end: int
) -> tuple[float, int]:
    """(effective n of the poorer side, index of the first label of the upper side) of the best cut in first:end."""
    if end - first < 2:
        return 0.0, end
    below = _effective_n_of_heads(weights[first:end])[:-1]
    above = _effective_n_of_heads(weights[first:end][::-1])[-2::-1]
    poorer = np.where(np.diff(std[first:end]) > 0, np.minimum(below, above), 0.0)
    best = int(np.argmax(poorer))
    return float(poorer[best]), first + best + 1


def _effective_n_of_heads(weights: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.asarray(np.cumsum(weights) ** 2 / np.cumsum(weights**2))


def _share(true: Bool[np.ndarray, " n"], weights: Float[np.ndarray, " n"], confidence: float) -> Share:
    """Weighted share of what is true, with its interval of Clopper and Pearson."""
    _check_level("confidence", confidence)
    n, total = effective_n(weights), float(weights.sum())
    if n == 0:
        return Share(math.nan, 0.0, 1.0)
    share = float(weights[true].sum()) / total
    hits, tail = share * n, (1 - confidence) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if true[weights > 0].any() else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if not true[weights > 0].all() else 1.0
    return Share(share, low, high)


def _check_finite(**arrays: Float[np.ndarray, " _"]) -> None:
    for name, array in arrays.items():
        wrong = np.flatnonzero(~np.isfinite(array))
        if len(wrong):
            raise InputError(f"{name} must be finite, but number {wrong[0]} of {len(array)} is {array[wrong[0]]}")


def _check_not_negative(**arrays: Float[np.ndarray, " _"]) -> None:
    _check_finite(**arrays)
    for name, array in arrays.items():
        wrong = np.flatnonzero(array < 0)
        if len(wrong):
            raise InputError(f"{name} must be ≥ 0, but number {wrong[0]} of {len(array)} is {array[wrong[0]]}")


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise InputError(f"{name} must be positive and finite, not {value}")


def _check_level(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise InputError(f"{name} must lie between 0 and 1, neither included, not {value}")
