"""The basis of a bond, and how it changes with the bond's vector.

The rows B_vw of an edge, with s_BT the valence channels, φ_k the radial functions and Y_l real spherical harmonics:

    s_BT(r) φ_k(r)        n_channels × n_radial          scalar
    Y_1m(r̂) φ_k(r)       3 × n_radial_directional       first moments
    Y_2m(r̂) φ_k(r)       5 × n_radial_directional       second moments

Mixed linearly before training (`BondBasis.whiten`), each kind within itself.

The rows depend on positions and species only, not on weights: computed once for all members, and constants in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad

from .graph import Graph
from .settings import NetworkSettings
from .valence import PairTables, bonded, channel_weights, envelope

ROOT_3 = math.sqrt(3.0)
WHITEN_FLOOR = 1e-2


def bessel(r: Float[Tensor, "n w"], u: Float[Tensor, "n w"], n_radial: int, cutoff: float) -> Float[Tensor, "n k w"]:
    """φ_k(r) = u(r) sin(kπx)/x with x = r/cutoff, for k = 1..n_radial."""
    k = torch.arange(1, n_radial + 1, dtype=r.dtype, device=r.device)[:, None]
    x = (r / cutoff).unsqueeze(1)
    return torch.sin(x * (k * math.pi)) * (u.unsqueeze(1) / x)


def second_harmonics(unit: Float[Tensor, "n 3 w"]) -> Float[Tensor, "n 5 w"]:
    """Real spherical harmonics of l = 2 with Σ_m Y_2m² = 1."""
    x, y, z = unit.unbind(1)
    rows = [
        ROOT_3 * x * y,
        ROOT_3 * y * z,
        ROOT_3 * z * x,
        z * z - 0.5 * (x * x + y * y),
        0.5 * ROOT_3 * (x * x - y * y),
    ]
    return torch.stack(rows, dim=1)


def _second_gradient(p: Float[Tensor, "m n 5 w"], unit: Float[Tensor, "n 3 w"]) -> Float[Tensor, "m n 3 w"]:
    """Σ_m p_m ∇(the polynomial of Y_2m) at the unit vector."""
    x, y, z = unit.unbind(1)
    xy, yz, zx, zz, xx = p.unbind(2)
    xy, yz, zx, xx = ROOT_3 * xy, ROOT_3 * yz, ROOT_3 * zx, ROOT_3 * xx
    rows = [(xx - zz) * x + xy * y + zx * z, xy * x - (xx + zz) * y + yz * z, zx * x + yz * y + 2 * zz * z]
    return torch.stack(rows, dim=2)


@dataclass(frozen=True)
class Bonds:
    """Every edge of a batch: its rows of B, and what it takes to turn ∂E/∂B into ∂E/∂r_vw.

    Attributes:
        r: (n_atoms, n_neighbours) Å; u, u_slope: the envelope and its derivative.
        unit: (n_atoms, 3, n_neighbours) r̂.
        rows: (n_atoms, n_rows, n_neighbours + 1) B, mixed; the last column is the atom's edge to itself, −mean.
        scalar_slope: (n_atoms, n_scalar, n_neighbours) derivative of the scalar rows by r.
        radial, radial_slope: for l = 1 and 2 (n_atoms, n_radial_directional, n_neighbours), φ_k and φ'_k.
        angular: two of (n_atoms, 2l + 1, n_neighbours), Y_l.
    """

    r: Tensor
    u: Tensor
    u_slope: Tensor
    unit: Tensor
    rows: Tensor
    scalar_slope: Tensor
    radial: tuple[Tensor, ...]
    radial_slope: tuple[Tensor, ...]
    angular: tuple[Tensor, ...]

    def pull_back(
        self, g_r: Float[Tensor, "n w"], g_coordination: Float[Tensor, "m n"], g_rows: Float[Tensor, "m n r w+1"]
    ) -> Float[Tensor, "m n 3 w"]:
        """∂E/∂r_vw of every member from its gradients by B, by Σ_w u, and from ∂E/∂r that all members share.

        ∂(Y_lm φ)/∂r_vw = r̂ (φ' − l φ/r) Y_lm + (φ/r) ∇(polynomial of Y_lm)(r̂)
        """
        sizes = [y.shape[1] * phi.shape[1] for y, phi in zip(self.angular, self.radial, strict=True)]
        g_scalar, *g_moments = g_rows[..., :-1].split([self.scalar_slope.shape[1], *sizes], dim=2)
        along = (g_scalar * self.scalar_slope).sum(2) + g_coordination.unsqueeze(2) * self.u_slope + g_r
        across: Tensor | None = None
        parts = zip(g_moments, self.radial, self.radial_slope, self.angular, strict=True)
        for order, (g, phi, slope, y) in enumerate(parts, start=1):
            g = g.unflatten(2, (y.shape[1], phi.shape[1]))
            p = (g * phi.unsqueeze(1)).sum(3) / self.r.unsqueeze(1)
            along = along + (((g * slope.unsqueeze(1)).sum(3) - order * p) * y).sum(2)
            across = p if across is None else across + _second_gradient(p, self.unit)
        pulled = along.unsqueeze(2) * self.unit
        return pulled if across is None else pulled + across


class BondBasis(nn.Module):
    """Works out `Bonds` from the edge vectors of a graph."""

    r0: Tensor
    ionic: Tensor
    metallic: Tensor
    scalar_mix: Tensor
    scalar_mean: Tensor
    moment_mix: Tensor

    def __init__(self, settings: NetworkSettings, species: Sequence[int], channels: tuple[str, ...]) -> None:
        super().__init__()
        self.settings, self.channels = settings, channels
        pair = PairTables(species)
        for name in ("r0", "ionic", "metallic"):
            self.register_buffer(name, torch.from_numpy(getattr(pair, name)), persistent=False)
        k = settings.n_radial_directional if settings.directional else 0
        self.n_scalar, self.n_first, self.n_second = len(channels) * settings.n_radial, 3 * k, 5 * k
        self.register_buffer("scalar_mix", torch.eye(self.n_scalar))
        self.register_buffer("scalar_mean", torch.zeros(self.n_scalar))
        self.register_buffer("moment_mix", torch.eye(k).repeat(2, 1, 1))

    def _radial(self, r: Tensor, graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
        """u, scalar rows and φ_k of the moments at distances r."""
        s = self.settings
        z_v, z_w = graph.species[:, None], graph.species[graph.neighbours]
        u = envelope(r, s.cutoff)
        b = bonded(r, self.r0[z_v, z_w], u)
        weights = channel_weights(b, r, self.r0[z_v, z_w], self.ionic[z_v, z_w], self.metallic[z_v, z_w], self.channels)
        phi = bessel(r, u, max(s.n_radial, s.n_radial_directional), s.cutoff)
        scalar = torch.cat([phi[:, : s.n_radial] * w.unsqueeze(1) for w in weights], dim=1)
        return u, scalar, phi[:, : s.n_radial_directional]

    @torch.no_grad()
    def forward(self, graph: Graph) -> Bonds:
        """The bonds of a batch; distances are differentiated in forward mode, all rows at once."""
        r = torch.linalg.vector_norm(graph.vectors, dim=-1)
        unit = (graph.vectors / r.unsqueeze(-1)).transpose(1, 2).contiguous()
        with forward_ad.dual_level():
            values = self._radial(forward_ad.make_dual(r, torch.ones_like(r)), graph)
            (u, u_slope), (scalar, scalar_slope), (phi, slope) = (forward_ad.unpack_dual(v) for v in values)
        scalar, scalar_slope = self.scalar_mix @ scalar, self.scalar_mix @ scalar_slope
        rows, angular = [scalar], (unit, second_harmonics(unit)) if self.settings.directional else ()
        mixes = self.moment_mix[: len(angular)]
        radial, radial_slope = tuple(a @ phi for a in mixes), tuple(a @ slope for a in mixes)
        for y, f in zip(angular, radial, strict=True):
            rows.append((y.unsqueeze(2) * f.unsqueeze(1)).flatten(1, 2))
        self_row = torch.cat([-self.scalar_mean, self.scalar_mean.new_zeros(self.n_first + self.n_second)])
        rows_all = torch.cat([torch.cat(rows, dim=1), self_row.expand(len(r), -1).unsqueeze(2)], dim=2)
        return Bonds(r, u, u_slope, unit, rows_all, scalar_slope, radial, radial_slope, angular)

    @torch.no_grad()
    def whiten(self, graph: Graph, floor: float = WHITEN_FLOOR) -> None:
        """Mix the rows so that their sums over w vary independently and with variance 1 over the atoms of a graph.

        The scalar rows are centred too, by an edge of each atom to itself of weight −mean. All this is a change of
        basis of the matrices W_BT; it makes gradient descent several times faster. Directions of little variance are
        damped by `floor`, relative to the largest, so that the unseen is not blown up.
        """
        for mix in (self.scalar_mix, *self.moment_mix):
            mix.copy_(torch.eye(len(mix)))
        self.scalar_mean.zero_()
        sums = self(graph).rows.sum(-1).double()
        scalar, first, second = sums.split([self.n_scalar, self.n_first, self.n_second], dim=1)
        mean = scalar.mean(0)
        self.scalar_mix.copy_(_whitening(scalar - mean, floor))
        self.scalar_mean.copy_(self.scalar_mix.double() @ mean)
        for mix, moments in zip(self.moment_mix, (first, second), strict=True):
            if len(mix):
                size = moments.shape[1] // len(mix)
                mix.copy_(_whitening(moments.reshape(-1, len(mix)), floor) / math.sqrt(size))


def _whitening(x: Float[Tensor, "n k"], floor: float) -> Float[Tensor, "k k"]:
    """T such that x Tᵀ has covariance ≤ 1, by principal axes."""
    values, axes = torch.linalg.eigh(x.T @ x / max(len(x), 1))
    scale = values.clamp(min=0) + floor * values.max().clamp(min=1e-12)
    return (axes / torch.sqrt(scale)).T
