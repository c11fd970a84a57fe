"""What of a run's files is damaged: found by the checksums that they carry, told in one line each, nothing changed."""

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from growth.errors import InputError
from oracle.durable import damaged_lines, sha256, unseal
from oracle.errors import InputError as OracleInputError
from oracle.plain_yaml import parse_yaml

LOGS = ("provenance", "events", "metrics", "relaxations")
CHECKPOINT, PREVIOUS = "state/checkpoint.json", "state/checkpoint.previous.json"
CONFIG, SEED = "config.yaml", "seed.json"
CHECK = b"# crc32"
"""How the first line of config.yaml begins."""
SUMS = "SHA256SUMS"
"""In a model directory the checksums of the other files, as `sha256sum` writes them."""


@contextlib.contextmanager
def readable(run: Path) -> Iterator[None]:
    """Make one line of whatever files of a run that are of another shape make of the code that reads them.

    Raises:
        InputError: names the run and what went wrong.
    """
    try:
        yield
    except InputError:
        raise
    except OracleInputError as error:
        raise InputError(str(error)) from error
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{run}: its files cannot be read ({type(error).__name__}: {error})") from error


def damage_of(run: Path) -> list[str]:
    """What of a run's files is damaged, but for its datasets; empty when all is well."""
    problems = []
    for name, read in ((CONFIG, read_config), (SEED, read_sealed)):
        try:
            read(run / name) if (run / name).exists() else None
        except InputError as error:
            problems.append(str(error))
    models = sorted((run / "models").glob("v[0-9][0-9][0-9][0-9]"))
    found = [
        *(damaged_lines(run / f"{log}.jsonl") for log in LOGS),
        *(checkpoint(run / name)[1] for name in (CHECKPOINT, PREVIOUS) if (run / name).exists()),
        *(model_problem(path) for path in models),
    ]
    return [*problems, *(problem for problem in found if problem is not None)]


def checkpoint(path: Path) -> tuple[dict[str, Any] | None, str | None]:
    """A checkpoint, or None and why there is none."""
    state = unseal(path.read_bytes()) if path.exists() else None
    return state, None if state is not None else f"{path}: {'damaged' if path.exists() else 'not there'}"


def model_problem(directory: Path) -> str | None:
    """Why a model directory is not to be trusted; one that was written without checksums always is."""
    if not (directory / SUMS).exists():
        return None
    found = sums({path.name: path.read_bytes() for path in directory.iterdir() if path.name != SUMS})
    return None if (directory / SUMS).read_bytes() == found else f"{directory}: files do not match {SUMS}"


def newest_model(run: Path) -> Path | None:
    """The directory of a run's newest model that is whole; None where it has none."""
    models = sorted((run / "models").glob("v[0-9][0-9][0-9][0-9]"), reverse=True)
    return next((path for path in models if model_problem(path) is None), None)


def sums(files: dict[str, bytes]) -> bytes:
    """The content of SHA256SUMS.

    >>> sums({"model.json": b"{}"})[-13:]
    b'  model.json\\n'
    """
    return "".join(f"{sha256(files[name])}  {name}\n" for name in sorted(files)).encode("utf-8")


def read_sealed(path: Path) -> dict[str, Any]:
    """The content of a JSON file that the run cannot do without.

    Raises:
        InputError: it is damaged.
    """
    content = unseal(path.read_bytes())
    if content is None:
        raise InputError(f"{path}: damaged; restore it from a copy, or begin another run with another --run-dir")
    return content


def with_checksum(text: str) -> str:
    """YAML under a comment that holds its checksum."""
    return f"{CHECK.decode()} {zlib.crc32(text.encode('utf-8')):08x}\n{text}"


def read_config(path: Path) -> dict[str, Any]:
    """The settings that a run began with.

    Raises:
        InputError: they are damaged.
    """
    content = path.read_bytes()
    check, _, text = content.partition(b"\n")
    if check.startswith(CHECK) and check != CHECK + b" %08x" % zlib.crc32(text):
        raise InputError(
            f"{path}: damaged, or changed by hand (its first line is the checksum of the others); "
            "restore it from a copy, or delete that line to take the settings as they are"
        )
    try:
        settings = parse_yaml(content.decode("utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: damaged ({' '.join(str(error).split())}); restore it from a copy") from error
    if not isinstance(settings, dict):
        raise InputError(f"{path}: damaged (no settings in it); restore it from a copy")
    return settings
