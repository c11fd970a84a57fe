"""Layers whose every parameter carries a leading member axis, and gathers and sums of rows.

A committee of M networks works on (M, n_atoms, features) with batched matrix products: one pass to train or predict.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.utils import scatter


class MemberLinear(nn.Module):
    """y_m = x_m W_m + b_m for each member m."""

    def __init__(self, n_members: int, n_in: int, n_out: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_members, n_in, n_out) / math.sqrt(max(n_in, 1)))
        self.bias = nn.Parameter(torch.zeros(n_members, 1, n_out)) if bias else None

    def forward(self, x: Float[Tensor, "m n i"]) -> Float[Tensor, "m n o"]:
        """Apply each member's own weights to its own rows."""
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias, x, self.weight)


class MemberGRU(nn.Module):
    """Gated recurrent update of the hidden states, Cho et al. (2014), the paper's U.

    r = σ(x W_r + h V_r), z = σ(x W_z + h V_z), c = tanh(x W_c + r ⊙ h V_c), h' = c + z ⊙ (h − c)
    """

    def __init__(self, n_members: int, n_in: int, n_features: int) -> None:
        super().__init__()
        self.from_message = MemberLinear(n_members, n_in, 3 * n_features)
        self.from_hidden = MemberLinear(n_members, n_features, 3 * n_features)

    def forward(self, x: Float[Tensor, "m n i"], h: Float[Tensor, "m n f"]) -> Float[Tensor, "m n f"]:
        """New hidden states from the message x and the old ones."""
        x_r, x_z, x_c = self.from_message(x).chunk(3, dim=2)
        h_r, h_z, h_c = self.from_hidden(h).chunk(3, dim=2)
        c = torch.tanh(x_c + torch.sigmoid(x_r + h_r) * h_c)
        return c + torch.sigmoid(x_z + h_z) * (h - c)


class GatedResidual(nn.Module):
    """Gated update that adds to the hidden states: h' = h + σ(x W_z + h V_z) ⊙ silu(x W_c + h V_c).

    A GRU pulls every state towards tanh of something, in [−1, 1]; on larger crystals than those learnt from, whose
    messages are larger, it saturates, and its error grows. This keeps the gate and drops the pull.
    """

    def __init__(self, n_members: int, n_in: int, n_features: int) -> None:
        super().__init__()
        self.from_message = MemberLinear(n_members, n_in, 2 * n_features)
        self.from_hidden = MemberLinear(n_members, n_features, 2 * n_features, bias=False)

    def forward(self, x: Float[Tensor, "m n i"], h: Float[Tensor, "m n f"]) -> Float[Tensor, "m n f"]:
        """New hidden states from the message x and the old ones."""
        z, c = (self.from_message(x) + self.from_hidden(h)).chunk(2, dim=2)
        return h + torch.sigmoid(z) * nn.functional.silu(c)


def gather_rows(x: Float[Tensor, "n f"], index: Int[Tensor, "a w"]) -> Float[Tensor, "a w f"]:
    """Rows of x in the order of index; its gradient is one `scatter_add_`, the fast path on a CPU."""
    flat = index.reshape(-1, 1).expand(-1, x.shape[1])
    return torch.gather(x, 0, flat).reshape(*index.shape, x.shape[1])


def sum_by(x: Float[Tensor, "n f"], index: Int[Tensor, " n"], n: int) -> Float[Tensor, "k f"]:
    """Sum of the rows of x that share an index, into n rows."""
    return scatter(x, index, dim=0, dim_size=n, reduce="sum")
