"""What would go wrong on this machine, and what to do about it; nothing is changed."""

import importlib.metadata
import importlib.util
import os
import resource
import shutil
import stat
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.version import Version
from rich.console import Console
from rich.table import Table

from growth.damage import damage_of
from growth.process import n_cores
from growth.run_directory import in_use
from oracle import Dataset
from oracle.durable import lines_of
from oracle.errors import InputError as OracleInputError
from oracle.runner import MPI_PREFIXES

PYTHON = (3, 11)
DISK_GB, SHARED_GB, OPEN_FILES = 2.0, 0.5, 1024
"""Least that a campaign should find free: on disk, in shared memory; open files of a process."""
SOCKET_PATH = 60
"""Longest that RAY_TMPDIR may be: Ray makes socket paths of it, and those end at 107 characters."""
DASHBOARD = "http://127.0.0.1:8265"
State = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it stands, what was seen, and what to do where it is not good."""

    what: str
    state: State
    seen: str
    remedy: str = ""


Findings = Iterator[Finding]


def examine(environment: Mapping[str, str], run: Path | None = None) -> list[Finding]:
    """Look at everything.

    Args:
        environment: variables, as `os.environ` has them.
        run: a run directory, if one is to be looked at too.
    """
    looks: list[Callable[[], Findings]] = [
        python_and_packages,
        lambda: gpaw_build(environment),
        lambda: mpi_variables(environment),
        lambda: threads(environment, n_cores()),
        lambda: authentication(environment),
        lambda: dashboard(environment),
        lambda: ray_folder(environment),
        lambda: space({"working directory": Path.cwd(), "temporary folder": Path(environment.get("TMPDIR", "/tmp"))}),
        limits,
    ]
    if run is not None:
        looks.append(lambda: run_directory(run))
    return [finding for look in looks for finding in look()]


def python_and_packages(requirements: list[str] | None = None) -> Findings:
    """The interpreter, and every package that Kossel needs, in the version that it needs."""
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] >= PYTHON
    yield Finding("Python", "good" if good else "bad", version, "" if good else "take Python 3.11 or newer")
    if requirements is None:
        requirements = importlib.metadata.requires("kossel") or []
    every = [Requirement(text) for text in requirements]
    wanted = [each for each in every if each.marker is None or each.marker.evaluate({"extra": ""})]
    wrong = []
    for package in wanted:
        try:
            installed = importlib.metadata.version(package.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{package.name} is not installed")
            continue
        if not package.specifier.contains(Version(installed), prereleases=True):
            wrong.append(f"{package.name} {installed}, wanted {package.specifier}")
    yield (
        Finding("packages", "bad", "; ".join(wrong), "run `make setup`")
        if wrong
        else Finding("packages", "good", f"all {len(wanted)} that are needed")
    )


def gpaw_build(environment: Mapping[str, str]) -> Findings:
    """Whether GPAW is there, with its compiled part and its PAW data; EMT, xTB and others do without."""
    if importlib.util.find_spec("gpaw") is None:
        yield Finding("GPAW", "note", "not installed", "for density-functional labels run `make setup`")
        return
    if importlib.util.find_spec("_gpaw") is None:
        remedy = "build it anew: python scripts/build_gpaw.py"
        yield Finding("GPAW", "bad", "installed without its compiled part _gpaw", remedy)
    else:
        yield Finding("GPAW", "good", importlib.metadata.version("gpaw"))
    given = [Path(entry) for entry in environment.get("GPAW_SETUP_PATH", "").split(os.pathsep) if entry]
    missing = [str(folder) for folder in given if not folder.is_dir()]
    packaged = importlib.util.find_spec("gpaw_data") is not None
    if missing:
        yield Finding("PAW data", "bad", f"GPAW_SETUP_PATH names {', '.join(missing)}, not there", "mend or unset it")
    elif not given and not packaged:
        yield Finding("PAW data", "bad", "none", "pip install gpaw-data, or set GPAW_SETUP_PATH")
    else:
        yield Finding("PAW data", "good", os.pathsep.join(map(str, given)) or "gpaw-data")


def mpi_variables(environment: Mapping[str, str]) -> Findings:
    """Variables that an outer MPI or scheduler has set; a label's process is started without them."""
    found = sorted(name for name in environment if name.startswith(MPI_PREFIXES) and "RUN_AS_ROOT" not in name)
    ranks = [name for name in found if name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "MPI_LOCALNRANKS")]
    if ranks:
        remedy = "start Kossel without mpirun or srun; oracle.labels.n_ranks starts the ranks of a label"
        yield Finding("MPI", "bad", f"this process is a rank of another MPI ({', '.join(ranks)})", remedy)
    elif found:
        yield Finding("MPI", "note", f"{len(found)} variables of a scheduler, kept from labels")
    else:
        yield Finding("MPI", "good", "no outer MPI")


def threads(environment: Mapping[str, str], cores: int) -> Findings:
    """Whether each label and each network would take all cores at once."""
    given = environment.get("OMP_NUM_THREADS")
    if given is not None and not (given.isdigit() and 0 < int(given) <= cores):
        remedy = f"export OMP_NUM_THREADS=1, at most {cores}"
        yield Finding("threads", "bad", f"OMP_NUM_THREADS={given} on {cores} cores", remedy)
    else:
        yield Finding("threads", "good", f"OMP_NUM_THREADS {given or 'not set'}, {cores} cores")


def authentication(environment: Mapping[str, str]) -> Findings:
    """Whether Ray asks for a token, which is there and nobody else's."""
    mode = environment.get("RAY_AUTH_MODE", "")
    if mode != "token":
        state: State = "bad" if environment.get("RAY_ADDRESS") else "note"
        remedy = "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(openssl rand -hex 32), before `ray start` too"
        yield Finding("Ray's token", state, "RAY_AUTH_MODE is not token: who reaches Ray's ports runs code", remedy)
        return
    if environment.get("RAY_AUTH_TOKEN"):
        yield Finding("Ray's token", "good", "in RAY_AUTH_TOKEN")
        return
    home = Path(environment.get("HOME", "~")).expanduser()
    path = Path(environment.get("RAY_AUTH_TOKEN_PATH") or home / ".ray" / "auth_token")
    if not path.is_file():
        yield Finding("Ray's token", "bad", f"no token in RAY_AUTH_TOKEN or {path}", "set RAY_AUTH_TOKEN")
    elif path.stat().st_mode & 0o077:
        yield Finding("Ray's token", "bad", f"{path} can be read by others", f"chmod 600 {path}")
    else:
        yield Finding("Ray's token", "good", f"in {path}")


def dashboard(environment: Mapping[str, str], default: str = DASHBOARD) -> Findings:
    """Whether a Ray that runs here answers without a token."""
    address = environment.get("RAY_ADDRESS", "")
    url = address if address.startswith(("http://", "https://")) else default
    request = urllib.request.Request(f"{url.rstrip('/')}/api/version")
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            code = answer.status
    except urllib.error.HTTPError as error:
        code = error.code
    except (OSError, ValueError):
        state: State = "bad" if address else "good"
        remedy = "start Ray there, or unset RAY_ADDRESS" if address else ""
        yield Finding("Ray's ports", state, f"nobody answers at {url}", remedy)
        return
    if code in (401, 403):
        yield Finding("Ray's ports", "good", f"{url} asks for a token")
    else:
        remedy = "stop that Ray and start it with RAY_AUTH_MODE=token"
        yield Finding("Ray's ports", "bad", f"{url} answers without a token (status {code})", remedy)


def ray_folder(environment: Mapping[str, str]) -> Findings:
    """Whether Ray's session folder can be made, with sockets of a length that the system takes, seen by nobody else."""
    given = environment.get("RAY_TMPDIR")
    if given is None:
        remedy = "export RAY_TMPDIR to a folder of yours with mode 700"
        yield Finding("Ray's folder", "note", "/tmp/ray, which others may enter", remedy)
        return
    path = Path(given)
    if len(given) > SOCKET_PATH:
        remedy = f"choose one of at most {SOCKET_PATH} characters"
        yield Finding("Ray's folder", "bad", f"RAY_TMPDIR has {len(given)} characters, too many for sockets", remedy)
    elif not path.is_dir() or not os.access(path, os.W_OK):
        yield Finding("Ray's folder", "bad", f"RAY_TMPDIR={given} cannot be written", f"mkdir -m 700 -p {given}")
    elif path.stat().st_mode & 0o077:
        yield Finding("Ray's folder", "note", f"{given} can be entered by others", f"chmod 700 {given}")
    else:
        yield Finding("Ray's folder", "good", given)


def space(folders: Mapping[str, Path], least_gb: float = DISK_GB, shared: Path = Path("/dev/shm")) -> Findings:
    """Room on disk, and in shared memory for Ray's objects."""
    wanted = [(name, path, least_gb) for name, path in folders.items()]
    for name, path, least in [*wanted, ("shared memory", shared, SHARED_GB)]:
        if not path.is_dir():
            yield Finding(name, "note", f"no folder {path}")
            continue
        free = shutil.disk_usage(path).free / 1e9
        good, seen = free >= least, f"{free:.1f} GB free in {path}"
        yield Finding(name, "good" if good else "bad", seen, "" if good else f"make room: {least:g} GB at least")


def limits(open_files: int | None = None) -> Findings:
    """Open files that a process may have: Ray takes some for every worker."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if open_files is None else open_files
    good = most >= OPEN_FILES
    yield Finding("open files", "good" if good else "bad", f"at most {most}", "" if good else "ulimit -n 4096")


def run_directory(run: Path) -> Findings:
    """Whether a run directory is whole, ours alone, and free to go on with."""
    if not (run / "config.yaml").is_file():
        yield Finding("run directory", "bad", f"{run}: no config.yaml", "give the directory that `kossel grow` wrote")
        return
    mode = stat.S_IMODE(run.stat().st_mode)
    if not os.access(run, os.W_OK):
        yield Finding(
            "run directory", "bad", f"{run} cannot be written", f"chown or chmod it, or copy it: cp -r {run} …"
        )
    elif mode & 0o077:
        yield Finding("run directory", "note", f"{run} has mode {mode:o}: others may enter", f"chmod 700 {run}")
    else:
        yield Finding("run directory", "good", str(run))
    if in_use(run):
        yield Finding("its lock", "note", "a process works on it", "wait for it, or stop it, before the command again")
    else:
        yield Finding("its lock", "good", "free")
    damage, remedy = damage_of(run), "the command that began it mends it, or says what to do; or restore it from a copy"
    yield Finding("its files", "bad", "; ".join(damage), remedy) if damage else Finding("its files", "good", "whole")
    for part in ("dataset", "certificate"):
        if (run / part / "segments").is_dir():
            yield from dataset(run / part, f"its {part}")
    records = (line.record for line in lines_of(run / "provenance.jsonl"))
    began = [record for record in records if record is not None and record["what"] == "start"]
    changed = []
    for name, then in (began[-1]["versions"] if began else {}).items():
        now = _version(name)
        if now is not None and now != then:
            changed.append(f"{name} {then} → {now}")
    remedy = "labels of another GPAW are of another method; go on with the versions that it began with"
    yield (
        Finding("its versions", "note", f"last worked on with others: {', '.join(changed)}", remedy)
        if changed
        else (Finding("its versions", "good", "those of its last start"))
    )


def dataset(directory: Path, what: str) -> Findings:
    """Whether the labels of a dataset are whole."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same is told below
        try:
            labels = Dataset.read(directory)
            problems, failed = labels.verify(), labels.failures()
        except OracleInputError as error:
            yield Finding(what, "bad", str(error), "restore it from a copy")
            return
    if problems:
        remedy = f"the other {len(labels)} labels are used; restore the file from a copy, or delete it and label again"
        yield Finding(what, "bad", "; ".join(problems), remedy)
    elif failed:
        yield Finding(what, "note", f"{len(labels)} labels, {len(failed)} failed", f"kossel dataset retry {directory}")
    else:
        yield Finding(what, "good", f"{len(labels)} labels")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def print_findings(console: Console, findings: list[Finding]) -> None:
    """As a table: what is bad first."""
    order: dict[State, int] = {"bad": 0, "note": 1, "good": 2}
    table = Table(show_header=False)
    for finding in sorted(findings, key=lambda finding: order[finding.state]):
        told = finding.seen + (f"\n→ {finding.remedy}" if finding.remedy else "")
        table.add_row(finding.state, finding.what, told, end_section=bool(finding.remedy))
    console.print(table)


def told(findings: list[Finding]) -> list[dict[str, str]]:
    """The same as plain values."""
    return [asdict(finding) for finding in findings]
