"""Where few atoms move, a committee gives what it gives when all of the structure is evaluated."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.cluster import Octahedron
from ase.constraints import FixAtoms

from learner import local
from learner.committee import Committee
from learner.errors import InputError
from learner.settings import NetworkSettings

from .conftest import make_committee

SETTINGS = NetworkSettings(cutoff=4.0, n_features=12, n_directions=5, n_readout=8, n_members=3, dtype="float64")


def committee(n_steps: int = 2, n_directions: int = 5) -> Committee:
    return make_committee("AlCu", SETTINGS.model_copy(update={"n_steps": n_steps, "n_directions": n_directions}))


def structures() -> dict[str, Atoms]:
    """Each with a few atoms that may move, near its first."""
    slab = fcc111("Al", (6, 6, 4), vacuum=8.0)
    slab.append("Cu")
    slab.positions[-1] = slab.positions[slab.positions[:, 2].argmax()] + [1.4, 0.8, 2.2]
    small = fcc111("Cu", (2, 2, 2), vacuum=8.0)
    small.pbc = (True, True, False)
    cluster = Octahedron("Al", 5, 1)
    crystal = bulk("Al", cubic=True).repeat(3)
    crystal.numbers[::4] = 29
    found = {"slab": slab, "smaller than the cutoff": small, "cluster": cluster, "bulk": crystal}
    for number, atoms in enumerate(found.values()):
        atoms.rattle(0.08, seed=number)
        distances = atoms.get_distances(len(atoms) - 1, range(len(atoms)), mic=bool(atoms.pbc.any()))
        atoms.set_constraint(FixAtoms(np.flatnonzero(distances > 3.2)))
    return found


def moving(atoms: Atoms) -> np.ndarray:
    return np.setdiff1d(np.arange(len(atoms)), atoms.constraints[0].index)


def compare(model: Committee, atoms: Atoms) -> None:
    few, whole = model.where_few_move([atoms]), model([atoms])
    free = moving(atoms)
    held = atoms.constraints[0].index
    np.testing.assert_allclose(few.member_energies, whole.member_energies, rtol=0, atol=1e-9)
    np.testing.assert_allclose(few.energies, whole.energies, rtol=0, atol=1e-9)
    np.testing.assert_allclose(few.atom_energies[0], whole.atom_energies[0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(few.forces[0][free], whole.forces[0][free], rtol=0, atol=1e-10)
    np.testing.assert_allclose(few.forces_std[0][free], whole.forces_std[0][free], rtol=0, atol=1e-10)
    assert not few.forces[0][held].any() and not few.forces_std[0][held].any()


@pytest.mark.parametrize("kind", structures())
@pytest.mark.parametrize(("n_steps", "n_directions"), [(1, 5), (2, 0), (2, 5), (3, 5)])
def test_a_walk_of_the_moving_atoms(kind: str, n_steps: int, n_directions: int) -> None:
    model, atoms, rng = committee(n_steps, n_directions), structures()[kind], np.random.default_rng(0)
    free = moving(atoms)
    assert 0 < len(free) < len(atoms)
    for _ in range(8):
        compare(model, atoms)
        atoms.positions[free] += rng.normal(0, 0.1, (len(free), 3))


def test_surroundings_are_looked_at_once_until_an_atom_is_far(monkeypatch: pytest.MonkeyPatch) -> None:
    model, atoms, made = committee(), structures()["slab"], []
    remember = local.Surroundings._remember
    monkeypatch.setattr(local.Surroundings, "_remember", lambda *given: (made.append(1), remember(*given))[1])
    for step in range(5):
        compare(model, atoms)
        atoms.positions[moving(atoms)[-1], 2] += 0.24 * local.SKIN
        assert len(made) == 1, step
    compare(model, atoms)
    assert len(made) == 2
    atoms.positions[atoms.constraints[0].index[0], 0] += 0.01
    compare(model, atoms)
    assert len(made) == 3


def test_an_atom_that_leaves_and_one_that_arrives() -> None:
    model, atoms = committee(), structures()["slab"]
    compare(model, atoms)
    atoms.positions[-1, 2] += 6.0
    compare(model, atoms)
    atoms.append("Al")
    atoms.positions[-1] = atoms.positions[-2] - [0.3, 0.2, 3.0]
    compare(model, atoms)


def test_none_held_and_all_held() -> None:
    model, atoms = committee(), structures()["cluster"]
    free = atoms.copy()
    free.set_constraint()
    np.testing.assert_allclose(model.where_few_move([free]).forces[0], model([free]).forces[0], rtol=0, atol=1e-10)
    atoms.set_constraint(FixAtoms(range(len(atoms))))
    compare(model, atoms)


def test_a_batch_is_each_alone_and_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "KEPT", 1)
    model, batch = committee(), list(structures().values())
    together, alone = model.where_few_move(batch), [model.where_few_move([atoms]) for atoms in batch]
    assert together.energies.tolist() == [one.energies[0] for one in alone]
    for forces, one in zip(together.forces, alone, strict=True):
        np.testing.assert_array_equal(forces, one.forces[0])
    assert model._local is not None and len(model._local._known) == 2
    assert model.where_few_move([]).energies.shape == (0,)


def test_what_a_call_refuses() -> None:
    model, atoms = committee(), structures()["slab"]
    atoms.positions[moving(atoms)[0], 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        model.where_few_move([atoms])
    with pytest.raises(InputError, match="holds Au"):
        model.where_few_move([Atoms("Au")])


def test_single_precision_agrees_to_its_rounding() -> None:
    model = make_committee("AlCu", SETTINGS.model_copy(update={"dtype": "float32"}))
    atoms = structures()["slab"]
    few, whole = model.where_few_move([atoms]), model([atoms])
    assert abs(few.energies - whole.energies)[0] < 1e-6 * len(atoms) * 10
    free = moving(atoms)
    assert np.abs(few.forces[0] - whole.forces[0])[free].max() < 2e-5
