"""The learner: a committee of VIMPNN networks that learns an energy surface from labelled structures.

Names are loaded when first used, so that importing the package imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calculator import KosselCalculator as KosselCalculator
    from .committee import Committee as Committee
    from .errors import InputError as InputError
    from .metrics import evaluate as evaluate
    from .paper.network import MPNN as MPNN
    from .prediction import Prediction as Prediction
    from .settings import NetworkSettings as NetworkSettings
    from .settings import TrainSettings as TrainSettings
    from .settings import UpdateSettings as UpdateSettings
    from .training import TrainResult as TrainResult
    from .training import UpdateResult as UpdateResult
    from .training import train as train
    from .training import update as update
    from .vimpnn import VIMPNN as VIMPNN

_HOMES = {
    "calculator": ("KosselCalculator",),
    "committee": ("Committee",),
    "errors": ("InputError",),
    "metrics": ("evaluate",),
    "paper.network": ("MPNN",),
    "prediction": ("Prediction",),
    "settings": ("NetworkSettings", "TrainSettings", "UpdateSettings"),
    "training": ("TrainResult", "UpdateResult", "train", "update"),
    "vimpnn": ("VIMPNN",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import an exported name from its module, once."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
