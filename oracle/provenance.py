"""Where, when and with what labels were made, and what failed: the records beside a dataset's segments."""

from __future__ import annotations

import functools
import socket
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from oracle.outcome import FailedLabel
from oracle.worker import pack, unpack


def label_record(uid: str, origin: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a label: time, host and versions of now, then what `origin` says itself."""
    return {"uid": uid, "time": round(time.time(), 3), "host": socket.gethostname(), "versions": _versions(), **origin}


@functools.cache
def _versions() -> dict[str, str]:
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    return versions | {
        name: version(name) for name in ("ase", "numpy", "gpaw", "tblite") if find_spec(name) is not None
    }


def failure_record(uid: str, failure: FailedLabel) -> dict[str, Any]:
    """Return the record of a structure that got no label."""
    return {
        "uid": uid,
        "reason": failure.reason,
        "detail": failure.detail,
        "info": _scalars(failure.structure.info),
        "structure": pack(failure.structure),
        "time": round(time.time(), 3),
        "host": socket.gethostname(),
    }


def _scalars(info: dict[str, Any]) -> dict[str, Any]:
    """Return what JSON can hold of `info`; numbers of numpy become Python's."""
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in info.items()}
    return {key: value for key, value in plain.items() if isinstance(value, str | int | float)}


def failure_of(record: dict[str, Any]) -> FailedLabel:
    """Return the failure of a record."""
    structure = unpack(record["structure"])
    structure.info = dict(record["info"])
    return FailedLabel(structure, record["reason"], record["detail"])
