"""A trained network of the paper as an energy model: structures in, energies and forces out; files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from pydantic import ConfigDict, Field
from torch import Tensor

from learner.data import composition
from learner.layers import sum_by
from learner.model_files import ModelHeader, fill, read_model, write_model
from learner.prediction import Prediction

from .examples import Input, join_inputs, make_inputs
from .graph import Graph, sum_atoms
from .network import PaperNetwork
from .settings import PaperSettings

CHUNK = 2000  # atoms evaluated at once


class PaperHeader(ModelHeader):
    """What `model.json` says.

    Attributes:
        species: atomic numbers; offsets: a[Z] of each, eV; energy_scale: σ_E, eV.
        hard_types: the hard bond types that the network tells apart.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    architecture: Literal["paper"] = "paper"
    network: PaperSettings
    species: list[int]
    hard_types: list[str]
    offsets: list[float]
    energy_scale: float
    method_hash: str | None = None
    metrics: dict[str, Any] = Field(default_factory=dict)


def atom_energies_and_forces(
    network: Callable[[Graph, Tensor | None], Tensor], one: Input, create_graph: bool = False
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
    """R of every atom and −∂ΣR/∂x_v, both in units of σ_E: F_v = Σ_w ∂E/∂r_vw − Σ_w ∂E/∂r_wv."""
    vectors = one.graph.vectors.detach().requires_grad_(True)
    with torch.enable_grad():
        energies = network(dataclasses.replace(one.graph, vectors=vectors), one.types)
        (g,) = torch.autograd.grad(energies.sum(), vectors, create_graph=create_graph)
    return energies, _pushes(g, one.graph)


def _in_one_graph(
    network: PaperNetwork, graph: Graph, types: Tensor | None
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
    """As `atom_energies_and_forces`, in a form that a compiler takes whole, gradient and all."""

    def total(vectors: Tensor) -> tuple[Tensor, Tensor]:
        energies = network(dataclasses.replace(graph, vectors=vectors), types)
        return energies.sum(), energies

    g, energies = torch.func.grad(total, has_aux=True)(graph.vectors)
    return energies, _pushes(g, graph)


def _pushes(g: Float[Tensor, "n w 3"], graph: Graph) -> Float[Tensor, "n 3"]:
    """Forces from ∂E/∂r_vw."""
    return g.sum(1) - sum_by(g.reshape(-1, 3), graph.neighbours.reshape(-1), len(g))


class PaperModel:
    """A network with its a[Z] and σ_E.

    Args:
        network: trained.
        header: in agreement with the network.
    """

    def __init__(self, network: PaperNetwork, header: PaperHeader) -> None:
        self.network = network.requires_grad_(False)
        self.header = header
        self._energies: Callable[[Graph, Tensor | None], Tensor] = self.network
        self._forces: Callable[[Input], tuple[Tensor, Tensor]] = partial(atom_energies_and_forces, self.network)

    def compile(self) -> PaperModel:
        """Have the network compiled at its first use: half a minute then, and estimates two to three times as fast.

        Numbers are the same to rounding. A C++ compiler must be there; where none is, the first use says so.
        """
        self._energies = torch.compile(self.network, dynamic=True)
        whole = torch.compile(partial(_in_one_graph, self.network), dynamic=True)
        self._forces = torch.no_grad()(lambda one: whole(one.graph, one.types))
        return self

    @property
    def n_parameters(self) -> int:
        """Trainable numbers, readouts of auxiliaries included."""
        return sum(p.numel() for p in self.network.parameters())

    @property
    def reach(self) -> float:
        """Å, how far the removal of an atom can change another atom's force: 2 T cutoff."""
        return 2 * self.header.network.n_steps * self.header.network.cutoff

    def energies(self, structures: Sequence[Atoms]) -> Float[np.ndarray, " n"]:
        """Energies alone, eV: no gradient is taken.

        Raises:
            InputError: an element or bond type that the network does not know, or positions that are not finite.
        """
        parts = []
        with torch.no_grad():
            for chunk in _chunks(structures):
                one = join_inputs(make_inputs(self.network, chunk))
                parts.append(_sum(self._energies(one.graph, one.types), one.graph))
        learnt = np.concatenate(parts) if parts else np.zeros(0)
        return self._reference(structures) + self.header.energy_scale * learnt

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        """Energies, forces and the energy of each atom; the spread is zero, there is one member.

        Raises:
            InputError: as `energies`.
        """
        scale, offset = self.header.energy_scale, dict(zip(self.header.species, self.header.offsets, strict=True))
        forces: list[np.ndarray] = []
        atoms: list[np.ndarray] = []
        for chunk in _chunks(structures):
            one = join_inputs(make_inputs(self.network, chunk))
            energies, push = (t.detach().double().numpy() for t in self._forces(one))
            cuts = np.cumsum([len(a) for a in chunk])[:-1]
            forces += np.split(scale * push, cuts)
            atoms += np.split(scale * energies, cuts)
        atoms = [
            e + np.array([offset[int(z)] for z in structure.numbers])
            for e, structure in zip(atoms, structures, strict=True)
        ]
        total = np.array([e.sum() for e in atoms])
        return Prediction(total, forces, total[None], [np.zeros(len(a)) for a in structures], atoms)

    def _reference(self, structures: Sequence[Atoms]) -> Float[np.ndarray, " n"]:
        return composition(structures, self.header.species) @ np.array(self.header.offsets)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write `model.safetensors`, then `model.json`, each whole or not at all."""
        self.header = write_model(directory, self.header, self.network)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> PaperModel:
        """Read a model directory.

        Raises:
            InputError: a file is missing, torn, or not of this kind.
        """
        header, weights = read_model(directory, PaperHeader)
        network = PaperNetwork(header.network, header.species, header.hard_types)
        fill(network, weights, directory)
        return cls(network, header)


def _chunks(structures: Sequence[Atoms]) -> Iterator[Sequence[Atoms]]:
    first, n_atoms = 0, 0
    for number, structure in enumerate(structures):
        if number > first and n_atoms + len(structure) > CHUNK:
            yield structures[first:number]
            first, n_atoms = number, 0
        n_atoms += len(structure)
    if first < len(structures):
        yield structures[first:]


def _sum(per_atom: Tensor, graph: Graph) -> np.ndarray:
    return sum_atoms(per_atom[None].double(), graph)[0].numpy()
