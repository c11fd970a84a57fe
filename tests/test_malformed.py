"""Malformed input to every command: exit code 2 and one line, never a traceback, a hang or a file elsewhere.

`pytest tests/test_malformed.py -m "slow or not slow"` runs thousands of inputs in this process and 60 outside of it.
"""

import contextlib
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from malformations import COMMANDS, Case, Malformer, spoilt, stock

from growth.cli import main

ROOT = Path(__file__).parents[1]
FEW, MANY = 8, 250
"""Inputs for each command."""
AT_ONCE = 8
"""Command lines that every run of the tests tries; all of them are slow."""
SECONDS = 20
"""Of computing, that a command may take over malformed input."""
GIGABYTES = 4
"""Of memory, beyond what this process has."""


class LongWork(Exception):
    """The input was accepted: what comes next is minutes of work."""


class Overdue(BaseException):
    """A command computes for too long."""


class Ended(NamedTuple):
    """How a command ended; code None: with the beginning of long work."""

    code: int | str | None
    err: str
    elsewhere: list[str]


class Watch:
    """Notes what is written outside of `folder`, while one is set."""

    folder: Path | None = None
    elsewhere: ClassVar[list[str]] = []

    @classmethod
    def see(cls, event: str, arguments: tuple[Any, ...]) -> None:
        if cls.folder is None:
            return
        if event == "open":
            path, _, flags = arguments
            paths = [path] if (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else []
        elif event in ("os.rename", "os.symlink", "os.link"):
            paths = list(arguments[:2])
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "sqlite3.connect"):
            paths = list(arguments[:1])
        else:
            return
        for path in map(os.fsdecode, (path for path in paths if isinstance(path, str | bytes | os.PathLike))):
            found = Path(os.path.abspath(path))  # noqa: PTH100 (a link is where it is)
            if not (found.is_relative_to(cls.folder) or "__pycache__" in found.parts or found == Path("/dev/null")):
                cls.elsewhere.append(f"{event} {found}")


sys.addaudithook(Watch.see)


def end_here(*_: Any, **__: Any) -> None:
    raise LongWork


def overdue(*_: Any) -> None:
    raise Overdue


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stock(tmp_path_factory.mktemp("stock"))


@pytest.fixture(scope="module")
def bad(working: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad") / "x"
    shutil.copytree(working, folder)
    spoilt(folder)
    return folder


@pytest.fixture
def no_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "growth.loop.Campaign.run",
        "growth.run.connect",
        "growth.oracle_pool.connect",
        "growth.make_dataset.Task",
        "oracle.campaign.Labeller",
    ):
        monkeypatch.setattr(name, end_here)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """So many seconds of computing and so much more memory at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGPROF, overdue)
    resource.setrlimit(resource.RLIMIT_AS, (taken + GIGABYTES * 2**30, hard))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work deep in a folder, temporary files too, under the warnings of an ordinary Python."""
    cwd, temporary = folder / "a" / "b" / "c", folder / "tmp"
    for new in (cwd, temporary, folder / "out"):
        new.mkdir(parents=True)
    with contextlib.chdir(cwd), warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("default")
        for quiet in (DeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", quiet)
        patch.setattr(tempfile, "tempdir", str(temporary))
        Watch.folder, Watch.elsewhere = folder, []
        try:
            yield
        finally:
            Watch.folder = None


def run(arguments: list[str], folder: Path) -> Ended:
    """`kossel ARGUMENTS` in this process."""
    err, code = io.StringIO(), 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err), inside(folder):
        try:
            with bounded():
                main(arguments)
        except SystemExit as ended:
            code = ended.code
        except LongWork:
            code = None
        except (Exception, Overdue):
            code = 99
            traceback.print_exc()
    return Ended(code, err.getvalue(), Watch.elsewhere)


def check(case: Case, ended: Ended) -> None:
    """A refusal is one line; nothing is written elsewhere."""
    told = f"kossel {' '.join(map(repr, case.arguments))}\nexit code {ended.code}\n{ended.err}"
    assert ended.code in (None, 0, 1, 2), told
    assert not ended.elsewhere, f"{told}\n{ended.elsewhere}"
    assert "Traceback" not in ended.err, told
    lines = [line for line in ended.err.splitlines() if not line.startswith("warning: ")]
    if ended.code == 2:
        assert len(lines) == 1, told
        assert lines[0].startswith("error: "), told
        assert 12 < len(lines[0]) < 1000, told
    elif ended.code != 1:
        assert not lines, told
    if case.refused:
        assert ended.code == 2, told


def malformed(command: str, working: Path, n: int) -> None:
    """Run a command on n malformed inputs."""
    refused = 0

    @settings(
        max_examples=n,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def one(chance: Random) -> None:
        nonlocal refused
        with tempfile.TemporaryDirectory(prefix="malformed") as name:
            folder = Path(name) / "x"
            shutil.copytree(working, folder)
            case = Malformer(chance, folder).case(command)
            ended = run(case.arguments, folder)
            check(case, ended)
            refused += ended.code == 2

    one()
    print(f"{command}: {n} malformed inputs, {refused} refused")
    assert refused >= n // 10


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("no_long_work")
def test_malformed_input(command: str, working: Path) -> None:
    malformed(command, working, FEW)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("no_long_work")
def test_thousands_of_malformed_inputs(command: str, working: Path) -> None:
    malformed(command, working, MANY)


OUTSIDE = """
grow @bomb.yaml --run-dir @out/run | bomb.yaml
label @nan.extxyz --method @method.yaml --dataset @out/data | position of atom 1 is not finite
dataset info @torn_dataset | 000000.extxyz
status @torn_run | config.yaml
dataset split @dataset --out @out/parts --ratio nan/1/1 | ratio
run.py --bogus | --bogus
label @dimers.extxyz --method @method.yaml --dataset @out/d --timeout nan | --timeout
dataset merge @out/d @dataset @other | do not mix
train --data @flat.extxyz --out @out/model | span no volume
evaluate @pickle_model @dimers.extxyz | model.safetensors
make-dataset augmented-qm9 --method @lj.yaml --out @out/data --qm9 @qm9_torn.csv --limit 1 | qm9_torn.csv
run.py @climbing.yaml | name
grow @merges.yaml | references
grow @deep.yaml | nested
grow @tag.yaml | tag
grow @empty.yaml | mapping
grow @list.yaml | mapping
grow @nan.yaml | growth.temperature_K
grow @infinite.yaml | growth.species
grow @unknown.yaml --dry-run | growth
grow @huge.yaml --dry-run | structure.repeat
grow @binary.yaml | binary.yaml
grow @folder.yaml | folder.yaml
grow @loop.yaml | loop.yaml
grow @config.yaml --run-dir @torn_run | torn_run
grow @config.yaml --run-dir @bomb.yaml/run | run directory
grow @config.yaml --set growth.n_atoms | --set
grow @config.yaml --set =1 | --set
grow @config.yaml --set walkers=1e99 | walkers
grow @config.yaml --set growth.sites.fmax=.inf | growth.sites.fmax
grow @config.yaml --set oracle.method={kind:emt} | oracle.method
run.py @config.yaml --set seed=-1 | seed
run.py @none.yaml @none.yaml | none.yaml
label @count.extxyz --method @method.yaml --dataset @out/d | count.extxyz
label @torn.extxyz --method @method.yaml --dataset @out/d | torn.extxyz
label @element.extxyz --method @method.yaml --dataset @out/d | element.extxyz
label @overlap.extxyz --method @method.yaml --dataset @out/d | overlap
label @none.extxyz --method @method.yaml --dataset @out/d | no atoms
label @far.extxyz --method @method.yaml --dataset @out/d | Å
label @junk.cif --method @method.yaml --dataset @out/d | junk.cif
label @junk.db --method @method.yaml --dataset @out/d | junk.db
label @pickle.traj --method @method.yaml --dataset @out/d | pickle.traj
label @dimers.extxyz --method @nanlj.yaml --dataset @out/d | epsilon
label @dimers.extxyz --method @nanase.yaml --dataset @out/d | settings
label @dimers.extxyz --method @method.yaml --dataset @other | do not mix
label @dimers.extxyz --method @method.yaml --dataset @out/d --ranks 0 | --ranks
dataset import @out/d @bare.extxyz --method @method.yaml | no energy
dataset import @out/d @far.extxyz --method @method.yaml | Å
dataset export @dataset @out/x.pdf | .extxyz
dataset relabel @torn_dataset --method @lj.yaml --out @out/d | 000000.extxyz
dataset retry @none --method @method.yaml | no dataset
train --data @nan.extxyz --out @out/model | not finite
train --data @dataset --out @out/model --from @torn_model | torn
train --data @dataset --out @out/model --minutes inf | minutes
train --data @dataset --out @out/model --set network.n_features=1000000000 | n_features
evaluate @deep_model @dimers.extxyz | model.json
evaluate @other_model @dimers.extxyz | network
evaluate @headless_model @dimers.extxyz | model.json
export @torn_run --out @out/export | seed.json
make-dataset crystal-growth --method @method.yaml --out @out/d --sizes 15-99999 | sizes
""".strip().splitlines()


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=[pytest.mark.slow] * (n >= AT_ONCE)) for n, line in enumerate(OUTSIDE)]
)
def test_malformed_command_lines(line: str, bad: Path, tmp_path: Path) -> None:
    """Through the real command, from a folder of its own, which stays empty."""
    words, _, said = (part.strip() for part in line.partition(" | "))
    program, *arguments = words.replace("@out", str(tmp_path / "out")).replace("@", f"{bad}/").split()
    command = [Path(sys.executable).parent / "kossel", program]
    if program == "run.py":
        command = [sys.executable, ROOT / "growth" / "run.py"]
    cwd, home, temporary = (tmp_path / name for name in ("cwd", "home", "tmp"))
    for folder in (cwd, home, temporary):
        folder.mkdir()
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(temporary)}
    before = listing(bad)
    done = subprocess.run(
        [*command, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    check(Case(words.split(), True), Ended(done.returncode, done.stderr, listing(cwd)))
    assert said in done.stderr
    assert "unpickled" not in done.stderr
    assert listing(bad) == before
    assert not (tmp_path / "out").exists()


def listing(folder: Path) -> list[str]:
    """Every file below a folder, locks left out."""
    return sorted(str(path) for path in folder.rglob("*") if path.name != ".lock")


def test_sixty_command_lines() -> None:
    assert len(OUTSIDE) >= 60
