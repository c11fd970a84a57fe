"""What a campaign shows: progress while it runs, and at the end a summary table and plots."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from ase import Atoms
from ase.data.colors import jmol_colors
from ase.visualize.plot import plot_atoms
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from growth.campaign_state import Labels
from growth.events import standing
from growth.run_directory import RunDirectory

NAMES = {"delta_e": "ΔE", "energy": "the energy", "forces": "the worst force"}
INK, BAND, ACCENT = "#1f2933", "#9fb3c8", "#d64545"


class Progress:
    """Prints one line for everything that happens."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(soft_wrap=True, highlight=False)

    def __call__(self, line: Mapping[str, Any]) -> None:
        text = getattr(self, f"_{line['what']}")(line)
        if text:
            self.console.print(text)

    def _step(self, line: Mapping[str, Any]) -> str:
        per_atom, std = line["energy"] / line["n_atoms"], line["energy_std"] * 1e3 / line["n_atoms"]
        return (
            f"w{line['walker']:02d} step {line['step']:4d}  {line['kind']:6s} {line['n_atoms']:4d} atoms  "
            f"{per_atom:9.4f} eV/atom  std {std:5.1f} meV/atom  ΔE ±{line['delta_e_error'] * 1e3:4.0f} meV  "
            f"labels {line['n_labels']:4d}  model v{line['model_version']:04d}  "
            f"oracle busy {line['oracle_busy']:4.0%}  {line['seconds']:5.1f} s  {line['fate']}"
        )

    def _labels(self, line: Mapping[str, Any]) -> str:
        failed = f", {line['failed']} failed" if line["failed"] else ""
        spent = f"{line['n_atoms']} atoms, {line['seconds']:.1f} s"
        return f"[dim]oracle    {line['n_labels']} labels{failed}  ({spent})[/dim]"

    def _train(self, line: Mapping[str, Any]) -> str:
        return f"[dim]learner   first model from {line['n_labels']} labels …[/dim]"

    def _model(self, line: Mapping[str, Any]) -> str:
        verdict = "promoted" if line["promoted"] else "kept the old one"
        errors = [
            f"{line[key]:.1f} {unit}"
            for key, unit in (("energy_mae_mev_per_atom", "meV/atom"), ("force_mae_mev_per_A", "meV/Å"))
            if line.get(key) is not None
        ]
        told = f"  validation {', '.join(errors)}" if errors else ""
        return f"[dim]learner   model v{line['version']:04d} {verdict}  ({line['seconds']:.1f} s){told}[/dim]"

    def _certificate(self, line: Mapping[str, Any]) -> str:
        worth_saying = line["of"] <= 50 or line["done"] == line["of"] or line["done"] % 25 == 0
        return f"[dim]certificate {line['done']}/{line['of']} labels[/dim]" if worth_saying else ""

    def _say(self, line: Mapping[str, Any]) -> str:
        return str(line["text"])


def summarise(
    run: RunDirectory,
    elapsed: float,
    busy: Mapping[str, float],
    workers: Mapping[str, int],
    labels: Labels,
) -> dict[str, Any]:
    """Figures of the run, written to RUN/summary.json.

    Args:
        run: the run directory, complete up to the certificate.
        elapsed: wall time of growth, s. busy: seconds of work by role. workers: how many of each role.
        labels: of the run.
    """
    events = run.lines("events")
    accepted = standing(events)
    walkers = sorted({line["walker"] for line in accepted})
    last = [[line for line in accepted if line["walker"] == walker][-1] for walker in walkers]
    models = [line for line in run.lines("metrics") if line["what"] == "model"]
    summary = {
        "wall_time_s": round(elapsed, 1),
        "labels": len(labels),
        "labels_given": labels.n_given,
        "label_failures": labels.n_failed,
        "fates": dict(Counter(line["fate"] for line in events)),
        "model_versions": max((line["version"] for line in models), default=0),
        "updates_not_promoted": sum(not line["promoted"] for line in models),
        "time": {
            role: {"busy_s": round(busy.get(role, 0.0), 1), "share_of_wall": _share(busy, role, elapsed, workers)}
            for role in ("oracle", "surrogate", "learner")
        },
        "walkers": [{key: line[key] for key in ("walker", "n_atoms", "energy", "model_version")} for line in last],
    }
    run.write_json("summary.json", summary)
    return summary


def _share(busy: Mapping[str, float], role: str, elapsed: float, workers: Mapping[str, int]) -> float:
    return round(busy.get(role, 0.0) / max(elapsed, 1e-9) / workers.get(role, 1), 3)


def print_summary(console: Console, summary: Mapping[str, Any], certificate: Mapping[str, Any]) -> None:
    """The tables at the end of a run."""
    table = Table(title="Growth", show_header=False)
    table.add_row("wall time", f"{summary['wall_time_s']:.0f} s")
    given = f", {summary['labels_given']} of them given" if summary["labels_given"] else ""
    table.add_row("labels", f"{summary['labels']}{given} ({summary['label_failures']} failed)")
    table.add_row("steps", ", ".join(f"{count} {fate}" for fate, count in summary["fates"].items()))
    table.add_row("model versions", str(summary["model_versions"]))
    for role, spent in summary["time"].items():
        table.add_row(f"{role} busy", f"{spent['busy_s']:.0f} s ({spent['share_of_wall']:.0%} of the wall time)")
    console.print(table)
    console.print(certificate_table(certificate))


def certificate_table(certificate: Mapping[str, Any]) -> Table:
    """The certificate as a table: surrogate against labels that it never saw."""
    table = Table(title="Certificate: accepted unasked, labelled afterwards", show_header=False)
    of = certificate["n_site_steps"]
    table.add_row("steps compared", f"{certificate['n_steps']} ({of} with all competing sites)")
    table.add_row("energy MAE", _figure(certificate, "energy_mae_mev_per_atom", "meV/atom"))
    table.add_row("force MAE", _figure(certificate, "force_mae_mev_per_A", "meV/Å"))
    table.add_row("ΔE MAE of competing sites", _figure(certificate, "delta_e_mae_mev", "meV"))
    if certificate.get("barrier_mae_mev") is not None:
        table.add_row("barrier MAE", _figure(certificate, "barrier_mae_mev", "meV"))
    table.add_row("oracle's best site ranked first", f"{certificate['best_site_first']} of {of} steps")
    intervals = certificate["intervals"]
    for name, unit in (("delta_e", "meV"), ("energy", "meV/atom"), ("forces", "meV/Å")):
        told = intervals["afterwards"][name]
        if told["n"]:
            low, high = told["coverage"]["low"], told["coverage"]["high"]
            table.add_row(
                f"{intervals['level']:.0%} intervals of {NAMES[name]}",
                f"hold {told['coverage']['share']:.0%} of {told['n']} ({low:.0%} to {high:.0%}); beyond "
                f"{intervals['tolerances'][name] * 1e3:g} {unit}: {told['missed']['share']:.0%}",
            )
    for final in certificate.get("final", []):
        if final["force_mae_mev_per_A"] is not None:
            part = "" if final["labelled_atoms"] == final["n_atoms"] else f", {final['labelled_atoms']} of them cut out"
            table.add_row(f"grown crystal, {final['n_atoms']} atoms{part}", _errors(final))
    extension = certificate["extension"]
    for name in ("first", "newest"):
        if extension[name] is not None:
            title = f"v{extension[name]['version']:04d} on the {extension['n_structures']} structures, unlearnt"
            table.add_row(title, _errors(extension[name]))
    for final in certificate.get("final_relaxed", []):
        table.add_row(
            f"grown crystal, {final['n_atoms']} atoms",
            f"{final['energy']:.3f} eV by the oracle, {final['relaxed_energy']:.3f} eV relaxed there "
            f"({final['relaxation_rms_A']:.3f} Å rms)",
        )
    return table


def _errors(told: Mapping[str, Any]) -> str:
    return f"{told['energy_mae_mev_per_atom']:.1f} meV/atom, {told['force_mae_mev_per_A']:.1f} meV/Å"


def _figure(certificate: Mapping[str, Any], key: str, unit: str) -> str:
    value, error = certificate[key], certificate[f"{key}_se"]
    if value is None:
        return "not measured"
    return f"{value:.1f} {unit}" if error is None else f"{value:.1f} ± {error:.1f} {unit}"


def plot_run(run: RunDirectory, certificate: Mapping[str, Any], crystals: Sequence[Atoms]) -> list[Path]:
    """Write the plots of a run: energy against size, predicted against labelled, std against error, the crystals."""
    mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10})
    figures = {
        "energy_per_atom.png": _energy_figure(run),
        "predicted_labelled.png": _parity_figure(run, certificate),
        "std_error.png": _spread_figure(certificate),
        "crystals.png": crystal_figure(crystals),
    }
    for name, figure in figures.items():
        figure.savefig(run.path / name, dpi=150, bbox_inches="tight")
    return [run.path / name for name in figures]


def _energy_figure(run: RunDirectory) -> Figure:
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    events = standing(run.lines("events"))
    for walker in sorted({line["walker"] for line in events}):
        lines = [line for line in events if line["walker"] == walker]
        size = np.array([line["n_atoms"] for line in lines])
        energy = np.array([line["energy"] for line in lines]) / size
        std = np.array([line["energy_std"] or 0.0 for line in lines]) / size  # none where beyond doubt
        (curve,) = axes.plot(size, energy, lw=1.5, label=f"walker {walker}")
        axes.fill_between(size, energy - 2 * std, energy + 2 * std, color=curve.get_color(), alpha=0.25, lw=0)
    axes.set(xlabel="atoms", ylabel="energy per atom (eV)", title="growth, with a band of ±2 std of the committee")
    if events:
        axes.legend(frameon=False)
    return figure


def _parity_figure(run: RunDirectory, certificate: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(5, 4.5))
    axes = figure.subplots()
    asked = [line for line in run.lines("metrics") if line["what"] == "error"]
    axes.axhline(0, color=BAND, lw=1)
    axes.scatter(
        [line["n_atoms"] for line in asked],
        [line["energy_error"] / line["n_atoms"] * 1e3 for line in asked],
        s=14, color=ACCENT, label="asked (before learning the label)",
    )  # fmt: skip
    axes.scatter(
        [point["n_atoms"] for point in certificate["path"]],
        [point["energy_error"] / point["n_atoms"] * 1e3 for point in certificate["path"]],
        s=14, color=INK, label="accepted unasked",
    )  # fmt: skip
    axes.set(xlabel="atoms", ylabel="predicted − labelled (meV/atom)", title="predicted against labelled energy")
    axes.legend(frameon=False)
    return figure


def _spread_figure(certificate: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(5, 4.5))
    axes = figure.subplots()
    std = np.array([point["force_std_mean"] * 1e3 for point in certificate["path"]])
    error = np.array([point["force_mae"] * 1e3 for point in certificate["path"]])
    axes.scatter(std, error, s=14, color=INK)
    top = float(max(std.max(initial=0), error.max(initial=0), 1.0))
    axes.plot([0, top], [0, top * (2 / np.pi) ** 0.5], color=BAND, lw=1, label="normal errors of this std")
    axes.legend(frameon=False)
    axes.set(xlabel="std of the committee (meV/Å)", ylabel="force error (meV/Å)", title="std against error")
    return figure


def crystal_figure(crystals: Sequence[Atoms]) -> Figure:
    """The crystals side by side, seen a little from above."""
    figure = Figure(figsize=(3.2 * max(len(crystals), 1), 3.4))
    panels = np.atleast_1d(figure.subplots(1, max(len(crystals), 1)))
    for axes, crystal in zip(panels, crystals, strict=False):
        plot_atoms(crystal, axes, rotation="12x,-18y,0z", colors=jmol_colors[crystal.numbers], radii=0.95)
        axes.set_title(f"{crystal.get_chemical_formula()}")
        axes.set_axis_off()
    return figure
