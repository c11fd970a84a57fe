"""What leaves a run: trajectories and labels as single files."""

from pathlib import Path

from growth.errors import InputError
from growth.run_directory import exact_frame
from growth.seeds import seed_of_run
from oracle import Dataset
from oracle.durable import write_whole
from oracle.extxyz import read_structures


def export_run(run: Path, out: Path) -> list[Path]:
    """Write OUT/wNN.extxyz, the growth of each walker from the seed on, and OUT/labels.extxyz.

    Raises:
        InputError: `run` is no run directory.
    """
    if not (run / "config.yaml").exists():
        raise InputError(f"{run}: not a run directory (no config.yaml); give the directory that `kossel grow` wrote")
    seed = seed_of_run(run)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for walker in sorted((run / "grown").glob("w[0-9][0-9]")):
        crystals = [read_structures(file)[-1] for file in sorted(walker.glob("*.extxyz"))]
        target = out / f"{walker.name}.extxyz"
        write_whole(target, "".join(map(exact_frame, crystals if seed is None else [seed, *crystals])))
        written.append(target)
    if (run / "dataset").exists():
        Dataset.read(run / "dataset").export(out / "labels.extxyz")
        written.append(out / "labels.extxyz")
    return written
