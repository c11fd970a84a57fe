"""The page of a study: what came out, in a table a study, with its figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from growth.study.studies import STUDIES

SPREADS = ("_std", "_error")
"""Ends of the names under which a number's std over the members, or standard error over the crystals, stands."""


def summary_page(subject: str, surface: str, found: Mapping[str, Mapping[str, Mapping[str, Any]]], out: Path) -> str:
    """Markdown.

    Args:
        subject, surface: what was studied, on what. found: by study and crystal the headline numbers.
        out: folder of the study, which the figures' links start from.
    """
    lines = [
        f"# What `{subject}` is like",
        "",
        f"Energies: {surface}. Behind ± stands the std over the members, or the standard error over crystals.",
    ]
    for name, of in found.items():
        lines += ["", f"## {name}", "", STUDIES[name].question, "", *_table(of)]
        for part in of:
            figures = sorted((out / name / part).glob("*.png"))
            lines += ["", *(f"![{name} of {part}]({figure.relative_to(out)})" for figure in figures)]
    return "\n".join(lines) + "\n"


def _table(of: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A row for each number, with its spread where it has one, and a column for each crystal."""
    keys = list(dict.fromkeys(key for found in of.values() for key in found))
    spreads = {key: next((key + end for end in SPREADS if key + end in keys), None) for key in keys}
    rows = [
        f"| {key} | {' | '.join(_cell(found, key, spreads[key]) for found in of.values())} |"
        for key in keys
        if not any(key == spread for spread in spreads.values())
    ]
    return [f"| | {' | '.join(of)} |", "|---" * (len(of) + 1) + "|", *rows]


def _cell(found: Mapping[str, Any], key: str, spread: str | None) -> str:
    value, error = found.get(key), found.get(spread) if spread else None
    return shown(value) if not isinstance(error, float) or error == 0.0 else f"{shown(value)} ± {shown(error)}"


def shown(value: Any) -> str:
    """A value for a reader.

    >>> shown(0.123456), shown([1.0, 2.25]), shown({"a": 1.5}), shown(None)
    ('0.1235', '1, 2.25', 'a: 1.5', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.1f}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {shown(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return str(value)
