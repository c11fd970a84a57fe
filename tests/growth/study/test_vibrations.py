"""Vibrations: by hand, by equipartition, by ASE, and with the motions that cost nothing left out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms
from ase.thermochemistry import HarmonicThermo
from ase.vibrations import Vibrations
from hypothesis import given, settings
from hypothesis import strategies as st

from growth.emt import EMTModel
from growth.energy_model import CommitteeModel
from growth.errors import InputError
from growth.kinetics import PLANCK
from growth.lennard_jones import LennardJonesModel
from growth.study.vibrations import (
    CM,
    VibrationSettings,
    normal_modes,
    oscillators,
    rigid_motions,
    vibrations,
    write_vibrations,
)
from learner.prediction import Prediction

RNG = np.random.default_rng(0)


class Springs:
    """A spring of stiffness k between the first two atoms; each member has its own."""

    reach = 10.0

    def __init__(self, *stiffness: float) -> None:
        self.k = np.array(stiffness)

    @property
    def screen(self) -> "Springs":
        return self

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        stretch = np.array([s.get_distance(0, 1) - 2.0 for s in structures])
        axes = np.array([s.positions[1] - s.positions[0] for s in structures]) / (stretch + 2.0)[:, None]
        pull = self.k.mean() * stretch[:, None] * axes
        each = 0.5 * self.k[:, None] * stretch**2
        forces = [np.array([p, -p]) for p in pull]
        return Prediction(each.mean(axis=0), forces, each, [np.zeros(2) for _ in structures], [np.zeros(2)] * len(pull))


def test_a_diatomic_has_the_frequency_of_its_reduced_mass() -> None:
    pair = Atoms("CO", [[0.1, 0.2, 0.3], [1.2, 1.1, 1.6]])
    found = vibrations(pair, Springs(40.0), VibrationSettings(fmax=1e-6), RNG)
    m, n = pair.get_masses()
    omega = np.sqrt(40.0 / (m * n / (m + n))) * units.second
    assert found.n_rigid == 5
    assert found.frequencies == pytest.approx([omega / (2 * np.pi)], rel=1e-4)
    assert found.frequencies_std is None
    assert found.oscillators.zero_point == pytest.approx(0.5 * PLANCK * omega / (2 * np.pi), rel=1e-4)
    along = found.modes[0, 1] - found.modes[0, 0]
    bond = found.relaxed.structure.positions[1] - found.relaxed.structure.positions[0]
    assert np.linalg.norm(np.cross(along, bond)) < 1e-6


class SpringCommittee(Springs):
    """What a learned committee offers."""

    def member(self, index: int) -> "SpringCommittee":
        return SpringCommittee(self.k[index])

    def where_few_move(self, structures: Sequence[Atoms]) -> Prediction:
        return self(structures)


def test_a_committee_gives_a_std() -> None:
    pair = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0]])
    found = vibrations(pair, CommitteeModel(SpringCommittee(36.0, 49.0)), VibrationSettings(fmax=1e-6), RNG)
    each = np.sqrt(np.array([36.0, 49.0]) * 2 / pair.get_masses()[0]) * units.second / (2 * np.pi)
    assert found.frequencies_std == pytest.approx([each.std()], rel=1e-4)
    assert found.free_energy_std is not None
    assert found.free_energy_std[0] == pytest.approx(0.5 * PLANCK * each.std(), rel=1e-4)
    alone = vibrations(pair, CommitteeModel(SpringCommittee(36.0)), VibrationSettings(), RNG)
    assert alone.frequencies_std is None


@pytest.mark.parametrize(
    ("structure", "n_rigid"),
    [
        (Icosahedron("Cu", 2), 6),
        (molecule("CO2"), 5),
        (Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]]), 5),
        (Atoms("Cu"), 3),
        (bulk("Cu", cubic=True), 3),
    ],
)
def test_rigid_motions(structure: Atoms, n_rigid: int) -> None:
    motions = rigid_motions(structure)
    assert motions.shape == (n_rigid, len(structure), 3)
    held = structure.copy()
    held.set_constraint(FixAtoms([0]))
    assert rigid_motions(held).shape == (0, len(structure) - 1, 3)
    for motion in motions if not structure.pbc.any() else []:
        moved = structure.copy()
        moved.positions += 1e-5 * motion / max(np.abs(motion).max(), 1e-12)
        assert np.allclose(moved.get_all_distances(), structure.get_all_distances(), atol=1e-8)


def test_rigid_motions_are_left_out_exactly() -> None:
    """Of a Hessian that punishes them, which no energy does, what is left is as without."""
    structure = Icosahedron("Cu", 2)
    a = np.random.default_rng(1).normal(size=(39, 39))
    rigid = rigid_motions(structure).reshape(6, -1) * np.repeat(structure.get_masses(), 3)
    clean = a @ a.T
    punished = clean + rigid.T @ rigid
    assert np.allclose(normal_modes(structure, clean)[0], normal_modes(structure, punished)[0], rtol=1e-8)


def test_emt_vibrations_agree_with_ase(tmp_path: Path) -> None:
    cluster = Atoms("Cu6", Icosahedron("Cu", 2).positions[:6])
    found = vibrations(cluster, EMTModel(["Cu"]), VibrationSettings(fmax=1e-4), RNG)
    at_rest = found.relaxed.structure.copy()
    at_rest.calc = EMT()
    by_ase = Vibrations(at_rest, name=str(tmp_path / "vib"), delta=0.01, nfree=2)
    by_ase.run()
    energies = by_ase.get_energies()
    real = np.sort(np.real(energies[np.abs(energies) > 1e-3]))
    assert len(found.frequencies) == 12
    assert PLANCK * found.frequencies == pytest.approx(real[-12:], rel=2e-3)
    thermo = HarmonicThermo(PLANCK * found.frequencies)
    k = int(np.flatnonzero(np.isclose(found.oscillators.temperatures_K, 300.0))[0])
    assert found.oscillators.free_energy[k] == pytest.approx(thermo.get_helmholtz_energy(300.0, verbose=False))
    assert found.oscillators.entropy[k] == pytest.approx(thermo.get_entropy(300.0, verbose=False))


def test_icosahedron_of_lennard_jones_has_the_degeneracies_of_its_group() -> None:
    """Of the 33 modes of LJ13: A_g, T1u, H_g, G_u ... in sets of 1, 3, 4 and 5; none is lonely but one."""
    model = LennardJonesModel(0.1, 2.5)
    start = Atoms("Ar13", Icosahedron("Cu", 2).positions * 1.05)
    found = vibrations(start, model, VibrationSettings(fmax=1e-5), RNG)
    assert found.relaxed.energy / 0.1 == pytest.approx(-44.326801, abs=1e-5)
    assert len(found.frequencies) == 33
    steps = np.diff(np.concatenate([[0.0], found.frequencies, [np.inf]])) > 1e-3 * found.frequencies[0]
    sizes = np.diff(np.flatnonzero(steps))
    assert sorted(sizes.tolist()) == [1, 3, 3, 3, 4, 4, 5, 5, 5]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(1e11, 5e13), min_size=1, max_size=9))
def test_limits_of_oscillators(frequencies: list[float]) -> None:
    nu = np.array(frequencies)
    kT = 50 * PLANCK * nu.max()
    T = np.array([0.0, 1.0, 0.999 * kT / units.kB, kT / units.kB, 1.001 * kT / units.kB])
    found = oscillators(nu, T)
    assert found.free_energy[0] == pytest.approx(0.5 * PLANCK * nu.sum())
    assert found.entropy[0] == found.heat_capacity[0] == 0.0
    assert found.heat_capacity[3] == pytest.approx(len(nu) * units.kB, rel=1e-3)
    assert found.classical_heat_capacity == pytest.approx(len(nu) * units.kB)
    assert found.free_energy[3] == pytest.approx(found.classical_free_energy[3], abs=1e-3 * kT * len(nu))
    slope = (found.free_energy[4] - found.free_energy[2]) / (T[4] - T[2])
    assert found.entropy[3] == pytest.approx(-slope, rel=1e-4, abs=1e-9)


def test_unstable_modes_are_told_and_left_out(tmp_path: Path) -> None:
    """Three atoms in a row, held there: bending is unstable on a pair potential that is stretched."""
    row = Atoms("Ar3", [[0, 0, 0], [2.0, 0, 0], [4.0, 0, 0]])
    found = vibrations(
        row, LennardJonesModel(0.1, 1.8), VibrationSettings(fmax=50.0), RNG, oracle=LennardJonesModel(0.1, 1.8)
    )
    assert found.n_rigid == 5
    assert found.n_unstable == 2
    assert found.oscillators.classical_heat_capacity == pytest.approx(2 * units.kB)
    told = write_vibrations(found, tmp_path)
    assert told["n_unstable"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        f"vibrations.{end}" for end in ("json", "csv", "extxyz", "png")
    }


def test_structures_that_cannot_move_are_refused() -> None:
    held = Atoms("Cu2", [[0, 0, 0], [2.3, 0, 0]], constraint=FixAtoms([0, 1]))
    with pytest.raises(InputError, match="expected atoms that may move"):
        vibrations(held, EMTModel(["Cu"]), VibrationSettings(), RNG)


def test_wavenumbers() -> None:
    assert pytest.approx(2.99792458e10, rel=1e-6) == CM
