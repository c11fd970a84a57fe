"""Gradient descent on a stacked network: batches, loss, one step, its state. What `train` and `update` share."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .data import Batch, Example, join_examples
from .devices import choose_device
from .frozen import energies_and_forces
from .graph import join_graphs, sum_atoms
from .layers import MemberLinear
from .metrics import Numbers
from .muon import Muon
from .settings import TrainSettings, UpdateSettings
from .vimpnn import VIMPNN

FitSettings = TrainSettings | UpdateSettings

MOVED = 0.02
"""Å by which atoms are displaced to differentiate along the error of the forces."""

MANY = 200
"""Examples up to which weight decay is that of the settings."""

MUON_FROM = 200
"""Examples from which `optimiser: auto` is Muon, which fits closer and faster; AdamW overfits few labels less."""


@dataclass
class Sampler:
    """Draws batches from groups of examples, each group in its own shuffled order, over and over.

    Attributes:
        sizes: one list a group of the examples' numbers of atoms; examples are numbered through all groups.
        share: of the atoms of a batch that a group gets.
        batch_atoms: atoms in a batch, about.
        rng: whose draws the order is.
        queues: what is left of each group's present order.
    """

    sizes: list[list[int]]
    share: list[float]
    batch_atoms: int
    rng: np.random.Generator
    queues: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queues = self.queues or [[] for _ in self.sizes]

    def draw(self) -> list[int]:
        """Numbers of the next batch's examples; no example twice in a batch."""
        batch: list[int] = []
        first = 0
        for sizes, share, queue in zip(self.sizes, self.share, self.queues, strict=True):
            room, taken = share * self.batch_atoms, 0
            chosen: list[int] = []
            while sizes and taken < room and len(chosen) < len(sizes):
                if not queue:
                    queue.extend(int(k) for k in self.rng.permutation(len(sizes)))
                place = next((p for p in reversed(range(len(queue))) if queue[p] not in chosen), None)
                if place is None:
                    queue.clear()
                    continue
                chosen.append(queue.pop(place))
                taken += sizes[chosen[-1]]
            batch += [first + k for k in chosen]
            first += len(sizes)
        return batch


@dataclass(frozen=True)
class Errors:
    """How far a network is off on a batch: energy per atom (m, s) eV, force components (m, n, 3) eV/Å (0: unknown)."""

    energy: Float[Tensor, "m s"]
    force: Float[Tensor, "m n 3"]


def errors_of(network: VIMPNN, batch: Batch) -> Errors:
    """Errors of every member."""
    atom_energies, forces, _ = energies_and_forces(network, batch.graph)
    energies = sum_atoms(atom_energies, batch.graph.structure, batch.graph.n_structures)
    known = batch.has_forces[batch.graph.structure].unsqueeze(-1)
    return Errors((energies - batch.energies) / batch.n_atoms, (forces - batch.forces) * known)


def loss_of(
    errors: Errors, batch: Batch, weights: Float[Tensor, "m s"], settings: FitSettings
) -> tuple[Float[Tensor, " m"], Float[Tensor, "m s"], Float[Tensor, "m n 3"]]:
    """Loss of each member, and its derivative by the energies (per eV) and by the forces (per eV/Å).

    L_m = mean_s w_ms [ w_E H_δ(ΔE/n) + w_F mean_v Σ_x H_δ(ΔF_vx) ],   H_δ(x) = δ² (√(1 + (x/δ)²) − 1)  (smooth Huber)

    Args:
        errors: of the network on the batch.
        batch: targets.
        weights: (n_members, n_structures), the bootstrap weights.
        settings: w_E, w_F, δ (for the energy δ/3 per atom).
    """
    structure, delta = batch.graph.structure, settings.huber
    by_energy = settings.energy_weight * weights / batch.graph.n_structures
    by_force = settings.force_weight * weights / (batch.graph.n_structures * batch.n_atoms)
    value, g_energy = _huber(errors.energy, delta / 3)
    pushed, g_force = _huber(errors.force, delta)
    by_structure = sum_atoms(pushed.sum(-1), structure, batch.graph.n_structures)
    loss = (by_energy * value + by_force * by_structure).sum(1)
    return loss, by_energy * g_energy / batch.n_atoms, by_force[:, structure].unsqueeze(-1) * g_force


def _huber(x: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """H_δ(x) and its derivative."""
    root = torch.sqrt(1 + (x / delta) ** 2)
    return delta**2 * (root - 1), x / root


def surrogate_loss(
    network: VIMPNN, batch: Batch, g_energy: Float[Tensor, "m s"], g_force: Float[Tensor, "m n 3"]
) -> Float[Tensor, ""]:
    """A function of energies alone whose gradient by the weights is that of the loss.

    With f = ∂L/∂F and F = −∂E/∂x, the forces' part of the gradient is −∂/∂weights of the derivative of E along f. That
    derivative is taken as (E(x + tf) − E(x − tf))/2t, t such that the atoms of a structure move by `MOVED` (root mean
    square): no second derivative of the network is needed, which would cost as much again. The error is of the order of
    (MOVED / width of the features of the surface)², some 1e-2.

    Args:
        network: with gradients by its weights.
        batch: structures.
        g_energy, g_force: from `loss_of`.
    """
    graph = batch.graph
    square = sum_atoms(g_force.square().sum(-1), graph.structure, graph.n_structures) / batch.n_atoms
    t = MOVED / square.sqrt().clamp(min=1e-12)
    moved = t[:, graph.structure].unsqueeze(-1) * g_force
    stretch = moved[:, graph.neighbour] - moved[:, graph.centre]
    both = join_graphs([graph, graph])
    atoms = network(torch.cat([graph.vectors + stretch, graph.vectors - stretch], dim=1), both)
    energies = sum_atoms(atoms, both.structure, both.n_structures)
    slope = 1 / (2 * t)
    return (energies * torch.cat([0.5 * g_energy - slope, 0.5 * g_energy + slope], dim=1)).sum()


class Fit:
    """A fit in progress: network, running mean of its weights, optimiser, data order, bootstrap weights, and the clock.

    Args:
        network: changed in place.
        groups: examples in groups (training: one; update: new and replayed).
        share: of the atoms of a batch that each group gets.
        settings: budget, rates, weights.
        seed: of data order and bootstrap weights.
    """

    def __init__(
        self,
        network: VIMPNN,
        groups: Sequence[Sequence[Example]],
        share: Sequence[float],
        settings: FitSettings,
        seed: int,
    ) -> None:
        device = choose_device(settings.device)
        self.network, self.settings = network.requires_grad_(True).to(device), settings
        self.examples = [e.to(device) for group in groups for e in group]
        rng = np.random.default_rng(seed)
        m = network.settings.n_members
        weights = bootstrap_weights(rng, m, len(self.examples), settings.bootstrap)
        self.weights = torch.from_numpy(weights).to(device, network.dtype)
        sizes = [[len(e.forces) for e in group] for group in groups]
        self.n_atoms = max(1, sum(map(sum, sizes)))
        self.sampler = Sampler(sizes, list(share), settings.batch_atoms, rng)
        self.parameters = dict(network.named_parameters())
        self._names: dict[Tensor, str] = {p: k for k, p in self.parameters.items()}
        self.mean = {k: p.detach().clone() for k, p in self.parameters.items()}
        self.optimisers = optimisers(network, settings, len(self.examples))
        self.peak = self.optimisers[0].param_groups[0]["lr"]
        self.n_steps, self.elapsed = 0, 0.0
        self._now = time.monotonic if settings.clock == "wall" else time.process_time
        self._started = self._now()

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, in [0, 1]."""
        if self.settings.minutes is not None:
            spent = (self.elapsed + self._now() - self._started) / (60 * self.settings.minutes)
            looks = self.n_steps * self.settings.batch_atoms / self.n_atoms
            return min(1.0, max(spent, looks / self.settings.epochs))
        return min(1.0, self.n_steps / self.settings.steps)

    def rate(self) -> float:
        """Learning rate now: linear warm-up, then half a cosine to `final_rate`."""
        s, p = self.settings, self.progress
        if p < s.warm_up:
            return self.peak * max(p, 0.02) / s.warm_up
        fall = 0.5 * (1 + math.cos(math.pi * (p - s.warm_up) / (1 - s.warm_up)))
        return self.peak * (s.final_rate + (1 - s.final_rate) * fall)

    def step(self) -> Numbers:
        """One batch, one step of every member; returns what to log."""
        chosen = self.sampler.draw()
        batch = join_examples([self.examples[k] for k in chosen])
        for p in self.parameters.values():
            p.grad = None
        errors = errors_of(self.network.requires_grad_(False), batch)
        loss, g_energy, g_force = loss_of(errors, batch, self.weights[:, chosen], self.settings)
        surrogate_loss(self.network.requires_grad_(True), batch, g_energy, g_force).backward()
        self._clip()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self.rate()
            optimiser.step()
        self.n_steps += 1
        self._average()
        return {
            "step": self.n_steps,
            "loss": float(loss.mean()),
            "energy_mae_mev_per_atom": 1e3 * float(errors.energy.abs().mean()),
            "force_mae_mev_per_A": 1e3 * float(errors.force.abs().mean() / batch.has_forces.mean().clamp(min=1e-12)),
        }

    @torch.no_grad()
    def _clip(self) -> None:
        """Each member's gradient to a norm of at most `clip`; one that is not finite to zero."""
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        norm = torch.sqrt(sum((g.flatten(1) ** 2).sum(1) for g in gradients))  # type: ignore[arg-type]
        finite = torch.isfinite(norm)
        factor = (self.settings.clip / norm.clamp(min=1e-12)).clamp(max=1.0)
        for g in gradients:
            shape = (-1,) + (1,) * (g.dim() - 1)
            g.mul_(factor.view(shape))
            if not bool(finite.all()):
                g[~finite] = 0.0

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.settings.ema, (1 + self.n_steps) / (10 + self.n_steps))
        torch._foreach_lerp_(list(self.mean.values()), [p.detach() for p in self.parameters.values()], 1 - decay)

    def averaged(self) -> dict[str, Tensor]:
        """The state of a network with the running mean of the weights."""
        return {**self.network.state_dict(), **{k: v.clone() for k, v in self.mean.items()}}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that is needed to go on: tensors, and what goes into JSON."""
        tensors = {f"weights.{k}": p.detach().clone() for k, p in self.parameters.items()}
        tensors |= {f"mean.{k}": v.clone() for k, v in self.mean.items()}
        for optimiser in self.optimisers:
            for p, state in optimiser.state.items():
                tensors |= {f"{name}.{self._names[p]}": x.clone() for name, x in state.items()}
        elapsed = self.elapsed + self._now() - self._started
        facts = {
            "n_steps": self.n_steps,
            "elapsed": elapsed,
            "queues": self.sampler.queues,
            "rng": self.sampler.rng.bit_generator.state,
        }
        return tensors, facts

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from a `state`; the bootstrap weights are those of the same seed."""
        of: dict[str, dict[str, Tensor]] = {k: {} for k in self.parameters}
        for key, x in tensors.items():
            what, k = key.split(".", 1)
            of[k][what] = x.clone()
        with torch.no_grad():
            for k, p in self.parameters.items():
                p.copy_(of[k].pop("weights"))
                self.mean[k].copy_(of[k].pop("mean"))
        for optimiser in self.optimisers:
            for p in optimiser.param_groups[0]["params"]:
                state = of[self._names[p]]
                optimiser.state[p] = {what: x.to(p.device) if x.dim() else x for what, x in state.items()}
        self.n_steps, self.elapsed = int(facts["n_steps"]), float(facts["elapsed"])
        self._started = self._now()
        self.sampler.queues = [list(q) for q in facts["queues"]]
        self.sampler.rng.bit_generator.state = facts["rng"]


def optimisers(network: VIMPNN, settings: FitSettings, n_examples: int) -> list[torch.optim.Optimizer]:
    """AdamW for all, or Muon for the matrices between hidden states and AdamW for filters, embedding, output, biases.

    Weight decay is a prior, which counts the less the more is known: beyond `MANY` examples it falls as 1/n.
    """
    name = settings.optimiser
    if name == "auto":
        name = "muon" if n_examples >= MUON_FROM else "adamw"
    rate = settings.learning_rate or settings.rates[name]
    decay = settings.weight_decay * min(1.0, MANY / max(n_examples, 1))
    inner = [m.weight for m in network.modules() if isinstance(m, MemberLinear) and m is not network.out]
    matrices = inner if name == "muon" else []
    rest = [p for p in network.parameters() if all(p is not q for q in matrices)]
    adam = torch.optim.AdamW(rest, lr=rate, weight_decay=decay, betas=(0.9, 0.98), fused=True)
    return [adam, Muon(matrices, rate, decay)] if matrices else [adam]


def bootstrap_weights(rng: np.random.Generator, n_members: int, n: int, spread: float) -> Float[np.ndarray, "m n"]:
    """Each member's own weights of the structures: gamma distributed, mean 1, std `spread`; 1 for one member."""
    if spread == 0 or n_members == 1:
        return np.ones((n_members, n))
    shape = 1 / spread**2
    return rng.gamma(shape, 1 / shape, size=(n_members, n))
