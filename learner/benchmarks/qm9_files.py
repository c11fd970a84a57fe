"""QM9's geometries from files: the CSV tables of the package qm9pack, or the original `dsgdb9nsd` xyz files.

Nothing is imported from qm9pack (it needs pkg_resources), and nothing of an archive is written to disk.
"""

import csv
import importlib.util
import re
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from ase import Atoms

from learner.errors import InputError

_COLUMNS = ("Index", "Elements", "XYZ_Ang")
_ELEMENTS = {"H", "C", "N", "O", "F"}
_LARGEST = 29
"""Atoms of QM9's largest molecule."""
_MEMBER = re.compile(r"(?:.*/)?dsgdb9nsd_(\d{6})\.xyz")
_LARGEST_FILE = 1 << 16
"""Bytes; QM9's are below 5 kB."""


def read_molecules(indices: Collection[int], source: Path | None = None) -> dict[int, Atoms]:
    """The molecules of QM9 with these indices, at their stable geometries.

    Args:
        indices: QM9's own, from 1.
        source: a CSV file like qm9pack's (columns Index, Elements, XYZ_Ang), QM9's archive of xyz files (.tar.bz2), or
            a folder with those files; by default the installed package qm9pack.

    Returns:
        By index, in the order of `indices`: bare structures, positions (n_atoms, 3) in Å.

    Raises:
        InputError: qm9pack is not installed, the source cannot be read, a molecule is broken or missing.
    """
    found: dict[int, Atoms] = {}
    wanted = set(indices)
    where = "package qm9pack" if source is None else str(source)
    try:
        for index, molecule in _molecules(wanted, source):
            found[index] = molecule
            if len(found) == len(wanted):
                break
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, tarfile.TarError) as error:
        raise InputError(f"QM9 from {where}: cannot be read ({error or type(error).__name__})") from error
    missing = sorted(wanted - set(found))
    if missing:
        raise InputError(f"QM9 from {where}: no molecule of index {missing[0]} (and {len(missing) - 1} more)")
    return {index: found[index] for index in indices}


def _molecules(wanted: set[int], source: Path | None) -> Iterator[tuple[int, Atoms]]:
    if source is None:
        for table in _installed_tables():
            yield from _from_table(table, wanted)
    elif source.is_dir():
        yield from _from_folder(source, wanted)
    elif not source.is_file():
        raise InputError(f"QM9 file {source}: no such file; give a .tar.bz2, a CSV file or a folder of xyz files")
    elif tarfile.is_tarfile(source):
        yield from _from_archive(source, wanted)
    else:
        yield from _from_table(source, wanted)


def _installed_tables() -> list[Path]:
    """The CSV files of qm9pack, in order of index; the package itself is not imported."""
    spec = importlib.util.find_spec("qm9pack")
    folders = [] if spec is None else spec.submodule_search_locations or []
    tables = sorted(path for folder in folders for path in Path(folder, "data").glob("qm9_part*.csv"))
    if not tables:
        raise InputError("QM9: the package qm9pack is not installed; install kossel[benchmarks], or give --qm9 FILE")
    return tables


def _from_table(path: Path, wanted: set[int]) -> Iterator[tuple[int, Atoms]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        missing = [name for name in _COLUMNS if name not in header]
        if missing:
            raise InputError(f"{path}: no column {missing[0]!r}; expected QM9 as in qm9pack, or QM9's xyz files")
        at_index, at_elements, at_positions = (header.index(name) for name in _COLUMNS)
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(header):
                raise InputError(f"{where}: {len(row)} columns, expected {len(header)}")
            if not row[at_index].isdecimal():
                raise InputError(f"{where}: index is {row[at_index]!r}, expected a whole number")
            index = int(row[at_index])
            if index in wanted:
                symbols = re.findall(r"\w+", row[at_elements])
                yield index, _molecule(symbols, row[at_positions].translate(_NO_BRACKETS).split(","), where)


_NO_BRACKETS = str.maketrans("", "", "[] ")


def _from_folder(folder: Path, wanted: set[int]) -> Iterator[tuple[int, Atoms]]:
    for index in sorted(wanted):
        path = folder / f"dsgdb9nsd_{index:06d}.xyz"
        if path.is_file():
            with path.open("rb") as file:
                yield index, _from_xyz(file.read(_LARGEST_FILE), index, str(path))


def _from_archive(path: Path, wanted: set[int]) -> Iterator[tuple[int, Atoms]]:
    """Read regular members by name, one after the other; links and paths in the archive are not followed."""
    with tarfile.open(path) as archive:
        for member in archive:
            named = _MEMBER.fullmatch(member.name)
            if named is None or not member.isreg() or int(named[1]) not in wanted:
                continue
            content = archive.extractfile(member)
            assert content is not None  # a regular member has content
            yield int(named[1]), _from_xyz(content.read(_LARGEST_FILE), int(named[1]), f"{path}, {member.name}")


def _from_xyz(content: bytes, index: int, where: str) -> Atoms:
    """Parse one of QM9's files: number of atoms; `gdb INDEX …`; symbol, x, y, z, charge of each atom; and more."""
    lines = content.decode("utf-8").splitlines()
    if len(lines) < 2 or not lines[0].strip().isdecimal() or lines[1].split()[:2] != ["gdb", str(index)]:
        raise InputError(f"{where}: does not begin like QM9's xyz file of molecule {index}")
    rows = [line.split() for line in lines[2 : 2 + int(lines[0])]]
    if len(rows) < int(lines[0]) or any(len(row) < 4 for row in rows):
        raise InputError(f"{where}: expected {int(lines[0])} lines with a symbol and three coordinates")
    return _molecule([row[0] for row in rows], [x for row in rows for x in row[1:4]], where)


def _molecule(symbols: list[str], coordinates: list[str], where: str) -> Atoms:
    """A molecule of checked symbols and coordinates, Å; QM9 writes powers of ten as `1.5*^-6`."""
    unknown = sorted(set(symbols) - _ELEMENTS)
    if unknown or not 1 <= len(symbols) <= _LARGEST:
        what = f"element {unknown[0]!r}" if unknown else f"{len(symbols)} atoms"
        raise InputError(f"{where}: {what}, expected 1 to {_LARGEST} atoms of H, C, N, O, F")
    try:
        positions = np.array([float(x.replace("*^", "e")) for x in coordinates]).reshape(len(symbols), 3)
    except ValueError as error:
        raise InputError(f"{where}: coordinates are not {len(symbols)} x 3 numbers") from error
    if not np.isfinite(positions).all():
        raise InputError(f"{where}: a coordinate is not finite")
    return Atoms(symbols, positions)
