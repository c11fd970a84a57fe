"""The same results wherever it is computed; without a GPU, what is said about that."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from learner import KosselCalculator
from learner.devices import choose_device
from learner.errors import InputError
from learner.settings import TrainSettings
from learner.training import train

from .conftest import SMALL, cluster, make_committee, with_label

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu():
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="torch sees no GPU here; take auto or cpu"):
        make_committee().to("cuda")
    with pytest.raises(InputError, match="device cuda"):
        train([with_label(cluster())], [], SMALL, TrainSettings(steps=1, device="cuda"))


@gpu
def test_a_gpu_gives_the_same():
    structures = [cluster(n, n) for n in (5, 13, 30)]
    here, there = make_committee(), make_committee().to("auto")
    assert there.device.type == there.member(1).device.type == "cuda"
    a, b = here(structures), there(structures)
    assert np.allclose(a.energies, b.energies, atol=1e-8)
    assert all(np.allclose(x, y, atol=1e-8) for x, y in zip(a.forces, b.forces, strict=True))
    assert KosselCalculator(there).committee.device.type == "cuda"


@gpu
def test_a_gpu_learns_the_same(tmp_path):
    structures = [with_label(cluster(n, n)) for n in range(8, 20)]
    found = {}
    for device in ("cpu", "cuda"):
        settings = TrainSettings(steps=12, validate_every=6, device=device)
        found[device] = train(structures, [], SMALL, settings, checkpoint=tmp_path / device).committee
        again = train(structures, [], SMALL, settings, checkpoint=tmp_path / device).committee
        assert np.allclose(found[device](structures).energies, again(structures).energies, atol=1e-6)
    assert np.allclose(found["cpu"](structures).energies, found["cuda"](structures).energies, atol=1e-4)
