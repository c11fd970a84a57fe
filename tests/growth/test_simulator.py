import json

import numpy as np
import pytest
from ase import Atoms
from ase.cluster import Icosahedron
from ase.units import kB
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.spatial.transform import Rotation

from growth.errors import InputError, NoSitesError
from growth.observables import n_parts, pair_distances, pair_signatures
from growth.relax import relax
from growth.seeds import SeedSettings, make_seed
from growth.simulator import (
    GrowthSettings,
    State,
    apply,
    boltzmann,
    grow,
    init,
    loose_atom,
    propose,
    propose_hop,
    replay,
    step,
)
from growth.sites import SiteSettings
from tests.growth.models import LennardJonesModel, emt, fcc14

QUICK = SiteSettings(max_ranked=16, max_candidates=4, n_competing=2)
LJ_SITES = SiteSettings(bond_length=1.1, fmax=0.02, screen_fmax=0.5, nudge=0.02, distance_tolerance=0.02)


@given(energies=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6), kT=st.floats(1e-3, 10.0))
@settings(max_examples=50)
def test_boltzmann_weights(energies: list[float], kT: float) -> None:
    e = np.array(energies)
    p = boltzmann(e, kT)
    assert p.sum() == pytest.approx(1.0)
    assert p.argmax() == e.argmin() or p.max() == pytest.approx(p[e.argmin()])
    assert np.allclose(p, boltzmann(e + 7.0, kT), atol=1e-9)
    if p.min() > 1e-200:
        assert np.allclose(np.log(p[0] / p), (e - e[0]) / kT, atol=1e-6)
    assert boltzmann(e, 0.0)[e.argmin()] == 1.0


def test_sites_are_drawn_as_often_as_boltzmann_says() -> None:
    state, chosen = init(fcc14(), emt()), GrowthSettings(temperature_K=2000.0)
    proposal = propose(state, emt(), np.random.default_rng(0), chosen)
    energies = np.array([site.energy for site in proposal.sites])
    expected = np.exp(-(energies - energies[0]) / (kB * 2000.0))
    assert np.allclose(proposal.probabilities, expected / expected.sum())
    assert 0 <= proposal.choice < len(proposal.sites)


def test_the_same_seed_grows_the_same_crystal_and_another_does_not_have_to() -> None:
    chosen = GrowthSettings(n_atoms=17, sites=QUICK, hops_per_step=1)
    a, b = ([state.crystal.positions for state, _ in grow(fcc14(), emt(), chosen, 5)] for _ in range(2))
    assert [len(positions) for positions in a] == [14, 15, 16, 17]
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("hops", [0, 1])
def test_a_rotated_seed_grows_the_rotated_crystal(hops: int) -> None:
    turn = Rotation.from_rotvec([0.7, -0.2, 1.9]).as_matrix()
    chosen = GrowthSettings(n_atoms=19, sites=QUICK, hops_per_step=hops, temperature_K=600.0)
    turned = Atoms(fcc14().numbers, fcc14().positions @ turn.T + 5.0)
    for (a, _), (b, _) in zip(grow(fcc14(), emt(), chosen, 1), grow(turned, emt(), chosen, 1), strict=True):
        assert np.allclose(a.crystal.positions @ turn.T + 5.0, b.crystal.positions, atol=1e-4)


def test_an_icosahedron_stays_one() -> None:
    """Two shells grow on; five-fold axes stay, and nothing pulls the crystal to a lattice."""
    seed = Icosahedron("Al", 2, latticeconstant=4.0)
    *_, (state, _) = grow(Atoms(seed.numbers, seed.positions), emt(), GrowthSettings(n_atoms=19, sites=QUICK), 0)
    signatures = pair_signatures(state.crystal)
    assert signatures["555"] > 0.1
    assert signatures.get("421", 0.0) < signatures["555"]


def test_an_amorphous_seed_does_not_become_fcc() -> None:
    rng = np.random.default_rng(2)
    blob = Atoms("Al30", rng.uniform(0.0, 8.2, (30, 3)))
    seed = relax([blob], emt(), fmax=0.1, max_steps=300)[0].structure
    grown = seed
    for state, _ in grow(seed, emt(), GrowthSettings(n_atoms=34, sites=QUICK), 0):
        grown = state.crystal
    assert n_parts(grown) == n_parts(seed)
    signatures = pair_signatures(grown)
    assert signatures.get("421", 0.0) < 0.2
    assert any(key.startswith("5") for key in signatures)


@pytest.mark.parametrize("hops", [0, 2])
def test_events_rebuild_the_crystal_exactly_through_json(hops: int) -> None:
    chosen = GrowthSettings(n_atoms=18, sites=QUICK, hops_per_step=hops, temperature_K=1500.0)
    state, rng = init(fcc14(), emt(), chosen), np.random.default_rng(3)
    seed, lines = state.crystal, []
    for _ in range(4):
        state, info = step(state, emt(), rng, chosen)
        lines += [json.dumps(event.to_dict()) for event in info["events"]]
    rebuilt = replay(seed, [json.loads(line) for line in lines])
    assert np.array_equal(rebuilt.positions, state.crystal.positions)
    assert rebuilt.get_chemical_symbols() == state.crystal.get_chemical_symbols()
    assert state.step == len(lines) == 4 * (1 + hops)


def test_energies_of_events_add_up() -> None:
    chosen = GrowthSettings(n_atoms=17, sites=QUICK, hops_per_step=1)
    state, rng = init(fcc14(), emt(), chosen), np.random.default_rng(0)
    energy = emt()([state.crystal]).energies[0]
    for _ in range(3):
        state, info = step(state, emt(), rng, chosen)
        energy += sum(event.energy_change for event in info["events"])
    assert energy == pytest.approx(emt()([state.crystal]).energies[0], abs=1e-9)
    assert info["counts"]["full_calls"] == sum(proposal.counts["full_calls"] for proposal in info["proposals"])


def test_a_hop_offers_the_present_crystal_and_keeps_numbers() -> None:
    state = init(fcc14(), emt())
    proposal = propose_hop(state, emt(), np.random.default_rng(0), GrowthSettings(sites=QUICK))
    assert proposal.stay is not None
    stayed, event = apply(state, proposal, proposal.stay)
    assert np.array_equal(stayed.crystal.positions, state.crystal.positions)
    assert event.moved == {}
    assert not event.accepted
    assert event.energy_change == 0.0
    other = next(k for k in range(len(proposal.sites)) if k != proposal.stay)
    moved, event = apply(state, proposal, other)
    assert event.accepted
    assert len(moved.crystal) == 14
    assert np.array_equal(moved.crystal.positions[proposal.atom], proposal.sites[other].position)


@pytest.mark.parametrize("rattled", [0.0, 0.04])
def test_a_hop_offers_the_present_minimum_once(rattled: float) -> None:
    """The place that the atom has is relaxed as the others are, and found again it is the same place."""
    crystal = init(fcc14(), emt()).crystal
    landing = propose(State(crystal), emt(), np.random.default_rng(0), GrowthSettings(sites=QUICK))
    minimum = landing.sites[0].structure
    minimum.rattle(rattled, seed=1)  # as after a model update: the crystal is no minimum any more
    chosen = GrowthSettings(sites=SiteSettings(max_ranked=24, max_candidates=8, n_competing=4))
    for rng_seed in range(4):
        proposal = propose_hop(State(minimum), emt(), np.random.default_rng(rng_seed), chosen)
        assert proposal.stay is not None
        here = proposal.sites[proposal.stay]
        assert np.linalg.norm(here.forces, axis=1).max() <= chosen.sites.fmax
        for k, site in enumerate(proposal.sites):
            apart = np.sqrt(np.mean((pair_distances(site.structure) - pair_distances(here.structure)) ** 2))
            near = abs(site.energy - here.energy) <= chosen.sites.energy_tolerance
            assert k == proposal.stay or not (near and apart <= chosen.sites.distance_tolerance)


def test_hops_repair_a_bad_landing() -> None:
    """An atom on top of a Lennard-Jones 13-cluster's corner finds its way to a face."""
    seed = relax([_lj13()], LennardJonesModel(), fmax=1e-3)[0].structure
    corner = seed.positions[np.argmax(np.linalg.norm(seed.positions, axis=1))]
    badly = seed + Atoms("Ar", [corner * (1 + 1.12 / np.linalg.norm(corner))])
    chosen = GrowthSettings(species="Ar", temperature_K=0.0, sites=LJ_SITES)
    proposal = propose_hop(State(badly), LennardJonesModel(), np.random.default_rng(1), chosen)
    state, event = apply(State(badly), proposal)
    assert proposal.atom == 13
    assert event.energy == pytest.approx(-47.845157, abs=1e-3)
    assert len(state.crystal) == 14


def _lj13() -> Atoms:
    built = Icosahedron("Ar", 2, latticeconstant=1.55)
    return Atoms(built.numbers, built.positions)


@pytest.mark.parametrize("n_atoms", [13, 19])
def test_lennard_jones_growth_finds_the_magic_clusters(n_atoms: int) -> None:
    """Global minima of Wales & Doye (1997)."""
    known = {13: -44.326801, 19: -72.659782}
    chosen = GrowthSettings(species="Ar", n_atoms=n_atoms, temperature_K=0.0, hops_per_step=3, sites=LJ_SITES)
    *_, (state, _) = grow(Atoms("Ar2", [[0, 0, 0], [0, 0, 1.12]]), LennardJonesModel(), chosen, 1)
    energy = relax([state.crystal], LennardJonesModel(), fmax=1e-4)[0].energy
    assert energy == pytest.approx(known[n_atoms], abs=1e-4)


def test_growth_on_a_slab_leaves_its_fixed_layer() -> None:
    slab = make_seed(SeedSettings(kind="slab", species="Al", lattice_constant=3.995, facet="100", repeat=(2, 2, 2)))
    chosen = GrowthSettings(n_atoms=len(slab) + 2, sites=QUICK)
    *_, (state, _) = grow(slab, emt(), chosen, 0)
    fixed = slab.get_tags() == 2
    assert np.array_equal(state.crystal.positions[: len(slab)][fixed], slab.positions[fixed])
    assert (state.crystal.positions[len(slab) :, 2] > slab.positions[:, 2].max()).all()
    assert state.crystal.constraints


def test_several_species_arrive_by_their_flux() -> None:
    chosen = GrowthSettings(species={"Al": 1.0, "Cu": 1.0}, n_atoms=18, sites=QUICK)
    *_, (state, _) = grow(fcc14(), emt(), chosen, 0)
    assert set(state.crystal.get_chemical_symbols()[14:]) == {"Al", "Cu"}


def test_a_bulk_crystal_has_no_sites() -> None:
    bulk = make_seed(SeedSettings(kind="bulk", repeat=(2, 2, 2)))
    with pytest.raises(NoSitesError, match="no site for Al on 32 atoms") as caught:
        propose(State(bulk), emt(), np.random.default_rng(0), GrowthSettings())
    assert caught.value.structures == []


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="at least one atom"):
        init(Atoms())
    with pytest.raises(InputError, match="movable"):
        loose_atom(Atoms("Al"), np.random.default_rng(0))
    with pytest.raises(InputError, match="replay has 14"):
        replay(fcc14(), [{"step": 1, "kind": "hop", "n_atoms": 20, "moved": {}}])
    for bad in ({"species": "Xx"}, {"species": {"Al": -1.0}}, {"temperature": 3}, {"n_atoms": 0}):
        with pytest.raises(ValidationError):
            GrowthSettings.model_validate(bad)


def test_mirror_images_are_told_apart_from_nothing() -> None:
    """Pair distances, by which minima are merged, do not change under reflection."""
    structure = fcc14()
    structure.rattle(0.2, seed=0)
    mirrored = Atoms(structure.numbers, structure.positions * [1, 1, -1])
    assert np.allclose(pair_distances(structure), pair_distances(mirrored))
