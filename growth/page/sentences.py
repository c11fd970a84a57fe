"""The sections of a page in words and tables, for a reader who has not seen the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from growth.page.crystals import Growth
from growth.page.facts import Facts, energy_error
from growth.page.findings import Finding, resume_command
from growth.page.markup import Safe, code, count, details, duration, number, paragraph, prose, table, text
from growth.page.run_files import RunFiles

METHODS = {
    "gpaw": "density-functional theory (GPAW)",
    "emt": "effective-medium theory (EMT)",
    "lj": "a Lennard-Jones potential",
    "tblite": "GFN tight binding (tblite)",
}
STATES = {
    "finished": "Finished",
    "running": "Running",
    "stopped": "Stopped before its end",
    "not begun": "Not begun",
}


def headline(run: RunFiles, growths: Sequence[Growth], facts: Facts) -> Safe:
    """One sentence on what this is, and the figures that a reader asks for first."""
    sentence = _what_grew(run, growths)
    tiles = [
        _energy_tile(facts, growths),
        ("Checked error", _measured(facts.certified("energy_mae_mev_per_atom"), "meV/atom"), "of steps taken unasked"),
        ("Labels", f"{facts.n_labels:,}", _labels_told(run, facts)),
        ("Time", duration(_elapsed(run)) if _elapsed(run) else "–", "of growth, interruptions left out"),
    ]
    cells = "".join(f"<div><dt>{text(a)}</dt><dd>{text(b)}<small>{text(c)}</small></dd></div>" for a, b, c in tiles)
    badge = f'<span class="state {run.state.replace(" ", "-")}">{STATES[run.state]}</span>'
    return Safe(f'<p class="lead">{badge} {prose(sentence)}</p><dl class="tiles">{cells}</dl>')


def _what_grew(run: RunFiles, growths: Sequence[Growth]) -> str:
    method = method_words(run)
    if run.seed is None or not growths:
        return f"A campaign that is to learn an energy surface from {method}; nothing has grown yet."
    species = "–".join(dict.fromkeys(run.seed.get_chemical_symbols() + growths[0].species))
    sizes = sorted({len(growth.last.crystal) for growth in growths})
    now = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    one, many = ("grows", "grow") if run.state == "running" else ("grew", "grew")
    verb = f"crystal {one}" if len(growths) == 1 else f"crystals {many}"
    seed = f"a seed of {len(run.seed)} atoms"
    learnt = f"on an energy surface learnt from {method}"
    if run.config["ask"]["arm"] == "nothing":
        learnt = "on a model learnt before; the oracle was not asked"
    return f"{_word(len(growths))} {species} {verb} atom by atom from {seed} to {now} atoms, {learnt}."


def _word(n: int) -> str:
    """A number at the beginning of a sentence.

    >>> _word(2), _word(20)
    ('Two', '20')
    """
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
    return words[n] if n < len(words) else str(n)


def method_words(run: RunFiles) -> str:
    """The oracle's method as people call it."""
    method = run.config["oracle"]["method"]
    kind = method.get("kind") if isinstance(method, Mapping) else str(method)
    preset = f", preset {method['preset']}" if isinstance(method, Mapping) and method.get("preset") else ""
    named = METHODS.get(str(kind)) or str(method.get("calculator", kind) if isinstance(method, Mapping) else kind)
    return named + preset


def _energy_tile(facts: Facts, growths: Sequence[Growth]) -> tuple[str, str, str]:
    known = [crystal for crystal in facts.crystals if crystal.energy_per_atom is not None]
    if not known:
        return "Lowest energy, eV/atom", "–", "no step yet"
    largest = max(crystal.n_atoms for crystal in known)
    best = min((c for c in known if c.n_atoms == largest), key=lambda c: c.energy_per_atom or 0.0)
    error = energy_error(facts)
    off = "" if error is None else f" ± {error / 1e3:.3f}"
    formula = growths[best.walker].last.crystal.get_chemical_formula()
    return "Lowest energy, eV/atom", number(best.energy_per_atom, 3) + off, f"{formula}, walker {best.walker}"


def _labels_told(run: RunFiles, facts: Facts) -> str:
    given, failed = run.status["labels"]["given"], sum(facts.failed.values())
    of = f"of a budget of {facts.budget}" if facts.budget is not None else "no budget set"
    more = [f"{given:,} more were given" if given else "", f"{failed} failed" if failed else ""]
    return "; ".join(part for part in (of, *more) if part)


def _elapsed(run: RunFiles) -> float:
    return float(run.checkpoint.get("elapsed_s") or run.summary.get("wall_time_s") or 0.0)


def _measured(value: float | None, unit: str) -> str:
    return "not measured" if value is None else f"{value:.1f} {unit}"


def walkers(run: RunFiles, growths: Sequence[Growth], facts: Facts) -> Safe:
    """Each walker's crystal in a row."""
    if not growths:
        return paragraph("Nothing has grown yet.")
    rows = []
    for growth, crystal in zip(growths, facts.crystals, strict=True):
        order = growth.last.order()
        ordered = ", ".join(
            f"{share:.0%} {kind}" for kind, share in order.items() if share and kind not in ("surface", "other")
        )
        energy = number(crystal.energy_per_atom, 4)
        std = "–" if crystal.std_per_atom is None else f"{1e3 * crystal.std_per_atom:.1f}"
        size = f"{crystal.n_atoms} of {crystal.of}"
        n_steps = growth.last.step
        inside = f"{1 - order['surface']:.0%}"
        formula = growth.last.crystal.get_chemical_formula()
        rows.append((f"Walker {growth.walker}", formula, size, n_steps, energy, std, inside, ordered or "none"))
    head = (
        "Crystal",
        "Formula",
        "Atoms",
        "Steps",
        "Energy, eV/atom",
        "Std, meV/atom",
        "Inner atoms",
        "Order of inner atoms",
    )
    told = table("The crystals as they stand", head, rows)
    return Safe(
        told
        + paragraph(
            "Std is how far the members of the committee of networks disagree. An inner atom has at least 12 "
            "neighbours; its order is told by common-neighbour analysis, as a share of all atoms: fcc and hcp are "
            "close packed, ico is five-fold."
        )
    )


def certificate(run: RunFiles, facts: Facts) -> Safe:
    """What the certificate says, sentence by sentence."""
    told = run.certificate
    if not told:
        return paragraph(
            "There is no certificate yet: at the end of a run the oracle labels steps that were taken without asking "
            "it, and the errors found there stand here."
        )
    if not told["n_steps"]:
        return paragraph("No step was checked at the end: none was taken unasked, or none was to be certified.")
    tolerances = facts.tolerances
    rows: list[tuple[str, str, str, str]] = [
        (
            "Energy per atom",
            _with_error(told, "energy_mae_mev_per_atom", "meV/atom"),
            f"{1e3 * tolerances['energy']:.0f} meV/atom",
            "how far the surrogate's energies are off, on average",
        ),
        (
            "Energy difference between competing sites",
            _with_error(told, "delta_e_mae_mev", "meV"),
            f"{1e3 * tolerances['delta_e']:.0f} meV",
            "which site the next atom takes hangs on this",
        ),
        ("Force", _with_error(told, "force_mae_mev_per_A", "meV/Å"), "–", "mean over all components of all atoms"),
    ]
    if told.get("barrier_mae_mev") is not None:
        barrier = _with_error(told, "barrier_mae_mev", "meV")
        rows.append(("Barrier", barrier, "–", "how fast an event is hangs on this"))
    carved = (
        f"; of {count(told['n_carved'], 'larger crystal')} a cluster cut out around the new atom"
        if told.get("n_carved")
        else ""
    )
    n, of = told["best_site_first"], told["n_site_steps"]
    first = f"In {n} of {of} steps the surrogate ranked the oracle's best site first." if of else ""
    return Safe(
        paragraph(
            f"At the end the oracle labelled {count(told['n_steps'], 'step')} that had been taken without asking "
            f"it{carved}. No model ever learnt from these labels, so the errors are honest.",
            first,
        )
        + table(
            "The certificate: mean absolute errors, with their standard error",
            ("Of", "Error", "Tolerance", "Meaning"),
            rows,
        )
        + _extension(told)
        + _finals(told)
    )


def _with_error(told: Mapping[str, Any], key: str, unit: str) -> str:
    value, error = told.get(key), told.get(f"{key}_se")
    if value is None:
        return "not measured"
    return f"{value:.1f} {unit}" if error is None else f"{value:.1f} ± {error:.1f} {unit}"


def _finals(told: Mapping[str, Any]) -> Safe:
    """The grown crystals, whole or a cluster cut out of each; of files of before, which had none, the whole ones."""
    rows = []
    for k, final in enumerate(told.get("final", [])):
        energy, atoms = final["oracle_free_energy"], final["n_atoms"]
        if energy is None and final.get("labelled_atoms") is None:
            continue
        part = atoms if energy is not None else f"{final['labelled_atoms']} cut out of {atoms}"
        rows.append(
            (
                f"Walker {k}",
                part,
                "–" if energy is None else number(energy / atoms, 4),
                "–" if energy is None else f"{1e3 * final['oracle_max_force']:.0f}",
                _or_dash(final.get("energy_mae_mev_per_atom")),
                _or_dash(final.get("force_mae_mev_per_A")),
            )
        )
    if not rows:
        return Safe("")
    head = (
        "Crystal",
        "Atoms",
        "Oracle's energy, eV/atom",
        "Largest force, meV/Å",
        "Newest model off by, meV/atom",
        "Forces off by, meV/Å",
    )
    return table("The grown crystals, labelled; – where the label was learnt, and so tells of no error", head, rows)


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _extension(told: Mapping[str, Any]) -> Safe:
    """What learning has brought on labels that no model learnt."""
    found = told.get("extension") or {}
    first, newest = found.get("first"), found.get("newest")
    if first is None or newest is None or first["version"] == newest["version"]:
        return Safe("")
    first_off, newest_off = (
        f"{one['energy_mae_mev_per_atom']:.1f} meV/atom and {one['force_mae_mev_per_A']:.1f} meV/Å"
        for one in (first, newest)
    )
    return paragraph(
        f"What the labels of this run have brought: on the {count(found['n_structures'], 'structure')} of the "
        f"certificate its first model is {first_off} off, its newest {newest_off}."
    )


def next_steps(found: Sequence[Finding]) -> Safe:
    """The findings as a list."""
    if not found:
        return paragraph("Nothing stands out.")
    marks = {"act": "Do something", "note": "Good to know", "good": "Well"}
    items = "".join(
        f'<li class="{finding.weight}">'
        f'<h3><span class="mark">{marks[finding.weight]}</span> {prose(finding.title)}</h3>'
        f"<p>{prose(finding.meaning)}</p><p><strong>Next:</strong> {prose(finding.next_step)}</p></li>"
        for finding in found
    )
    return Safe(f'<ol class="findings">{items}</ol>')


def again(run: RunFiles, name: str) -> Safe:
    """How to go on with the run and how to do it again, with what it was made."""
    exact = (
        "It is a deterministic run: with the same versions the same crystals come out, bit for bit."
        if run.config.get("deterministic")
        else "Its decisions follow from the seed, but the order in which workers finish does not: expect other steps, "
        "and the same physics. With `deterministic: true` a run repeats bit for bit."
    )
    rows = [
        (key, value)
        for key, value in (run.starts[-1].get("versions", {}) if run.starts else {}).items()
        if key != "cpus"
    ]
    config = yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True)
    return Safe(
        paragraph(
            "Go on with this run, also after a stop (a finished one grows further with a larger `growth.n_atoms`):"
        )
        + code(resume_command(name))
        + paragraph("Do it again from the beginning, beside it:")
        + code(f"kossel grow {name}/config.yaml --run-dir {Path(name).name}-again")
        + paragraph(exact)
        + (table("Versions", ("Package", "Version"), rows) if rows else "")
        + details("All settings (config.yaml)", f'<pre tabindex="0">{text(config)}</pre>')
    )
