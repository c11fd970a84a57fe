"""What a dataset stores of a labelled structure."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from oracle import gates
from oracle.errors import InputError
from oracle.outcome import attach_results

INFO_STRINGS = ("uid", "method_hash", "config_type", "parent_uid", "model_version", "reason")
"""Keys of `info` that are always strings, whatever a reader made of them."""


def entry_of(structure: Atoms) -> Atoms:
    """Return a bare copy with the REF_ keys in `info` and `arrays`, checked.

    Raises:
        InputError: no label, an energy that is not finite, or forces of a wrong shape.
    """
    entry = structure.copy()
    entry.set_constraint()
    check(entry)
    return entry


def restored(structure: Atoms) -> Atoms:
    """Return a structure that was read from a segment with its label in `calc` too (the structure itself, changed)."""
    check(structure)
    attach_results(structure)
    return structure


def check(entry: Atoms) -> None:
    """Check the label of a structure, and give the values in `info` their types: those of Python, not of numpy."""
    formula = entry.symbols
    for key in ("REF_energy", "REF_free_energy", "method_hash"):
        if key not in entry.info:
            raise InputError(f"structure {formula} has no {key!r}: label or import it first")
    entry.info |= {key: value.item() for key, value in entry.info.items() if isinstance(value, np.generic)}
    entry.info |= {key: str(entry.info[key]) for key in INFO_STRINGS if key in entry.info}
    try:
        entry.info |= {key: float(entry.info[key]) for key in ("REF_energy", "REF_free_energy")}
    except (TypeError, ValueError) as error:
        raise InputError(f"structure {formula}: its energy is not a number ({error})") from error
    reason = gates.geometry(entry)
    if reason is not None:
        raise InputError(f"structure {formula}: {reason}")
    if not np.isfinite([entry.info["REF_energy"], entry.info["REF_free_energy"]]).all():
        raise InputError(f"structure {formula}: its energy is not finite")
    forces = entry.arrays.get("REF_forces")
    if forces is not None and (
        forces.shape != (len(entry), 3) or forces.dtype.kind not in "fi" or not np.isfinite(forces).all()
    ):
        raise InputError(f"structure {formula}: REF_forces must be finite and (n_atoms, 3)")
