"""The basis of a bond: functions of its length, tabulated for each pair of species, and harmonics of its direction.

    rows        R = s_BT(r) φ_k(r),  φ_k = u(r) sin(kπx)/x, x = r/cutoff        s_BT: share of a bond type, `valence.py`
    extras      u(r), b(r), ½ V_ZBL(r)                                          closeness, bondedness, repulsion (eV)
    harmonics   Y_1m(r̂), Y_2m(r̂)                                                real, Σ_m Y_lm² = 1

None of it depends on what is learnt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from . import kernels
from .repulsion import OFF, zbl
from .settings import NetworkSettings
from .valence import PairTables, bonded, channel_weights, smooth_cutoff

NODES = 2048
NEAREST = 0.1  # Å; nearer, the functions go on in a straight line
WHITEN_FLOOR = 1e-2
N_EXTRAS = 3


class BondBasis(nn.Module):
    """Rows, extras and harmonics of edges.

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
        r = (torch.arange(NODES, dtype=torch.float64) * self.spacing).clamp(min=NEAREST)
        ones, tables = torch.ones_like(r), []
        pair = PairTables(self.species)
        for v, z_v in enumerate(self.species):
            for w, z_w in enumerate(self.species):
                constants = (float(pair.r0[v, w]), float(pair.ionic[v, w]), float(pair.metallic[v, w]))
                values, slopes = torch.func.jvp(lambda x, c=constants, z=(z_v, z_w): self._radial(x, *c, *z), (r,), (ones,))
                nearer = torch.arange(NODES) * self.spacing < NEAREST
                away = (torch.arange(NODES, dtype=torch.float64) * self.spacing - NEAREST)[:, None]
                values = torch.where(nearer[:, None], values + slopes * away, values)
                tables.append(torch.stack([values, slopes * self.spacing], dim=1))
        return torch.stack(tables)

    def _radial(
        self, r: Float[Tensor, " e"], r0: float, ionic: float, metallic: float, z_v: int, z_w: int
    ) -> Float[Tensor, "e k"]:
        """Rows and extras at distances r (Å)."""
        u = smooth_cutoff(r, self.settings.cutoff)
        full = torch.full_like(r, r0)
        b = bonded(r, full, u)
        weights = channel_weights(b, r, full, torch.full_like(r, ionic), torch.full_like(r, metallic), self.channels)
        k = torch.arange(1, self.settings.n_radial + 1, dtype=r.dtype)
        x = (r / self.settings.cutoff)[:, None]
        phi = torch.sin(x * (k * math.pi)) * (u[:, None] / x)
        rows = torch.cat([phi * w[:, None] for w in weights], dim=1)
        return torch.cat([rows, torch.stack([u, b, 0.5 * zbl(r, z_v, z_w, OFF * r0)], dim=1)], dim=1)

    def forward(
        self, vectors: Float[Tensor, "m e 3"], pair: Int[Tensor, " e"]
    ) -> tuple[Float[Tensor, "m e k"], Float[Tensor, "m e 3"], Float[Tensor, "m e 8"]]:
        """Rows, extras and harmonics of every edge, as each member sees it.

        Args:
            vectors: r_vw, Å.
            pair: species of v times n_species plus species of w.
        """
        if vectors.device.type == "cpu":
            return _Bonds.apply(vectors, pair, self.table, self.spacing, self.n_rows)  # type: ignore[no-any-return]
        return bonds_by_torch(vectors, pair, self.table, self.spacing, self.n_rows)

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
    vectors: Float[Tensor, "m e 3"], pair: Int[Tensor, " e"], table: Tensor, spacing: float, n_rows: int
) -> tuple[Float[Tensor, "m e k"], Float[Tensor, "m e 3"], Float[Tensor, "m e 8"]]:
    """What `BondBasis` gives, in operations that every device has and that can be differentiated twice."""
    r = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    s = r / spacing
    i = s.detach().floor().clamp(max=table.shape[1] - 2).long()
    t = (s - i).clamp(max=1.0)
    low, high = table[pair, i[..., 0]], table[pair, i[..., 0] + 1]
    c = t * t * (3 - 2 * t)
    radial = (1 - c) * low[..., 0, :] + t * (1 - t) ** 2 * low[..., 1, :] + c * high[..., 0, :]
    radial = radial + t * t * (t - 1) * high[..., 1, :]
    x, y, z = (vectors / r).unbind(-1)
    root = kernels.ROOT_3
    harmonics = [x, y, z, root * x * y, root * y * z, root * z * x]
    harmonics += [z * z - 0.5 * (x * x + y * y), 0.5 * root * (x * x - y * y)]
    return radial[..., :n_rows], radial[..., n_rows:], torch.stack(harmonics, dim=-1)


class _Bonds(torch.autograd.Function):
    """By the compiled kernels."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, vectors: Tensor, pair: Tensor, table: Tensor, spacing: float, n_rows: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        m, e = vectors.shape[:2]
        r, *out = (vectors.new_empty(m, e, k) for k in (1, n_rows, N_EXTRAS, 8))
        ctx.save_for_backward(r[..., 0], pair, table, out[2])
        ctx.spacing = table.new_tensor(spacing).numpy()[()]
        arrays = [x.detach().numpy() for x in (vectors.contiguous(), pair, table)]
        kernels.bonds_forward(*arrays, ctx.spacing, r[..., 0].numpy(), *(x.numpy() for x in out))
        return tuple(out)  # type: ignore[return-value]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        r, pair, table, harmonics = ctx.saved_tensors
        g_vectors = r.new_empty(*r.shape, 3)
        arrays = [x.detach().numpy() for x in (r, pair, table)]
        given = [g.contiguous().numpy() for g in grads]
        kernels.bonds_backward(*arrays, ctx.spacing, harmonics.detach().numpy(), *given, g_vectors.numpy())
        return g_vectors, None, None, None, None
