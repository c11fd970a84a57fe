"""Rough substrates: deposited, stepped, kinked, pitted, amorphous; metals (EMT) and open structures (Tersoff)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc100, fcc111, surface
from ase.calculators.emt import EMT
from ase.optimize import FIRE
from scipy.spatial.distance import cdist

from growth.candidates import bond_radius
from scripts.site_search.reference import descend
from scripts.site_search.rigid import Rigid, RigidEMT, RigidTersoff, tersoff

A = {"Al": 3.994, "Cu": 3.601, "Si": 5.432, "C": 3.566}
"""Å, lattice constants of the potentials."""


@dataclass(frozen=True)
class Case:
    """A name, what makes the substrate, the adatom's species, bond lengths between the search's raw candidates."""

    name: str
    build: Callable[[], Atoms]
    species: str
    spacing: float = 0.2


def rigid(substrate: Atoms, species: str) -> Rigid:
    """The adatom's energy model: EMT for metals, Tersoff for carbon and silicon."""
    return RigidTersoff(substrate, species) if species in ("C", "Si") else RigidEMT(substrate, species)


def relaxed(structure: Atoms, steps: int) -> Atoms:
    """After some steps of FIRE: rough, but no atom on top of another."""
    symbol = structure.get_chemical_symbols()[0]
    structure.calc = tersoff(symbol) if symbol in ("C", "Si") else EMT()
    FIRE(structure, logfile=None).run(fmax=0.02, steps=steps)
    structure.calc = None
    return structure


def deposited(structure: Atoms, species: list[str], seed: int) -> Atoms:
    """Atoms come one by one from random directions, touch, and run downhill on the rigid rest."""
    rng = np.random.default_rng(seed)
    for symbol in species:
        start = None
        while start is None:
            start = _arrival(structure, 2.0 * bond_radius(symbol), rng)
        structure.extend(Atoms(symbol, descend(rigid(structure, symbol), start[None], fmax=0.05)[0]))
    return structure


def _arrival(structure: Atoms, reach: float, rng: np.random.Generator) -> np.ndarray | None:
    """Where an atom from a random direction, from above onto a slab, first touches (3,), Å; None where it misses."""
    if structure.pbc.any():
        low, top = structure.positions[:, 2].min(), structure.positions[:, 2].max()
        path = rng.random(2) @ structure.cell[:2] + np.linspace(top + 5.0, low, 400)[:, None] * [0, 0, 1]
        images, shift = structure.repeat((3, 3, 1)), structure.cell[0] + structure.cell[1]
    else:
        centre = structure.positions.mean(axis=0)
        direction, aside = rng.normal(size=(2, 3))
        size = np.linalg.norm(structure.positions - centre, axis=1).max() + 4.0
        aside *= 0.4 * size * rng.random() / np.linalg.norm(aside)
        path = centre + aside + np.linspace(size, -size, 400)[:, None] * direction / np.linalg.norm(direction)
        images, shift = structure, np.zeros(3)
    touching = np.flatnonzero(cdist(path + shift, images.positions).min(axis=1) < reach)
    return path[touching[0]] if len(touching) else None


def rough_cluster(symbols: list[str], seed: int, steps: int = 15) -> Atoms:
    """Deposited from one atom on."""
    return relaxed(deposited(Atoms(symbols[0], [[0.0, 0.0, 0.0]]), symbols[1:], seed), steps)


def vicinal(symbol: str, miller: tuple[int, int, int], layers: int, repeat: tuple[int, int, int]) -> Atoms:
    """A stepped or kinked slab, relaxed."""
    slab = surface(bulk(symbol, "fcc", a=A[symbol], cubic=True), miller, layers).repeat(repeat)
    return relaxed(_centred(slab), 15)


def pitted(slab: Atoms, n_vacancies: int, n_deposited: int, seed: int, steps: int = 15) -> Atoms:
    """Vacancies in the upper two layers, adatoms and islands on top."""
    rng = np.random.default_rng(seed)
    upper = np.argsort(-slab.positions[:, 2].round(3), kind="stable")[: 2 * int((slab.get_tags() == 1).sum())]
    del slab[rng.choice(upper, n_vacancies, replace=False).tolist()]
    symbol = slab.get_chemical_symbols()[0]
    return relaxed(deposited(_centred(slab), [symbol] * n_deposited, seed), steps)


def quenched(symbol: str, n_atoms: int, box: np.ndarray | float, seed: int, steps: int = 60) -> Atoms:
    """Random positions, quenched: in a sphere of a radius (Å), or in a box periodic along x and y."""
    rng = np.random.default_rng(seed)
    nearest = 2.0 * bond_radius(symbol)
    slab = isinstance(box, np.ndarray)
    cell = np.asarray(box) if slab else np.full(3, 2.0 * float(np.asarray(box)))
    found: list[np.ndarray] = []
    least, tries = 0.8 * nearest, 0
    while len(found) < n_atoms:
        x = rng.random(3) * cell
        tries += 1
        least = least if tries % 2000 else 0.97 * least
        if not slab and np.linalg.norm(x - 0.5 * cell) > 0.5 * cell[0]:
            continue
        apart = np.array(found).reshape(-1, 3) - x
        if slab:
            apart[:, :2] -= cell[:2] * np.round(apart[:, :2] / cell[:2])
        if not found or np.linalg.norm(apart, axis=1).min() > least:
            found.append(x)
    structure = Atoms(f"{symbol}{n_atoms}", np.array(found), cell=cell if slab else None, pbc=[slab, slab, False])
    return relaxed(_centred(structure) if slab else structure, steps)


def diamond100(symbol: str, layers: int, repeat: int) -> Atoms:
    """Bulk-terminated diamond (100), tags as ASE sets them: 1 on top."""
    slab = surface(bulk(symbol, "diamond", a=A[symbol], cubic=True), (1, 0, 0), layers).repeat((repeat, repeat, 1))
    heights = np.unique(slab.positions[:, 2].round(2))[::-1]
    slab.set_tags([1 + int(np.abs(heights - z).argmin()) for z in slab.positions[:, 2]])
    return _centred(slab)


def _centred(slab: Atoms) -> Atoms:
    slab.info, slab.pbc = {}, [True, True, False]
    slab.center(vacuum=10.0, axis=2)
    return slab


CASES = [
    Case("Al cluster, deposited, 60 atoms", lambda: rough_cluster(["Al"] * 60, 1), "Al"),
    Case("CuAl cluster, deposited, 120 atoms", lambda: rough_cluster(["Cu", "Al", "Cu"] * 40, 2), "Al"),
    Case("Al(211) steps", lambda: vicinal("Al", (2, 1, 1), 5, (2, 3, 1)), "Al"),
    Case("Cu(531) kinks", lambda: vicinal("Cu", (5, 3, 1), 12, (2, 3, 1)), "Cu"),
    Case(
        "Al(111), vacancies and islands",
        lambda: pitted(fcc111("Al", (5, 6, 4), a=A["Al"], orthogonal=True), 12, 12, 3),
        "Al",
    ),
    Case("Cu(100), vacancies and islands", lambda: pitted(fcc100("Cu", (6, 6, 4), a=A["Cu"]), 14, 14, 4), "Cu"),
    Case("Al cluster, amorphous, 150 atoms", lambda: quenched("Al", 150, 8.9, 5), "Al"),
    Case("Cu slab, amorphous, 220 atoms", lambda: quenched("Cu", 220, np.array([14.5, 14.5, 14.0]), 6), "Cu"),
    Case("Si(100), vacancies and adatoms, Tersoff", lambda: pitted(diamond100("Si", 2, 3), 8, 10, 7), "Si", 0.12),
    Case("diamond (100), vacancies and adatoms, Tersoff", lambda: pitted(diamond100("C", 2, 4), 10, 12, 8), "C", 0.12),
]
"""Ten substrates."""
