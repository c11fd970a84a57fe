"""Every adatom minimum on a rigid substrate, the dear way: a dense grid of starts, all of them relaxed."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from scipy.spatial import cKDTree

from growth.candidates import bond_lengths, distances_by_species, with_images
from scripts.site_search.rigid import Rigid

SPACING = 0.5
"""Å between grid points."""
NEAREST, FURTHEST = 0.75, 1.3
"""Bond lengths from a grid point to the nearest atom."""
BOUND = -0.1
"""eV; a minimum above this is not bound."""
APART, APART_ENERGY = 0.1, 0.005
"""Å and eV: minima nearer than both are one."""
SURROUNDINGS = 2.4
"""Bond lengths: minima of one energy with the same distances (within `APART`) to the atoms in this range are copies."""
FLAT = 0.05
"""eV/Å²; below this curvature a place is part of a level stretch (an adatom on a single bond turns freely on a sphere):
level places of equal energy on the same atom are one minimum."""


@dataclass(frozen=True)
class Minima:
    """positions (n, 3), Å; energies (n,), eV; n_starts, n_calls: relaxations and force calls; n_unfinished of them."""

    positions: np.ndarray
    energies: np.ndarray
    n_starts: int
    n_calls: int
    n_unfinished: int


def grid_around(substrate: Atoms, species: str, spacing: float = SPACING) -> np.ndarray:
    """Grid points (n, 3), Å, whose nearest atom is `NEAREST` to `FURTHEST` bond lengths away, cavities included."""
    lengths = bond_lengths(substrate, species)
    margin = FURTHEST * float(lengths.max())
    points, owner = with_images(substrate, margin)
    cell = substrate.cell.complete()
    axes = []
    scaled = substrate.positions @ np.linalg.inv(cell[:]) if substrate.pbc.any() else substrate.positions
    for k in range(3):
        if substrate.pbc[k]:
            axes.append(np.arange(0.0, 1.0, 1.0 / np.ceil(np.linalg.norm(cell[k]) / spacing)) + scaled[:, k].min())
        else:
            unit = float(np.linalg.norm(cell[k])) if substrate.pbc.any() else 1.0
            low, high = scaled[:, k].min() - margin / unit, scaled[:, k].max() + margin / unit
            axes.append(np.arange(low, high, spacing / unit))
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid @ cell[:] if substrate.pbc.any() else grid
    distances, nearest = cKDTree(points).query(grid, k=min(16, len(points)))
    ratio = (distances / lengths[owner][nearest]).min(axis=1)
    return np.asarray(grid[(ratio >= NEAREST) & (ratio <= FURTHEST)])


def descend(
    model: Rigid, starts: np.ndarray, fmax: float = 1e-3, max_calls: int = 400, longest: float = 0.1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Relax adatoms (n, 3), Å, side by side by BFGS with steps of at most `longest` that never go uphill.

    Returns:
        Positions (n, 3), Å; energies (n,), eV; whether the force is below fmax, (n,).
    """
    x, inverse = starts.copy(), np.tile(np.eye(3) / 5.0, (len(starts), 1, 1))
    energies, forces = model.at(x)
    trust, live = np.full(len(x), longest), np.arange(len(x))
    for _ in range(max_calls):
        live = live[(np.linalg.norm(forces[live], axis=1) > fmax) & (trust[live] > 1e-5)]
        if len(live) == 0:
            break
        step = np.einsum("nij,nj->ni", inverse[live], forces[live])
        uphill = (step * forces[live]).sum(axis=1) <= 0.0
        inverse[live[uphill]] = np.eye(3) / 5.0
        step[uphill] = forces[live[uphill]] / 5.0
        step *= np.minimum(1.0, trust[live] / np.maximum(np.linalg.norm(step, axis=1), 1e-12))[:, None]
        e, f = model.at(x[live] + step)
        down = e <= energies[live] + 1e-10
        length = np.linalg.norm(step, axis=1)
        trust[live] = np.where(down, np.minimum(longest, np.maximum(1.5 * trust[live], length)), 0.4 * length)
        inverse[live] = _bfgs(inverse[live], step, forces[live] - f)
        moved = live[down]
        x[moved] += step[down]
        energies[moved], forces[moved] = e[down], f[down]
    return x, energies, np.linalg.norm(forces, axis=1) <= fmax


def _bfgs(inverse: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Inverse Hessians (n, 3, 3) after steps s and gradient changes y (Nocedal & Wright, 6.17)."""
    sy = (s * y).sum(axis=1)
    good = sy > 1e-10
    rho = 1.0 / np.where(good, sy, 1.0)
    left = np.eye(3) - rho[:, None, None] * s[:, :, None] * y[:, None, :]
    new = left @ inverse @ left.transpose(0, 2, 1) + rho[:, None, None] * s[:, :, None] * s[:, None, :]
    return np.where(good[:, None, None], new, inverse)


def dense_minima(model: Rigid, spacing: float = SPACING) -> Minima:
    """All bound minima that a grid of starts leads to; saddles on which symmetry holds an adatom are left downhill."""
    before = model.n_calls
    starts = grid_around(model.substrate, model.species, spacing)
    x, energies, finished = descend(model, starts)
    bound = energies < BOUND
    n_unfinished = int((bound & ~finished).sum())
    x, energies = distinct(x[bound & finished], energies[bound & finished], model.substrate)
    x, energies = settled(model, x, energies)
    return Minima(x, energies, len(starts), model.n_calls - before, n_unfinished)


def settled(model: Rigid, x: np.ndarray, energies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stationary points (n, 3) and energies with the saddles among them replaced by where they lead."""
    curvature, direction = softest(model, x)
    saddle = curvature < 1e-3
    both = np.concatenate([x[saddle] + 0.05 * direction[saddle], x[saddle] - 0.05 * direction[saddle]])
    x, energies, _ = descend(model, np.concatenate([x[~saddle], both]), fmax=1e-4)
    x, energies = distinct(x[energies < BOUND], energies[energies < BOUND], model.substrate)
    x, energies = steady(model, x, energies)
    alone = ~np.tril(level(model, x, energies, x, energies), -1).any(axis=1)
    return x[alone], energies[alone]


def steady(model: Rigid, x: np.ndarray, energies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points (n, 3) that a push of 0.05 Å along a soft direction does not send `APART_ENERGY` downhill.

    Soft is a curvature below `FLAT`: on a shoulder the force may be below any threshold without there being a minimum.
    """
    curvature, direction = softest(model, x)
    soft = np.flatnonzero(curvature < FLAT)
    ends = [descend(model, x[soft] + push * direction[soft], fmax=1e-4)[1] for push in (0.05, -0.05)]
    kept = np.ones(len(x), dtype=bool)
    kept[soft] = (np.array(ends) >= energies[soft] - APART_ENERGY).all(axis=0)
    return x[kept], energies[kept]


def level(
    model: Rigid, x: np.ndarray, energies: np.ndarray, others: np.ndarray, other_energies: np.ndarray
) -> np.ndarray:
    """Mask (n, n_others): both on level stretches, of the same energy, on the same atom."""
    flat = (softest(model, x)[0] < FLAT)[:, None] & (softest(model, others)[0] < FLAT)
    on, others_on = model.nearest_atom(x), model.nearest_atom(others)
    equal = np.abs(energies[:, None] - other_energies) <= APART_ENERGY
    return np.asarray(flat & equal & (on[:, None] == others_on))


def softest(model: Rigid, x: np.ndarray, h: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """Lowest eigenvalue (n,), eV/Å², of the adatom's Hessian and its direction (n, 3)."""
    columns = [(model.at(x - h * axis)[1] - model.at(x + h * axis)[1]) / (2.0 * h) for axis in np.eye(3)]
    hessian = np.stack(columns, axis=1).reshape(-1, 3, 3)
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.transpose(0, 2, 1)))
    return values[:, 0], vectors[:, :, 0]


def distinct(x: np.ndarray, energies: np.ndarray, substrate: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Lowest of each group of points within `APART` and `APART_ENERGY`, images included; by energy."""
    order = np.argsort(energies, kind="stable")
    x, energies = x[order], energies[order]
    left, kept = np.arange(len(x)), []
    while len(left):
        first = left[0]
        kept.append(first)
        apart = separation(x[first], x[left], substrate)
        left = left[(apart > APART) | (energies[left] - energies[first] > APART_ENERGY)]
    return x[kept], energies[kept]


def separation(place: np.ndarray, others: np.ndarray, substrate: Atoms) -> np.ndarray:
    """Distances (n,), Å, from a place (3,) to others (n, 3), to the nearest image."""
    if len(others) == 0 or not substrate.pbc.any():
        return np.asarray(np.linalg.norm(others - place, axis=1))
    return np.asarray(get_distances(place[None], others, cell=substrate.cell, pbc=substrate.pbc)[1][0])


def fingerprints(x: np.ndarray, model: Rigid) -> np.ndarray:
    """Sorted distances to the nearest atoms, cut at `SURROUNDINGS`, (n, n_values), Å: equal for symmetric copies."""
    found = distances_by_species(model.inside(x), model.points, model.substrate.numbers[model.owner])
    return np.minimum(found, SURROUNDINGS * bond_lengths(model.substrate, model.species).max())


def same(
    x: np.ndarray, energies: np.ndarray, others: np.ndarray, other_energies: np.ndarray, model: Rigid
) -> np.ndarray:
    """Mask (n, n_others): equal within `APART_ENERGY`, and in place or, for symmetric copies, in distances."""
    equal = np.abs(energies[:, None] - other_energies) <= APART_ENERGY
    marks, other_marks = fingerprints(x, model), fingerprints(others, model)
    copies = level(model, x, energies, others, other_energies)
    for i in range(len(x)):
        near = np.flatnonzero(equal[i])
        gap = np.abs(other_marks[near] - marks[i]).max(axis=1, initial=0.0)
        copies[i, near] |= (gap <= APART) | (separation(x[i], others[near], model.substrate) <= APART)
    return copies


def alike(minima: Minima, model: Rigid) -> np.ndarray:
    """Mask (n, n) of minima that are copies of one another."""
    return same(minima.positions, minima.energies, minima.positions, minima.energies, model)
