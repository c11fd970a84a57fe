"""What leaves a run: trajectories and labels as single files."""

from pathlib import Path

from ase.io import read, write

from growth.errors import InputError
from oracle import Dataset


def export_run(run: Path, out: Path) -> list[Path]:
    """Write OUT/wNN.extxyz, the growth of each walker, and OUT/labels.extxyz.

    Raises:
        InputError: `run` is no run directory.
    """
    if not (run / "config.yaml").exists():
        raise InputError(f"{run}: not a run directory (no config.yaml); give the directory that `kossel grow` wrote")
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for walker in sorted((run / "grown").glob("w[0-9][0-9]")):
        crystals = [read(file) for file in sorted(walker.glob("*.extxyz"))]
        target = out / f"{walker.name}.extxyz"
        write(target, crystals)
        written.append(target)
    if (run / "dataset").exists():
        Dataset.read(run / "dataset").export(out / "labels.extxyz")
        written.append(out / "labels.extxyz")
    return written
