"""An adatom on a substrate that does not move: its exact energy and force, for thousands of positions at once.

Only what the adatom changes is computed, over the atoms that it can reach: the same numbers as ASE's calculators
give for the whole structure (a test compares them), a thousand times faster.
"""

from collections.abc import Sequence

import numba
import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT, beta
from ase.calculators.tersoff import Tersoff, TersoffParameters
from scipy.spatial import cKDTree

from growth.candidates import with_images
from growth.errors import InputError
from learner.prediction import Prediction

TERSOFF = {
    "Si": TersoffParameters(
        3.0, 1.0, 0.0, 1.0039e5, 16.217, -0.59825, 0.78734, 1.1e-6, 1.7322, 471.18, 2.85, 0.15, 2.4799, 1830.8
    ),
    "C": TersoffParameters(
        3.0, 1.0, 0.0, 3.8049e4, 4.3484, -0.57058, 0.72751, 1.5724e-7, 2.2119, 346.74, 1.95, 0.15, 3.4879, 1393.6
    ),
}
"""Tersoff, Phys. Rev. B 39, 5566 (1989), table I."""


class Rigid:
    """An energy model of one adatom, last in each structure, on one rigid substrate.

    Energies are those of the adatom's bonds, eV: zero where it touches nothing. Forces on other atoms are given as
    zero, so a structure may be relaxed with its adatom alone free.

    Attributes:
        reach: Å, as far as the adatom sees. n_calls: positions evaluated so far.
    """

    def __init__(self, substrate: Atoms, species: str, reach: float) -> None:
        heights = 1.0 / np.linalg.norm(np.linalg.inv(substrate.cell.complete()[:]), axis=0)
        if (heights[substrate.pbc] < 2.0 * reach).any():
            raise InputError(f"substrate: expected a cell at least {2 * reach:.1f} Å wide, got {heights.min():.1f} Å")
        self.substrate, self.species, self.reach, self.n_calls = substrate, species, reach, 0
        self.points, self.owner = with_images(substrate, 2.0 * reach + 4.0)

    def at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energies (n,), eV, and forces (n, 3), eV/Å, of the adatom at positions (n, 3), Å."""
        self.n_calls += len(positions)
        return self._evaluate(np.ascontiguousarray(self.inside(positions), dtype=float))

    def inside(self, positions: np.ndarray) -> np.ndarray:
        """Positions moved by cell vectors to where the substrate and its images are."""
        substrate = self.substrate
        if not substrate.pbc.any():
            return positions
        cell = substrate.cell.complete()
        scaled = cell.scaled_positions(positions) - cell.scaled_positions(substrate.positions).min(axis=0)
        return np.asarray(positions - np.where(substrate.pbc, np.floor(scaled), 0.0) @ cell[:])

    def nearest_atom(self, positions: np.ndarray) -> np.ndarray:
        """Numbers (n,) of the substrate's atoms that the positions are nearest to."""
        return np.asarray(self.owner[cKDTree(self.points).query(self.inside(positions))[1]])

    def _evaluate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    @property
    def screen(self) -> "Rigid":
        """The model itself."""
        return self

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        """Energies and forces of structures: the substrate and an adatom each."""
        energies, forces = self.at(np.array([structure.positions[-1] for structure in structures]).reshape(-1, 3))
        n_atoms = len(self.substrate) + 1
        padded = np.zeros((len(structures), n_atoms, 3))
        padded[:, -1] = forces
        zeros = np.zeros(n_atoms)
        return Prediction(
            energies=energies,
            forces=list(padded),
            member_energies=energies[None].copy(),
            forces_std=[zeros] * len(structures),
            atom_energies=[zeros] * len(structures),
        )


class RigidEMT(Rigid):
    """Effective medium theory as in `ase.calculators.emt`."""

    def __init__(self, substrate: Atoms, species: str) -> None:
        super().__init__(substrate, species, reach=5.88)
        calculator = EMT()
        calculator.initialize(Atoms([*substrate.get_chemical_symbols(), species]))
        par, kind = calculator.par, calculator.ia2iz
        names = ("E0", "s0", "V0", "eta2", "kappa", "lambda", "n0", "inv12gamma1", "neghalfv0overgamma2")
        table = np.array([par[name] for name in names]).T
        kinds = np.asarray(kind[:-1])[self.owner]
        cut = np.array([calculator.rc, calculator.rc_list, calculator.acut])
        sigma = _emt_densities(self.points[: len(substrate)], kinds[: len(substrate)], self.points, kinds, table, cut)
        self._arguments = (self.points, kinds, sigma[self.owner], int(kind[-1]), table, cut)

    def _evaluate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _emt(positions, *self._arguments)


class RigidTersoff(Rigid):
    """Tersoff's potential of one element as in `ase.calculators.tersoff`; forces by central differences."""

    def __init__(self, substrate: Atoms, species: str) -> None:
        par = TERSOFF[species]
        cutoff = par.R + par.D
        super().__init__(substrate, species, reach=2.0 * cutoff)
        names = ("gamma", "c", "d", "h", "n", "beta", "lambda2", "B", "R", "D", "lambda1", "A")
        table = np.array([getattr(par, name) for name in names])
        if par.lambda3 != 0.0 or set(substrate.get_chemical_symbols()) != {species}:
            raise InputError("substrate: expected one element with λ₃ = 0")
        self._arguments = (self.points, *_near_points(self.points, cutoff), table)

    def _evaluate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _tersoff(positions, *self._arguments)


class _Tersoff(Tersoff):
    """ASE's, which divides by zero where an atom has a single neighbour."""

    def _calc_bij_d(self, zeta: float, beta: float, n: float) -> float:
        return 0.0 if zeta == 0.0 else float(super()._calc_bij_d(zeta, beta, n))


def tersoff(species: str) -> Tersoff:
    """ASE's calculator with the parameters used here."""
    return _Tersoff({(species,) * 3: TERSOFF[species]})


@numba.njit(cache=True)
def _emt_densities(atoms, kinds_of, points, kinds, table, cut):  # type: ignore[no-untyped-def]
    """σ₁ of each atom, (n_atoms,)."""
    sigma = np.zeros(len(atoms))
    for i in range(len(atoms)):
        for j in range(len(points)):
            r = np.sqrt(((points[j] - atoms[i]) ** 2).sum())
            if 1e-6 < r < cut[1]:
                o, s = table[kinds[j]], table[kinds_of[i]]
                w = 1.0 / (1.0 + np.exp(cut[2] * (r - cut[0])))
                sigma[i] += np.exp(-o[3] * (r - beta * o[1])) * o[6] / s[6] * w
    return sigma


@numba.njit(cache=True)
def _emt_cohesion(sigma, p):  # type: ignore[no-untyped-def]
    """An atom's E_c + 6 V₀ exp(−κ ds), eV, and its derivative by σ₁."""
    if sigma <= 0.0:
        return 0.0, 0.0
    ds = -np.log(sigma * p[7]) / (beta * p[3])
    x = p[5] * ds
    bound, repelled = p[0] * np.exp(-x), 6.0 * p[2] * np.exp(-p[4] * ds)
    slope = -bound * p[5] * x - p[4] * repelled
    return bound * (1.0 + x) + repelled, -slope / (beta * p[3] * sigma)


@numba.njit(cache=True)
def _emt(positions, points, kinds, sigmas, kind, table, cut):  # type: ignore[no-untyped-def]
    """Energies (n,) and forces (n, 3) of an adatom of the given kind."""
    n = len(positions)
    energies, forces = np.zeros(n), np.zeros((n, 3))
    near, lengths = np.zeros(len(points), dtype=np.int64), np.zeros(len(points))
    s = table[kind]
    for q in range(n):
        x, y, z = positions[q]
        m, sigma = 0, 0.0
        for j in range(len(points)):
            r2 = (points[j, 0] - x) ** 2 + (points[j, 1] - y) ** 2 + (points[j, 2] - z) ** 2
            if r2 < cut[1] ** 2:
                near[m], lengths[m] = j, max(np.sqrt(r2), 0.1)
                o = table[kinds[j]]
                w = 1.0 / (1.0 + np.exp(cut[2] * (lengths[m] - cut[0])))
                sigma += np.exp(-o[3] * (lengths[m] - beta * o[1])) * o[6] / s[6] * w
                m += 1
        energy, slope = _emt_cohesion(sigma, s)
        for k in range(m):
            j, r = near[k], lengths[k]
            o = table[kinds[j]]
            chi = o[6] / s[6]
            w = 1.0 / (1.0 + np.exp(cut[2] * (r - cut[0])))
            dw = cut[2] * (w - 1.0)
            here = np.exp(-o[3] * (r - beta * o[1])) * chi * w
            there = np.exp(-s[3] * (r - beta * s[1])) / chi * w
            pair_s = s[8] * np.exp(-o[4] * (r / beta - o[1])) * chi * w
            pair_o = o[8] * np.exp(-s[4] * (r / beta - s[1])) / chi * w
            before, _ = _emt_cohesion(sigmas[j], o)
            after, slope_o = _emt_cohesion(sigmas[j] + there, o)
            energy += pair_s + pair_o + after - before
            de = pair_s * (dw - o[4] / beta) + pair_o * (dw - s[4] / beta)
            de += slope * here * (dw - o[3]) + slope_o * there * (dw - s[3])
            for c in range(3):
                forces[q, c] -= de * (positions[q, c] - points[j, c]) / r
        energies[q] = energy
    return energies, forces


def _near_points(points: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of each point: numbers (n_points, n_most), padded with −1, and how many (n_points,)."""
    lists = cKDTree(points).query_ball_point(points, cutoff, return_sorted=True)
    lists = [[j for j in row if j != i] for i, row in enumerate(lists)]
    padded = np.full((len(points), max(map(len, lists))), -1)
    for i, row in enumerate(lists):
        padded[i, : len(row)] = row
    return padded, np.array([len(row) for row in lists])


@numba.njit(cache=True)
def _tersoff_bonds(centre, others, n_others, p):  # type: ignore[no-untyped-def]
    """½ Σⱼ f_C (f_R + b f_A) of the bonds from a centre to others[:n_others], eV, all of them counting for b."""
    total = 0.0
    vectors, lengths, cut = np.zeros((n_others, 3)), np.zeros(n_others), np.zeros(n_others)
    for j in range(n_others):
        for c in range(3):
            vectors[j, c] = others[j, c] - centre[c]
        r = max(np.sqrt((vectors[j] ** 2).sum()), 0.1)
        lengths[j] = r
        if r <= p[8] - p[9]:
            cut[j] = 1.0
        elif r < p[8] + p[9]:
            cut[j] = 0.5 * (1.0 - np.sin(0.5 * np.pi * (r - p[8]) / p[9]))
    for j in range(n_others):
        if cut[j] == 0.0:
            continue
        zeta = 0.0
        for k in range(n_others):
            if k != j and cut[k] > 0.0:
                cosine = (vectors[j] * vectors[k]).sum() / (lengths[j] * lengths[k])
                g = 1.0 + (p[1] / p[2]) ** 2 - p[1] ** 2 / (p[2] ** 2 + (p[3] - cosine) ** 2)
                zeta += cut[k] * p[0] * g
        b = (1.0 + (p[5] * zeta) ** p[4]) ** (-0.5 / p[4])
        r = lengths[j]
        total += 0.5 * cut[j] * (p[11] * np.exp(-p[10] * r) - b * p[7] * np.exp(-p[6] * r))
    return total


@numba.njit(cache=True)
def _tersoff_energy(place, points, near, n_near, close, n_close, p):  # type: ignore[no-untyped-def]
    """Energy that an adatom at a place (3,) adds, eV; close[:n_close] are the points that may matter."""
    cutoff2 = (p[8] + p[9]) ** 2
    around, m, total = np.zeros((n_close, 3)), 0, 0.0
    for q in range(n_close):
        i = close[q]
        if ((points[i] - place) ** 2).sum() < cutoff2:
            around[m] = points[i]
            m += 1
            others = np.zeros((n_near[i] + 1, 3))
            for k in range(n_near[i]):
                others[k] = points[near[i, k]]
            others[n_near[i]] = place
            total += _tersoff_bonds(points[i], others, n_near[i] + 1, p)
            total -= _tersoff_bonds(points[i], others, n_near[i], p)
    return total + _tersoff_bonds(place, around, m, p)


@numba.njit(cache=True)
def _tersoff(positions, points, near, n_near, p):  # type: ignore[no-untyped-def]
    """Energies (n,) and forces (n, 3); forces by central differences of 1e-4 Å."""
    n, h = len(positions), 1e-4
    energies, forces = np.zeros(n), np.zeros((n, 3))
    close = np.zeros(len(points), dtype=np.int64)
    for q in range(n):
        m = 0
        for j in range(len(points)):
            if ((points[j] - positions[q]) ** 2).sum() < (p[8] + p[9] + 0.01) ** 2:
                close[m] = j
                m += 1
        energies[q] = _tersoff_energy(positions[q], points, near, n_near, close, m, p)
        for c in range(3):
            place = positions[q].copy()
            place[c] += h
            up = _tersoff_energy(place, points, near, n_near, close, m, p)
            place[c] -= 2.0 * h
            down = _tersoff_energy(place, points, near, n_near, close, m, p)
            forces[q, c] = (down - up) / (2.0 * h)
    return energies, forces
