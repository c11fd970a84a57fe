"""The reference pages, written from the code itself: docs/config.md (settings) and docs/api.md (public names).

    python scripts/make_reference.py [--check]

`--check` writes nothing; exit code 1 says that a page is not what the code says.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.config import Config
from growth.study.command import STUDIES
from oracle.gpaw_method import PRESETS
from oracle.methods import Method

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = {
    "oracle": "labels, datasets",
    "learner": "networks, training, an ASE calculator",
    "growth": "growth on any energy model",
    "growth.seeds": "what to grow on",
    "growth.energy_model": "energy surfaces for growth and studies",
    "growth.saddles": "saddles without end states",
    "growth.event_table": "events known by their surroundings",
    "growth.kmc": "growth in time",
    "growth.kinetics": "rates and waiting times, of arrays alone",
    "growth.ground_state": "the lowest structure of every size",
    "growth.region": "a piece in place of the whole",
    "growth.carve": "a cluster in place of the whole",
    "growth.order": "what order a crystal has",
    "growth.observables": "contacts, coordination, parts",
    "growth.study.scale": "energy against scale",
    "growth.study.contributions": "energies of the atoms",
    "growth.study.adatom_map": "energy of an adatom over a surface",
    "growth.study.network": "minima and saddles",
    "growth.study.disconnectivity": "which minima the saddles join at which energy",
    "growth.study.paths": "fastest paths and rates",
    "growth.study.barriers": "elastic bands",
    "growth.study.vibrations": "vibrations and free energies",
    "growth.study.structure": "coordination, distances, order, facets",
    "growth.study.surfaces": "surface energies, Wulff shapes",
    "growth.study.regret": "how far from the best known",
    "growth.page.page": "the report",
}
"""Modules whose public names api.md lists."""


def settings_page() -> str:
    """docs/config.md."""
    lines = [
        "# Settings",
        "",
        "Every setting of a campaign's YAML file, of a method file, and of the studies. Written by",
        "`python scripts/make_reference.py`; `kossel schema` prints those of a campaign as JSON schema, for editors.",
        "",
        "## A campaign",
        "",
        *table(Config),
        "",
        "## Methods",
        "",
        "`oracle.method` and method files: `kind` and what belongs to it; anything left out has the default.",
    ]
    for kind, method in Method.kinds.items():
        lines += ["", f"### {kind}", "", first_line(method), "", *table(method)]
    presets = ", ".join(f"`{name}` = {values}" for name, values in PRESETS.items())
    lines += ["", f"Presets of `gpaw`: {presets}.", "", "## Studies"]
    for name, study in STUDIES.items():
        lines += ["", f"### {name}", "", study.question, "", *table(study.settings)]
    return "\n".join(lines) + "\n"


def table(model: type[BaseModel]) -> list[str]:
    """Rows of every setting below a model."""
    rows = [f"| `{key}` | {default(field)} | {described(field)} |" for key, field in settings_of(model)]
    return ["| setting | default | what it is |", "|---|---|---|", *rows] if rows else ["No settings."]


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Dotted key and field of every setting; a section's own settings follow in its place."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        below = [a for a in (field.annotation, *get_args(field.annotation)) if isinstance(a, type)]
        sections = [a for a in below if issubclass(a, BaseModel)]
        if sections:
            yield from settings_of(sections[0], f"{key}.")
        else:
            yield key, field


def default(field: FieldInfo) -> str:
    """As YAML has it."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    words = {None: "`null`", True: "`true`", False: "`false`"}
    return words[value] if value is None or isinstance(value, bool) else f"`{value}`"


def described(field: FieldInfo) -> str:
    """The description, with the choices where there are any."""
    choices = [str(choice) for choice in get_args(field.annotation) if isinstance(choice, str)]
    told = (field.description or "").replace("|", "\\|").replace("\n", " ")
    listed = " \\| ".join(choices)
    return f"{told} ({listed})".strip() if choices and len(choices) < 12 else told


def names_page() -> str:
    """docs/api.md."""
    lines = [
        "# Python",
        "",
        "Public names with what they take; units and shapes are in the docstrings (`help(name)`). Written by",
        "`python scripts/make_reference.py`. How they fit together: [architecture.md](architecture.md).",
    ]
    for module, about in PUBLIC.items():
        lines += ["", f"## {module}", "", f"{about[0].upper()}{about[1:]}.", ""]
        lines += [f"- `{signature(name, value)}`: {first_line(value)}" for name, value in public(module)]
    return "\n".join(lines) + "\n"


def public(module: str) -> list[tuple[str, Any]]:
    """Functions and classes that a module offers: those in `__all__`, or its own without underscore."""
    loaded = import_module(module)
    names = getattr(loaded, "__all__", None)
    if names is not None:
        return [(name, getattr(loaded, name)) for name in names]
    own = [(n, v) for n, v in vars(loaded).items() if getattr(v, "__module__", "") == module and not n.startswith("_")]
    return [(name, value) for name, value in own if inspect.isclass(value) or inspect.isfunction(value)]


def signature(name: str, value: Any) -> str:
    """The call, without annotations; of settings the name alone."""
    if inspect.isclass(value) and issubclass(value, BaseModel | Exception):
        return name
    plain = [p.replace(annotation=p.empty) for p in inspect.signature(value).parameters.values()]
    return f"{name}({', '.join(shown(p) for p in plain)})"


def shown(parameter: inspect.Parameter) -> str:
    """A parameter; a default that is an object of its own is not spelled out."""
    text = str(parameter)
    return text if len(text) < 40 else f"{parameter.name}=…"


def first_line(value: Any) -> str:
    """What a docstring begins with."""
    return (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")


PAGES: dict[str, Callable[[], str]] = {"config.md": settings_page, "api.md": names_page}


def main() -> None:
    """Write the pages, or check them."""
    stale = [name for name, make in PAGES.items() if not (ROOT / "docs" / name).exists() or written(name) != make()]
    if "--check" in sys.argv[1:]:
        sys.exit(f"{', '.join(stale)}: not what the code says; run python scripts/make_reference.py" if stale else 0)
    for name in stale:
        (ROOT / "docs" / name).write_text(PAGES[name]())
        print(f"docs/{name} written")


def written(name: str) -> str:
    """A page as it stands."""
    return (ROOT / "docs" / name).read_text()


if __name__ == "__main__":
    main()
