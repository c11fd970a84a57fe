"""A network whose weights stand still: energies and forces on the CPU without autograd, its backward pass by hand.

What `vimpnn.py` computes, with all that does not depend on the structure done before: filters tabulated, constant
factors and shifts folded into the matrices that follow. A call costs some sixty torch operations and four passes over
the pairs of atoms, for the whole committee.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from . import kernels
from .graph import Graph
from .layers import GatedResidual
from .moments import Moments, Pairs, by_atom, moments_compiled
from .vimpnn import VIMPNN, Message

aten = torch.ops.aten


@dataclass
class _Trace:
    """What the backward pass of a step needs of its forward pass."""

    sent: Tensor
    p: Tensor
    q: Tensor
    root_p: Tensor
    root_q: Tensor
    gate: Tensor
    candidate: Tensor


class _Step:
    """One message and update, folded."""

    def __init__(self, message: Message, update: GatedResidual, rows: Tensor, mix: Tensor) -> None:
        f, self.d = message.settings.n_features, message.settings.n_directions
        self.table = message.table(rows, mix).detach()
        self.send = message.send.weight.detach()
        if self.d:
            self.first = message.first.weight.detach() * message.scale[1]
            self.second = message.second.weight.detach() * message.scale[2]
        taken = update.from_message.weight.detach()
        self.taken = taken.clone()
        self.taken[:, :f] *= message.scale[0]
        shift = torch.cat([message.mean * message.scale[0], taken.new_ones(len(taken), 1, 2 * self.d)], dim=2)
        assert update.from_message.bias is not None
        self.bias = update.from_message.bias.detach() - torch.bmm(shift, taken)
        self.kept = update.from_hidden.weight.detach()

    def forward(self, h: Tensor, pairs: Pairs, rest: Moments | None = None) -> tuple[Tensor, _Trace]:
        """The new hidden states; `rest`: moments that other pairs bring."""
        sent = self.sent(h)
        return self.updated(h, sent, self.moments(sent, pairs, rest))

    def sent(self, h: Tensor) -> Tensor:
        """What every atom sends."""
        return torch.bmm(h, self.send)

    def moments(self, sent: Tensor, pairs: Pairs, rest: Moments | None = None) -> Moments:
        """Of these pairs and of the rest."""
        return moments_compiled(self.table, sent, pairs, rest)

    def updated(self, h: Tensor, sent: Tensor, moments: Moments) -> tuple[Tensor, _Trace]:
        """The new hidden states, once the moments are summed."""
        m, n, f = h.shape
        scalar, first, second = moments
        parts, p, q = [scalar], first, second
        if self.d:
            p = torch.bmm(first.view(m, 3 * n, self.d), self.first).view(m, n, 3, self.d)
            q = torch.bmm(second.view(m, 5 * n, self.d), self.second).view(m, n, 5, self.d)
            parts += [(p * p).sum(2).add_(1).sqrt_(), (q * q).sum(2).add_(1).sqrt_()]
        both = torch.baddbmm(self.bias, torch.cat(parts, dim=2), self.taken).baddbmm_(h, self.kept)
        gate, candidate = torch.sigmoid(both[..., :f]), both[..., f:]
        new = torch.addcmul(h, gate, aten.silu(candidate))
        return new, _Trace(sent, p, q, parts[1 % len(parts)], parts[-1], gate, candidate)

    def backward(self, g: Tensor, trace: _Trace, pairs: Pairs, g_vectors: Tensor, first_step: bool) -> Tensor:
        """Gradient by the former hidden states (not of the first step's, which are constants); adds to g_vectors."""
        m, n, f = g.shape
        d = self.d
        g_gate = aten.sigmoid_backward(g * aten.silu(trace.candidate), trace.gate)
        g_both = torch.cat([g_gate, aten.silu_backward(g * trace.gate, trace.candidate)], dim=2)
        by_message = torch.bmm(g_both, self.taken.mT)
        g_first, g_second = trace.p, trace.q
        if d:
            g_p = trace.p * (by_message[..., f : f + d] / trace.root_p).unsqueeze(2)
            g_q = trace.q * (by_message[..., f + d :] / trace.root_q).unsqueeze(2)
            g_first = torch.bmm(g_p.view(m, 3 * n, d), self.first.mT).view(m, n, 3, d)
            g_second = torch.bmm(g_q.view(m, 5 * n, d), self.second.mT).view(m, n, 5, d)
        g_sent = torch.zeros_like(trace.sent)
        given = by_atom(trace.sent, by_message[..., :f], g_first, g_second, g_sent)
        kernels.moments_by_vectors(*pairs.arrays_for_all(), self.table.numpy(), *given, g_vectors.numpy())
        if first_step:
            return g
        return torch.baddbmm(g, g_both, self.kept.mT).baddbmm_(g_sent, self.send.mT)


class FrozenNetwork:
    """A network as it is now; what is done to its weights later is not seen.

    Args:
        network: on the CPU.
    """

    def __init__(self, network: VIMPNN) -> None:
        self.basis, self.cohesion = network.basis, network.cohesion
        self.summed = network.cohesion.table()
        pairs = zip(network.messages, network.updates, strict=True)
        self.steps = [_Step(m, u, self.basis.rows, self.basis.mix) for m, u in pairs]  # type: ignore[arg-type]
        self.initial = network.initial().detach()
        self.hidden, self.hidden_bias = network.hidden.weight.detach(), network.hidden.bias.detach()  # type: ignore[union-attr]
        scale = network.energy_scale
        self.out = network.out.weight.detach() * scale
        self.out_bias = network.out.bias.detach() * scale  # type: ignore[union-attr]

    @torch.no_grad()
    def energies_and_gradients(self, graph: Graph) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m e 3"]]:
        """Energy of each atom (eV, without E0), and ∂E/∂r_vw of each pair (eV/Å), of every member."""
        pairs, sums = self.pairs(graph)
        states = [self.initial[:, graph.species]]
        traces = []
        for step in self.steps:
            h, trace = step.forward(states[-1], pairs)
            states.append(h)
            traces.append(trace)
        energies, by_sums, by_states = self.readout(states, sums, graph.species)
        g_vectors = self.through_sums(by_sums, pairs)
        g = by_states[-1]
        for k in reversed(range(len(self.steps))):
            g = self.steps[k].backward(g, traces[k], pairs, g_vectors, first_step=k == 0)
            if k:
                g = g + by_states[k]
        return energies, g_vectors

    @torch.no_grad()
    def features(self, graph: Graph) -> Float[Tensor, "m n r"]:
        """What the readout makes of the hidden states of all steps; ε is linear in it."""
        pairs, _ = self.pairs(graph)
        states = [self.initial[:, graph.species]]
        for step in self.steps:
            states.append(step.forward(states[-1], pairs)[0])
        return aten.silu(torch.baddbmm(self.hidden_bias, torch.cat(states, dim=2), self.hidden))

    def pairs(self, graph: Graph) -> tuple[Pairs, Float[Tensor, "1 n k"]]:
        """The pairs of a graph as filters see them, and what they bring to the sums of its atoms."""
        r, harmonics, sums = self.basis(graph.vectors[None], graph, self.summed, self.cohesion.spacing)
        pair = self.basis.pair(graph)
        return Pairs(graph.centre, graph.neighbour, pair, r, harmonics, self.basis.spacing), sums

    def readout(self, states: Sequence[Tensor], sums: Tensor, species: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Energy of each atom (m, n), its slopes by the atom's sums (m, n, k) and by its hidden states (m, n, f)."""
        hidden = torch.baddbmm(self.hidden_bias, torch.cat(list(states), dim=2), self.hidden)
        epsilon = torch.baddbmm(self.out_bias, aten.silu(hidden), self.out).squeeze(2)
        bound, n = self.cohesion(sums, species)
        by_sums = self.cohesion.slopes(sums[0], species).expand(len(epsilon), -1, -1).clone()
        by_sums[..., 0] += epsilon * (1 - n)
        g_out = n[0][:, None] * self.out.mT
        by_states = torch.bmm(aten.silu_backward(g_out, hidden), self.hidden.mT).chunk(len(states), dim=2)
        return epsilon * n + bound, by_sums, list(by_states)

    def through_sums(self, by_sums: Tensor, pairs: Pairs) -> Tensor:
        """Gradient (m, e, 3) by the vectors of pairs, as far as sums over neighbours go."""
        g_vectors = by_sums.new_empty(len(by_sums), len(pairs.centre), 3)
        arrays = (x.numpy() for x in (pairs.r[0], pairs.harmonics[0], pairs.pair, pairs.centre, pairs.neighbour))
        table = self.summed.numpy(), self.cohesion.spacing
        kernels.sums_backward(*arrays, *table, by_sums.numpy(), g_vectors.numpy())
        return g_vectors


def energies_and_forces(
    network: VIMPNN | FrozenNetwork, graph: Graph
) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m n 3"], Float[Tensor, "m s 3 3"]]:
    """Atom energies (eV, without E0), forces (eV/Å) and virials Σ r ⊗ ∂E/∂r (eV) of every member.

    F_v = Σ_w ∂E/∂r_vw − Σ_w ∂E/∂r_wv. A network that is not frozen is evaluated by a frozen copy on the CPU, elsewhere
    by autograd.
    """
    if isinstance(network, VIMPNN) and network.embed.device.type == "cpu":
        network = FrozenNetwork(network)
    energies, g = network.energies_and_gradients(graph)
    m = len(g)
    forces, virials = g.new_zeros(m, len(graph.species), 3), g.new_zeros(m, graph.n_structures, 3, 3)
    if g.device.type == "cpu":
        arrays = (graph.centre, graph.neighbour, graph.structure, graph.vectors, g.contiguous(), forces, virials)
        kernels.forces_and_virials(*(x.numpy() for x in arrays))
    else:
        forces.index_add_(1, graph.centre, g).index_add_(1, graph.neighbour, g, alpha=-1)
        outer = g.unsqueeze(3) * graph.vectors.unsqueeze(1)
        virials.index_add_(1, graph.structure[graph.centre], outer)
    return energies, forces, virials
