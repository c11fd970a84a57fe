"""Contributions that are known by symmetry, by counting pairs, and by summing."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.cluster import Icosahedron

from growth.emt import EMTModel
from growth.energy_model import CommitteeModel, members_of
from growth.errors import InputError
from growth.lennard_jones import LennardJonesModel
from growth.study.contributions import ContributionSettings, contributions, write_contributions
from learner.prediction import Prediction

ICO = Atoms(Icosahedron("Al", 2, latticeconstant=4.0))


def test_contributions_sum_to_the_binding_energy() -> None:
    model = EMTModel(["Al", "Cu"])
    mixed = ICO.copy()
    mixed.symbols[3:6] = "Cu"
    result = contributions(mixed, model)
    alone = [model([Atoms(symbol)]).energies[0] for symbol in mixed.get_chemical_symbols()]
    assert result.shares.sum() == pytest.approx(model([mixed]).energies[0] - sum(alone))
    assert np.isnan(result.shares_std).all(), "EMT has no members"


def test_equivalent_atoms_contribute_alike_and_the_centre_most() -> None:
    result = contributions(ICO, EMTModel(["Al"]))
    outer = np.flatnonzero(result.coordination == 6)
    assert len(outer) == 12
    assert np.ptp(result.shares[outer]) < 1e-9
    assert result.shares[result.coordination == 12].item() < result.shares[outer].min()


def test_a_pair_shares_its_well() -> None:
    """Half of the pair's energy each; moved away both are unbound."""
    model = LennardJonesModel(0.4, 2.5)
    pair = Atoms("Ar2", [[0, 0, 0], [model.bond_length, 0, 0]])
    settings = ContributionSettings(atom=1, least=-0.3, most=20.0, step=0.1)
    result = contributions(pair, model, settings, oracle=model)
    assert result.direction == pytest.approx([1, 0, 0])
    assert result.shares == pytest.approx([-0.2, -0.2])
    assert result.moved_shares[-1] == pytest.approx([0, 0], abs=1e-5)
    assert result.moves[np.argmin(result.energies)] == pytest.approx(0.0, abs=1e-9)
    assert np.interp(result.oracle_moves, result.moves, result.energies) == pytest.approx(
        result.oracle_energies, abs=0.02
    )


def test_outermost_atom_of_a_slab_moves_along_the_normal() -> None:
    slab = fcc100("Cu", (2, 2, 3), a=3.59, vacuum=8.0)
    add_adsorbate(slab, "Cu", 1.7, "hollow")
    result = contributions(slab, EMTModel(["Cu"]))
    assert result.atom == len(slab) - 1
    assert result.direction == pytest.approx([0, 0, 1])
    outwards = result.energies[result.moves > 0.2]
    assert (np.diff(outwards) > -1e-6).all(), "the further away, the higher, until it is free"


def test_towards_a_neighbour_across_the_border() -> None:
    slab = fcc100("Cu", (3, 3, 3), a=3.59, vacuum=8.0)
    result = contributions(slab, EMTModel(["Cu"]), ContributionSettings(atom=18, towards=20, most=0.5))
    assert result.direction == pytest.approx([-1, 0, 0])


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"atom": 13}, "0 to 12, got 13"), ({"atom": 1, "towards": 1}, "another atom"), ({"towards": -1}, "got -1")],
)
def test_no_such_atom(settings: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        contributions(ICO, EMTModel(["Al"]), ContributionSettings(**settings))


class Stretched:
    """A committee of EMTs whose energies are multiplied by a factor each."""

    reach = 12.0

    def __init__(self, factors: Sequence[float]) -> None:
        self.factors = np.array(factors)

    def member(self, index: int) -> "Stretched":
        return Stretched(self.factors[index : index + 1])

    def where_few_move(self, structures: Sequence[Atoms]) -> Prediction:
        return self(structures)

    def __call__(self, structures: Sequence[Atoms]) -> Prediction:
        found, mean = EMTModel(["Al"])(structures), self.factors.mean()
        members, shares = self.factors[:, None] * found.energies, [mean * a for a in found.atom_energies]
        return Prediction(mean * found.energies, found.forces, members, found.forces_std, shares)


def test_every_member_has_its_own_contributions() -> None:
    model, factors = CommitteeModel(Stretched([0.9, 1.0, 1.2])), np.array([0.9, 1.0, 1.2])
    assert [m([ICO]).energies[0] for m in members_of(model, len(factors))] == pytest.approx(factors * 7.4476, rel=0.1)
    alone, result = contributions(ICO, EMTModel(["Al"])), contributions(ICO, model)
    assert result.shares == pytest.approx(factors.mean() * alone.shares)
    assert result.shares_std == pytest.approx(factors.std() * np.abs(alone.shares))
    assert result.energies_std == pytest.approx(factors.std() * np.abs(alone.energies), abs=1e-9)


def test_files(tmp_path: Path) -> None:
    headline = write_contributions(contributions(ICO, EMTModel(["Al"])), tmp_path)
    written = json.loads((tmp_path / "contributions.json").read_text())
    assert written["by_coordination_ev"]["12"] == pytest.approx(headline["by_coordination_ev"][12])
    assert written["contribution_std_over_members_ev"] is None
    for name in ("contributions.csv", "contributions_moved.csv", "contributions.extxyz", "contributions.png"):
        assert (tmp_path / name).stat().st_size > 100
