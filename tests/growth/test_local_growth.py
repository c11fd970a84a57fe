"""Growth that looks only near the last change is growth that looks everywhere."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111
from ase.cluster import Octahedron
from ase.constraints import FixAtoms

from growth.emt import EMTModel
from growth.energy_model import CommitteeModel, CountingModel, LocalCommitteeModel
from growth.errors import NoSitesError
from growth.local_growth import LocalGrowth, LocalSettings
from growth.relax import relax
from learner.committee import Committee


def slab(width: int) -> Atoms:
    crystal = fcc111("Cu", (width, width, 3), a=3.5898, vacuum=7.0)
    crystal.set_constraint(FixAtoms([atom.index for atom in crystal if atom.tag == 3]))
    crystal.pbc = (True, True, False)
    return relax([crystal], EMTModel(["Cu"]), 0.02)[0].structure


@pytest.fixture(scope="module")
def grown() -> LocalGrowth:
    """Large enough that pieces are cut from it."""
    growth = LocalGrowth(slab(16), EMTModel(["Cu"]), LocalSettings(temperature_K=300.0))
    rng = np.random.default_rng(0)
    for _ in range(6):
        growth.step(rng)
    return growth


def test_the_energy_summed_up_is_that_of_the_whole(grown: LocalGrowth) -> None:
    assert grown.energy == pytest.approx(grown.model([grown.crystal]).energies[0], abs=1e-8)


def test_the_same_on_a_committee_that_looks_at_what_moves_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    committee = Committee.load(Path(__file__).resolve().parents[2] / "docs" / "results" / "models" / "al-gpaw")
    committee.network.double()
    model = CommitteeModel(committee)
    crystal = fcc111("Al", (6, 6, 3), a=4.04, vacuum=7.0)
    crystal.set_constraint(FixAtoms([atom.index for atom in crystal if atom.tag == 3]))
    crystal.pbc = (True, True, False)
    settings = LocalSettings(species="Al", temperature_K=300.0)
    local = LocalGrowth(crystal, model, settings)
    local.step(np.random.default_rng(0))
    assert isinstance(local.model, LocalCommitteeModel)
    monkeypatch.setattr(LocalCommitteeModel, "__call__", CommitteeModel.__call__)
    whole = LocalGrowth(crystal, model, settings)
    whole.step(np.random.default_rng(0))
    for growth in (local, whole):
        assert growth.energy == pytest.approx(model([growth.crystal]).energies[0], abs=1e-6)
    np.testing.assert_allclose(local.crystal.positions, whole.crystal.positions, atol=1e-5)


def test_a_fresh_look_finds_the_same_sites(grown: LocalGrowth) -> None:
    fresh = LocalGrowth(grown.crystal, grown.model, grown.settings)
    for a, b in ((grown, fresh), (fresh, grown)):
        places = np.array([site.position for site in b.sites])
        for site in a.sites:
            vectors = places - site.position
            vectors -= np.round(vectors @ np.linalg.inv(a.crystal.cell[:])) @ a.crystal.cell[:]
            nearest = int(np.linalg.norm(vectors, axis=1).argmin())
            assert np.linalg.norm(vectors[nearest]) < 0.3
            assert b.sites[nearest].energy == pytest.approx(site.energy, abs=0.02)


def test_sites_are_minima_with_the_energies_told(grown: LocalGrowth) -> None:
    model, before = grown.model, grown.model([grown.crystal]).energies[0]
    for site in sorted(grown.sites, key=lambda s: s.energy)[:3]:
        relaxed = relax([grown.crystal + Atoms("Cu", [site.position])], model, 0.02)[0]
        assert np.linalg.norm(relaxed.structure.positions[-1] - site.position) < 0.2
        assert relaxed.energy - before == pytest.approx(site.energy, abs=0.02)


def test_terrace_sites_are_fcc_and_hcp() -> None:
    """Two kinds, as many of each as surface atoms; two relaxations for all of them."""
    model = CountingModel(EMTModel(["Cu"]))
    growth = LocalGrowth(slab(6), model, LocalSettings())
    assert len(growth.sites) == 72
    assert growth.n_relaxed == 2
    energies = np.sort([site.energy for site in growth.sites])
    assert np.diff(energies[[0, 35, 36, 71]]) == pytest.approx([0.0, np.diff(energies[[0, -1]])[0], 0.0], abs=1e-9)


def test_a_step_costs_the_same_on_a_larger_crystal() -> None:
    """In atoms evaluated, which no clock blurs."""
    costs = []
    for width in (16, 19):
        model = CountingModel(EMTModel(["Cu"]))
        growth = LocalGrowth(slab(width), model, LocalSettings(temperature_K=0.0))
        model.atoms = 0
        growth.step(np.random.default_rng(0))
        costs.append(model.atoms)
    assert costs[1] == pytest.approx(costs[0], rel=0.15)


def test_same_seed_same_crystal_and_free_clusters() -> None:
    cluster = Atoms(Octahedron("Cu", 4))
    ends = []
    for _ in range(2):
        growth = LocalGrowth(cluster, EMTModel(["Cu"]), LocalSettings(temperature_K=600.0))
        list(growth.run(np.random.default_rng(3), len(cluster) + 3))
        ends.append(growth.crystal.positions)
    assert (ends[0] == ends[1]).all()
    assert len(ends[0]) == len(cluster) + 3
    assert growth.energy == pytest.approx(growth.model([growth.crystal]).energies[0], abs=1e-9)


def test_the_lowest_site_at_zero_kelvin() -> None:
    growth = LocalGrowth(slab(6), EMTModel(["Cu"]), LocalSettings(temperature_K=0.0))
    lowest = min(site.energy for site in growth.sites)
    assert growth.step(np.random.default_rng(0)).energy_change == pytest.approx(lowest, abs=2e-3)


def test_no_site_left() -> None:
    growth = LocalGrowth(slab(6), EMTModel(["Cu"]), LocalSettings())
    growth.sites = []
    with pytest.raises(NoSitesError, match="no site for Cu on 108 atoms"):
        growth.step(np.random.default_rng(0))


def test_sites_that_no_adatom_keeps_are_dropped_one_by_one() -> None:
    growth = LocalGrowth(slab(6), EMTModel(["Cu"]), LocalSettings())
    assert len(growth.sites) > 10
    growth.settings = growth.settings.model_copy(update={"max_steps": 1})
    with pytest.raises(NoSitesError, match="no site for Cu on 108 atoms"):
        growth.step(np.random.default_rng(0))
    assert growth.sites == []
