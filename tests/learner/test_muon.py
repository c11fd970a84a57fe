"""Muon: orthogonal steps of every member's matrices."""

import numpy as np
import pytest
import torch

from learner.fit import MUON_FROM, optimisers
from learner.muon import Muon, orthogonal
from learner.settings import NetworkSettings, TrainSettings
from learner.vimpnn import seeded


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 5, 12), (2, 12, 5)])
def test_a_step_has_near_equal_singular_values_and_the_gradient_s_singular_vectors(shape: tuple[int, ...]) -> None:
    g = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    q = orthogonal(g)
    u, _, v = torch.linalg.svd(g, full_matrices=False)
    inner = u.mT @ q @ v.mT
    diagonal = torch.diagonal(inner, dim1=1, dim2=2)
    assert diagonal.min() > 0.3 and diagonal.max() < 1.3
    assert (inner - torch.diag_embed(diagonal)).abs().max() < 1e-10


def test_members_do_not_see_each_other_and_scale_does_not_matter() -> None:
    g = torch.randn(2, 6, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    both = orthogonal(g)
    for member, scale in enumerate((1e-6, 1e6)):
        torch.testing.assert_close(orthogonal(scale * g[member : member + 1])[0], both[member])


def test_no_gradient_no_step() -> None:
    p = torch.nn.Parameter(torch.ones(1, 3, 4))
    optimiser = Muon([p], learning_rate=0.1, weight_decay=0.0)
    optimiser.step()
    p.grad = torch.zeros_like(p)
    optimiser.step()
    assert torch.equal(p.data, torch.ones(1, 3, 4))


def test_entries_move_by_about_the_rate() -> None:
    p = torch.nn.Parameter(torch.zeros(4, 32, 48))
    p.grad = torch.randn(4, 32, 48, generator=torch.Generator().manual_seed(3))
    Muon([p], learning_rate=0.01, weight_decay=0.0).step()
    assert float(p.detach().square().mean().sqrt()) == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_every_parameter_has_one_optimiser(name: str) -> None:
    network = seeded(NetworkSettings(n_members=2), [13, 29], 0)
    of = optimisers(network, TrainSettings(optimiser=name), 10)
    held = [id(p) for o in of for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters())
    assert len(of) == (2 if name == "muon" else 1)
    assert np.unique(held).size == len(held)


def test_weight_decay_falls_with_what_is_known() -> None:
    network = seeded(NetworkSettings(n_members=1), [13], 0)
    settings = TrainSettings(weight_decay=0.4)
    decays = [
        {g["weight_decay"] for o in optimisers(network, settings, n) for g in o.param_groups} for n in (0, 200, 800)
    ]
    assert decays == [{0.4}, {0.4}, {0.1}]


def test_many_labels_are_fitted_by_muon_few_by_adamw_each_at_its_rate() -> None:
    network = seeded(NetworkSettings(n_members=1), [13], 0)
    for n, expected in ((MUON_FROM - 1, "adamw"), (MUON_FROM, "muon")):
        found = optimisers(network, TrainSettings(), n)
        assert len(found) == (2 if expected == "muon" else 1)
        assert {g["lr"] for o in found for g in o.param_groups} == {TrainSettings.rates[expected]}
    assert optimisers(network, TrainSettings(learning_rate=0.1), 5)[0].param_groups[0]["lr"] == 0.1
