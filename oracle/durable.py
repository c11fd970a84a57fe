"""Files that survive a crash: whole or absent, and JSON lines whose torn tail is dropped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TextIO

_BLOCK = 1 << 16


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that after a crash it is there with all of its content, or not at all."""
    with whole_file(path) as file:
        if isinstance(content, bytes):
            file.buffer.write(content)
        else:
            file.write(content)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """Open a text file to write piece by piece; it takes its name when the block ends well, else it is dropped."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames inside a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(content: str | bytes) -> str:
    """Return the checksum of a file's content."""
    return hashlib.sha256(content.encode("utf-8") if isinstance(content, str) else content).hexdigest()


def append_lines(path: Path, records: list[dict[str, Any]]) -> None:
    """Append one JSON line a record, durably, after cutting off a torn last line. One writer at a time."""
    if not records:
        return
    with path.open("a+b") as file:
        file.truncate(_end_of_whole_lines(file))
        file.write("".join(json.dumps(record) + "\n" for record in records).encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def _end_of_whole_lines(file: IO[bytes]) -> int:
    """Return the position after the last line break, looking from the end: the file may be long."""
    stop = file.seek(0, os.SEEK_END)
    while stop:
        start = max(0, stop - _BLOCK)
        file.seek(start)
        found = file.read(stop - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        stop = start
    return 0


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON lines file; a last line without its line break is torn and dropped."""
    if not path.exists():
        return []
    *whole, _torn = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in whole if line.strip()]
