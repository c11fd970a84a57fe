"""What is worth a relaxation: spread over the surface, low by either list; the head learns what a search did."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import fcc100
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms

from growth.emt import EMTModel
from growth.energy_model import CountingModel
from growth.promising import Relaxations, promising, site_features
from growth.run_directory import RunDirectory
from growth.sites import SiteSettings, search_sites
from learner.site_head import N_FEATURES


def test_lists_take_turns_and_nothing_lies_beside_what_is_taken() -> None:
    line = np.arange(10.0)[:, None] * [1.0, 0.0, 0.0]
    up, down = np.arange(10), np.arange(10)[::-1]
    assert promising(line, [up, down], 4, 0.5).tolist() == [0, 9, 1, 8]
    assert promising(line, [up], 3, 1.5).tolist() == [0, 2, 4]
    assert promising(line, [up], 7, 1.5).tolist() == [0, 2, 4, 6, 8, 1, 3]  # no place is left apart
    assert len(promising(line, [up, down], 3, 0.5)) == 3


def test_features_turn_with_a_crystal_and_see_images() -> None:
    slab = fcc100("Cu", (3, 3, 2), vacuum=6.0)
    slab.pbc = (True, True, False)
    place = slab.positions[-1] + [0.3, 0.2, 2.0]
    here = site_features(slab, "Cu", place[None], np.zeros(1))
    there = site_features(slab, "Cu", place[None] + slab.cell[0] - slab.cell[1], np.zeros(1))
    assert there == pytest.approx(here, abs=1e-9)
    ball = Icosahedron("Cu", 2)
    turned = ball.copy()
    turned.rotate(40, (1, 2, 3), center=(0, 0, 0))
    point = ball.copy()[[3]]
    point.positions *= 2.0
    moved = point.copy()
    moved.rotate(40, (1, 2, 3), center=(0, 0, 0))
    assert site_features(turned, "Cu", moved.positions, np.zeros(1)) == pytest.approx(
        site_features(ball, "Cu", point.positions, np.zeros(1)), abs=1e-9
    )
    assert np.abs(site_features(ball, "Ag", point.positions, np.zeros(1))).max() > 0


def test_a_search_teaches_and_is_taught() -> None:
    slab = fcc100("Cu", (4, 4, 3), a=3.59, vacuum=6.0)
    slab.pbc = (True, True, False)
    slab.positions[-3:, 2] += [0.1, 0.5, 0.2]
    slab.set_constraint(FixAtoms([a.index for a in slab if a.tag == 3]))
    model, settings = EMTModel(["Cu"]), SiteSettings(max_candidates=14, relax_radius=0.0, n_competing=9)
    empty = float(model([slab]).energies[0])
    sites, counts, _, learnt = search_sites(slab, "Cu", model, settings, np.random.default_rng(0))
    assert counts["n_relaxed"] == 14
    assert 10 <= len(learnt) <= counts["n_relaxed"]
    assert learnt.energies.min() == pytest.approx(sites[0].energy - empty, abs=0.02)
    assert (learnt.displacements > 0).all()
    head = learnt.head()
    asked = CountingModel(model)
    again, _, _, _ = search_sites(slab, "Cu", asked, settings, np.random.default_rng(0), head)
    assert again[0].energy == pytest.approx(sites[0].energy, abs=0.01)
    part = SiteSettings(complete=True, share=0.1, relax_radius=0.0, n_competing=9)
    few, counts, _, _ = search_sites(slab, "Cu", model, part, np.random.default_rng(0), head)
    assert counts["n_relaxed"] == round(0.1 * counts["n_raw"])
    assert few[0].energy <= sites[0].energy + 0.01


def test_a_run_keeps_what_searches_teach(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    first = Relaxations(np.ones((2, N_FEATURES)), np.array([1.0, 2.0]), np.zeros(2))
    run.write_relaxations({"walker": 0, "step": 1, "attempt": 0}, first)
    run.write_relaxations(
        {"walker": 0, "step": 2, "attempt": 0}, Relaxations(np.zeros((1, N_FEATURES)), np.ones(1), np.ones(1))
    )
    run.write_relaxations({"walker": 0, "step": 1, "attempt": 0}, first)  # done again after an interruption
    run.write_relaxations({"walker": 0, "step": 3, "attempt": 0}, Relaxations.none())
    kept = run.relaxations(10)
    assert kept.energies.tolist() == [1.0, 2.0, 1.0]
    assert run.relaxations(2).energies.tolist() == [2.0, 1.0]
    run.close()
