from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from scipy.spatial.distance import cdist, pdist
from scipy.spatial.transform import Rotation

from growth import rearrange
from growth.contact_points import OVERLAP, ContactPoints, closeness
from growth.energy_model import CalculatorModel, CountingModel
from growth.errors import InputError
from growth.ground_state import GroundStateSettings, Visit, find_ground_states, motif_shares
from growth.lennard_jones import LennardJonesModel
from learner.prediction import Prediction

EPSILON = 0.1
LJ7, LJ13 = -16.505384, -44.326801
"""ε, Cambridge Cluster Database."""


def lennard_jones() -> LennardJonesModel:
    return LennardJonesModel(EPSILON, 2.5)


def wanted(n_atoms: int, budget: int) -> GroundStateSettings:
    return GroundStateSettings(
        species="Ar",
        bond_length=lennard_jones().bond_length,
        n_atoms=n_atoms,
        budget=budget,
        coarse_calls=30,
        max_calls=60,
        fmax=2e-4,
    )


def last(visits: Sequence[Visit]) -> dict[int, Visit]:
    return {visit.n_atoms: visit for visit in visits}


def test_growth_to_13_finds_the_ground_states_of_7_and_13() -> None:
    best = last(list(find_ground_states(lennard_jones(), wanted(13, 5000), np.random.default_rng(0))))
    assert best[7].energy / EPSILON == pytest.approx(LJ7, abs=1e-4)
    assert best[13].energy / EPSILON == pytest.approx(LJ13, abs=1e-4)
    assert sorted(best) == list(range(3, 14))
    for n_atoms, visit in best.items():
        again = lennard_jones()([visit.structure])
        assert len(visit.structure) == n_atoms
        assert again.energies[0] == pytest.approx(visit.energy, abs=1e-9)
        assert visit.converged == (np.linalg.norm(again.forces[0], axis=1).max() <= 2e-4)
        assert visit.found_at <= visit.calls


def test_the_same_seed_finds_the_same_by_the_same_calls() -> None:
    runs = [list(find_ground_states(lennard_jones(), wanted(6, 600), np.random.default_rng(s))) for s in (5, 5, 6)]
    path = [[(v.n_atoms, v.sweep, v.energy, v.calls, v.found_at) for v in run] for run in runs]
    assert path[0] == path[1]
    assert path[0] != path[2]
    assert all(
        np.array_equal(a.structure.positions, b.structure.positions) for a, b in zip(runs[0], runs[1], strict=True)
    )


@pytest.mark.parametrize("budget", [1, 150, 1200])
def test_the_budget_is_never_exceeded(budget: int) -> None:
    counted = CountingModel(lennard_jones())
    visits = list(find_ground_states(counted, wanted(9, budget), np.random.default_rng(1)))
    assert counted.structures <= budget
    assert [visit.calls for visit in visits] == sorted(visit.calls for visit in visits)
    assert not visits or visits[-1].calls == counted.structures
    assert budget < 1000 or counted.structures > budget - 100


def test_best_energies_never_rise_from_sweep_to_sweep() -> None:
    best: dict[int, float] = {}
    for visit in find_ground_states(lennard_jones(), wanted(7, 1500), np.random.default_rng(2)):
        assert visit.energy <= best.get(visit.n_atoms, np.inf)
        best[visit.n_atoms] = visit.energy
    assert len(best) == 5


def test_the_sweep_down_repairs_what_the_way_up_missed() -> None:
    """With no calls of its own on the way up, six atoms are served by taking one from seven."""
    given = wanted(7, 1500).model_copy(update={"even": 0.0, "effort": 9.0, "sweeps": (0.5, 0.5)})
    visits = list(find_ground_states(lennard_jones(), given, np.random.default_rng(0)))
    assert last(visits)[6].energy / EPSILON == pytest.approx(-12.712062, abs=1e-4)


def test_it_grows_on_any_energy_model() -> None:
    """On EMT, with bond lengths from the element."""
    given = GroundStateSettings(species="Cu", n_atoms=6, budget=700, sweeps=(1.0,))
    model = CalculatorModel(EMT, reach=11.76)
    best = last(list(find_ground_states(model, given, np.random.default_rng(0))))
    octahedron = cdist(best[6].structure.positions, best[6].structure.positions)
    assert ((octahedron > 0.1) & (octahedron < 3.0)).sum(axis=1).tolist() == [4] * 6
    assert best[6].structure.get_chemical_symbols() == ["Cu"] * 6


def test_a_model_without_an_answer_leaves_no_minimum() -> None:
    class Nowhere(LennardJonesModel):
        def __call__(self, structures: Sequence[Atoms]) -> Prediction:
            found = super().__call__(structures)
            return Prediction(
                energies=np.full(len(structures), np.nan),
                forces=found.forces,
                member_energies=found.member_energies,
                forces_std=found.forces_std,
                atom_energies=found.atom_energies,
            )

    assert list(find_ground_states(Nowhere(), wanted(3, 120), np.random.default_rng(0))) == []


def test_an_unknown_move_is_refused() -> None:
    given = wanted(4, 100).model_copy(update={"moves": {"jump": 1.0}})
    with pytest.raises(InputError, match="relocate"):
        next(find_ground_states(lennard_jones(), given, np.random.default_rng(0)))


def test_motifs_tell_icosahedron_crystals_and_twins_apart() -> None:
    icosahedron = Icosahedron("Cu", 2).positions
    bond = np.sort(pdist(icosahedron))[:42].mean()
    assert motif_shares(icosahedron / bond)[0] == pytest.approx(12 / 13)
    fcc = bulk("Cu", a=2.0**0.5, cubic=True).repeat(3)
    assert motif_shares(fcc.positions) == (0.0, 0.0)
    hcp = bulk("Mg", a=1.0, c=(8 / 3) ** 0.5).repeat(5)
    assert motif_shares(hcp.positions)[0] == 0.0
    assert motif_shares(hcp.positions)[1] > 1.0


def test_contact_points_of_a_triangle_are_its_two_caps_and_three_rims() -> None:
    triangle = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.75**0.5, 0.0]])
    found = ContactPoints(triangle)
    assert len(found.points) == 5
    assert np.allclose(np.sort(cdist(found.points, triangle).round(6), axis=1)[:, 0], 1.0)
    assert sorted(found.touches > 2.9) == [False, False, False, True, True]


def test_contact_points_kept_up_to_date_are_those_found_anew() -> None:
    rng = np.random.default_rng(3)
    grown = ContactPoints(np.empty((0, 3)))
    grown.fill(12, 0.3, rng)
    anew = ContactPoints(grown.atoms)
    three = [
        points[np.isclose(cdist(points, grown.atoms), 1.0, atol=1e-9).sum(axis=1) >= 3]
        for points in (grown.points, anew.points)
    ]
    assert len(three[1]) > 10
    assert cdist(three[0], three[1]).min(axis=1).max() < 1e-6
    assert cdist(three[0], three[1]).min(axis=0).max() < 1e-6
    assert cdist(grown.points, grown.atoms).min() >= OVERLAP
    assert pdist(grown.atoms).min() >= OVERLAP


def test_less_noise_makes_more_contacts() -> None:
    rng = np.random.default_rng(0)
    contacts = [
        np.mean([closeness(pdist(rearrange.fresh(13, noise, rng))).sum() for _ in range(5)])
        for noise in (0.05, 1.5, 20.0)
    ]
    assert contacts[0] > contacts[1] + 1.0
    assert contacts[1] > contacts[2] + 1.0


def test_relocated_atoms_are_the_weakest_and_do_not_go_back() -> None:
    rng = np.random.default_rng(0)
    compact = rearrange.fresh(12, 0.01, rng)
    lonely = np.concatenate([compact, [compact[0] + 4.0]])
    energies = np.append(np.full(12, -3.0), -0.1)
    found = rearrange.relocate(lonely, energies, 1, 0.01, rng)
    assert np.array_equal(found[:12], compact)
    touches = closeness(cdist(found[12:], compact)).sum()
    assert touches == pytest.approx(ContactPoints(compact).touches.max(), abs=0.1)
    again = rearrange.relocate(found, energies, 1, 0.01, rng)
    assert np.linalg.norm(again[12] - found[12]) > 0.39


def test_every_move_returns_as_many_atoms_none_overlapping() -> None:
    rng = np.random.default_rng(4)
    one, other = rearrange.fresh(20, 0.5, rng), rearrange.fresh(21, 0.5, rng)
    for _ in range(10):
        found = [
            rearrange.relocate(one, -np.ones(20), 6, 0.5, rng),
            rearrange.regrow(one, 0.5, 0.5, rng),
            rearrange.splice(one, other, 20, 0.5, rng),
            rearrange.twist(one, 0.5, rng),
        ]
        assert [positions.shape for positions in found] == [(20, 3)] * 4
        assert min(pdist(positions).min() for positions in found) >= OVERLAP * (1 - 1e-9)
        assert all(positions.shape == (20, 3) for positions in [rearrange.shake(one, 0.1, rng)])


def test_rotations_are_proper() -> None:
    rng = np.random.default_rng(0)
    turns = [rearrange.rotation(rng) for _ in range(20)]
    assert all(np.allclose(turn @ turn.T, np.eye(3)) and np.linalg.det(turn) > 0 for turn in turns)
    assert np.std([Rotation.from_matrix(turn).magnitude() for turn in turns]) > 0.1
