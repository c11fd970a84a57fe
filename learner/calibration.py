"""From the spread of a committee to an expected error: pure functions of arrays."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from jaxtyping import Float

# For a normal law, the mean absolute value is √(2/π) of the standard deviation.
_MEAN_ABSOLUTE = float(np.sqrt(2 / np.pi))


def calibrate(
    residuals: Float[np.ndarray, " n"],
    std: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, " n"] | None = None,
    prior: float = 2.0,
    prior_strength: float = 8.0,
    floor: float = 1e-3,
) -> float:
    """The factor that turns a committee's std into the std of its true error.

    The weighted mean of |residual| / max(std, floor), each ratio cut at five times their median so that one outlier
    does not rule, times √(π/2) (normal errors), shrunk to the prior by `prior_strength` made-up pairs:

        factor = (Σ w q √(π/2) + n0 · prior) / (Σ w + n0),   q = min(|residual|/std, 5 median)

    Args:
        residuals: model − label, on pairs that the model had not learnt from.
        std: the committee's, same unit.
        weights: of each pair, 1 by default; 0 drops it.
        prior: factor without any pair.
        prior_strength: pairs that the prior counts for.
        floor: least std, same unit, so that a lucky agreement does not blow up a ratio.

    Returns:
        factor > 0; multiply a std by it for the expected error's std.
    """
    w = np.ones(len(residuals)) if weights is None else np.asarray(weights, dtype=float)
    good = np.isfinite(residuals) & np.isfinite(std) & (w > 0)
    if not good.any():
        return prior
    ratio = np.abs(residuals[good]) / np.maximum(std[good], floor)
    ratio = np.minimum(ratio, 5 * max(_weighted_median(ratio, w[good]), 1e-6))
    total = float(w[good].sum())
    return float((np.sum(w[good] * ratio) / _MEAN_ABSOLUTE + prior_strength * prior) / (total + prior_strength))


def coverage(residuals: Float[np.ndarray, " n"], std: Float[np.ndarray, " n"], level: float = 0.9) -> float:
    """Share of residuals inside the central interval of a normal law with these stds, without any factor."""
    if len(residuals) == 0:
        return float("nan")
    half = NormalDist().inv_cdf(0.5 + level / 2)
    return float(np.mean(np.abs(residuals) <= half * np.asarray(std)))


def _weighted_median(x: np.ndarray, w: np.ndarray) -> float:
    order = np.argsort(x)
    cumulative = np.cumsum(w[order])
    return float(x[order][np.searchsorted(cumulative, cumulative[-1] / 2)])
