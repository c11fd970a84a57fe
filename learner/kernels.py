"""The loops over edges, compiled for the CPU by numba: what torch would do in many passes over memory.

Plain functions of arrays; `bonds.py` and `moments.py` say what they compute, hand them to autograd, and have the same
in torch operations for other devices. Compiled code is kept beside this file, or in numba's cache where that cannot be
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
def bonds_forward(vectors, pair, centre, table, spacing, r, rows, sums, harmonics):  # type: ignore[no-untyped-def]
    """Cubic Hermite interpolation of the rows at |r_vw|, and of what is summed over edges; harmonics of r̂_vw."""
    one, two, three = vectors.dtype.type(1), vectors.dtype.type(2), vectors.dtype.type(3)
    half, root = vectors.dtype.type(0.5), vectors.dtype.type(ROOT_3)
    step = vectors.dtype.type(spacing)
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
            s = d / step
            i = int(s)
            if i >= last:
                for k in range(n_rows):
                    rows[m, e, k] = 0
                continue
            t = s - vectors.dtype.type(i)
            c = t * t * (three - two * t)
            a, b, d = one - c, t * (one - t) * (one - t), t * t * (t - one)
            p = pair[e]
            for k in range(n_rows):
                rows[m, e, k] = (
                    a * table[p, i, 0, k]
                    + b * table[p, i, 1, k]
                    + c * table[p, i + 1, 0, k]
                    + d * table[p, i + 1, 1, k]
                )
            for k in range(n_rows, n_all):
                sums[m, centre[e], k - n_rows] += (
                    a * table[p, i, 0, k]
                    + b * table[p, i, 1, k]
                    + c * table[p, i + 1, 0, k]
                    + d * table[p, i + 1, 1, k]
                )


@_compiled
def bonds_backward(r, pair, centre, table, harmonics, spacing, g_rows, g_sums, g_harmonics, g_vectors):  # type: ignore[no-untyped-def]
    """Gradient by r_vw of what `bonds_forward` gives."""
    zero, one, two, three = r.dtype.type(0), r.dtype.type(1), r.dtype.type(2), r.dtype.type(3)
    six, root = r.dtype.type(6), r.dtype.type(ROOT_3)
    step = r.dtype.type(spacing)
    n_rows, n_all, last = g_rows.shape[2], table.shape[3], table.shape[1] - 1
    for m in range(r.shape[0]):
        for e in range(r.shape[1]):
            s = r[m, e] / step
            i = int(s)
            along = zero
            if i < last:
                t = s - r.dtype.type(i)
                a, b, d = six * t * (t - one), (one - t) * (one - three * t), t * (three * t - two)
                p = pair[e]
                for k in range(n_rows):
                    slope = (
                        a * (table[p, i, 0, k] - table[p, i + 1, 0, k])
                        + b * table[p, i, 1, k]
                        + d * table[p, i + 1, 1, k]
                    )
                    along += g_rows[m, e, k] * slope
                for k in range(n_rows, n_all):
                    slope = (
                        a * (table[p, i, 0, k] - table[p, i + 1, 0, k])
                        + b * table[p, i, 1, k]
                        + d * table[p, i + 1, 1, k]
                    )
                    along += g_sums[m, centre[e], k - n_rows] * slope
                along /= step
            x, y, z = harmonics[m, e, 0], harmonics[m, e, 1], harmonics[m, e, 2]
            g_x = (
                g_harmonics[m, e, 0]
                + root * (g_harmonics[m, e, 3] * y + g_harmonics[m, e, 5] * z + g_harmonics[m, e, 7] * x)
                - g_harmonics[m, e, 6] * x
            )
            g_y = (
                g_harmonics[m, e, 1]
                + root * (g_harmonics[m, e, 3] * x + g_harmonics[m, e, 4] * z - g_harmonics[m, e, 7] * y)
                - g_harmonics[m, e, 6] * y
            )
            g_z = (
                g_harmonics[m, e, 2]
                + root * (g_harmonics[m, e, 4] * y + g_harmonics[m, e, 5] * x)
                + two * g_harmonics[m, e, 6] * z
            )
            dot = g_x * x + g_y * y + g_z * z
            g_vectors[m, e, 0] = along * x + (g_x - dot * x) / r[m, e]
            g_vectors[m, e, 1] = along * y + (g_y - dot * y) / r[m, e]
            g_vectors[m, e, 2] = along * z + (g_z - dot * z) / r[m, e]


@_compiled
def forces_and_virials(centre, neighbour, structure, vectors, g, forces, virials):  # type: ignore[no-untyped-def]
    """Add ∂E/∂r_vw to the forces of v and, reversed, of w, and r ⊗ ∂E/∂r to the virial of their structure."""
    for m in range(g.shape[0]):
        for e in range(g.shape[1]):
            v, w = centre[e], neighbour[e]
            for i in range(3):
                forces[m, v, i] += g[m, e, i]
                forces[m, w, i] -= g[m, e, i]
                for j in range(3):
                    virials[m, structure[v], i, j] += g[m, e, i] * vectors[e, j]


# Below, arrays are indexed in full: a view made for each edge would cost more than the work on it. Widths are unsigned,
# so that numba need not ask of each index whether it counts from the end, which keeps loops from being vectorised.


@_compiled
def moments_forward(centre, neighbour, filters, harmonics, sent, scalar, first, second):  # type: ignore[no-untyped-def]
    """Add every edge to the moments of its centre, one member."""
    n, d = np.uint64(scalar.shape[1]), np.uint64(first.shape[2])
    x = np.empty(d, sent.dtype)
    for e in range(len(centre)):
        v, w = centre[e], neighbour[e]
        for j in range(n):
            scalar[v, j] += filters[e, j] * sent[w, j]
        if d == 0:
            continue
        for j in range(d):
            x[j] = filters[e, n + j] * sent[w, n + j]
        y_0, y_1, y_2 = harmonics[e, 0], harmonics[e, 1], harmonics[e, 2]
        for j in range(d):
            first[v, 0, j] += y_0 * x[j]
            first[v, 1, j] += y_1 * x[j]
            first[v, 2, j] += y_2 * x[j]
        for j in range(d):
            x[j] = filters[e, n + d + j] * sent[w, n + j]
        y_0, y_1, y_2 = harmonics[e, 3], harmonics[e, 4], harmonics[e, 5]
        y_3, y_4 = harmonics[e, 6], harmonics[e, 7]
        for j in range(d):
            second[v, 0, j] += y_0 * x[j]
            second[v, 1, j] += y_1 * x[j]
            second[v, 2, j] += y_2 * x[j]
            second[v, 3, j] += y_3 * x[j]
            second[v, 4, j] += y_4 * x[j]


@_compiled
def moments_backward(  # type: ignore[no-untyped-def]
    centre, neighbour, filters, harmonics, sent, g_scalar, g_first, g_second, g_filters, g_harmonics, g_sent, directed
):
    """Gradients of what `moments_forward` gives, one member; those by the harmonics if `directed`."""
    n, d = np.uint64(g_scalar.shape[1]), np.uint64(g_first.shape[2])
    zero = sent.dtype.type(0)
    for e in range(len(centre)):
        v, w = centre[e], neighbour[e]
        for j in range(n):
            g_sent[w, j] += filters[e, j] * g_scalar[v, j]
            g_filters[e, j] = sent[w, j] * g_scalar[v, j]
        if d == 0:
            continue
        y_0, y_1, y_2 = harmonics[e, 0], harmonics[e, 1], harmonics[e, 2]
        for j in range(d):
            g = y_0 * g_first[v, 0, j] + y_1 * g_first[v, 1, j] + y_2 * g_first[v, 2, j]
            g_sent[w, n + j] += filters[e, n + j] * g
            g_filters[e, n + j] = sent[w, n + j] * g
        if directed:
            s_0, s_1, s_2 = zero, zero, zero
            for j in range(d):
                x = filters[e, n + j] * sent[w, n + j]
                s_0 += x * g_first[v, 0, j]
                s_1 += x * g_first[v, 1, j]
                s_2 += x * g_first[v, 2, j]
            g_harmonics[e, 0], g_harmonics[e, 1], g_harmonics[e, 2] = s_0, s_1, s_2
        y_0, y_1, y_2 = harmonics[e, 3], harmonics[e, 4], harmonics[e, 5]
        y_3, y_4 = harmonics[e, 6], harmonics[e, 7]
        for j in range(d):
            g = y_0 * g_second[v, 0, j] + y_1 * g_second[v, 1, j] + y_2 * g_second[v, 2, j]
            g += y_3 * g_second[v, 3, j] + y_4 * g_second[v, 4, j]
            g_sent[w, n + j] += filters[e, n + d + j] * g
            g_filters[e, n + d + j] = sent[w, n + j] * g
        if directed:
            s_0, s_1, s_2, s_3, s_4 = zero, zero, zero, zero, zero
            for j in range(d):
                x = filters[e, n + d + j] * sent[w, n + j]
                s_0 += x * g_second[v, 0, j]
                s_1 += x * g_second[v, 1, j]
                s_2 += x * g_second[v, 2, j]
                s_3 += x * g_second[v, 3, j]
                s_4 += x * g_second[v, 4, j]
            g_harmonics[e, 3], g_harmonics[e, 4], g_harmonics[e, 5] = s_0, s_1, s_2
            g_harmonics[e, 6], g_harmonics[e, 7] = s_3, s_4
