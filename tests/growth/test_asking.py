"""Decisions on doubt, by tables of cases."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atom
from ase.cluster import Icosahedron
from hypothesis import given
from hypothesis import strategies as st

from growth.asking import (
    AskSettings,
    Doubt,
    Radii,
    doubt_about,
    draw,
    to_label,
    uncertain_atoms,
    worst_atoms,
)
from growth.calibration import FLOORS, Calibration, calibrated
from growth.sites import Site
from learner.conformal import fit

SETTINGS = AskSettings(delta_e_tolerance=0.05, force_tolerance=0.1)


def doubt(errors: list[float], rivals: tuple[int, ...], force: float, energy: float = 0.0) -> Doubt:
    radii = Radii(np.array(errors), energy, force)
    return Doubt(np.zeros(len(errors)), radii, radii, rivals)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (doubt([0.0, 0.01], (1,), 0.01), None),
        (doubt([0.0, 0.06], (1,), 0.01), "delta_e"),
        (doubt([0.0, 0.06], (), 0.01), None),
        (doubt([0.0, 0.01], (1,), 0.2), "forces"),
        (doubt([0.0, 0.01], (1,), 0.01, 0.02), "energy"),
        (doubt([0.0, float("nan")], (1,), 0.01), "delta_e"),
        (doubt([0.0, 0.01], (1,), float("nan")), "forces"),
    ],
)
def test_reason_to_ask(case: Doubt, expected: str | None) -> None:
    reason = case.reason(SETTINGS)
    assert (reason is None) if expected is None else (reason is not None and reason.startswith(expected))


def test_a_common_offset_of_a_member_is_no_doubt() -> None:
    """Members that disagree on the energy but agree on every difference are sure of the choice."""
    energies = np.array([[0.0, 0.02, 0.05], [3.0, 3.02, 3.05], [-2.0, -1.98, -1.95]])
    assert doubt_about(energies, 0, 10, 0.0, 0.03, calibrated(), AskSettings(risk=0.1)).stds == pytest.approx(
        [0, 0, 0], abs=1e-12
    )


def test_a_site_out_of_reach_is_no_rival() -> None:
    energies = np.array([[0.0, 2.0], [0.0, 2.2]])
    assert doubt_about(energies, 0, 10, 0.0, 0.03, calibrated(), AskSettings(risk=0.1)).rivals == ()


def test_calibration_scales_doubt() -> None:
    """Scores of 1 and of 3, many of them: intervals three times as wide."""
    energies = np.array([[0.0, 0.1], [0.0, 0.16]])
    std = np.full(4000, 0.05)
    calm, wild = (
        Calibration(*(fit(np.linspace(-k, k, 4000) * (0.05 + floor), std, floor=floor) for floor in FLOORS.values()))
        for k in (1, 3)
    )
    once, thrice = (
        doubt_about(energies, 0, 10, 0.02, 0.05, c, AskSettings(delta_e_tolerance=10, risk=0.1)) for c in (calm, wild)
    )
    assert once.delta_e_error == pytest.approx(0.9 * (0.03 + 1e-3), rel=0.02)
    assert thrice.delta_e_error == pytest.approx(3 * once.delta_e_error, rel=0.02)
    assert thrice.errors.energy == pytest.approx(3 * once.errors.energy, rel=0.02)
    assert thrice.errors.force == pytest.approx(3 * once.errors.force, rel=0.02)
    assert once.stds.tolist() == thrice.stds.tolist()


def test_less_risk_is_more_doubt_and_more_rivals() -> None:
    energies = np.array([[0.0, 0.3, 0.9], [0.0, 0.36, 0.9]])
    bold, careful = (
        doubt_about(energies, 0, 10, 0.02, 0.01, calibrated(), AskSettings(risk=risk)) for risk in (0.5, 0.001)
    )
    assert careful.delta_e_error > bold.delta_e_error
    assert bold.rivals == () and careful.rivals == (1,)
    assert bold.promised.delta_e.tolist() == careful.promised.delta_e.tolist()


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.floats(0, 1, exclude_max=True), st.floats(0.001, 1.0))
def test_draw_is_a_site_and_ignores_offsets(energies: list[float], uniform: float, kT: float) -> None:
    chosen = draw(np.array(energies), kT, uniform)
    assert 0 <= chosen < len(energies)
    assert draw(np.array([0.0, 50.0]), kT, uniform) == 0


def test_draw_follows_boltzmann() -> None:
    energies, kT = np.array([0.0, 0.02, 0.05]), 0.03
    rng = np.random.default_rng(3)
    drawn = np.bincount([draw(energies, kT, rng.random()) for _ in range(20000)], minlength=3) / 20000
    expected = np.exp(-energies / kT) / np.exp(-energies / kT).sum()
    assert np.abs(drawn - expected).max() < 0.015  # four standard errors


@given(st.integers(1, 6), st.integers(1, 6))
def test_what_is_labelled_begins_with_the_chosen_site(n_sites: int, wanted: int) -> None:
    chosen = n_sites - 1
    sites = to_label(chosen, (0,) if n_sites > 1 else (), n_sites, wanted)
    assert sites[0] == chosen
    assert len(set(sites)) == len(sites) == min(n_sites, wanted)


def test_the_atoms_most_in_doubt_are_named_and_cut_out() -> None:
    """By their numbers in the crystal that takes the site; of those near the adatom the doubtful ones, it left out."""
    crystal = Icosahedron("Cu", 3, latticeconstant=3.6)
    outer = int(np.argmax(np.linalg.norm(crystal.positions, axis=1)))
    crystal.append(Atom("Cu", crystal.positions[outer] * 1.45))
    stds = np.zeros(len(crystal))
    beside, far = outer, int(np.argmax(crystal.get_distances(-1, range(len(crystal)))))
    stds[[beside, far, len(crystal) - 1]] = 0.2, 0.3, 0.1
    zeros = np.zeros((len(crystal), 3))
    site = Site(crystal, 0.0, zeros, stds, np.zeros(2), crystal.positions[-1], crystal.positions[-1], converged=True)
    named = worst_atoms(site, adatom=3)
    assert [one["kind"] for one in named] == ["other", "neighbour", "adatom"]
    assert [one["std"] for one in named] == pytest.approx([np.sqrt(3) * s for s in (0.3, 0.2, 0.1)])
    assert [one["atom"] for one in named] == [k + (k >= 3) for k in (far, beside)] + [3]
    assert named[1]["coordination"] == 7  # six of a vertex, and the adatom
    assert named[2]["coordination"] == 1
    assert named[0]["distance"] > 8.0
    assert uncertain_atoms(site) == [beside]
    sure = replace(site, forces_std=np.zeros(len(crystal)))
    assert worst_atoms(sure, adatom=3) == uncertain_atoms(sure) == []
