"""Training of the paper's networks: mean squared error of the energy, auxiliaries, and forces if asked for.

    L = ⟨((E − Ê)/σ_E)²⟩ + α Σ_aux ⟨(y − ŷ)²⟩ + w_F ⟨|F − F̂|²⟩/(3 σ_F²)

σ_E and σ_F are the stds of the training targets after the composition Σ a[Z] is removed. The budget is CPU time of one
core, so that networks of different cost are compared at equal cost whatever else the machine does, or a number of
steps, which the same seed repeats to the bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from learner.data import composition, read_labels
from learner.errors import InputError
from learner.fit import Sampler
from learner.metrics import Numbers
from learner.training import common_method

from .bond_types import all_hard_types
from .examples import Example, join, make_examples
from .graph import join_graphs, sum_atoms
from .model import PaperHeader, PaperModel, atom_energies_and_forces
from .network import PaperNetwork
from .settings import PaperSettings, PaperTrainSettings

Progress = Callable[[Numbers], None]


@dataclass(frozen=True)
class PaperResult:
    """A trained network and its learning curve: step, cpu_minutes, loss, validation errors at each look."""

    model: PaperModel
    history: list[Numbers]


def train_paper(
    structures: Sequence[Atoms],
    validation: Sequence[Atoms],
    network: PaperSettings = PaperSettings(),
    settings: PaperTrainSettings = PaperTrainSettings(),
    seed: int = 0,
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    progress: Progress | None = None,
) -> PaperResult:
    """Train one network of the paper from scratch.

    Args:
        structures: labelled; with `info["bonds"]` where hard bond types of molecules are wanted.
        validation: labelled, may be empty; only looked at.
        network: which network.
        settings: budget and rates.
        seed: of weights and data order.
        device: where to train; auto: on the GPU where there is one. The model that is returned is on the CPU.
        progress: called at each look at the validation set.

    Raises:
        InputError: nothing to learn from, a structure without what the network needs, mixed methods.
    """
    if not structures:
        raise InputError("nothing to learn from: no labelled structure")
    if settings.force_weight > 0 and any(label.forces is None for label in read_labels(structures)):
        raise InputError("force_weight is above 0 and some structures have no forces")
    method_hash = common_method([*structures, *validation], None)
    net = _fresh(network, structures, seed)
    offsets, scale = _standards(structures, net.species)
    examples = make_examples(net, structures, offsets)
    net.auxiliaries.standardise(join_graphs([e.input.graph for e in examples]))
    header = PaperHeader(
        network=network,
        species=list(net.species),
        hard_types=list(net.types) if network.bond_types == "hard" else [],
        offsets=offsets.tolist(),
        energy_scale=scale,
        method_hash=method_hash,
    )
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    fit = _Fit(net.to("cuda" if on_gpu else "cpu"), examples, scale, settings, seed)
    checked = make_examples(net, validation, offsets)
    history: list[Numbers] = []
    for look in range(1, settings.n_looks + 1):
        while fit.share < look / settings.n_looks:
            fit.step()
        history.append(fit.look(checked))
        if progress is not None:
            progress(history[-1])
    return PaperResult(PaperModel(fit.mean_network.cpu(), header.model_copy(update={"metrics": history[-1]})), history)


class _Fit:
    """Adam with warm-up and cosine decay over the budget, and a running mean of the weights."""

    def __init__(
        self, net: PaperNetwork, examples: list[Example], scale: float, settings: PaperTrainSettings, seed: int
    ) -> None:
        self.net, self.examples, self.scale, self.settings = net, examples, scale, settings
        self.optimiser = torch.optim.AdamW(net.parameters(), lr=settings.learning_rate, weight_decay=1e-4, fused=True)
        self.averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
        sizes = [[len(e.forces) for e in examples]]
        self.sampler = Sampler(sizes, [1.0], settings.batch_atoms, np.random.default_rng([seed, 1]))
        self.force_scale = _force_scale(examples)
        self.n_steps, self.cpu_seconds, self.loss = 0, 0.0, math.nan

    @property
    def share(self) -> float:
        """How much of the budget is spent."""
        if self.settings.cpu_minutes is not None:
            return self.cpu_seconds / (60 * self.settings.cpu_minutes)
        return self.n_steps / self.settings.steps

    @property
    def mean_network(self) -> PaperNetwork:
        """The network with the running mean of the weights."""
        network = self.averaged.module
        assert isinstance(network, PaperNetwork)
        return network

    def step(self) -> None:
        """One batch."""
        start = time.process_time()
        batch = join([self.examples[k] for k in self.sampler.draw()]).to(self.net.device)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * self._rate()
        self.optimiser.zero_grad()
        loss = self._loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.clip)
        self.optimiser.step()
        self.averaged.update_parameters(self.net)
        self.n_steps += 1
        self.loss = float(loss.detach())
        self.cpu_seconds += time.process_time() - start

    def _rate(self) -> float:
        share, s = min(self.share, 1.0), self.settings
        if share < s.warm_up:
            return (share + 1e-3) / (s.warm_up + 1e-3)
        turn = (share - s.warm_up) / (1 - s.warm_up)
        return s.final_rate + (1 - s.final_rate) * 0.5 * (1 + math.cos(math.pi * turn))

    def _loss(self, batch: Example) -> Float[Tensor, ""]:
        graph, s = batch.input.graph, self.settings
        forces: Tensor | None = None
        if s.force_weight > 0:
            atoms, forces = atom_energies_and_forces(self.net, batch.input, create_graph=True)
            states = self.net.states(graph, batch.input.types) if self.net.settings.auxiliaries else None
        else:
            states = self.net.states(graph, batch.input.types)
            atoms = self.net.readout(states).squeeze(1)
        energies = sum_atoms(atoms[None], graph)[0]
        loss = torch.nn.functional.mse_loss(energies, batch.energies / self.scale)
        if forces is not None:
            wanted = batch.forces / self.force_scale
            loss = loss + s.force_weight * torch.nn.functional.mse_loss(
                forces * (self.scale / self.force_scale), wanted
            )
        if states is not None and self.net.settings.auxiliaries:
            loss = loss + s.alpha * sum(self.net.auxiliaries.losses(states, graph, batch.scales).values())
        return loss

    def look(self, checked: list[Example]) -> Numbers:
        """Where training stands, and the errors of the running mean on the validation set."""
        entry: Numbers = {"step": self.n_steps, "cpu_minutes": self.cpu_seconds / 60, "loss": self.loss}
        if checked:
            errors = self.scale * energy_errors(self.mean_network, checked, self.scale)
            n_atoms = np.array([len(e.forces) for e in checked])
            entry["validation_energy_mae_ev"] = float(np.abs(errors).mean())
            entry["validation_energy_mae_mev_per_atom"] = float(1e3 * np.abs(errors / n_atoms).mean())
        return entry


@torch.no_grad()
def energy_errors(net: PaperNetwork, examples: Sequence[Example], scale: float) -> Float[np.ndarray, " n"]:
    """Ê − E of each example in units of σ_E."""
    out, pieces, n_atoms = [], [], 0
    for number, example in enumerate(examples):
        pieces.append(example)
        n_atoms += len(example.forces)
        if n_atoms > 2000 or number == len(examples) - 1:
            batch = join(pieces).to(net.device)
            energies = sum_atoms(net(batch.input.graph, batch.input.types)[None], batch.input.graph)[0]
            out.append((energies - batch.energies / scale).double().cpu().numpy())
            pieces, n_atoms = [], 0
    return np.concatenate(out)


def _fresh(settings: PaperSettings, structures: Sequence[Atoms], seed: int) -> PaperNetwork:
    """A network with initial weights drawn under a seed; torch's global generator is left as it was."""
    species = sorted({int(z) for a in structures for z in a.numbers})
    hard = all_hard_types(structures) if settings.bond_types == "hard" else ()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PaperNetwork(settings, species, hard)


def _standards(structures: Sequence[Atoms], species: Sequence[int]) -> tuple[np.ndarray, float]:
    """a[Z] by least squares of the energies, and σ_E, the root mean square of what is left."""
    energies = np.array([label.energy for label in read_labels(structures)])
    counts = composition(structures, species)
    offsets = np.linalg.lstsq(counts, energies, rcond=None)[0]
    left = energies - counts @ offsets
    return offsets, max(float(np.sqrt(np.mean(left**2))), 1e-3)


def _force_scale(examples: Sequence[Example]) -> float:
    forces = torch.cat([e.forces for e in examples])
    return float(forces[torch.isfinite(forces)].square().mean().sqrt().clamp(min=1e-3)) if len(forces) else 1.0
