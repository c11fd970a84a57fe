"""Moments of an atom's neighbourhood: what its neighbours send, filtered by distance, summed with their directions.

With F = R W the filters (R the rows of the bond basis, W a member's weights), s what an atom sends, Y_l harmonics:

    scalar_v   = Σ_w F_0(r) ⊙ s_w              n_features
    first_vm   = Σ_w Y_1m(r̂) F_1(r) ⊙ s'_w      3 × n_directions
    second_vm  = Σ_w Y_2m(r̂) F_2(r) ⊙ s'_w      5 × n_directions

Every pair of atoms is looked at once and serves both: F and Y_2 are the same both ways, Y_1 changes its sign. Nothing
is kept for a pair of atoms, so memory does not grow with n_pairs × n_features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import kernels
from .tables import interpolate

Moments = tuple[Float[Tensor, "m n f"], Float[Tensor, "m n 3 d"], Float[Tensor, "m n 5 d"]]


@dataclass(frozen=True)
class Pairs:
    """Pairs of atoms as filters see them.

    Attributes:
        centre, neighbour: v and w.
        pair: species, as index into the tables.
        r: Å, for each member or for all (g = 1); harmonics: of r_vw likewise.
        spacing: Å, of the nodes of the filters' tables.
    """

    centre: Int[Tensor, " e"]
    neighbour: Int[Tensor, " e"]
    pair: Int[Tensor, " e"]
    r: Float[Tensor, "g e"]
    harmonics: Float[Tensor, "g e 8"]
    spacing: float

    def arrays(self) -> tuple[Any, ...]:
        """What the compiled kernels take, for each member its own r."""
        of = (self.centre, self.neighbour, self.pair, self.r, self.harmonics)
        return *(x.numpy() for x in of), self.spacing

    def arrays_for_all(self) -> tuple[Any, ...]:
        """What the compiled kernels take where all members see the same r."""
        of = (self.centre, self.neighbour, self.pair, self.r[0], self.harmonics[0])
        return *(x.numpy() for x in of), self.spacing


def moments(table: Float[Tensor, "m p nodes k"], sent: Float[Tensor, "m n s"], pairs: Pairs) -> Moments:
    """The three moments of every atom, for every member.

    Args:
        table: of F_0, F_1, F_2 side by side.
        sent: s and s' side by side.
        pairs: on the CPU, not differentiated by r or harmonics unless they ask for it.
    """
    by_torch = sent.device.type != "cpu" or pairs.r.requires_grad
    return moments_by_torch(table, sent, pairs) if by_torch else _Moments.apply(table, sent, pairs)


def moments_by_torch(table: Float[Tensor, "m p nodes k"], sent: Float[Tensor, "m n s"], pairs: Pairs) -> Moments:
    """As `moments`, in operations that every device has and that can be differentiated twice."""
    (m, n, width), d = sent.shape, table.shape[3] - sent.shape[2]
    filters = interpolate(table, pairs.spacing, pairs.pair, pairs.r)
    f_0, f_1, f_2 = filters.split([width - d, d, d], dim=2)
    sums = sent.new_zeros(m, n, width - d + 8 * d)
    for v, w, sign in ((pairs.centre, pairs.neighbour, 1), (pairs.neighbour, pairs.centre, -1)):
        own, shared = sent[:, w].split([width - d, d], dim=2)
        first = (sign * pairs.harmonics[..., :3, None] * (f_1 * shared).unsqueeze(2)).flatten(2)
        second = (pairs.harmonics[..., 3:, None] * (f_2 * shared).unsqueeze(2)).flatten(2)
        sums = sums.index_add(1, v, torch.cat([f_0 * own, first, second], dim=2))
    scalar, first, second = sums.split([width - d, 3 * d, 5 * d], dim=2)
    return scalar, first.reshape(m, n, 3, d), second.reshape(m, n, 5, d)


def by_atom(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    """Arrays with members and atoms as one axis, as the compiled kernels take them."""
    return tuple(x.detach().contiguous().flatten(0, 1).numpy() for x in tensors)


def moments_compiled(table: Tensor, sent: Tensor, pairs: Pairs, rest: Moments | None = None) -> Moments:
    """The moments by the compiled kernel, without autograd, added to what other pairs bring."""
    (m, n, width), d = sent.shape, table.shape[3] - sent.shape[2]
    if rest is None:
        out = sent.new_zeros(m, n, width - d), sent.new_zeros(m, n, 3, d), sent.new_zeros(m, n, 5, d)
    else:
        out = rest[0].clone(), rest[1].clone(), rest[2].clone()
    kernels.moments_forward(*pairs.arrays(), table.detach().numpy(), *by_atom(sent, *out))
    return out


class _Moments(torch.autograd.Function):
    """By the compiled kernels; gradients by the table and by what is sent."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, sent: Tensor, pairs: Pairs) -> Moments:
        table, sent = table.contiguous(), sent.contiguous()
        ctx.save_for_backward(table, sent)
        ctx.pairs = pairs
        return moments_compiled(table, sent, pairs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        table, sent = ctx.saved_tensors
        g_table, g_sent = torch.zeros_like(table), torch.zeros_like(sent)
        given = by_atom(sent, *grads)
        kernels.moments_by_weights(
            *ctx.pairs.arrays(), table.numpy(), *given, g_sent.flatten(0, 1).numpy(), g_table.numpy()
        )
        return g_table, g_sent, None
