"""What leaves a run: how the crystals grew, the crystals and the labels, as files of other programs."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import ase.io
import numpy as np
from ase import Atoms

from growth.damage import readable
from growth.errors import InputError
from growth.events import standing
from growth.observables import coordination
from growth.order import KINDS, Order
from growth.run_directory import exact_frame
from growth.seeds import seed_of_run
from oracle import Dataset
from oracle.durable import read_lines, write_whole
from oracle.extxyz import read_structures

Format = Literal["extxyz", "cif", "poscar", "lammps-data", "pymatgen"]
VACUUM = 10.0
"""Å on either side of a crystal, along directions in which it is not periodic, in formats that know only boxes."""
TOLD = {"energy": "committee_energy", "energy_std": "committee_energy_std"}
"""What the log says of a step, and its key in `info`: not `energy`, lest a prediction be taken for a label."""


def export_run(run: Path, out: Path, form: str = "extxyz") -> list[Path]:
    """Write what a run grew.

    `extxyz`: OUT/wNN.extxyz, the growth of each walker from the seed on, and OUT/labels.extxyz. Every atom has `step`
    (at which it arrived, 0 in the seed), `order` (number in `growth.order.KINDS`), `coordination`, and where the
    committee told, `forces_std` (eV/Å); `info` has step, committee_energy and committee_energy_std (eV). Other formats:
    OUT/wNN.cif, .poscar, .data, .json, the crystal of each walker as it is now; pymatgen's with these properties.

    Raises:
        InputError: `run` is no run directory, its files cannot be read, or there is no such format.
    """
    if form not in get_args(Format):
        raise InputError(f"format {form!r}: expected one of {', '.join(get_args(Format))}")
    if not (run / "config.yaml").exists():
        raise InputError(f"{run}: not a run directory (no config.yaml); give the directory that `kossel grow` wrote")
    with readable(run):  # all of it, before anything is written
        files = dict(_grown(run, form))
        dataset = Dataset.read(run / "dataset") if form == "extxyz" and (run / "dataset").exists() else None
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(out / name, content)
    if dataset is not None:
        dataset.export(out / "labels.extxyz")
    return [out / name for name in (*files, *(["labels.extxyz"] if dataset is not None else []))]


def _grown(run: Path, form: str) -> Iterator[tuple[str, str | bytes]]:
    """Names of files and their contents, a walker each."""
    for walker in sorted((run / "grown").glob("w[0-9][0-9]")):
        index = int(walker.name[1:])
        if form == "extxyz":
            yield f"{walker.name}.extxyz", "".join(map(exact_frame, growth_of(run, index)))
        else:
            ending, text = WRITERS[form]
            yield f"{walker.name}.{ending}", text(*growth_of(run, index, -1))


def growth_of(run: Path, walker: int, first: int = 0) -> Iterator[Atoms]:
    """The crystals of a walker from the seed on, as its files have them, with what `export_run` says of each atom.

    Args:
        run: the run directory. walker: its number. first: -1 for the latest crystal alone.
    """
    lines = [line for line in standing(read_lines(run / "events.jsonl")) if line["walker"] == walker]
    seed = seed_of_run(run)
    if seed is not None and first == 0:
        yield _described(seed.copy(), [0] * len(seed), None)
    n_seed = None if seed is None else len(seed)
    for file in sorted((run / "grown" / f"w{walker:02d}").glob("*.extxyz"))[first:]:
        step = int(file.stem)
        crystal = read_structures(file)[-1]
        crystal.info["step"] = step
        crystal.info |= {TOLD[key]: line[key] for line in lines if line["step"] == step for key in TOLD if line[key]}
        sites = run / "sites" / f"w{walker:02d}" / file.name
        arrived = None if n_seed is None else arrivals(n_seed, [line for line in lines if line["step"] <= step])
        yield _described(crystal, arrived, sites if sites.exists() else None)


def arrivals(n_seed: int, lines: Sequence[dict[str, Any]]) -> list[int]:
    """The step at which each atom of a crystal arrived, 0 for those of the seed.

    >>> arrivals(2, [{"kind": "attach", "step": 1}, {"kind": "detach", "atom": 0, "step": 2}])
    [0, 1]
    """
    steps = [0] * n_seed
    for line in lines:
        if line["kind"] == "attach":
            steps.append(line["step"])
        elif line["kind"] == "detach":
            del steps[line["atom"]]
    return steps


def _described(crystal: Atoms, arrived: Sequence[int] | None, sites: Path | None) -> Atoms:
    """The crystal with what is known of each atom; `sites`: the file whose first structure it was."""
    if arrived is not None and len(arrived) == len(crystal):
        crystal.arrays["step"] = np.array(arrived)
    crystal.arrays["order"] = np.array([KINDS.index(kind) for kind in Order(crystal).kinds])
    crystal.arrays["coordination"] = coordination(crystal)
    if sites is not None:
        std = read_structures(sites)[0].arrays.get("forces_std")
        if std is not None and len(std) == len(crystal):
            crystal.arrays["forces_std"] = std
    return crystal


def boxed(crystal: Atoms) -> Atoms:
    """The crystal in a box that repeats: `VACUUM` Å on either side where it was not periodic."""
    box = crystal.copy()
    free = np.flatnonzero(~crystal.pbc)
    if len(free):
        box.center(vacuum=VACUUM, axis=free)
    box.pbc = True
    return box


def _cif(crystal: Atoms) -> bytes:
    file = io.BytesIO()
    ase.io.write(file, boxed(crystal), format="cif")
    return file.getvalue()


def _poscar(crystal: Atoms) -> str:
    file = io.StringIO()
    ase.io.write(file, boxed(crystal), format="vasp", sort=True)
    return file.getvalue()


def _lammps_data(crystal: Atoms) -> str:
    file = io.StringIO()
    ase.io.write(file, boxed(crystal), format="lammps-data", units="metal", atom_style="atomic", masses=True)
    return file.getvalue()


def _pymatgen(crystal: Atoms) -> str:
    from pymatgen.core import Lattice, Molecule, Structure

    symbols, positions = crystal.get_chemical_symbols(), crystal.positions
    if crystal.pbc.any():
        lattice = Lattice(crystal.cell.complete().array, pbc=tuple(crystal.pbc.tolist()))
        made = Structure(lattice, symbols, positions, coords_are_cartesian=True)
    else:
        made = Molecule(symbols, positions)
    for name in ("step", "order", "coordination", "forces_std"):
        if name in crystal.arrays:
            made.add_site_property(name, crystal.arrays[name].tolist())
    return json.dumps(made.as_dict())


WRITERS: dict[str, tuple[str, Callable[[Atoms], str | bytes]]] = {
    "cif": ("cif", _cif),
    "poscar": ("poscar", _poscar),
    "lammps-data": ("data", _lammps_data),
    "pymatgen": ("json", _pymatgen),
}
