"""The valence channels: a smooth partition of unity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.data import atomic_numbers
from hypothesis import given
from hypothesis import strategies as st

from learner.settings import NetworkSettings
from learner.valence import (
    CHANNELS,
    ONE_CHANNEL,
    PairTables,
    bonded,
    channel_weights,
    envelope,
    metallic_fraction,
    possible_channels,
)
from learner.vimpnn import seeded

CUTOFF = 6.0


def weights_of(a, b, r):
    """The five channels of a pair of symbols at distances r."""
    pair = PairTables([atomic_numbers[a], atomic_numbers[b]])
    r0, ionic, metallic = (torch.full_like(r, float(t[0, 1])) for t in (pair.r0, pair.ionic, pair.metallic))
    b_vw = bonded(r, r0, envelope(r, CUTOFF))
    return torch.stack(channel_weights(b_vw, r, r0, ionic, metallic, CHANNELS))


@given(st.integers(1, 118), st.integers(1, 118), st.floats(0.1, 12.0))
def test_partition_of_unity(a, b, r):
    pair = PairTables([a, b])
    tables = [torch.tensor([float(t[0, 1])]) for t in (pair.r0, pair.ionic, pair.metallic)]
    r_vw = torch.tensor([r])
    b_vw = bonded(r_vw, tables[0], envelope(r_vw, CUTOFF))
    weights = torch.stack(channel_weights(b_vw, r_vw, *tables, CHANNELS))
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-6)
    assert bool(((weights >= 0) & (weights <= 1)).all())
    kept = torch.stack(channel_weights(b_vw, r_vw, *tables, possible_channels([a, b])))
    assert float(kept.sum()) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "r", "channel"),
    [
        ("Al", "Al", 2.86, "metallic"),
        ("Cu", "Cu", 2.55, "metallic"),
        ("Na", "Cl", 2.4, "ionic"),
        ("C", "C", 1.54, "covalent_single"),
        ("C", "C", 1.20, "covalent_multiple"),
        ("H", "C", 1.09, "covalent_single"),
        ("C", "C", 3.5, "non_bonded"),
        ("Al", "Al", 5.0, "non_bonded"),
    ],
)
def test_well_known_pairs(a, b, r, channel):
    weights = weights_of(a, b, torch.tensor([r], dtype=torch.float64))[:, 0]
    assert CHANNELS[int(weights.argmax())] == channel


def test_envelope_ends_with_zero_value_slope_and_curvature():
    r = torch.tensor([CUTOFF - 1e-3, CUTOFF, CUTOFF + 1], dtype=torch.float64, requires_grad=True)
    u = envelope(r, CUTOFF)
    (slope,) = torch.autograd.grad(u.sum(), r, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), r)
    assert u[1:].tolist() == [0, 0]
    assert slope[1:].tolist() == [0, 0]
    assert float(curvature[0].abs()) < 0.01
    assert float(envelope(torch.tensor(0.0), CUTOFF)) == 1


def test_channels_have_zero_slope_at_the_cutoff():
    r = torch.tensor([CUTOFF], dtype=torch.float64, requires_grad=True)
    for weight in weights_of("Si", "O", r):
        (slope,) = torch.autograd.grad(weight.sum(), r, retain_graph=True)
        assert float(slope) == 0


def test_impossible_channels_are_dropped():
    assert possible_channels([13]) == ("non_bonded", "metallic")
    assert possible_channels([6]) == ("non_bonded", "covalent_single", "covalent_multiple")
    assert possible_channels([13, 29]) == ("non_bonded", "metallic", "ionic")
    assert possible_channels([8, 13]) == CHANNELS


def test_metallic_fraction_is_as_stated():
    assert [metallic_fraction(atomic_numbers[s]) for s in ("Au", "Si", "S")] == [1.0, 0.3, 0.0]
    assert np.isfinite(PairTables(range(1, 119)).ionic).all()


def test_one_channel_for_all():
    r = torch.linspace(1, 5, 9)
    (weights,) = channel_weights(0.5 * r, r, r, r, r, ONE_CHANNEL)
    assert (weights == 1).all()
    network = seeded(NetworkSettings(bond_types="one"), [6, 8, 13], 0)
    assert network.basis.channels == ONE_CHANNEL
    assert network.basis.n_rows == network.settings.n_radial
