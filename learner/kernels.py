"""The loops over edges, compiled for the CPU by numba: what torch would do in many passes over memory.

Plain functions of arrays; `bonds.py` and `moments.py` say what they compute, hand them to autograd, and have the same in
torch operations for other devices. Compiled code is kept beside this file, or in numba's cache where that cannot be
written to.
"""

from __future__ import annotations

import inspect
from typing import Any

import numba
import numpy as np

ROOT_3 = 3.0**0.5


def _compiled(function: Any) -> Any:
    """The function compiled at its first call; what a type checker has wrapped around it is taken off."""
    return numba.njit(fastmath=True, error_model="numpy", cache=True, nogil=True)(inspect.unwrap(function))


@_compiled
def bonds_forward(vectors, pair, table, spacing, r, rows, extras, harmonics):  # type: ignore[no-untyped-def]
    """Cubic Hermite interpolation of the rows and extras at |r_vw|; harmonics of its direction."""
    one, half, root = vectors.dtype.type(1), vectors.dtype.type(0.5), vectors.dtype.type(ROOT_3)
    n_rows, n_all, last = rows.shape[2], table.shape[3], table.shape[1] - 1
    for m in range(vectors.shape[0]):
        for e in range(vectors.shape[1]):
            x, y, z = vectors[m, e, 0], vectors[m, e, 1], vectors[m, e, 2]
            d = np.sqrt(x * x + y * y + z * z)
            r[m, e] = d
            x, y, z = x / d, y / d, z / d
            harmonics[m, e, 0] = x
            harmonics[m, e, 1] = y
            harmonics[m, e, 2] = z
            harmonics[m, e, 3] = root * x * y
            harmonics[m, e, 4] = root * y * z
            harmonics[m, e, 5] = root * z * x
            harmonics[m, e, 6] = z * z - half * (x * x + y * y)
            harmonics[m, e, 7] = half * root * (x * x - y * y)
            s = d / spacing
            i = int(s)
            if i >= last:
                rows[m, e] = 0
                extras[m, e] = 0
                continue
            t = s - vectors.dtype.type(i)
            c = t * t * (3 - 2 * t)
            a, b, d = one - c, t * (one - t) * (one - t), t * t * (t - one)
            low, high = table[pair[e], i], table[pair[e], i + 1]
            for k in range(n_rows):
                rows[m, e, k] = a * low[0, k] + b * low[1, k] + c * high[0, k] + d * high[1, k]
            for k in range(n_rows, n_all):
                extras[m, e, k - n_rows] = a * low[0, k] + b * low[1, k] + c * high[0, k] + d * high[1, k]


@_compiled
def bonds_backward(r, pair, table, spacing, harmonics, g_rows, g_extras, g_harmonics, g_vectors):  # type: ignore[no-untyped-def]
    """Gradient by r_vw of what `bonds_forward` gives."""
    zero, one, root = r.dtype.type(0), r.dtype.type(1), r.dtype.type(ROOT_3)
    n_rows, n_all, last = g_rows.shape[2], table.shape[3], table.shape[1] - 1
    for m in range(r.shape[0]):
        for e in range(r.shape[1]):
            s = r[m, e] / spacing
            i = int(s)
            along = zero
            if i < last:
                t = s - r.dtype.type(i)
                a, b, d = 6 * t * (t - one), (one - t) * (one - 3 * t), t * (3 * t - 2)
                low, high = table[pair[e], i], table[pair[e], i + 1]
                for k in range(n_rows):
                    slope = a * (low[0, k] - high[0, k]) + b * low[1, k] + d * high[1, k]
                    along += g_rows[m, e, k] * slope
                for k in range(n_rows, n_all):
                    slope = a * (low[0, k] - high[0, k]) + b * low[1, k] + d * high[1, k]
                    along += g_extras[m, e, k - n_rows] * slope
                along /= spacing
            x, y, z = harmonics[m, e, 0], harmonics[m, e, 1], harmonics[m, e, 2]
            g = g_harmonics[m, e]
            g_x = g[0] + root * (g[3] * y + g[5] * z + g[7] * x) - g[6] * x
            g_y = g[1] + root * (g[3] * x + g[4] * z - g[7] * y) - g[6] * y
            g_z = g[2] + root * (g[4] * y + g[5] * x) + 2 * g[6] * z
            dot = g_x * x + g_y * y + g_z * z
            g_vectors[m, e, 0] = along * x + (g_x - dot * x) / r[m, e]
            g_vectors[m, e, 1] = along * y + (g_y - dot * y) / r[m, e]
            g_vectors[m, e, 2] = along * z + (g_z - dot * z) / r[m, e]


@_compiled
def moments_forward(centre, neighbour, filters, harmonics, sent, scalar, first, second):  # type: ignore[no-untyped-def]
    """Add every edge to the moments of its centre, one member."""
    n_features, n_directions = scalar.shape[1], first.shape[2]
    x = np.empty(n_directions, sent.dtype)
    for e in range(len(centre)):
        v, w = centre[e], neighbour[e]
        f, h = filters[e], sent[w]
        for j in range(n_features):
            scalar[v, j] += f[j] * h[j]
        if n_directions == 0:
            continue
        y = harmonics[e]
        for j in range(n_directions):
            x[j] = f[n_features + j] * h[n_features + j]
        for j in range(n_directions):
            first[v, 0, j] += y[0] * x[j]
            first[v, 1, j] += y[1] * x[j]
            first[v, 2, j] += y[2] * x[j]
        for j in range(n_directions):
            x[j] = f[n_features + n_directions + j] * h[n_features + j]
        for j in range(n_directions):
            second[v, 0, j] += y[3] * x[j]
            second[v, 1, j] += y[4] * x[j]
            second[v, 2, j] += y[5] * x[j]
            second[v, 3, j] += y[6] * x[j]
            second[v, 4, j] += y[7] * x[j]


@_compiled
def moments_backward(  # type: ignore[no-untyped-def]
    centre, neighbour, filters, harmonics, sent, g_scalar, g_first, g_second, g_filters, g_harmonics, g_sent, directed
):
    """Gradients of what `moments_forward` gives, one member; those by the harmonics if `directed`."""
    n_features, n_directions = g_scalar.shape[1], g_first.shape[2]
    zero = sent.dtype.type(0)
    for e in range(len(centre)):
        v, w = centre[e], neighbour[e]
        f, h, g_f, g_h, g = filters[e], sent[w], g_filters[e], g_sent[w], g_scalar[v]
        for j in range(n_features):
            g_h[j] += f[j] * g[j]
            g_f[j] = h[j] * g[j]
        if n_directions == 0:
            continue
        y, one, two = harmonics[e], g_first[v], g_second[v]
        for j in range(n_directions):
            k = n_features + j
            pulled = y[0] * one[0, j] + y[1] * one[1, j] + y[2] * one[2, j]
            g_h[k] += f[k] * pulled
            g_f[k] = h[k] * pulled
        for j in range(n_directions):
            k, i = n_features + j, n_features + n_directions + j
            pulled = y[3] * two[0, j] + y[4] * two[1, j] + y[5] * two[2, j] + y[6] * two[3, j] + y[7] * two[4, j]
            g_h[k] += f[i] * pulled
            g_f[i] = h[k] * pulled
        if directed:
            a, b, c, d, q, s, t, u = zero, zero, zero, zero, zero, zero, zero, zero
            for j in range(n_directions):
                x = f[n_features + j] * h[n_features + j]
                a += x * one[0, j]
                b += x * one[1, j]
                c += x * one[2, j]
            for j in range(n_directions):
                x = f[n_features + n_directions + j] * h[n_features + j]
                d += x * two[0, j]
                q += x * two[1, j]
                s += x * two[2, j]
                t += x * two[3, j]
                u += x * two[4, j]
            g_y = g_harmonics[e]
            g_y[0], g_y[1], g_y[2], g_y[3], g_y[4], g_y[5], g_y[6], g_y[7] = a, b, c, d, q, s, t, u
