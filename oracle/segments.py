"""Segments: files of labelled structures that are whole or absent, each with its checksum beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ase import Atoms

from oracle.durable import sha256, write_whole
from oracle.extxyz import frames
from oracle.frame_parser import Span, index_frames, parse_frames


def segment_paths(folder: Path) -> list[Path]:
    """Return the segments of a folder in order."""
    return sorted(folder.glob("[0-9]*.extxyz"))


def write_segment(folder: Path, structures: Iterable[Atoms]) -> tuple[Path, list[Span]]:
    """Write the next segment; return it and where its frames are.

    The checksum comes first, so that no crash leaves a segment without one.
    """
    last = max((int(path.stem) for path in segment_paths(folder)), default=-1)
    path = folder / f"{last + 1:06d}.extxyz"
    text = frames(structures)
    write_whole(path.with_name(f"{path.name}.sha256"), f"{sha256(text)}  {path.name}\n")
    write_whole(path, text)
    return path, index_frames(text.encode("utf-8"))


def segment_problem(path: Path, content: bytes) -> str | None:
    """Say why the content of a segment is not to be trusted, or None."""
    checksum = path.with_name(f"{path.name}.sha256")
    if not checksum.exists():
        return f"{path}: no checksum beside it"
    expected = checksum.read_text(errors="replace").split()[:1]
    return None if [sha256(content)] == expected else f"{path}: content does not match its checksum"


def read_frames(content: bytes, spans: Iterable[Span]) -> list[Atoms]:
    """Return the structures at some places of a segment's content."""
    return parse_frames("".join(content[span.start : span.stop].decode("utf-8") for span in spans))
