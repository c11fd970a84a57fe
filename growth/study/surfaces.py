"""Surface energies of a model, its Wulff shape, and the surface energy of a slab that grew.

A slab of N atoms with two equal sides of area A costs E(N) = N E_bulk + 2 γ A. The line is fitted over slabs of several
thicknesses, so that E_bulk is the slabs' own (Fiorentini & Methfessel, J. Phys. Condens. Matter 8, 6525 (1996)); γ by a
bulk calculation of its own stands beside it. Every member of a committee has its own γ and its own Wulff shape, on
slabs relaxed by their mean.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.build import surface as cut_surface
from ase.units import J, m
from pydantic import BaseModel, ConfigDict, Field, field_validator

from growth.candidates import bond_radius
from growth.energy_model import EnergyModel
from growth.errors import InputError
from growth.relax import relax
from growth.study.scale import scale_curve
from growth.study.wulff import Miller, Wulff, wulff_shape

Lattice = Literal["fcc", "bcc", "diamond"]
JOULE_PER_SQUARE_METRE = J / m**2
"""eV/Å² in 1 J/m²: divide by it."""
NEAREST = {"fcc": 2**-0.5, "bcc": 3**0.5 / 2, "diamond": 3**0.5 / 4}
"""Nearest-neighbour distance over the lattice constant."""


class SurfaceSettings(BaseModel):
    """Which surfaces, and how thick slabs are made. Lengths in Å, forces in eV/Å."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    lattice: Lattice = Field(default="fcc", description="cubic lattice of the bulk crystal")
    lattice_constant: float | None = Field(
        default=None, gt=0, le=100, description="where the search for the model's own begins; default: from radii"
    )
    millers: tuple[Miller, ...] = Field(
        default=((1, 1, 1), (1, 0, 0), (1, 1, 0)), min_length=1, description="surfaces, by indices of the cubic cell"
    )
    thicknesses: tuple[float, ...] = Field(
        default=(14.0, 20.0, 26.0),
        min_length=1,
        description="least thicknesses of the slabs; E_bulk is fitted from two on",
    )
    vacuum: float = Field(default=10.0, gt=0, le=100, description="on each side of a slab")
    fmax: float = Field(default=0.005, gt=0, description="largest force after relaxation")
    max_steps: int = Field(default=300, ge=1, description="force calls of a relaxation")
    n_oracle: int = Field(default=3, ge=1, description="surfaces whose thinnest slab the oracle is asked about")

    @field_validator("millers")
    @classmethod
    def _some_index(cls, millers: tuple[Miller, ...]) -> tuple[Miller, ...]:
        if any(not any(miller) for miller in millers):
            raise ValueError("expected Miller indices such as [1, 1, 0], got [0, 0, 0]")
        if len(set(millers)) < len(millers):
            raise ValueError(f"expected each surface once, got {millers}")
        return millers


@dataclass(frozen=True)
class SurfaceEnergy:
    """One surface. Energies in J/m².

    Attributes:
        miller: its indices. energies: (n_members,), by the fitted line; by the bulk calculation for one thickness.
        by_bulk: (n_members,), by the bulk calculation, thickest slab.
        slabs: relaxed, thinnest first. slab_energies: (n_members, n_slabs), eV. area: Å², of one side.
        converged: whether all slabs are. oracle_energy: nan where it was not asked or failed.
    """

    miller: Miller
    energies: np.ndarray
    by_bulk: np.ndarray
    slabs: list[Atoms]
    slab_energies: np.ndarray
    area: float
    converged: bool
    oracle_energy: float

    @property
    def name(self) -> str:
        """As in 111, or 10-1."""
        return "".join(map(str, self.miller))

    @property
    def energy(self) -> float:
        """Mean over the members, J/m²."""
        return float(self.energies.mean())

    @property
    def std(self) -> float:
        """Std over the members, J/m²."""
        return float(self.energies.std())


@dataclass(frozen=True)
class SurfacesResult:
    """Surfaces of one crystal.

    Attributes:
        species: its element. lattice: fcc, bcc or diamond.
        lattice_constant, lattice_constant_std: Å, of the model. bulk_energies: (n_members,), eV per atom.
        surfaces: one each, in the order asked for.
        wulff: shape of the mean energies; None where one is not positive.
        member_shares: (n_shapes, n_surfaces), area shares by each member that has a shape.
    """

    species: str
    lattice: Lattice
    lattice_constant: float
    lattice_constant_std: float
    bulk_energies: np.ndarray
    surfaces: list[SurfaceEnergy]
    wulff: Wulff | None
    member_shares: np.ndarray

    @property
    def area_shares(self) -> dict[str, float]:
        """Share of the Wulff shape's surface by facet, as `growth.study.structure` compares with; empty without one."""
        if self.wulff is None:
            return {}
        return dict(zip((s.name for s in self.surfaces), self.wulff.area_shares.tolist(), strict=True))


def surface_energies(
    species: str,
    model: EnergyModel,
    settings: SurfaceSettings = SurfaceSettings(),  # noqa: B008 - frozen
    oracle: EnergyModel | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> SurfacesResult:
    """Surface energies and Wulff shape of an element's cubic crystal.

    Args:
        species: element. model: relaxes the slabs. settings: which surfaces.
        oracle: asked about bulk and thinnest slabs where the model has them. progress: told what is done.

    Raises:
        InputError: the model has no stable lattice constant near the expected one.
    """
    guess = settings.lattice_constant or 2.0 * bond_radius(species) / NEAREST[settings.lattice]
    progress(f"lattice constant of {settings.lattice} {species}")
    curve = scale_curve(bulk(species, settings.lattice, a=guess), model)
    if curve.stable is None:
        raise InputError(
            f"surfaces: {settings.lattice} {species} has no stable lattice constant between {0.85 * guess:.2f} and "
            f"{1.25 * guess:.2f} Å on this model; give surfaces.lattice_constant"
        )
    a = guess * curve.stable_scale
    crystal = bulk(species, settings.lattice, a=a, cubic=True)
    of_bulk = model([crystal]).member_energies[:, 0] / len(crystal)
    slabs = [cleaved(crystal, miller, t, settings.vacuum) for miller in settings.millers for t in settings.thicknesses]
    progress(f"relaxing {len(slabs)} slabs of {min(map(len, slabs))} to {max(map(len, slabs))} atoms")
    relaxed = relax(slabs, model, settings.fmax, settings.max_steps)
    n = len(settings.thicknesses)
    found = []
    oracle_bulk = float("nan") if oracle is None else float(oracle([crystal]).energies[0]) / len(crystal)
    for k, miller in enumerate(settings.millers):
        these = relaxed[k * n : (k + 1) * n]
        structures, energies = [r.structure for r in these], np.array([r.member_energies for r in these]).T
        sizes, area = np.array([len(s) for s in structures]), _area(structures[0])
        by_bulk = (energies[:, -1] - sizes[-1] * of_bulk) / (2.0 * area * JOULE_PER_SQUARE_METRE)
        told = float("nan")
        if oracle is not None and k < settings.n_oracle:
            progress(f"oracle at the ({' '.join(map(str, miller))}) slab")
            excess = float(oracle([structures[0]]).energies[0]) - sizes[0] * oracle_bulk
            told = excess / (2.0 * area * JOULE_PER_SQUARE_METRE)
        fitted = intercepts(sizes, energies) / (2.0 * area * JOULE_PER_SQUARE_METRE) if n > 1 else by_bulk
        converged = all(r.converged for r in these)
        found.append(SurfaceEnergy(miller, fitted, by_bulk, structures, energies, area, converged, told))
    members = np.array([surface.energies for surface in found]).T
    shapes = [wulff_shape(settings.millers, energies) for energies in members]
    return SurfacesResult(
        species=species,
        lattice=settings.lattice,
        lattice_constant=a,
        lattice_constant_std=guess * curve.stable_std,
        bulk_energies=of_bulk,
        surfaces=found,
        wulff=wulff_shape(settings.millers, members.mean(axis=0)),
        member_shares=np.array([s.area_shares for s in shapes if s is not None]).reshape(-1, len(found)),
    )


def cleaved(crystal: Atoms, miller: Miller, thickness: float, vacuum: float) -> Atoms:
    """A slab of a cubic crystal, at least so thick (Å), with two equal sides.

    >>> slab = cleaved(bulk("Cu", cubic=True), (1, 0, 0), 14.0, 10.0)
    >>> len(slab), slab.pbc.tolist()
    (16, [True, True, False])
    """
    unit = cut_surface(crystal, miller, 1)
    height = crystal.get_volume() / _area(unit)
    slab = cut_surface(crystal, miller, max(2, int(np.ceil(thickness / height))), vacuum=vacuum)
    return Atoms(slab.numbers, slab.positions, cell=slab.cell, pbc=(True, True, False))


def intercepts(sizes: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Where lines E = N E_bulk + c through energies (n_members, n_slabs) meet N = 0, (n_members,)."""
    return np.asarray(np.polynomial.polynomial.polyfit(sizes, energies.T, 1)[0])


def _area(slab: Atoms) -> float:
    """Å²; of one side."""
    return float(np.linalg.norm(np.cross(slab.cell[0], slab.cell[1])))
