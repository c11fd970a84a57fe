"""The studies of `kossel study`: which there are, what each is asked about, and one page that says what came out.

A study that is done is not done again: OUT/NAME/done.json remembers for which structure, surface and settings, so an
interrupted command goes on, and another `--what` adds to what is there.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from growth.config import check_settings, set_key
from growth.damage import newest_model
from growth.energy_model import EnergyModel
from growth.errors import InputError
from growth.relax import relax, rms_moved
from growth.study.results import plain, write_json, write_structures
from growth.study.studies import STUDIES, Means, Study
from growth.study.subject import Subject, learned_model, subject_of, surface_of
from growth.study.summary import summary_page
from oracle import Method
from oracle.durable import write_whole
from oracle.extxyz import read_structures
from oracle.identity import hash_of

DONE = "done.json"
FMAX, MAX_STEPS = 0.01, 500
"""eV/Å and force calls of the relaxation before all studies."""


@dataclass(frozen=True)
class Surface:
    """The energy surface of a study: one of a model directory and a method, or neither for a run's newest model.

    Attributes:
        model: model directory. method: method file. oracle: method file for points on top; None: no points.
    """

    model: Path | None = None
    method: Path | None = None
    oracle: Path | None = None


def study(
    path: Path,
    surface: Surface,
    out: Path,
    what: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Study a run's crystals or a file's structures.

    Args:
        path: run directory or file of structures. surface: on which energies. out: folder for what comes out.
        what: names of studies, or `all`; default: those that take seconds and suit the subject.
        overrides: `study.setting=value`. seed: of the random generator, the same for every study.
        say: told what is done.

    Returns:
        For every study and crystal the headline numbers, as written to OUT/study.json.

    Raises:
        InputError: of the subject, the surface, a study's name or its settings.
    """
    subject = subject_of(path)
    settings = _settings(overrides)
    wanted = _wanted(what, subject)
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        model, known_as = _opened(surface, subject, out, say, stack)
        oracle = None
        if surface.oracle is not None:
            points = Method.load(surface.oracle)
            oracle = stack.enter_context(surface_of(points, subject.species, out / "labels", say))
            known_as += f"; points by {_told(points)}"
        subject = _at_rest(subject, model, known_as, out, say)
        for name in wanted:
            _do(name, STUDIES[name], subject, Means(model, oracle, settings[name], seed, say), known_as, out)
    found = {name: done for name in STUDIES if (done := _headlines(out / name))}
    write_json(out / "study.json", {"subject": str(path), "surface": known_as, "studies": found})
    write_whole(out / "study.md", summary_page(str(path), known_as, found, out))
    say(f"{out / 'study.md'}: what came out")
    return found


def _settings(overrides: Sequence[str]) -> dict[str, BaseModel]:
    """Settings of every study.

    Raises:
        InputError: an override of a study or a setting that there is not.
    """
    content: dict[str, Any] = {}
    for override in overrides:
        set_key(content, override)
    if unknown := sorted(set(content) - set(STUDIES)):
        raise InputError(f"--set {unknown[0]}: no such study; expected one of {', '.join(STUDIES)}, then a setting")
    return {
        name: check_settings(each.settings, content.get(name, {}), f"--set {name}") for name, each in STUDIES.items()
    }


def _wanted(what: Sequence[str] | None, subject: Subject) -> list[str]:
    """Names of the studies to do.

    Raises:
        InputError: no such study, or it cannot be made of this subject.
    """
    if what is None or list(what) == ["all"]:
        wanted = [name for name, each in STUDIES.items() if (each.quick or what) and each.unsuited(subject) is None]
        if not wanted:
            raise InputError(f"{subject.path}: no study suits this; name one with --what to hear why")
        return wanted
    for name in what:
        if name not in STUDIES:
            raise InputError(f"--what {name}: no such study; expected one of {', '.join(STUDIES)}, or all")
        if reason := STUDIES[name].unsuited(subject):
            raise InputError(f"--what {name}: {reason}")
    return [name for name in STUDIES if name in what]


def _opened(
    surface: Surface, subject: Subject, out: Path, say: Callable[[str], None], stack: contextlib.ExitStack
) -> tuple[EnergyModel, str]:
    """The energy model, and by what it is known."""
    if surface.method is not None:
        if surface.model is not None:
            raise InputError("--model and --method: expected one of the two; --oracle draws points of a method on top")
        method = Method.load(surface.method)
        return stack.enter_context(surface_of(method, subject.species, out / "labels", say)), _told(method)
    if surface.model is None and not subject.is_run:
        raise InputError(f"{subject.path}: expected --model MODEL or --method METHOD.yaml, since this is no run")
    directory = surface.model or newest_model(subject.path)
    if directory is None:
        raise InputError(f"{subject.path}: no model in this run; name one with --model, or a method with --method")
    model = learned_model(directory, subject.species)
    weights = hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()[:12]
    return model, f"model {directory} ({weights})"


def _told(method: Method) -> str:
    kept = {key: value for key, value in method.to_dict().items() if key in ("kind", "preset", "calculator")}
    return f"method {' '.join(map(str, kept.values()))} ({method.hash})"


def _at_rest(subject: Subject, model: EnergyModel, known_as: str, out: Path, say: Callable[[str], None]) -> Subject:
    """The subject with its crystals relaxed on this surface, as kept in OUT/relaxed.extxyz."""
    key = hash_of([subject.uid, known_as])
    target, done = out / "relaxed.extxyz", out / "relaxed.json"
    if done.exists() and json.loads(done.read_text())["key"] == key:
        return subject.with_crystals(read_structures(target))
    say(f"relaxing {len(subject.crystals)} structures")
    found = relax(subject.crystals, model, fmax=FMAX, max_steps=MAX_STEPS)
    crystals = []
    for before, after in zip(subject.crystals, found, strict=True):
        if not after.converged:
            say(f"warning: a structure of {len(before)} atoms has forces left after {after.n_calls} force calls")
        after.structure.info = {"energy": after.energy, "member_energies": after.member_energies}
        crystals.append(after.structure)
    write_structures(target, crystals)
    moved = [rms_moved(before, after) for before, after in zip(subject.crystals, crystals, strict=True)]
    write_json(done, {"key": key, "moved_rms_A": moved, "converged": [each.converged for each in found]})
    return subject.with_crystals(crystals)


def _do(name: str, each: Study, subject: Subject, means: Means, known_as: str, out: Path) -> None:
    """A study of every crystal, or of all together, but for what is done."""
    parts = [("all", subject)] if each.together else [(part, subject.only(part)) for part in subject.names]
    for part, of in parts:
        folder = out / name / part
        key = hash_of(plain([of.uid, known_as, means.settings.model_dump(mode="json"), means.seed]))
        if (folder / DONE).exists() and json.loads((folder / DONE).read_text())["key"] == key:
            means.say(f"{name} of {part}: done before")
            continue
        means.say(f"{name} of {part} …")
        headline = each.run(of, means, folder)
        write_json(folder / DONE, {"key": key, "found": headline})


def _headlines(folder: Path) -> dict[str, Mapping[str, Any]]:
    """What a study found, by crystal."""
    done = sorted(folder.glob(f"*/{DONE}"))
    return {path.parent.name: json.loads(path.read_text())["found"] for path in done}
