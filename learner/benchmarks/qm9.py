"""Augmented QM9: 10,000 molecules of H, C, N, O and F, each at 10 scales of its interatomic distances."""

from pathlib import Path

from ase import Atoms

from learner.benchmarks.bond_orders import bond_orders
from learner.benchmarks.qm9_files import read_molecules
from learner.benchmarks.qm9_indices import EXTRA_INDEX, molecule_indices
from learner.benchmarks.system import SCALES, System, spread
from learner.errors import InputError


def augmented_qm9(source: Path | None = None, limit: int | None = None) -> list[System]:
    """The systems by QM9 index and scale: 100,000, and after them 10 of C5H7N3O, which is outside of the set (`extra`).

    Scale 1 is QM9's geometry (B3LYP/6-31G(2df,p)). Bond types are those of that geometry; scaling keeps them.

    Args:
        source: QM9, see `read_molecules`; by default the package qm9pack.
        limit: so many of the 10,000 molecules, evenly spread, each at all scales, and the extra one.

    Raises:
        InputError: QM9 cannot be read, RDKit is missing, or no positive limit.
    """
    indices = molecule_indices()
    if limit is not None:
        if limit < 1:
            raise InputError(f"limit is {limit}, expected at least 1 molecule")
        indices = [indices[i] for i in spread(len(indices), limit)]
    molecules = read_molecules([*indices, EXTRA_INDEX], source)
    return [system for index, molecule in molecules.items() for system in _series(index, molecule)]


def _series(index: int, molecule: Atoms) -> list[System]:
    name = f"qm9-{index:06d}"
    bonds = bond_orders(molecule, name)
    extra = index == EXTRA_INDEX
    return [System(molecule, "augmented-qm9", name, scale, name, bonds, extra) for scale in SCALES]
