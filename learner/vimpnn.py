"""VIMPNN: the valence-informed message passing network, as a committee in one batched pass.

Symbols: v an atom, w its neighbour, h_v its hidden state, e_vw the bond, BT a bond type (channel).

    h⁰_v    = embed(Z_v)
    m|BT_v  = Σ_w s_BT(v,w) M_BT(e_vw) h_w,   M_BT(e) h = Σ_k φ_k(r) W_BT,k (U h)             (filter × neighbour)
    m_v     = Σ_BT λ_BT m|BT_v                                                             (combination a.ii, λ scalar)
    p_v     = Σ_w φ_k(r) W_1k (U h_w) r̂,  q_v the same with Y_2(r̂);   m_v ← [m_v, |p_v|, |q_v|]        (if directional)
    h'_v    = GRU(m_v, h_v)
    ε_v     = n_v R(h⁰_v, …, h^T_v),   n_v = 1 − exp(−Σ_w u(r))        (0 for an isolated atom, 1 in a solid)
    E       = Σ_v E0[Z_v] + Σ_v (ε_v + a[Z_v] (√(1 + Σ_w b(r)) − 1) + c[Z_v] n_v) + Σ_{v<w} ZBL(r)

The sums over w are taken before the matrices W (they are linear), so an edge costs one row of a small matrix product.
E0 is added by the committee, in double precision. An atom's energy depends on atoms within T·cutoff, a force on twice
as far.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .bonds import BondBasis, Bonds
from .graph import Graph
from .layers import MemberGRU, MemberLinear, gather_rows, sum_by
from .repulsion import ZBL
from .settings import NetworkSettings
from .valence import bonded, envelope, possible_channels


class Message(nn.Module):
    """One step's message: neighbour sum, mixing by bond type, invariants of the moments."""

    def __init__(self, settings: NetworkSettings, basis: BondBasis) -> None:
        super().__init__()
        m, f, c = settings.n_members, settings.n_features, settings.n_message_features
        self.settings, self.n_channels = settings, len(basis.channels)
        self.rows = [basis.n_scalar, basis.n_first, basis.n_second]
        self.send = MemberLinear(m, f, c, bias=False)
        own = 1 if settings.message == "shared" else self.n_channels
        self.matrix = nn.Parameter(torch.randn(m, own, settings.n_radial * c, f) / (settings.n_radial * c) ** 0.5)
        self.channel = nn.Parameter(torch.full((m, self.n_channels, 1, 1), 1 / self.n_channels**0.5))
        if settings.directional:
            k = settings.n_radial_directional * c
            self.first = MemberLinear(m, k, settings.n_directions, bias=False)
            self.second = MemberLinear(m, k, settings.n_directions, bias=False)

    @property
    def n_out(self) -> int:
        """Width of the message that the GRU gets."""
        return self.settings.n_features + (2 * self.settings.n_directions if self.settings.directional else 0)

    def forward(
        self, h: Float[Tensor, "m n f"], rows: Float[Tensor, "mn r slots"], index: Tensor
    ) -> Float[Tensor, "m n o"]:
        """Message of every atom.

        Args:
            h: hidden states.
            rows: the bond basis B of every member's atoms, members stacked.
            index: (m·n, n_neighbours) row of each neighbour among the stacked atoms.
        """
        m, n, _ = h.shape
        sent = self.send(h)
        moments = torch.bmm(rows, gather_rows(sent.reshape(m * n, -1), index))
        scalar, first, second = (a.reshape(m, n, -1) for a in moments.split(self.rows, dim=1))
        mixed = (self.channel * self.matrix).reshape(m, -1, self.settings.n_features)
        if not self.settings.directional:
            return torch.bmm(scalar, mixed)
        p = self.first(first.reshape(m, n * 3, -1)).reshape(m, n, 3, -1)
        q = self.second(second.reshape(m, n * 5, -1)).reshape(m, n, 5, -1)
        squares = torch.cat([(p * p).sum(2), (q * q).sum(2)], dim=2)
        return torch.cat([torch.bmm(scalar, mixed), torch.sqrt(1 + squares) - 1], dim=2)


class VIMPNN(nn.Module):
    """A committee of VIMPNN networks; with n_members = 1 the paper's single network.

    Args:
        settings: widths, steps, cutoff.
        species: atomic numbers it knows.
        channels: bond types it tells apart; those possible for the species by default.
    """

    offset: Tensor
    energy_scale: Tensor

    def __init__(
        self, settings: NetworkSettings, species: Sequence[int], channels: tuple[str, ...] | None = None
    ) -> None:
        super().__init__()
        self.settings, self.species = settings, tuple(int(z) for z in species)
        m, f = settings.n_members, settings.n_features
        self.basis = BondBasis(settings, self.species, channels or possible_channels(self.species))
        self.repulsion = ZBL(self.species)
        self.embed = nn.Parameter(torch.randn(m, len(self.species), f))
        messages = [Message(settings, self.basis) for _ in range(settings.n_steps)]
        self.messages = nn.ModuleList(messages)
        self.updates = nn.ModuleList(MemberGRU(m, s.n_out, f) for s in messages)
        self.hidden = MemberLinear(m, f * (settings.n_steps + 1), settings.n_readout)
        self.out = MemberLinear(m, settings.n_readout, 1)
        self.register_buffer("offset", torch.zeros(2, len(self.species)))
        self.register_buffer("energy_scale", torch.ones(()))
        self.to(torch.float64 if settings.dtype == "float64" else torch.float32)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the parameters."""
        return self.embed.dtype

    @property
    def cutoff(self) -> float:
        """Å."""
        return self.settings.cutoff

    @property
    def reach(self) -> float:
        """Å, how far away the removal of an atom can change a force: 2 T cutoff (energies: T cutoff)."""
        return 2 * self.settings.n_steps * self.settings.cutoff

    def forward(
        self, rows: Float[Tensor, "m n r slots"], coordination: Float[Tensor, "m n"], graph: Graph
    ) -> Float[Tensor, "m n"]:
        """n_v R(h⁰_v, …, h^T_v) of each atom, eV: what is learnt.

        Args:
            rows: the bond basis B as each member sees it.
            coordination: Σ_w u(r), as each member sees it.
            graph: species and neighbours.
        """
        m, n = coordination.shape
        known = torch.cat([graph.neighbours, torch.arange(n)[:, None]], dim=1)
        index = (known + n * torch.arange(m)[:, None, None]).flatten(0, 1)
        stacked = rows.flatten(0, 1)
        h = self.embed[:, graph.species]
        states = [h]
        for message, update in zip(self.messages, self.updates, strict=True):
            h = update(message(h, stacked, index), h)
            states.append(h)
        epsilon = self.out(nn.functional.silu(self.hidden(torch.cat(states, dim=2)))).squeeze(2)
        return self.energy_scale * (1 - torch.exp(-coordination)) * epsilon

    def cohesion(self, graph: Graph, r: Float[Tensor, "n w"] | None = None) -> Float[Tensor, " n"]:
        """a[Z_v] (√(1 + Σ_w b) − 1) + c[Z_v] n_v of each atom, eV: the trend, fitted before training."""
        return (self.offset[:, graph.species] * self.trends(graph, r)).sum(0)

    def trends(self, graph: Graph, r: Float[Tensor, "n w"] | None = None) -> Float[Tensor, "2 n"]:
        """√(1 + Σ_w b) − 1 and n_v = 1 − exp(−Σ_w u) of each atom, at distances r (Å) if not those of the graph."""
        r = torch.linalg.vector_norm(graph.vectors, dim=-1) if r is None else r
        u = envelope(r, self.cutoff)
        b = bonded(r, self.basis.r0[graph.species[:, None], graph.species[graph.neighbours]], u)
        return torch.stack([torch.sqrt(1 + b.sum(-1)) - 1, 1 - torch.exp(-u.sum(-1))])

    def fixed_energies(self, bonds: Bonds, graph: Graph) -> tuple[Float[Tensor, " n"], Float[Tensor, "n w"]]:
        """What is the same for every member: cohesion and ZBL of each atom, eV, and its derivative by r, eV/Å."""
        with torch.enable_grad():
            r = bonds.r.requires_grad_(True)
            energies = self.cohesion(graph, r) + self.repulsion(r, graph)
            (slope,) = torch.autograd.grad(energies.sum(), r)
        return energies.detach(), slope

    def energies_and_forces(
        self, graph: Graph, create_graph: bool = False
    ) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m n 3"], Float[Tensor, "m s 3 3"]]:
        """Atom energies (eV), forces (eV/Å) and virials Σ r ⊗ ∂E/∂r (eV) of every member, without E0.

        F_v = Σ_w ∂E/∂r_vw − Σ_w ∂E/∂r_wv. Each member has its own copy of the bond basis, so that one backward pass
        gives every member's own gradient; the basis itself, and its slope, is worked out once for all of them.

        Args:
            graph: the batch.
            create_graph: keep the graph of the gradient, for training on forces.
        """
        m, (n, width) = self.settings.n_members, graph.neighbours.shape
        bonds = self.basis(graph)
        fixed, slope = self.fixed_energies(bonds, graph)
        rows = bonds.rows.expand(m, -1, -1, -1).contiguous().requires_grad_(True)
        coordination = bonds.u.sum(-1).expand(m, n).contiguous().requires_grad_(True)
        with torch.enable_grad():
            learnt = self(rows, coordination, graph)
            g_rows, g_coordination = torch.autograd.grad(
                learnt.sum(), (rows, coordination), create_graph=create_graph, materialize_grads=True
            )
        g = bonds.pull_back(slope, g_coordination, g_rows)
        pulled = sum_by(g.permute(1, 3, 0, 2).reshape(n * width, -1), graph.neighbours.reshape(-1), n)
        forces = g.sum(3) - pulled.reshape(n, m, 3).transpose(0, 1)
        outer = torch.einsum("mniw,nwj->nmij", g.detach(), graph.vectors)
        virial = sum_by(outer.reshape(n, -1), graph.structure, graph.n_structures)
        return learnt + fixed, forces, virial.reshape(-1, m, 3, 3).transpose(0, 1)


def seeded(settings: NetworkSettings, species: Sequence[int], seed: int) -> VIMPNN:
    """A network with initial weights drawn under a seed; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        return VIMPNN(settings, species)
