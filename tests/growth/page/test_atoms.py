"""What is known of each atom: read from files, and from a model."""

from pathlib import Path

import numpy as np
import pytest

from growth.damage import newest_model
from growth.page import atoms
from growth.page.atoms import contributions, std_of
from growth.page.content import content_of
from growth.page.crystals import growths
from growth.page.run_files import read_run
from learner.committee import Committee, Header
from learner.settings import NetworkSettings
from learner.vimpnn import VIMPNN
from tests.growth.page.imitation import imitate


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return imitate(tmp_path / "run", n_steps=4, walkers=1)


def untrained(directory: Path) -> Committee:
    """A committee of random weights for Al, saved."""
    settings = NetworkSettings(n_members=2, n_features=8, n_directions=4, n_steps=1)
    network = VIMPNN(settings, (13,))
    header = Header(
        network=settings, species=[13], channels=list(network.basis.channels), e0=[-1.0], e0_source="given"
    )  # fmt: skip
    committee = Committee(network, header)
    committee.save(directory)
    return committee


def test_std_is_that_of_the_accepted_site(run: Path) -> None:
    stage = growths(read_run(run))[0].last
    std = std_of(run, 0, stage)
    assert std is not None
    assert std.shape == (18,)
    assert 0.01 <= std.min() <= std.max() <= 0.2


@pytest.mark.parametrize("damage", ["", "18\n", "x", "17\nProperties=species:S:1:pos:R:3:forces_std:R:1\nAl 0 0 0 1\n"])
def test_std_of_a_damaged_file_is_not_known(run: Path, damage: str) -> None:
    stage = growths(read_run(run))[0].last
    path = run / "sites" / "w00" / "000004.extxyz"
    path.write_text(damage)
    assert std_of(run, 0, stage) is None
    path.unlink()
    assert std_of(run, 0, stage) is None


def test_std_of_another_crystal_is_not_taken(run: Path) -> None:
    sites = run / "sites" / "w00"
    text = (sites / "000004.extxyz").read_text().splitlines()
    text[19] = text[19].replace("Al ", "Al 9", 1)  # the last atom of the first structure, elsewhere
    (sites / "000004.extxyz").write_text("\n".join(text) + "\n")
    assert std_of(run, 0, growths(read_run(run))[0].last) is None


def test_contributions_add_up_to_the_energy(run: Path) -> None:
    committee = untrained(run / "models" / "v0003")
    assert newest_model(run) == run / "models" / "v0003"
    grown = growths(read_run(run))
    found = contributions(grown, run / "models" / "v0003")
    assert set(found) == {(0, step) for step in range(5)}
    for stage in grown[0].stages:
        energy = float(committee([stage.crystal]).energies[0])
        assert found[0, stage.step].sum() + -1.0 * len(stage.crystal) == pytest.approx(energy, abs=1e-4)


def test_of_a_large_growth_the_last_crystals_are_asked_about(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    untrained(run / "models" / "v0001")
    monkeypatch.setattr(atoms, "MOST_EVALUATED", 20)
    monkeypatch.setattr(atoms, "BATCH", 10)
    assert set(contributions(growths(read_run(run)), run / "models" / "v0001")) == {(0, 4)}
    data = content_of(run).data
    assert "last crystals only" in data["why_no_shares"]
    assert data["walkers"][0]["share"] is not None


def test_a_model_that_cannot_be_read_is_no_reason_to_show_nothing(run: Path) -> None:
    (run / "models" / "v0001").mkdir(parents=True)
    (run / "models" / "v0001" / "model.json").write_text("{")
    data = content_of(run).data
    assert data["walkers"][0]["share"] is None
    assert "could not be asked" in data["why_no_shares"]
    assert np.isfinite(data["walkers"][0]["std"]["high"])
