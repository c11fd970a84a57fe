"""The tables of a page: who was checked and how it came out, labels, failures, every step."""

from collections.abc import Mapping, Sequence
from typing import Any

from growth.page.facts import Facts
from growth.page.markup import Safe, count, details, number, paragraph, table
from growth.page.run_files import RunFiles
from growth.page.series import UNITS

QUANTITIES = {
    "delta_e": "Energy difference between competing sites",
    "energy": "Energy per atom",
    "forces": "Worst force near the new atom",
}
REASONS = {
    "given": "given: labels of earlier work, free of charge",
    "initial": "the first labels, from which the first model learnt",
    "query": "asked: the surrogate was unsure",
    "audit": "audited: the surrogate was sure, checked at random",
    "audit of the spared": "audited: unsure, but let pass to save labels",
    "no_site": "asked: the surrogate found no place for the next atom",
    "recovered": "recovered after an interruption",
    "certificate": "certificate: checked at the end, never learnt",
}


def honesty(facts: Facts, asked: Mapping[str, Any]) -> Safe:
    """How often promised intervals held, by who was checked."""
    doubted = facts.certificate.get("intervals", {}).get("doubted", {})
    groups = {
        "asked because in doubt": asked,
        "sure, audited at random": facts.audits,
        "sure, certified at the end": facts.afterwards,
        "in doubt, taken without a label": doubted,
    }
    rows = [
        (
            QUANTITIES[name],
            who,
            told["n"],
            f"{told['coverage']['share']:.0%} ({told['coverage']['low']:.0%}–{told['coverage']['high']:.0%})",
            f"{1e3 * told['mean_abs_error']:.3g} {UNITS[name]}",
            f"{told['missed']['share']:.0%} ({told['missed']['low']:.0%}–{told['missed']['high']:.0%})",
        )
        for name in QUANTITIES
        for who, held in groups.items()
        if (told := held.get(name)) and told["n"]
    ]
    if not rows:
        return paragraph("No label has come yet that could tell whether the surrogate's promises hold.")
    head = ("Quantity", "Steps", "Number", "Interval held", "Mean error", "Beyond tolerance")
    return Safe(
        table(f"Intervals promised at {facts.level:.0%}, before the label was known", head, rows)
        + paragraph(
            f"Before each label the surrogate promises an interval that should hold {facts.level:.0%} of the time. In "
            "brackets: where the true share lies, with 95% confidence (Clopper and Pearson). The rows of audited and "
            f"certified steps are the honest ones, for those were not chosen because they looked bad: there “beyond "
            f"tolerance” is the rate of missed triggers, which should stay below {facts.risk:.0%}."
        )
    )


def failures(run: RunFiles) -> Safe:
    """Labels that failed, by reason, with what the oracle said."""
    failed = [] if run.dataset is None else run.dataset.failures()
    if not failed:
        return paragraph("No label failed.")
    reasons = sorted({failure.reason for failure in failed})
    rows = []
    for reason in reasons:
        of = [failure for failure in failed if failure.reason == reason]
        sizes = sorted(len(failure.structure) for failure in of)
        size = f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]}–{sizes[-1]}"
        rows.append((reason.replace("_", " "), len(of), size, " ".join(str(of[-1].detail).split())[:300]))
    return table("Labels that failed", ("Reason", "Number", "Atoms", "The last one, in the oracle's words"), rows)


def labels(counts: Mapping[str, int]) -> Safe:
    """How many labels for which reason."""
    if not counts:
        return paragraph("No label yet.")
    rows = [(REASONS.get(reason, reason), n) for reason, n in counts.items()]
    return table("Where the labels went", ("Reason", "Labels"), rows)


def steps_table(energies: Sequence[Mapping[str, Any]]) -> Safe:
    """Every step in a row, with a button that shows it: the plot of energies for those who do not see it."""
    rows = [
        (
            Safe(f'<button type="button" class="jump" data-walker="{e["walker"]}" data-step="{e["step"]}">'
                 f'w{e["walker"]} step {e["step"]}</button>'),
            e["n_atoms"],
            e["kind"],
            number(e["energy_ev_per_atom"], 4),
            number(e["std_mev_per_atom"], 1),
            e["fate"] + (f": {e['reason']}" if e["reason"] else ""),
        )
        for e in energies
    ]  # fmt: skip
    head = ("Show", "Atoms", "Event", "Energy, eV/atom", "Std, meV/atom", "How it was decided")
    return details(f"The same as a table ({count(len(rows), 'step')})", table("Every step", head, rows, "long"))
