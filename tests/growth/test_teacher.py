"""A model as the oracle's method, and a cheap method as a teacher before the oracle's labels."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.cluster import Icosahedron

from growth.config import Config, check_settings, load_config
from growth.errors import InputError
from growth.initial_set import InitialSettings, structures_to_teach
from growth.oracle_worker import OracleWorker
from growth.pretraining import labelling_by, on_scale_of, pretrained
from growth.run import launch
from growth.sites import with_adatom
from growth.workers import LearnerWorker, features_of_last, model_of
from learner import Committee, NetworkSettings, TrainSettings, UpdateSettings, evaluate, train
from oracle import Dataset, FailedLabel, LabelSettings, Method, label
from oracle.identity import hash_of
from tests.growth.models import fcc14
from tests.growth.test_loop import DEMO, SMALL

TINY = NetworkSettings(n_members=2, n_features=8, n_steps=1, n_directions=4, n_readout=8)
EMT = Method.from_dict({"kind": "emt"})


def taught(n: int, seed: int = 0) -> list[Atoms]:
    return structures_to_teach(fcc14(), ["Al"], 18, n, InitialSettings(), np.random.default_rng(seed))


def emt_labels(structures: Sequence[Atoms]) -> list[Atoms]:
    return labelling_by(EMT)(structures)


def moved(labelled: Sequence[Atoms], per_atom: float, lone: float) -> list[Atoms]:
    """Labels of another method: so much higher an atom, and for a lone atom."""
    copies = []
    for atoms in labelled:
        energy = atoms.get_potential_energy() + (lone if len(atoms) == 1 else per_atom * len(atoms))
        copy = Atoms(atoms.numbers, atoms.positions)
        copy.calc = SinglePointCalculator(copy, energy=energy, free_energy=energy, forces=atoms.get_forces())
        copies.append(copy)
    return copies


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "model"
    labels = emt_labels([Atoms("Al"), *taught(12)])
    train(labels, [], TINY, TrainSettings(steps=10), seed=0).committee.save(path)
    return path


def test_a_model_labels_as_it_predicts(model: Path) -> None:
    """By way of the worker process of cheap methods, which itself knows nothing of networks."""
    method = Method.from_dict({"kind": "model", "path": str(model)})
    structures = [fcc14(), with_adatom(fcc14(), "Al", np.array([0.0, 0.0, 6.0]))]
    worker = OracleWorker(method.to_dict(), LabelSettings(), model.parent)
    labelled = worker.label(structures)
    [refused] = label([Atoms("Cu2", [[0, 0, 0], [2.5, 0, 0]])], method)
    worker.close()
    found = Committee.load(model)(structures)
    for k, one in enumerate(labelled):
        assert isinstance(one, Atoms)
        assert one.get_potential_energy(force_consistent=True) == pytest.approx(found.energies[k], abs=1e-9)
        np.testing.assert_allclose(one.get_forces(), found.forces[k], atol=1e-9)
        assert one.info["method_hash"] == method.hash
    assert isinstance(refused, FailedLabel)
    assert method.cheap
    assert method.missing_species(["Al", "Cu"]) == ["Cu"]


MAKE_MACE = """
import sys
import numpy as np
import torch
from mace import modules
from e3nn import o3

torch.manual_seed(0)
block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
torch.save(
    modules.ScaleShiftMACE(
        r_max=5.0, num_bessel=4, num_polynomial_cutoff=5, max_ell=1, correlation=2, num_interactions=2,
        interaction_cls=block, interaction_cls_first=block, avg_num_neighbors=8.0, gate=torch.nn.functional.silu,
        hidden_irreps=o3.Irreps("8x0e"), MLP_irreps=o3.Irreps("8x0e"), atomic_inter_scale=1.0, atomic_inter_shift=0.0,
        num_elements=1, atomic_numbers=[13], atomic_energies=np.array([-1.0]),
    ),
    sys.argv[1],
)
"""


@pytest.fixture(scope="module")
def mace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small MACE network with random weights, made where its package may change what it likes."""
    path = tmp_path_factory.mktemp("mace") / "small.model"
    subprocess.run([sys.executable, "-W", "ignore", "-c", MAKE_MACE, str(path)], check=True, capture_output=True)
    return path


def test_a_mace_network_labels(mace: Path) -> None:
    """In the worker of cheap methods: forces are those of the energy, what it does not know is a failed label."""
    method = Method.from_dict({"kind": "mace", "path": str(mace)})
    cluster, step = fcc14(), 1e-4
    moved = [cluster.copy(), cluster.copy()]
    for one, sign in zip(moved, (1, -1), strict=True):
        one.positions[0, 0] += sign * step
    worker = OracleWorker(method.to_dict(), LabelSettings(), mace.parent)
    whole, forward, back, lone, refused = worker.label([cluster, *moved, Atoms("Al"), Atoms("Cu")])
    worker.close()
    assert isinstance(whole, Atoms) and isinstance(forward, Atoms) and isinstance(back, Atoms)
    slope = (forward.get_potential_energy() - back.get_potential_energy()) / (2 * step)
    assert whole.get_forces()[0, 0] == pytest.approx(-slope, abs=1e-5)
    assert abs(slope) > 1e-3
    assert isinstance(lone, Atoms)
    assert whole.info["method_hash"] == method.hash
    assert isinstance(refused, FailedLabel)


def test_a_head_that_a_mace_network_has_not_is_refused(mace: Path) -> None:
    """Mace itself would ask another head, that is another functional."""
    [refused] = label([fcc14()], Method.from_dict({"kind": "mace", "path": str(mace), "head": "r2scan"}))
    assert isinstance(refused, FailedLabel)
    assert "head is 'r2scan'; small.model has Default" in refused.detail


def test_a_mace_network_teaches(mace: Path) -> None:
    method = {"kind": "mace", "path": str(mace)}
    settings = InitialSettings.model_validate({"pretrain": {"method": method, "n": 20, "steps": 30}})
    assert settings.pretrain is not None
    labelled = emt_labels([Atoms("Al"), *taught(8)])
    _, metrics = LearnerWorker(TINY, TrainSettings(steps=5), UpdateSettings()).train(
        labelled, [], 1, 0, (settings.pretrain, taught(20))
    )
    assert metrics["pretrained"] is True


def test_a_mace_network_is_hashed_by_what_its_file_holds(mace: Path, tmp_path: Path) -> None:
    here = Method.from_dict({"kind": "mace", "path": str(mace)})
    copy = shutil.copy(mace, tmp_path / "copy.model")
    there = Method.from_dict({"kind": "mace", "path": str(copy)})
    assert there.hash == here.hash
    copy.write_bytes(mace.read_bytes() + b" ")
    assert there.hash != here.hash
    with pytest.raises(InputError, match="no such file"):
        check_settings(Config, {"oracle": {"method": {"kind": "mace", "path": str(tmp_path / "none")}}}, "config")


def test_the_hash_is_of_the_surface_not_of_the_place(model: Path, tmp_path: Path) -> None:
    here = Method.from_dict({"kind": "model", "path": str(model)})
    shutil.copytree(model, tmp_path / "copy")
    assert Method.from_dict({"kind": "model", "path": str(tmp_path / "copy")}).hash == here.hash
    assert hash_of(here.surface()) == here.hash
    header = json.loads((tmp_path / "copy" / "model.json").read_text())
    (tmp_path / "copy" / "model.json").write_text(json.dumps({**header, "metrics": {"x": 1}, "version": 9}))
    assert Method.from_dict({"kind": "model", "path": str(tmp_path / "copy")}).hash == here.hash
    (tmp_path / "copy" / "model.json").write_text(json.dumps({**header, "e0": [header["e0"][0] + 1]}))
    assert Method.from_dict({"kind": "model", "path": str(tmp_path / "copy")}).hash != here.hash


@pytest.mark.parametrize(("content", "words"), [(None, "no model there"), ("{}", "no header"), ("[", "no header")])
def test_what_is_no_model_is_refused_in_one_line(content: str | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "model.json").write_text(content)
    with pytest.raises(InputError, match=words) as error:
        check_settings(Config, {"oracle": {"method": {"kind": "model", "path": str(tmp_path)}}}, "config")
    assert "\n" not in str(error.value)


def test_a_teacher_is_shifted_to_the_oracles_scale() -> None:
    """By as much an atom of each species as makes up for the difference; differences and forces stay."""
    structures = [bulk("Al").repeat(2), bulk("Cu").repeat(2), Atoms("AlCu", [[0, 0, 0], [2.6, 0, 0]])]
    labels = emt_labels(structures)
    counts = [np.array([np.sum(a.numbers == z) for z in (13, 29)]) for a in labels]
    oracle = [
        moved([a], float(n @ [-3.0, 2.0]) / len(a), 0.0)[0] for a, n in zip(labels, counts, strict=True)
    ]  # −3 eV an Al atom, +2 a Cu atom
    shifted = on_scale_of(labels, labels, oracle, [13, 29])
    for one, other, teacher in zip(shifted, oracle, labels, strict=True):
        assert one.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-9)
        assert np.array_equal(one.get_forces(), teacher.get_forces())
        assert "method_hash" not in one.info


def test_what_was_learnt_from_a_teacher_is_a_better_start() -> None:
    """Of an oracle that differs from the teacher by constants alone: nearly all is known before its labels are seen."""
    lone = moved(emt_labels([Atoms("Al")]), 0.0, -50.0)
    known, test = (moved(emt_labels(taught(n, seed)), -53.0, 0.0) for n, seed in ((6, 1), (12, 2)))
    budget = TrainSettings(steps=150)
    start = pretrained(taught(40, 3), [*lone, *known], emt_labels, TINY, budget, seed=0)
    assert start is not None
    assert start.e0 == {13: pytest.approx(lone[0].get_potential_energy())}
    few = TrainSettings(steps=15)
    with_teacher = evaluate(train([*lone, *known], [], TINY, few, seed=0, start=start).committee, test)
    without = evaluate(train([*lone, *known], [], TINY, few, seed=0).committee, test)
    assert with_teacher["force_mae_mev_per_A"] < 0.7 * without["force_mae_mev_per_A"]
    assert with_teacher["energy_mae_mev_per_atom"] < without["energy_mae_mev_per_atom"]


def test_a_teacher_that_can_label_nothing_is_done_without() -> None:
    labelled = emt_labels([Atoms("Al"), *taught(5)])
    assert pretrained(taught(30), labelled, lambda structures: [], TINY, TrainSettings(steps=5), seed=0) is None


def test_the_first_model_of_a_campaign_begins_with_what_a_cheap_method_teaches() -> None:
    settings = InitialSettings.model_validate({"pretrain": {"method": {"kind": "emt"}, "n": 20, "steps": 30}})
    assert settings.pretrain is not None
    labelled = moved(emt_labels([Atoms("Al"), *taught(8)]), -53.0, -50.0)
    learner = LearnerWorker(TINY, TrainSettings(steps=5), UpdateSettings())
    files, metrics = learner.train(labelled, [], 1, 0, (settings.pretrain, taught(20)))
    again, _ = learner.train(labelled, [], 1, 0, (settings.pretrain, taught(20)))
    _, plain = learner.train(labelled, [], 1, 0)
    assert metrics["pretrained"] is True
    assert "pretrained" not in plain
    assert files["model.safetensors"] == again["model.safetensors"]
    assert metrics["force_mae_mev_per_A"] < plain["force_mae_mev_per_A"]
    assert model_of(files)[0].header.n_labels == len(labelled)


@pytest.mark.parametrize(
    ("initial", "words"),
    [
        ({"pretrain": {"method": {"kind": "ase", "calculator": "vasp"}}}, "expected a cheap method"),
        ({"pretrain": {"method": {"kind": "emt"}}, "model": "somewhere"}, "expected none with a model"),
        ({"pretrain": {"method": {"kind": "emtt"}}}, "emt"),
    ],
)
def test_teachers_that_make_no_sense_are_refused(initial: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_settings(Config, {"oracle": {"method": {"kind": "emt"}}, "initial": initial}, "config")


def test_what_a_teacher_labels_goes_from_the_seed_to_the_grown_crystal() -> None:
    sizes = [len(atoms) for atoms in taught(10)]
    assert sizes == [15, 16, 17, 18, 14, 15, 16, 17, 18, 14]
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(taught(3), taught(3), strict=True))
    assert (
        max(
            len(atoms)
            for atoms in structures_to_teach(fcc14(), ["Al"], 10**6, 70, InitialSettings(), np.random.default_rng(0))
        )
        == 14 + 60
    )


@pytest.mark.slow
def test_a_campaign_learns_from_a_model_and_before_that_from_a_cheap_method(model: Path, tmp_path: Path) -> None:
    """The cheap method's labels are in no dataset, and what it taught is told."""
    overrides = [
        *SMALL,
        f"oracle.method={{kind: model, path: {model}}}",
        "initial.pretrain={method: {kind: emt}, n: 20, steps: 20}",
        "growth.n_atoms=15",
        "growth.hops_per_step=0",
        "walkers=1",
    ]
    launch(load_config(DEMO, overrides), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert next(line for line in lines if line["what"] == "model")["pretrained"] is True
    method, labelled = Method.from_dict({"kind": "model", "path": str(model)}), Committee.load(model)
    dataset = Dataset.read(tmp_path / "run" / "dataset")
    assert dataset.method_hash == method.hash
    structures = [structure for structure in dataset.structures() if len(structure) > 1]
    energies = [structure.get_potential_energy(force_consistent=True) for structure in structures]
    np.testing.assert_allclose(energies, labelled(structures).energies, atol=1e-6)


def test_features_of_the_last_atom_are_those_in_the_whole(model: Path) -> None:
    """Though of a large cluster only the part within its reach is looked at."""
    committee, cluster = Committee.load(model), Icosahedron("Al", 5, latticeconstant=4.0)
    grown = with_adatom(cluster, "Al", cluster.positions[np.argmax(cluster.positions[:, 0])] * 1.15)
    assert np.linalg.norm(grown.positions - grown.positions[-1], axis=1).max() > committee.reach / 2
    own = features_of_last(committee, [grown])
    np.testing.assert_allclose(own[0], committee.features([grown])[0][-1], rtol=1e-4, atol=1e-6)
