"""Rates on a network of minima and saddles, and overall rate constants between sets of minima.

Over one saddle the rate is that of harmonic transition-state theory, for all permutation-inversion copies together,
with o the orders of symmetry: k = (o_min / o_saddle) ∏ν(min) / ∏'ν(saddle) exp(−(E_saddle − E_min)/kT). Overall rates
come from eliminating minima one after another (graph transformation: Wales, Int. Rev. Phys. Chem. 25, 237 (2006))
without any subtraction (Grassmann, Taksar & Heyman, Oper. Res. 33, 1107 (1985)), however slow an escape is.
"""

from collections.abc import Sequence

import numpy as np
from ase import units

from growth.errors import InputError
from growth.study.landscape import Landscape, Saddle, Stationary


def rate_of(
    minimum: Stationary, saddle: Saddle, temperature_K: float, prefactor: float, member: int | None = None
) -> float:
    """Rate (1/s) over a saddle from one of its minima, over all its symmetric copies.

    Args:
        prefactor: 1/s, taken where vibrations are not known. member: of the committee, by its own energies.
    """
    kT = units.kB * temperature_K
    logs = minimum.log_frequencies - saddle.log_frequencies
    height = _energy(saddle, member) - _energy(minimum, member)
    nu = logs if np.isfinite(logs) else np.log(prefactor)
    return float(minimum.order / saddle.order * np.exp(nu - max(height, 0.0) / kT))


def rate_matrix(landscape: Landscape, temperature_K: float, prefactor: float, member: int | None = None) -> np.ndarray:
    """Rates (n_minima, n_minima), 1/s, from row to column, over all saddles known; the diagonal is zero."""
    rates = np.zeros((len(landscape.minima),) * 2)
    for saddle in landscape.joining:
        for a, b in (saddle.ends, saddle.ends[::-1]):
            rates[a, b] += rate_of(landscape.minima[a], saddle, temperature_K, prefactor, member)
    return rates


def occupation(
    landscape: Landscape, temperature_K: float, within: Sequence[int], member: int | None = None
) -> np.ndarray:
    """Equilibrium shares (n_minima,) of some minima, by harmonic superposition: ∝ exp(−E/kT) / (o ∏ν)."""
    minima = [landscape.minima[k] for k in within]
    logs = np.array([point.log_frequencies for point in minima])
    exponents = -np.array([_energy(point, member) for point in minima]) / (units.kB * temperature_K)
    exponents -= np.log([point.order for point in minima]) + np.where(np.isfinite(logs), logs, 0.0)
    weights = np.exp(exponents - exponents.max())
    shares = np.zeros(len(landscape.minima))
    shares[list(within)] = weights / weights.sum()
    return shares


def rate_constant(rates: np.ndarray, shares: np.ndarray, start: Sequence[int], end: Sequence[int]) -> float:
    """Rate constant (1/s) from start, in equilibrium within itself, to end, all else in the steady state.

    Detailed balance holds exactly: P(start) k(start → end) = P(end) k(end → start).

    Args:
        rates: (n, n), 1/s. shares: (n,), equilibrium. start, end: numbers of states.
    """
    others = [k for k in range(len(rates)) if k not in start and k not in end]
    left = _eliminated(rates, np.ones(len(rates)), others)[0]
    out = left[np.ix_(start, end)].sum(axis=1)
    return float(out @ shares[list(start)] / shares[list(start)].sum())


def first_passage(rates: np.ndarray, shares: np.ndarray, start: Sequence[int], end: Sequence[int]) -> float:
    """Mean time (s) to reach end for the first time from start in equilibrium within itself."""
    others = [k for k in range(len(rates)) if k not in start and k not in end]
    left, waits = _eliminated(rates, np.ones(len(rates)), others)
    times = []
    for k in start:
        alone, wait = _eliminated(left, waits, [i for i in start if i != k])
        times.append(wait[k] / alone[k, list(end)].sum())
    return float(np.array(times) @ shares[list(start)] / shares[list(start)].sum())


def _eliminated(rates: np.ndarray, waits: np.ndarray, removed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Rates among what is left, and waits w such that w_i / Σ_j k_ij is the mean time spent before the next of these.

    Each x removed adds k_ix k_xj / Σ_l k_xl to k_ij, k_ix w_x / Σ_l k_xl to w_i; what leads back to i is dropped.
    """
    rates, waits = rates.copy(), waits.copy()
    np.fill_diagonal(rates, 0.0)
    for x in removed:
        out = rates[x].sum()
        if not out > 0:
            raise InputError(f"rates: expected a way out of every state, found none from state {x}")
        waits += rates[:, x] * (waits[x] / out)
        rates += np.outer(rates[:, x], rates[x] / out)
        rates[x, :] = rates[:, x] = 0.0
        np.fill_diagonal(rates, 0.0)
    return rates, waits


def _energy(point: Stationary, member: int | None) -> float:
    return point.energy if member is None else float(point.member_energies[member])
