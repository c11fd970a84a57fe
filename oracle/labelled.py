"""Labelled structures from anybody's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from oracle import gates
from oracle.dataset import Dataset
from oracle.errors import InputError
from oracle.extxyz import read_structures
from oracle.outcome import attach_results

_Lookup = Callable[[str], Any]


def read_labelled(path: str | Path, energy_key: str | None = None, forces_key: str | None = None) -> list[Atoms]:
    """Read labelled structures from a file that ASE reads, or from a dataset directory.

    A key that the caller names is taken where a structure has it. Else REF_energy, REF_free_energy and REF_forces are
    taken, else ASE's calculator results. Without a free energy of its own the energy counts as both. A file without
    any forces is fine; forces on some structures only are not.

    Returns:
        Structures with REF_energy and REF_free_energy (eV) in `info`, REF_forces ((n_atoms, 3), eV/Å) in `arrays`, and
        the same results in `calc`.

    Raises:
        InputError: a structure without an energy, with numbers that are not finite, forces only on some structures,
            labels of different methods in one file, or a file that cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return Dataset.read(path).structures()
    structures = read_structures(path)
    for index, structure in enumerate(structures):
        _collect(structure, f"{path}, structure {index}", energy_key, forces_key)
    _check_alike(structures, path)
    return structures


def _collect(structure: Atoms, where: str, energy_key: str | None, forces_key: str | None) -> None:
    """Gather energy and forces from wherever they are into the REF_ keys."""
    reason = gates.geometry(structure)
    if reason is not None:
        raise InputError(f"{where}: {reason}")
    results = dict(structure.calc.results) if structure.calc is not None else {}
    info, arrays = structure.info, structure.arrays

    def named(key: str | None, store: dict[str, Any]) -> Any:
        return None if key is None else store.get(key, results.get(key))

    energy = _first(named(energy_key, info), info.get("REF_energy"), results.get("energy"), results.get("free_energy"))
    if energy is None:
        tried = ", ".join(filter(None, (energy_key, "REF_energy", "energy")))
        raise InputError(f"{where}: no energy (looked for {tried}); name its key, or label the structure")
    own = energy_key is not None and named(energy_key, info) is not None
    free = None if own else info.get("REF_free_energy")
    if free is None and not own and "REF_energy" not in info:
        free = results.get("free_energy")
    forces = _first(named(forces_key, arrays), arrays.get("REF_forces"), results.get("forces"))
    info["REF_energy"] = _number(energy, f"{where}: energy")
    info["REF_free_energy"] = info["REF_energy"] if free is None else _number(free, f"{where}: free energy")
    if forces is not None:
        arrays["REF_forces"] = _vectors(forces, len(structure), f"{where}: forces")
    info.update({key: str(info[key]) for key in ("uid", "method_hash", "config_type") if key in info})
    structure.set_constraint()
    attach_results(structure)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _number(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is {value!r}, expected a number in eV") from error
    if not np.isfinite(number):
        raise InputError(f"{what} is {number}, expected a finite number in eV")
    return number


def _vectors(value: Any, n_atoms: int, what: str) -> np.ndarray:
    vectors = np.asarray(value)
    if vectors.shape != (n_atoms, 3) or vectors.dtype.kind not in "fi":
        raise InputError(f"{what} have shape {vectors.shape}, expected ({n_atoms}, 3) numbers in eV/Å")
    if not np.isfinite(vectors).all():
        raise InputError(f"{what} are not finite")
    return vectors.astype(float)


def _check_alike(structures: list[Atoms], path: Path) -> None:
    """One method, and forces on all or on none."""
    hashes = sorted({structure.info.get("method_hash", "none") for structure in structures})
    if len(hashes) > 1:
        raise InputError(f"{path}: labels of different methods do not mix (method hashes {', '.join(hashes)})")
    with_forces = [i for i, structure in enumerate(structures) if "REF_forces" in structure.arrays]
    if with_forces and len(with_forces) < len(structures):
        missing = next(i for i in range(len(structures)) if i not in set(with_forces))
        raise InputError(f"{path}, structure {missing}: no forces, though others have them; complete or remove it")
