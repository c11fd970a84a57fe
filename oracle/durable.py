"""Files that survive a crash: whole or absent; and JSON with a checksum, so that damage is found and the rest used.

Sealed JSON is an object whose last key, `crc`, is the CRC-32 of the text without that key. A JSON lines file holds one
a line. Its last line is torn where a crash fell into its writing: then it was never written. Any other line that is not
whole is damaged. What is not sealed, from before there were checksums, is read as it is.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path
from typing import IO, Any, NamedTuple, TextIO

_BLOCK = 1 << 16
_SEAL = len(', "crc": "01234567"}')


class DamageWarning(UserWarning):
    """A file is damaged: what is left of it is used."""


def write_whole(path: Path, content: str | bytes, lasting: bool = True) -> None:
    """Write a file so that after a crash it is there with all of its content, or not at all.

    Args:
        lasting: it is there once this returns, even if the power fails then; else that can take some seconds.
    """
    with whole_file(path, lasting) as file:
        if isinstance(content, bytes):
            file.buffer.write(content)
        else:
            file.write(content)


@contextlib.contextmanager
def whole_file(path: Path, lasting: bool = True) -> Iterator[TextIO]:
    """Open a text file to write piece by piece; it takes its name when the block ends well, else it is dropped."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "expected a regular file", str(path))
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
    if lasting:
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


def seal(record: dict[str, Any]) -> str:
    """Return a record as one line of JSON with its checksum.

    >>> seal({"step": 1})
    '{"step": 1, "crc": "3a87913d"}'
    """
    text = json.dumps(record)
    return text[:-1] + _seal_of(text.encode("utf-8")).decode("utf-8")


def _seal_of(text: bytes) -> bytes:
    """Return what stands in place of the closing brace."""
    return b'%s"crc": "%08x"}' % (b"  " if text == b"{}" else b", ", zlib.crc32(text))


def unseal(sealed: bytes) -> dict[str, Any] | None:
    """Return the record of sealed JSON, or of older JSON without a checksum; None where it is damaged.

    A checksum is known by its name or by its value, so that one flipped bit cannot make it look like older JSON.
    """
    text, tail = sealed[:-_SEAL] + b"}", sealed[-_SEAL:]
    seal = _seal_of(text)
    if tail != seal:
        if b'"crc"' in tail or seal[-10:-2] in tail:
            return None
        text = sealed
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def append_lines(path: Path, records: list[dict[str, Any]]) -> None:
    """Append one sealed line a record, durably, after cutting off a torn last line. One writer at a time."""
    if not records:
        return
    with path.open("a+b") as file:
        file.truncate(_end_of_whole_lines(file))
        file.write("".join(seal(record) + "\n" for record in records).encode("utf-8"))
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


class Line(NamedTuple):
    """A line of a JSON lines file: its number from 1, its bytes without line break, its record or None if damaged."""

    number: int
    content: bytes
    record: dict[str, Any] | None


def lines_of(path: Path) -> list[Line]:
    """Return the lines of a JSON lines file but a torn one; one whose line break alone is damaged is not torn."""
    if not path.exists():
        return []
    *whole, tail = path.read_bytes().split(b"\n")
    lines = [Line(number, line, unseal(line)) for number, line in enumerate(whole, start=1) if line.strip()]
    return lines if unseal(tail[:-1]) is None else [*lines, Line(len(whole) + 1, tail, None)]


def damaged_lines(path: Path) -> str | None:
    """Say which lines of a JSON lines file are damaged, or None."""
    return _damage(path, lines_of(path))


def _damage(path: Path, lines: list[Line]) -> str | None:
    numbers = [str(line.number) for line in lines if line.record is None]
    return f"{path}: damaged line {', '.join(numbers)}" if numbers else None


def read_lines(path: Path, *, up_to_damage: bool = False) -> list[dict[str, Any]]:
    """Return the records of a JSON lines file, but a torn one, and with a warning without damaged ones.

    Args:
        path: the file; nothing is read where there is none.
        up_to_damage: leave out all from the first damaged line on.
    """
    lines = lines_of(path)
    damage = _damage(path, lines)
    if damage is not None:
        warnings.warn(f"{damage}; {_use(up_to_damage)}", DamageWarning, stacklevel=2)
    return [line.record for line in _good(lines, up_to_damage) if line.record is not None]


def mend_lines(path: Path, *, up_to_damage: bool = False) -> str | None:
    """Drop damaged lines from a JSON lines file, or all from the first on, and keep the original beside it.

    Returns:
        What was damaged and done, in one line; None where all is well.
    """
    lines = lines_of(path)
    damage = _damage(path, lines)
    if damage is None:
        return None
    kept = unused(path.with_name(f"{path.name}.damaged"))
    write_whole(kept, path.read_bytes())
    write_whole(path, b"".join(line.content + b"\n" for line in _good(lines, up_to_damage)))
    return f"{damage}; {_use(up_to_damage)}, the original is kept as {kept.name}"


def _good(lines: list[Line], up_to_damage: bool) -> Iterator[Line]:
    def whole(line: Line) -> bool:
        return line.record is not None

    return takewhile(whole, lines) if up_to_damage else filter(whole, lines)


def _use(up_to_damage: bool) -> str:
    return "used up to there" if up_to_damage else "skipped"


def unused(path: Path) -> Path:
    """Return the path, with a number behind it where it is taken."""
    names = (path if n == 0 else path.with_name(f"{path.name}.{n}") for n in count())
    return next(name for name in names if not name.exists())
