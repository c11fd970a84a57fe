"""A carve is compact, connected, no larger than asked, turns with the crystal, and tells its targets the truth."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100, fcc111
from ase.cluster import Octahedron
from ase.constraints import FixAtoms
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from growth.carve import DANGLING, Carve, carve, carve_together, rim_weights
from growth.emt import EMTModel
from growth.errors import InputError
from growth.observables import coordination, n_parts
from growth.periodic import nearest_images

MODEL = EMTModel(["Cu"])


def cluster(rattle: float = 0.08) -> Atoms:
    """201 atoms and an adatom on a facet, last."""
    crystal = Atoms(Octahedron("Cu", 7, 2))
    centre = crystal.positions.mean(axis=0)
    crystal = crystal + Atoms("Cu", [centre + (crystal.positions[:, 0].max() - centre[0] + 1.8) * np.array([1, 0, 0])])
    crystal.rattle(rattle, seed=2)
    return crystal


def slab(make: object = fcc100, shift: float = 0.0) -> Atoms:
    """A rattled slab with an adatom, last, which may lie at a corner of the cell."""
    crystal = fcc100("Cu", (8, 8, 4), vacuum=8.0) if make is fcc100 else fcc111("Cu", (8, 8, 4), vacuum=8.0)
    crystal.pbc = (True, True, False)
    top = crystal.positions[-1] + [0.0, 0.0, 1.9] + (crystal.cell[0] / 16 + crystal.cell[1] / 16)
    crystal = crystal + Atoms("Cu", [top])
    crystal.rattle(0.05, seed=3)
    crystal.positions += shift * (crystal.cell[0] + crystal.cell[1])
    crystal.wrap()
    return crystal


CRYSTALS = {"cluster": cluster(), "perfect": cluster(0.0), "100": slab(), "111": slab(fcc111, 0.3)}


def shape(found: Carve) -> np.ndarray:
    """Sorted distances of all pairs, Å."""
    return np.sort(found.structure.get_all_distances().ravel())


def near(crystal: Atoms, atom: int, radius: float) -> np.ndarray:
    """Numbers of the atoms within a radius (Å) of one."""
    vectors = nearest_images(crystal.positions - crystal.positions[atom], crystal)
    return np.flatnonzero(np.linalg.norm(vectors, axis=1) <= radius)


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("n", [19, 31, 55, 79])
def test_is_a_connected_cluster_of_the_size_asked_with_its_targets_neighbours(name: str, n: int) -> None:
    crystal = CRYSTALS[name]
    found = carve(crystal, np.array([len(crystal) - 1]), n)
    assert len(found.structure) == len(found.atoms) == len(np.unique(found.atoms)) == n
    assert n_parts(found.structure) == 1
    assert not found.structure.pbc.any()
    assert found.structure.cell.rank == 0
    assert found.atoms[found.targets].tolist() == [len(crystal) - 1]
    assert found.core[found.targets].all()
    whole, cut = coordination(crystal)[found.atoms], coordination(found.structure)
    assert (found.core == (cut == whole)).all()
    assert not found.core.all()
    assert (cut >= np.minimum(whole, DANGLING)).all()
    assert np.allclose(found.structure.positions[found.targets], crystal.positions[-1:])


@pytest.mark.parametrize("name", CRYSTALS)
def test_distances_are_those_of_the_crystal(name: str) -> None:
    crystal = CRYSTALS[name]
    found = carve(crystal, near(crystal, len(crystal) - 1, 3.0), 60)
    here = found.structure.get_all_distances()
    there = crystal[found.atoms].get_all_distances(mic=True)
    bonded = here < 3.1
    assert np.allclose(here[bonded], there[bonded])
    assert (bonded == (there < 3.1))[found.core].all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(20, 90))
def test_a_rotated_and_renumbered_crystal_has_the_same_carve(seed: int, n: int) -> None:
    crystal, rng = CRYSTALS["cluster"], np.random.default_rng(seed)
    targets = near(crystal, len(crystal) - 1, 2.0)
    order = rng.permutation(len(crystal))
    turned = Atoms(crystal.numbers, Rotation.random(random_state=seed).apply(crystal.positions) + 3.0)[order]
    found = carve(crystal, targets, n)
    again = carve(turned, np.flatnonzero(np.isin(order, targets)), n)
    assert sorted(order[again.atoms].tolist()) == found.atoms.tolist()
    assert dict(zip(order[again.atoms].tolist(), again.core.tolist(), strict=True)) == dict(
        zip(found.atoms.tolist(), found.core.tolist(), strict=True)
    )


def test_symmetric_places_have_carves_of_the_same_shape() -> None:
    crystal = Atoms(Octahedron("Cu", 7, 2))
    corners = np.flatnonzero(coordination(crystal) == coordination(crystal).min())
    assert len(corners) == 24
    shapes = [shape(carve(crystal, corners[[k]], 31)) for k in range(len(corners))]
    assert all(np.allclose(shapes[0], other, atol=1e-6) for other in shapes[1:])


@pytest.mark.parametrize("make", [fcc100, fcc111])
def test_the_boundary_of_the_cell_does_not_matter(make: object) -> None:
    middle, corner = slab(make), slab(make, 0.47)
    targets = near(middle, len(middle) - 1, 3.0)
    a, b = carve(middle, targets, 40), carve(corner, targets, 40)
    assert a.atoms.tolist() == b.atoms.tolist()
    assert np.allclose(shape(a), shape(b), atol=1e-6)


def test_a_small_cluster_is_its_own_carve() -> None:
    crystal = cluster()
    crystal.set_constraint(FixAtoms([0]))
    crystal.info["uid"] = "of the crystal"
    found = carve(crystal, np.array([5, 3]), len(crystal))
    assert found.atoms.tolist() == list(range(len(crystal)))
    assert found.targets.tolist() == [5, 3]
    assert np.array_equal(found.structure.positions, crystal.positions)
    assert found.core.all()
    assert (rim_weights(found) == 1.0).all()
    assert not found.structure.constraints
    assert not found.structure.info


def test_dangling_atoms_give_way_to_better_bound_ones() -> None:
    positions = bulk("Cu", cubic=True).repeat((4, 4, 4)).positions
    crystal = Atoms("Cu256", positions - positions.mean(axis=0))
    target = int(np.linalg.norm(crystal.positions, axis=1).argmin())
    for n in range(14, 60):
        counts = coordination(carve(crystal, np.array([target]), n).structure)
        assert counts.min() >= DANGLING, n


def test_an_atom_that_holds_the_carve_together_stays() -> None:
    rng, positions = np.random.default_rng(153), np.zeros((0, 3))
    while len(positions) < 60:  # a bar as loose as a sponge
        place = rng.random(3) * [24.0, 8.0, 8.0]
        if np.linalg.norm(positions - place, axis=1).min(initial=9.0) > 2.4:
            positions = np.vstack([positions, place])
    found = carve(Atoms("Cu60", positions), np.array([0]), 16)
    assert n_parts(found.structure) == 1
    assert coordination(found.structure).min() < DANGLING


def test_targets_in_a_row_longer_than_half_the_cell_stay_together() -> None:
    crystal = fcc100("Cu", (8, 8, 4), vacuum=8.0)
    crystal.pbc = (True, True, False)
    row = np.arange(6) + 200  # of the uppermost layer
    order = np.array([row[0], row[5], row[4], row[2], row[1], row[3]])
    found = carve(crystal, order, 80)
    assert found.atoms[found.targets].tolist() == order.tolist()
    along = found.structure.positions[found.targets[np.argsort(order)]]
    assert np.allclose(np.diff(along, axis=0), crystal.cell[0] / 8)


@pytest.mark.parametrize("name", CRYSTALS)
def test_forces_on_the_targets_converge_to_the_crystals(name: str) -> None:
    crystal = CRYSTALS[name]
    whole = MODEL([crystal]).forces[0]
    targets = near(crystal, len(crystal) - 1, 3.0)
    errors = []
    for n in (31, 79, 140):
        found = carve(crystal, targets, n)
        off = np.linalg.norm(MODEL([found.structure]).forces[0] - whole[found.atoms], axis=1)
        errors.append(off[found.targets].mean())
        assert off[rim_weights(found) > 0].mean() < off.mean()
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3


def test_weights_mask_the_rim_alone() -> None:
    found = carve(cluster(), np.array([201]), 40)
    assert 1 < found.core.sum() < 39
    assert np.array_equal(rim_weights(found), found.core.astype(float))


def test_a_lone_target_has_a_carve_of_what_is_nearest() -> None:
    crystal = cluster()
    crystal.positions[-1, 0] += 4.0
    found = carve(crystal, np.array([len(crystal) - 1]), 20)
    assert len(found.atoms) == 20
    assert n_parts(found.structure) == 2


def test_a_small_cell_gives_each_atom_once() -> None:
    crystal = fcc100("Cu", (4, 4, 3), vacuum=8.0)
    crystal.pbc = (True, True, False)
    found = carve(crystal, np.array([40]), 200)
    assert found.atoms.tolist() == list(range(48))
    assert found.core[found.targets].all()
    assert not found.core.all()


@pytest.mark.parametrize(
    ("crystal", "targets", "max_atoms", "words"),
    [
        (cluster(), [], 30, "targets: expected a list of atom numbers"),
        (cluster(), [0.5], 30, "targets: expected a list of atom numbers"),
        (cluster(), [-1], 30, "targets: expected numbers from 0 to"),
        (cluster(), [500], 30, "targets: expected numbers from 0 to"),
        (cluster(), [3, 3], 30, "targets: expected each atom once"),
        (cluster(), [201], 4, "max_atoms: expected at least 5"),
        (cluster(), [0, 100, 200], 20, "max_atoms: expected at least"),
        (Atoms("Cu40", np.arange(40)[:, None] * [2.5, 0, 0]), [0, 39], 10, "targets: too far apart"),
        (bulk("Cu", cubic=True), [0], 30, "crystal: the cell is too narrow"),
        (Atoms("Cu2", [[0, 0, 0], [0, 0, np.nan]]), [0], 1, "crystal: expected positions"),
    ],
)
def test_bad_input_is_refused_in_one_line(crystal: Atoms, targets: list[float], max_atoms: int, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        carve(crystal, np.array(targets), max_atoms)
    assert "\n" not in str(caught.value)


def on_terrace(*places: tuple[float, float], apart: bool = True) -> list[Atoms]:
    """A slab of (100) with an adatom, last, in each of some hollows, numbered by rows; the others shifted a little,
    in each slab otherwise where they are `apart`."""
    crystal = fcc100("Cu", (10, 10, 4), a=3.59, vacuum=8.0)
    crystal.pbc = (True, True, False)
    made = []
    for k, (i, j) in enumerate(places):
        place = [*(2.538 * np.array([i + 0.5, j + 0.5])), crystal.positions[-1, 2] + 1.75]
        moved = crystal.copy()
        moved.rattle(0.02, seed=k if apart else 0)
        made.append(moved + Atoms("Cu", [place]))
    return made


def test_competing_places_near_one_another_are_carved_with_the_same_atoms() -> None:
    """Across the cell's boundary too: energy differences are those of the whole."""
    wholes = on_terrace((9, 9), (10, 9), (9, 10))
    pieces = [piece for piece in carve_together(wholes, 60) if piece is not None]
    assert len(pieces) == 3
    assert {len(piece) for piece in pieces} == {60}
    for piece in pieces[1:]:
        assert np.linalg.norm(piece.positions[:-1] - pieces[0].positions[:-1], axis=1).max() < 0.2
        assert 2.0 < np.linalg.norm(piece.positions[-1] - pieces[0].positions[-1]) < 3.0
    for piece, whole in zip(pieces, wholes, strict=True):
        own, truth = MODEL([piece]).forces[0][-1], MODEL([whole]).forces[0][-1]
        assert np.linalg.norm(own - truth) < 0.02

    wholes = on_terrace((9, 9), (10, 9), (9, 10), apart=False)
    pieces = [piece for piece in carve_together(wholes, 60) if piece is not None]
    own, truth = MODEL(pieces).energies, MODEL(wholes).energies
    assert np.abs(truth - truth[0]).max() > 5e-3
    assert (own - own[0]).tolist() == pytest.approx((truth - truth[0]).tolist(), abs=1e-3)


def test_a_place_too_far_away_has_no_carve_with_the_first() -> None:
    pieces = carve_together(on_terrace((2, 2), (7, 7), (3, 2)), 38)
    assert pieces[1] is None
    assert [len(piece) for piece in pieces if piece is not None] == [38, 38]


def test_what_is_small_enough_is_left_whole() -> None:
    wholes = on_terrace((2, 2), (7, 7))
    assert carve_together(wholes, None) == wholes
    assert carve_together(wholes, len(wholes[0])) == wholes
    with pytest.raises(InputError, match="max_atoms: expected at least"):
        carve_together(wholes, 4)


def test_atoms_in_doubt_are_in_the_carve_with_all_their_neighbours_as_far_as_there_is_room() -> None:
    """So their forces are those of the crystal, more nearly than in a carve around the adatom alone."""
    whole = on_terrace((4, 4))[0]
    distances = whole.get_distances(-1, range(len(whole)), mic=True)
    uncertain = [int(k) for k in np.flatnonzero((distances > 3.5) & (distances < 4.5))[:3]]
    assert len(uncertain) == 3
    truth, n_bonds = MODEL([whole]).forces[0], coordination(whole)

    def numbers(piece: Atoms) -> list[int]:
        """Of the atoms in doubt in a carve."""
        shifted = piece.positions + whole.positions[-1] - piece.positions[-1]
        return [int(np.linalg.norm(shifted - at, axis=1).argmin()) for at in whole.positions[uncertain]]

    def worst(piece: Atoms) -> float:
        """Largest error of a force on the atoms in doubt, eV/Å."""
        return float(np.linalg.norm(MODEL([piece]).forces[0][numbers(piece)] - truth[uncertain], axis=1).max())

    [around], [alone] = carve_together([whole], 44, uncertain), carve_together([whole], 44)
    assert around is not None
    assert alone is not None
    assert (len(around), len(alone)) == (44, 44)
    assert np.array_equal(coordination(around)[numbers(around)], n_bonds[uncertain])
    assert not np.array_equal(coordination(alone)[numbers(alone)], n_bonds[uncertain])
    assert worst(around) < worst(alone)
    far = int(distances.argmax())
    [same] = carve_together([whole], 44, [far])
    assert same is not None
    assert np.array_equal(same.positions, alone.positions)
