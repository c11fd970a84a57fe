"""Why a strategy does, or does not, beat the baseline: optimisation, capacity, or what the training set can teach?

    python scripts/reproduce_convergence.py --scale small --workers 2

Baseline, MPNN and VIMPNN (scalar weight, the default, and concatenation) on Augmented QM9, at the budget of table 1 and
at four times that, with the width of table 1 and twice that. An error on the training structures as large as on the
test structures is one of optimisation or capacity; a gap between them is what more molecules would close. The learning
curves show what was still falling.

Long range: whether errors grow with the share of pairs of atoms that lie further apart than the cutoff of a message.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

mpl.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from learner.data import read_labels
from learner.paper.settings import PaperSettings, PaperTrainSettings
from reproduction.data import Data, load
from reproduction.runs import Run, energies_of, model_of
from reproduction.scale import Scale, parse
from reproduction.tables import Result, Row, cell, evaluated, n_atoms_of, summary, write

NETWORKS = {
    "baseline": {"network": "baseline"},
    "MPNN": {"network": "mpnn"},
    "VIMPNN a.ii": {"network": "vimpnn"},
    "VIMPNN b.i": {"network": "vimpnn", "combination": "b.i"},
}
LONGER = 4
"""How many times the budget of table 1."""
SAMPLE = 10
"""Every tenth training structure is looked at."""


def groups(scale: Scale) -> dict[str, list[Row]]:
    """Rows for each width and budget; table 1's own have all seeds, the others one."""
    width = PaperSettings().n_features
    plan = [(width, 1, scale.n_seeds), (width, LONGER, 1), (2 * width, LONGER, 1)]
    data = Data("augmented-qm9", n=scale.n_molecules, split="molecule")
    out = {}
    for features, times, n_seeds in plan:
        training = PaperTrainSettings(cpu_minutes=times * scale.cpu_minutes)
        out[f"width {features}, {training.cpu_minutes:g} minutes"] = [
            Row(
                label,
                tuple(
                    Run(data, PaperSettings.model_validate(network | {"n_features": features}), training, seed)
                    for seed in range(n_seeds)
                ),
            )
            for label, network in NETWORKS.items()
        ]
    return out


def training_error(run: Run, scale: Scale) -> float:
    """MAE (eV) of the trained network on structures that it learnt."""
    sample = load(run.data, scale, run.seed).train[::SAMPLE]
    true = np.array([label.energy for label in read_labels(sample)])
    return float(np.abs(energies_of(model_of(run, scale))(sample) - true).mean())


def long_range(run: Run, result: Result, scale: Scale) -> tuple[str, dict[str, float | list[float]]]:
    """Pairs of atoms beyond what a message, and all steps, reach in the test set, and how errors go with them."""
    assert isinstance(run.network, PaperSettings)
    cutoff, reach = run.network.cutoff, run.network.n_steps * run.network.cutoff
    pairs = [pdist(a.positions) for a in load(run.data, scale, run.seed).test]
    share, every = np.array([(r > cutoff).mean() for r in pairs]), np.concatenate(pairs)
    error = np.abs(np.subtract(result["test"]["predicted"], result["test"]["true"])) / n_atoms_of(result)
    by_scale = [np.array(result["test"]["scale"]) == value for value in sorted(set(result["test"]["scale"]))]
    ranks = [float(spearmanr(share[i], error[i]).statistic) for i in by_scale if np.ptp(share[i]) > 0]
    beyond_cutoff, beyond_reach = (float((every > distance).mean()) for distance in (cutoff, reach))
    text = (
        f"Long range: {100 * beyond_cutoff:.1f} % of the pairs of atoms in the test set are more than {cutoff:g} Å "
        f"apart, the cutoff, and {100 * beyond_reach:.2f} % more than {reach:g} Å, what all steps reach. Rank "
        f"correlation of the error per atom (baseline, seed {run.seed}) with the share beyond the cutoff, within a "
        f"scale, mean (std) over the scales where that share varies: {cell(ranks, digits=2)}."
    )
    return text, {"beyond_cutoff": beyond_cutoff, "beyond_reach": beyond_reach, "spearman_by_scale": ranks}


def draw(found: dict[str, dict[str, list[Result]]], scale: Scale) -> None:
    """Learning curves: validation error against CPU minutes."""
    figure, axes = plt.subplots(1, len(found), figsize=(12, 4), sharey=True, layout="constrained")
    for axis, (title, of_network) in zip(axes, found.items(), strict=True):
        for label, results in of_network.items():
            key = "validation_energy_mae_mev_per_atom"
            minutes, errors = (np.array([[h[k] for h in r["history"]] for r in results]) for k in ("cpu_minutes", key))
            axis.plot(minutes.mean(0), errors.mean(0), label=label)
        axis.set(title=title, xlabel="CPU minutes", yscale="log", xscale="log")
    axes[0].set_ylabel("validation MAE, meV/atom")
    axes[0].legend()
    figure.savefig(scale.out / "convergence.png", dpi=130)
    plt.close(figure)


def main() -> None:
    """Train what is missing, then write the table and the learning curves."""
    scale = parse(__doc__ or "")
    head = "training MAE, eV | test MAE, eV | test / training | last fifth, % | steps"
    lines, table, found = [f"| network | {head} |", "|---|---|---|---|---|---|"], {}, {}
    plan = groups(scale)
    for group, rows in plan.items():
        found[group] = evaluated(rows, scale)
        measured = summary(found[group])
        for row in rows:
            train = [training_error(run, scale) for run in row.runs]
            of_row = table[f"{row.label}, {group}"] = measured[row.label] | {"train_mae_ev": train}
            test, falling, steps = (of_row[key] for key in ("mae_ev", "unconverged", "steps"))
            cells = [cell(train), cell(test), cell(np.divide(test, train), 1.0, 2), cell(falling, 100.0, 0)]
            lines.append(f"| {row.label}, {group} | {' | '.join(cells)} | {np.mean(steps):.0f} |")
    group, (row, *_) = next(iter(plan.items()))
    text, reach = long_range(row.runs[0], found[group][row.label][0], scale)
    lines += ["", "Last fifth: by how much the validation error fell in the last fifth of the budget.", "", text]
    write("convergence", scale, {"table": table, "long_range": reach}, "\n".join(lines))
    draw(found, scale)


if __name__ == "__main__":
    main()
