"""Moments of an atom's neighbourhood: what its neighbours send, filtered by distance, summed with their directions.

With R the rows of the bond basis, W a member's filters, s what an atom sends, Y_l real harmonics of the edge:

    scalar_v   = Σ_w (R_vw W_0) ⊙ s_w          n_features
    first_vm   = Σ_w Y_1m (R_vw W_1) ⊙ s'_w     3 × n_directions
    second_vm  = Σ_w Y_2m (R_vw W_2) ⊙ s'_w     5 × n_directions

The filters are made for a few thousand edges at a time, so that they stay in the cache and memory does not grow with
n_edges × n_features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import kernels

EDGES_AT_ONCE = 2048

Moments = tuple[Float[Tensor, "m n f"], Float[Tensor, "m n 3 d"], Float[Tensor, "m n 5 d"]]


def moments(
    rows: Float[Tensor, "m e k"],
    harmonics: Float[Tensor, "m e 8"],
    weights: Float[Tensor, "m k n_filters"],
    sent: Float[Tensor, "m n n_sent"],
    centre: Int[Tensor, " e"],
    neighbour: Int[Tensor, " e"],
) -> Moments:
    """The three moments of every atom, for every member.

    Args:
        rows: R, as each member sees it.
        harmonics: Y_1 and Y_2 of each edge.
        weights: W_0, W_1, W_2 side by side.
        sent: s and s' side by side.
        centre, neighbour: v and w of each edge.
    """
    compute = _Moments.apply if rows.device.type == "cpu" else moments_by_torch
    return compute(rows, harmonics, weights, sent, centre, neighbour)


def moments_by_torch(
    rows: Float[Tensor, "m e k"],
    harmonics: Float[Tensor, "m e 8"],
    weights: Float[Tensor, "m k n_filters"],
    sent: Float[Tensor, "m n n_sent"],
    centre: Int[Tensor, " e"],
    neighbour: Int[Tensor, " e"],
) -> Moments:
    """As `moments`, in operations that every device has and that can be differentiated twice."""
    (m, n, width), d = sent.shape, weights.shape[2] - sent.shape[2]
    gathered = sent[:, neighbour]
    own, shared = gathered.split([width - d, d], dim=2)
    f_0, f_1, f_2 = (rows @ weights).split([width - d, d, d], dim=2)
    first = (harmonics[..., :3, None] * (f_1 * shared).unsqueeze(2)).flatten(2)
    second = (harmonics[..., 3:, None] * (f_2 * shared).unsqueeze(2)).flatten(2)
    edges = torch.cat([f_0 * own, first, second], dim=2)
    sums = edges.new_zeros(m, n, edges.shape[2]).index_add(1, centre, edges)
    scalar, first, second = sums.split([width - d, 3 * d, 5 * d], dim=2)
    return scalar, first.reshape(m, n, 3, d), second.reshape(m, n, 5, d)


def _array(x: Tensor) -> np.ndarray:
    return x.detach().numpy()


def _pieces(n_members: int, n_edges: int) -> Iterator[tuple[int, slice]]:
    for m in range(n_members):
        for start in range(0, n_edges, EDGES_AT_ONCE):
            yield m, slice(start, min(start + EDGES_AT_ONCE, n_edges))


class _Moments(torch.autograd.Function):
    """By the compiled kernels."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, harmonics: Tensor, weights: Tensor, sent: Tensor, centre: Tensor, neighbour: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, harmonics, sent = rows.contiguous(), harmonics.contiguous(), sent.contiguous()
        ctx.save_for_backward(rows, harmonics, weights, sent, centre, neighbour)
        (m, n, width), d = sent.shape, weights.shape[2] - sent.shape[2]
        out = sent.new_zeros(m, n, width - d), sent.new_zeros(m, n, 3, d), sent.new_zeros(m, n, 5, d)
        arrays = [_array(x) for x in (centre, neighbour, harmonics, sent, *out)]
        v, w, y, s, scalar, first, second = arrays
        room = rows.new_empty(min(EDGES_AT_ONCE, rows.shape[1]), weights.shape[2])
        for k, edges in _pieces(m, rows.shape[1]):
            filters = torch.mm(rows[k, edges], weights[k], out=room[: edges.stop - edges.start])
            kernels.moments_forward(
                v[edges], w[edges], _array(filters), y[k, edges], s[k], scalar[k], first[k], second[k]
            )
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, harmonics, weights, sent, centre, neighbour = ctx.saved_tensors
        moved, directed, learnt = ctx.needs_input_grad[:3]
        g_sent = torch.zeros_like(sent)
        g_rows = torch.empty_like(rows) if moved else None
        g_harmonics = torch.zeros_like(harmonics) if directed else None
        g_weights = torch.zeros_like(weights) if learnt else None
        v, w, y, s = (_array(x) for x in (centre, neighbour, harmonics, sent))
        scalar, first, second = (_array(g.contiguous()) for g in grads)
        by_y, by_s = y if g_harmonics is None else _array(g_harmonics), _array(g_sent)
        at_once = min(EDGES_AT_ONCE, rows.shape[1])
        room, by_room = (rows.new_empty(at_once, weights.shape[2]) for _ in range(2))
        for k, edges in _pieces(*rows.shape[:2]):
            size = edges.stop - edges.start
            filters = torch.mm(rows[k, edges], weights[k], out=room[:size])
            given = v[edges], w[edges], _array(filters), y[k, edges], s[k], scalar[k], first[k], second[k]
            kernels.moments_backward(*given, _array(by_room[:size]), by_y[k, edges], by_s[k], directed)
            if g_rows is not None:
                torch.mm(by_room[:size], weights[k].T, out=g_rows[k, edges])
            if g_weights is not None:
                g_weights[k].addmm_(rows[k, edges].T, by_room[:size])
        return g_rows, g_harmonics, g_weights, g_sent, None, None
