"""The dataset: labelled structures of one method, in segments that are whole or absent, each label once."""

from __future__ import annotations

import json
import socket
import sys
import time
import warnings
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from ase import Atoms
from filelock import FileLock, Timeout

from oracle.durable import append_lines, read_lines, sha256, write_whole
from oracle.errors import InputError
from oracle.export import export
from oracle.identity import uid as uid_of
from oracle.methods import Method
from oracle.outcome import FailedLabel, attach_results
from oracle.segments import read_segment, segment_paths, segment_problem, write_segment
from oracle.worker import pack, unpack

INFO_STRINGS = ("uid", "method_hash", "config_type", "parent_uid", "model_version", "reason")
"""Keys of `info` that are always strings, whatever a reader made of them."""


class Dataset:
    """Labelled structures in a directory. `Dataset.open` to write (one at a time), `Dataset.read` to read.

    Layout: `dataset.json` (method and its hash); `segments/000123.extxyz`, each with `000123.extxyz.sha256` beside it,
    never appended to; `failed_labels.jsonl`; `provenance.jsonl` (wall time, host, versions: what may differ between
    equal runs).
    """

    def __init__(self, directory: Path, lock: FileLock | None, method_hash: str | None, method: Method | None) -> None:
        self.directory = directory
        self._lock = lock
        self._entries: dict[str, Atoms] = {}
        self._read_segments: set[str] = set()
        header = directory / "dataset.json"
        self._stored_header: dict[str, Any] = json.loads(header.read_text()) if header.exists() else {}
        self._method = self._stored_header.get("method") if method is None else method.to_dict()
        self._method_hash: str | None = self._stored_header.get("method_hash")
        for wanted in (method_hash, None if method is None else method.hash):
            if wanted is not None:
                self._check_method(wanted, "asked for")
        self.refresh()

    @classmethod
    def open(cls, directory: str | Path, method_hash: str | None = None, *, method: Method | None = None) -> Dataset:
        """Open for reading and writing; create it when it is not there.

        Args:
            directory: the dataset directory.
            method_hash: the only method whose labels are taken; by default that of the first label.
            method: the same, and its settings are stored with the labels.

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
            return cls(directory, lock, method_hash, method)
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
        return cls(directory, None, None, None)

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
    def method(self) -> dict[str, Any] | None:
        """The settings of the method, where they were stored."""
        return self._method

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
            self._write_header()
            self._read_segments.add(write_segment(self._segments, fresh.values()).name)
            self._entries |= fresh
            append_lines(
                self.directory / "provenance.jsonl",
                [_provenance(*pair) for pair in zip(fresh, provenance, strict=True)],
            )
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
                "info": {
                    key: value for key, value in failure.structure.info.items() if isinstance(value, str | int | float)
                },
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
        for path in segment_paths(self._segments):
            problem = segment_problem(path)
            if problem is not None:
                problems.append(problem)
                continue
            for i, structure in enumerate(read_segment(path)):
                entry = _entry_of(structure)
                if entry.info["method_hash"] != self._method_hash:
                    problems.append(
                        f"{path}: structure {i} is of method {entry.info['method_hash']}, not {self._method_hash}"
                    )
                elif uid_of(entry, entry.info["method_hash"]) != entry.info["uid"]:
                    problems.append(f"{path}: structure {i} does not match its uid {entry.info['uid']}")
        return problems

    def export(self, path: str | Path) -> None:
        """Write all labelled structures to one file: `.extxyz` (REF_ keys, and plain for ASE) or `.db` (ase.db)."""
        export(self.structures(), Path(path))

    def refresh(self) -> None:
        """Read the segments that were written since the last look."""
        for path in segment_paths(self._segments):
            if path.name in self._read_segments:
                continue
            self._read_segments.add(path.name)
            problem = segment_problem(path)
            if problem is not None:
                warnings.warn(f"{problem}; segment skipped", stacklevel=3)
                continue
            for structure in read_segment(path):
                entry = _entry_of(structure)
                self._check_method(entry.info["method_hash"], f"{path.name} is of")
                self._entries.setdefault(entry.info["uid"], entry)

    @property
    def _segments(self) -> Path:
        return self.directory / "segments"

    def _write_header(self) -> None:
        """Say once which method the labels are of."""
        header = {"format": 1, "method_hash": self._method_hash, "method": self._method}
        if header != self._stored_header:
            write_whole(self.directory / "dataset.json", json.dumps(header) + "\n")
            self._stored_header = header

    def _entry(self, structure: Atoms) -> tuple[Atoms, dict[str, Any]]:
        """Return what is stored of a labelled structure, and its provenance."""
        provenance = structure.info.get("provenance") or {}
        entry = _entry_of(structure)
        entry.info.pop("provenance", None)
        self._check_method(entry.info["method_hash"], "a structure to add is of")
        entry.info["uid"] = uid_of(entry, entry.info["method_hash"])
        return entry, provenance

    def _check_method(self, method_hash: str, where: str) -> None:
        if self._method_hash is None:
            self._method_hash = method_hash
        if method_hash != self._method_hash:
            raise InputError(
                f"dataset {self.directory} holds labels of method {self._method_hash}, {where} method {method_hash}: "
                "labels of different methods do not mix; use another directory"
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
    if not np.isfinite([entry.info["REF_energy"], entry.info["REF_free_energy"]]).all():
        raise InputError(f"structure {structure.get_chemical_formula()}: its energy is not finite")
    forces = entry.arrays.get("REF_forces")
    if forces is not None and (forces.shape != (len(entry), 3) or not np.isfinite(forces).all()):
        raise InputError(f"structure {structure.get_chemical_formula()}: REF_forces must be finite and (n_atoms, 3)")
    return entry


def _copy(entry: Atoms) -> Atoms:
    copy = entry.copy()
    attach_results(copy)
    return copy


def _provenance(uid: str, origin: dict[str, Any]) -> dict[str, Any]:
    """Return a provenance record: where, when and with what a label was made."""
    return {"uid": uid, "time": round(time.time(), 3), "host": socket.gethostname(), "versions": _versions(), **origin}


@cache
def _versions() -> dict[str, str]:
    """Return the versions that a label may depend on; looked up once, which takes longer than a cheap label."""
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    return versions | {name: version(name) for name in ("ase", "numpy", "gpaw") if find_spec(name) is not None}
