"""Which systems `kossel make-dataset` labels: one of the paper's three datasets and what it is made with."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from growth.errors import InputError
from learner.benchmarks import System, augmented_qm9, crystal_growth, infinite_crystal
from learner.benchmarks.crystal_growth import LARGEST_SIZE, LEAST_SIZE
from learner.benchmarks.fcc import LATTICE_CONSTANTS

USED = {
    "augmented-qm9": {"limit", "qm9"},
    "infinite-crystal": {"limit", "lattice_constants"},
    "crystal-growth": {"limit", "sizes", "seed", "lattice_constants"},
}


@dataclass(frozen=True)
class BenchmarkSettings:
    """A benchmark and its settings; one that means nothing to the benchmark is refused.

    Attributes:
        benchmark: augmented-qm9, infinite-crystal or crystal-growth.
        limit: a part of it, evenly spread: molecules (augmented-qm9), points of each element (infinite-crystal),
            structures (crystal-growth). By default all.
        sizes: crystal-growth: least and largest number of atoms.
        seed: crystal-growth: random seed of the growth seeds.
        lattice_constants: Å at scale 1, by element.
        qm9: augmented-qm9: QM9's files where the package qm9pack is not to be used.

    Raises:
        InputError: no such benchmark, a setting that it does not have, or a seed below 0.
    """

    benchmark: str
    limit: int | None = None
    sizes: tuple[int, int] = (LEAST_SIZE, LARGEST_SIZE)
    seed: int = 0
    lattice_constants: dict[str, float] = field(default_factory=lambda: dict(LATTICE_CONSTANTS))
    qm9: Path | None = None

    def __post_init__(self) -> None:
        if self.benchmark not in USED:
            near = difflib.get_close_matches(self.benchmark, USED, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(USED)}"
            raise InputError(f"benchmark is {self.benchmark!r}; {hint}")
        for setting in fields(self)[1:]:
            given = getattr(self, setting.name)
            default = LATTICE_CONSTANTS if setting.name == "lattice_constants" else setting.default
            if given != default and setting.name not in USED[self.benchmark]:
                takes = ", ".join(_option(name) for name in sorted(USED[self.benchmark]))
                raise InputError(f"{_option(setting.name)} means nothing for {self.benchmark}, which takes {takes}")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}, expected 0 or more")

    def to_dict(self) -> dict[str, Any]:
        """What the benchmark is made with, as JSON-like data; where QM9 was read from is left out."""
        kept = {"benchmark"} | USED[self.benchmark] - {"qm9"}
        plain = {**asdict(self), "sizes": list(self.sizes)}
        return {name: value for name, value in plain.items() if name in kept}

    def systems(self) -> list[System]:
        """The systems in their order.

        Raises:
            learner.InputError: sizes or limit out of range, QM9 cannot be read.
        """
        make: dict[str, Callable[[], list[System]]] = {
            "augmented-qm9": lambda: augmented_qm9(self.qm9, self.limit),
            "infinite-crystal": lambda: infinite_crystal(self.limit, self.lattice_constants),
            "crystal-growth": lambda: crystal_growth(self.sizes, self.seed, self.limit, self.lattice_constants),
        }
        return make[self.benchmark]()


def parse_sizes(text: str | None) -> tuple[int, int]:
    """Least and largest number of atoms.

    Raises:
        InputError: not two whole numbers with a hyphen between.

    >>> parse_sizes("15-75"), parse_sizes(None)
    ((15, 75), (15, 114))
    """
    if text is None:
        return LEAST_SIZE, LARGEST_SIZE
    low, _, high = text.partition("-")
    if not (low.isdecimal() and high.isdecimal()):
        raise InputError(f"sizes are {text!r}, expected least and largest number of atoms, such as 15-75")
    return int(low), int(high)


def parse_lattice_constants(texts: Sequence[str]) -> dict[str, float]:
    """Lattice constants in Å: the measured ones, some replaced.

    Raises:
        InputError: not an element of the benchmark and a positive number.

    >>> parse_lattice_constants(["Al=3.995"])
    {'Al': 3.995, 'Cu': 3.61}
    """
    constants = dict(LATTICE_CONSTANTS)
    for text in texts:
        species, _, value = text.partition("=")
        try:
            a = float(value)
        except ValueError:
            a = 0.0
        if species not in constants or not 0.0 < a < 100.0:
            raise InputError(f"lattice constant {text!r}: expected {' or '.join(constants)} and Å, such as Al=3.995")
        constants[species] = a
    return constants


def _option(name: str) -> str:
    return "--" + name.replace("_", "-").removesuffix("s") if name == "lattice_constants" else f"--{name}"
