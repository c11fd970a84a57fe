"""What a command that works for a while asks of its process: paths that stay, and an orderly end."""

import contextlib
import importlib.metadata
import os
import platform
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

from growth.errors import InputError


def absolute(path: Path, what: str) -> Path:
    """`path` from the root.

    Raises:
        InputError: it is relative to a Ray job's own copy of the working directory, which Ray deletes.
    """
    if not path.is_absolute() and "working_dir_files" in Path.cwd().parts:
        raise InputError(f"{what} {path} is relative, and this Ray job runs in a copy; give an absolute path")
    return path.absolute()


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """Turn SIGTERM (`ray job stop`, a scheduler's pre-emption) into KeyboardInterrupt, so that state is written."""

    def stop(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of some packages; what is not installed is left out."""
    versions = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def n_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))
