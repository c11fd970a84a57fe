"""A committee: the network, its reference energies, and what is known of where it came from.

This is the border of the learner: ASE structures and numpy arrays outside, tensors inside.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from pydantic import ConfigDict, Field, model_validator

from .devices import choose_device
from .errors import InputError
from .frozen import FrozenNetwork, energies_and_forces
from .graph import Search, build_graph, species_index, sum_atoms
from .local import LocalEvaluator
from .model_files import ModelHeader, fill, read_model, write_model
from .prediction import Prediction
from .settings import DeviceName, NetworkSettings
from .valence import CHANNELS, ONE_CHANNEL
from .vimpnn import VIMPNN

CHUNK = 2048  # atoms × members evaluated at once: about what stays in a core's cache
GPU_CHUNK = 32 * CHUNK


class Header(ModelHeader):
    """What `model.json` says.

    Attributes:
        species: atomic numbers in the order of the network's tables; e0: eV of each, from `e0_source`.
        channels: the bond types that the network tells apart.
        method_hash: of the labels' method; dataset_hash: of the list of uids learnt from.
        weights_sha256: of the safetensors file.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    format: Literal[3] = 3
    architecture: Literal["VIMPNN"] = "VIMPNN"
    network: NetworkSettings
    species: list[int]
    channels: list[str]
    e0: list[float]
    e0_source: Literal["isolated_atom", "least_squares", "given"]
    method_hash: str | None = None
    dataset_hash: str | None = None
    n_labels: int = 0
    metrics: dict[str, Any] = Field(default_factory=dict)
    version: int | str = 0

    @model_validator(mode="after")
    def _agree(self) -> Header:
        if not self.species or len(set(self.species)) < len(self.species):
            raise ValueError(f"species are {self.species}, expected atomic numbers, each once")
        if not all(0 < z < len(chemical_symbols) for z in self.species):
            raise ValueError(f"species are {self.species}, expected atomic numbers")
        if len(self.e0) != len(self.species):
            raise ValueError(f"e0 has {len(self.e0)} energies for {len(self.species)} species")
        if tuple(self.channels) != ONE_CHANNEL and not set(self.channels) <= set(CHANNELS):
            raise ValueError(f"channels are {self.channels}, expected some of {CHANNELS}")
        return self


@dataclass(frozen=True)
class _Chunk:
    """Structures first..stop, without E0: (m, n), (m, n, 3), (m, s, 3, 3), (m, s)."""

    first: int
    stop: int
    atom_energies: np.ndarray
    forces: np.ndarray
    virials: np.ndarray
    energies: np.ndarray


class Committee:
    """Several networks that learnt the same labels, evaluated in one pass.

    Args:
        network: the stacked networks.
        header: species, E0 and provenance; `header.species` is in the network's order.
    """

    def __init__(self, network: VIMPNN, header: Header) -> None:
        if tuple(header.species) != network.species:
            raise InputError(f"the header's species {header.species} are not the network's {list(network.species)}")
        self.network = network.requires_grad_(False)
        self.header = header
        self._reference = np.zeros(120)
        self._reference[header.species] = header.e0
        self._frozen: FrozenNetwork | None = None
        self._local: LocalEvaluator | None = None

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols that the committee knows."""
        return tuple(chemical_symbols[z] for z in self.header.species)

    @property
    def e0(self) -> dict[int, float]:
        """E0, eV, by atomic number, in the network's order."""
        return dict(zip(self.header.species, self.header.e0, strict=True))

    @property
    def n_members(self) -> int:
        """Networks in the committee."""
        return self.network.settings.n_members

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self.network.embed.device

    def to(self, device: DeviceName) -> Committee:
        """Move it, in place; "auto" is a GPU where this process sees one.

        Raises:
            InputError: a GPU is asked for and there is none.
        """
        self.network.to(choose_device(device))
        self._frozen = self._local = None
        return self

    @property
    def reach(self) -> float:
        """Å, how far the removal of an atom can change another atom's force."""
        return self.network.reach

    @property
    def version(self) -> int | str:
        """Which model this is, as given at `save`."""
        return self.header.version

    @property
    def method_hash(self) -> str | None:
        """Hash of the method that made the labels."""
        return self.header.method_hash

    @property
    def metrics(self) -> dict[str, Any]:
        """How it did when it was trained."""
        return self.header.metrics

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        """Energies, forces and their spread over the members.

        Args:
            structures: any mix; an empty list gives empty results.

        Raises:
            InputError: an element that the committee was not trained on, or positions that are not finite.
        """
        return self.predict(structures)[0]

    def predict(self, structures: Sequence[Atoms], search: Search | None = None) -> tuple[Prediction, np.ndarray]:
        """As a call, and the mean virial Σ r ⊗ ∂E/∂r = ∂E/∂strain of each structure, (n_structures, 3, 3) eV.

        Args:
            structures: any mix.
            search: finds pairs within the cutoff, where something is known of them.
        """
        member_energies = np.zeros((self.n_members, len(structures)))
        virials = np.zeros((len(structures), 3, 3))
        forces: list[np.ndarray] = []
        spread: list[np.ndarray] = []
        atoms: list[np.ndarray] = []
        for chunk in self._chunks(structures, search):
            inside = slice(chunk.first, chunk.stop)
            member_energies[:, inside] = chunk.energies
            virials[inside] = chunk.virials.mean(0)
            cuts = np.cumsum([len(a) for a in structures[inside]])[:-1]
            forces += np.split(chunk.forces.mean(0), cuts)
            spread += np.split(np.sqrt(chunk.forces.var(0).mean(-1)), cuts)
            atoms += np.split(chunk.atom_energies.mean(0), cuts)
        reference = [self._reference[a.numbers] for a in structures]
        member_energies += np.array([r.sum() for r in reference])
        atoms = [a + r for a, r in zip(atoms, reference, strict=True)]
        return Prediction(member_energies.mean(0), forces, member_energies, spread, atoms), virials

    def features(self, structures: Sequence[Atoms]) -> list[np.ndarray]:
        """What each atom's surroundings look like to the networks: the last layer before the energy, of all members.

        The same for turned and mirrored structures, and in the order of the atoms. Alike surroundings have features
        near one another (Zaverkin et al., Mach. Learn.: Sci. Technol. 3, 025014 (2022) select labels by such).

        Args:
            structures: of known elements.

        Returns:
            (n_atoms, n_members × n_readout) for each structure.

        Raises:
            InputError: as a call.
        """
        on_cpu = self.device.type == "cpu"
        network = self._frozen_network() if on_cpu else FrozenNetwork(copy.deepcopy(self.network).cpu())
        found = []
        for structure in structures:
            graph = build_graph([structure], self.header.species, self.network.cutoff, self.network.dtype)
            found.append(network.features(graph).permute(1, 0, 2).reshape(len(structure), -1).double().numpy())
        return found

    def where_few_move(self, structures: Sequence[Atoms]) -> Prediction:
        """As a call, but atoms under `FixAtoms` get no force and no std: far cheaper where most atoms are held.

        What held atoms contribute is remembered from call to call (`local.py`); on a GPU all is computed.

        Raises:
            InputError: as a call.
        """
        if self.device.type != "cpu":
            return self(structures)
        if self._local is None:
            self._local = LocalEvaluator(self._frozen_network(), self.network.cutoff)
        found = self._local(structures, species_index(structures, self.header.species))
        atoms = [energies + self._reference[a.numbers] for a, (energies, _) in zip(structures, found, strict=True)]
        member_energies = np.array([energies.sum(1) for energies in atoms]).reshape(-1, self.n_members).T
        return Prediction(
            energies=member_energies.mean(0),
            forces=[forces.mean(0) for _, forces in found],
            member_energies=member_energies,
            forces_std=[np.sqrt(forces.var(0).mean(-1)) for _, forces in found],
            atom_energies=[energies.mean(0) for energies in atoms],
        )

    def _chunks(self, structures: Sequence[Atoms], search: Search | None) -> Iterator[_Chunk]:
        """Evaluate in pieces of bounded size, in order."""
        limit = max(1, (CHUNK if self.device.type == "cpu" else GPU_CHUNK) // self.n_members)
        first, n_atoms = 0, 0
        for number, structure in enumerate(structures):
            if number > first and n_atoms + len(structure) > limit:
                yield self._chunk(structures[first:number], first, search)
                first, n_atoms = number, 0
            n_atoms += len(structure)
        if first < len(structures):
            yield self._chunk(structures[first:], first, search)

    def _chunk(self, part: Sequence[Atoms], first: int, search: Search | None) -> _Chunk:
        graph = build_graph(part, self.header.species, self.network.cutoff, self.network.dtype, search).to(self.device)
        atom_energies, forces, virials = energies_and_forces(self._evaluator(), graph)
        atom_energies = atom_energies.double()
        energies = sum_atoms(atom_energies, graph.structure, graph.n_structures)
        arrays = [t.double().cpu().numpy() for t in (atom_energies, forces, virials, energies)]
        return _Chunk(first, first + len(part), *arrays)

    def _evaluator(self) -> VIMPNN | FrozenNetwork:
        """What computes."""
        return self._frozen_network() if self.device.type == "cpu" else self.network

    def _frozen_network(self) -> FrozenNetwork:
        """The network frozen, at the first call."""
        if self._frozen is None:
            self._frozen = FrozenNetwork(self.network)
        return self._frozen

    def member(self, index: int) -> Committee:
        """One member as a committee of one.

        Raises:
            InputError: there is no such member.
        """
        if not 0 <= index < self.n_members:
            raise InputError(f"member {index} of a committee of {self.n_members}")
        settings = self.network.settings.model_copy(update={"n_members": 1})
        network = VIMPNN(settings, self.network.species, self.network.basis.channels)
        shapes = {k: v.shape for k, v in network.state_dict().items()}
        state = {k: v if v.shape == shapes[k] else v[index : index + 1] for k, v in self.network.state_dict().items()}
        network.load_state_dict({k: v.clone() for k, v in state.items()})
        return Committee(network.to(self.device), self.header.model_copy(update={"network": settings}))

    def copy(self) -> Committee:
        """An independent committee with the same weights."""
        return Committee(copy.deepcopy(self.network), self.header.model_copy(deep=True))

    def save(
        self, directory: str | os.PathLike[str], version: int | str | None = None, metrics: dict[str, Any] | None = None
    ) -> None:
        """Write `model.safetensors`, then `model.json`, each whole or not at all.

        Args:
            directory: made if absent.
            version: recorded in the header and on this object, if given.
            metrics: likewise.
        """
        changes: dict[str, Any] = {}
        if version is not None:
            changes["version"] = version
        if metrics is not None:
            changes["metrics"] = metrics
        self.header = write_model(directory, self.header.model_copy(update=changes), self.network)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Committee:
        """Read a model directory.

        Raises:
            InputError: a file is missing, torn, or does not belong to the other.
        """
        header, weights = read_model(directory, Header)
        network = VIMPNN(header.network, header.species, tuple(header.channels))
        fill(network, weights, directory)
        return cls(network, header)
