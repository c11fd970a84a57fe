"""Rates, waiting times and superbasins: pure functions of arrays, the random generator an argument.

Energies are in eV, temperatures in K, rates in 1/s. `rates[i, j]` leads from state i to state j; diagonals are ignored.

Flickering states are folded by eliminating one after another (Grassmann, Taksar & Heyman, Oper. Res. 33, 1107 (1985);
Wales, J. Chem. Phys. 130, 204111 (2009)). Nothing is ever subtracted, so every digit of a result holds however far
rates lie apart.
"""

from itertools import pairwise

import numpy as np
from ase import units

from growth.errors import InputError

PLANCK = 4.135667696e-15
"""eV s."""
LARGE = 1e12
"""Jumps above which their number is drawn from the limiting distribution, wrong by less than 1e-8 of itself."""


# Rates


def arrhenius(barriers: float | np.ndarray, prefactors: float | np.ndarray, temperature_K: float) -> np.ndarray:
    """Rates ν exp(−E/kT), 1/s, of harmonic transition-state theory.

    Args:
        barriers: eV, ≥ 0, any shape. prefactors: 1/s, > 0, one for all (often 1e13) or one each (see `vineyard`).
    """
    E, nu = np.asarray(barriers, dtype=float), np.asarray(prefactors, dtype=float)
    _require("barriers", E, np.isfinite(E) & (E >= 0), "finite energies of at least zero")
    _require("prefactors", nu, np.isfinite(nu) & (nu > 0), "finite rates above zero")
    return np.asarray(nu * np.exp(-E / _kT(temperature_K)))


def frequencies(hessian: np.ndarray, masses: np.ndarray, n_rigid: int = 0) -> np.ndarray:
    """Frequencies ν, Hz, of harmonic vibrations, lowest first; an unstable mode's is negative instead of imaginary.

    Args:
        hessian: (3 n_atoms, 3 n_atoms) or, for motion in other coordinates, (n, n); eV/Å², symmetric.
        masses: (n_atoms,) or (n,), amu.
        n_rigid: modes of rigid motion to leave out, those nearest zero: 3 of a periodic crystal that nothing holds,
            6 of a free cluster (whose moments of inertia are then neglected), 0 of a slab on fixed atoms.

    Returns:
        (n − n_rigid,).
    """
    if hessian.ndim != 2 or len(masses) == 0 or hessian.shape != (len(hessian),) * 2 or len(hessian) % len(masses):
        raise InputError(f"hessian: expected a square matrix for {len(masses)} masses, got shape {hessian.shape}")
    _require("masses", masses, masses > 0, "all above zero")
    root = np.sqrt(np.repeat(masses, len(hessian) // len(masses)))
    curvatures = np.linalg.eigvalsh(hessian / np.outer(root, root))
    vibrating = np.sort(np.argsort(np.abs(curvatures), kind="stable")[n_rigid:])
    omega = np.sign(curvatures) * np.sqrt(np.abs(curvatures)) * units.second
    return np.asarray(omega[vibrating] / (2 * np.pi))


def vineyard(minimum: np.ndarray, saddle: np.ndarray) -> float:
    """Prefactor ∏ν(minimum) / ∏'ν(saddle), 1/s; ∏' leaves out the unstable mode.

    Vineyard, J. Phys. Chem. Solids 3, 121 (1957).

    Args:
        minimum, saddle: (n_modes,), Hz, from `frequencies`; exactly one of the saddle's is negative.
    """
    _require("minimum", minimum, minimum > 0, "frequencies above zero")
    if len(minimum) != len(saddle):
        raise InputError(f"saddle: expected {len(minimum)} modes, as many as of the minimum, got {len(saddle)}")
    if (saddle < 0).sum() != 1 or (saddle == 0).any():
        raise InputError(f"saddle: expected exactly one unstable mode, got {(saddle < 0).sum()}")
    return float(np.exp(np.log(minimum).sum() - np.log(saddle[saddle > 0]).sum()))


def harmonic_free_energy(energy: float, minimum: np.ndarray, temperature_K: float) -> float:
    """F = E + kT Σ ln(hν/kT), eV, of a classical harmonic well with frequencies minimum (n_modes,), Hz."""
    kT = _kT(temperature_K)
    _require("minimum", minimum, minimum > 0, "frequencies above zero")
    return float(energy + kT * np.log(PLANCK * minimum / kT).sum())


def free_energy_change(forward: float, reverse: float, temperature_K: float) -> float:
    """F(end) − F(start) = −kT ln(k_forward/k_reverse), eV, that two rates of one event imply by detailed balance."""
    both = np.array([forward, reverse])
    _require("forward, reverse", both, both > 0, "rates above zero")
    return float(-_kT(temperature_K) * (np.log(forward) - np.log(reverse)))


def reverse_rate(forward: float, change: float, temperature_K: float) -> float:
    """Rate of the way back, 1/s, by detailed balance: k_forward exp(change/kT), change = F(end) − F(start), eV."""
    return float(forward * np.exp(change / _kT(temperature_K)))


def reverse_prefactor(forward: float, start: np.ndarray, end: np.ndarray) -> float:
    """Prefactor of the way back over the same saddle: ν_forward ∏ν(end)/∏ν(start), frequencies (n_modes,)."""
    for name, well in (("start", start), ("end", end)):
        _require(name, well, well > 0, "frequencies above zero")
    return float(forward * np.exp(np.log(end).sum() - np.log(start).sum()))


def equilibrium(free_energies: np.ndarray, temperature_K: float) -> np.ndarray:
    """Boltzmann's occupation (n_states,) ∝ exp(−F/kT) of states with these free energies (n_states,), eV."""
    weights = np.exp(-(free_energies - free_energies.min()) / _kT(temperature_K))
    return np.asarray(weights / weights.sum())


def flux_of_monolayers(monolayers: float | np.ndarray, site_area: float) -> np.ndarray:
    """Flux in atoms per Å² and s of so many monolayers per s, one atom to each site_area (Å²)."""
    _require("site_area", site_area, site_area > 0, "an area above zero")
    return np.asarray(monolayers, dtype=float) / site_area


def arrival_rates(flux: float | np.ndarray, area: float, sticking: float | np.ndarray = 1.0) -> np.ndarray:
    """Atoms that arrive and stay, 1/s.

    Args:
        flux: atoms per Å² and s, one or (n_species,). area: Å². sticking: share that stays, one or (n_species,).
    """
    f, s = np.asarray(flux, dtype=float), np.asarray(sticking, dtype=float)
    _require("flux", f, np.isfinite(f) & (f >= 0), "finite, at least zero")
    _require("area", area, 0 <= area < np.inf, "finite, at least zero")
    _require("sticking", s, (s >= 0) & (s <= 1), "shares from 0 to 1")
    return np.asarray(f * s * area)


# The residence-time algorithm


def draw_event(rates: np.ndarray, rng: np.random.Generator) -> tuple[int, float]:
    """The next of competing events, and the time until it, s.

    Event i with probability k_i/Σk after a time from the exponential distribution of mean 1/Σk: Bortz, Kalos &
    Lebowitz, J. Comput. Phys. 17, 10 (1975); Gillespie, J. Comput. Phys. 22, 403 (1976).

    Args:
        rates: (n_events,), 1/s, at least one above zero.
    """
    _check_rates("rates", rates)
    if not rates.sum() > 0:
        raise InputError("rates: expected at least one event with a rate above zero, got none")
    return int(_choices(rates, 1, rng)[0]), float(rng.exponential(1.0 / rates.sum()))


# Superbasins


def flicker(
    rates: np.ndarray, recent: np.ndarray, fast: float, min_visits: int = 2, max_states: int = 100
) -> np.ndarray:
    """States worth folding around the present one: visited again and again, joined by events fast both ways.

    Any set of states may be folded, the result is exact; this one is where time would be lost hopping. It grows from
    the present state by the fastest link first.

    Args:
        rates: (n_states, n_states), 1/s, among the states known.
        recent: (n_visits,), numbers of the states visited of late, the present one last.
        fast: 1/s; a link counts whose slower direction is faster, say a hundred times the rate of arrivals.
        min_visits: of a state among the recent ones. max_states: size of the set at most (folding costs its cube).

    Returns:
        (n_set,) numbers of states, the present one first; alone where nothing flickers.
    """
    _check_rates("rates", rates)
    _require("fast", fast, fast > 0, "a rate above zero")
    _require("recent", recent, (recent >= 0) & (recent < len(rates)), f"numbers of the {len(rates)} states")
    if rates.shape != (len(rates),) * 2 or len(recent) == 0:
        raise InputError(f"rates, recent: expected a square matrix and a state, got {rates.shape}, {len(recent)}")
    links = np.minimum(rates, rates.T)
    open_to = np.bincount(recent, minlength=len(rates)) >= min_visits
    found = [int(recent[-1])]
    open_to[found] = False
    strength = np.where(open_to, links[found[0]], 0.0)
    while len(found) < max_states and strength.max() > fast:
        found.append(int(strength.argmax()))
        open_to[found] = False
        strength = np.where(open_to, np.maximum(strength, links[found[-1]]), 0.0)
    return np.array(found)


def mean_exit(transient: np.ndarray, exits: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean time spent in each transient state before the exit, and the probability of each exit.

    Each elimination of state x turns k_ij into k_ij + k_ix k_xj / Σ_{l≠x} k_xl, the rates of the process watched in
    the other states only. Both results are accurate to some roundings for each state, entry by entry.

    Args:
        transient: (n_states, n_states), 1/s, among the states folded.
        exits: (n_states, n_exits), 1/s. Give each event a column of its own to learn which was taken and from where.
        start: number of the present state.

    Returns:
        times: (n_states,), s; their sum is the mean time to the exit. probabilities: (n_exits,).

    Raises:
        InputError: some state has no way out.
    """
    levels, order = _eliminated(transient, exits, start)
    leaving = levels[0][0, 1:]
    if not leaving.sum() > 0:
        raise InputError(f"exits: expected one from some state at least, found none from state {start}")
    times = np.empty(len(order))
    times[order] = _occupation(levels, 1.0 / leaving.sum())
    return times, leaving / leaving.sum()


def draw_exits(
    transient: np.ndarray, exits: np.ndarray, start: int, rng: np.random.Generator, n_draws: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Times and destinations of exits from a superbasin, from their exact joint distribution.

    Path factorisation (Athènes & Bulatov, Phys. Rev. Lett. 113, 230601 (2014); the law is the phase-type one of
    absorbing chains, Novotny, Phys. Rev. Lett. 74, 1 (1995)), here in continuous time. With all states but the start
    eliminated, the destination and the time spent in the start are plain draws. Then the eliminated states come back
    one by one, and x takes its share of what is known: of the n jumps i → j, via x went Binomial(n, share of that
    way's rate); excursions i → x → i are Poisson, of mean t_i k_ix k_xi / Σ_{l≠x} k_xl in the time t_i spent in i; and
    the time in x is Gamma distributed, of so many visits. The cost does not grow with the number of hops.

    Args:
        transient, exits, start: see `mean_exit`.
        n_draws: independent exits, all from start.

    Returns:
        times: (n_draws,), s. destinations: (n_draws,), columns of exits.
    """
    destinations = _choices(mean_exit(transient, exits, start)[1], n_draws, rng)
    taken, columns = np.unique(destinations, return_inverse=True)
    others = np.delete(exits, taken, axis=1).sum(axis=1)
    levels, _ = _eliminated(transient, np.column_stack([exits[:, taken], others]), start)
    times = rng.exponential(1.0 / levels[0].sum(), (n_draws, 1))
    jumps = np.zeros((n_draws, *levels[0].shape))
    jumps[np.arange(n_draws), 0, 1 + columns] = 1.0
    for x, (coarse, fine) in enumerate(pairwise(levels), start=1):
        into, out = fine[:x, x], np.delete(fine[x], x)
        detours = np.outer(into, out / out.sum())
        direct = np.delete(fine[:x], x, axis=1)
        via = _split(jumps, detours, direct, coarse, rng)
        here = np.arange(x)
        jumps -= via
        via[:, here, here] = _poisson(times * detours[here, here], rng)
        times = np.column_stack([times, rng.standard_gamma(via.sum(axis=(1, 2))) / out.sum()])
        jumps = np.insert(jumps, x, via.sum(axis=2), axis=2)
        jumps = np.concatenate([jumps, np.insert(via.sum(axis=1), x, 0.0, axis=1)[:, None]], axis=1)
    return times.sum(axis=1), destinations


def stationary(rates: np.ndarray) -> np.ndarray:
    """Share of time (n_states,) spent in each state of a closed system that reaches all of them, by GTH elimination.

    Args:
        rates: (n_states, n_states), 1/s.
    """
    levels, _ = _eliminated(rates, np.zeros((len(rates), 0)), 0)
    shares = _occupation(levels, 1.0)
    return np.asarray(shares / shares.sum())


def _eliminated(transient: np.ndarray, exits: np.ndarray, start: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Rates (k, k + n_exits) with k = 1, 2, ... n_states states left, and the order (n_states,) of these, start first.

    Diagonals are zero: returns to the same state by way of eliminated ones are dropped.
    """
    _check_rates("transient", transient)
    _check_rates("exits", exits)
    n = len(transient)
    if transient.shape != (n, n) or exits.ndim != 2 or len(exits) != n or not 0 <= start < n:
        raise InputError(
            f"transient, exits, start: expected (n, n), (n, n_exits) and a number below n, "
            f"got {transient.shape}, {exits.shape}, {start}"
        )
    order = np.array([start, *(i for i in range(n) if i != start)])
    levels = [np.hstack([transient[np.ix_(order, order)], exits[order]])]
    np.fill_diagonal(levels[0], 0.0)
    for x in range(n - 1, 0, -1):
        out = np.delete(levels[0][x], x)
        if not out.sum() > 0:
            raise InputError(f"transient: expected a way out of every state, found none from state {order[x]}")
        coarse = np.delete(levels[0][:x], x, axis=1) + np.outer(levels[0][:x, x], out / out.sum())
        np.fill_diagonal(coarse, 0.0)
        levels.insert(0, coarse)
    return levels, order


def _occupation(levels: list[np.ndarray], first: float) -> np.ndarray:
    """Mean times (n_states,) in the order of elimination, from that in the first state: what enters x leaves it."""
    times = np.array([first])
    for x, rates in enumerate(levels[1:], start=1):
        times = np.append(times, times @ rates[:x, x] / rates[x].sum())
    return times


def _split(
    jumps: np.ndarray, detours: np.ndarray, direct: np.ndarray, total: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """How many of the jumps (n_draws, n_from, n_to) took the detour rather than the direct way, rates (n_from, n_to).

    The rarer way is drawn, so that its share keeps all digits. total: sum of both rates off the diagonal.
    """
    rarer = np.minimum(detours, direct) / np.where(total > 0, total, 1.0)
    drawn = np.zeros_like(jumps)
    some = jumps > 0
    drawn[some] = _binomial(jumps[some], np.broadcast_to(rarer, jumps.shape)[some], rng)
    return np.where(detours <= direct, drawn, jumps - drawn)


def _binomial(n: np.ndarray, p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Binomial numbers (m,) for n (m,) tries with p (m,) ≤ 1/2."""
    drawn = rng.binomial(np.minimum(n, LARGE).astype(np.int64), p).astype(float)
    large = n > LARGE
    if large.any():
        mean, p = (n * p)[large], p[large]
        normal = np.rint(mean + np.sqrt(mean * (1.0 - p)) * rng.standard_normal(len(p)))
        drawn[large] = np.minimum(np.where(p < 1e-4, _poisson(mean, rng), normal), n[large])
    return drawn


def _poisson(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Poisson numbers of these means, any shape."""
    drawn = rng.poisson(np.minimum(mean, LARGE)).astype(float)
    large = mean > LARGE
    drawn[large] = np.rint(mean[large] + np.sqrt(mean[large]) * rng.standard_normal(large.sum()))
    return drawn


# Completeness of an event table


def good_turing(counts: np.ndarray) -> tuple[float, float]:
    """Probability that the next search finds an event that is not in the table, and its standard error.

    f₁/n of n searches, f₁ events found once: Good, Biometrika 40, 237 (1953). Its mean is exactly the probability
    left unfound after n − 1 searches, whatever the searches prefer. The error is that of Esty, Ann. Statist. 11, 905
    (1983), [f₁(1 − f₁/n) + 2 f₂]^½/n; zero, and too small, while all were found once.

    Args:
        counts: (n_events,), searches that found each event of the table: those events within the window of energy
            that matters, counted from searches that landed in it.
    """
    n, f1, f2 = _frequencies_of_counts(counts)
    return f1 / n, float(np.sqrt(f1 * (1.0 - f1 / n) + 2.0 * f2) / n)


def unseen(counts: np.ndarray, rates: np.ndarray) -> tuple[float, float]:
    """Number of events that the table lacks, and the sum of their rates (1/s): a lower bound on average.

    (n−1)/n · f₁(f₁−1) / (2(f₂+1)) events, Chao1 without its bias (Chao, Scand. J. Statist. 11, 265 (1984)), with as
    high a rate as events found once have on average (as for branch lengths of unseen species: Chao et al., Methods
    Ecol. Evol. 6, 380 (2015)). Unbiased where searches find all alike; too small where some are hard to find.

    Args:
        counts: (n_events,), see `good_turing`. rates: (n_events,), 1/s.
    """
    _require("rates", rates, np.isfinite(rates) & (rates > 0), "finite rates above zero")
    if rates.shape != counts.shape:
        raise InputError(f"rates: expected one for each of {len(counts)} counts, got {len(rates)}")
    n, f1, f2 = _frequencies_of_counts(counts)
    number = (n - 1) / n * f1 * (f1 - 1) / (2.0 * (f2 + 1))
    return number, float(number * rates[counts == 1].mean()) if f1 else 0.0


def missing_share(counts: np.ndarray, rates: np.ndarray) -> float:
    """Probability that the true next event is not in the table: the share of the total rate that is `unseen`.

    1 as long as no event was found twice, for then nothing is known.
    """
    rate = unseen(counts, rates)[1]
    return 1.0 if (counts <= 1).all() else rate / (rate + float(rates[counts > 0].sum()))


def xu_henkelman(n_repeats: int) -> float:
    """Confidence 1 − 1/N_r in a table after N_r searches in a row that found no new event within the window.

    Xu & Henkelman, J. Chem. Phys. 129, 114104 (2008).
    """
    return 1.0 - 1.0 / n_repeats if n_repeats > 0 else 0.0


def found_by_dynamics(hot_rates: np.ndarray, time: float) -> np.ndarray:
    """Probabilities (n_events,) 1 − exp(−k t) that dynamics at high temperature has found events by time t, s.

    Chill & Henkelman, J. Chem. Phys. 140, 214110 (2014).

    Args:
        hot_rates: (n_events,), 1/s, at the temperature of the dynamics.
    """
    return np.asarray(-np.expm1(-hot_rates * time))


def total_rate(rates: np.ndarray, found: np.ndarray) -> float:
    """Unbiased estimate of the rate of all events, 1/s, those not found included: Σ k_i/p_i over the events found.

    Horvitz & Thompson, J. Am. Stat. Assoc. 47, 663 (1952); for event tables: Aristoff, Chill & Simpson, Commun. Appl.
    Math. Comput. Sci. 11, 171 (2016). Completeness is rates.sum() / total_rate.

    Args:
        rates: (n_events,), 1/s, at the temperature of growth.
        found: (n_events,), probability with which searches so far would have found each, see `found_by_dynamics`.
    """
    _check_rates("rates", rates)
    _require("found", found, (found > 0) & (found <= 1), "probabilities above zero and up to 1")
    if rates.shape != found.shape:
        raise InputError(f"found: expected one for each of {len(rates)} rates, got {len(found)}")
    return float((rates / found).sum())


def _frequencies_of_counts(counts: np.ndarray) -> tuple[int, int, int]:
    """Searches in all, events found once, events found twice."""
    _require("counts", counts, counts >= 0, "numbers of searches of at least zero")
    if not counts.sum() > 0:
        raise InputError("counts: expected at least one search that found an event, got none")
    return int(counts.sum()), int((counts == 1).sum()), int((counts == 2).sum())


def _choices(weights: np.ndarray, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers (n_draws,) drawn in proportion to weights (n,), never one whose weight is zero."""
    cumulative = np.cumsum(weights)
    return np.searchsorted(cumulative, rng.random(n_draws) * cumulative[-1], side="right")


def _check_rates(name: str, rates: np.ndarray) -> None:
    _require(name, rates, np.isfinite(rates) & (rates >= 0), "finite rates of at least zero")


def _kT(temperature_K: float) -> float:
    _require("temperature_K", temperature_K, 0 < temperature_K < np.inf, "a temperature above zero")
    return float(units.kB * temperature_K)


def _require(name: str, values: float | np.ndarray, sound: bool | np.bool_ | np.ndarray, expected: str) -> None:
    """Refuse the first of the values (any shape) that is not sound (same shape)."""
    if not np.all(sound):
        raise InputError(f"{name}: expected {expected}, got {np.asarray(values)[~np.asarray(sound)][0]}")
