"""A model directory: `model.safetensors` and, beside it, `model.json` that names its hash. No pickle."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from .errors import InputError

WEIGHTS, HEADER = "model.safetensors", "model.json"


class ModelHeader(BaseModel):
    """What every `model.json` has: the sha256 of the weights beside it."""

    weights_sha256: str = ""


H = TypeVar("H", bound=ModelHeader)


def write_model(directory: str | os.PathLike[str], header: H, network: nn.Module) -> H:
    """Write the weights, then the header, each whole or not at all; returns the header with the hash of the weights."""
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    data = save_tensors({k: v.detach().cpu().clone().contiguous() for k, v in network.state_dict().items()})
    written = header.model_copy(update={"weights_sha256": hashlib.sha256(data).hexdigest()})
    write_whole(path / WEIGHTS, data)
    write_whole(path / HEADER, written.model_dump_json(indent=1).encode())
    return written


def read_model(directory: str | os.PathLike[str], kind: type[H]) -> tuple[H, dict[str, Tensor]]:
    """Header and weights of a model directory.

    Raises:
        InputError: a file is missing, torn, or does not belong to the other, or the header is of another kind.
    """
    path = Path(directory)
    try:
        header = kind.model_validate_json((path / HEADER).read_bytes())
        data = (path / WEIGHTS).read_bytes()
    except OSError as error:
        raise InputError(f"no model in {path}: {error.strerror} ({error.filename})") from error
    except ValidationError as error:
        raise InputError(f"{path / HEADER} is not a model header: {_first_line(error)}") from error
    if hashlib.sha256(data).hexdigest() != header.weights_sha256:
        raise InputError(f"{path / WEIGHTS} is torn, or does not belong to {HEADER} beside it")
    try:
        weights = load_tensors(data)
    except SafetensorError as error:
        raise InputError(f"{path / WEIGHTS} does not hold the network of {HEADER}") from error
    bad = [name for name, weight in weights.items() if not weight.isfinite().all()]
    if bad:
        raise InputError(f"{path / WEIGHTS}: {bad[0]} is not finite; train the model anew, or restore it from a copy")
    return header, weights


def fill(network: nn.Module, weights: dict[str, Tensor], directory: str | os.PathLike[str]) -> None:
    """Load weights into a network.

    Raises:
        InputError: they are of another network.
    """
    try:
        network.load_state_dict(weights)
    except (RuntimeError, KeyError) as error:
        raise InputError(f"{Path(directory) / WEIGHTS} does not hold the network of {HEADER}") from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _first_line(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(k) for k in first['loc'])}: {first['msg']}" if first["loc"] else str(first["msg"])
