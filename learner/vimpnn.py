"""VIMPNN: the valence-informed message passing network, as a committee in one batched pass.

Symbols: v an atom, w its neighbour, h_v its hidden state, r the bond's length, r̂ its direction, BT a bond type.

    h⁰_v    = V t(Z_v) + embed(Z_v)             t: valence shells, electronegativity, radius; embed starts from zero
    m|BT_v  = Σ_w s_BT(r) M_BT(r) ⊙ (U h_w),   M_BT(r) = Σ_k φ_k(r) W_BT,k                 (filter × neighbour)
    m_v     = Σ_BT λ_BT m|BT_v                                                             (combination a.ii, λ scalar)
    p_v, q_v = Σ_w M'(r) ⊙ (U' h_w) Y_1(r̂), the same with Y_2;   m_v ← [m_v, |P p_v|, |Q q_v|]          (if directional)
    h'_v    = h_v + σ(A m_v + B h_v) ⊙ silu(A' m_v + B' h_v)                              (gate, without a GRU's pull)
    ε_v     = n_v R(h⁰_v, …, h^T_v),   n_v = 1 − exp(−Σ_w u(r))        (0 for an isolated atom, 1 in a solid)
    E       = Σ_v E0[Z_v] + Σ_v ε_v + E_c                              (cohesion, `cohesion.py`)

With `embedding: free`, h⁰ is embed alone, from random numbers. E0 is added by the committee, in double precision. An
atom's energy depends on atoms within T·cutoff, a force on twice as far.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .bonds import BondBasis
from .cohesion import Cohesion
from .graph import Graph
from .layers import GatedResidual, MemberLinear
from .moments import Pairs, moments
from .settings import NetworkSettings
from .valence import ONE_CHANNEL, possible_channels, traits

LEAST_IONIC = 0.05


class Message(nn.Module):
    """One step's message: moments of the neighbours by bond type, their invariants, all of about unit size.

    Attributes:
        mean: (m, 1, f) of the scalar moment; scale: (3,) of the three moments; both measured, not learnt.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, settings: NetworkSettings, basis: BondBasis) -> None:
        super().__init__()
        m, f, d = settings.n_members, settings.n_features, settings.n_directions
        self.settings, self.n_channels = settings, len(basis.channels)
        self.send = MemberLinear(m, f, f + d, bias=False)
        own = 1 if settings.message == "shared" else self.n_channels
        self.filters = nn.Parameter(torch.randn(m, own, settings.n_radial, f + 2 * d) / basis.n_rows**0.5)
        self.channel = nn.Parameter(torch.ones(m, self.n_channels, 1, 1))
        if d:
            self.first = MemberLinear(m, d, d, bias=False)
            self.second = MemberLinear(m, d, d, bias=False)
        self.register_buffer("mean", torch.zeros(m, 1, f))
        self.register_buffer("scale", torch.ones(3))

    @property
    def n_out(self) -> int:
        """Width of the message."""
        return self.settings.n_features + 2 * self.settings.n_directions

    def table(self, rows: Float[Tensor, "p nodes k"], mix: Tensor) -> Float[Tensor, "m p nodes n_filters"]:
        """The filters of every member at the nodes of the basis.

        Args:
            rows: the basis.
            mix: of the rows of each channel.
        """
        weights = (self.channel * (mix @ self.filters)).flatten(1, 2)
        return (rows.flatten(0, 1) @ weights).unflatten(1, rows.shape[:2])

    def forward(
        self, h: Float[Tensor, "m n f"], table: Float[Tensor, "m p nodes n_filters"], pairs: Pairs, measure: bool
    ) -> Float[Tensor, "m n o"]:
        """Message of every atom.

        Args:
            h: hidden states.
            table: of the filters.
            pairs: of atoms.
            measure: set `mean` and `scale` by what these atoms get.
        """
        m, n, _ = h.shape
        scalar, first, second = moments(table, self.send(h), pairs)
        if measure:
            self._measure(scalar, first, second)
        scalar = (scalar - self.mean) * self.scale[0]
        if not self.settings.n_directions:
            return scalar
        p = self.first(first.flatten(1, 2)).reshape(m, n, 3, -1) * self.scale[1]
        q = self.second(second.flatten(1, 2)).reshape(m, n, 5, -1) * self.scale[2]
        squares = torch.cat([(p * p).sum(2), (q * q).sum(2)], dim=2)
        return torch.cat([scalar, torch.sqrt(1 + squares) - 1], dim=2)

    @torch.no_grad()
    def _measure(self, scalar: Tensor, first: Tensor, second: Tensor) -> None:
        self.mean.copy_(scalar.mean(1, keepdim=True))
        sizes = [(scalar - self.mean).square().mean(), first.square().sum(2).mean(), second.square().sum(2).mean()]
        self.scale.copy_(torch.stack(sizes).nan_to_num(1.0).clamp(min=1e-6).rsqrt())


class VIMPNN(nn.Module):
    """A committee of VIMPNN networks; with n_members = 1 a single network.

    Args:
        settings: widths, steps, cutoff.
        species: atomic numbers it knows.
        channels: bond types it tells apart; those possible for the species by default.
    """

    energy_scale: Tensor
    traits: Tensor

    def __init__(
        self, settings: NetworkSettings, species: Sequence[int], channels: tuple[str, ...] | None = None
    ) -> None:
        super().__init__()
        self.settings, self.species = settings, tuple(int(z) for z in species)
        m, f = settings.n_members, settings.n_features
        if channels is None:
            told = settings.bond_types == "valence"
            channels = possible_channels(self.species, LEAST_IONIC) if told else ONE_CHANNEL
        self.basis = BondBasis(settings, self.species, channels)
        self.cohesion = Cohesion(settings.cutoff, self.species)
        told = settings.embedding == "valence"
        known = torch.from_numpy(traits(self.species)) if told else torch.zeros(len(self.species), 0)
        self.register_buffer("traits", known.to(torch.float64), persistent=False)
        self.by_trait = nn.Parameter(torch.randn(m, known.shape[1], f))
        self.embed = nn.Parameter((0.0 if told else 1.0) * torch.randn(m, len(self.species), f))
        messages = [Message(settings, self.basis) for _ in range(settings.n_steps)]
        self.messages = nn.ModuleList(messages)
        self.updates = nn.ModuleList(GatedResidual(m, s.n_out, f) for s in messages)
        self.hidden = MemberLinear(m, f * (settings.n_steps + 1), settings.n_readout)
        self.out = MemberLinear(m, settings.n_readout, 1)
        self.register_buffer("energy_scale", torch.ones(()))
        self.to(torch.float64 if settings.dtype == "float64" else torch.float32)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the parameters."""
        return self.embed.dtype

    def initial(self) -> Float[Tensor, "m s f"]:
        """h⁰ of every species."""
        return self.traits @ self.by_trait + self.embed

    @property
    def cutoff(self) -> float:
        """Å."""
        return self.settings.cutoff

    @property
    def reach(self) -> float:
        """Å, how far away the removal of an atom can change a force: 2 T cutoff (energies: T cutoff)."""
        return 2 * self.settings.n_steps * self.settings.cutoff

    def forward(self, vectors: Float[Tensor, "g e 3"], graph: Graph, measure: bool = False) -> Float[Tensor, "m n"]:
        """Energy of each atom, eV, without E0.

        Args:
            vectors: r_vw (Å) as each member sees it, or one for all; those of the graph are not looked at.
            graph: species and pairs.
            measure: first set the normalisation of the messages by these atoms.
        """
        r, harmonics, sums = self.basis(vectors, graph, self.cohesion.table(), self.cohesion.spacing)
        pairs = Pairs(graph.centre, graph.neighbour, self.basis.pair(graph), r, harmonics, self.basis.spacing)
        h = self.initial()[:, graph.species]
        states = [h]
        for message, update in zip(self.messages, self.updates, strict=True):
            table = message.table(self.basis.rows, self.basis.mix)  # type: ignore[operator]
            h = update(message(h, table, pairs, measure), h)
            states.append(h)
        epsilon = self.out(nn.functional.silu(self.hidden(torch.cat(states, dim=2)))).squeeze(2)
        bound, n = self.cohesion(sums, graph.species)
        return self.energy_scale * n * epsilon + bound

    @torch.no_grad()
    def standardise(self, graph: Graph) -> None:
        """Whiten the basis and normalise the messages by the atoms of a graph."""
        self.basis.whiten(graph)
        self(graph.vectors[None], graph, measure=True)

    def energies_and_gradients(self, graph: Graph) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m e 3"]]:
        """Energy of each atom (eV, without E0), and ∂E/∂r_vw of each pair (eV/Å), of every member, by autograd.

        Each member has its own copy of the pairs, so that one backward pass gives every member's own gradient.
        """
        vectors = graph.vectors.expand(self.settings.n_members, -1, -1).contiguous().requires_grad_(True)
        with torch.enable_grad():
            energies = self(vectors, graph)
            (g,) = torch.autograd.grad(energies.sum(), vectors)
        return energies.detach(), g


def seeded(settings: NetworkSettings, species: Sequence[int], seed: int) -> VIMPNN:
    """A network with initial weights drawn under a seed; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        return VIMPNN(settings, species)
