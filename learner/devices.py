"""Where networks are computed."""

from __future__ import annotations

import torch

from .errors import InputError
from .settings import DeviceName


def choose_device(name: DeviceName) -> torch.device:
    """The device of that name; "auto" is a GPU where this process sees one, else the CPU.

    Raises:
        InputError: a GPU is asked for and there is none.
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise InputError("device cuda: torch sees no GPU here; take auto or cpu, or install a CUDA build of torch")
    return torch.device("cuda" if found and name != "cpu" else "cpu")
