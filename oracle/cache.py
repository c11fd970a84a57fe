"""Labels shared between runs: one file a label, named by uid and checksum, written whole; any number of processes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from ase import Atoms

from oracle.durable import DamageWarning, sha256, write_whole
from oracle.extxyz import frame
from oracle.frame_parser import parse_frames
from oracle.outcome import RawLabel

_STORED = ("REF_energy", "REF_free_energy", "uid", "method_hash")


class LabelCache:
    """Looks labels up by uid before they are paid for.

    A label is the file `ab/<uid>.<first 16 digits of the sha256 of its content>.extxyz`, where `ab` are the last two
    digits of the uid. A file whose content does not match its name is passed over with a warning.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def get(self, uid: str) -> RawLabel | None:
        """Return the stored label, or None."""
        for structure in self._whole(self.directory.glob(f"{uid[-2:]}/{uid}.*.extxyz")):
            return RawLabel(
                energy=float(structure.info["REF_energy"]),
                free_energy=float(structure.info["REF_free_energy"]),
                forces=structure.arrays.get("REF_forces"),
                provenance={"cached": True},
            )
        return None

    def __iter__(self) -> Iterator[Atoms]:
        """Yield all structures, bare but for their labels: REF_ keys, uid and method_hash."""
        yield from self._whole(self.directory.glob("??/*.extxyz"))

    def uids(self) -> set[str]:
        """Return the uids of all labels that are there, whole or not."""
        return {path.name.split(".")[0] for path in self.directory.glob("??/*.extxyz")}

    @staticmethod
    def _whole(paths: Iterable[Path]) -> Iterator[Atoms]:
        for path in sorted(paths):
            text = path.read_text(encoding="utf-8", errors="replace")
            if path.name.split(".")[1] == sha256(text)[:16]:
                yield parse_frames(text)[0]
            else:
                told = f"{path}: content does not match its checksum; the label is made anew"
                warnings.warn(told, DamageWarning, stacklevel=3)

    def forget(self, uids: Iterable[str]) -> None:
        """Remove the labels of some uids; those that are not there are gone already."""
        for uid in uids:
            for path in (self.directory / uid[-2:]).glob(f"{uid}.*.extxyz"):
                path.unlink(missing_ok=True)

    def put(self, structure: Atoms) -> None:
        """Store a labelled structure under the uid in its `info`."""
        bare = Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)
        bare.info = {key: structure.info[key] for key in _STORED}
        if "REF_forces" in structure.arrays:
            bare.arrays["REF_forces"] = structure.arrays["REF_forces"]
        text = frame(bare)
        folder = self.directory / bare.info["uid"][-2:]
        folder.mkdir(exist_ok=True)
        write_whole(folder / f"{bare.info['uid']}.{sha256(text)[:16]}.extxyz", text)
