"""The basis of a bond: functions of its length, tabulated for each pair of species, and harmonics of its direction.

    rows        R = s_BT(r) φ_k(r),  φ_k = u(r) sin(kπx)/x, x = r/cutoff        s_BT: share of a bond type, `valence.py`
    harmonics   Y_1m(r̂), Y_2m(r̂)                                                real, Σ_m Y_lm² = 1

None of it depends on what is learnt. Rows are tabulated, not computed: a filter, which is a sum of rows with learnt
weights, is a table too, and so costs a pair of atoms one interpolation whatever the number of channels and functions.
What `cohesion.py` sums over neighbours is read from its table in the same pass over the pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from . import kernels
from .graph import Graph
from .settings import NetworkSettings
from .tables import interpolate, tabulate
from .valence import PairTables, bonded, channel_weights, smooth_cutoff

NODES = 128
"""Of the table of rows: 0.04 Å apart, where cubic interpolation is good to some 1e-5."""
WHITEN_FLOOR = 1.0

Bonds = tuple[Float[Tensor, "g e"], Float[Tensor, "g e 8"], Float[Tensor, "g n k"]]
"""Lengths (Å) and harmonics of pairs, sums of atoms; g = 1 where all members see the same vectors."""


def bessel(r: Float[Tensor, "*e"], u: Float[Tensor, "*e"], n_radial: int, cutoff: float) -> Float[Tensor, "*e k"]:
    """φ_k(r) = u(r) sin(kπx)/x with x = r/cutoff, for k = 1..n_radial."""
    k = torch.arange(1, n_radial + 1, dtype=r.dtype, device=r.device)
    x = (r / cutoff).unsqueeze(-1)
    return torch.sin(x * (k * math.pi)) * (u.unsqueeze(-1) / x)


class BondBasis(nn.Module):
    """Rows and harmonics of pairs of atoms.

    Args:
        settings: cutoff and number of radial functions.
        species: atomic numbers.
        channels: bond types.

    Attributes:
        rows: (n_pairs_of_species, 2 nodes, n_rows) values and slopes times the spacing of a node, in turn.
        mix: (n_channels, n_radial, n_radial) change of basis of the rows of a channel, set by `whiten`.
        pair_of: (n_species, n_species) index of a pair of species, the same both ways.
    """

    rows: Tensor
    mix: Tensor
    pair_of: Tensor

    def __init__(self, settings: NetworkSettings, species: Sequence[int], channels: tuple[str, ...]) -> None:
        super().__init__()
        self.settings, self.species, self.channels = settings, tuple(species), channels
        self.n_rows = len(channels) * settings.n_radial
        self.spacing = settings.cutoff / (NODES - 1)
        n = len(self.species)
        first, second = torch.triu_indices(n, n)
        pair_of = torch.zeros(n, n, dtype=torch.int64)
        pair_of[first, second] = pair_of[second, first] = torch.arange(len(first))
        self.register_buffer("pair_of", pair_of, persistent=False)
        self.register_buffer("rows", self._tabulate(), persistent=False)
        self.register_buffer("mix", torch.eye(settings.n_radial).repeat(len(channels), 1, 1))

    def _tabulate(self) -> Tensor:
        """Rows for each pair of species, in double precision."""
        pair, tables = PairTables(self.species), []
        for v, w in torch.triu_indices(len(self.species), len(self.species)).T.tolist():
            shares = (float(pair.r0[v, w]), float(pair.ionic[v, w]), float(pair.metallic[v, w]))
            tables.append(tabulate(partial(self._radial, shares=shares), self.settings.cutoff, NODES))
        return torch.stack(tables).contiguous()

    def _radial(self, r: Float[Tensor, " e"], shares: tuple[float, float, float]) -> Float[Tensor, "e k"]:
        """Rows at distances r (Å) of two atoms; shares: r0, ionic, metallic of the pair."""
        u = smooth_cutoff(r, self.settings.cutoff)
        r0, ionic, metallic = (torch.full_like(r, x) for x in shares)
        phi = bessel(r, u, self.settings.n_radial, self.settings.cutoff)
        weights = channel_weights(bonded(r, r0, u), r, r0, ionic, metallic, self.channels)
        return torch.cat([phi * w[:, None] for w in weights], dim=1)

    def forward(self, vectors: Float[Tensor, "g e 3"], graph: Graph, summed: Tensor, spacing: float) -> Bonds:
        """Lengths and harmonics of every pair, and sums over every atom's neighbours.

        Args:
            vectors: r_vw, Å, as each member sees it, or one for all; those of the graph are not looked at.
            graph: species and pairs.
            summed: (n_pairs_of_species, 2 nodes, k) table of what is summed.
            spacing: Å, of its nodes.
        """
        pair, n_atoms = self.pair(graph), len(graph.species)
        if vectors.device.type != "cpu" or vectors.requires_grad:
            return bonds_by_torch(vectors, pair, graph, summed, spacing)
        vectors = vectors.contiguous()
        r, harmonics = vectors.new_empty(vectors.shape[:2]), vectors.new_empty(*vectors.shape[:2], 8)
        sums = vectors.new_zeros(len(vectors), n_atoms, summed.shape[2])
        arrays = (x.numpy() for x in (vectors, pair, graph.centre, graph.neighbour, summed))
        kernels.bonds_forward(*arrays, spacing, r.numpy(), harmonics.numpy(), sums.numpy())
        return r, harmonics, sums

    def pair(self, graph: Graph) -> Int[Tensor, " e"]:
        """Index of each pair's species in the tables."""
        return self.pair_of[graph.species[graph.centre], graph.species[graph.neighbour]]

    @torch.no_grad()
    def whiten(self, graph: Graph, floor: float = WHITEN_FLOOR) -> None:
        """Mix the rows of each channel so that their sums over neighbours vary independently, with variance about 1.

        A change of basis of the filters, which makes gradient descent faster. Directions of little variance are damped
        by `floor`, relative to the largest, so that the unseen is not blown up.

        Args:
            graph: whose atoms are looked at.
        """
        r = torch.linalg.vector_norm(graph.vectors, dim=1)
        rows = interpolate(self.rows[None], self.spacing, self.pair(graph), r[None])[0]
        sums = rows.new_zeros(len(graph.species), self.n_rows)
        sums.index_add_(0, graph.centre, rows).index_add_(0, graph.neighbour, rows)
        for mix, x in zip(self.mix, sums.double().chunk(len(self.channels), dim=1), strict=True):
            centred = x - x.mean(0)
            values, axes = torch.linalg.eigh(centred.T @ centred / max(len(x), 1))
            if values[-1] > 1e-12:
                mix.copy_(axes / torch.sqrt(values.clamp(min=0) + floor * values[-1]))


def bonds_by_torch(
    vectors: Float[Tensor, "g e 3"], pair: Int[Tensor, " e"], graph: Graph, table: Tensor, spacing: float
) -> Bonds:
    """What `BondBasis` gives, in operations that every device has and that can be differentiated twice."""
    r = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    values = interpolate(table.expand(len(vectors), -1, -1, -1), spacing, pair, r[..., 0])
    sums = values.new_zeros(len(vectors), len(graph.species), table.shape[2])
    sums = sums.index_add(1, graph.centre, values).index_add(1, graph.neighbour, values)
    x, y, z = (vectors / r).unbind(-1)
    root = kernels.ROOT_3
    harmonics = [x, y, z, root * x * y, root * y * z, root * z * x]
    harmonics += [z * z - 0.5 * (x * x + y * y), 0.5 * root * (x * x - y * y)]
    return r[..., 0], torch.stack(harmonics, dim=-1), sums
