"""What every energy model must obey, whatever it is made of. Subclass, give a `model`, and pytest runs it all."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.spatial.transform import Rotation

from growth.energy_model import EnergyModel
from growth.sites import with_adatom


class EnergyModelContract:
    """Subclasses define a fixture `model` and, where the defaults do not fit, the attributes below.

    Attributes:
        symbols: elements the model knows, at least one.
        bond: Å, typical nearest-neighbour distance.
        tolerance: eV and eV/Å, of what must be equal.
        slope_tolerance: eV/Å, of forces against finite differences of the energy.
        cutoffs: Å, distances at which an interaction ends.
    """

    symbols: tuple[str, ...] = ("Al",)
    bond = 2.8
    tolerance = 1e-8
    slope_tolerance = 1e-5
    cutoffs: tuple[float, ...] = (5.5,)

    @pytest.fixture
    def model(self) -> EnergyModel:
        raise NotImplementedError("subclasses of EnergyModelContract give a model")

    @pytest.fixture
    def cluster(self) -> Atoms:
        """Thirteen atoms without any symmetry, elements mixed."""
        rng = np.random.default_rng(3)
        fcc = bulk("Al", "fcc", a=self.bond * 2**0.5, cubic=True).repeat(3)
        near = np.argsort(np.linalg.norm(fcc.positions - fcc.positions[42], axis=1), kind="stable")[:13]
        positions = fcc.positions[near] + rng.normal(0.0, 0.04 * self.bond, (13, 3))
        return Atoms(rng.choice(self.symbols, 13), positions)

    @pytest.fixture
    def crystal(self) -> Atoms:
        """Four atoms in a periodic cell, off their lattice sites."""
        crystal = bulk(self.symbols[0], "fcc", a=self.bond * 2**0.5, cubic=True)
        crystal.rattle(0.03 * self.bond, seed=5)
        return crystal

    def close(self, a: np.ndarray, b: np.ndarray) -> bool:
        return bool(np.allclose(a, b, rtol=0.0, atol=self.tolerance))

    def test_fields_fit_together(self, model: EnergyModel, cluster: Atoms) -> None:
        structures = [cluster, cluster[:5]]
        found = model(structures)
        assert found.energies.shape == (2,)
        assert found.member_energies.shape[1] == 2
        assert [forces.shape for forces in found.forces] == [(13, 3), (5, 3)]
        assert [std.shape for std in found.forces_std] == [(13,), (5,)]
        assert all((std >= 0).all() for std in found.forces_std)
        assert self.close(found.member_energies.mean(axis=0), found.energies)
        assert self.close([share.sum() for share in found.atom_energies], found.energies)
        assert model.reach > 0
        assert model.screen.reach <= model.reach

    @pytest.mark.parametrize("mirror", [1.0, -1.0], ids=["rotation", "rotation and reflection"])
    def test_turns_with_the_structure(self, model: EnergyModel, cluster: Atoms, mirror: float) -> None:
        turn = mirror * Rotation.from_rotvec([0.4, -1.1, 2.0]).as_matrix()
        turned = Atoms(cluster.numbers, cluster.positions @ turn.T)
        a, b = model([cluster]), model([turned])
        assert self.close(a.energies, b.energies)
        assert self.close(a.member_energies, b.member_energies)
        assert self.close(a.forces[0] @ turn.T, b.forces[0])
        assert self.close(a.forces_std[0], b.forces_std[0])

    def test_does_not_know_where_it_is(self, model: EnergyModel, cluster: Atoms) -> None:
        shifted = Atoms(cluster.numbers, cluster.positions + np.array([13.0, -7.0, 4.0]))
        a, b = model([cluster]), model([shifted])
        assert self.close(a.energies, b.energies)
        assert self.close(a.forces[0], b.forces[0])
        assert self.close(a.forces[0].sum(axis=0), np.zeros(3))

    def test_does_not_know_who_is_who(self, model: EnergyModel, cluster: Atoms) -> None:
        order = np.random.default_rng(1).permutation(len(cluster))
        a, b = model([cluster]), model([cluster[order]])
        assert self.close(a.energies, b.energies)
        assert self.close(a.forces[0][order], b.forces[0])
        assert self.close(a.atom_energies[0][order], b.atom_energies[0])

    def test_batch_is_one_by_one(self, model: EnergyModel, cluster: Atoms, crystal: Atoms) -> None:
        structures = [cluster, crystal, cluster[:1], cluster[:6]]
        together, apart = model(structures), [model([structure]) for structure in structures]
        assert self.close(together.energies, np.array([one.energies[0] for one in apart]))
        assert self.close(together.member_energies, np.concatenate([one.member_energies for one in apart], axis=1))
        assert all(self.close(a, one.forces[0]) for a, one in zip(together.forces, apart, strict=True))

    def test_nothing_is_no_structure(self, model: EnergyModel) -> None:
        found = model([])
        assert found.energies.shape == (0,)
        assert found.forces == []

    def test_far_apart_is_the_sum(self, model: EnergyModel, cluster: Atoms) -> None:
        other = cluster[:6]
        far = Atoms(other.numbers, other.positions + np.array([model.reach + 40.0, 0.0, 0.0]))
        parts, both = model([cluster, other]), model([cluster + far])
        assert self.close(parts.energies.sum(), both.energies[0])
        assert self.close(np.concatenate(parts.forces), both.forces[0])

    def test_nothing_beyond_reach_is_felt(self, model: EnergyModel, cluster: Atoms) -> None:
        """A chain of atoms from the cluster outwards; its end is further from the cluster than `reach`."""
        edge = cluster.positions[:, 0].max()
        n_links = int(np.ceil((model.reach + 0.1) / self.bond)) + 1
        chain = np.column_stack([edge + self.bond * np.arange(1, n_links + 1), np.zeros(n_links), np.zeros(n_links)])
        chain[:, 1:] += cluster.positions[np.argmax(cluster.positions[:, 0]), 1:]
        whole = cluster + Atoms([self.symbols[0]] * n_links, chain)
        a, b = model([whole]), model([whole[:-1]])
        assert self.close(a.forces[0][:13], b.forces[0][:13])

    def test_forces_are_minus_the_slope(self, model: EnergyModel, cluster: Atoms) -> None:
        rng = np.random.default_rng(2)
        step, directions = 1e-4, rng.normal(size=(4, 13, 3))
        moved = [
            Atoms(cluster.numbers, cluster.positions + sign * step * direction)
            for direction in directions
            for sign in (1, -1)
        ]
        energies = model(moved).energies.reshape(-1, 2)
        slopes = (energies[:, 0] - energies[:, 1]) / (2 * step)
        forces = model([cluster]).forces[0]
        assert np.allclose(slopes, -(directions * forces).sum(axis=(1, 2)), rtol=0, atol=self.slope_tolerance * 20)

    def test_smooth_across_the_cutoff(self, model: EnergyModel, cluster: Atoms) -> None:
        """An atom leaves: energy and force change without a jump wherever an interaction ends."""
        pair = cluster[:2]
        axis = np.array([0.36, 0.48, 0.8])
        for cutoff in self.cutoffs:
            distances = cutoff + np.linspace(-0.05, 0.05, 41)
            spacing = distances[1] - distances[0]
            path = [with_adatom(pair[:1], self.symbols[-1], pair.positions[0] + d * axis) for d in distances]
            found = model(path)
            pull = np.array([forces[1] @ axis for forces in found.forces])
            slope = -(found.energies[2:] - found.energies[:-2]) / (2 * spacing)
            assert np.abs(slope - pull[1:-1]).max() < 100 * self.slope_tolerance + 1e-3 * np.abs(pull).max()
            change = np.abs(np.diff(pull))  # a jump stands out from the changes beside it
            beside = np.maximum(change[:-2], change[2:])
            assert (change[1:-1] < 2 * beside + 100 * self.slope_tolerance).all()

    def test_supercell_is_the_cell_repeated(self, model: EnergyModel, crystal: Atoms) -> None:
        a, b = model([crystal]), model([crystal.repeat((2, 1, 3))])
        assert self.close(6 * a.energies, b.energies)
        assert self.close(np.tile(a.forces[0], (6, 1)), b.forces[0])

    def test_inside_of_a_large_cluster_is_the_periodic_crystal(self, model: EnergyModel, crystal: Atoms) -> None:
        cells = 2 * int(np.ceil((model.reach + self.bond) / crystal.cell.lengths().min())) + 1
        large = crystal.repeat(cells)
        large.pbc = False
        first = len(crystal) * ((cells**3) // 2)
        centre = large.positions[first : first + len(crystal)].mean(axis=0)
        near = np.linalg.norm(large.positions - centre, axis=1) <= model.reach + 1.5 * self.bond
        inner = np.arange(first, first + len(crystal))
        kept = np.concatenate([inner, np.setdiff1d(np.flatnonzero(near), inner)])
        cluster = Atoms(large.numbers[kept], large.positions[kept])
        a, b = model([crystal]), model([cluster])
        assert self.close(a.forces[0], b.forces[0][: len(crystal)])
