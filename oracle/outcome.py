"""What comes of asking for a label: the structure with its label, or a failure as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from oracle.identity import uid

FailureReason = Literal["gate_before", "timeout", "not_converged", "crash", "gate_after"]


@dataclass(frozen=True)
class FailedLabel:
    """A structure that got no label, the kind of failure, and one line on it."""

    structure: Atoms
    reason: FailureReason
    detail: str


@dataclass(frozen=True)
class RawLabel:
    """What a calculator returned, before the gates.

    Attributes:
        energy: eV, σ→0.
        free_energy: eV, the one that forces belong to.
        forces: (n_atoms, 3), eV/Å, or None where the method has no forces.
        provenance: wall time, host and the like: all that may differ between two runs.
    """

    energy: float
    free_energy: float
    forces: np.ndarray | None
    provenance: dict[str, Any]


@dataclass(frozen=True)
class RawFailure:
    """Why a calculator returned nothing.

    `killed`: something outside ended its process (an operator, the kernel out of memory); it may go well next time.
    """

    reason: FailureReason
    detail: str
    killed: bool = False


def labelled(structure: Atoms, label: RawLabel, method_hash: str) -> Atoms:
    """Return a copy of the structure that carries its label.

    `info` gains REF_energy, REF_free_energy, uid, method_hash, converged and provenance (which a dataset stores apart);
    `arrays` gains REF_forces; the calculator holds energy, free_energy and forces. What the caller set in `info` stays.
    """
    copy = structure.copy()
    copy.info |= {
        "REF_energy": label.energy,
        "REF_free_energy": label.free_energy,
        "uid": uid(structure, method_hash),
        "method_hash": method_hash,
        "converged": True,
        "provenance": dict(label.provenance),
    }
    if label.forces is not None:
        copy.arrays["REF_forces"] = np.array(label.forces, dtype=float)
    attach_results(copy)
    return copy


def labels_of(structure: Atoms) -> RawLabel:
    """Return the label of a structure that `labelled` made."""
    return RawLabel(
        energy=structure.info["REF_energy"],
        free_energy=structure.info["REF_free_energy"],
        forces=structure.arrays.get("REF_forces"),
        provenance=structure.info.get("provenance") or {},
    )


def attach_results(structure: Atoms) -> None:
    """Give the structure a calculator that holds its REF_ values."""
    results: dict[str, Any] = {
        "energy": structure.info["REF_energy"],
        "free_energy": structure.info["REF_free_energy"],
    }
    if "REF_forces" in structure.arrays:
        results["forces"] = structure.arrays["REF_forces"].copy()
    structure.calc = SinglePointCalculator(structure, **results)
