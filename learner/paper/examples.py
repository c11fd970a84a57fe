"""Labelled structures as graphs with bond types and targets, for the networks of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float, Int
from torch import Tensor

from learner.data import composition, read_labels

from .bond_types import edge_types
from .graph import Graph, build_graph, join_graphs
from .network import PaperNetwork


@dataclass(frozen=True)
class Input:
    """What a network reads: a graph and the hard bond type of each edge, None where types are soft."""

    graph: Graph
    types: Int[Tensor, "n w"] | None

    def to(self, device: torch.device) -> Input:
        """The same on another device."""
        return Input(self.graph.to(device), None if self.types is None else self.types.to(device))


@dataclass(frozen=True)
class Example:
    """One labelled structure, or a batch of them.

    Attributes:
        input: graph and bond types.
        energies: (n_structures,) eV, less Σ a[Z].
        forces: (n_atoms, 3) eV/Å; NaN where a label has none.
        scales: (n_structures,) NaN where not asked for.
    """

    input: Input
    energies: Float[Tensor, " s"]
    forces: Float[Tensor, "n 3"]
    scales: Float[Tensor, " s"]

    def to(self, device: torch.device) -> Example:
        """The same on another device."""
        return Example(self.input.to(device), *(t.to(device) for t in (self.energies, self.forces, self.scales)))


def make_inputs(network: PaperNetwork, structures: Sequence[Atoms]) -> list[Input]:
    """Graphs and bond types, one a structure.

    Raises:
        InputError: an element or a bond type that the network does not know, or positions that are not finite.
    """
    inputs = []
    for atoms in structures:
        graph = build_graph([atoms], network.species, network.settings.cutoff, network.dtype)
        hard = network.settings.bond_types == "hard"
        inputs.append(Input(graph, edge_types(atoms, graph, network.types) if hard else None))
    return inputs


def make_examples(
    network: PaperNetwork, structures: Sequence[Atoms], offsets: Float[np.ndarray, " z"]
) -> list[Example]:
    """Inputs and targets; `offsets` are a[Z], eV, in the order of the network's species.

    Raises:
        InputError: see `make_inputs`; no energy, or no scale where it is a target.
    """
    labels = read_labels(structures)
    energies = np.array([label.energy for label in labels]) - composition(structures, network.species) @ offsets
    scales = network.auxiliaries.scales(structures)
    out = []
    for atoms, one, label, energy, scale in zip(
        structures, make_inputs(network, structures), labels, energies, scales, strict=True
    ):
        forces = np.full((len(atoms), 3), np.nan) if label.forces is None else label.forces
        tensors = [torch.tensor(x, dtype=network.dtype) for x in ([energy], forces, [scale])]
        out.append(Example(one, *tensors))
    return out


def join_inputs(inputs: Sequence[Input]) -> Input:
    """Several inputs as one."""
    graph = join_graphs([i.graph for i in inputs])
    if inputs[0].types is None:
        return Input(graph, None)
    types = torch.zeros_like(graph.neighbours)
    first = 0
    for one in inputs:
        assert one.types is not None
        n, w = one.types.shape
        types[first : first + n, :w] = one.types
        first += n
    return Input(graph, types)


def join(examples: Sequence[Example]) -> Example:
    """Several examples as one batch."""
    return Example(
        join_inputs([e.input for e in examples]),
        torch.cat([e.energies for e in examples]),
        torch.cat([e.forces for e in examples]),
        torch.cat([e.scales for e in examples]),
    )
