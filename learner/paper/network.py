"""The paper's networks: baseline, MPNN and VIMPNN with its five ways to combine messages.

Symbols: v an atom, w its neighbour, h_v its hidden state, e_vw the edge, BT a bond type, s_BT(v,w) how much of that
type the pair is (0 or 1 if hard, smooth in r if soft), u(r) an envelope that ends smoothly at the cutoff.

    h⁰_v   = embed(Z_v)
    M(h_v, h_w, e_vw) = W₂ σ(W₁ [h_v, h_w, e_vw] + b)                                      the perceptron, σ = SiLU
    e_vw   = φ(r_vw)                       baseline, VIMPNN
           = [φ(r_vw), s(v,w)]             MPNN, and VIMPNN with edge features
    m_v    = Σ_w u M(h_v, h_w, e_vw),      h'_v = GRU(m_v, h_v)                                     baseline, MPNN
    m|BT_v = Σ_w u s_BT M_BT(h_v, h_w, e_vw)                                                       VIMPNN, and then
        a.i    m_v = Σ_BT Λ_BT ⊙ m|BT_v,   h'_v = GRU(m_v, h_v)            vector weight
        a.ii   m_v = Σ_BT λ_BT m|BT_v,     h'_v = GRU(m_v, h_v)            scalar weight
        b.i    m_v = [m|BT_v]_BT,          h'_v = GRU(m_v, h_v)            concatenation
        b.ii   h'_v = Σ_BT λ_BT GRU(m|BT_v, h_v)                           one GRU, learnt scaling
        c      h'_v = Σ_BT GRU_BT(m|BT_v, h_v)                             one GRU each
    E      = Σ_v (a[Z_v] + σ_E R(h⁰_v, …, h^T_v)),    a, σ_E by least squares before training

Each step has weights of its own. Λ and λ of a.i and a.ii start at 1, where VIMPNN is the baseline: from n_types^-½ it
learns more slowly. W₂ is linear, so it is applied after the sum over w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from learner.bonds import bessel
from learner.layers import MemberGRU, gather_rows
from learner.valence import PairTables, bonded, channel_weights, envelope, possible_channels

from .auxiliaries import AuxiliaryReadout
from .graph import Graph
from .settings import PaperSettings


@dataclass(frozen=True)
class Edges:
    """What the messages see of every edge.

    Attributes:
        features: (n_atoms, n_neighbours, n_features) e_vw.
        weights: (n_atoms, n_types, n_neighbours) u s_BT; u alone where the network has one message for all.
        neighbours: (n_atoms, n_neighbours) index of w.
    """

    features: Tensor
    weights: Tensor
    neighbours: Tensor


class Message(nn.Module):
    """m|BT of every atom, by one perceptron M for all bond types or one for each."""

    def __init__(self, n_features: int, n_edge: int, n_types: int, per_type: bool) -> None:
        super().__init__()
        self.n_types = n_types
        n_own = n_types if per_type else 1
        self.own = nn.ModuleList(nn.Linear(n_features, n_features) for _ in range(n_own))
        self.other = nn.ModuleList(nn.Linear(n_features, n_features, bias=False) for _ in range(n_own))
        self.edge = nn.ModuleList(nn.Linear(n_edge, n_features, bias=False) for _ in range(n_own))
        self.out = nn.ModuleList(nn.Linear(n_features, n_features, bias=False) for _ in range(n_own))

    def forward(self, h: Float[Tensor, "n f"], edges: Edges) -> Float[Tensor, "n t f"]:
        """One row for each bond type."""
        weights = edges.weights.split(1 if len(self.own) > 1 else self.n_types, dim=1)
        parts = zip(weights, self.own, self.other, self.edge, self.out, strict=True)
        rows = []
        for weight, own, other, edge, out in parts:
            hidden = own(h).unsqueeze(1) + gather_rows(other(h), edges.neighbours) + edge(edges.features)
            rows.append(out(torch.bmm(weight, nn.functional.silu(hidden))))
        return torch.cat(rows, dim=1)


class Update(nn.Module):
    """h' from the messages of all bond types: the paper's combinations a.i, a.ii, b.i, b.ii and c."""

    def __init__(self, n_features: int, n_types: int, combination: str) -> None:
        super().__init__()
        self.combination = combination
        if combination == "a.i":
            self.weight = nn.Parameter(torch.ones(n_types, n_features))
        elif combination == "a.ii":
            self.weight = nn.Parameter(torch.ones(n_types, 1))
        elif combination == "b.ii":
            self.weight = nn.Parameter(torch.full((n_types, 1, 1), 1 / n_types))
        n_in = n_types * n_features if combination == "b.i" else n_features
        self.gru = MemberGRU(n_types if combination == "c" else 1, n_in, n_features)

    def forward(self, m: Float[Tensor, "n t f"], h: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        """New hidden states."""
        match self.combination:
            case "a.i" | "a.ii":
                return self.gru((self.weight * m).sum(1)[None], h[None])[0]
            case "b.i":
                return self.gru(m.flatten(1)[None], h[None])[0]
            case "b.ii":
                n, n_types, _ = m.shape
                every = self.gru(m.transpose(0, 1).reshape(1, n_types * n, -1), h.repeat(n_types, 1)[None])
                return (self.weight * every.reshape(n_types, n, -1)).sum(0)
            case _:
                return self.gru(m.transpose(0, 1).contiguous(), h.expand(m.shape[1], -1, -1).contiguous()).sum(0)


class PaperNetwork(nn.Module):
    """One network of the paper.

    Args:
        settings: which, and how wide.
        species: atomic numbers it knows.
        hard: names of the hard bond types it tells apart; not used with soft types.
    """

    r0: Tensor
    ionic: Tensor
    metallic: Tensor

    def __init__(self, settings: PaperSettings, species: Sequence[int], hard: Sequence[str] = ()) -> None:
        super().__init__()
        self.settings, self.species = settings, tuple(int(z) for z in species)
        self.types = tuple(hard) if settings.bond_types == "hard" else possible_channels(self.species)
        pair = PairTables(self.species)
        for name in ("r0", "ionic", "metallic"):
            self.register_buffer(name, torch.from_numpy(getattr(pair, name)), persistent=False)
        f, by_type = settings.n_features, settings.network == "vimpnn"
        n_types = len(self.types) if by_type else 1
        n_edge = settings.n_radial + (len(self.types) if self.types_are_features else 0)
        combination = settings.combination if by_type else "c"  # of one message: nothing to combine
        self.embed = nn.Parameter(torch.randn(len(self.species), f))
        per_type = settings.message == "per_type"
        steps = range(settings.n_steps)
        self.messages = nn.ModuleList(Message(f, n_edge, n_types, per_type) for _ in steps)
        self.updates = nn.ModuleList(Update(f, n_types, combination) for _ in steps)
        n_states = f * (settings.n_steps + 1)
        self.readout = nn.Sequential(
            nn.Linear(n_states, settings.n_readout), nn.SiLU(), nn.Linear(settings.n_readout, 1)
        )
        self.auxiliaries = AuxiliaryReadout(settings, self.species, n_states)
        self.to(torch.float64 if settings.dtype == "float64" else torch.float32)

    @property
    def types_are_features(self) -> bool:
        """Whether an edge's features hold its bond type."""
        return self.settings.network == "mpnn" or self.settings.edge_features

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the parameters."""
        return self.embed.dtype

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.embed.device

    def edges(self, graph: Graph, types: Int[Tensor, "n w"] | None) -> Edges:
        """Features and weights of every edge; smooth in the vectors of the graph.

        Args:
            graph: the batch.
            types: index of the hard bond type of each edge; None with soft types.
        """
        r = torch.linalg.vector_norm(graph.vectors, dim=-1)
        u = envelope(r, self.settings.cutoff)
        shares = self._shares(r, u, graph, types)
        features = bessel(r, u, self.settings.n_radial, self.settings.cutoff).transpose(1, 2)
        if self.types_are_features:
            features = torch.cat([features, shares], dim=1)
        weights = u.unsqueeze(1) * shares if self.settings.network == "vimpnn" else u.unsqueeze(1)
        return Edges(features.transpose(1, 2), weights, graph.neighbours)

    def _shares(self, r: Tensor, u: Tensor, graph: Graph, types: Tensor | None) -> Float[Tensor, "n t w"]:
        """s_BT of every edge."""
        if types is not None:
            return nn.functional.one_hot(types, len(self.types)).transpose(1, 2).to(r.dtype)
        pair = (graph.species[:, None], graph.species[graph.neighbours])
        b = bonded(r, self.r0[pair], u)
        return torch.stack(
            channel_weights(b, r, self.r0[pair], self.ionic[pair], self.metallic[pair], self.types), dim=1
        ).to(r.dtype)

    def states(self, graph: Graph, types: Int[Tensor, "n w"] | None) -> Float[Tensor, "n s"]:
        """[h⁰_v, …, h^T_v] of every atom."""
        edges = self.edges(graph, types)
        h = self.embed[graph.species]
        states = [h]
        for message, update in zip(self.messages, self.updates, strict=True):
            h = update(message(h, edges), h)
            states.append(h)
        return torch.cat(states, dim=1)

    def forward(self, graph: Graph, types: Int[Tensor, "n w"] | None) -> Float[Tensor, " n"]:
        """R(h⁰_v, …, h^T_v) of every atom, in units of σ_E."""
        return self.readout(self.states(graph, types)).squeeze(1)


class MPNN(PaperNetwork):
    """The network that VIMPNN is measured against: one message for all bonds, the bond type a feature of the edge.

    Args:
        species: atomic numbers it knows. settings: of width and bond types; `network` is `mpnn` whatever they say.
        hard: names of the hard bond types it tells apart; not used with soft types.
    """

    def __init__(
        self,
        species: Sequence[int],
        settings: PaperSettings = PaperSettings(bond_types="valence"),
        hard: Sequence[str] = (),
    ) -> None:
        super().__init__(settings.model_copy(update={"network": "mpnn"}), species, hard)
