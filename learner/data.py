"""Targets: labelled structures in, graphs with energies and forces as tensors out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor

from .errors import InputError
from .graph import Graph, build_graph, join_graphs


@dataclass(frozen=True)
class Label:
    """What the oracle said of one structure.

    Attributes:
        energy: eV; the free energy where the label has one, else the energy.
        forces: (n_atoms, 3) eV/Å, or None where the label has none.
    """

    energy: float
    forces: Float[np.ndarray, "n 3"] | None


@dataclass(frozen=True)
class Example:
    """One labelled structure, ready for training.

    Attributes:
        graph: of this structure alone.
        energy: eV, less Σ E0.
        forces: (n_atoms, 3) eV/Å, zeros where there are none.
        has_forces: 1.0 or 0.0.
    """

    graph: Graph
    energy: float
    forces: Float[Tensor, "n 3"]
    has_forces: float

    def to(self, device: torch.device) -> Example:
        """The same example on a device."""
        return replace(self, graph=self.graph.to(device), forces=self.forces.to(device))


@dataclass(frozen=True)
class Batch:
    """Several examples as one: energies, n_atoms, has_forces (n_structures,), forces (n_atoms, 3)."""

    graph: Graph
    energies: Float[Tensor, " s"]
    forces: Float[Tensor, "n 3"]
    n_atoms: Float[Tensor, " s"]
    has_forces: Float[Tensor, " s"]


def read_label(atoms: Atoms, number: int) -> Label:
    """The label that a structure carries in its calculator's results (nothing is computed).

    Raises:
        InputError: it carries no energy, or something that is not finite.
    """
    results = {} if atoms.calc is None else atoms.calc.results
    energy = results.get("free_energy", results.get("energy"))
    if energy is None:
        raise InputError(f"structure {number} ({atoms.get_chemical_formula()}) carries no energy")
    forces = results.get("forces")
    if forces is not None:
        forces = np.asarray(forces, dtype=float)
        if forces.shape != (len(atoms), 3):
            raise InputError(f"structure {number} has forces of shape {forces.shape}, expected {(len(atoms), 3)}")
    if not np.isfinite(energy) or (forces is not None and not np.isfinite(forces).all()):
        raise InputError(f"structure {number} ({atoms.get_chemical_formula()}) has a label that is not finite")
    return Label(float(energy), forces)


def read_labels(structures: Sequence[Atoms]) -> list[Label]:
    """`read_label` of each structure."""
    return [read_label(atoms, number) for number, atoms in enumerate(structures)]


def composition(structures: Sequence[Atoms], species: Sequence[int]) -> Float[np.ndarray, "s k"]:
    """(n_structures, n_species) atoms of each species."""
    rows = [[np.count_nonzero(a.numbers == z) for z in species] for a in structures]
    return np.array(rows, dtype=float).reshape(len(structures), len(species))


def reference_energies(structures: Sequence[Atoms], species: Sequence[int]) -> tuple[dict[int, float], str]:
    """E0 of each species, eV, and where it comes from.

    From single-atom structures without boundary conditions where every species has one ("isolated_atom"), else the
    least squares of the energies by composition ("least_squares").

    Raises:
        InputError: a structure without energy.
    """
    labels = read_labels(structures)
    single = {
        int(a.numbers[0]): label.energy
        for a, label in zip(structures, labels, strict=True)
        if len(a) == 1 and not a.pbc.any()
    }
    if all(z in single for z in species):
        return {z: single[z] for z in species}, "isolated_atom"
    counts = composition(structures, species)
    solution = np.linalg.lstsq(counts, np.array([label.energy for label in labels]), rcond=None)[0]
    return {z: float(e) for z, e in zip(species, solution, strict=True)}, "least_squares"


def make_examples(
    structures: Sequence[Atoms], e0: dict[int, float], cutoff: float, dtype: torch.dtype
) -> list[Example]:
    """Graphs and targets of labelled structures, less Σ E0; species are the keys of e0, in order.

    Raises:
        InputError: an element without E0, or a structure without energy.
    """
    species = list(e0)
    out = []
    for number, atoms in enumerate(structures):
        label = read_label(atoms, number)
        graph = build_graph([atoms], species, cutoff, dtype)
        forces = np.zeros((len(atoms), 3)) if label.forces is None else label.forces
        energy = label.energy - sum(e0[int(z)] for z in atoms.numbers)
        out.append(Example(graph, energy, torch.tensor(forces, dtype=dtype), float(label.forces is not None)))
    return out


def join_examples(examples: Sequence[Example]) -> Batch:
    """Several examples as one batch."""
    like = examples[0].forces
    return Batch(
        graph=join_graphs([e.graph for e in examples]),
        energies=like.new_tensor([e.energy for e in examples]),
        forces=torch.cat([e.forces for e in examples]),
        n_atoms=like.new_tensor([float(len(e.forces)) for e in examples]),
        has_forces=like.new_tensor([e.has_forces for e in examples]),
    )


def dataset_hash(structures: Sequence[Atoms]) -> str:
    """16 hex digits of what was learnt from: the sorted uids, or the geometry where a structure has none."""
    names = sorted(str(a.info.get("uid") or _fingerprint(a)) for a in structures)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _fingerprint(atoms: Atoms) -> str:
    """A name for a structure that carries no uid."""
    symbols = " ".join(chemical_symbols[z] for z in atoms.numbers)
    rounded = np.round(np.vstack([atoms.positions, np.asarray(atoms.cell)]), 5) + 0.0
    return hashlib.sha256(symbols.encode() + rounded.tobytes() + atoms.pbc.tobytes()).hexdigest()[:32]
