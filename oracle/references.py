"""Reference energies: isolated atoms, from which a surrogate measures binding."""

from __future__ import annotations

from collections.abc import Iterable

from ase import Atoms
from ase.data import atomic_numbers

from oracle.errors import InputError, nearest


def isolated_atoms(species: Iterable[str]) -> list[Atoms]:
    """Return one single-atom structure a species, in order of atomic number, each once.

    They are spin-unpolarised under the default method and have no cell: the method puts its vacuum on all sides.

    Raises:
        InputError: an unknown species.

    >>> [str(atom.symbols) for atom in isolated_atoms(["Cu", "Al", "Cu"])]
    ['Al', 'Cu']
    """
    symbols = set(species)
    for symbol in symbols:
        if atomic_numbers.get(symbol, 0) < 1:
            raise InputError(f"{symbol!r} is not an element; {nearest(symbol, list(atomic_numbers)[1:])}")
    ordered = sorted(symbols, key=atomic_numbers.__getitem__)
    return [Atoms(symbol, info={"config_type": "isolated_atom"}) for symbol in ordered]
