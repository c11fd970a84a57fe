"""SchNet, PaiNN (schnetpack) and MACE (mace-torch) under the protocol of `protocol.py`; in the peers' environment.

    python peers.py train schnet --data DIR --cpu-seconds 300 --seed 0 --out DIR
    python peers.py time schnet --model DIR --n-atoms 75 --element Cu

Networks as published, of the size that their papers use on small data; energies less a constant for each element, in
units of the root mean square force. All share the training: AdamW, warm-up and cosine decay over the budget, running
mean of the weights. Rate, batch and weights of the loss (in these units) are ours, near those that each package shows.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # e3nn 0.4.4 loads its tables so

import numpy as np
import torch
import torch.utils.data.dataloader
from ase import Atoms
from vesin import NeighborList

sys.path.insert(0, str(Path(__file__).resolve().parent))

from protocol import Budget, batches, command_line, labels

CUTOFF = 5.0
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Peer:
    """How a peer is built and trained.

    Attributes:
        build: from atomic numbers and neighbours of an atom on average to a module that takes a `Batch`.
        rate: peak learning rate; batch: structures; energy_weight: of the squared error per atom², forces have 1.
    """

    build: Callable[[list[int], float], torch.nn.Module]
    rate: float
    batch: int
    energy_weight: float
    weight_decay: float = 0.01


class Schnetpack(torch.nn.Module):
    """A representation of schnetpack with its own readout."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.utils.data.dataloader.T_co = typing.TypeVar("T_co", covariant=True)  # schnetpack 2.1.1 imports it
        import schnetpack as spk
        from schnetpack import representation

        network = {"schnet": representation.SchNet, "painn": representation.PaiNN}[kind]
        self.representation = network(
            n_atom_basis=64,
            n_interactions=3,
            radial_basis=spk.nn.GaussianRBF(n_rbf=20, cutoff=CUTOFF),
            cutoff_fn=spk.nn.CosineCutoff(CUTOFF),
        )
        self.readout = spk.atomistic.Atomwise(n_in=64, output_key="energy")

    def forward(self, batch: Batch) -> torch.Tensor:
        """Energies of structures."""
        inputs = {
            "_atomic_numbers": batch["numbers"],
            "_Rij": batch["vectors"],
            "_idx_i": batch["i"],
            "_idx_j": batch["j"],
            "_idx_m": batch["structure"],
        }
        return self.readout(self.representation(inputs))["energy"]


class Mace(torch.nn.Module):
    """mace-torch's network, 64x0e, max_ell 2, correlation 3."""

    def __init__(self, species: list[int], n_neighbours: float) -> None:
        super().__init__()
        from e3nn import o3
        from mace import modules

        self.register_buffer("index", torch.tensor([species.index(z) if z in species else 0 for z in range(120)]))
        self.n_species = len(species)
        self.network = modules.ScaleShiftMACE(
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
            r_max=CUTOFF,
            num_bessel=8,
            num_polynomial_cutoff=5,
            max_ell=2,
            interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
            interaction_cls_first=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
            num_interactions=2,
            num_elements=len(species),
            hidden_irreps=o3.Irreps("64x0e"),
            MLP_irreps=o3.Irreps("16x0e"),
            gate=torch.nn.functional.silu,
            atomic_energies=np.zeros(len(species)),
            avg_num_neighbors=n_neighbours,
            atomic_numbers=species,
            correlation=3,
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        """Energies of structures; the positions are those that make the vectors what they are."""
        n_structures = int(batch["structure"][-1]) + 1
        data = {
            "positions": torch.zeros(len(batch["numbers"]), 3, dtype=batch["vectors"].dtype),
            "shifts": batch["vectors"],
            "unit_shifts": torch.zeros_like(batch["vectors"]),
            "cell": torch.zeros(3 * n_structures, 3),
            "edge_index": torch.stack([batch["i"], batch["j"]]),
            "node_attrs": torch.nn.functional.one_hot(self.index[batch["numbers"]], self.n_species).to(
                batch["vectors"].dtype
            ),
            "batch": batch["structure"],
            "ptr": torch.searchsorted(batch["structure"], torch.arange(n_structures + 1)),
            "head": torch.zeros(n_structures, dtype=torch.int64),
        }
        return self.network(data, training=self.training, compute_force=False)["interaction_energy"]


PEERS = {
    "schnet": Peer(lambda species, n: Schnetpack("schnet"), rate=1e-3, batch=10, energy_weight=40.0),
    "painn": Peer(lambda species, n: Schnetpack("painn"), rate=2e-3, batch=10, energy_weight=40.0),
    "mace": Peer(Mace, rate=1e-2, batch=4, energy_weight=10.0, weight_decay=5e-7),
}


def edges(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """i, j and vectors of every edge."""
    box = np.asarray(atoms.cell.complete()) if atoms.pbc.any() else np.zeros((3, 3))
    periodic: Any = atoms.pbc.tolist() if atoms.pbc.any() else False
    search = NeighborList(cutoff=CUTOFF, full_list=True, sorted=True)
    i, j, vectors = search.compute(atoms.positions, box, periodic, "ijD")
    return i.astype(np.int64), j.astype(np.int64), vectors.astype(np.float32)


def join(structures: Sequence[Atoms], found: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Batch:
    """One batch of structures and their edges."""
    sizes = np.array([len(a) for a in structures])
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return {
        "numbers": torch.from_numpy(np.concatenate([a.numbers for a in structures])),
        "structure": torch.from_numpy(np.repeat(np.arange(len(structures)), sizes)),
        "i": torch.from_numpy(np.concatenate([e[0] + o for e, o in zip(found, first, strict=True)])),
        "j": torch.from_numpy(np.concatenate([e[1] + o for e, o in zip(found, first, strict=True)])),
        "vectors": torch.from_numpy(np.concatenate([e[2] for e in found])),
    }


def energies_and_forces(module: torch.nn.Module, batch: Batch, training: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """In units of the scale: energies (n_structures,) and forces (n_atoms, 3)."""
    vectors = batch["vectors"].requires_grad_(True)
    energies = module({**batch, "vectors": vectors})
    (g,) = torch.autograd.grad(energies.sum(), vectors, create_graph=training)
    forces = torch.zeros(len(batch["numbers"]), 3, dtype=g.dtype)
    return energies, forces.index_add(0, batch["i"], g).index_add(0, batch["j"], -g)


class PeerPotential:
    """A trained peer: `module` and the constants that energies are made of."""

    def __init__(self, module: torch.nn.Module, constants: dict[int, float], scale: float) -> None:
        self.module, self.constants, self.scale = module.eval(), constants, scale
        self.n_parameters = sum(p.numel() for p in module.parameters())

    def __call__(self, structures: Sequence[Atoms]) -> tuple[np.ndarray, list[np.ndarray]]:
        batch = join(structures, [edges(a) for a in structures])
        energies, forces = energies_and_forces(self.module, batch, training=False)
        offset = np.array([sum(self.constants[int(z)] for z in a.numbers) for a in structures])
        cuts = np.cumsum([len(a) for a in structures])[:-1]
        return offset + self.scale * energies.detach().double().numpy(), np.split(
            self.scale * forces.detach().double().numpy(), cuts
        )


def train(
    name: str, structures: Sequence[Atoms], cpu_seconds: float, seed: int, out: Path
) -> tuple[PeerPotential, dict[str, Any]]:
    """Train a peer and store it; imports and neighbour lists do not count in its budget of CPU time."""
    peer = PEERS[name]
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    energies, forces = labels(structures)
    species = sorted({int(z) for a in structures for z in a.numbers})
    counts = np.array([[np.count_nonzero(a.numbers == z) for z in species] for a in structures], dtype=float)
    constants = np.linalg.lstsq(counts, energies, rcond=None)[0]
    scale = float(np.sqrt(np.mean(np.concatenate(forces) ** 2)))
    targets = torch.tensor((energies - counts @ constants) / scale, dtype=torch.float32)
    pushes = [torch.tensor(f / scale, dtype=torch.float32) for f in forces]
    found = [edges(a) for a in structures]
    n_neighbours = sum(len(e[0]) for e in found) / counts.sum()
    module = peer.build(species, n_neighbours).train()
    mean = copy.deepcopy(module)
    optimiser = torch.optim.AdamW(module.parameters(), lr=peer.rate, weight_decay=peer.weight_decay)
    seen = steps = 0
    budget = Budget(cpu_seconds)
    for chosen in batches(len(structures), peer.batch, rng):
        progress = budget.progress
        if progress >= 1:
            break
        rise = min(1.0, progress / 0.03 + 1e-3)
        for group in optimiser.param_groups:
            group["lr"] = peer.rate * rise * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * progress)))
        batch = join([structures[k] for k in chosen], [found[k] for k in chosen])
        predicted, pushed = energies_and_forces(module, batch, training=True)
        n_atoms = torch.tensor([float(len(structures[k])) for k in chosen])
        loss = peer.energy_weight * (((predicted - targets[chosen]) / n_atoms) ** 2).mean()
        loss = loss + ((pushed - torch.cat([pushes[k] for k in chosen])) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 10.0)
        optimiser.step()
        steps += 1
        seen += len(chosen)
        decay = min(0.99, steps / (steps + 10))
        with torch.no_grad():
            for kept, new in zip(mean.parameters(), module.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
    potential = PeerPotential(mean, dict(zip(species, constants.tolist(), strict=True)), scale)
    store(potential, n_neighbours, out)
    return potential, {"steps": steps, "structures_per_second": seen / cpu_seconds}


def store(potential: PeerPotential, n_neighbours: float, out: Path) -> None:
    """Write weights and what it takes to build the network again."""
    torch.save(potential.module.state_dict(), out / "weights.pt")
    facts = {"constants": potential.constants, "scale": potential.scale, "n_neighbours": n_neighbours}
    (out / "peer.json").write_text(json.dumps(facts, indent=1) + "\n")


def load(name: str, directory: Path) -> PeerPotential:
    """A stored peer."""
    facts = json.loads((directory / "peer.json").read_text())
    constants = {int(z): e for z, e in facts["constants"].items()}
    module = PEERS[name].build(sorted(constants), facts["n_neighbours"])
    module.load_state_dict(torch.load(directory / "weights.pt", weights_only=True))
    return PeerPotential(module, constants, facts["scale"])


if __name__ == "__main__":
    command_line(__doc__, list(PEERS), train, load)
