"""Surface energy of a slab that grew: of its upper side, whatever its bottom is.

γ = (E − N E_bulk) / A − γ_bottom. E_bulk is that of the bulk crystal at the slab's own lattice constant, so that the
strain of a film on its substrate is no surface energy. A bottom that is held is a bulk termination that never relaxed:
its γ is that of a built slab of the same facet, held likewise. Where nothing is held both sides are alike: half each.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk

from growth.energy_model import EnergyModel
from growth.errors import InputError
from growth.relax import movable_atoms
from growth.seeds import FACETS
from growth.study.scale import nearest_distance
from growth.study.slab import slab_axes, upright
from growth.study.surfaces import JOULE_PER_SQUARE_METRE

CELLS = {"111": 3**0.5 / 2, "100": 1.0, "110": 2**0.5}
"""Area of an atom in a layer of an fcc facet, in nearest-neighbour distances squared."""
LAYERS = 12
"""Of the slab that stands for a held bottom."""


@dataclass(frozen=True)
class GrownSurface:
    """The upper side of a slab.

    Attributes:
        energies: (n_members,), J/m² of the cell's area, roughness included.
        bottom: facet of the held bottom, None where nothing is held. bottom_energies: (n_members,), J/m².
        lattice_constant: Å, of the fcc crystal that the slab is made of, by its bottom. area: Å², of the cell.
    """

    energies: np.ndarray
    bottom: str | None
    bottom_energies: np.ndarray
    lattice_constant: float
    area: float


def grown_surface_energy(
    slab: Atoms, model: EnergyModel, progress: Callable[[str], None] = lambda text: None
) -> GrownSurface:
    """Surface energy of a slab of one fcc element.

    Args:
        slab: as it grew, its bottom held by `FixAtoms` or nothing held. model: gives its energy as it is.
        progress: told what is done.

    Raises:
        InputError: no slab, more than one element, or a held bottom that is no perfect fcc (111), (100), (110) layer.
    """
    frame = slab_axes(slab)
    species = sorted(set(slab.get_chemical_symbols()))
    if len(species) > 1:
        raise InputError(f"surfaces: the surface energy of a grown slab takes one element, got {' '.join(species)}")
    held = ~movable_atoms(slab)
    facet, a = _layer(slab, held) if held.any() else (None, 2**0.5 * nearest_distance(slab))
    progress(f"surface energy of a slab of {len(slab)} atoms on {facet or 'nothing'}")
    crystal = bulk(species[0], "fcc", a=a)
    members = model([slab, crystal]).member_energies
    excess = members[:, 0] - len(slab) * members[:, 1]
    if facet is None:
        bottom = excess / (2.0 * frame.area)
    else:
        cell = FACETS[facet](species[0], (1, 1, LAYERS), a=a, vacuum=10.0)
        built = model([cell]).member_energies[:, 0] - len(cell) * members[:, 1]
        bottom = built / (2.0 * slab_axes(cell).area)
    return GrownSurface(
        energies=(excess / frame.area - bottom) / JOULE_PER_SQUARE_METRE,
        bottom=facet,
        bottom_energies=bottom / JOULE_PER_SQUARE_METRE,
        lattice_constant=a,
        area=frame.area,
    )


def _layer(slab: Atoms, held: np.ndarray) -> tuple[str, float]:
    """Facet and lattice constant, Å, of the lowest held layer."""
    standing = upright(slab)
    heights = standing.positions @ slab_axes(standing).normal
    lowest = standing[held & (heights < heights[held].min() + 0.3)]
    d = nearest_distance(lowest)
    per_atom = slab_axes(standing).area / len(lowest) / d**2
    facet = min(CELLS, key=lambda name: abs(CELLS[name] - per_atom))
    if abs(CELLS[facet] - per_atom) > 0.05 * CELLS[facet]:
        raise InputError(
            f"surfaces: the slab's held bottom layer has {per_atom:.3f} squared bond lengths an atom; expected a "
            f"perfect fcc layer (111: {CELLS['111']:.3f}, 100: {CELLS['100']:.3f}, 110: {CELLS['110']:.3f})"
        )
    return facet, 2**0.5 * d
