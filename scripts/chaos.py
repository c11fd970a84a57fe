"""Kill a campaign again and again, anywhere: is a label lost, paid for twice, is a process left behind?

    python scripts/chaos.py --kills 100
    python scripts/chaos.py --kills 20 --config growth/configs/al_gpaw.yaml --set initial.n=16 --wait 60
    python scripts/chaos.py --kills 5 --set growth.n_atoms=16      (a few minutes)

SIGKILL after random waits to the driver, the learner, an oracle, a surrogate or a label's process of a campaign on a
private Ray, evenly among those that are there. Where the driver has died, the same command is started again at once;
what the dead one leaves running for more than two minutes is an orphan. A campaign that finishes is followed by the
next seed until all kills are done. At last the same ones run in peace. The dataset is read after every kill: all labels
that were there must be there, whole, each of them once. With `--set deterministic=true` all that the campaigns under
fire have grown, labelled and learnt must be, byte for byte, what the ones in peace have.
"""

import argparse
import json
import os
import random
import shlex
import statistics
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import Dataset
from oracle.durable import read_lines, write_whole
from scripts.markdown import plus_minus, table

ROOT = Path(__file__).resolve().parents[1]
VICTIMS = {
    "driver": "growth/run.py",
    "learner": "ray::Learner",
    "oracle": "ray::Oracle",
    "surrogate": "ray::Surrogate",
    "label": "oracle.worker",
}
GRACE_S = 120.0
"""In which the processes of a driver that died must have ended; two agents of Ray's notice after a minute."""


class Chaos:
    """Campaigns under fire in one folder.

    Args:
        folder: run directories lie there. config, overrides: of the campaigns. rng: draws waits and victims.
        wait_s: mean time between two kills.
    """

    def __init__(self, folder: Path, config: Path, overrides: list[str], rng: random.Random, wait_s: float) -> None:
        self.folder, self.config, self.overrides, self.rng, self.wait_s = folder, config, overrides, rng, wait_s
        self.kills: Counter[str] = Counter()
        self.left: list[tuple[float, list[psutil.Process]]] = []
        self.orphans: list[str] = []
        self.unreadable: list[str] = []
        self.lost: list[str] = []
        self.seen: set[str] = set()
        self.n_starts = 0

    def command(self, run: Path, seed: int) -> list[str]:
        """The one command of a campaign."""
        sets = [word for override in (*self.overrides, f"seed={seed}") for word in ("--set", override)]
        return [sys.executable, str(ROOT / "growth" / "run.py"), str(self.config), "--run-dir", str(run), *sets]

    def start(self, run: Path, seed: int) -> subprocess.Popen[bytes]:
        """The campaign, or its resumption."""
        self.n_starts += 1
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        log = (self.folder / f"{run.name}.log").open("ab")
        return subprocess.Popen(self.command(run, seed), env=environment, stdout=log, stderr=log)

    def under_fire(self, run: Path, seed: int, n_kills: int) -> int:
        """One campaign to its end, with at most so many kills; how many there were."""
        self.seen = set()
        process, done = self.start(run, seed), 0
        deadline = self._next()
        while process.poll() is None or process.returncode != 0:
            if process.poll() is not None:
                raise RuntimeError(f"{run}: the command ended with {process.returncode}; see {run}.log")
            time.sleep(0.2)
            self.end_orphans()
            if done >= n_kills or time.monotonic() < deadline:
                continue
            family = self._family(process.pid)
            victims = {kind: [each for each in family if _is(each, kind, process.pid)] for kind in VICTIMS}
            least = min(self.kills[kind] for kind in VICTIMS)
            wanted = [kind for kind in VICTIMS if self.kills[kind] == least and victims[kind]]
            if not wanted:  # still starting
                continue
            kind = self.rng.choice(wanted)
            self.rng.choice(victims[kind]).kill()
            self.kills[kind] += 1
            done += 1
            if kind == "driver":
                process.wait()
                self.left.append((time.monotonic() + GRACE_S, family))
                process = self.start(run, seed)
            deadline = self._next()
            self.check(run)
        self.check(run)
        return done

    def check(self, run: Path) -> None:
        """The dataset as a stranger reads it now."""
        if not (run / "dataset" / "segments").is_dir():
            return
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            dataset = Dataset.read(run / "dataset")
            problems = [*map(str, warned), *dataset.verify()]
        self.unreadable += problems
        now = set(dataset.uids)
        self.lost += sorted(self.seen - now)
        self.seen |= now

    def _next(self) -> float:
        return time.monotonic() + self.rng.expovariate(1 / self.wait_s)

    def _family(self, pid: int) -> list[psutil.Process]:
        try:
            parent = psutil.Process(pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def end_orphans(self, wait: bool = False) -> None:
        """Whoever is left of a dead driver's processes after the time for that is an orphan, and ended."""
        while self.left and (wait or self.left[0][0] < time.monotonic()):
            until, family = self.left.pop(0)
            for each in psutil.wait_procs(family, timeout=max(0.0, until - time.monotonic()))[1]:
                try:
                    self.orphans.append(" ".join(each.cmdline())[:120].strip())
                    each.kill()
                except psutil.NoSuchProcess:
                    continue


def _is(process: psutil.Process, kind: str, driver: int) -> bool:
    try:
        if kind == "driver":
            return process.pid == driver
        return any(VICTIMS[kind] in word for word in process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def outcome(run: Path) -> dict[str, Any]:
    """What a campaign came to: labels, those that the log of labels has twice, and the crystals' energies, eV/atom."""
    made = Counter(line["uid"] for line in read_lines(run / "dataset" / "provenance.jsonl") if "uid" in line)
    summary = json.loads((run / "summary.json").read_text())
    return {
        "labels": summary["labels"],
        "failed": summary["label_failures"],
        "twice": sorted(uid for uid, n in made.items() if n > 1),
        "energies": [walker["energy"] / walker["n_atoms"] for walker in summary["walkers"]],
    }


def differences(one: Path, other: Path) -> list[str]:
    """Files in which two runs differ that may not differ in a deterministic campaign, and `events` without times."""
    kinds = ("grown/*/*", "sites/*/*", "dataset/segments/*", "models/*/*")
    names = {path.relative_to(run) for run in (one, other) for kind in kinds for path in run.glob(kind)}
    differing = [str(name) for name in sorted(names) if _content(one / name) != _content(other / name)]
    events = [[line | {"seconds": None} for line in read_lines(run / "events.jsonl")] for run in (one, other)]
    return differing + ["events"] * (events[0] != events[1])


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def page(found: dict[str, Any], command: str) -> str:
    """The results as Markdown."""
    kills = ", ".join(f"{n} {kind}" for kind, n in found["kills"].items())
    rows = [
        [str(seed), *(told for of in (under, peace) for told in (str(of["labels"]), _energies(of)))]
        for seed, (under, peace) in enumerate(zip(found["under_fire"], found["in_peace"], strict=True))
    ]
    fire, calm = (
        plus_minus([statistics.mean(of["energies"]) for of in found[k]], 4) for k in ("under_fire", "in_peace")
    )
    head = ["seed", "labels under fire", "eV/atom", "labels in peace", "eV/atom"]
    lines = [
        "# Killed at any moment",
        "",
        " ".join((__doc__ or "").split("\n\n")[-1].split()),
        "",
        f"`{command}`: {sum(found['kills'].values())} kills ({kills}), {found['starts']} starts, "
        f"{found['minutes']:.0f} minutes. **{len(found['lost'])} labels lost, {len(found['twice'])} paid for twice, "
        f"{len(found['orphans'])} processes left behind, {len(found['unreadable'])} times unreadable.**",
        "",
        *(
            [f"Files that differ from those of the undisturbed runs: {len(found['differ'])}.", ""]
            if found["exact"]
            else [
                f"Energy of the grown crystals, mean over seeds: {fire} eV/atom under fire, {calm} in peace.",
                "",
            ]
        ),
        *table(head, rows),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _energies(of: dict[str, Any]) -> str:
    return ", ".join(f"{energy:.4f}" for energy in of["energies"])


def main() -> None:
    """Kill, compare, tell; exit code 1 where anything was lost, doubled, left behind or unreadable."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--config", type=Path, default=ROOT / "growth" / "configs" / "al_emt.yaml")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="section.key=value")
    parser.add_argument("--wait", type=float, default=6.0, help="mean seconds between two kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs") / "chaos", help="for the run directories")
    parser.add_argument("--out", type=Path, default=None, help="folder for chaos.json and chaos.md; default: FOLDER")
    given = parser.parse_args()
    folder, out = given.folder.absolute(), (given.out or given.folder).absolute()
    if folder.exists():
        print(f"error: {folder} is there; choose another --folder", file=sys.stderr)
        sys.exit(2)
    folder.mkdir(parents=True, mode=0o700)
    chaos = Chaos(folder, given.config, given.overrides, random.Random(given.seed), given.wait)
    began, done, runs = time.monotonic(), 0, 0
    while done < given.kills:
        done += chaos.under_fire(folder / f"fire{runs}", runs, given.kills - done)
        runs += 1
        print(f"{done} of {given.kills} kills, {runs} campaigns done", flush=True)
    chaos.end_orphans(wait=True)
    minutes = (time.monotonic() - began) / 60
    for seed in range(runs):
        peace = chaos.start(folder / f"peace{seed}", seed)
        if peace.wait() != 0:
            raise RuntimeError(f"the undisturbed campaign {seed} ended with {peace.returncode}")
    under = [outcome(folder / f"fire{seed}") for seed in range(runs)]
    found = {
        "kills": dict(chaos.kills),
        "starts": chaos.n_starts - runs,
        "minutes": minutes,
        "lost": chaos.lost,
        "twice": [uid for of in under for uid in of["twice"]],
        "orphans": chaos.orphans,
        "unreadable": chaos.unreadable,
        "exact": "deterministic=true" in given.overrides,
        "differ": [
            name for seed in range(runs) for name in differences(folder / f"fire{seed}", folder / f"peace{seed}")
        ],
        "under_fire": under,
        "in_peace": [outcome(folder / f"peace{seed}") for seed in range(runs)],
    }
    out.mkdir(parents=True, exist_ok=True)
    words = ["python", "scripts/chaos.py", "--kills", f"{given.kills}", "--wait", f"{given.wait:g}"]
    words += ["--config", f"{given.config}"] * (given.config != parser.get_default("config"))
    words += [word for override in given.overrides for word in ("--set", override)]
    write_whole(out / "chaos.json", json.dumps(found, indent=1) + "\n")
    write_whole(out / "chaos.md", page(found, shlex.join(words)))
    print((out / "chaos.md").read_text())
    differ = found["exact"] and found["differ"]
    if differ or found["lost"] or found["twice"] or found["orphans"] or found["unreadable"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
