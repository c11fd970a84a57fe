"""Table 3: which way of combining the messages of the bond types is best on Augmented QM9?

    python scripts/reproduce_table3.py --scale small --workers 2

Claim: a.ii, a scalar weight for each bond type, is best. The paper leaves open whether the bond types share one message
function: both are shown, after the networks that do not tell messages apart.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from learner.paper.settings import PaperSettings, PaperTrainSettings
from reproduction.data import Data
from reproduction.runs import Run
from reproduction.scale import Scale, parse
from reproduction.tables import Row, compare, evaluated, markdown, summary, write

COMBINATIONS = {
    "a.i": "vector weight",
    "a.ii": "scalar weight",
    "b.i": "concatenation",
    "b.ii": "one GRU, scaled",
    "c": "one GRU a type",
}


PLAIN = {"baseline": PaperSettings(network="baseline"), "MPNN": PaperSettings(network="mpnn")}
BEST = "a.ii scalar weight"


def combined(message: str) -> dict[str, PaperSettings]:
    """VIMPNN with each combination."""
    return {
        f"{combination} {words}": PaperSettings.model_validate({"combination": combination, "message": message})
        for combination, words in COMBINATIONS.items()
    }


def rows(scale: Scale, networks: dict[str, PaperSettings]) -> list[Row]:
    """One row a network."""
    data = Data("augmented-qm9", n=scale.n_molecules_variants, split="molecule")
    training = PaperTrainSettings(cpu_minutes=scale.cpu_minutes_variants)
    return [
        Row(label, tuple(Run(data, network, training, seed) for seed in range(scale.n_seeds)))
        for label, network in networks.items()
    ]


def main() -> None:
    """Train what is missing, then write the table."""
    scale = parse(__doc__ or "")
    columns = ("mae_ev", "mse_ev2", "relative_error", "dsc", "dsc_from_one", "minima_found")
    plain = summary(evaluated(rows(scale, PLAIN), scale))
    tables = {"no combination": plain}
    parts, claims = ["**No combination**", "", markdown(plain, columns, "network"), ""], []
    for message, words in (("shared", "one message function"), ("per_type", "a message function for each type")):
        tables[words] = table = summary(evaluated(rows(scale, combined(message)), scale))
        claims += [f"{words}: {compare(table, BEST, other, 'mae_ev')}" for other in table if other != BEST]
        claims += [f"{words}: {compare(table | plain, label, 'MPNN', 'mae_ev')}" for label in table]
        parts += [f"**{words.capitalize()}**", "", markdown(table, columns, "combination"), ""]
    write("table3", scale, {"tables": tables, "claims": claims}, "\n".join([*parts, *(f"* {c}" for c in claims)]))


if __name__ == "__main__":
    main()
