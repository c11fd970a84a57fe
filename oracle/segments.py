"""Segments: files of labelled structures that are whole or absent, each with its checksum beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ase import Atoms

from oracle.durable import sha256, write_whole
from oracle.errors import InputError
from oracle.extxyz import frames
from oracle.frame_parser import Span, index_frames, parse_frames


def segment_paths(folder: Path) -> list[Path]:
    """Return the segments of a folder in order."""
    return sorted(path for path in folder.glob("[0-9]*.extxyz") if path.is_file() and path.stem.isdecimal())


def next_number(folder: Path) -> int:
    """Return the number of the next segment."""
    return max((int(path.stem) for path in segment_paths(folder)), default=-1) + 1


def write_segment(folder: Path, number: int, structures: Iterable[Atoms]) -> tuple[Path, list[Span]]:
    """Write a segment; return it and where its frames are.

    The checksum comes first, so that no crash leaves a segment without one.
    """
    path = folder / f"{number:06d}.extxyz"
    text = frames(structures)
    write_whole(path.with_name(f"{path.name}.sha256"), f"{sha256(text)}  {path.name}\n", lasting=False)
    write_whole(path, text)  # and with it the name of its checksum
    return path, index_frames(text.encode("utf-8"))


def segment_problem(path: Path, content: bytes) -> str | None:
    """Say why the content of a segment is not to be trusted, or None."""
    checksum = path.with_name(f"{path.name}.sha256")
    if not checksum.is_file():
        return f"{path}: no checksum beside it"
    expected = checksum.read_bytes().decode("utf-8", "replace").split()[:1]
    return None if [sha256(content)] == expected else f"{path}: content does not match its checksum"


def segment_spans(path: Path, content: bytes) -> list[Span]:
    """Return where the frames of a segment's content are.

    Raises:
        InputError: it has none that Kossel wrote.
    """
    with _told(path):
        return index_frames(content)


def read_frames(path: Path, content: bytes, spans: Iterable[Span]) -> list[Atoms]:
    """Return the structures at some places of a segment's content.

    Raises:
        InputError: there are none.
    """
    with _told(path):
        return parse_frames("".join(content[span.start : span.stop].decode("utf-8") for span in spans))


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise InputError(f"{path}: not a segment as Kossel writes it ({error}); restore it, or delete it") from error
