"""How wrong was the surrogate on each label before it learnt it? By stretches of a campaign, from its files alone.

    python scripts/honest_error.py docs/results/al55-gpaw/run
    python scripts/honest_error.py RUN --steps 10 --json errors.json

Labels that were asked about because they were in doubt, so that steps taken unasked were less wrong (the certificate
tells those). ΔE: of the asked rival against the drawn site. ± is the standard error of the mean.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.calibration import scores_of
from oracle.durable import read_lines, write_whole
from scripts.markdown import table


def stretches(run: Path, n_steps: int) -> list[dict[str, Any]]:
    """For every n_steps asked steps: sizes, and of each quantity the mean absolute error, its error, and how many."""
    lines = [
        line for line in read_lines(run / "metrics.jsonl") if line["what"] == "error" and line["reason"] == "query"
    ]
    groups = list(dict.fromkeys(line["group"] for line in lines if not line["group"].endswith("-again")))
    found = []
    for start in range(0, len(groups), n_steps):
        among = set(groups[start : start + n_steps])
        members = [line for line in lines if line["group"] in among]
        sizes = [line["carved_from"] or line["n_atoms"] for line in members]
        row: dict[str, Any] = {"steps": len(among), "atoms": [min(sizes), max(sizes)]}
        for name, scores in scores_of(members).items():
            errors = 1e3 * np.abs(scores.errors)
            spread = float(errors.std(ddof=1) / len(errors) ** 0.5) if len(errors) > 1 else None
            row[name] = {"mae": float(errors.mean()) if len(errors) else None, "error": spread, "n": len(errors)}
        forces = [1e3 * line["force_error_mean"] for line in members if line["drawn"]]
        row["force_components"] = {"mae": float(np.mean(forces)), "error": None, "n": len(forces)}
        found.append(row)
    return found


def told(of: dict[str, Any]) -> str:
    """Mean and its error."""
    if of["mae"] is None:
        return "–"
    return f"{of['mae']:.1f}" if of["error"] is None else f"{of['mae']:.1f} ± {of['error']:.1f}"


def main() -> None:
    """Print the table, and keep the numbers if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=10, help="asked steps in a row of the table")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if not (given.run / "metrics.jsonl").is_file():
        print(f"error: {given.run}: no metrics.jsonl; give a run directory", file=sys.stderr)
        sys.exit(2)
    found = stretches(given.run, given.steps)
    head = ["asked steps", "atoms", "energy, meV/atom", "forces, meV/Å", "worst force near the adatom", "ΔE, meV"]
    keys = ("energy", "force_components", "forces", "delta_e")
    rows = [[str(row["steps"]), "–".join(map(str, row["atoms"])), *(told(row[key]) for key in keys)] for row in found]
    print("\n".join(table(head, rows)))
    if given.json is not None:
        write_whole(given.json, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
