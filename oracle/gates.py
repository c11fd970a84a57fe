"""Gates: pure functions that say why a structure cannot be labelled, or why a label is not to be believed.

Each returns a reason in words, or None.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from jaxtyping import Float

from oracle.settings import LabelSettings

Reason: TypeAlias = str | None
FARTHEST = 1e6
"""Å, of positions and cells: beyond, digits are lost and neighbour lists take all memory."""


def before(structure: Atoms, settings: LabelSettings) -> Reason:
    """Return why the structure cannot be labelled, or None."""
    return (
        geometry(structure)
        or few_atoms(structure, settings.max_atoms)
        or no_overlap(structure, settings.overlap_fraction)
    )


def geometry(structure: Atoms) -> Reason:
    """Return why nothing at all can be computed for the structure, or None."""
    if len(structure) == 0:
        return "no atoms"
    return finite_geometry(structure) or known_elements(structure) or spanned_cell(structure)


def after(
    structure: Atoms,
    energy: float,
    free_energy: float,
    forces: np.ndarray | None,
    settings: LabelSettings,
    window: tuple[float, float] | None,
) -> Reason:
    """Return why the label is not to be believed, or None.

    Args:
        structure: what was labelled.
        energy, free_energy: eV. forces: (n_atoms, 3), eV/Å, or None. window: allowed energies per atom, eV.
    """
    reason = finite_label(len(structure), energy, free_energy, forces)
    reason = reason or energy_window(len(structure), energy, window)
    if forces is None:
        return reason
    return (
        reason
        or force_cap(forces, settings.force_cap)
        or net_force(forces, periodic=bool(structure.pbc.any()), per_atom=settings.net_force_per_atom)
    )


def few_atoms(structure: Atoms, max_atoms: int) -> Reason:
    if len(structure) > max_atoms:
        return f"{len(structure)} atoms, more than max_atoms = {max_atoms}; carve it, or raise max_atoms"
    return None


def finite_geometry(structure: Atoms) -> Reason:
    bad = ~np.isfinite(structure.positions).all(axis=1)
    if bad.any():
        return f"position of atom {int(np.flatnonzero(bad)[0])} is not finite"
    if not np.isfinite(structure.cell.array).all():
        return "the cell is not finite"
    largest = max(np.abs(structure.positions).max(initial=0.0), np.abs(structure.cell.array).max())
    return None if largest <= FARTHEST else f"a length of {largest:.3g} Å, more than {FARTHEST:g}"


def known_elements(structure: Atoms) -> Reason:
    bad = (structure.numbers < 1) | (structure.numbers > 118)
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        return f"atom {i} has atomic number {structure.numbers[i]}, which is no element"
    return None


def spanned_cell(structure: Atoms) -> Reason:
    """Periodic directions need cell vectors that span them."""
    vectors = structure.cell.array[structure.pbc]
    if not len(vectors):
        return None
    lengths = np.linalg.norm(vectors, axis=1)
    if (lengths < 0.1).any():
        return "a periodic direction has no cell vector"
    if np.linalg.matrix_rank(vectors / lengths[:, None], tol=1e-3) < len(vectors):
        return "the cell vectors of the periodic directions span no volume"
    return None


def no_overlap(structure: Atoms, fraction: float) -> Reason:
    """Two atoms (or an atom and its image) must not be nearer than `fraction` of the sum of their covalent radii."""
    radii = covalent_radii[structure.numbers] * fraction
    i, j, d = neighbor_list("ijd", structure, list(radii))
    if not len(d):
        return None
    k = int(np.argmin(d / (radii[i] + radii[j])))
    a, b = structure.symbols[i[k]], structure.symbols[j[k]]
    least = radii[i[k]] + radii[j[k]]
    return f"atoms {i[k]} ({a}) and {j[k]} ({b}) overlap: {d[k]:.2f} Å apart, less than {least:.2f} Å"


def finite_label(n_atoms: int, energy: float, free_energy: float, forces: np.ndarray | None) -> Reason:
    if not (np.isfinite(energy) and np.isfinite(free_energy)):
        return "the energy is not finite"
    if forces is None:
        return None
    if forces.shape != (n_atoms, 3):
        return f"forces have shape {forces.shape}, expected ({n_atoms}, 3)"
    return None if np.isfinite(forces).all() else "a force is not finite"


def energy_window(n_atoms: int, energy: float, window: tuple[float, float] | None) -> Reason:
    per_atom = energy / n_atoms
    if window is None or window[0] <= per_atom <= window[1]:
        return None
    return f"energy of {per_atom:.2f} eV per atom lies outside of [{window[0]:g}, {window[1]:g}]"


def force_cap(forces: Float[np.ndarray, "n_atoms 3"], cap: float) -> Reason:
    largest = float(np.linalg.norm(forces, axis=1).max())
    return None if largest <= cap else f"largest force {largest:.1f} eV/Å exceeds force_cap = {cap:g}"


def net_force(forces: Float[np.ndarray, "n_atoms 3"], *, periodic: bool, per_atom: float) -> Reason:
    """Forces on an isolated cluster sum to zero, up to grid noise."""
    if periodic:
        return None
    net = float(np.linalg.norm(forces.sum(axis=0))) / len(forces)
    return None if net <= per_atom else f"net force of {net:.3f} eV/Å per atom exceeds {per_atom:g}"
