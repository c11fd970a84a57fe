"""Parts that cost nothing but the time they are told to take: `benchmark_orchestration.py` measures what is left."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from growth.promising import Relaxations
from growth.simulator import Kind, Proposal, State
from growth.sites import Site
from oracle import Method
from oracle.outcome import RawLabel, labelled

N_SITES = 3


class FakeSurrogate:
    """Offers the last atom three places at once; what it says of them is drawn at random."""

    def propose(
        self, _version: int, _files: Any, state: State, kind: Kind, entropy: Sequence[int], *_: Any
    ) -> Proposal:
        """A hop of the last atom."""
        rng = np.random.default_rng(list(entropy))
        atom = len(state.crystal) - 1
        sites = []
        for _ in range(N_SITES):
            structure = state.crystal.copy()
            structure.positions[atom] += rng.normal(scale=0.05, size=3)
            energies = rng.normal(scale=0.05, size=4)
            forces = rng.normal(scale=0.05, size=(atom + 1, 3))
            place = structure.positions[atom]
            stds = np.full(atom + 1, 0.1)
            sites.append(Site(structure, float(energies.mean()), forces, stds, energies, place, place, True))
        sites.sort(key=lambda site: site.energy)
        return Proposal(
            kind=kind,
            species=state.crystal.get_chemical_symbols()[atom],
            atom=atom,
            sites=sites,
            stay=None,
            probabilities=np.full(N_SITES, 1 / N_SITES),
            choice=0,
            energy_before=0.0,
            member_energies_before=np.zeros(4),
            counts={},
            learnt=Relaxations.none(),
        )

    def close(self) -> None: ...


class SleepingOracle:
    """Sleeps, and then says that all is zero."""

    def __init__(self, method: dict[str, Any], seconds: float) -> None:
        self._hash, self._seconds = Method.from_dict(method).hash, seconds

    def label(self, structures: Sequence[Atoms]) -> list[Atoms]:
        """Labels, one after the other."""
        time.sleep(self._seconds * len(structures))
        return [
            labelled(s.copy(), RawLabel(0.0, 0.0, np.zeros((len(s), 3)), {"wall_time_s": self._seconds}), self._hash)
            for s in structures
        ]

    def close(self) -> None: ...


class FakeLearner:
    """Hands out a model of no content."""

    def train(self, *_: Any) -> tuple[dict[str, bytes], dict[str, Any]]:
        """The first."""
        return {"model.json": b"{}"}, {"promoted": True, "energy_mae_mev_per_atom": 0.0, "force_mae_mev_per_A": 0.0}

    def update(self, *_: Any) -> tuple[dict[str, bytes], dict[str, Any]]:
        """The next."""
        return self.train()

    def close(self) -> None: ...
