"""The paper's three datasets as structures and splits; labels are made elsewhere.

`augmented_qm9`, `infinite_crystal` and `crystal_growth` return systems in a fixed order; `splits` cuts them.

Source: "VIMPNN: a physics informed DNN to estimate potential energies of unstable systems" (2019).
"""

from learner.benchmarks.crystal_growth import crystal_growth
from learner.benchmarks.infinite_crystal import infinite_crystal
from learner.benchmarks.qm9 import augmented_qm9
from learner.benchmarks.splits import (
    Split,
    split_by_growth_seed,
    split_by_molecule,
    split_by_scale,
    split_randomly,
)
from learner.benchmarks.system import SCALES, Info, System

__all__ = [
    "SCALES",
    "Info",
    "Split",
    "System",
    "augmented_qm9",
    "crystal_growth",
    "infinite_crystal",
    "split_by_growth_seed",
    "split_by_molecule",
    "split_by_scale",
    "split_randomly",
]
