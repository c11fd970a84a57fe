"""Does asking where the committee is unsure pay? Growth on EMT as teacher, with four ways to spend the same labels.

    python scripts/benchmark_active_learning.py                     (40 runs, some two minutes each on one core)
    python scripts/benchmark_active_learning.py --seeds 0 --budgets 50
    python scripts/benchmark_active_learning.py --second 0 1 2      (campaigns that begin with another's labels)
    python scripts/benchmark_active_learning.py --audited 0 1 2     (campaigns that audit half of the sure steps)
    python scripts/benchmark_active_learning.py --page              (the page from the runs that are there)

Two walkers grow Al from 14 to 60 atoms. The budget counts every label: 24 to begin with, the rest by arm: `committee`
asks where an error beyond the tolerances (50 meV for ΔE, 8 meV/atom, 0.1 eV/Å) is likelier than the risk (10 %) and
audits one in twenty of the sure steps, spread over the growth where labels are short; `unpaced` is the same, first come
first served; `random` asks at any step, with the chance that spends the budget; `nothing` learns
once, from an initial set of the whole budget. Scored on steps that each run took unasked, drawn by chance and labelled
afterwards, and by the last model on sites of crystals that the teacher itself grew. A run that is there is not made
again, so several processes can share the work by seeds.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.calibration import LEVEL
from growth.certificate import delta_e_errors
from growth.config import load_config
from growth.emt import EMTModel
from growth.run import launch
from growth.seeds import make_seed
from growth.simulator import GrowthSettings, grow
from growth.sites import Site
from learner.committee import Committee
from learner.conformal import coverage
from oracle.durable import write_whole
from scripts.markdown import mean_and_error, plus_minus, table

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "growth" / "configs" / "al_emt.yaml"
OUT = ROOT / "docs" / "results" / "active-learning"
ARMS = {"committee": "C3", "unpaced": "C1", "random": "C0", "nothing": "C7"}
N_ATOMS, N_SEED, WALKERS, INITIAL = 60, 14, 2, 24
LATER = N_SEED + 20
"""Atoms from which on labels per added atom are counted."""
QUANTITIES = {"delta_e": "ΔE", "energy": "energy per atom", "forces": "worst force near the adatom"}


def overrides(arm: str, budget: int, seed: int) -> list[str]:
    """What a run changes in the demo's config."""
    chance = min(1.0, (budget - INITIAL) / (2 * WALKERS * (N_ATOMS - N_SEED)))
    return [
        "pool=serial",
        f"seed={seed}",
        f"walkers={WALKERS}",
        f"growth.n_atoms={N_ATOMS}",
        f"initial.n={budget if arm == 'nothing' else INITIAL}",
        f"budget.labels={budget}",
        f"ask.arm={'committee' if arm == 'unpaced' else arm}",
        f"budget.paced={arm != 'unpaced'}",
        f"ask.random_probability={chance}",
        "ask.force_tolerance=0.1",
        "certificate={path_steps: 60, site_steps: 60}",
    ]


def teacher_grown(n_crystals: int = 3, every: int = 3) -> list[list[Site]]:
    """Competing sites, with EMT's energies and forces, of every so many steps of crystals that EMT itself grew."""
    config, steps = load_config(DEMO), []
    rules = GrowthSettings.model_validate({**config.growth.model_dump(), "n_atoms": N_ATOMS})
    for k in range(n_crystals):
        grown = grow(make_seed(config.structure), EMTModel(["Al"]), rules, 1000 + k)
        steps += [info["proposals"][0].sites for n, (_, info) in enumerate(grown) if n % every == 1]
    return steps


def on_teacher_grown(model: Committee, steps: Sequence[Sequence[Site]]) -> dict[str, float]:
    """Errors of a model on sites of the teacher: eV/atom, eV/Å, eV, and how often the best site comes first."""
    energy, force, delta_e, first = [], [], [], 0
    for sites in steps:
        found = model([site.structure for site in sites])
        truth = np.array([site.energy for site in sites])
        energy += list(np.abs(found.energies - truth) / len(sites[0].structure))
        force += [float(np.abs(f - site.forces).mean()) for f, site in zip(found.forces, sites, strict=True)]
        delta_e += list(np.abs(delta_e_errors(found.energies, truth)))
        first += bool(found.energies.argmin() == truth.argmin())
    means = {"energy": float(np.mean(energy)), "force": float(np.mean(force)), "delta_e": float(np.mean(delta_e))}
    return {**means, "first": first / len(steps)}


def measured(settings: Sequence[str], steps: Sequence[Sequence[Site]], run: Path) -> dict[str, Any]:
    """One campaign and what came of it."""
    launch(load_config(DEMO, settings), run)
    certificate = json.loads((run / "certificate.json").read_text())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    asked = [line for line in lines if line["what"] == "error"]
    models = [line for line in lines if line["what"] == "model"]
    last = sorted((run / "models").glob("v*"))[-1]
    finals = [final["relaxed_energy"] / final["n_atoms"] for final in certificate["final_relaxed"]]
    given = max((line["n_labels"] for line in lines if line["what"] == "given"), default=0)
    return {
        "labels": json.loads((run / "summary.json").read_text())["labels"] - given,
        "elapsed_s": models[-1]["elapsed_s"],
        "labels_per_later_atom": sum(line["n_atoms"] > LATER for line in asked) / (WALKERS * (N_ATOMS - LATER)),
        "certificate": {k: v for k, v in certificate.items() if k not in ("path", "final", "final_relaxed")},
        "path": [[p["n_atoms"], p["energy_error"] / p["n_atoms"], p["force_mae"]] for p in certificate["path"]],
        "teacher_grown": on_teacher_grown(Committee.load(last), steps),
        "final_energy_per_atom": float(np.mean(finals)),
    }


def built_on_another(seed: int, steps: Sequence[Sequence[Site]], scratch: Path) -> dict[str, Any]:
    """A campaign from nothing, and one with another seed that begins with its labels; no budget ends either."""
    first, unlimited = scratch / "first", "budget.labels=null"
    own = measured([*overrides("committee", 150, seed), unlimited], steps, first)
    given = [unlimited, "initial.n=0", f"initial.labelled=[{first / 'dataset'}]"]
    later = measured([*overrides("committee", 150, seed + 100), *given], steps, scratch / "second")
    return {"seed": seed, "first": own, "second": later}


def much_audited(seed: int, steps: Sequence[Sequence[Site]], scratch: Path) -> dict[str, Any]:
    """A campaign that audits half of its sure steps, so that these alone tell whether promises are kept."""
    much = ["budget.labels=null", "ask.audit_probability=0.5"]
    return {"seed": seed, **measured([*overrides("committee", 150, seed), *much], steps, scratch / "run")}


# ---------------------------------------------------------------------- the page


FIGURES: dict[str, tuple[str, Any, int]] = {
    "ΔE, meV": ("accepted", lambda r: r["certificate"]["delta_e_mae_mev"], 1),
    "energy, meV/atom": ("accepted", lambda r: r["certificate"]["energy_mae_mev_per_atom"], 1),
    "forces, meV/Å": ("accepted", lambda r: r["certificate"]["force_mae_mev_per_A"], 1),
    "best site first, %": (
        "accepted",
        lambda r: 100 * r["certificate"]["best_site_first"] / max(r["certificate"]["n_site_steps"], 1),
        0,
    ),
    "ΔE, meV ": ("teacher", lambda r: 1e3 * r["teacher_grown"]["delta_e"], 1),
    "energy, meV/atom ": ("teacher", lambda r: 1e3 * r["teacher_grown"]["energy"], 1),
    "best site first, % ": ("teacher", lambda r: 100 * r["teacher_grown"]["first"], 0),
    "final energy, eV/atom": ("crystal", lambda r: r["final_energy_per_atom"], 4),
}


def cells(names: Sequence[str], runs: Sequence[dict[str, Any]]) -> list[str]:
    """Some of the figures, over runs."""
    return [plus_minus([FIGURES[name][1](run) for run in runs], FIGURES[name][2]) for name in names]


UNLIKE = (
    "Each arm is scored on the steps that it chose not to ask about, most of them late where it asks early, so these "
    "figures say what a run may be trusted with; arms compare better by the table below."
)


def by_arm(runs: Sequence[dict[str, Any]]) -> list[tuple[str, int, list[dict[str, Any]]]]:
    """Runs by arm and budget."""
    budgets = sorted({run["budget"] for run in runs})
    groups = [(a, b, [r for r in runs if (r["arm"], r["budget"]) == (a, b)]) for b in budgets for a in ARMS]
    return [(arm, budget, group) for arm, budget, group in groups if group]


def distinct(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs that came out differently: with labels enough, a paced run is the same as one that is not."""
    kept: list[dict[str, Any]] = []
    for run in runs:
        if all(run["path"] != other["path"] for other in kept):
            kept.append(run)
    return kept


def pooled(runs: Sequence[dict[str, Any]], name: str, where: Sequence[str]) -> dict[str, Any]:
    """Shares of one quantity over all audits and steps labelled afterwards of some runs, with exact intervals."""
    n, covered, missed = 0, 0.0, 0.0
    for run in runs:
        for part in where:
            told = run["certificate"]["intervals"][part][name]
            if told["n"]:
                n += told["n"]
                covered += round(told["coverage"]["share"] * told["n"])
                missed += round(told["missed"]["share"] * told["n"])

    def share(hits: float) -> tuple[float, float, float]:
        errors = np.concatenate([np.zeros(int(hits)), np.ones(n - int(hits))])
        return tuple(coverage(errors, np.full(n, 0.5)))

    return {"n": n, "coverage": share(covered), "missed": share(missed)}


def percent(share: tuple[float, float, float]) -> str:
    """A share and its interval."""
    return "–" if not np.isfinite(share[0]) else f"{100 * share[0]:.1f} ({100 * share[1]:.1f} to {100 * share[2]:.1f})"


def plot(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Errors against budget, and along the growth."""
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 6))
    names = ["ΔE, meV", "best site first, %", "final energy, eV/atom", "ΔE, meV ", "best site first, % "]
    for axis, name in zip(axes.flat, names, strict=False):
        where, value, _ = FIGURES[name]
        for arm, colour in ARMS.items():
            groups = [(b, [value(r) for r in g]) for a, b, g in by_arm(runs) if a == arm]
            points = np.array([(b, *mean_and_error(values)) for b, values in groups]).reshape(-1, 3)
            axis.errorbar(points[:, 0], points[:, 1], np.nan_to_num(points[:, 2]), marker="o", color=colour, label=arm)
        axis.set(xlabel="labels", ylabel=name.strip())
        axis.set_title({"accepted": "accepted unasked", "teacher": "sites of the teacher", "crystal": ""}[where])
    axis, edges = axes.flat[5], np.arange(N_SEED, N_ATOMS + 1, 6)
    largest = max(run["budget"] for run in runs)
    for arm, colour in ARMS.items():
        curves = []
        for run in (r for r in runs if (r["arm"], r["budget"]) == (arm, largest) and r["path"]):
            n_atoms, error, _ = np.array(run["path"]).T
            bins = [np.abs(error[(n_atoms > a) & (n_atoms <= a + 6)]) for a in edges[:-1]]
            curves.append([1e3 * b.mean() if len(b) else np.nan for b in bins])
        if curves:
            there = np.isfinite(curves).any(axis=0)
            found = np.array(curves)[:, there]
            n = np.isfinite(found).sum(axis=0)
            spread = np.nanstd(found, axis=0) / np.sqrt(np.maximum(n - 1, 1))
            axis.errorbar(edges[:-1][there] + 3, np.nanmean(found, axis=0), spread, marker="o", color=colour)
    axis.set(xlabel="atoms", ylabel="energy, meV/atom", title=f"accepted unasked, {largest} labels", yscale="log")
    axes.flat[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def kept_by_run(runs: Sequence[dict[str, Any]], name: str) -> str:
    """Of each run with audits: how many of them were within the interval, of how many."""
    told = [run["certificate"]["intervals"]["audits"][name] for run in runs]
    return ", ".join(f"{round(t['coverage']['share'] * t['n'])}/{t['n']}" for t in told if t["n"])


def page(runs: Sequence[dict[str, Any]], pairs: Sequence[dict[str, Any]], audited: Sequence[dict[str, Any]]) -> str:
    """What came out."""
    rules = (__doc__ or "").split("\n\n")[2].replace("\n", " ").strip()
    lines = ["# Asking where the committee is unsure, against asking at random", ""]
    lines += [f"{rules} (`python scripts/benchmark_active_learning.py`)", ""]
    lines += ["![curves](active-learning/curves.png)", "", "Mean and standard error over seeds.", ""]
    accepted = [name for name, (where, *_) in FIGURES.items() if where == "accepted"]
    others = [name for name in FIGURES if name not in accepted]
    for title, names in (
        ("On steps taken unasked", accepted),
        ("The last model on sites that the teacher grew, and the crystals relaxed by it", others),
    ):
        rows = []
        for arm, budget, group in by_arm(runs):
            counted = [str(len(group)), plus_minus([r["labels"] for r in group], 0)]
            rows.append([str(budget), arm, *counted, *cells(names, group)])
        lines += [
            f"## {title}",
            "",
            *([UNLIKE, ""] if names is accepted else []),
            *table(["budget", "arm", "seeds", "labels", *names], rows),
        ]
    own = distinct([run for run in runs if run["arm"] in ("committee", "unpaced")])
    lines += ["## Does the committee keep its promises?", ""]
    lines += [
        "Of sure steps of the committee's runs, paced or not (runs that are the same count once), drawn by chance:",
        "those audited while the run went on, and all, with those labelled afterwards. *Held*: share, %, within the",
        f"interval promised when the step was taken, at {100 * LEVEL:.0f} %. *Beyond*: share, %, of errors beyond the",
        "tolerance. Exact intervals at 95 % confidence.",
        "",
    ]
    rows = []
    for name, title in QUANTITIES.items():
        for budget in [*sorted({run["budget"] for run in own}), None]:
            group = [run for run in own if budget in (None, run["budget"])]
            audits, both = (pooled(group, name, where) for where in (["audits"], ["audits", "afterwards"]))
            budget_name = "all" if budget is None else str(budget)
            shares = [percent(p[key]) for p in (audits, both) for key in ("coverage", "missed")]
            rows.append([title, budget_name, str(audits["n"]), *shares[:2], str(both["n"]), *shares[2:]])
    lines += table(["", "budget", "audits", "held", "beyond", "all", "held", "beyond"], rows)
    if audited:
        lines += [
            f"By audits alone: {len(audited)} more campaigns, with no end to the budget, audit half of the sure steps",
            f"({plus_minus([r['labels'] for r in audited], 0)} labels each; an audit is learnt too). Steps of one run",
            "share its models, and their errors are alike; hence also by run.",
            "",
        ]
        rows = []
        for name, title in QUANTITIES.items():
            live = pooled(audited, name, ["audits"])
            shares = [percent(live[key]) for key in ("coverage", "missed")]
            rows.append([title, str(live["n"]), *shares, kept_by_run(audited, name)])
        lines += table(["", "audits", "held", "beyond", "held, by run"], rows)
    lines += [f"## Labels per added atom beyond {LATER} atoms", ""]
    groups = [g for g in by_arm(runs) if g[0] != "nothing"]
    per_atom = [[str(b), a, plus_minus([r["labels_per_later_atom"] for r in g], 2)] for a, b, g in groups]
    lines += table(["budget", "arm", "labels an atom"], per_atom)
    if pairs:
        lines += [
            "## A campaign that begins with another's labels",
            "",
            "Committee, no end to the budget, the same tolerances and risk; the second has another seed.",
            "",
        ]
        rows = []
        for title, which in (("from nothing", "first"), ("built on it", "second")):
            group = [pair[which] for pair in pairs]
            rows.append([title, str(len(group)), plus_minus([r["labels"] for r in group], 0), *cells(accepted, group)])
        share = plus_minus([pair["second"]["labels"] / pair["first"]["labels"] for pair in pairs], 2)
        lines += table(["campaign", "seeds", "own labels", *accepted], rows)
        lines += [f"The second asks for {share} of the labels of the first.", ""]
    return "\n".join(lines)


def main() -> None:
    """Make the runs that are not there yet; write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--budgets", type=int, nargs="+", default=[50, 150])
    parser.add_argument("--arms", choices=list(ARMS), nargs="+", default=list(ARMS))
    parser.add_argument("--second", type=int, nargs="+", default=[], metavar="SEED", help="only campaigns on campaigns")
    parser.add_argument("--audited", type=int, nargs="+", default=[], metavar="SEED", help="only these campaigns")
    parser.add_argument("--page", action="store_true", help="only the page")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    (given.out / "runs").mkdir(parents=True, exist_ok=True)
    steps: list[list[Site]] = []
    for folder, seeds, made in (("second", given.second, built_on_another), ("audited", given.audited, much_audited)):
        for seed in seeds:
            path = given.out / folder / f"{seed}.json"
            if path.exists():
                continue
            steps = steps or teacher_grown()
            with tempfile.TemporaryDirectory() as scratch:
                found = made(seed, steps, Path(scratch))
            path.parent.mkdir(exist_ok=True)
            write_whole(path, json.dumps(found, indent=1) + "\n")
    for seed in () if given.page or given.second or given.audited else given.seeds:
        for budget in given.budgets:
            for arm in given.arms:
                path = given.out / "runs" / f"{arm}-{budget}-{seed}.json"
                if path.exists():
                    continue
                steps = steps or teacher_grown()
                with tempfile.TemporaryDirectory() as scratch:
                    run = measured(overrides(arm, budget, seed), steps, Path(scratch) / "run")
                run = {"arm": arm, "budget": budget, "seed": seed, **run}
                write_whole(path, json.dumps(run, indent=1) + "\n")
                print(f"{path.stem}: {run['labels']} labels, {run['elapsed_s']:.0f} s", flush=True)
    runs = [json.loads(path.read_text()) for path in sorted((given.out / "runs").glob("*.json"))]
    pairs, audited = (
        [json.loads(path.read_text()) for path in sorted((given.out / folder).glob("*.json"))]
        for folder in ("second", "audited")
    )
    if runs:
        plot(runs, given.out / "curves.png")
        write_whole(given.out.with_suffix(".md"), page(runs, pairs, audited))


if __name__ == "__main__":
    main()
