"""Where the surrogate stops knowing: a relaxation is stopped there instead of sliding on into nonsense.

A minimum beyond the edge is one of the network's imagination, and its label teaches little about the places that count.
The structure at the edge is worth more: it is the first on the way down of which the members disagree.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import inf

import numpy as np
from ase import Atoms
from jaxtyping import Float

from growth.energy_model import EnergyModel
from growth.periodic import nearest_images
from growth.relax import Leaves, Relaxed, relax
from learner.acquisition import force_std_near

NEAR_ADATOM = 4.0
"""Atoms within this distance of the adatom (Å) are those whose forces matter for a site."""
LOOKS = 6
"""Points of a relaxation on the screen at which the full model looks, to find where it left the known region."""


def from_adatom(structure: Atoms) -> Float[np.ndarray, "n_atoms 3"]:
    """Vectors from the adatom, the last atom, to the nearest image of every atom, Å."""
    return nearest_images(structure.positions - structure.positions[-1], structure)


def worst_std(structure: Atoms, forces_std: Float[np.ndarray, " n_atoms"]) -> float:
    """Largest std of a force vector on the adatom, the last atom, or near it: √3 times that of its components, eV/Å."""
    vectors = from_adatom(structure)
    return float(np.sqrt(3) * force_std_near(forces_std, vectors, len(structure) - 1, NEAR_ADATOM))


def beyond(std: float) -> Leaves | None:
    """Whether a structure is outside the known region: `worst_std` above `std` or no number; None where std is inf."""
    return None if std == inf else lambda structure, forces_std: not worst_std(structure, forces_std) <= std


def relax_within(
    starts: Sequence[Atoms],
    model: EnergyModel,
    fmax: float,
    max_steps: int,
    movable: Sequence[np.ndarray] | None,
    stop_std: float,
    ways: Sequence[Sequence[np.ndarray]],
) -> list[Relaxed]:
    """Relax sites as far as the model knows what it does; see `relax`.

    Args:
        starts: where a relaxation on the model's screen ended, adatom last.
        model, fmax, max_steps, movable: as in `relax`.
        stop_std: eV/Å, of `worst_std`; inf for no stop.
        ways: how the screen came to each start, positions (n_atoms, 3) from the first on; empty where nobody knows.
            The screen has no std, so where its end is beyond the edge the model looks for the edge on its way.

    Returns:
        One a start, in order; of what is `stopped` the first structure that was found beyond the edge.
    """
    leaves = beyond(stop_std)
    ends = relax(starts, model, fmax, max_steps, movable, leaves)
    if leaves is None:
        return ends
    lost = [k for k, end in enumerate(ends) if end.stopped and end.n_calls == 1]
    looks = {k: _thinned(ways[k]) for k in lost}
    seen = iter(relax([_moved(starts[k], p) for k in lost for p in looks[k]], model, inf, 1))
    for k in lost:
        found = [next(seen) for _ in looks[k]]
        edge = next((one for one in found if leaves(one.structure, one.forces_std)), ends[k])
        ends[k] = replace(edge, converged=False, stopped=True, n_calls=1 + len(found))
    return ends


def _thinned(way: Sequence[np.ndarray]) -> list[np.ndarray]:
    """At most `LOOKS` points of a way, the first among them, evenly drawn."""
    return [way[k] for k in sorted(set(np.linspace(0, len(way) - 1, min(LOOKS, len(way))).round().astype(int)))]


def _moved(structure: Atoms, positions: np.ndarray) -> Atoms:
    """A copy with its atoms elsewhere, held ones too."""
    copy = structure.copy()
    copy.set_positions(positions, apply_constraint=False)
    return copy
