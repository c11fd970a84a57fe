"""Which labelled structure an error is about."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from growth.calibration import LEVEL
from growth.page import labels, series
from growth.page.labels import counts_by_reason, matched, own_labels, shown
from growth.page.run_files import read_run
from tests.growth.page.imitation import error_line, imitate


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imitate(tmp_path_factory.mktemp("page") / "run")


def structure(n_atoms: int, reason: str = "query", version: str = "1") -> Atoms:
    return Atoms(f"Al{n_atoms}", np.zeros((n_atoms, 3)), info={"reason": reason, "model_version": version})


def error(n_atoms: int, reason: str = "query", version: str = "1") -> dict[str, Any]:
    return {"n_atoms": n_atoms, "reason": reason, "model_version": version}


def test_errors_of_a_run_find_their_structures(run: Path) -> None:
    found = read_run(run)
    errors, own = found.metric("error"), own_labels(found)
    structures = matched(errors, own)
    assert [len(s) for s in structures if s is not None] == [line["n_atoms"] for line in errors]
    for line, labelled, told in zip(errors, structures, series.errors(errors, structures), strict=True):
        assert labelled is not None
        energy = labelled.get_potential_energy(force_consistent=True)
        assert told["labelled_ev_per_atom"] == pytest.approx(energy / len(labelled))
        assert told["predicted_ev_per_atom"] * len(labelled) - energy == pytest.approx(line["energy_error"])
    assert counts_by_reason(found, own) == {"query": 8, "certificate": 4}


def test_the_same_kind_is_matched_in_the_order_of_writing() -> None:
    own = [structure(15), structure(16), structure(15), structure(15, "audit")]
    found = matched([error(15, "audit"), error(15), error(16), error(15)], own)
    assert found[0] is own[3]
    assert found[1] is own[0]
    assert found[2] is own[1]
    assert found[3] is own[2]


def test_a_line_that_names_its_structure_is_about_that_one() -> None:
    own = [structure(15), structure(15), structure(15)]
    for number, each in enumerate(own):
        each.info["uid"] = f"u{number}"
    lines = [error(15) | {"uid": "u2"}, error(15) | {"uid": "u0"}, error(15) | {"uid": "gone"}]
    assert matched(lines, own) == [own[2], own[0], None]


def test_where_numbers_disagree_no_structure_is_named() -> None:
    assert matched([error(15)], [structure(15), structure(15)]) == [None]
    assert matched([error(15), error(15)], [structure(15)]) == [None, None]
    assert matched([error(15)], []) == [None]


def test_only_the_latest_structures_that_fit_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MOST_SHOWN", 40)
    assert shown([structure(15), None, structure(20), structure(20)]) == [None, None, 0, 1]
    assert shown([]) == []


def test_promises_are_told_in_units_of_their_quantity() -> None:
    drawn = {**error_line({"walker": 1, "step": 3, "n_atoms": 20, "model_version": 2}), "site": 1}
    other = {**drawn, "drawn": False, "energy_error": 0.25, "delta_e_radius": 0.3}
    told = series.promises([drawn, other])
    assert told["delta_e"] == [
        {"walker": 1, "step": 3, "promised": pytest.approx(300.0), "came": pytest.approx(300.0), "reason": "query"}
    ]
    assert told["energy"][0]["came"] == pytest.approx(2.5)  # 0.05 eV over 20 atoms
    assert told["forces"][0]["promised"] == pytest.approx(300.0)
    assert LEVEL == 0.9
