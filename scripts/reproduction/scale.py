"""How large a reproduction is, and its command line."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Scale:
    """Sizes and budgets.

    Attributes:
        name: full, small or smoke.
        n_molecules: of Augmented QM9, for tables 1 and 2; n_molecules_variants: for tables 3 and 4.
        n_points: of Infinite Crystal, for each element.
        largest: atoms of the largest crystal that is learnt; beyond: atoms of the largest that is predicted.
        growth_limit: systems of Crystal Growth, None for all.
        cpu_minutes: budget of a network, on one core; cpu_minutes_variants: of one in tables 3 and 4.
        n_seeds: random seeds of a row.
        n_curves: test structures whose energy curve is compared with the oracle's.
        data, out: where datasets and results are kept.
        workers: networks that train at a time.
    """

    name: str
    n_molecules: int
    n_molecules_variants: int
    n_points: int
    largest: int
    beyond: int
    growth_limit: int | None
    cpu_minutes: float
    cpu_minutes_variants: float
    n_seeds: int
    n_curves: int
    data: Path = ROOT / "data" / "paper"
    out: Path = ROOT / "docs" / "results" / "paper"
    workers: int = 1


SCALES = {
    "full": Scale("full", 10_000, 10_000, 20_000, 75, 114, None, 60.0, 60.0, 3, 200),
    "small": Scale("small", 1_000, 300, 2_000, 75, 114, None, 2.0, 1.0, 3, 30),
    "smoke": Scale("smoke", 12, 12, 40, 16, 17, 80, 0.02, 0.02, 1, 2),
}


def parse(description: str, arguments: list[str] | None = None) -> Scale:
    """The scale that a command line asks for."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="small", help="full: the paper's sizes; smoke: seconds")
    parser.add_argument("--seeds", type=int, help="random seeds a row")
    parser.add_argument("--minutes", type=float, help="CPU minutes of each network, instead of the scale's own")
    parser.add_argument("--workers", type=int, default=1, help="networks that train at a time, one core each")
    parser.add_argument("--data", type=Path, help="where datasets are kept (default data/paper)")
    parser.add_argument("--out", type=Path, help="where results go (default docs/results/paper; smoke: DATA/smoke)")
    given = parser.parse_args(arguments)
    scale = replace(SCALES[given.scale], workers=given.workers)
    data = given.data or scale.data
    out = given.out or (data / "smoke" if scale.name == "smoke" else scale.out)
    scale = replace(scale, data=data, out=out, n_seeds=given.seeds or scale.n_seeds)
    if given.minutes:
        scale = replace(scale, cpu_minutes=given.minutes, cpu_minutes_variants=given.minutes)
    return scale
