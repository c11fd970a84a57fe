"""Functions of a distance, tabulated with their slopes, and read by cubic Hermite interpolation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import jvp

NEAREST = 0.1  # Å; nearer, the functions go on in a straight line


def tabulate(function: Callable[[Tensor], Tensor], cutoff: float, n_nodes: int) -> Float[Tensor, "nodes k"]:
    """Values and slopes times the spacing, in turn, of (n, k) functions of (n,) distances; in double precision.

    Args:
        function: differentiable.
        cutoff: Å, of the last of the nodes; the first is at 0.
        n_nodes: how many.
    """
    spacing = cutoff / (n_nodes - 1)
    nodes = torch.arange(n_nodes, dtype=torch.float64) * spacing
    r = nodes.clamp(min=NEAREST)
    values, slopes = jvp(function, (r,), (torch.ones_like(r),))  # type: ignore[misc]
    return torch.stack([values + slopes * (nodes - r)[:, None], slopes * spacing], dim=1).flatten(0, 1)


def interpolate(
    table: Float[Tensor, "m p nodes k"], spacing: float, pair: Int[Tensor, " e"], r: Float[Tensor, "g e"]
) -> Float[Tensor, "m e k"]:
    """What a table holds at distances r (Å), by cubic Hermite interpolation; 0 beyond its end.

    Args:
        table: values and slopes times the spacing of a node, in turn.
        spacing: Å, of the nodes.
        pair: which table.
        r: for each member, or for all.
    """
    member = torch.arange(len(table), device=table.device)[:, None]
    s = (r / spacing).unsqueeze(-1)
    last = table.shape[2] // 2 - 1
    i = s.detach().floor().clamp(max=last - 1).long()
    t = s - i
    c = t * t * (3 - 2 * t)
    place = 2 * i[..., 0]
    low, rise, high, fall = (table[member, pair, place + k] for k in range(4))
    value = (1 - c) * low + t * (1 - t) ** 2 * rise + c * high + t * t * (t - 1) * fall
    return torch.where(s < last, value, 0.0)
