"""What an exploration has found so far, on disk: a line a round, so that an interrupted study goes on where it was."""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from growth.errors import InputError
from growth.study.landscape import Saddle, Stationary
from oracle.durable import append_lines, mend_lines, read_lines


def open_checkpoint(path: Path | None, header: dict[str, Any], seed: int) -> tuple[int, list[dict[str, Any]]]:
    """Begin a checkpoint, or read what an interrupted study of the same kind left.

    Args:
        path: None: nothing is kept. header: what must agree for the rounds to be of use. seed: of a new study.

    Returns:
        The seed of the study that is gone on with, and its rounds.

    Raises:
        InputError: the file is of another study.
    """
    if path is None:
        return seed, []
    mend_lines(path, up_to_damage=True)
    lines = read_lines(path)
    if not lines:
        path.parent.mkdir(parents=True, exist_ok=True)
        append_lines(path, [{**header, "seed": seed}])
        return seed, []
    first, *rounds = lines
    differing = [key for key, value in header.items() if first.get(key) != value]
    if differing:
        raise InputError(
            f"{path}: expected a checkpoint of this study, but its {' and '.join(differing)} differ; "
            "choose another folder, or remove the file to begin anew"
        )
    return int(first["seed"]), rounds


def record_of(point: Stationary) -> dict[str, Any]:
    """A minimum or saddle as JSON; numbers come back exactly."""
    record = {
        "positions": point.structure.positions.tolist(),
        "energy": point.energy,
        "member_energies": point.member_energies.tolist(),
        "order": point.order,
        "log_frequencies": point.log_frequencies,
        "n_unstable": point.n_unstable,
    }
    if isinstance(point, Saddle):
        record |= {"ends": list(point.ends), "final": point.final.positions.tolist()}
    return record


def minimum_of(record: dict[str, Any], template: Atoms) -> Stationary:
    """What `record_of` made of a minimum; template has its species, cell and constraints."""
    return Stationary(**_fields(record, template))


def saddle_of(record: dict[str, Any], template: Atoms) -> Saddle:
    """What `record_of` made of a saddle."""
    final = _placed(template, record["final"])
    return Saddle(**_fields(record, template), ends=(record["ends"][0], record["ends"][1]), final=final)


def _fields(record: dict[str, Any], template: Atoms) -> dict[str, Any]:
    return {
        "structure": _placed(template, record["positions"]),
        "energy": float(record["energy"]),
        "member_energies": np.array(record["member_energies"], dtype=float),
        "order": int(record["order"]),
        "log_frequencies": float(record["log_frequencies"]),
        "n_unstable": int(record["n_unstable"]),
    }


def _placed(template: Atoms, positions: list[list[float]]) -> Atoms:
    structure = template.copy()
    structure.positions = np.array(positions)
    return structure
