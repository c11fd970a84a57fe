"""The bond type of each pair: hard, as in the stable structure, or smooth in the distance.

Hard types of a molecule are RDKit's of the stable molecule (`info["bonds"]`, docs/architecture.md), `none` for a pair
without a bond; between metals every pair is `metallic`. They do not change while atoms move. Soft types are the
valence channels of `learner/valence.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Int
from torch import Tensor

from learner.errors import InputError
from learner.valence import metallic_fraction

from .graph import Graph

HARD = ("none", "single", "double", "triple", "aromatic", "metallic")
_ORDER = {"1": "single", "2": "double", "3": "triple", "a": "aromatic"}


def parse_bonds(text: str) -> list[tuple[int, int, str]]:
    """Atoms and type of each bond in `info["bonds"]`.

    Raises:
        InputError: the text is not of the form "0-1:1 0-2:a".

    >>> parse_bonds("0-1:1 1-2:a")
    [(0, 1, 'single'), (1, 2, 'aromatic')]
    """
    out = []
    for token in text.split():
        pair, _, order = token.partition(":")
        first, _, second = pair.partition("-")
        if not (first.isdigit() and second.isdigit() and order in _ORDER):
            raise InputError(f"bonds hold {token!r}, expected two atoms and an order like 0-1:1 (orders 1, 2, 3, a)")
        out.append((int(first), int(second), _ORDER[order]))
    return out


def hard_types(atoms: Atoms) -> tuple[str, ...]:
    """The hard bond types that occur in a structure (`none` wherever there are molecules)."""
    if _metallic(atoms):
        return ("metallic",)
    found = {name for _, _, name in parse_bonds(_bonds(atoms))} | {"none"}
    return tuple(name for name in HARD if name in found)


def all_hard_types(structures: Sequence[Atoms]) -> tuple[str, ...]:
    """The hard bond types that occur in any of the structures, in the order of `HARD`."""
    found = {name for atoms in structures for name in hard_types(atoms)}
    return tuple(name for name in HARD if name in found)


def edge_types(atoms: Atoms, graph: Graph, names: Sequence[str]) -> Int[Tensor, "n w"]:
    """Index in `names` of the hard bond type of every edge of one structure's graph.

    Args:
        atoms: metals, or with `info["bonds"]`.
        graph: of this structure alone.
        names: the bond types that the network tells apart.

    Raises:
        InputError: the bond types of the structure are not known, or not among the names.
    """
    known = hard_types(atoms)
    if missing := [name for name in known if name not in names]:
        raise InputError(f"{atoms.get_chemical_formula()} has {missing[0]} bonds, which the network was not made for")
    if _metallic(atoms):
        return torch.full(graph.neighbours.shape, names.index("metallic"))
    table = np.full((len(atoms), len(atoms)), names.index("none"))
    for first, second, name in parse_bonds(_bonds(atoms)):
        if max(first, second) >= len(atoms):
            raise InputError(f"bond {first}-{second} of {atoms.get_chemical_formula()}: only {len(atoms)} atoms")
        table[first, second] = table[second, first] = names.index(name)
    return torch.from_numpy(table[np.arange(len(atoms))[:, None], graph.neighbours.numpy()])


def _metallic(atoms: Atoms) -> bool:
    return all(metallic_fraction(int(z)) == 1.0 for z in np.unique(atoms.numbers))


def _bonds(atoms: Atoms) -> str:
    bonds = atoms.info.get("bonds")
    if bonds is None:
        formula = atoms.get_chemical_formula()
        raise InputError(f"{formula} has no info['bonds']: hard bond types need them; use bond_types: valence instead")
    return str(bonds)
