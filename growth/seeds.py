"""What growth starts from: the paper's 14-atom seed, clusters, slabs, bulk crystals, or a file."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc100, fcc110, fcc111
from ase.cluster import Icosahedron, Octahedron, wulff_construction
from ase.constraints import FixAtoms
from ase.data import atomic_numbers, chemical_symbols, reference_states
from ase.io import read
from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from growth.errors import InputError
from growth.observables import OVERLAPPING, contacts
from growth.run_directory import read_seed
from oracle import gates
from oracle.extxyz import refuse_endless_xyz

SeedKind = Literal["fcc14", "atom", "icosahedron", "octahedron", "wulff", "slab", "bulk", "file"]
MOST_ATOMS = 100_000
FACETS = {"111": fcc111, "100": fcc100, "110": fcc110}


class SeedSettings(BaseModel):
    """A seed or substrate. Each kind has settings of its own; one that means nothing to the kind is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: SeedKind = Field(default="fcc14", description="fcc14: 8 corners and 6 face centres of the cubic cell")
    species: str = Field(default="Al", description="element symbol")
    lattice_constant: float | None = Field(
        default=None, gt=0, le=100, description="Å, cubic cell; default: ASE's table"
    )
    shells: int = Field(
        default=2, ge=1, le=30, description="icosahedron: shells, the centre being the first; 2 is 13 atoms"
    )
    length: int = Field(default=3, ge=2, le=50, description="octahedron: atoms along an edge before truncation")
    cutoff: int = Field(default=0, ge=0, description="octahedron: layers cut off each corner")
    n_atoms: int = Field(default=55, ge=1, le=MOST_ATOMS, description="wulff: about so many atoms")
    surface_energies: dict[Literal["111", "100", "110"], float] = Field(
        default={"111": 1.0, "100": 1.08, "110": 1.17}, description="wulff: relative energies of the facets"
    )
    facet: Literal["111", "100", "110"] = Field(default="111", description="slab: fcc facet")
    repeat: tuple[int, int, int] = Field(default=(3, 3, 3), description="slab: atoms along x, y, layers; bulk: cells")
    fixed_layers: int = Field(default=1, ge=0, description="slab: layers held at the bottom")
    vacuum: float = Field(default=8.0, gt=0, le=1000, description="slab: Å of vacuum on each side")
    path: Path | None = Field(default=None, description="file: CIF, POSCAR, extxyz, xyz, or what else ASE reads")
    index: int = Field(default=-1, description="file: which structure of several; -1 is the last")


USED = {
    "fcc14": {"species", "lattice_constant"},
    "atom": {"species"},
    "icosahedron": {"species", "lattice_constant", "shells"},
    "octahedron": {"species", "lattice_constant", "length", "cutoff"},
    "wulff": {"species", "lattice_constant", "n_atoms", "surface_energies"},
    "slab": {"species", "lattice_constant", "facet", "repeat", "fixed_layers", "vacuum"},
    "bulk": {"species", "lattice_constant", "repeat"},
    "file": {"path", "index"},
}


def make_seed(settings: SeedSettings) -> Atoms:
    """Build or read a seed.

    Returns:
        A structure without calculator; clusters without a cell, slabs periodic in x and y with the vacuum along z.

    Raises:
        InputError: unknown element, a setting that means nothing to the kind, no lattice constant known, a missing or
            unreadable file, positions that are not numbers, overlapping atoms.
    """
    stray = settings.model_fields_set - USED[settings.kind] - {"kind"}
    if stray:
        known = ", ".join(sorted(USED[settings.kind]))
        raise InputError(f"structure.{min(stray)}: means nothing for kind {settings.kind!r}, which takes {known}")
    if settings.species not in chemical_symbols[1:]:
        raise InputError(f"structure.species: expected an element symbol such as Al, got {settings.species!r}")
    makers: dict[str, Callable[[SeedSettings], Atoms]] = {
        "fcc14": _fcc14,
        "atom": lambda given: Atoms(given.species),
        "icosahedron": lambda given: _cluster(Icosahedron(given.species, given.shells, latticeconstant=_a(given))),
        "octahedron": _octahedron,
        "wulff": _wulff,
        "slab": _slab,
        "bulk": _bulk,
        "file": _file,
    }
    source = str(settings.path) if settings.kind == "file" else f"structure of kind {settings.kind!r}"
    return checked(makers[settings.kind](settings), source)


def seed_of_run(run: Path) -> Atoms | None:
    """The crystal that a run began with; None where the run has not noted one.

    Raises:
        InputError: what it noted is no crystal that can be grown on.
    """
    seed = read_seed(run)
    return None if seed is None else checked(seed, str(run / "seed.json"))


def checked(structure: Atoms, source: str) -> Atoms:
    """The structure itself, when it can be grown on.

    Raises:
        InputError: no atoms, unknown elements, positions or cell not numbers, overlapping atoms, no cell along a
            periodic direction; the text begins with source.
    """
    reason = gates.geometry(structure)
    if reason is not None:
        raise InputError(f"{source}: {reason}")
    i, j, ratio = contacts(structure)
    if (ratio < OVERLAPPING).any():
        k = int(np.argmin(ratio))
        raise InputError(f"{source}: atoms {i[k]} and {j[k]} overlap, at {ratio[k]:.2f} of their bond length")
    return structure


def _a(settings: SeedSettings) -> float:
    """Lattice constant of the fcc cell, Å."""
    if settings.lattice_constant is not None:
        return settings.lattice_constant
    state = reference_states[atomic_numbers[settings.species]]
    if state is None or state["symmetry"] != "fcc":
        raise InputError(
            f"structure.lattice_constant: {settings.species} has no fcc lattice constant in ASE's table; give one"
        )
    return float(state["a"])


def _cluster(built: Atoms) -> Atoms:
    """Plain Atoms without cell from one of ASE's cluster objects, centred at the origin."""
    return Atoms(built.get_chemical_symbols(), built.positions - built.positions.mean(axis=0))


def _fcc14(settings: SeedSettings) -> Atoms:
    """Eight corners and six face centres of the fcc cubic cell, centred at the origin."""
    grid = np.array(list(np.ndindex(3, 3, 3)))
    sites = grid[grid.sum(axis=1) % 2 == 0]
    return Atoms(settings.species + "14", (sites - 1) * _a(settings) / 2.0)


def _octahedron(settings: SeedSettings) -> Atoms:
    if 2 * settings.cutoff >= settings.length:
        limit = (settings.length - 1) // 2
        raise InputError(f"structure.cutoff: expected at most {limit} for this length, got {settings.cutoff}")
    return _cluster(Octahedron(settings.species, settings.length, settings.cutoff, latticeconstant=_a(settings)))


def _wulff(settings: SeedSettings) -> Atoms:
    surfaces = [tuple(int(digit) for digit in facet) for facet in settings.surface_energies]
    energies = list(settings.surface_energies.values())
    if not surfaces or min(energies) <= 0:
        raise InputError(f"structure.surface_energies: expected positive numbers, got {settings.surface_energies}")
    built = wulff_construction(
        settings.species, surfaces, energies, settings.n_atoms, "fcc", rounding="closest", latticeconstant=_a(settings)
    )
    return _cluster(built)


def _slab(settings: SeedSettings) -> Atoms:
    _check_repeat(settings.repeat, 1)
    if settings.fixed_layers > settings.repeat[2]:
        raise InputError(f"structure.repeat: expected at least the fixed layers, got {settings.repeat}")
    slab = FACETS[settings.facet](settings.species, settings.repeat, a=_a(settings), vacuum=settings.vacuum)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() > settings.repeat[2] - settings.fixed_layers))
    slab.info = {}
    return slab


def _check_repeat(repeat: tuple[int, int, int], n_in_cell: int) -> None:
    if min(repeat) < 1 or n_in_cell * math.prod(repeat) > MOST_ATOMS:
        raise InputError(f"structure.repeat: expected at least 1 each, and at most {MOST_ATOMS} atoms, got {repeat}")


def _bulk(settings: SeedSettings) -> Atoms:
    """Conventional fcc cells where a lattice constant is given, else the element's own crystal in ASE's table."""
    _check_repeat(settings.repeat, 4)
    state = reference_states[atomic_numbers[settings.species]]
    if settings.lattice_constant is not None or (state is not None and state["symmetry"] == "fcc"):
        return bulk(settings.species, "fcc", a=_a(settings), cubic=True).repeat(settings.repeat)
    try:
        return bulk(settings.species).repeat(settings.repeat)
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        raise InputError(f"structure.species: ASE cannot build bulk {settings.species}: {error}") from error


def _file(settings: SeedSettings) -> Atoms:
    """Read a structure: CIF by pymatgen (which sees partial occupation), everything else by ASE."""
    if settings.path is None:
        raise InputError("structure.path: expected a file for kind 'file', got none")
    if not settings.path.is_file():
        raise InputError(f"structure.path: no such file: {settings.path}")
    try:
        if settings.path.suffix.lower() == ".cif":
            structure = Structure.from_file(settings.path)
            if not structure.is_ordered:
                raise InputError(f"{settings.path}: sites are partially occupied; expected an ordered structure")
            atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
        else:
            refuse_endless_xyz(settings.path)
            atoms = read(settings.path, index=settings.index)
    except InputError:
        raise
    except Exception as error:  # every parser fails in its own way
        raise InputError(f"{settings.path}: cannot be read as a structure: {error or type(error).__name__}") from error
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, tags=atoms.get_tags())
    bare.set_constraint(atoms.constraints)
    return bare
