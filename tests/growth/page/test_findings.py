"""Every rule: when it speaks, and when it is silent."""

from dataclasses import replace
from typing import Any

import pytest

from growth.page.facts import Crystal, Facts
from growth.page.findings import REMEDIES, RULES, findings

GROWN = Crystal(0, 55, 55, True, -3.10, 0.001)
TOLERANCES = {"delta_e": 0.08, "energy": 0.01, "forces": 0.3}


def held(n: int, share: float, low: float, high: float, missed_low: float = 0.0) -> dict[str, Any]:
    missed = {"share": missed_low, "low": missed_low, "high": 1.0}
    return {"n": n, "mean_abs_error": 0.0, "coverage": {"share": share, "low": low, "high": high}, "missed": missed}


def certificate(energy: float = 5.0, delta_e: float | None = 50.0, labelled: bool = True) -> dict[str, Any]:
    final = {"n_atoms": 55, "oracle_free_energy": -170.0 if labelled else None, "oracle_max_force": 0.1}
    return {"energy_mae_mev_per_atom": energy, "delta_e_mae_mev": delta_e, "final": [final, final]}


GOOD = Facts(
    state="finished",
    run="runs/x",
    crystals=[GROWN, replace(GROWN, walker=1)],
    n_steps=80,
    n_labels=100,
    budget=200,
    n_models=20,
    audits={"energy": held(20, 0.95, 0.75, 1.0)},
    tolerances=TOLERANCES,
    certificate=certificate(),
    busy={"oracle": 0.7},
    workers={"oracle": 2},
    expensive=True,
)
CASES: dict[str, list[tuple[dict[str, Any], str | None]]] = {
    "damaged": [({"damage": ["events.jsonl: damaged line 3"]}, "events.jsonl: damaged line 3"), ({}, None)],
    "interrupted": [
        ({"state": "stopped"}, "before its certificate"),
        ({"state": "stopped", "crystals": [GROWN, Crystal(1, 20, 55, False)]}, "1 of 2 crystals are grown"),
        ({"state": "running"}, None),
    ],
    "failing": [
        ({"failed": {"timeout": 9, "crash": 1}}, "9 of them with the reason timeout"),
        ({"failed": {"timeout": 2}}, None),
        ({"failed": {"timeout": 4}, "n_labels": 1000}, None),
    ],
    "overconfident": [
        ({"audits": {"energy": held(40, 0.6, 0.43, 0.75)}}, "held 60% of 40 times"),
        ({"audits": {}, "afterwards": {"forces": held(40, 0.6, 0.43, 0.75)}}, "the worst forces"),
        ({"audits": {"energy": held(10, 0.7, 0.35, 0.93)}}, None),
    ],
    "missed": [
        ({"audits": {"energy": held(20, 0.95, 0.75, 1.0, missed_low=0.3)}}, "30% were wrong"),
        ({"audits": {"energy": held(20, 0.95, 0.75, 1.0, missed_low=0.1)}}, None),
    ],
    "sites_unresolved": [
        ({"certificate": certificate(delta_e=110.0)}, "off by 110 meV"),
        ({"certificate": certificate(delta_e=None)}, None),
        ({}, None),
    ],
    "energies_off": [({"certificate": certificate(energy=12.0)}, "Off by 12.0 meV/atom"), ({}, None)],
    "spent": [({"n_spent": 20}, "20 of 80 steps (25%)"), ({}, None)],
    "unmeasured": [
        ({"audits": {"energy": held(0, 0, 0, 1)}}, "is not known"),
        ({"audits": {}, "state": "running"}, None),
        ({}, None),
    ],
    "different": [
        ({"crystals": [GROWN, Crystal(1, 55, 55, True, -3.14)]}, "Walker 1 ended 40 meV/atom below walker 0"),
        ({"crystals": [GROWN, Crystal(1, 54, 54, True, -3.14)]}, None),
        ({"crystals": [GROWN, Crystal(1, 55, 55, True, -3.105)]}, None),
        ({"crystals": [GROWN]}, None),
    ],
    "final_unlabelled": [
        ({"certificate": certificate(labelled=False), "max_atoms": 38}, "more than `oracle.max_atoms` (38)"),
        ({"certificate": certificate(labelled=False)}, "labels failed"),
        ({}, None),
    ],
    "spared": [({"n_spared": 20}, "20 of 80 steps (25%)"), ({"n_spared": 10}, None)],
    "lagging": [
        ({"crystals": [GROWN, Crystal(1, 30, 55, False)]}, "Walker 1 has 30 atoms"),
        ({"crystals": [GROWN, Crystal(1, 50, 55, False)]}, None),
        ({"crystals": [Crystal(0, 30, 30, True), GROWN]}, None),
    ],
    "kept": [({"n_kept": 10}, "10 of 30 trainings"), ({"n_kept": 2}, None), ({"n_kept": 4}, None)],
    "idle": [
        ({"busy": {"oracle": 0.2}}, "computed 20% of the time"),
        ({"busy": {"oracle": 0.2}, "workers": {"oracle": 1}}, None),
        ({"busy": {"oracle": 0.2}, "expensive": False}, None),
        ({"busy": {}}, None),
    ],
    "waiting": [({"busy": {"oracle": 0.96}}, "busy 96% of the time"), ({}, None), ({"busy": {}}, None)],
    "sound": [({}, "right to 5.0 meV/atom"), ({"certificate": {}}, None), ({"state": "running"}, None)],
}


@pytest.mark.parametrize(
    ("rule", "change", "words"),
    [(rule, change, words) for rule, cases in CASES.items() for change, words in cases],
)
def test_each_rule_speaks_when_it_should(rule: str, change: dict[str, Any], words: str | None) -> None:
    by_name = {each.__name__: each for each in RULES}
    found = by_name[rule](replace(GOOD, **change))
    if words is None:
        assert found is None
    else:
        assert found is not None
        assert words in found.meaning
        assert found.title
        assert found.next_step


def test_every_rule_has_cases_of_both_kinds() -> None:
    assert {rule.__name__ for rule in RULES} == set(CASES)
    assert all({words is None for _, words in cases} == {True, False} for cases in CASES.values())


def test_a_good_run_has_nothing_to_do() -> None:
    assert [finding.weight for finding in findings(GOOD)] == ["good"]


def test_a_run_that_has_just_begun_has_nothing_to_be_said() -> None:
    assert findings(Facts("running", "runs/x", crystals=[Crystal(0, 14, 55, False)])) == []


def test_every_reason_of_a_failure_has_its_own_advice() -> None:
    told = {reason: findings(replace(GOOD, failed={reason: 30}))[0].next_step for reason in REMEDIES}
    assert told == REMEDIES


def test_the_budget_that_is_advised_would_have_lasted() -> None:
    found = findings(replace(GOOD, n_spent=20, n_labels=100))
    spent = next(finding for finding in found if "ran out" in finding.title)
    assert "budget.labels=140" in spent.next_step  # 100 labels lasted for 60 of 80 steps: 133
