"""Cohesion: what binds metal atoms in the second-moment approximation, as a start from which a network learns the rest.

    E_c = Σ_v (c[Z_v] n_v + Σ_q ξ_q[Z_v] (√(ρ_qv + ε) − √ε)) + Σ_{v<w} (V_ZBL(r) + Σ_p A_p[Z_v, Z_w] u(r) exp(−p x))
    n_v = 1 − exp(−Σ_w u(r)),   ρ_qv = Σ_w u(r) exp(−2q x),   x = r/r0 − 1,   r0 the sum of the covalent radii

Cleri & Rosato, Phys. Rev. B 48, 22 (1993), fit p, q, A and ξ of each pair of metals. Here a few p and q are fixed, so
that A, ξ and c are the solution of a linear problem. Some ten numbers an element come from a few dozen labels without
being overfitted, and repulsion goes on as an exponential where no label is: a network alone errs by several eV/Å there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import lsq_linear
from torch import Tensor, nn

from .data import Batch
from .graph import Graph
from .repulsion import OFF, zbl
from .tables import interpolate, tabulate
from .valence import PairTables, smooth_cutoff

NODES = 2048
DECAY = (1.5, 3.0)
"""q of the densities."""
STEEPNESS = (4.0, 7.0, 10.0)
"""p of the pair terms."""
LEAST = (-np.inf, 0.0, 0.05)
"""Least A_p, eV: the steep terms never pull atoms together, and at half of r0 the last one alone is 7 eV."""
SOFTENED = 1e-3
"""ε: keeps the slope of the root finite for an atom alone."""
RIDGE = 1e-4
ENERGY_WEIGHT = 10.0
VIOLENT = 1.0
"""eV/Å: root mean square force of a structure from which on its forces count less."""


class Cohesion(nn.Module):
    """E_c of the module's docstring; its amplitudes are fitted by `fit`, not learnt by descent.

    Args:
        cutoff: Å.
        species: atomic numbers.

    Attributes:
        amplitudes: (n_pairs_of_species, n_p) A_p, eV.
        strengths: (1 + n_q, n_species) c and ξ_q, eV.
        terms: (n_pairs_of_species, 2 nodes, 1 + n_q + 1 + n_p) u, densities, ½ V_ZBL, ½ u exp(−p x).
    """

    amplitudes: Tensor
    strengths: Tensor
    terms: Tensor

    def __init__(self, cutoff: float, species: Sequence[int]) -> None:
        super().__init__()
        self.spacing = cutoff / (NODES - 1)
        pairs, tables = PairTables(species), []
        for v, w in torch.triu_indices(len(species), len(species)).T.tolist():
            function = partial(_terms, cutoff=cutoff, r0=float(pairs.r0[v, w]), z=(species[v], species[w]))
            tables.append(tabulate(function, cutoff, NODES))
        self.register_buffer("terms", torch.stack(tables).contiguous(), persistent=False)
        self.register_buffer("amplitudes", torch.tensor(LEAST, dtype=torch.float64).clamp(min=0).repeat(len(tables), 1))
        self.register_buffer("strengths", torch.zeros(1 + len(DECAY), len(species), dtype=torch.float64))

    def table(self) -> Float[Tensor, "p nodes k"]:
        """What is summed over an atom's neighbours: u, densities, and half the energy of its pairs."""
        energy = self.terms[..., -len(STEEPNESS) :] @ self.amplitudes.unsqueeze(2)
        own = self.terms[..., : -len(STEEPNESS)]
        return torch.cat([own[..., :-1], own[..., -1:] + energy], dim=2)

    def forward(
        self, sums: Float[Tensor, "g n k"], species: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "g n"], Float[Tensor, "g n"]]:
        """Energy of each atom (eV), and n_v.

        Args:
            sums: over its neighbours, of `table`.
            species: index of each atom's element.
        """
        coordination, densities, pairs = sums[..., 0], sums[..., 1:-1], sums[..., -1]
        n = 1 - torch.exp(-coordination)
        roots = torch.sqrt(densities + SOFTENED) - SOFTENED**0.5
        c, xi = self.strengths[0, species], self.strengths[1:, species].T
        return c * n + (xi * roots).sum(-1) + pairs, n

    def slopes(self, sums: Float[Tensor, "n k"], species: Int[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """Derivative of each atom's energy by its sums."""
        fading = torch.exp(-sums[:, 0])
        by_density = self.strengths[1:, species].T * (0.5 / torch.sqrt(sums[:, 1:-1] + SOFTENED))
        by_n = self.strengths[0, species] * fading
        return torch.cat([by_n[:, None], by_density, torch.ones_like(fading)[:, None]], dim=1)

    @torch.no_grad()
    def fit(self, batch: Batch, pair: Int[Tensor, " e"], all_terms: bool = True) -> float:
        """Set amplitudes and strengths by least squares of energies and forces; what is left to a network.

        Args:
            batch: labelled structures.
            pair: index of each pair's species.
            all_terms: False fits c alone and leaves the rest as it is.

        Returns:
            root mean square of the force components that are left (eV/Å), violent structures counting less; of the
            energies per atom (eV) where there are no forces.
        """
        energies, forces, zbl_energies, zbl_forces = self._design(batch.graph, pair)
        n, structure = batch.n_atoms.double(), batch.graph.structure
        square = batch.forces.double().square().sum(1)
        rms = (torch.zeros_like(n).index_add(0, structure, square) / (3 * n)).sqrt()
        weight = (batch.has_forces.double() / (1 + rms / VIOLENT))[structure][:, None].expand(-1, 3).flatten()
        by_force = weight / n[structure][:, None].expand(-1, 3).flatten().sqrt()
        by_energy = ENERGY_WEIGHT**0.5 / n
        seen = by_force > 0
        a = torch.cat([by_energy[:, None] * energies, (by_force[:, None] * forces)[seen]])
        left = batch.energies.double() - zbl_energies, batch.forces.double().flatten() - zbl_forces
        y = torch.cat([by_energy * left[0], (by_force * left[1])[seen]])
        n_amplitudes = self.amplitudes.numel()
        solution = torch.cat([self.amplitudes.flatten(), self.strengths.flatten()]).double()
        fitted = torch.ones(len(solution), dtype=torch.bool)
        if not all_terms:
            fitted[:n_amplitudes] = fitted[n_amplitudes + self.strengths.shape[1] :] = False
        y -= a[:, ~fitted] @ solution[~fitted]
        lowest = np.full(len(solution), -np.inf)
        lowest[:n_amplitudes] = np.tile(LEAST, len(self.amplitudes))
        found = _bounded(a[:, fitted].numpy(), y.numpy(), lowest[fitted.numpy()], RIDGE * len(n))
        solution[fitted] = torch.from_numpy(found)
        amplitudes = solution[:n_amplitudes].reshape(self.amplitudes.shape)
        if all_terms:
            amplitudes = self._unlike(amplitudes, energies[:, :n_amplitudes].abs().sum(0))
        self.amplitudes.copy_(amplitudes)
        self.strengths.copy_(solution[n_amplitudes:].reshape(self.strengths.shape))
        if not bool(seen.any()):
            return float(((left[0] - energies @ solution) / n).square().mean().sqrt())
        off = (weight * (left[1] - forces @ solution))[seen]
        return float(off.square().sum().div(weight.square().sum()).sqrt())

    def _unlike(self, amplitudes: Tensor, seen: Tensor) -> Tensor:
        """Amplitudes in which unlike species that never met repel as the mean of the like ones do."""
        n_species = self.strengths.shape[1]
        first, second = torch.triu_indices(n_species, n_species)
        like = amplitudes[first == second]
        met = seen.reshape(amplitudes.shape).sum(1, keepdim=True) > 0
        return torch.where(met, amplitudes, 0.5 * (like[first] + like[second]))

    def _design(self, graph: Graph, pair: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Energies (s, unknowns) and forces (3 n, unknowns) for unit amplitudes and strengths, and those of ZBL."""
        n, s, n_z = len(graph.species), graph.n_structures, self.strengths.shape[1]
        n_q, n_p, n_pairs = len(DECAY), len(STEEPNESS), len(self.amplitudes)
        vectors = graph.vectors.double()
        r = torch.linalg.vector_norm(vectors, dim=1)
        unit = vectors / r[:, None]
        with torch.enable_grad():
            at = r.clone().requires_grad_(True)
            values = interpolate(self.terms.double()[None], self.spacing, pair, at[None])[0]
            slopes = torch.stack(
                [torch.autograd.grad(x.sum(), at, retain_graph=True)[0] for x in values.unbind(1)], dim=1
            )
        values = values.detach()
        sums = values.new_zeros(n, 1 + n_q)
        sums.index_add_(0, graph.centre, values[:, : 1 + n_q]).index_add_(0, graph.neighbour, values[:, : 1 + n_q])
        n_v, roots = 1 - torch.exp(-sums[:, :1]), torch.sqrt(sums[:, 1:] + SOFTENED)
        of_atom = torch.cat([n_v, roots - SOFTENED**0.5], dim=1)
        by_sums = torch.cat([1 - n_v, 0.5 / roots], dim=1)

        by_pair = values.new_zeros(s, n_pairs, n_p)
        by_pair.index_put_((graph.structure[graph.centre], pair), 2 * values[:, -n_p:], accumulate=True)
        by_atom = values.new_zeros(s, n_z, 1 + n_q)
        by_atom.index_put_((graph.structure, graph.species), of_atom, accumulate=True)
        energies = torch.cat([by_pair.flatten(1), by_atom.mT.flatten(1)], dim=1)
        zbl_energies = values.new_zeros(s).index_add(0, graph.structure[graph.centre], 2 * values[:, 1 + n_q])

        pushed = values.new_zeros(n, 3, n_pairs, n_p)
        bound = values.new_zeros(n, 3, n_z, 1 + n_q)
        zbl_forces = values.new_zeros(n, 3)
        along = unit[:, :, None] * (2 * slopes[:, None, -n_p:])
        at_zbl = unit * (2 * slopes[:, 1 + n_q, None])
        for atom, sign in ((graph.centre, 1.0), (graph.neighbour, -1.0)):
            pushed.transpose(1, 2).index_put_((atom, pair), sign * along, accumulate=True)
            zbl_forces.index_add_(0, atom, sign * at_zbl)
            for source in (graph.centre, graph.neighbour):
                pull = unit[:, :, None] * (sign * by_sums[source] * slopes[:, : 1 + n_q])[:, None]
                bound.transpose(1, 2).index_put_((atom, graph.species[source]), pull, accumulate=True)
        forces = torch.cat([pushed.flatten(2), bound.mT.flatten(2)], dim=2).flatten(0, 1)
        return energies, forces, zbl_energies, zbl_forces.flatten()


def _terms(r: Float[Tensor, "*e"], cutoff: float, r0: float, z: tuple[int, int]) -> Float[Tensor, "*e k"]:
    """The columns of `Cohesion.terms` at distances r (Å)."""
    u, x = smooth_cutoff(r, cutoff), r / r0 - 1
    densities = [u * torch.exp(-2 * q * x) for q in DECAY]
    pairs = [0.5 * u * torch.exp(-p * x) for p in STEEPNESS]
    return torch.stack([u, *densities, 0.5 * zbl(r, *z, OFF * r0), *pairs], dim=1)


def _bounded(a: np.ndarray, y: np.ndarray, lowest: np.ndarray, ridge: float) -> np.ndarray:
    """Least squares of a x = y with x ≥ lowest, columns scaled alike, damped by a ridge."""
    size = np.sqrt((a**2).mean(0))
    size[size == 0] = 1.0
    triangle = np.asarray(np.linalg.qr(np.column_stack([a / size, y]), mode="r"))
    n = a.shape[1]
    rows = np.concatenate([triangle[:, :n], ridge**0.5 * np.eye(n)])
    target = np.concatenate([triangle[:, n], np.zeros(n)])
    return lsq_linear(rows, target, (lowest * size, np.inf), method="bvls").x / size
