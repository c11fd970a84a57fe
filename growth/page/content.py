"""What the page on a run holds: its numbers for the script, its words as sections of HTML."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.data.colors import jmol_colors

import learner
from growth.calibration import audits_of, held, scores_of
from growth.damage import newest_model, readable
from growth.order import KINDS, Order
from growth.page import sentences, series, tables
from growth.page.atoms import contributions, std_of
from growth.page.crystals import Growth, base64_of, growths, packed_levels, packed_positions
from growth.page.facts import facts_of
from growth.page.findings import findings
from growth.page.labels import counts_by_reason, matched, own_labels, shown
from growth.page.markup import text
from growth.page.run_files import RunFiles, read_run
from oracle import Method

NO_SHARES = "Energy contributions are not shown: "


@dataclass(frozen=True)
class Content:
    """What a page shows. data: for its script, plain values. sections: HTML by name. title, state: text."""

    title: str
    state: str
    data: Mapping[str, Any]
    sections: Mapping[str, str]


def content_of(run: Path, live: bool = False) -> Content:
    """Read a run and say what its page shows.

    Args:
        run: the run directory.
        live: whether the page is to be made again and again: what takes seconds is left out while the run goes on.

    Raises:
        InputError: not a run directory, or its files cannot be read.
    """
    found = read_run(run)
    with readable(run):
        return _told(found, named(run), live)


def _told(found: RunFiles, name: str, live: bool) -> Content:
    grown = growths(found)
    errors, own = found.metric("error"), own_labels(found)
    structures = matched(errors, own)
    later = live and found.state == "running"
    told, why_not = ({}, NO_SHARES + "they are made when the run is over.") if later else _shares(found, grown)
    facts = facts_of(found, grown, name, audits_of(errors, _tolerances(found)), _is_cheap(found))
    energies, said = series.energies(found), series.errors(errors, structures)
    counts = counts_by_reason(found, own)
    plots = {
        "energies": energies,
        "errors": said,
        "certified": series.certified(found.certificate),
        "promises": series.promises(errors),
        "models": series.models(found),
        "busy": series.busy(found),
        "labels": counts,
    }
    species = sorted({symbol for growth in grown for symbol in growth.species})
    data = {
        "name": str(found.config["name"]),
        "state": found.state,
        "level": facts.level,
        "tolerances": {key: 1e3 * value for key, value in facts.tolerances.items()},
        "units": series.UNITS,
        "kinds": KINDS,
        "species": {symbol: _look(symbol) for symbol in species},
        "walkers": [_packed(found, growth, told) for growth in grown],
        "structures": _packed_structures(structures),
        "why_no_shares": why_not,
        **plots,
    }
    words = {
        "headline": sentences.headline(found, grown, facts),
        "walkers": sentences.walkers(found, grown, facts),
        "steps": tables.steps_table(energies),
        "certificate": sentences.certificate(found, facts),
        "honesty": tables.honesty(facts, _asked(errors, facts.tolerances)),
        "failures": tables.failures(found),
        "labels": tables.labels(counts),
        "findings": sentences.next_steps(findings(facts)),
        "again": sentences.again(found, name),
        "made": f"Written {time.strftime('%Y-%m-%d %H:%M', time.localtime())} from the files of {text(name)}.",
    }
    return Content(str(found.config["name"]), found.state, series.plain(data), words)


def named(run: Path) -> str:
    """A run directory as a command has it: relative where it lies below the working directory."""
    full = run.absolute()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else str(full)


def _shares(run: RunFiles, grown: Sequence[Growth]) -> tuple[dict[tuple[int, int], np.ndarray], str]:
    """Energy contributions by walker and step, and where not all are there, why."""
    model = newest_model(run.path)
    if not grown or model is None:
        return {}, NO_SHARES + "the run has no model yet."
    try:
        found = contributions(grown, model)
    except (learner.InputError, KeyError, ValueError, RuntimeError, ImportError) as error:
        return {}, f"{NO_SHARES}model {model.name} could not be asked ({type(error).__name__})."
    whole = len(found) == sum(len(growth.stages) for growth in grown)
    return found, "" if whole else f"For a run of this size model {model.name} was asked about the last crystals only."


def _tolerances(run: RunFiles) -> dict[str, float]:
    ask = run.config["ask"]
    return {"delta_e": ask["delta_e_tolerance"], "energy": ask["energy_tolerance"], "forces": ask["force_tolerance"]}


def _asked(errors: Sequence[Mapping[str, Any]], tolerances: Mapping[str, float]) -> dict[str, Any]:
    queries = scores_of([line for line in errors if line["reason"] == "query"])
    return {name: held(scores.errors, scores.radii, tolerances[name]) for name, scores in queries.items()}


def _is_cheap(run: RunFiles) -> bool:
    try:
        return Method.from_dict(run.config["oracle"]["method"]).cheap
    except Exception:  # a method that is not installed here is no reason to show nothing
        return False


def _look(symbol: str) -> dict[str, Any]:
    number = atomic_numbers[symbol]
    red, green, blue = (round(255 * float(x)) for x in jmol_colors[number])
    return {"color": f"#{red:02x}{green:02x}{blue:02x}", "radius": round(float(covalent_radii[number]), 3)}


def _packed(run: RunFiles, growth: Growth, shares: Mapping[tuple[int, int], np.ndarray]) -> dict[str, Any]:
    """One walker for the page's script."""
    stages, crystals = growth.stages, [stage.crystal for stage in growth.stages]
    sizes = [len(crystal) for crystal in crystals]
    seed = crystals[0]
    return {
        "walker": growth.walker,
        "species": growth.species,
        "born": growth.born,
        "left_out": growth.left_out,
        "cell": seed.cell.array.tolist() if seed.pbc.any() else None,
        "fixed": sorted({int(i) for c in (run.seed.constraints if run.seed else []) for i in c.get_indices()}),
        "steps": [stage.step for stage in stages],
        "sizes": sizes,
        "ids": [
            None if stage.ids == list(range(size)) else stage.ids for stage, size in zip(stages, sizes, strict=True)
        ],
        "positions": packed_positions(crystals),
        "kinds": base64_of(np.concatenate([stage.kinds for stage in stages])),
        "std": packed_levels([std_of(run.path, growth.walker, stage) for stage in stages], sizes),
        "share": packed_levels([shares.get((growth.walker, stage.step)) for stage in stages], sizes),
    }


def _packed_structures(structures: Sequence[Atoms | None]) -> dict[str, Any]:
    """The labelled structures that plots point to."""
    kept = [s for s, number in zip(structures, shown(structures), strict=True) if s is not None and number is not None]
    kinds = [np.array([KINDS.index(kind) for kind in Order(s).kinds], dtype=np.uint8) for s in kept]
    return {
        "sizes": [len(structure) for structure in kept],
        "species": [
            list(structure.symbols) if len(set(structure.symbols)) > 1 else structure.symbols[0] for structure in kept
        ],
        "positions": packed_positions(kept),
        "kinds": base64_of(np.concatenate(kinds) if kinds else np.zeros(0, dtype=np.uint8)),
    }
