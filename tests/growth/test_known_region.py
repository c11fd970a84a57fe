"""Relaxations end where the model stops knowing; on a model that knows all nothing is otherwise."""

from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111

from growth.asking import AskSettings
from growth.calibration import calibrated
from growth.known_region import LOOKS, beyond, worst_std
from growth.relax import relax
from growth.sites import SiteSettings, search_sites, with_adatom
from learner.prediction import Prediction
from tests.growth.models import LennardJonesModel, emt, fcc14

QUICK = SiteSettings(max_candidates=6, n_competing=4)


class Flat:
    """EMT whose std grows with the height of the last atom above a plane: nobody knows what is up there, or down."""

    reach = 11.76

    def __init__(self, normal: tuple[float, float, float] = (0.0, 0.0, 1.0), edge: float = 0.0) -> None:
        self.normal, self.edge, self.inner, self.asked = np.array(normal), edge, emt(), 0

    @property
    def screen(self) -> LennardJonesModel:
        return self.inner  # type: ignore[return-value]

    def std(self, structure: Atoms) -> float:
        """eV/Å, of a component of the force on the last atom."""
        return max(0.0, float(structure.positions[-1] @ self.normal) - self.edge)

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        self.asked += len(structures)
        found = self.inner(structures)
        stds = [np.r_[np.zeros(len(s) - 1), self.std(s)] for s in structures]
        return Prediction(found.energies, found.forces, found.member_energies, stds, found.atom_energies)


def test_without_std_nothing_is_otherwise() -> None:
    """To the last bit, and for no more calls."""
    found = [search_sites(fcc14(), "Al", emt(), QUICK, np.random.default_rng(0), None, std) for std in (np.inf, 0.1)]
    for a, b in zip(found[0].sites, found[1].sites, strict=True):
        assert np.array_equal(a.structure.positions, b.structure.positions)
        assert np.array_equal(a.forces, b.forces)
        assert a.energy == b.energy
    assert found[0].counts == found[1].counts
    assert found[0].counts["n_stopped"] == 0


def test_a_relaxation_stops_at_the_first_structure_beyond_the_edge() -> None:
    start = with_adatom(fcc14(), "Al", fcc14().positions[0] * 2.6)
    outward = fcc14().positions[0] / np.linalg.norm(fcc14().positions[0])
    whole = relax([start], emt(), keep_way=True)[0]
    heights = [float(-way[-1] @ outward) for way in whole.way]  # it falls towards the cluster: std grows on the way
    edge = float(np.median(heights))
    model = Flat(tuple(-outward), edge)
    stopped = relax([start], model, leaves=beyond(1e-6))[0]
    first = next(k for k, height in enumerate(heights) if height > edge)
    assert (stopped.stopped, stopped.converged, stopped.n_calls) == (True, False, first + 1)
    assert np.allclose(stopped.structure.positions, whole.way[first], atol=1e-9)
    assert worst_std(stopped.structure, stopped.forces_std) == pytest.approx(np.sqrt(3) * (heights[first] - edge))
    assert len(whole.way) == whole.n_calls
    assert not whole.stopped


def test_what_the_screen_slid_into_is_traced_back_to_the_edge() -> None:
    """All minima lie beyond it: what is kept are structures that the screen came through, the earliest beyond it."""
    model = Flat(edge=-9.0)
    search = search_sites(fcc14(), "Al", model, QUICK, np.random.default_rng(0), None, 1e-3)
    known = search_sites(fcc14(), "Al", Flat(edge=-9.0), QUICK, np.random.default_rng(0))
    assert search.counts["n_stopped"] == len(search.sites) > 0
    assert not any(site.stopped for site in known.sites)
    for site in search.sites:
        assert not site.converged
        assert worst_std(site.structure, site.forces_std) > 1e-3
        assert np.array_equal(site.structure.positions[-1], site.raw_position)
    assert model.asked <= QUICK.n_competing * (1 + LOOKS)


def test_minima_within_compete_with_what_was_stopped() -> None:
    """Below a plane through the cluster's middle all is known, above it nothing."""
    crystal = fcc14()
    crystal.rattle(0.2, seed=1)  # no two places alike
    search = search_sites(crystal, "Al", Flat(), SiteSettings(n_competing=8), np.random.default_rng(0), None, 0.2)
    assert 0 < search.counts["n_stopped"] < len(search.sites)
    assert [site.energy for site in search.sites] == sorted(site.energy for site in search.sites)
    for site in search.sites:
        assert site.stopped == (np.sqrt(3) * max(0.0, site.position[2]) > 0.2)
        assert site.stopped != site.converged


def test_std_is_that_of_the_nearest_images() -> None:
    slab = with_adatom(fcc111("Cu", (3, 3, 2), a=3.6, vacuum=6.0), "Cu", np.array([0.1, 0.1, 9.8]))
    others = list(range(len(slab)))
    across = (slab.get_distances(-1, others, mic=True) < 4.0) & (slab.get_distances(-1, others) > 4.0)
    stds = np.where(across, 0.1, 0.0)
    assert across.any()
    assert worst_std(slab, stds) == pytest.approx(0.1 * np.sqrt(3))
    assert beyond(0.17)(slab, stds)  # type: ignore[misc]
    assert beyond(1.0)(slab, np.full(len(slab), np.nan))  # type: ignore[misc]


def test_the_edge_is_a_matter_of_calibration() -> None:
    """Where errors are as the prior has it, an error of ten tolerances is likelier than the risk; null: never."""
    ask = AskSettings(force_tolerance=0.2, risk=0.1)
    edge, allowed = ask.stop_std(calibrated()), AskSettings(stop_beyond=1.0 + 1e-9).stop_std(calibrated())
    radius = calibrated().forces.radius(np.array([edge]), 0.9)[0]
    assert radius == pytest.approx(10 * 0.2)
    assert edge > 10 * allowed > 0
    assert AskSettings(stop_beyond=None).stop_std(calibrated()) == np.inf
