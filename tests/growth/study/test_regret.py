"""Regrets that are known: ground states regret nothing, and everything else what the literature says."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.cluster import Icosahedron, Octahedron

from growth.emt import EMTModel
from growth.energy_model import CommitteeModel
from growth.errors import InputError
from growth.lennard_jones import LennardJonesModel
from growth.study.known_minima import LENNARD_JONES, known_minimum
from growth.study.regret import RegretSettings, growth_regret, write_regret
from learner.prediction import Prediction
from tests.growth.study.test_contributions import Stretched

RNG = np.random.default_rng(0)
ICO = Atoms(Icosahedron("Al", 2, latticeconstant=4.0))
CUBO = Atoms(Octahedron("Al", 3, 1, latticeconstant=4.0))


def lennard_jones(cluster: Atoms) -> Atoms:
    return Atoms(len(cluster) * "Ar", cluster.positions / 2.83 * LennardJonesModel(0.1, 2.5).bond_length)


def test_lj13s_icosahedron_regrets_nothing_and_the_cuboctahedron_what_is_known() -> None:
    """13 atoms: −44.326801 ε, Cambridge Cluster Database; the relaxed cuboctahedron lies higher by its own energy."""
    model = LennardJonesModel(0.1, 2.5)
    walkers = {"ico": [lennard_jones(ICO)], "cubo": [lennard_jones(CUBO)]}
    ico, cubo = growth_regret(walkers, model, RegretSettings(fmax=1e-4), RNG)
    assert ico.regret == pytest.approx(0.0, abs=1e-5)
    assert ico.energy / 0.1 == pytest.approx(-44.326801, abs=1e-4)
    assert cubo.regret == pytest.approx(cubo.energy - ico.energy)
    alone = growth_regret({"cubo": walkers["cubo"]}, model, RegretSettings(fmax=1e-4), RNG)[0]
    assert alone.best.source == "literature"
    assert alone.regret == pytest.approx(cubo.regret, abs=1e-5)


def test_the_table_of_minima() -> None:
    model = LennardJonesModel(2.0)
    assert known_minimum(Atoms("Ar38"), model) == pytest.approx(-347.856854)
    assert len(LENNARD_JONES) == 36
    assert (np.diff(LENNARD_JONES) < 0).all()
    assert known_minimum(Atoms("Ar39"), model) is None
    assert known_minimum(Atoms("Ar2"), model) is None
    assert known_minimum(Atoms("Al13"), EMTModel(["Al"])) is None


def test_lowest_of_walkers_and_of_what_is_given() -> None:
    """EMT: Al13 icosahedron 7.4476 eV, cuboctahedron 7.9580 eV."""
    model = EMTModel(["Al"])
    given = growth_regret({"a": [CUBO]}, model, RegretSettings(fmax=2e-3), RNG, given=[ICO], oracle=model)[0]
    assert given.best.source == "given"
    assert given.regret == pytest.approx(7.9580 - 7.4476, abs=1e-3)
    assert given.oracle_regret == pytest.approx(given.regret, abs=1e-6)
    alone = growth_regret({"a": [CUBO]}, model, RegretSettings(), RNG)[0]
    assert (alone.regret, alone.best.source) == (0.0, "walkers")


def test_members_differ_by_their_own_differences() -> None:
    factors = np.array([0.9, 1.0, 1.2])
    model = CommitteeModel(Stretched(factors))
    plain = growth_regret({"a": [CUBO], "b": [ICO]}, EMTModel(["Al"]), RegretSettings(), RNG)[0]
    found = growth_regret({"a": [CUBO], "b": [ICO]}, model, RegretSettings(), RNG)[0]
    assert found.std == pytest.approx(factors.std() * plain.regret, rel=0.02)
    assert found.regret == pytest.approx(factors.mean() * plain.regret, rel=0.02)


def test_a_search_finds_better_than_a_chain() -> None:
    model = LennardJonesModel(0.1, 2.5)
    chain = Atoms("Ar7", np.array([[k * model.bond_length, 0.02 * k**2, 0.0] for k in range(7)]))
    settings = RegretSettings(budget=600, bond_length=model.bond_length, max_steps=3)
    found = growth_regret({"chain": [chain]}, model, settings, np.random.default_rng(1))[0]
    assert found.best.energy == pytest.approx(0.1 * LENNARD_JONES[4], abs=2e-3)
    assert found.regret > 0.3


def test_only_equals_are_compared() -> None:
    """Other sizes, compositions and cells have bests of their own."""
    model = EMTModel(["Al", "Cu"])
    mixed = ICO.copy()
    mixed.symbols[0] = "Cu"
    crystals = [ICO, mixed, ICO[:12], bulk("Al", a=4.0), bulk("Al", a=4.1)]
    assert [r.regret for r in growth_regret({"a": crystals}, model, RegretSettings(), RNG)] == [0.0] * 5


def test_what_cannot_be_searched_is_refused() -> None:
    model, settings = EMTModel(["Al", "Cu"]), RegretSettings(budget=10)
    mixed = ICO.copy()
    mixed.symbols[0] = "Cu"
    for crystal in (mixed, bulk("Al", a=4.0)):
        with pytest.raises(InputError, match=r"regret\.budget"):
            growth_regret({"a": [crystal]}, model, settings, RNG)
    with pytest.raises(InputError, match="at least one crystal"):
        growth_regret({}, model, settings, RNG)


def test_files_with_an_oracle_that_fails(tmp_path: Path) -> None:
    class Fails(EMTModel):
        def __call__(self, structures: Sequence[Atoms]) -> Prediction:
            found = super().__call__(structures)
            found.energies[-1] = np.nan
            return found

    regrets = growth_regret(
        {"w00": [CUBO], "w01": [ICO]}, EMTModel(["Al"]), RegretSettings(), RNG, oracle=Fails(["Al"])
    )
    headline = write_regret(regrets, tmp_path)
    written = json.loads((tmp_path / "regret.json").read_text())
    assert written["last_oracle_regret_ev"] == {"w00": None, "w01": None}
    assert headline["last_regret_mev_per_atom"]["w00"] == pytest.approx(1e3 * (7.9580 - 7.4476) / 13, rel=0.01)
    for name in ("regret.csv", "regret.extxyz", "regret.png"):
        assert (tmp_path / name).stat().st_size > 100
