"""The equilibrium shape of a cubic crystal from its surface energies, by pymatgen's Wulff construction."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.analysis.wulff import WulffShape
from pymatgen.core import Lattice

Miller = tuple[int, int, int]


@dataclass(frozen=True)
class Wulff:
    """An equilibrium shape.

    Attributes:
        millers: the facets offered. area_shares: (n_facets,), of the surface; zero for a facet that does not show.
        faces: polygons (n_corners, 3), corners in order, in units of the surface energy. face_kinds: facet of each.
        weighted_energy: mean surface energy of the shape, in the unit given. anisotropy: its coefficient of variation.
    """

    millers: tuple[Miller, ...]
    area_shares: np.ndarray
    faces: list[np.ndarray]
    face_kinds: list[int]
    weighted_energy: float
    anisotropy: float


def wulff_shape(millers: Sequence[Miller], energies: np.ndarray) -> Wulff | None:
    """Wulff shape of a cubic crystal; None where an energy is not positive, for then there is none.

    Args:
        millers: facets. energies: (n_facets,), surface energies, any unit.
    """
    if not (np.isfinite(energies).all() and (energies > 0).all()):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of spglib's, about how pymatgen calls it
        shape = WulffShape(Lattice.cubic(1.0), list(millers), energies.tolist())
    shares = shape.area_fraction_dict
    shown = [facet for facet in shape.facets if len(facet.points)]
    return Wulff(
        millers=tuple(millers),
        area_shares=np.array([float(shares[miller]) for miller in millers]),
        faces=[np.array(shape.get_line_in_facet(facet))[::2] for facet in shown],  # ends of lines: each twice
        face_kinds=[int(facet.index) for facet in shown],
        weighted_energy=float(shape.weighted_surface_energy),
        anisotropy=float(shape.anisotropy),
    )
