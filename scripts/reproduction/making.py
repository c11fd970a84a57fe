"""Labels the paper's datasets through `kossel make-dataset`, or goes on where that stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from reproduction.scale import ROOT, Scale


def make(name: str, n: int | None, scale: Scale) -> Path:
    """The directory of the labelled dataset; complete when this returns.

    Raises:
        RuntimeError: the command failed.
    """
    from reproduction.data import METHODS

    directory = scale.data / (f"{name}-{n}" if n is not None else name)
    done = directory / "made"
    if done.exists():
        return directory
    scale.data.mkdir(parents=True, exist_ok=True)
    method = scale.data / f"{METHODS[name]['kind']}.yaml"
    method.write_text(yaml.safe_dump(METHODS[name]))
    command = [sys.executable, "-P", "-m", "growth.cli", "make-dataset", name, "--method", str(method), "--out"]
    command += [str(directory), "--workers", str(scale.workers)] + ([] if n is None else ["--limit", str(n)])
    if name == "crystal-growth":
        command += ["--sizes", f"15-{scale.beyond}"]
    print(" ".join(command), flush=True)
    if subprocess.run(command, cwd=ROOT, env=_environment(), check=False).returncode:
        raise RuntimeError(f"labels of {name} are not complete: run {' '.join(command)}")
    done.touch()
    return directory


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}
