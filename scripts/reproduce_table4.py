"""Table 4: which combinations of auxiliary targets help VIMPNN on Augmented QM9?

    python scripts/reproduce_table4.py --scale small --workers 2

Claim: auxiliary physical targets lower the error of the energy, combined more than alone.
"""

import sys
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from learner.paper.settings import AUXILIARIES, PaperSettings, PaperTrainSettings
from reproduction.data import Data
from reproduction.runs import Run
from reproduction.scale import Scale, parse
from reproduction.tables import Row, compare, evaluated, markdown, summary, write


def rows(scale: Scale) -> list[Row]:
    """One row a subset of the auxiliaries."""
    data = Data("augmented-qm9", n=scale.n_molecules_variants, split="molecule")
    training = PaperTrainSettings(cpu_minutes=scale.cpu_minutes_variants)
    subsets = [subset for k in range(len(AUXILIARIES) + 1) for subset in combinations(AUXILIARIES, k)]
    return [
        Row(
            " + ".join(subset) or "none",
            tuple(Run(data, PaperSettings(auxiliaries=subset), training, seed) for seed in range(scale.n_seeds)),
        )
        for subset in subsets
    ]


def main() -> None:
    """Train what is missing, then write the table."""
    scale = parse(__doc__ or "")
    table = summary(evaluated(rows(scale), scale))
    claims = [compare(table, label, "none", "mae_ev") for label in table if label != "none"]
    columns = ("mae_ev", "mse_ev2", "relative_error", "dsc", "dsc_from_one", "minima_found")
    text = markdown(table, columns, "auxiliaries") + "\n\n" + "\n".join(f"* {claim}" for claim in claims)
    write("table4", scale, {"table": table, "claims": claims}, text)


if __name__ == "__main__":
    main()
