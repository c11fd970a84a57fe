"""The dataset: labelled structures of one method, in segments that are whole or absent, each label once."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from ase import Atoms
from filelock import FileLock, Timeout

from oracle.durable import (
    DamageWarning,
    append_lines,
    damaged_lines,
    mend_lines,
    read_lines,
    seal,
    sha256,
    unseal,
    write_whole,
)
from oracle.entries import check, entry_of, restored
from oracle.errors import InputError
from oracle.export import export
from oracle.frame_parser import Span
from oracle.identity import uid as uid_of
from oracle.methods import Method
from oracle.outcome import FailedLabel
from oracle.provenance import failure_of, failure_record, label_record
from oracle.segments import next_number, read_frames, segment_paths, segment_problem, segment_spans, write_segment
from oracle.worker import pack

HEADER = "dataset.json"
_RESTORE = "restore the file from a copy, or delete it"
FAILURES, PROVENANCE = LOGS = ("failed_labels.jsonl", "provenance.jsonl")


class _Place(NamedTuple):
    """Where a label is: the name of its segment, and its frame there."""

    segment: str
    span: Span


class Dataset:
    """Labelled structures in a directory. `Dataset.open` to write (one at a time), `Dataset.read` to read.

    In memory are uids and where their frames are; structures are read from the files each time they are asked for.

    Layout: `dataset.json` (method and its hash); `segments/000123.extxyz`, each with `000123.extxyz.sha256` beside it,
    never appended to; `failed_labels.jsonl`; `provenance.jsonl` (wall time, host, versions: what may differ between
    equal runs).

    Attributes:
        damage: what is damaged and was left out, one line each.
    """

    def __init__(
        self,
        directory: Path,
        lock: FileLock | None,
        method_hash: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.directory = directory
        self._lock = lock
        self._places: dict[str, _Place] = {}
        self._read_segments: set[str] = set()
        self._next: int | None = None
        self.damage: list[str] = []
        self._stored_header = self._read_header()
        self._method = self._stored_header.get("method") if settings is None else dict(settings)
        self._method_hash: str | None = self._stored_header.get("method_hash")
        if method_hash is not None:
            self._check_method(method_hash, "asked for")
        self.refresh()

    @classmethod
    def open(
        cls,
        directory: str | Path,
        method_hash: str | None = None,
        *,
        method: Method | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """Open for reading and writing; create it when it is not there.

        Args:
            directory: the dataset directory.
            method_hash: the only method whose labels are taken; by default that of the first label.
            method: the same, and its settings are stored with the labels.
            settings: what to store where only the hash is given (of a method that is perhaps not installed here).

        Raises:
            InputError: another process writes to it, it holds labels of another method, or it cannot be written.
        """
        if method is not None:
            method_hash, settings = method.hash, method.to_dict()
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
            for log in LOGS:
                damage = mend_lines(directory / log)
                if damage is not None:
                    warnings.warn(damage, DamageWarning, stacklevel=2)
            return cls(directory, lock, method_hash, settings)
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
        return cls(directory, None)

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
        return len(self._places)

    def __contains__(self, uid: str) -> bool:
        return uid in self._places

    def __iter__(self) -> Iterator[Atoms]:
        """Yield the labelled structures in the order in which they were stored, one segment in memory at a time."""
        for segment, places in itertools.groupby(list(self._places.values()), key=lambda place: place.segment):
            path = self._segments / segment
            yield from map(restored, read_frames(path, path.read_bytes(), [place.span for place in places]))

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
        return list(self._places)

    def find(self, uid: str) -> Atoms | None:
        """Return the labelled structure of a uid, or None."""
        place = self._places.get(uid)
        if place is None:
            return None
        path, span = self._segments / place.segment, place.span
        with path.open("rb") as file:
            file.seek(span.start)
            content = file.read(span.stop - span.start)
        return restored(read_frames(path, content, [Span(span.uid, span.method_hash, 0, len(content))])[0])

    def structures(self) -> list[Atoms]:
        """Return all labelled structures: REF_ keys in `info` and `arrays`, and the results in `calc`."""
        return list(self)

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
            if entry.info["uid"] not in self._places and entry.info["uid"] not in fresh:
                fresh[entry.info["uid"]] = entry
                provenance.append(origin)
        if fresh:
            self._write_header()
            if self._next is None:
                self._next = next_number(self._segments)
            path, spans = write_segment(self._segments, self._next, fresh.values())
            self._next += 1
            self._read_segments.add(path.name)
            self._places |= {uid: _Place(path.name, span) for uid, span in zip(fresh, spans, strict=True)}
            append_lines(self._provenance, [label_record(*pair) for pair in zip(fresh, provenance, strict=True)])
        return list(fresh)

    def add_failures(self, failed: Iterable[FailedLabel]) -> None:
        """Remember structures that got no label, with the reason."""
        self.carry_failures([failure_record(self._uid_of_failure(each.structure), each) for each in failed])

    def carry_failures(self, records: list[dict[str, Any]]) -> None:
        """Take over records of failures, as `failure_records` returns them."""
        self._needs_lock()
        if records:
            self._write_header()
        append_lines(self.directory / FAILURES, records)

    def failures(self) -> list[FailedLabel]:
        """Return the failed labels, the last failure of each structure, without those that have a label by now."""
        records = self.failure_records()
        try:
            return [failure_of(record) for record in records]
        except (LookupError, TypeError, ValueError) as error:
            path = self.directory / FAILURES
            raise InputError(f"{path}: not a failed label ({type(error).__name__}: {error}); {_RESTORE}") from error

    def failure_records(self) -> list[dict[str, Any]]:
        """Return the same as they are stored, with uid, time and host."""
        return [record for uid, record in self._records(FAILURES).items() if uid not in self._places]

    def provenance(self) -> dict[str, dict[str, Any]]:
        """Return by uid where, when and with what each label was made."""
        return self._records(PROVENANCE)

    def _records(self, log: str) -> dict[str, dict[str, Any]]:
        """The last record of each uid in a log."""
        path = self.directory / log
        records = read_lines(path)
        if not all(isinstance(record.get("uid"), str) for record in records):
            raise InputError(f"{path}: a line without uid; {_RESTORE}")
        return {record["uid"]: record for record in records}

    def verify(self) -> list[str]:
        """Return what is wrong with the files, one line each; empty when all is well."""
        problems = [damage for log in LOGS if (damage := damaged_lines(self.directory / log)) is not None]
        header = self.directory / HEADER
        if header.exists() and unseal(header.read_bytes().removesuffix(b"\n")) is None:
            problems.append(f"{header}: damaged")
        for path in segment_paths(self._segments):
            content = path.read_bytes()
            problem = segment_problem(path, content)
            if problem is not None:
                problems.append(problem)
                continue
            for i, entry in enumerate(read_frames(path, content, segment_spans(path, content))):
                check(entry)
                if entry.info["method_hash"] != self._method_hash:
                    problems.append(
                        f"{path}: structure {i} is of method {entry.info['method_hash']}, not {self._method_hash}"
                    )
                elif uid_of(entry, entry.info["method_hash"]) != entry.info["uid"]:
                    problems.append(f"{path}: structure {i} does not match its uid {entry.info['uid']}")
        return problems

    def export(self, path: str | Path) -> None:
        """Write all labelled structures to one file: `.extxyz` (REF_ keys, and plain for ASE), `.db` or `.aselmdb`."""
        export(iter(self), Path(path))

    def refresh(self) -> None:
        """Read the segments that were written since the last look."""
        for path in segment_paths(self._segments):
            if path.name in self._read_segments:
                continue
            self._read_segments.add(path.name)
            content = path.read_bytes()
            problem = segment_problem(path, content)
            if problem is not None:
                self._report(f"{problem}; segment skipped")
                continue
            for span in segment_spans(path, content):
                if not span.uid:
                    raise InputError(f"{path}: a structure without uid; import it instead")
                self._check_method(span.method_hash, f"{path.name} is of")
                self._places.setdefault(span.uid, _Place(path.name, span))

    @property
    def _segments(self) -> Path:
        return self.directory / "segments"

    @property
    def _provenance(self) -> Path:
        return self.directory / PROVENANCE

    def _report(self, damage: str) -> None:
        self.damage.append(damage)
        warnings.warn(damage, DamageWarning, stacklevel=5)

    def _read_header(self) -> dict[str, Any]:
        path = self.directory / HEADER
        header = unseal(path.read_bytes().removesuffix(b"\n")) if path.exists() else {}
        if header is None:
            self._report(f"{path}: damaged, not used; the labels tell their method")
        return header or {}

    def _write_header(self) -> None:
        """Say once which method the labels are of."""
        header = {"format": 1, "method_hash": self._method_hash, "method": self._method}
        if header != self._stored_header:
            write_whole(self.directory / HEADER, seal(header) + "\n")
            self._stored_header = header

    def _entry(self, structure: Atoms) -> tuple[Atoms, dict[str, Any]]:
        """Return what is stored of a labelled structure, and its provenance."""
        provenance = structure.info.get("provenance") or {}
        entry = entry_of(structure)
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
