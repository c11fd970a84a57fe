"""The loops over pairs of atoms, compiled for the CPU by numba: what torch would do in many passes over memory.

Plain functions of arrays; `bonds.py` and `moments.py` say what they compute, and have the same in torch operations for
other devices. Compiled code is kept beside this file, or in numba's cache where that cannot be written to.

Arrays are indexed in full: a view made for each pair would cost more than the work on it. Widths and rows are unsigned,
so that numba need not ask of each index whether it counts from the end, which keeps loops from being vectorised. Tables
hold values and slopes (times the spacing) of a node in turn, so that a pair needs four rows on end.
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
def bonds_forward(vectors, pair, centre, neighbour, table, spacing, r, harmonics, sums):  # type: ignore[no-untyped-def]
    """Length and harmonics of every r_vw; what is summed over an atom's pairs, interpolated.

    vectors (g, e, 3), table (p, 2 nodes, k), r (g, e), harmonics (g, e, 8), sums (g, n, k).
    """
    one, two, three = vectors.dtype.type(1), vectors.dtype.type(2), vectors.dtype.type(3)
    half, root = vectors.dtype.type(0.5), vectors.dtype.type(ROOT_3)
    step = vectors.dtype.type(spacing)
    last = table.shape[1] // 2 - 1
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
                continue
            t = s - vectors.dtype.type(i)
            c = t * t * (three - two * t)
            a, b, d = one - c, t * (one - t) * (one - t), t * t * (t - one)
            p = pair[e]
            for k in range(table.shape[2]):
                value = (
                    a * table[p, 2 * i, k]
                    + b * table[p, 2 * i + 1, k]
                    + c * table[p, 2 * i + 2, k]
                    + d * table[p, 2 * i + 3, k]
                )
                sums[m, centre[e], k] += value
                sums[m, neighbour[e], k] += value


@_compiled
def sums_backward(r, harmonics, pair, centre, neighbour, table, spacing, g_sums, g_vectors):  # type: ignore[no-untyped-def]
    """Set (m, e, 3) g_vectors to the gradient of the sums by r_vw; g_sums (m, n, k); every member sees the same r."""
    one, two, three, six = r.dtype.type(1), r.dtype.type(2), r.dtype.type(3), r.dtype.type(6)
    step = r.dtype.type(spacing)
    last = table.shape[1] // 2 - 1
    for m in range(g_sums.shape[0]):
        for e in range(len(r)):
            s = r[e] / step
            i = int(s)
            along = r.dtype.type(0)
            if i < last:
                t = s - r.dtype.type(i)
                a, b, d = six * t * (t - one), (one - t) * (one - three * t), t * (three * t - two)
                p = pair[e]
                for k in range(table.shape[2]):
                    slope = (
                        a * (table[p, 2 * i, k] - table[p, 2 * i + 2, k])
                        + b * table[p, 2 * i + 1, k]
                        + d * table[p, 2 * i + 3, k]
                    )
                    along += (g_sums[m, centre[e], k] + g_sums[m, neighbour[e], k]) * slope
                along /= step
            g_vectors[m, e, 0] = along * harmonics[e, 0]
            g_vectors[m, e, 1] = along * harmonics[e, 1]
            g_vectors[m, e, 2] = along * harmonics[e, 2]


@_compiled
def moments_forward(centre, neighbour, pair, r, harmonics, spacing, table, sent, scalar, first, second):  # type: ignore[no-untyped-def]
    """Add every pair to the moments of both its atoms.

    r (g, e), harmonics (g, e, 8), g = 1 where all members see the same; table (m, p, 2 nodes, n + 2d); for a atoms,
    sent (m a, n + d), scalar (m a, n), first (m a, 3, d), second (m a, 5, d).
    """
    one, two, three = r.dtype.type(1), r.dtype.type(2), r.dtype.type(3)
    step = r.dtype.type(spacing)
    n, d = np.uint64(scalar.shape[1]), np.uint64(first.shape[2])
    n_filters = n + d + d
    n_members, last = table.shape[0], table.shape[2] // 2 - 1
    n_atoms = scalar.shape[0] // max(n_members, 1)
    filters, x = np.empty(n_filters, r.dtype), np.empty(d, r.dtype)
    for m in range(n_members):
        g = min(m, r.shape[0] - 1)
        for e in range(len(centre)):
            s = r[g, e] / step
            i = int(s)
            if i >= last:
                continue
            t = s - r.dtype.type(i)
            c_2 = t * t * (three - two * t)
            c_0, c_1, c_3 = one - c_2, t * (one - t) * (one - t), t * t * (t - one)
            p, node = pair[e], np.uint64(2 * i)
            for j in range(n_filters):
                filters[j] = (
                    c_0 * table[m, p, node, j]
                    + c_1 * table[m, p, node + np.uint64(1), j]
                    + c_2 * table[m, p, node + np.uint64(2), j]
                    + c_3 * table[m, p, node + np.uint64(3), j]
                )
            v, w = np.uint64(m * n_atoms + centre[e]), np.uint64(m * n_atoms + neighbour[e])
            for j in range(n):
                scalar[v, j] += filters[j] * sent[w, j]
            for j in range(n):
                scalar[w, j] += filters[j] * sent[v, j]
            if d == 0:
                continue
            for sign, to, of in ((one, v, w), (-one, w, v)):
                for j in range(d):
                    x[j] = filters[n + j] * sent[of, n + j]
                for k in range(3):
                    y = sign * harmonics[g, e, k]
                    for j in range(d):
                        first[to, k, j] += y * x[j]
                for j in range(d):
                    x[j] = filters[n + d + j] * sent[of, n + j]
                for k in range(5):
                    y = harmonics[g, e, 3 + k]
                    for j in range(d):
                        second[to, k, j] += y * x[j]


@_compiled
def moments_by_vectors(  # type: ignore[no-untyped-def]
    centre, neighbour, pair, r, harmonics, spacing, table, sent, g_scalar, g_first, g_second, g_sent, g_vectors
):
    """Add to (m, e, 3) g_vectors and to (m a, n + d) g_sent the gradient of the moments by r_vw and by what is sent.

    r (e,), harmonics (e, 8): every member sees the same; the rest as in `moments_forward`.
    """
    zero, one, two, three = r.dtype.type(0), r.dtype.type(1), r.dtype.type(2), r.dtype.type(3)
    six, root = r.dtype.type(6), r.dtype.type(ROOT_3)
    step = r.dtype.type(spacing)
    n, d = np.uint64(g_scalar.shape[1]), np.uint64(g_first.shape[2])
    n_filters = n + d + d
    n_members, last = table.shape[0], table.shape[2] // 2 - 1
    n_atoms = g_scalar.shape[0] // max(n_members, 1)
    filters, slopes, x = np.empty(n_filters, r.dtype), np.empty(n_filters, r.dtype), np.empty(d, r.dtype)
    for m in range(n_members):
        for e in range(len(centre)):
            s = r[e] / step
            i = int(s)
            if i >= last:
                continue
            t = s - r.dtype.type(i)
            c_2 = t * t * (three - two * t)
            c_0, c_1, c_3 = one - c_2, t * (one - t) * (one - t), t * t * (t - one)
            s_0 = six * t * (t - one) / step
            s_1, s_3 = (one - t) * (one - three * t) / step, t * (three * t - two) / step
            p, node = pair[e], np.uint64(2 * i)
            for j in range(n_filters):
                t_0, t_1 = table[m, p, node, j], table[m, p, node + np.uint64(1), j]
                t_2, t_3 = table[m, p, node + np.uint64(2), j], table[m, p, node + np.uint64(3), j]
                filters[j] = c_0 * t_0 + c_1 * t_1 + c_2 * t_2 + c_3 * t_3
                slopes[j] = s_0 * (t_0 - t_2) + s_1 * t_1 + s_3 * t_3
            v, w = np.uint64(m * n_atoms + centre[e]), np.uint64(m * n_atoms + neighbour[e])
            along = zero
            for j in range(n):
                along += slopes[j] * (g_scalar[v, j] * sent[w, j] + g_scalar[w, j] * sent[v, j])
            for j in range(n):
                g_sent[w, j] += filters[j] * g_scalar[v, j]
            for j in range(n):
                g_sent[v, j] += filters[j] * g_scalar[w, j]
            a_0, a_1, a_2, b_0, b_1, b_2, b_3, b_4 = zero, zero, zero, zero, zero, zero, zero, zero
            y_0, y_1, y_2 = harmonics[e, 0], harmonics[e, 1], harmonics[e, 2]
            y_3, y_4, y_5 = harmonics[e, 3], harmonics[e, 4], harmonics[e, 5]
            y_6, y_7 = harmonics[e, 6], harmonics[e, 7]
            for sign, to, of in ((one, v, w), (-one, w, v)):
                for j in range(d):
                    x[j] = sign * (y_0 * g_first[to, 0, j] + y_1 * g_first[to, 1, j] + y_2 * g_first[to, 2, j])
                for j in range(d):
                    along += slopes[n + j] * x[j] * sent[of, n + j]
                    g_sent[of, n + j] += filters[n + j] * x[j]
                for j in range(d):
                    x[j] = sign * filters[n + j] * sent[of, n + j]
                for j in range(d):
                    a_0 += x[j] * g_first[to, 0, j]
                    a_1 += x[j] * g_first[to, 1, j]
                    a_2 += x[j] * g_first[to, 2, j]
                for j in range(d):
                    x[j] = (
                        y_3 * g_second[to, 0, j]
                        + y_4 * g_second[to, 1, j]
                        + y_5 * g_second[to, 2, j]
                        + y_6 * g_second[to, 3, j]
                        + y_7 * g_second[to, 4, j]
                    )
                for j in range(d):
                    along += slopes[n + d + j] * x[j] * sent[of, n + j]
                    g_sent[of, n + j] += filters[n + d + j] * x[j]
                for j in range(d):
                    x[j] = filters[n + d + j] * sent[of, n + j]
                for j in range(d):
                    b_0 += x[j] * g_second[to, 0, j]
                    b_1 += x[j] * g_second[to, 1, j]
                    b_2 += x[j] * g_second[to, 2, j]
                    b_3 += x[j] * g_second[to, 3, j]
                    b_4 += x[j] * g_second[to, 4, j]
            a_0 += root * (b_0 * y_1 + b_2 * y_2 + b_4 * y_0) - b_3 * y_0
            a_1 += root * (b_0 * y_0 + b_1 * y_2 - b_4 * y_1) - b_3 * y_1
            a_2 += root * (b_1 * y_1 + b_2 * y_0) + two * b_3 * y_2
            dot = a_0 * y_0 + a_1 * y_1 + a_2 * y_2
            g_vectors[m, e, 0] += along * y_0 + (a_0 - dot * y_0) / r[e]
            g_vectors[m, e, 1] += along * y_1 + (a_1 - dot * y_1) / r[e]
            g_vectors[m, e, 2] += along * y_2 + (a_2 - dot * y_2) / r[e]


@_compiled
def moments_by_weights(  # type: ignore[no-untyped-def]
    centre, neighbour, pair, r, harmonics, spacing, table, sent, g_scalar, g_first, g_second, g_sent, g_table
):
    """Add to g_sent and g_table, shaped as sent and table, the moments' gradient; the rest as in `moments_forward`."""
    zero, one, two, three = r.dtype.type(0), r.dtype.type(1), r.dtype.type(2), r.dtype.type(3)
    step = r.dtype.type(spacing)
    n, d = np.uint64(g_scalar.shape[1]), np.uint64(g_first.shape[2])
    n_filters = n + d + d
    n_members, last = table.shape[0], table.shape[2] // 2 - 1
    n_atoms = g_scalar.shape[0] // max(n_members, 1)
    filters, g_filters, x = np.empty(n_filters, r.dtype), np.empty(n_filters, r.dtype), np.empty(d, r.dtype)
    for m in range(n_members):
        g = min(m, r.shape[0] - 1)
        for e in range(len(centre)):
            s = r[g, e] / step
            i = int(s)
            if i >= last:
                continue
            t = s - r.dtype.type(i)
            c_2 = t * t * (three - two * t)
            c_0, c_1, c_3 = one - c_2, t * (one - t) * (one - t), t * t * (t - one)
            p, node = pair[e], np.uint64(2 * i)
            for j in range(n_filters):
                filters[j] = (
                    c_0 * table[m, p, node, j]
                    + c_1 * table[m, p, node + np.uint64(1), j]
                    + c_2 * table[m, p, node + np.uint64(2), j]
                    + c_3 * table[m, p, node + np.uint64(3), j]
                )
            v, w = np.uint64(m * n_atoms + centre[e]), np.uint64(m * n_atoms + neighbour[e])
            for j in range(n):
                g_filters[j] = g_scalar[v, j] * sent[w, j] + g_scalar[w, j] * sent[v, j]
            for j in range(n):
                g_sent[w, j] += filters[j] * g_scalar[v, j]
            for j in range(n):
                g_sent[v, j] += filters[j] * g_scalar[w, j]
            for j in range(n, n_filters):
                g_filters[j] = zero
            y_3, y_4, y_5 = harmonics[g, e, 3], harmonics[g, e, 4], harmonics[g, e, 5]
            y_6, y_7 = harmonics[g, e, 6], harmonics[g, e, 7]
            for sign, to, of in ((one, v, w), (-one, w, v)):
                y_0, y_1, y_2 = sign * harmonics[g, e, 0], sign * harmonics[g, e, 1], sign * harmonics[g, e, 2]
                for j in range(d):
                    x[j] = y_0 * g_first[to, 0, j] + y_1 * g_first[to, 1, j] + y_2 * g_first[to, 2, j]
                for j in range(d):
                    g_filters[n + j] += x[j] * sent[of, n + j]
                    g_sent[of, n + j] += filters[n + j] * x[j]
                for j in range(d):
                    x[j] = (
                        y_3 * g_second[to, 0, j]
                        + y_4 * g_second[to, 1, j]
                        + y_5 * g_second[to, 2, j]
                        + y_6 * g_second[to, 3, j]
                        + y_7 * g_second[to, 4, j]
                    )
                for j in range(d):
                    g_filters[n + d + j] += x[j] * sent[of, n + j]
                    g_sent[of, n + j] += filters[n + d + j] * x[j]
            for j in range(n_filters):
                g_table[m, p, node, j] += c_0 * g_filters[j]
            for j in range(n_filters):
                g_table[m, p, node + np.uint64(1), j] += c_1 * g_filters[j]
            for j in range(n_filters):
                g_table[m, p, node + np.uint64(2), j] += c_2 * g_filters[j]
            for j in range(n_filters):
                g_table[m, p, node + np.uint64(3), j] += c_3 * g_filters[j]


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
