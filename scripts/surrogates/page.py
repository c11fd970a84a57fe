"""The page of the comparison: docs/results/surrogates.md and its plots, from the results that are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from oracle.durable import write_whole
from scripts.markdown import plus_minus, table

NAMES = {
    "kossel": "Kossel, one network",
    "kossel-4": "Kossel, committee of 4",
    "kossel-far": "Kossel, committee of 4 that sees 6 Å",
    "vimpnn": "VIMPNN (paper), soft channels",
    "mpnn": "MPNN (paper)",
    "schnet": "SchNet",
    "painn": "PaiNN",
    "mace": "MACE",
}
CHANGES = {
    "kossel-4": "as it is: committee of 4",
    "kossel": "one network",
    "two-members": "committee of 2",
    "eight-members": "committee of 8",
    "no-cohesion": "no cohesion to start from",
    "free-embedding": "elements told apart without their traits",
    "one-channel": "all bonds in one channel (as many filters)",
    "shared-message": "filters shared by the channels",
    "scalars-alone": "no directions",
    "one-step": "one message step",
    "three-steps": "three message steps",
    "four-radial": "4 radial functions a channel (6)",
    "ten-radial": "10 radial functions a channel",
    "no-ema": "no running mean of the weights",
    "adamw": "AdamW (by default only of fewer than 200 structures)",
    "muon": "Muon (by default only of 200 structures and more)",
}
COMMAND = "python scripts/benchmark_surrogates.py --part"

Lines = list[str]


def pair(result: dict[str, Any], on: str) -> str:
    """Energy and force error of a model on a test set."""
    e = result["errors"][on]
    return f"{e['energy_mae_mev_per_atom']:.2f}, {e['force_mae_mev_per_A']:.1f}"


def emt(found: dict[str, Any], facts: dict[str, Any]) -> Lines:
    """Errors on EMT labels."""
    rows = [
        [NAMES[n], f"{r['n_parameters'] / 1000:.0f}k", str(r["steps"]), pair(r, "in"), pair(r, "large")]
        for n, r in found.items()
    ]
    return [
        "## EMT labels: a thousand small clusters",
        "",
        f"{facts['cpu_seconds']:g} s of CPU time each, mean absolute errors in meV/atom and meV/Å (`{COMMAND} emt`).",
        "",
        *table(["", "parameters", "steps", "15-40 atoms", "90-114 atoms, never seen"], rows),
    ]


def gpaw(found: dict[str, Any], facts: dict[str, Any]) -> Lines:
    """Errors on GPAW labels."""
    numbers = sorted({int(n) for r in found.values() for n in r})
    if not numbers:
        return []
    any_result = next(iter(next(iter(found.values())).values()))
    n_test = any_result["errors"]["in"]["n_structures"]
    rows = [[NAMES[m], *(pair(r[str(n)], "in") if str(n) in r else "" for n in numbers)] for m, r in found.items()]
    return [
        "## GPAW labels: what a campaign has",
        "",
        f"Clusters of 15-30 atoms, {n_test} of other growth seeds to be tested on; {facts['cpu_seconds']:g} s of CPU "
        f"time each, meV/atom and meV/Å (`{COMMAND} gpaw`).",
        "",
        *table(["", *(f"{n} labels" for n in numbers)], rows),
    ]


def timed(found: dict[str, Any], facts: dict[str, Any]) -> Lines:
    """Time and memory."""
    sizes = [c["n_atoms"] for c in next(iter(found.values()))["calls"]]
    rows = []
    for name, r in found.items():
        cells = [f"{c['ms']:.1f} ({c['peak_mb']:.0f})" for c in r["calls"]]
        rows.append([NAMES[name], *cells, f"{r['batch']['structures_per_second']:.0f}"])
    lines = [
        "## Time",
        "",
        "Energy + forces by an ASE call, median, ms (memory above that of the process before, MB); structures of "
        f"30 atoms a second in batches of 64; one core (`{COMMAND} time`).",
        "",
        *table(["", *(f"{n} atoms" for n in sizes), "batches, 1/s"], rows),
    ]
    if "schnet" in found:
        base = [c["ms"] for c in found["schnet"]["calls"]]
        ratios = [
            [NAMES[n], *(f"{c['ms'] / b:.2f}" for c, b in zip(r["calls"], base, strict=True))] for n, r in found.items()
        ]
        lines += ["In units of SchNet's time:", "", *table(["", *(f"{n} atoms" for n in sizes)], ratios)]
    return lines


def safety(found: dict[str, Any], facts: dict[str, Any]) -> Lines:
    """Dynamics, rattled, compressed, spread."""
    rows = []
    for element, f in found.items():
        d, r, c = f["dynamics"], f["rattled"], f["compressed"]
        rows.append(
            [
                element,
                f"{d['drift_mev_per_atom_ps']:+.4f} (scatter {d['scatter_mev_per_atom']:.3f}), {d['picoseconds']:g} ps",
                f"{d['shortest_in_bonds']:.2f}",
                f"{r['shortest_in_bonds']:.2f}; {r['below_half_a_bond']} of {r['n']}",
                f"{sum(c['falls'].values())} of {c['steps'] * len(c['falls'])}",
            ]
        )
    again = sum(f["rattled"]["drawn_again"] for f in found.values())
    head = ["", "drift, meV/atom/ps", "shortest pair in it, bonds", "shortest in rattled starts; below half a bond"]
    lines = [
        "## Safety",
        "",
        "Kossel's committee of the EMT table. 55 atoms, velocity Verlet at 1 fs from 600 K; 100 crystals rattled by "
        f"0.3 Å (drawn again, {again} of them, where that alone puts two atoms nearer than half a bond) and relaxed; "
        f"crystals compressed to half a bond in steps of 1 % (`{COMMAND} safety`).",
        "",
        *table([*head, "compression: steps at which the energy does not rise"], rows),
        "Does the std of the members grow off the data? Test structures rattled further, both elements, meV/Å:",
        "",
    ]
    spread = next(iter(found.values()))["spread"]
    return lines + table(
        ["rattled by", *(f"{s['rattle_A']:g} Å" for s in spread)],
        [
            ["std of the members", *(f"{s['force_std_mev_per_A']:.0f}" for s in spread)],
            ["true error", *(f"{s['force_error_mev_per_A']:.0f}" for s in spread)],
        ],
    )


def ablation(found: dict[str, Any], facts: dict[str, Any]) -> Lines:
    """What each part brings."""
    on = list(next(iter(found.values())))
    head = [""]
    rows = [[CHANGES[name]] for name in found]
    for data in on:
        sets = list(next(iter(found.values()))[data]["errors"])
        head += [f"{data.upper()}, {'15-40 atoms' if s == 'in' and data == 'emt' else s}" for s in sets]
        for row, r in zip(rows, found.values(), strict=True):
            row += [pair(r[data], s) for s in sets]
    return [
        "## What each part brings",
        "",
        f"One thing changed at a time, the same CPU time for each (`{COMMAND} ablation`), meV/atom and meV/Å.",
        "",
        *table(head, rows),
    ]


def elements(found: dict[str, Any], facts: dict[str, Any]) -> Lines:
    """Several species: what channels and traits bring."""
    lines = [
        "## Several elements",
        "",
        f"{facts['seconds']:g} s of CPU time each, mean of {len(facts['seeds'])} seeds and its standard error, "
        "meV/atom and meV/Å (`python scripts/benchmark_elements.py`).",
        "",
    ]
    rows = []
    for name, variants in found.items():
        for on in next(iter(variants.values())):
            rows.append([name, on, *(_mean_pair(v[on]) for v in variants.values())])
    return lines + table(["", "tested on", *next(iter(found.values()))], rows)


def _mean_pair(runs: list[dict[str, float]]) -> str:
    keys = ("energy_mae_mev_per_atom", "force_mae_mev_per_A")
    return ", ".join(plus_minus([run[key] for run in runs]) for key in keys)


def front(results: dict[str, dict[str, Any]], path: Path) -> bool:
    """Plot the error against the time of a call at 1,000 atoms; whether there was what it takes."""
    if not {"emt", "time"} <= set(results):
        return False
    panels = {"EMT labels": {n: r["errors"]["in"] for n, r in results["emt"]["found"].items()}}
    numbers = [int(n) for r in results.get("gpaw", {}).get("found", {}).values() for n in r]
    if numbers:
        most = str(max(n for n in numbers if n <= 100))
        learnt = results["gpaw"]["found"].items()
        panels[f"{most} GPAW labels"] = {n: r[most]["errors"]["in"] for n, r in learnt if most in r}
    figure, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 4), squeeze=False)
    for axis, (title, errors) in zip(axes[0], panels.items(), strict=True):
        for name, e in errors.items():
            if name not in results["time"]["found"]:
                continue
            ms = next(c["ms"] for c in results["time"]["found"][name]["calls"] if c["n_atoms"] == 1000)
            ours = name.startswith("kossel")
            axis.plot(ms, e["force_mae_mev_per_A"], "o" if ours else "s", color="C3" if ours else "C0")
            label = {"fontsize": 7, "textcoords": "offset points"}
            axis.annotate(NAMES[name], (ms, e["force_mae_mev_per_A"]), (4, -9 if name == "vimpnn" else 4), **label)
        axis.margins(x=0.3, y=0.1)
        axis.set(xscale="log", yscale="log", title=title, xlabel="energy + forces of 1,000 atoms, ms")
        axis.set_ylabel("force MAE, meV/Å")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


PARTS = {"emt": emt, "gpaw": gpaw, "time": timed, "safety": safety, "ablation": ablation, "elements": elements}


def write_page(folder: Path) -> Path:
    """Write the page beside a folder of results; returns its path."""
    results = {p: json.loads((folder / f"{p}.json").read_text()) for p in PARTS if (folder / f"{p}.json").exists()}
    lines = ["# Surrogates side by side", ""]
    lines += ["Every model has the same data, core and budget; `make peers` installs the peers.", ""]
    lines += [
        line for part, of in PARTS.items() if part in results for line in of(results[part]["found"], results[part])
    ]
    if front(results, folder / "front.png"):
        lines += ["## Error against time", "", f"![force error against time of a call]({folder.name}/front.png)", ""]
    notes = folder / "notes.md"
    if notes.exists():
        lines += ["## Notes", "", notes.read_text().strip(), ""]
    page = folder.parent / "surrogates.md"
    write_whole(page, "\n".join(lines))
    return page
