"""The run directory: everything a campaign knows, on disk, so that the same command goes on after any stop.

```
config.yaml   seed.json      events.jsonl    metrics.jsonl      provenance.jsonl
relaxations.jsonl  summary.json  certificate.json  *.png
grown/w00/000123.extxyz      the crystal of walker 0 after step 123
sites/w00/000123.extxyz      the competing sites of that step as the surrogate scored them, the accepted one first
dataset/                     labelled structures that the learner sees      certificate/   labels that it never sees
models/v0007/                model.safetensors, model.json, SHA256SUMS      state/         checkpoint.json
```

Files carry checksums: what is damaged is told and set aside (`*.damaged`, `models/damaged-v0007`), the rest is used.
"""

import json
import os
import platform
import shutil
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.constraints import FixAtoms
from ase.io import read
from filelock import FileLock, Timeout

from growth.damage import (
    CHECKPOINT,
    CONFIG,
    LOGS,
    PREVIOUS,
    SEED,
    SUMS,
    checkpoint,
    model_problem,
    read_config,
    read_sealed,
    sums,
    with_checksum,
)
from growth.errors import InputError
from growth.events import standing
from growth.promising import Relaxations
from growth.relax import movable_atoms
from growth.sites import Site
from oracle.durable import append_lines, lines_of, mend_lines, read_lines, seal, sync_directory, unused, write_whole
from oracle.extxyz import frame
from oracle.worker import pack, unpack

MAY_CHANGE = {
    "growth.n_atoms",
    "growth.max_events",
    "budget",
    "certificate",
    "ray",
    "pool",
    "surrogate",
    "oracle.actors",
    "oracle.most_actors",
    "oracle.resources",
    "oracle.num_cpus",
    "oracle.labels.timeout_s",
    "oracle.cache",
    "learner.num_cpus",
    "learner.num_gpus",
    "learner.resources",
    "learner.threads",
}
"""Settings that a resumed run may have otherwise than it began: how far, with what means, how much is spent."""
PAID = Path("state") / "paid"
MARKED = ("events", "metrics", "relaxations", "dataset/failed_labels")
"""What a run that goes back to a mark forgets the end of."""
ONE_VALUE = {"oracle.method", "growth.species", "structure.surface_energies"}
"""Settings whose mapping is one value: given anew it replaces the old one, it does not add to it."""


class RunDirectory:
    """One campaign's files; holds a lock while open, so that two drivers never write one run.

    Logs with damaged lines are mended when it is opened.

    Attributes:
        damage: what was found damaged since then, and what was done about it, one line each.

    Raises:
        InputError: the directory cannot be written, is another campaign's, or is in use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = FileLock(self.path / ".lock")
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"run directory {self.path} is in use by another process; wait for it or stop it"
            ) from None
        except OSError as error:
            raise InputError(
                f"run directory {self.path} cannot be written ({error.strerror}); choose another with --run-dir"
            ) from None
        self.damage: list[str] = []
        self._mend()

    def close(self) -> None:
        self._lock.release()

    @property
    def paid(self) -> Path:
        """Where the oracle keeps labels until they are in the dataset, lest one is paid for twice."""
        return self.path / PAID

    # ------------------------------------------------------------------ config

    def settle_config(
        self, given: Mapping[str, Any], resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    ) -> Mapping[str, Any]:
        """The settings that are in force: what was given, over what the run began with, over the defaults.

        A resumed run keeps what it began with, also where a later version has other defaults.

        Args:
            given: what the user wrote: the config file with `--set`, without defaults.
            resolve: validates settings and fills in defaults; returns plain values.

        Returns:
            Resolved settings, as written to config.yaml.

        Raises:
            InputError: a setting that defines the campaign is given otherwise than the run began with, or the file of
                those is damaged.
        """
        target = self.path / CONFIG
        if not target.exists():
            settled = resolve(given)
        else:
            begun = read_config(target)
            settled = resolve(overlaid(begun, given))
            changed = [key for key in differing_keys(resolve(begun), settled) if not _may_change(key)]
            if changed:
                raise InputError(
                    f"{target}: this run was begun with other settings of {', '.join(changed)}; "
                    "give the same settings to resume it, or another --run-dir for a new run"
                )
        write_whole(target, with_checksum(yaml.safe_dump(dict(settled), sort_keys=False)))
        return settled

    # ------------------------------------------------------------------ seed

    def settle_seed(self, seed: Atoms) -> Atoms:
        """The crystal that this run grows from: `seed` on a new run, on a resumed one what it began with."""
        if self.seed is None:
            write_whole(self.path / SEED, seal(packed(seed)))
        stored = self.seed
        assert stored is not None
        return stored

    @property
    def seed(self) -> Atoms | None:
        """The crystal that this run began with, exact to the last bit; None on a new run."""
        return read_seed(self.path)

    # ------------------------------------------------------------------ logs

    def append(self, log: str, *lines: Mapping[str, Any]) -> None:
        """Add JSON lines to `log` (such as `events`), flushed to disk; a torn end is cut off."""
        append_lines(self.path / f"{log}.jsonl", [dict(line) for line in lines])

    def lines(self, log: str) -> list[dict[str, Any]]:
        """The whole lines of `log`."""
        return read_lines(self.path / f"{log}.jsonl")

    def _mend(self) -> None:
        """Drop damaged lines; of events all from the first on, for nothing is replayed across one that is missing."""
        for log in LOGS:
            path = self.path / f"{log}.jsonl"
            if log == "events":
                self._forget_after_damage(path)
            damage = mend_lines(path, up_to_damage=log == "events")
            if damage is not None:
                self._note(damage)

    def _forget_after_damage(self, events: Path) -> None:
        """Remove the crystals and sites of steps that a damaged log of events no longer has."""
        records = [line.record for line in lines_of(events)]
        if None in records:
            last = {line["walker"]: line["step"] for line in standing(filter(None, records[: records.index(None)]))}
            for folder in (self.path / "grown").glob("w[0-9]*"):
                walker = int(folder.name[1:])
                self.forget(walker, last.get(walker, 0) + 1)

    def _note(self, damage: str) -> None:
        self.damage.append(damage)
        self.append("provenance", {"what": "damage", "time": time.time(), "text": damage})

    # ------------------------------------------------------------------ checkpoint

    def write_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write what the other files do not say; the checkpoint before is kept, lest this one is damaged."""
        path = self.path / CHECKPOINT
        path.parent.mkdir(exist_ok=True)
        if checkpoint(path)[0] is not None:
            write_whole(self.path / PREVIOUS, path.read_bytes())
        write_whole(path, seal(dict(state)))

    def checkpoint(self, exact: bool) -> dict[str, Any]:
        """The newest checkpoint that is whole; empty where there is none.

        Args:
            exact: pass over one whose mark the logs and models no longer reach as they were.
        """
        problems, found = [], None
        for path in (self.path / CHECKPOINT, self.path / PREVIOUS):
            found, problem = checkpoint(path)
            if found is not None and exact and not self.reaches(found.get("mark", {})):
                found, problem = None, f"{path}: what it counts on is damaged"
            if found is not None:
                break
            problems.append(problem)
        if problems and (found or self.lines("events")):
            without = (
                "the run is grown anew with the labels that it has" if exact else "clocks and labels learnt are lost"
            )
            self._note(f"{'; '.join(map(str, problems))}; {without if found is None else 'the one before is used'}")
        return found or {}

    def mark(self) -> dict[str, int]:
        """Where the logs and the models stand now, for `return_to`; `crc` is the checksum of the logs."""
        paths = {log: self.path / f"{log}.jsonl" for log in MARKED}
        sizes = {log: path.stat().st_size if path.exists() else 0 for log, path in paths.items()}
        models = max((int(path.name[1:]) for path in self._models()), default=0)
        return {**sizes, "models": models, "crc": self._checksum(sizes)}

    def _checksum(self, sizes: Mapping[str, int]) -> int:
        """Of the logs, each up to its size."""
        crc = 0
        for log in MARKED:
            path = self.path / f"{log}.jsonl"
            crc = zlib.crc32(path.read_bytes()[: sizes.get(log, 0)] if path.exists() else b"", crc)
        return crc

    def reaches(self, mark: Mapping[str, int]) -> bool:
        """Whether logs and models up to a mark are as they were then."""
        models = [path for path in self._models() if int(path.name[1:]) <= mark.get("models", 0)]
        whole = len(models) == mark.get("models", 0) and all(model_problem(path) is None for path in models)
        crc = self._checksum(mark)
        return whole and mark.get("crc", crc) == crc

    def return_to(self, mark: Mapping[str, int]) -> None:
        """Take back what the logs and the models have gained since a mark; without one, all of it."""
        for log in MARKED:
            path, size = self.path / f"{log}.jsonl", mark.get(log, 0)
            if path.exists() and path.stat().st_size > size:
                os.truncate(path, size)
        for path in self._models():
            if int(path.name[1:]) > mark.get("models", 0):
                shutil.rmtree(path)

    def record_start(self, versions: Mapping[str, str]) -> None:
        """Note when, where and with what this process took the run up."""
        began = {"what": "start", "time": time.time(), "host": platform.node(), "pid": os.getpid()}
        self.append("provenance", {**began, "versions": dict(versions)})

    # ------------------------------------------------------------------ structures and models

    def write_structures(self, folder: str, walker: int, step: int, structures: Sequence[Atoms]) -> Path:
        """Write `structures` to `folder`/wNN/STEP.extxyz, exact to the last bit, whole or not at all."""
        target = self.path / folder / f"w{walker:02d}" / f"{step:06d}.extxyz"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, "".join(exact_frame(structure) for structure in structures), lasting=False)
        return target

    def forget(self, walker: int, step: int) -> None:
        """Remove the crystals and sites of a walker from a step on, which has been rolled back."""
        for folder in ("grown", "sites"):
            for path in (self.path / folder / f"w{walker:02d}").glob("*.extxyz"):
                if int(path.stem) >= step:
                    path.unlink()

    def write_sites(self, walker: int, step: int, sites: Sequence[Site]) -> Path:
        """Write the competing sites of a step as the surrogate scored them: the accepted one first."""
        return self.write_structures("sites", walker, step, [scored(site) for site in sites])

    def read_sites(self, walker: int, step: int) -> list[Atoms]:
        """The competing sites of a step as predicted (in their calculators), the accepted one first; none if gone.

        `info["member_energies"]` (n_members,), eV; `arrays["forces_std"]` (n_atoms,), eV/Å.
        """
        path = self.path / "sites" / f"w{walker:02d}" / f"{step:06d}.extxyz"
        sites = list(read(path, index=":")) if path.exists() and path.stat().st_size else []
        for site in sites:  # ASE reads one number as a scalar
            site.info["member_energies"] = np.atleast_1d(site.info["member_energies"])
        return sites

    def write_relaxations(self, search: Mapping[str, int], learnt: Relaxations) -> None:
        """Add what a search, told from others by some numbers, can teach a site head."""
        if len(learnt):
            arrays = {name: np.round(array, 5).tolist() for name, array in vars(learnt).items()}
            self.append("relaxations", {**search, **arrays})

    def relaxations(self, latest: int) -> Relaxations:
        """The latest that were written; of a search done again after an interruption those of the last time."""
        names = [field.name for field in fields(Relaxations)]
        searches = {
            tuple(value for key, value in line.items() if key not in names): [line[name] for name in names]
            for line in self.lines("relaxations")
        }
        found = [Relaxations(*map(np.array, arrays)) for arrays in searches.values()]
        return sum(found, Relaxations.none()).last(latest)

    def save_model(self, version: int, files: Mapping[str, bytes]) -> Path:
        """Store a model's files as models/vNNNN, whole or not at all."""
        target = self._model(version)
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, content in {**files, SUMS: sums(dict(files))}.items():
            with (partial / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        sync_directory(partial)
        partial.replace(target)
        sync_directory(target.parent)
        return target

    def model(self, version: int) -> dict[str, bytes]:
        """Files of a version.

        Raises:
            InputError: they are damaged.
        """
        path = self._model(version)
        if problem := model_problem(path):
            raise InputError(f"{problem}; restore it from a copy")
        return {file.name: file.read_bytes() for file in path.iterdir() if file.name != SUMS}

    def has_model(self, version: int) -> bool:
        """Whether the files of a version are whole, and those that were first stored under its number."""
        path = self._model(version)
        return path.is_dir() and model_problem(path) is None and not _set_aside(path).exists()

    def latest_model(self) -> tuple[int, dict[str, bytes]] | None:
        """Version and files of the newest model that is whole, if there is one; newer ones are set aside."""
        for path in reversed(self._models()):
            problem = model_problem(path)
            if problem is None:
                return int(path.name[1:]), self.model(int(path.name[1:]))
            aside = unused(_set_aside(path))
            path.rename(aside)
            self._note(f"{problem}; set aside as {aside.name}, the version before is used")
        return None

    def _model(self, version: int) -> Path:
        return self.path / "models" / f"v{version:04d}"

    def _models(self) -> list[Path]:
        return sorted((self.path / "models").glob("v[0-9][0-9][0-9][0-9]"))

    def write_json(self, name: str, content: Any) -> Path:
        """Write `content` to NAME, whole or not at all."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, json.dumps(content, indent=1))
        return target


def in_use(run: Path) -> bool:
    """Whether a process holds the run directory."""
    if not (run / ".lock").exists():
        return False
    lock = FileLock(run / ".lock", is_singleton=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # not ours to lock: then it is told by its files alone
        return False
    lock.release()
    return False


def scored(site: Site) -> Atoms:
    """The structure of a site with what the surrogate said of it, under the names that ASE takes for results."""
    structure = site.structure.copy()
    structure.info = {"energy": float(site.energy), "member_energies": np.atleast_1d(site.member_energies)}
    structure.arrays["forces"] = np.asarray(site.forces, dtype=float)
    structure.arrays["forces_std"] = np.asarray(site.forces_std, dtype=float)
    return structure


def exact_frame(structure: Atoms) -> str:
    """One frame of extended XYZ, numbers in their shortest exact form: a uid comes out the same after reading.

    Beside what `oracle.extxyz.frame` writes: which atoms move (`move_mask`, read by ASE as `FixAtoms`), and
    `member_energies` of `info`.
    """
    bare = structure.copy()
    if not movable_atoms(structure).all():
        bare.arrays["move_mask"] = movable_atoms(structure)
    text = frame(bare)
    if "member_energies" not in structure.info:
        return text
    count, header, atoms = text.split("\n", 2)
    energies = " ".join(repr(float(energy)) for energy in structure.info["member_energies"])
    return f'{count}\n{header} member_energies="{energies}"\n{atoms}'


def _set_aside(model: Path) -> Path:
    return model.with_name(f"damaged-{model.name}")


def read_seed(run: Path) -> Atoms | None:
    """The crystal that a run began with; None where the run has not noted one.

    Raises:
        InputError: it is damaged, or no seed.
    """
    path = run / SEED
    if not path.exists():
        return None
    content = read_sealed(path)
    try:
        seed = unpack(content)
        seed.set_tags(content["tags"])
        seed.set_constraint(FixAtoms(content["fixed"]) if content["fixed"] else None)
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: not a seed ({type(error).__name__}: {error}); restore it from a copy") from error
    return seed


def packed(seed: Atoms) -> dict[str, Any]:
    """A seed as JSON-like data, exact to the last bit: the geometry, tags, and which atoms do not move."""
    fixed = np.flatnonzero(~movable_atoms(seed))
    return {**pack(seed), "tags": seed.get_tags().tolist(), "fixed": fixed.tolist()}


def overlaid(base: Mapping[str, Any], top: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings with `top` over `base`; what is in `ONE_VALUE` is replaced as a whole.

    >>> overlaid({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 5}})
    {'a': 1, 'b': {'c': 5, 'd': 3}}
    >>> overlaid({"oracle": {"method": {"kind": "gpaw", "preset": "pw"}}}, {"oracle": {"method": {"kind": "gpaw"}}})
    {'oracle': {'method': {'kind': 'gpaw'}}}
    """
    result = dict(base)
    for key, value in top.items():
        below, name = result.get(key), f"{prefix}{key}"
        if isinstance(value, Mapping) and isinstance(below, Mapping) and name not in ONE_VALUE:
            value = overlaid(below, value, f"{name}.")
        result[key] = value
    return result


def differing_keys(one: Any, other: Any, prefix: str = "") -> list[str]:
    """Dotted keys at which two nested mappings differ.

    >>> differing_keys({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 5, "d": 3}})
    ['b.c']
    """
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return [] if one == other else [prefix]
    keys = [*one, *(key for key in other if key not in one)]
    return [
        found
        for key in keys
        for found in differing_keys(one.get(key), other.get(key), f"{prefix}.{key}" if prefix else str(key))
    ]


def _may_change(key: str) -> bool:
    return any(key == free or key.startswith(free + ".") for free in MAY_CHANGE)
