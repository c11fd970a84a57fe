"""Table 1: does each of the paper's strategies, taken alone, beat the baseline on Augmented QM9?

    python scripts/reproduce_table1.py --scale small --workers 2

Claim: bond types as an edge feature (MPNN), messages by bond type (VIMPNN) and each auxiliary target lower the error.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from learner.paper.settings import PaperSettings, PaperTrainSettings
from reproduction.data import Data
from reproduction.runs import Run
from reproduction.scale import Scale, parse
from reproduction.tables import Row, compare, evaluated, markdown, summary, write

BASELINE = PaperSettings(network="baseline")
STRATEGIES = {
    "baseline": BASELINE,
    "+ bond type as edge feature (MPNN)": PaperSettings(network="mpnn"),
    "+ messages by bond type (VIMPNN a.ii)": PaperSettings(),
    "+ auxiliary: atoms": BASELINE.model_copy(update={"auxiliaries": ("atoms",)}),
    "+ auxiliary: orbitals": BASELINE.model_copy(update={"auxiliaries": ("orbitals",)}),
    "+ auxiliary: scale": BASELINE.model_copy(update={"auxiliaries": ("scale",)}),
}
BEYOND = {
    "VIMPNN, messages concatenated (b.i)": PaperSettings(combination="b.i"),
    "VIMPNN, one message function a type": PaperSettings(message="per_type"),
    "VIMPNN with edge features too": PaperSettings(edge_features=True),
    "VIMPNN, soft valence channels": PaperSettings(bond_types="valence"),
    "VIMPNN, auxiliaries by atom": PaperSettings(auxiliaries=("atoms", "orbitals", "scale"), auxiliary_level="atom"),
}


def rows(scale: Scale) -> list[Row]:
    """One row a strategy; the same molecules, split and budget for all."""
    data = Data("augmented-qm9", n=scale.n_molecules, split="molecule")
    training = PaperTrainSettings(cpu_minutes=scale.cpu_minutes)
    return [
        Row(label, tuple(Run(data, network, training, seed) for seed in range(scale.n_seeds)))
        for label, network in (STRATEGIES | BEYOND).items()
    ]


def main() -> None:
    """Train what is missing, then write the table."""
    scale = parse(__doc__ or "")
    table = summary(evaluated(rows(scale), scale))
    columns = ("mae_ev", "mse_ev2", "relative_error", "dsc", "dsc_from_one", "minima_found")
    claims = [compare(table, label, "baseline", "mae_ev") for label in table if label != "baseline"]
    text = markdown(table, columns, "strategy") + "\n\n" + "\n".join(f"* {claim}" for claim in claims)
    write("table1", scale, {"table": table, "claims": claims}, text)


if __name__ == "__main__":
    main()
