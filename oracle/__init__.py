"""The oracle: labels of structures by density-functional theory, or by any cheaper method, and where they are kept.

>>> from oracle import Method
>>> Method.from_dict({"kind": "emt"}).cheap
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oracle.dataset import Dataset
    from oracle.errors import InputError
    from oracle.identity import uid
    from oracle.labelled import read_labelled
    from oracle.labeller import Labeller, label
    from oracle.methods import Method
    from oracle.outcome import FailedLabel
    from oracle.references import isolated_atoms
    from oracle.settings import LabelSettings

_HOMES = {
    "Dataset": "oracle.dataset",
    "FailedLabel": "oracle.outcome",
    "InputError": "oracle.errors",
    "LabelSettings": "oracle.settings",
    "Labeller": "oracle.labeller",
    "Method": "oracle.methods",
    "isolated_atoms": "oracle.references",
    "label": "oracle.labeller",
    "read_labelled": "oracle.labelled",
    "uid": "oracle.identity",
}
__all__ = [
    "Dataset",
    "FailedLabel",
    "InputError",
    "LabelSettings",
    "Labeller",
    "Method",
    "isolated_atoms",
    "label",
    "read_labelled",
    "uid",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for, so that `import oracle` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'oracle' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
