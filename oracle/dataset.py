"""The dataset: labelled structures of one method, in segments that are whole or absent, each label once."""

from __future__ import annotations

import json
import socket
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from ase import Atoms
from filelock import FileLock, Timeout

from oracle.durable import append_lines, read_lines, sha256, write_whole
from oracle.errors import InputError
from oracle.export import export
from oracle.extxyz import frames, parse_frames
from oracle.identity import uid as uid_of
from oracle.outcome import FailedLabel, attach_results
from oracle.worker import pack, unpack

INFO_STRINGS = ("uid", "method_hash", "config_type", "parent_uid", "model_version", "reason")
"""Keys of `info` that are always strings, whatever a reader made of them."""


class Dataset:
    """Labelled structures in a directory. `Dataset.open` to write (one at a time), `Dataset.read` to read.

    Layout: `dataset.json` (method hash); `segments/000123.extxyz` with `000123.extxyz.sha256`, never appended to;
    `failed_labels.jsonl`; `provenance.jsonl` (wall time, host, versions: what may differ between equal runs).
    """

    def __init__(self, directory: Path, lock: FileLock | None, method_hash: str | None) -> None:
        self.directory = directory
        self._lock = lock
        self._entries: dict[str, Atoms] = {}
        self._read_segments: set[str] = set()
        header = directory / "dataset.json"
        stored = json.loads(header.read_text())["method_hash"] if header.exists() else None
        if method_hash is not None and stored is not None and method_hash != stored:
            raise InputError(f"dataset {directory} holds labels of method {stored}, not {method_hash}; use another directory")
        self._method_hash: str | None = stored or method_hash
        self.refresh()

    @classmethod
    def open(cls, directory: str | Path, method_hash: str | None = None) -> Dataset:
        """Open for reading and writing; create it when it is not there.

        Raises:
            InputError: another process writes to it, it holds labels of another method, or it cannot be written.
        """
        directory = Path(directory)
        try:
            (directory / "segments").mkdir(parents=True, exist_ok=True)
            lock = FileLock(directory / ".lock", blocking=False, is_singleton=False)
            lock.acquire()
        except Timeout as error:
            raise InputError(f"dataset {directory}: another process writes to it; wait for it, or read only") from error
        except OSError as error:
            raise InputError(f"dataset {directory}: cannot be written ({error.strerror})") from error
        try:
            for torn in (directory / "segments").glob(".*.tmp"):
                torn.unlink()
            return cls(directory, lock, method_hash)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def read(cls, directory: str | Path) -> Dataset:
        """Open for reading, also while another process writes.

        Raises:
            InputError: there is no dataset.
        """
        directory = Path(directory)
        if not (directory / "segments").is_dir():
            raise InputError(f"{directory}: no dataset (no folder 'segments' in it)")
        return cls(directory, None, None)

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock; the dataset can still be read."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def method_hash(self) -> str | None:
        """The hash of the one method of all labels; None in an empty dataset that was opened without one."""
        return self._method_hash

    @property
    def uids(self) -> list[str]:
        """The uids of all labels, in the order in which they were stored."""
        return list(self._entries)

    def find(self, uid: str) -> Atoms | None:
        """Return the labelled structure of a uid, or None."""
        entry = self._entries.get(uid)
        return None if entry is None else _copy(entry)

    def structures(self) -> list[Atoms]:
        """Return all labelled structures (copies): REF_ keys in `info` and `arrays`, and the results in `calc`."""
        return [_copy(entry) for entry in self._entries.values()]

    def add(self, labelled: Iterable[Atoms]) -> list[str]:
        """Store labelled structures as one new segment; return the uids that are new, in order.

        `info["provenance"]`, where a structure has it, goes to provenance.jsonl.

        Raises:
            InputError: a structure without a label, with a wrong shape of forces, or of another method.
        """
        self._needs_lock()
        fresh: dict[str, Atoms] = {}
        provenance: list[dict[str, Any]] = []
        for structure in labelled:
            entry, origin = self._entry(structure)
            if entry.info["uid"] not in self._entries and entry.info["uid"] not in fresh:
                fresh[entry.info["uid"]] = entry
                provenance.append(origin)
        if fresh:
            self._write_segment(fresh)
            append_lines(self.directory / "provenance.jsonl", [_provenance(*pair) for pair in zip(fresh, provenance)])
        return list(fresh)

    def add_failures(self, failed: Iterable[FailedLabel]) -> None:
        """Remember structures that got no label, with the reason."""
        self._needs_lock()
        now = round(time.time(), 3)
        records = [
            {
                "uid": self._uid_of_failure(failure.structure),
                "reason": failure.reason,
                "detail": failure.detail,
                "info": {key: value for key, value in failure.structure.info.items() if isinstance(value, str | int | float)},
                "structure": pack(failure.structure),
                "time": now,
                "host": socket.gethostname(),
            }
            for failure in failed
        ]
        append_lines(self.directory / "failed_labels.jsonl", records)

    def failures(self) -> list[FailedLabel]:
        """Return the failed labels, the last failure of each structure, without those that have a label by now."""
        last = {record["uid"]: record for record in read_lines(self.directory / "failed_labels.jsonl")}
        failed = []
        for uid, record in last.items():
            if uid not in self._entries:
                structure = unpack(record["structure"])
                structure.info = dict(record["info"])
                failed.append(FailedLabel(structure, record["reason"], record["detail"]))
        return failed

    def verify(self) -> list[str]:
        """Return what is wrong with the files, one line each; empty when all is well."""
        problems = []
        for path in self._segment_paths():
            problem = _problem(path)
            if problem is not None:
                problems.append(problem)
                continue
            for i, structure in enumerate(parse_frames(path.read_text(encoding="utf-8"))):
                entry = _entry_of(structure)
                if entry.info["method_hash"] != self._method_hash:
                    problems.append(f"{path}: structure {i} is of method {entry.info['method_hash']}, not {self._method_hash}")
                elif uid_of(entry, entry.info["method_hash"]) != entry.info["uid"]:
                    problems.append(f"{path}: structure {i} does not match its uid {entry.info['uid']}")
        return problems

    def export(self, path: str | Path) -> None:
        """Write all labelled structures to one file: `.extxyz` (with REF_ keys, and plain for ASE) or `.db` (ase.db)."""
        export(self.structures(), Path(path))

    def refresh(self) -> None:
        """Read the segments that were written since the last look."""
        for path in self._segment_paths():
            if path.name in self._read_segments:
                continue
            self._read_segments.add(path.name)
            problem = _problem(path)
            if problem is not None:
                warnings.warn(f"{problem}; segment skipped", stacklevel=3)
                continue
            for structure in parse_frames(path.read_text(encoding="utf-8")):
                entry = _entry_of(structure)
                self._check_method(entry.info["method_hash"], str(path))
                self._entries.setdefault(entry.info["uid"], entry)

    def _segment_paths(self) -> list[Path]:
        return sorted((self.directory / "segments").glob("[0-9]*.extxyz"))

    def _write_segment(self, fresh: dict[str, Atoms]) -> None:
        """The checksum comes first and the segment last, so that a segment never stands without its checksum."""
        segments = self.directory / "segments"
        if not (self.directory / "dataset.json").exists():
            write_whole(self.directory / "dataset.json", json.dumps({"format": 1, "method_hash": self._method_hash}) + "\n")
        last = max((int(path.stem) for path in self._segment_paths()), default=-1)
        name = f"{last + 1:06d}.extxyz"
        text = frames(fresh.values())
        write_whole(segments / f"{name}.sha256", f"{sha256(text)}  {name}\n")
        write_whole(segments / name, text)
        self._read_segments.add(name)
        self._entries |= fresh

    def _entry(self, structure: Atoms) -> tuple[Atoms, dict[str, Any]]:
        """Return what is stored of a labelled structure, and its provenance."""
        provenance = structure.info.get("provenance") or {}
        entry = _entry_of(structure)
        entry.info.pop("provenance", None)
        self._check_method(entry.info["method_hash"], "a structure to add")
        entry.info["uid"] = uid_of(entry, entry.info["method_hash"])
        return entry, provenance

    def _check_method(self, method_hash: str, where: str) -> None:
        if self._method_hash is None:
            self._method_hash = method_hash
        if method_hash != self._method_hash:
            raise InputError(
                f"{where}: label of method {method_hash}, but dataset {self.directory} holds method {self._method_hash}; "
                "labels of different methods do not mix"
            )

    def _uid_of_failure(self, structure: Atoms) -> str:
        try:
            return uid_of(structure, self._method_hash or "")
        except ValueError:  # positions that are not finite: any name that is the same for the same numbers
            return f"nonfinite-{sha256(json.dumps(pack(structure)))[:16]}"

    def _needs_lock(self) -> None:
        if self._lock is None:
            raise InputError(f"dataset {self.directory} is open for reading only; use Dataset.open to write")


def _entry_of(structure: Atoms) -> Atoms:
    """Return a bare copy with the REF_ keys in `info` and `arrays`, checked."""
    entry = structure.copy()
    entry.set_constraint()
    for key in ("REF_energy", "REF_free_energy", "method_hash"):
        if key not in entry.info:
            raise InputError(f"structure {structure.get_chemical_formula()} has no {key!r}: label or import it first")
    entry.info |= {key: str(entry.info[key]) for key in INFO_STRINGS if key in entry.info}
    entry.info |= {key: float(entry.info[key]) for key in ("REF_energy", "REF_free_energy")}
    forces = entry.arrays.get("REF_forces")
    if forces is not None and (forces.shape != (len(entry), 3) or not np.isfinite(forces).all()):
        raise InputError(f"structure {structure.get_chemical_formula()}: REF_forces must be finite and (n_atoms, 3)")
    return entry


def _copy(entry: Atoms) -> Atoms:
    copy = entry.copy()
    attach_results(copy)
    return copy


def _problem(path: Path) -> str | None:
    """Say what is wrong with a segment, or None."""
    checksum = path.with_name(f"{path.name}.sha256")
    if not checksum.exists():
        return f"{path}: no checksum beside it"
    expected = checksum.read_text(errors="replace").split()[:1]
    return None if [sha256(path.read_bytes())] == expected else f"{path}: content does not match its checksum"


def _provenance(uid: str, origin: dict[str, Any]) -> dict[str, Any]:
    """Return a provenance record: where, when and with what a label was made."""
    versions = {"python": ".".join(map(str, sys.version_info[:3])), "ase": version("ase"), "numpy": version("numpy")}
    return {"uid": uid, "time": round(time.time(), 3), "host": socket.gethostname(), "versions": versions, **origin}


def join(datasets: Sequence[Dataset]) -> list[Atoms]:
    """Return the labelled structures of several datasets of one method, each label once."""
    found: dict[str, Atoms] = {}
    hashes = {dataset.method_hash for dataset in datasets}
    if len(hashes) > 1:
        raise InputError(f"datasets of different methods do not mix: {', '.join(sorted(map(str, hashes)))}")
    for dataset in datasets:
        for structure in dataset.structures():
            found.setdefault(structure.info["uid"], structure)
    return list(found.values())
