"""What labels promise for the next step: which count, how much, and whether the promise holds."""

import numpy as np
import pytest

from growth.calibration import FADE, LEVEL, audits_of, calibrated, gain, held, scores_of, told

TOLERANCES = {"delta_e": 0.05, "energy": 0.008, "forces": 0.2}


def line(group: str = "a", drawn: bool = True, reason: str = "query", chance: float = 1.0, **values: float) -> dict:
    given = {
        "group": group,
        "drawn": drawn,
        "reason": reason,
        "chance": chance,
        "n_atoms": 10,
        "model_version": "1",
        "energy_error": 0.1,
        "energy_std": 0.2,
        "energy_radius": 0.03,
        "delta_e_std": 0.0 if drawn else 0.04,
        "delta_e_radius": 0.0 if drawn else 0.09,
        "worst_force_error": 0.3,
        "force_std": 0.1,
        "force_radius": 0.4,
    }
    return {**given, **values}


def test_one_step_is_one_score_of_energy_and_forces_and_one_of_each_difference() -> None:
    found = scores_of([line(), line(drawn=False, energy_error=0.15), line("b", chance=0.25, energy_error=-0.2)])
    assert found["energy"].errors.tolist() == pytest.approx([0.01, -0.02])
    assert found["energy"].std.tolist() == pytest.approx([0.02, 0.02])
    assert found["energy"].radii.tolist() == [0.03, 0.03]
    assert found["energy"].weights.tolist() == [1.0, 4.0]
    assert found["forces"].errors.tolist() == [0.3, 0.3]
    assert found["delta_e"].errors.tolist() == pytest.approx([0.05])
    assert found["delta_e"].std.tolist() == [0.04]
    assert found["delta_e"].weights.tolist() == [1.0]


def test_what_was_asked_after_an_answer_is_no_score() -> None:
    assert len(scores_of([line("a-again", drawn=False)])["delta_e"].errors) == 0


def test_the_gain_compares_the_latest_asked_steps_with_those_before() -> None:
    """0.3 eV/Å is 1.5 tolerances, and 0.12 eV of 10 atoms; a ΔE off by 0.2 eV is 4. Audits and second questions no."""
    lines = [line(str(k)) for k in range(3)]
    assert gain(lines, TOLERANCES, 3) is None
    lines += [line(f"b{k}", worst_force_error=0.15, energy_error=0.0) for k in range(3)]
    assert gain(lines, TOLERANCES, 3) == pytest.approx(0.5)
    lines += [line("c", reason="audit", worst_force_error=9.0), line("b2-again", energy_error=9.0)]
    assert gain(lines, TOLERANCES, 3) == pytest.approx(0.5)
    for k in range(3):
        lines += [line(f"d{k}", worst_force_error=0.1), line(f"d{k}", drawn=False, energy_error=0.3)]
    assert gain(lines, TOLERANCES, 3) == pytest.approx(1 - 4 / 0.75)


def test_without_labels_the_prior_speaks() -> None:
    nothing = calibrated()
    assert nothing.delta_e.radius(np.array([0.01]), 0.9)[0] == pytest.approx(2 * 2.132 * 0.011, rel=1e-3)
    assert told([], nothing, TOLERANCES, 0.1)["delta_e"]["n"] == 0


def test_older_labels_fade_with_promotions() -> None:
    lines = [
        line(str(k), model_version=str(1 + 9 * (k % 2)), worst_force_error=0.1 + 0.9 * (k % 2)) for k in range(200)
    ]
    now, then = calibrated(lines, 10).forces, calibrated(lines, 1).forces
    weights = np.sort(now.bins[0].weights)
    assert weights[0] == pytest.approx(FADE**9) and weights[-1] == 1.0
    assert now.radius(np.array([0.1]), 0.4)[0] > 5 * then.radius(np.array([0.1]), 0.4)[0]


@pytest.mark.parametrize("share_asked", [0.2, 0.7])
def test_intervals_hold_over_all_steps_when_the_unsure_are_asked_and_few_others(share_asked: float) -> None:
    """Errors in units of std are larger where the committee is unsure: only weights by chance tell the truth."""
    rng = np.random.default_rng(5)
    lines, covered = [], []
    for step in range(2000):
        std = float(rng.lognormal(-3.0, 0.7))
        unsure = std > np.exp(-3.0 + 0.7 * {0.2: 0.84, 0.7: -0.52}[share_asked])
        error = float(rng.normal() * std * (3.0 if unsure else 1.0))
        if step % 25 == 0:
            calibration = calibrated(lines[-600:], 1)
        radius = calibration.forces.radius(np.array([std]), LEVEL)[0]
        if step > 600:
            covered.append(abs(error) <= radius)
        if unsure or rng.random() < 0.1:
            values = {"worst_force_error": error, "force_std": std, "force_radius": radius}
            lines.append(
                line(str(step), chance=1.0 if unsure else 0.1, reason="query" if unsure else "audit", **values)
            )
    assert np.mean(covered) > LEVEL - 3 * np.sqrt(LEVEL * (1 - LEVEL) / 400)  # some 400 labels at a time
    assert np.mean(covered) < 0.97


def test_what_is_told_of_audits() -> None:
    lines = [line(str(k), reason="audit", chance=0.1, worst_force_error=0.15 + 0.1 * (k % 2)) for k in range(40)]
    lines += [line("q", worst_force_error=9.0)]
    forces = told(lines, calibrated(lines, 1), TOLERANCES, 0.1)["forces"]
    assert (forces["n"], forces["coverage"]["share"], forces["missed"]["share"]) == (40, 1.0, 0.5)
    assert forces["missed"]["low"] < 0.5 < forces["missed"]["high"]
    assert forces["mean_abs_error"] == pytest.approx(0.2)
    assert forces["drift"]["ratio"] == pytest.approx(1.0)
    assert 0 < forces["allowed_std"] < 0.2
    assert audits_of(lines, TOLERANCES)["forces"]["n"] == 40


def test_an_interval_without_bound_holds() -> None:
    found = held(np.array([0.1, 5.0]), np.array([0.05, np.inf]), 1.0)
    assert found["coverage"]["share"] == 0.5 and found["missed"]["share"] == 0.5
    assert held(np.array([]), np.array([]), 1.0)["coverage"]["share"] is None


def test_what_the_model_had_no_number_for_stops_nothing() -> None:
    lines = [line(), line("b", energy_error=np.nan), line("c", force_std=np.nan, force_radius=np.inf)]
    found = scores_of(lines)
    assert (len(found["energy"].errors), len(found["forces"].errors)) == (2, 2)
    assert calibrated(lines).energy.effective_n == pytest.approx(2.0)
