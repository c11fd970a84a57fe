"""The basis of a bond: functions of its length, tabulated for each pair of species, and harmonics of its direction.

    rows        R = s_BT(r) φ_k(r),  φ_k = u(r) sin(kπx)/x, x = r/cutoff        s_BT: share of a bond type, `valence.py`
    sums        Σ_w u(r), Σ_w b(r), ½ Σ_w V_ZBL(r)                              coordination, bondedness, repulsion (eV)
    harmonics   Y_1m(r̂), Y_2m(r̂)                                                real, Σ_m Y_lm² = 1

None of it depends on what is learnt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import jvp

from . import kernels
from .repulsion import OFF, zbl
from .settings import NetworkSettings
from .valence import PairTables, bonded, channel_weights, smooth_cutoff

NODES = 2048
NEAREST = 0.1  # Å; nearer, the functions go on in a straight line
WHITEN_FLOOR = 1e-2
N_SUMS = 3

Bonds = tuple[Float[Tensor, "m e n_rows"], Float[Tensor, "m n 3"], Float[Tensor, "m e 8"]]
"""Rows, sums, harmonics."""


def bessel(r: Float[Tensor, "*e"], u: Float[Tensor, "*e"], n_radial: int, cutoff: float) -> Float[Tensor, "*e k"]:
    """φ_k(r) = u(r) sin(kπx)/x with x = r/cutoff, for k = 1..n_radial."""
    k = torch.arange(1, n_radial + 1, dtype=r.dtype, device=r.device)
    x = (r / cutoff).unsqueeze(-1)
    return torch.sin(x * (k * math.pi)) * (u.unsqueeze(-1) / x)


class BondBasis(nn.Module):
    """Rows and harmonics of edges, and sums over them.

    Args:
        settings: cutoff and number of radial functions.
        species: atomic numbers.
        channels: bond types.

    Attributes:
        table: (n_species², nodes, 2, n_rows + 3) values, and slopes times the spacing of the nodes.
        mix: (n_channels, n_radial, n_radial) change of basis of the rows of a channel, set by `whiten`.
    """

    table: Tensor
    mix: Tensor

    def __init__(self, settings: NetworkSettings, species: Sequence[int], channels: tuple[str, ...]) -> None:
        super().__init__()
        self.settings, self.species, self.channels = settings, tuple(species), channels
        self.n_rows = len(channels) * settings.n_radial
        self.spacing = settings.cutoff / (NODES - 1)
        self.register_buffer("table", self._tabulate(), persistent=False)
        self.register_buffer("mix", torch.eye(settings.n_radial).repeat(len(channels), 1, 1))

    def _tabulate(self) -> Tensor:
        """The table, in double precision."""
        nodes = torch.arange(NODES, dtype=torch.float64) * self.spacing
        r = nodes.clamp(min=NEAREST)
        beyond = (nodes - r)[:, None]
        pair = PairTables(self.species)
        tables = []
        for v, z_v in enumerate(self.species):
            for w, z_w in enumerate(self.species):
                shares = (float(pair.r0[v, w]), float(pair.ionic[v, w]), float(pair.metallic[v, w]))
                radial = partial(self._radial, z=(z_v, z_w), shares=shares)
                values, slopes = jvp(radial, (r,), (torch.ones_like(r),))  # type: ignore[misc]
                tables.append(torch.stack([values + slopes * beyond, slopes * self.spacing], dim=1))
        return torch.stack(tables)

    def _radial(
        self, r: Float[Tensor, " e"], z: tuple[int, int], shares: tuple[float, float, float]
    ) -> Float[Tensor, "e k"]:
        """Rows, and what is summed, at distances r (Å) of two atoms; shares: r0, ionic, metallic of the pair."""
        u = smooth_cutoff(r, self.settings.cutoff)
        r0, ionic, metallic = (torch.full_like(r, x) for x in shares)
        b = bonded(r, r0, u)
        phi = bessel(r, u, self.settings.n_radial, self.settings.cutoff)
        weights = channel_weights(b, r, r0, ionic, metallic, self.channels)
        sums = torch.stack([u, b, 0.5 * zbl(r, *z, OFF * shares[0])], dim=1)
        return torch.cat([*(phi * w[:, None] for w in weights), sums], dim=1)

    def forward(
        self, vectors: Float[Tensor, "m e 3"], pair: Int[Tensor, " e"], centre: Int[Tensor, " e"], n_atoms: int
    ) -> Bonds:
        """Rows and harmonics of every edge and sums of every atom, as each member sees them.

        Args:
            vectors: r_vw, Å.
            pair: species of v times n_species plus species of w.
            centre: v.
            n_atoms: of the graph.
        """
        compute = _Bonds.apply if vectors.device.type == "cpu" else bonds_by_torch
        return compute(vectors, pair, centre, n_atoms, self.table, self.spacing, self.n_rows)

    @torch.no_grad()
    def whiten(self, sums: Float[Tensor, "n k"], floor: float = WHITEN_FLOOR) -> None:
        """Mix the rows of each channel so that their sums over neighbours vary independently, with variance about 1.

        A change of basis of the filters, which makes gradient descent faster. Directions of little variance are damped
        by `floor`, relative to the largest, so that the unseen is not blown up.

        Args:
            sums: Σ_w R of many atoms.
        """
        for mix, x in zip(self.mix, sums.double().chunk(len(self.channels), dim=1), strict=True):
            centred = x - x.mean(0)
            values, axes = torch.linalg.eigh(centred.T @ centred / max(len(x), 1))
            if values[-1] > 1e-12:
                mix.copy_(axes / torch.sqrt(values.clamp(min=0) + floor * values[-1]))


def bonds_by_torch(
    vectors: Float[Tensor, "m e 3"],
    pair: Int[Tensor, " e"],
    centre: Int[Tensor, " e"],
    n_atoms: int,
    table: Tensor,
    spacing: float,
    n_rows: int,
) -> Bonds:
    """What `BondBasis` gives, in operations that every device has and that can be differentiated twice."""
    r = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    s = r / spacing
    i = s.detach().floor().clamp(max=table.shape[1] - 2).long()
    t = (s - i).clamp(max=1.0)
    low, high = table[pair, i[..., 0]], table[pair, i[..., 0] + 1]
    c = t * t * (3 - 2 * t)
    radial = (1 - c) * low[..., 0, :] + t * (1 - t) ** 2 * low[..., 1, :] + c * high[..., 0, :]
    radial = radial + t * t * (t - 1) * high[..., 1, :]
    sums = radial.new_zeros(len(vectors), n_atoms, N_SUMS).index_add(1, centre, radial[..., n_rows:])
    x, y, z = (vectors / r).unbind(-1)
    root = kernels.ROOT_3
    harmonics = [x, y, z, root * x * y, root * y * z, root * z * x]
    harmonics += [z * z - 0.5 * (x * x + y * y), 0.5 * root * (x * x - y * y)]
    return radial[..., :n_rows], sums, torch.stack(harmonics, dim=-1)


class _Bonds(torch.autograd.Function):
    """By the compiled kernels."""

    @staticmethod
    def forward(
        ctx: Any,
        vectors: Tensor,
        pair: Tensor,
        centre: Tensor,
        n_atoms: int,
        table: Tensor,
        spacing: float,
        n_rows: int,
    ) -> Bonds:
        m, e = vectors.shape[:2]
        r, rows, harmonics = (vectors.new_empty(m, e, *k) for k in ((), (n_rows,), (8,)))
        sums = vectors.new_zeros(m, n_atoms, N_SUMS)
        ctx.save_for_backward(r, pair, centre, table, harmonics)
        ctx.spacing = spacing
        arrays = (x.detach().numpy() for x in (vectors.contiguous(), pair, centre, table))
        kernels.bonds_forward(*arrays, spacing, r.numpy(), rows.numpy(), sums.numpy(), harmonics.numpy())
        return rows, sums, harmonics

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        arrays = (x.detach().numpy() for x in ctx.saved_tensors)
        r = ctx.saved_tensors[0]
        g_vectors = r.new_empty(*r.shape, 3)
        kernels.bonds_backward(*arrays, ctx.spacing, *(g.contiguous().numpy() for g in grads), g_vectors.numpy())
        return g_vectors, None, None, None, None, None, None
