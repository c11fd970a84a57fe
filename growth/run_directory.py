"""The run directory: everything a campaign knows, on disk, so that the same command goes on after any stop.

```
config.yaml   events.jsonl   metrics.jsonl   provenance.jsonl   summary.json   certificate.json   *.png
grown/w00/000123.extxyz      the crystal of walker 0 after step 123
sites/w00/000123.extxyz      the competing sites of that step as the surrogate scored them, the accepted one first
dataset/                     labelled structures that the learner sees      certificate/   labels that it never sees
models/v0007/                model.safetensors, model.json                  state/         checkpoint.json
```
"""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from filelock import FileLock, Timeout

from growth.errors import InputError
from growth.sites import Site

MAY_CHANGE = {"growth.n_atoms", "oracle.actors", "ray", "certificate", "pool", "learner.final"}


class RunDirectory:
    """One campaign's files; holds a lock while open, so that two drivers never write one run.

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

    def close(self) -> None:
        self._lock.release()

    # ------------------------------------------------------------------ config

    def settle_config(self, config: Mapping[str, Any]) -> None:
        """Write the resolved config; on a resumed run compare it with what the run began with.

        Raises:
            InputError: a setting that defines the campaign differs.
        """
        target = self.path / "config.yaml"
        if target.exists():
            begun = yaml.safe_load(target.read_text())
            changed = [key for key in differing_keys(begun, config) if not _may_change(key)]
            if changed:
                raise InputError(
                    f"{target}: this run was begun with other settings of {', '.join(changed)}; "
                    "give the same settings to resume it, or another --run-dir for a new run"
                )
        write_atomically(target, yaml.safe_dump(dict(config), sort_keys=False))

    # ------------------------------------------------------------------ logs

    def append(self, log: str, line: Mapping[str, Any]) -> None:
        """Add one JSON line to `log` (`events`, `metrics` or `provenance`), flushed to disk."""
        with (self.path / f"{log}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def lines(self, log: str) -> list[dict[str, Any]]:
        """The whole lines of `log`; a torn last line is cut off the file, so that the next one starts clean."""
        path = self.path / f"{log}.jsonl"
        if not path.exists():
            return []
        raw = path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            with path.open("r+b") as file:
                file.truncate(len(whole))
        return [json.loads(line) for line in whole.splitlines()]

    def record_start(self, versions: Mapping[str, str]) -> None:
        """Note when, where and with what this process took the run up."""
        began = {"what": "start", "time": time.time(), "host": platform.node(), "pid": os.getpid()}
        self.append("provenance", {**began, "versions": dict(versions)})

    # ------------------------------------------------------------------ structures and models

    def write_structures(self, folder: str, walker: int, step: int, structures: Sequence[Atoms]) -> Path:
        """Write `structures` to `folder`/wNN/STEP.extxyz, whole or not at all."""
        target = self.path / folder / f"w{walker:02d}" / f"{step:06d}.extxyz"
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        write(partial, list(structures), format="extxyz")
        partial.replace(target)
        return target

    def write_sites(self, walker: int, step: int, sites: Sequence[Site]) -> Path:
        """Write the competing sites of a step as the surrogate scored them: the accepted one first."""
        return self.write_structures("sites", walker, step, [scored(site) for site in sites])

    def read_sites(self, walker: int, step: int) -> list[Atoms]:
        """The competing sites of a step as predicted (in their calculators), the accepted one first."""
        return list(read(self.path / "sites" / f"w{walker:02d}" / f"{step:06d}.extxyz", index=":"))

    def save_model(self, version: int, files: Mapping[str, bytes]) -> Path:
        """Store a model's files as models/vNNNN, whole or not at all."""
        target = self.path / "models" / f"v{version:04d}"
        partial = target.with_suffix(".partial")
        partial.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        partial.replace(target)
        return target

    def latest_model(self) -> tuple[int, dict[str, bytes]] | None:
        """Version and files of the newest model, if there is one."""
        found = sorted((self.path / "models").glob("v[0-9][0-9][0-9][0-9]"))
        if not found:
            return None
        return int(found[-1].name[1:]), {file.name: file.read_bytes() for file in found[-1].iterdir()}

    def read_json(self, name: str) -> Any:
        """The content of NAME; None where there is no such file."""
        path = self.path / name
        return json.loads(path.read_text()) if path.exists() else None

    def write_json(self, name: str, content: Any) -> Path:
        """Write `content` to NAME, whole or not at all."""
        return write_atomically(self.path / name, json.dumps(content, indent=1))


def scored(site: Site) -> Atoms:
    """The structure of a site with what the surrogate said of it, as extxyz can hold it."""
    structure = site.structure.copy()
    structure.info = {"member_energies": np.asarray(site.member_energies)}
    structure.arrays["forces_std"] = np.asarray(site.forces_std)
    structure.calc = SinglePointCalculator(structure, energy=float(site.energy), forces=np.asarray(site.forces))
    return structure


def write_atomically(target: Path, text: str) -> Path:
    """Write, flush to disk, then rename: readers see the old file or the new one, never a part."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(target)
    return target


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
