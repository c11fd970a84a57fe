"""The paper's networks: what their equations say, bond types, auxiliaries, training, files."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from learner import MPNN
from learner.errors import InputError
from learner.metrics import evaluate
from learner.paper.auxiliaries import SCALES, subshells
from learner.paper.bond_types import all_hard_types, parse_bonds
from learner.paper.examples import join, join_inputs, make_examples, make_inputs
from learner.paper.model import PaperModel
from learner.paper.network import PaperNetwork
from learner.paper.settings import PaperSettings, PaperTrainSettings
from learner.paper.training import _Fit, train_paper

WATER, ETHENE = "0-1:1 0-2:1", "0-1:2 0-2:1 0-3:1 1-4:1 1-5:1"
COMBINATIONS = ("a.i", "a.ii", "b.i", "b.ii", "c")


def labelled(atoms: Atoms, scale: float = 1.0, bonds: str | None = None) -> Atoms:
    """A copy scaled by `scale`, labelled by EMT."""
    copy = atoms.copy()
    copy.set_cell(copy.cell.array * scale)
    copy.positions *= scale
    copy.calc = EMT()
    energy, forces = copy.get_potential_energy(), copy.get_forces()
    copy.calc = SinglePointCalculator(copy, energy=energy, forces=forces)
    copy.info = {"scale": scale} | ({} if bonds is None else {"bonds": bonds})
    return copy


@pytest.fixture(scope="module")
def molecules() -> list[Atoms]:
    named = ((molecule("H2O"), WATER), (molecule("C2H4"), ETHENE))
    return [labelled(atoms, s, bonds) for atoms, bonds in named for s in np.linspace(0.9, 1.5, 7)]


@pytest.fixture(scope="module")
def metals() -> list[Atoms]:
    cells = [labelled(bulk(symbol), s) for symbol in ("Al", "Cu") for s in np.linspace(0.9, 1.5, 5)]
    rng = np.random.default_rng(0)
    clusters = [labelled(Atoms("Al7", 2.7 * rng.permutation(list(np.ndindex(2, 2, 2)))[:7])) for _ in range(4)]
    return cells + clusters


def network(settings: PaperSettings, structures: list[Atoms], seed: int = 0) -> PaperNetwork:
    torch.manual_seed(seed)
    species = sorted({int(z) for a in structures for z in a.numbers})
    hard = all_hard_types(structures) if settings.bond_types == "hard" else ()
    return PaperNetwork(settings, species, hard)


def energies(net: PaperNetwork, structures: list[Atoms]) -> torch.Tensor:
    one = join_inputs(make_inputs(net, structures))
    return net(one.graph, one.types).detach()


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_all_channels_alike_collapse_to_one(combination: str, metals: list[Atoms]) -> None:
    """On a pure metal there is one hard bond type: every VIMPNN is the baseline, whatever its combination."""
    settings = PaperSettings(combination=combination, dtype="float64")
    plain = network(PaperSettings(network="baseline", dtype="float64"), metals)
    net = network(settings, metals, seed=1)
    assert net.types == ("metallic",)
    missing = net.load_state_dict(plain.state_dict(), strict=False)
    assert missing.unexpected_keys == []
    assert all(
        name.endswith(".weight") and net.state_dict()[name].unique().item() == 1 for name in missing.missing_keys
    )
    assert torch.allclose(energies(net, metals), energies(plain, metals), atol=1e-12)


def test_the_public_mpnn_is_the_papers(metals: list[Atoms]) -> None:
    settings = PaperSettings(network="mpnn", bond_types="valence", dtype="float64")
    species = network(settings, metals).species
    torch.manual_seed(0)
    public = MPNN(species, settings.model_copy(update={"network": "vimpnn"}))
    torch.testing.assert_close(energies(public, metals), energies(network(settings, metals), metals))


def test_mpnn_on_a_pure_metal_is_the_baseline_with_a_bias(metals: list[Atoms]) -> None:
    settings = PaperSettings(network="mpnn", dtype="float64")
    net = network(settings, metals)
    one = join_inputs(make_inputs(net, metals))
    features = net.edges(one.graph, one.types).features
    assert features.shape[-1] == settings.n_radial + 1
    assert torch.equal(features[..., -1], torch.ones_like(features[..., -1]))


@pytest.mark.parametrize(("combination", "message"), list(product(COMBINATIONS, ("shared", "per_type"))))
def test_message_is_the_sum_over_neighbours_of_each_type(
    combination: str, message: str, molecules: list[Atoms]
) -> None:
    """The first step by the equations in the docstring, edge by edge."""
    net = network(PaperSettings(combination=combination, message=message, dtype="float64"), molecules)
    atoms = molecules[9]
    one = make_inputs(net, [atoms])[0]
    edges = net.edges(one.graph, one.types)
    h = net.embed[one.graph.species]
    layer = net.messages[0]
    found = layer(h, edges)
    assert one.types is not None
    expected = torch.zeros_like(found)
    for v in range(len(atoms)):
        for slot, w in enumerate(one.graph.neighbours[v].tolist()):
            t = int(one.types[v, slot])
            u = edges.weights[v, t, slot]
            k = t if message == "per_type" else 0
            inner = layer.own[k](h[v]) + layer.other[k](h[w]) + layer.edge[k](edges.features[v, slot])
            expected[v, t] += layer.out[k](u * torch.nn.functional.silu(inner))
    assert torch.allclose(found, expected, atol=1e-12)


def test_bond_types_matter_to_all_but_the_baseline(molecules: list[Atoms]) -> None:
    other = [a.copy() for a in molecules]
    for a in other:
        a.info["bonds"] = a.info["bonds"].replace(":2", ":1")
    for settings, same in (
        (PaperSettings(network="baseline"), True),
        (PaperSettings(network="mpnn"), False),
        (PaperSettings(), False),
        (PaperSettings(bond_types="valence"), True),
    ):
        net = network(settings, molecules)
        assert torch.equal(energies(net, molecules), energies(net, other)) is same


@pytest.mark.parametrize("combination", ["a.i", "a.ii"])
def test_weighted_sums_start_as_the_baseline(combination: str, molecules: list[Atoms]) -> None:
    """Whatever the bond types: their weights are 1 before training."""
    started = network(PaperSettings.model_validate({"combination": combination, "dtype": "float64"}), molecules)
    baseline = network(PaperSettings(network="baseline", dtype="float64"), molecules)
    assert len(started.types) > 1
    torch.testing.assert_close(energies(started, molecules), energies(baseline, molecules))


def test_combinations_differ_in_their_parameters(molecules: list[Atoms]) -> None:
    size = {
        c: sum(p.numel() for p in network(PaperSettings(combination=c), molecules).parameters()) for c in COMBINATIONS
    }
    assert size["a.ii"] == size["b.ii"] < size["a.i"] < size["b.i"] < size["c"]


def test_scaling_keeps_hard_types_and_changes_soft_ones(molecules: list[Atoms]) -> None:
    near, far = molecules[7], molecules[13]
    for kind, same in (("hard", True), ("valence", False)):
        net = network(PaperSettings(bond_types=kind, cutoff=20.0, dtype="float64"), molecules)
        shares = []
        for atoms in (near, far):
            one = make_inputs(net, [atoms])[0]
            r = torch.linalg.vector_norm(one.graph.vectors, dim=-1)
            s = net._shares(r, torch.ones_like(r), one.graph, one.types)
            assert torch.allclose(s.sum(1), torch.ones_like(r))
            shares.append(s)
        assert torch.allclose(*shares, atol=1e-6) is same


@pytest.mark.parametrize("text", ["0-1", "0:1", "a-1:1", "0-1:4", "0-1:1,1-2:1", "-1-0:1"])
def test_malformed_bonds_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="bonds hold"):
        parse_bonds(text)


def test_what_the_network_cannot_know_is_refused(molecules: list[Atoms]) -> None:
    net = network(PaperSettings(), molecules)
    bare = molecules[0].copy()
    del bare.info["bonds"]
    with pytest.raises(InputError, match="no info\\['bonds'\\]"):
        make_inputs(net, [bare])
    bare.info["bonds"] = "0-1:3"
    with pytest.raises(InputError, match="triple"):
        make_inputs(net, [bare])
    bare.info["bonds"] = "0-9:1"
    with pytest.raises(InputError, match="only 3 atoms"):
        make_inputs(net, [bare])
    with pytest.raises(InputError, match="holds Al"):
        make_inputs(net, [Atoms("Al2", [[0, 0, 0], [0, 0, 2.5]])])
    with pytest.raises(ValueError, match="belong to vimpnn"):
        PaperSettings(network="mpnn", message="per_type")


def test_subshells_of_the_papers_elements() -> None:
    # H 1s; C, N, O, F 1s 2s 2p; Al 1s 2s 3s 2p 3p; Cu 1s 2s 3s 4s 2p 3p 3d; Ce has the first f
    expected = {1: [1, 0, 0, 0], 6: [2, 1, 0, 0], 9: [2, 1, 0, 0], 13: [3, 2, 0, 0], 29: [4, 2, 1, 0]}
    assert {z: subshells(z).tolist() for z in expected} == expected
    assert subshells(58)[3] == 1


@pytest.mark.parametrize("level", ["structure", "atom"])
def test_perfect_readouts_have_no_loss(level: str, molecules: list[Atoms]) -> None:
    """Feeding each auxiliary its own target gives 0; the targets are those of the docstring."""
    settings = PaperSettings(auxiliaries=("atoms", "orbitals", "scale"), auxiliary_level=level, dtype="float64")
    net = network(settings, molecules)
    batch = make_examples(net, molecules[:9:8], np.zeros(3))  # water at 0.9, ethene at 1.0
    graph = join_inputs([e.input for e in batch]).graph
    head, scales = net.auxiliaries, torch.cat([e.scales for e in batch])
    head.standardise(graph)
    bins = torch.linspace(*SCALES, settings.n_scale_bins, dtype=torch.float64)
    gaussian = torch.exp(-((scales[:, None] - bins) ** 2) / (2 * 0.05**2))
    perfect = {
        "atoms": torch.eye(3, dtype=torch.float64)[graph.species],
        "orbitals": torch.tensor(np.array([subshells(z) for z in net.species]))[graph.species],
        "scale": gaussian[graph.structure],
    }
    for name, rows in perfect.items():
        found, target = head._both(name, rows, graph, scales)
        assert torch.allclose(found, target)
    if level == "structure":
        assert (head._total("atoms", graph) == torch.tensor([[2, 0, 1], [4, 2, 0]])).all()  # H2O, C2H4 by H, C, O


def test_a_missing_scale_is_refused(molecules: list[Atoms]) -> None:
    bare = [a.copy() for a in molecules]
    for copy, a in zip(bare, molecules, strict=True):
        copy.calc = a.calc
        del copy.info["scale"]
    with pytest.raises(InputError, match="scale"):
        train_paper(bare, [], PaperSettings(auxiliaries=("scale",)), PaperTrainSettings(steps=1))


@pytest.mark.parametrize(
    "settings",
    [
        PaperSettings(network="baseline"),
        PaperSettings(network="mpnn"),
        PaperSettings(auxiliaries=("atoms", "orbitals", "scale")),
        PaperSettings(
            bond_types="valence", message="per_type", edge_features=True, auxiliaries=("scale",), auxiliary_level="atom"
        ),
    ],
    ids=["baseline", "mpnn", "vimpnn", "soft"],
)
def test_a_tiny_set_is_learnt_by_heart(settings: PaperSettings, molecules: list[Atoms]) -> None:
    result = train_paper(molecules, [], settings, PaperTrainSettings(steps=400, batch_atoms=60, learning_rate=5e-3))
    spread = np.std([a.get_potential_energy() for a in molecules])
    assert evaluate(result.model, molecules)["energy_mae_mev_per_atom"] < 1e3 * 0.02 * spread


def test_forces_are_learnt_too(metals: list[Atoms]) -> None:
    budget = PaperTrainSettings(steps=200, batch_atoms=20, force_weight=1.0)
    first = train_paper(metals, [], PaperSettings(), PaperTrainSettings(steps=1, force_weight=1.0)).model
    last = train_paper(metals, [], PaperSettings(), budget).model
    before, after = (evaluate(m, metals)["force_mae_mev_per_A"] for m in (first, last))
    assert after < 0.2 * before


def test_the_same_seed_gives_the_same_network(molecules: list[Atoms]) -> None:
    runs = [train_paper(molecules, molecules[:3], settings=PaperTrainSettings(steps=20), seed=s) for s in (1, 1, 2)]
    first, again, other = (r.model.energies(molecules) for r in runs)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(runs[0].history) == 10
    assert runs[0].history[-1]["step"] == 20


def test_energies_alone_are_those_with_forces(molecules: list[Atoms], metals: list[Atoms]) -> None:
    for structures in (molecules, metals):
        model = train_paper(structures, [], PaperSettings(dtype="float64"), PaperTrainSettings(steps=2)).model
        assert np.allclose(model.energies(structures), model(structures).energies, atol=1e-10)


COMPILED = """
import sys, numpy as np
from ase.io import read
from learner.paper.model import PaperModel
model = PaperModel.load(sys.argv[1]).compile()
for count in (3, 14):
    structures = read("structures.extxyz", f":{count}")
    said = model(structures)
    alone, forces = model.energies(structures), np.concatenate(said.forces)
    np.savez(f"{count}.npz", alone=alone, energies=said.energies, forces=forces)
"""


@pytest.mark.slow
@pytest.mark.parametrize("bond_types", ["hard", "valence"])
def test_compiled_it_says_the_same(bond_types: str, metals: list[Atoms], tmp_path: Path) -> None:
    """In a process without the checks of shapes that tests run under: they do not go through a compiler."""
    settings = PaperSettings.model_validate({"bond_types": bond_types, "n_features": 8})
    model = train_paper(metals, [], settings, PaperTrainSettings(steps=20, force_weight=1.0)).model
    model.save(tmp_path / "model")
    write(tmp_path / "structures.extxyz", [Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in metals])
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", COMPILED, "model"], cwd=tmp_path, env=environment, check=True)
    for count in (3, len(metals)):
        plain, compiled = model(metals[:count]), np.load(tmp_path / f"{count}.npz")
        assert np.allclose(compiled["energies"], plain.energies, atol=1e-5)
        assert np.allclose(compiled["alone"], plain.energies, atol=1e-5)
        assert np.allclose(compiled["forces"], np.concatenate(plain.forces), atol=1e-5)


def test_files_bring_back_the_same_model(tmp_path: Path, molecules: list[Atoms]) -> None:
    model = train_paper(molecules, [], PaperSettings(auxiliaries=("atoms",)), PaperTrainSettings(steps=2)).model
    model.save(tmp_path)
    assert np.array_equal(PaperModel.load(tmp_path).energies(molecules), model.energies(molecules))
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="torn"):
        PaperModel.load(tmp_path)
    with pytest.raises(InputError, match="no model"):
        PaperModel.load(tmp_path / "nowhere")


@pytest.mark.parametrize("force_weight", [0.0, 1.0])
@pytest.mark.parametrize("bond_types", ["hard", "valence"])
def test_a_batch_on_another_device_meets_no_tensor_of_the_cpu(
    molecules: list[Atoms], bond_types: str, force_weight: float
) -> None:
    settings = PaperSettings.model_validate({"auxiliaries": ("atoms", "orbitals", "scale"), "bond_types": bond_types})
    net = network(settings, molecules)
    examples = make_examples(net, molecules, np.zeros(len(net.species)))
    fit = _Fit(net, examples, 1.0, PaperTrainSettings(force_weight=force_weight), 0)
    elsewhere = torch.device("meta")  # has shapes and no data; mixing it with CPU tensors raises
    net.to(elsewhere)
    assert fit._loss(join(examples).to(elsewhere)).device == elsewhere
    with pytest.raises((RuntimeError, NotImplementedError)):
        fit._loss(join(examples))
