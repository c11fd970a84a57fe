from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc100, fcc111
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron, Octahedron
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from growth.candidates import OVERLAP, bond_lengths, bond_radius, find_candidates, with_images
from growth.errors import InputError
from growth.observables import coordination, flaw, n_parts, pair_distances, pair_signatures
from growth.seeds import SeedSettings, make_seed
from growth.sites import Site, SiteSettings, find_sites, merged, search_sites
from scripts.site_search.reference import dense_minima, same
from scripts.site_search.rigid import Rigid, RigidEMT, RigidTersoff, tersoff
from tests.growth.models import LennardJonesModel, emt, fcc14

ICOSAHEDRON = Icosahedron("Al", 2, latticeconstant=4.0)


@given(seed=st.integers(0, 10**6), n_atoms=st.integers(1, 20))
@settings(max_examples=25)
def test_candidates_touch_and_do_not_overlap(seed: int, n_atoms: int) -> None:
    rng = np.random.default_rng(seed)
    structure = Atoms(f"Al{n_atoms}", rng.uniform(0.0, 2.6 * n_atoms ** (1 / 3), (n_atoms, 3)))
    found = find_candidates(structure, "Al")
    ratios = cdist(found.positions, structure.positions) / bond_lengths(structure, "Al")
    touched = (np.abs(ratios - 1.0) < 1e-6).sum(axis=1)
    assert (ratios >= OVERLAP - 1e-9).all()
    assert (touched >= found.n_touches).all()


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_a_turned_structure_has_the_turned_candidates_in_the_same_order(seed: int) -> None:
    turn = Rotation.random(random_state=seed).as_matrix()
    structure = fcc14()
    structure.rattle(0.1, seed=seed)
    a = find_candidates(structure, "Al")
    b = find_candidates(Atoms(structure.numbers, structure.positions @ turn.T), "Al")
    assert np.array_equal(a.n_touches, b.n_touches)
    assert np.allclose(a.positions @ turn.T, b.positions, atol=1e-7)
    assert np.allclose(a.frames @ turn.T, b.frames, atol=1e-7)


def test_symmetric_copies_are_one_candidate() -> None:
    """On an icosahedron: the hollow of a face, the bridge of an edge, the top of a corner."""
    found = find_candidates(ICOSAHEDRON, "Al")
    assert found.n_touches.tolist()[0] == 3
    assert len(found) <= 3


@pytest.mark.parametrize("n_atoms", [1, 2, 3])
def test_the_smallest_clusters_have_candidates(n_atoms: int) -> None:
    positions = np.array([[0.0, 0.0, 0.0], [2.8, 0.0, 0.0], [1.4, 2.4, 0.0]])[:n_atoms]
    assert find_candidates(Atoms(f"Al{n_atoms}", positions), "Al").n_touches.max() == n_atoms


def test_a_vacancy_inside_is_not_a_site_but_one_in_the_surface_is() -> None:
    large = Icosahedron("Al", 3, latticeconstant=4.0)
    order = np.argsort(np.linalg.norm(large.positions, axis=1), kind="stable")
    hollow, notched = large.copy(), large.copy()
    del hollow[[int(order[0])]]
    del notched[[int(order[-1])]]
    inside = large.positions[order[0]]
    assert np.linalg.norm(find_candidates(hollow, "Al").positions - inside, axis=1).min() > 1.0
    assert np.linalg.norm(find_candidates(notched, "Al").positions - large.positions[order[-1]], axis=1).min() < 0.5


def test_a_slab_offers_its_free_side_only() -> None:
    slab = make_seed(SeedSettings(kind="slab", species="Al", repeat=(2, 2, 3), fixed_layers=1))
    found = find_candidates(slab, "Al")
    assert (found.positions[:, 2] > slab.positions[:, 2].max()).all()
    free = slab.copy()
    free.set_constraint()
    assert find_candidates(free, "Al").positions[:, 2].min() < free.positions[:, 2].min()


def test_fcc_and_hcp_hollows_of_a_slab_are_both_found() -> None:
    slab = fcc111("Al", (2, 2, 3), a=3.995, vacuum=8.0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() == 3))
    assert (find_candidates(slab, "Al").n_touches == 3).sum() == 2


def test_candidates_do_not_depend_on_where_the_cell_is_cut() -> None:
    slab = fcc100("Al", (2, 2, 3), a=3.995, vacuum=8.0)
    slab.rattle(0.1, seed=0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() == 3))
    moved = slab.copy()
    moved.positions += [1.3, 2.1, 0.0]
    moved.wrap()
    a, b = find_candidates(slab, "Al"), find_candidates(moved, "Al")
    assert len(a) == len(b)
    assert np.allclose(np.sort(a.closeness), np.sort(b.closeness), atol=1e-6)


def test_images_are_all_within_reach() -> None:
    cell = fcc111("Al", (1, 1, 2), a=3.995, vacuum=5.0)
    points, owner = with_images(cell, 6.0)
    assert np.array_equal(owner[:2], [0, 1])
    counted = (np.linalg.norm(points - points[0], axis=1) < 3.0).sum() - 1
    assert counted == 9  # six in the plane, three below


def test_bond_radii() -> None:
    assert bond_radius("Cu") == pytest.approx(3.61 / 2**0.5 / 2)
    assert bond_radius("O") == pytest.approx(0.66)
    assert bond_lengths(Atoms("CuO", [[0, 0, 0], [0, 0, 2]]), "O", None)[1] == pytest.approx(1.32)
    with pytest.raises(InputError, match="at least one atom"):
        find_candidates(Atoms(), "Al")


def test_sites_are_sorted_distinct_minima() -> None:
    model = emt()
    structure = fcc14()
    structure.rattle(0.1, seed=1)
    before = structure.positions.copy()
    sites, counts, *_ = search_sites(structure, "Al", model, SiteSettings(), np.random.default_rng(0))
    assert np.array_equal(structure.positions, before)
    assert 1 < len(sites) <= 5
    energies = [site.energy for site in sites]
    assert energies == sorted(energies)
    assert counts["n_sites"] == len(sites)
    assert counts["full_calls"] > counts["n_relaxed"]
    for site in sites:
        assert len(site.structure) == 15
        assert np.array_equal(site.structure.positions[-1], site.position)
        assert site.converged
        assert np.linalg.norm(site.forces, axis=1).max() <= 0.05
        assert model([site.structure]).energies[0] == site.energy
    for a, b in pairwise(sites):
        assert b.energy - a.energy > 0.005 or np.ptp(pair_distances(a.structure) - pair_distances(b.structure)) > 0.05


def test_a_site_is_where_ase_would_end_up_too() -> None:
    site = find_sites(ICOSAHEDRON, "Al", emt(), SiteSettings(fmax=0.005, max_steps=300), np.random.default_rng(0))[0]
    shaken = site.structure.copy()
    shaken.rattle(0.01, seed=0)
    shaken.calc = EMT()
    BFGS(shaken, logfile=None).run(fmax=0.005, steps=200)
    assert shaken.get_potential_energy() == pytest.approx(site.energy, abs=2e-3)


COMPLETE = SiteSettings(
    complete=True,
    spacing=0.35,
    relax_radius=0.0,
    fmax=0.002,
    max_steps=300,
    n_competing=1000,
    energy_tolerance=0.002,
    distance_tolerance=0.03,
)
"""Every minimum of an adatom on a substrate that does not move."""


def notched_cluster() -> Atoms:
    structure = Octahedron("Al", 3, latticeconstant=4.0)
    del structure[[0]]
    structure.rattle(0.1, seed=0)
    return Atoms(structure.numbers, structure.positions)


def slab_with_a_vacancy() -> Atoms:
    slab = fcc100("Cu", (5, 5, 2), a=3.6, vacuum=8.0)
    del slab[[49]]
    return slab


@pytest.mark.parametrize("build", [notched_cluster, slab_with_a_vacancy])
def test_a_complete_search_misses_no_minimum_of_a_dense_one(build: Callable[[], Atoms]) -> None:
    substrate = build()
    species = str(substrate.symbols[0])
    model = RigidEMT(substrate, species)
    reference = dense_minima(model, spacing=0.6)
    sites, counts, *_ = search_sites(substrate, species, model, COMPLETE, np.random.default_rng(0))
    positions, energies = np.array([site.position for site in sites]), np.array([site.energy for site in sites])
    found = same(reference.positions, reference.energies, positions, energies, model).any(axis=1)
    assert len(reference.energies) > 10
    assert found.all(), reference.energies[~found]
    assert counts["n_relaxed"] < reference.n_starts / 4
    assert all(np.array_equal(site.structure.positions[:-1], substrate.positions) for site in sites)


@pytest.mark.parametrize(
    ("symbol", "rigid", "calculator"),
    [
        ("Al", RigidEMT, EMT),
        pytest.param("Si", RigidTersoff, lambda: tersoff("Si"), marks=pytest.mark.slow),
    ],
)
def test_a_rigid_substrate_has_the_energies_of_the_whole(
    symbol: str, rigid: Callable[[Atoms, str], Rigid], calculator: Callable[[], Calculator]
) -> None:
    substrate = Atoms(f"{symbol}12", 2.5 * np.array(list(np.ndindex(3, 2, 2))))
    substrate.rattle(0.1, seed=0)
    model = rigid(substrate, symbol)
    energies, forces = [], []
    for place in ([1.2, 1.3, 4.6], [2.6, 2.4, 4.4]):
        whole = substrate + Atoms(symbol, [place])
        whole.calc = calculator()
        energies.append(whole.get_potential_energy())
        forces.append(whole.get_forces()[-1])
    found, found_forces = model.at(np.array([[1.2, 1.3, 4.6], [2.6, 2.4, 4.4]]))
    assert np.ptp(found - energies) < 1e-9
    assert np.allclose(found_forces, forces, atol=1e-5)
    with pytest.raises(InputError, match="expected a cell at least"):
        rigid(fcc100("Al", (2, 2, 2), vacuum=5.0), symbol)


def site_of(structure: Atoms, energy: float = 0.0) -> Site:
    zeros = np.zeros((len(structure), 3))
    place = structure.positions[-1]
    return Site(structure, energy, zeros, zeros[:, 0], np.array([energy]), place, place, True)


def test_merging_tells_sites_of_large_crystals_apart_and_knows_exchanged_atoms() -> None:
    """An adatom that moves changes few of a large crystal's distances; one that changed places changes none."""
    slab = fcc111("Al", (6, 6, 4), a=4.0, vacuum=8.0)
    height = slab.positions[:, 2].max() + 2.3
    fcc, hcp = (slab + Atoms("Al", [[*slab.positions[slab.get_tags() == tag][8][:2], height]]) for tag in (3, 2))
    assert len(merged([site_of(fcc), site_of(hcp, 0.004)], 0.005, 0.05)) == 2
    elsewhere = slab + Atoms("Al", [[*slab.positions[slab.get_tags() == 3][20][:2], height]])
    assert len(merged([site_of(fcc), site_of(elsewhere, 0.001)], 0.005, 0.05)) == 1
    exchanged = fcc.copy()
    exchanged.positions[[7, -1]] = exchanged.positions[[-1, 7]]
    assert len(merged([site_of(fcc), site_of(exchanged, 0.001)], 0.005, 0.05)) == 1


def test_every_candidate_is_relaxed_where_no_limit_is_set() -> None:
    chosen = SiteSettings(max_ranked=None, max_candidates=None, screen_steps=1, max_steps=1)
    counts = search_sites(fcc14(), "Al", emt(), chosen, np.random.default_rng(0))[1]
    assert counts["n_raw"] == counts["n_ranked"] == counts["n_relaxed"]


def test_seven_lennard_jones_atoms() -> None:
    """From the octahedron's six to the pentagonal bipyramid or the capped octahedron: never below the known minimum."""
    octahedron = Atoms("Ar6", 0.79 * np.concatenate([np.eye(3), -np.eye(3)]))
    chosen = SiteSettings(bond_length=1.1, fmax=0.01)
    found = find_sites(octahedron, "Ar", LennardJonesModel(), chosen, np.random.default_rng(0))
    assert -16.505384 - 1e-6 <= found[0].energy <= -15.5


def test_the_full_model_decides_and_the_screen_does_the_work() -> None:
    class Screened(LennardJonesModel):
        calls = 0
        inner = LennardJonesModel()

        @property
        def screen(self) -> LennardJonesModel:
            return self.inner

    structure = Atoms("Ar4", 1.1 * np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.87, 0], [0.5, 0.29, 0.82]]))
    _, counts, *_ = search_sites(
        structure, "Ar", Screened(), SiteSettings(bond_length=1.1, n_competing=1), np.random.default_rng(0)
    )
    assert counts["screen_calls"] > 0
    assert 0 < counts["full_calls"] < 20


def test_relax_radius_holds_far_atoms() -> None:
    large = Icosahedron("Al", 3, latticeconstant=4.0)
    chosen = SiteSettings(relax_radius=4.0, n_competing=1, max_candidates=2)
    site = find_sites(large, "Al", emt(), chosen, np.random.default_rng(0))[0]
    moved = np.linalg.norm(site.structure.positions[:-1] - large.positions, axis=1)
    far = np.linalg.norm(large.positions - site.position, axis=1) > 6.0
    assert far.any()
    assert moved[far].max() == 0.0
    assert moved.max() > 0.0


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ([0.0, 0.0, 2.8], None),
        ([0.0, 0.0, 9.0], "escaped"),
        ([0.0, 0.0, 0.5], "overlap"),
        ([np.nan, 0, 0], "not_finite"),
    ],
)
def test_flaws(last: list[float], reason: str | None) -> None:
    assert flaw(Atoms("Al2", [[0.0, 0.0, 0.0], last]), -1.0, 1) == reason


def test_a_broken_cluster_is_a_flaw() -> None:
    broken = Atoms("Al4", [[0.0, 0, 0], [2.8, 0, 0], [20.0, 0, 0], [22.8, 0, 0]])
    assert n_parts(broken) == 2
    assert flaw(broken, -1.0, 1) == "broken"
    assert flaw(broken, -1.0, 2) is None
    assert flaw(broken, np.inf, 2) == "not_finite"


def test_local_order_tells_fcc_from_icosahedra() -> None:
    assert coordination(ICOSAHEDRON).tolist().count(12) == 1
    assert pair_signatures(ICOSAHEDRON)["555"] == pytest.approx(12 / 42)
    bulk = make_seed(SeedSettings(kind="bulk", species="Al", repeat=(4, 4, 4)))
    bulk.pbc = False
    signatures = pair_signatures(bulk)
    assert "555" not in signatures
    assert max(signatures, key=lambda key: signatures[key]) == "421"
