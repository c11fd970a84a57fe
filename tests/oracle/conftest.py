"""Structures and methods that the oracle's tests share."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.cluster import Icosahedron

from oracle import Labeller, Method


@pytest.fixture(scope="session")
def emt() -> Method:
    return Method.from_dict({"kind": "emt"})


@pytest.fixture(scope="session")
def cluster() -> Atoms:
    """Al13, a little off its minimum."""
    structure = Icosahedron("Al", 2, latticeconstant=4.05)
    structure.rattle(0.05, seed=1)
    structure.info["config_type"] = "seed"
    return structure


@pytest.fixture(scope="session")
def structures(cluster: Atoms) -> list[Atoms]:
    """A cluster, a crystal, a slab, an alloy and an atom."""
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.03, seed=2)
    slab = fcc111("Al", (2, 2, 3), vacuum=5.0)
    slab.info.clear()
    alloy = cluster.copy()
    alloy.numbers[::3] = 29
    return [cluster, crystal, slab, alloy, Atoms("Al")]


@pytest.fixture(scope="session")
def labels(emt: Method, structures: list[Atoms]) -> list[Atoms]:
    """The structures with EMT labels."""
    with Labeller(emt) as labeller:
        return labeller(structures)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
