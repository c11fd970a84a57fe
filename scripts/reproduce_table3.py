"""Table 3: which way of combining the messages of the bond types is best on Augmented QM9?

    python scripts/reproduce_table3.py --scale small --workers 2

Claim: a.ii, a scalar weight for each bond type, is best. The paper leaves open whether the bond types share one message
function: both are shown.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduction.data import Data
from reproduction.runs import Run
from reproduction.scale import Scale, parse
from reproduction.tables import Row, compare, evaluated, markdown, summary, write

from learner.paper.settings import PaperSettings, PaperTrainSettings

COMBINATIONS = {
    "a.i": "vector weight",
    "a.ii": "scalar weight",
    "b.i": "concatenation",
    "b.ii": "one GRU, scaled",
    "c": "one GRU a type",
}


def rows(scale: Scale, message: str) -> list[Row]:
    """One row a combination."""
    data = Data("augmented-qm9", n=scale.n_molecules_variants, split="molecule")
    training = PaperTrainSettings(cpu_minutes=scale.cpu_minutes_variants)
    out = []
    for combination, words in COMBINATIONS.items():
        network = PaperSettings.model_validate({"combination": combination, "message": message})
        runs = tuple(Run(data, network, training, seed) for seed in range(scale.n_seeds))
        out.append(Row(f"{combination} {words}", runs))
    return out


def main() -> None:
    """Train what is missing, then write the table."""
    scale = parse(__doc__ or "")
    tables, parts, claims = {}, [], []
    for message, words in (("shared", "one message function"), ("per_type", "a message function for each type")):
        tables[words] = table = summary(evaluated(rows(scale, message), scale))
        best = "a.ii scalar weight"
        claims += [f"{words}: {compare(table, best, other, 'mae_ev')}" for other in table if other != best]
        columns = ("mae_ev", "mse_ev2", "relative_error", "dsc", "dsc_from_one", "minima_found")
        parts += [f"**{words.capitalize()}**", "", markdown(table, columns, "combination"), ""]
    write("table3", scale, {"tables": tables, "claims": claims}, "\n".join([*parts, *(f"* {c}" for c in claims)]))


if __name__ == "__main__":
    main()
