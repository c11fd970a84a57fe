"""One label in its own process: job in, result out, a timeout that kills everything, and no orphan."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from oracle.errors import InputError
from oracle.methods import Method
from oracle.outcome import RawFailure, RawLabel
from oracle.settings import LabelSettings
from oracle.worker import pack

KILLS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM})
"""Signals that no calculation raises by itself."""
MPI_PREFIXES = ("PMI_", "PMIX_", "OMPI_", "MPI_", "SLURM_", "HYDRA_", "PRTE_", "MV2_", "I_MPI_")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
_ROOT = Path(__file__).resolve().parent.parent

# Runs the command in its own process group and waits for it. When the parent goes, however it goes, the kernel signals
# this process, and it takes the whole group with it: the calculation and whatever that has started.
_SUPERVISOR = """
import ctypes, os, signal, sys
def end(*_):
    os.killpg(0, signal.SIGKILL)
signal.signal(signal.SIGTERM, end)
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.execvp(sys.argv[2], sys.argv[2:])
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.exit(code if code >= 0 else 128 - code)
"""


def clean_environment(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return the environment of a label process: no variables of an outer MPI or batch job, few threads, our modules.

    The folder that it starts in is not on its path: another `oracle` may lie there.

    >>> sorted(clean_environment({"PMI_SIZE": "2", "PATH": "/bin"}, 1))[-3:]
    ['PATH', 'PYTHONPATH', 'PYTHONSAFEPATH']
    """
    clean = {key: value for key, value in environment.items() if not key.startswith(MPI_PREFIXES)}
    clean |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    paths = [str(_ROOT), *(entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry)]
    clean["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    clean["PYTHONSAFEPATH"] = "1"
    clean["OMPI_ALLOW_RUN_AS_ROOT"] = clean["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return clean


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads its own group, with all its children, and reap it."""
    with contextlib.suppress(ProcessLookupError):  # all of them have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class LabelRunner:
    """Runs labels, each in its own process, in any thread; `close` kills those that still run."""

    def __init__(self, method: Method, settings: LabelSettings, scratch: Path | None = None) -> None:
        self.method = method
        self.settings = settings
        self.scratch = scratch
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False
        if settings.n_ranks > 1 and shutil.which(settings.mpirun[0]) is None:
            raise InputError(
                f"n_ranks is {settings.n_ranks}, but {settings.mpirun[0]!r} is not on PATH; set n_ranks: 1"
            )
        if scratch is not None:
            scratch.mkdir(parents=True, exist_ok=True)

    def __call__(self, structure: Atoms) -> RawLabel | RawFailure:
        """Label one structure; one whose process something outside kills is begun anew, a few times.

        The log of a failed label stays in the scratch directory, where there is one.
        """
        for _ in range(self.settings.tries):
            result = self._once(structure)
            if not (isinstance(result, RawFailure) and result.killed) or self._closed:
                break
        return result

    def _once(self, structure: Atoms) -> RawLabel | RawFailure:
        if self.scratch is not None:
            self.scratch.mkdir(parents=True, exist_ok=True)  # whatever has become of it since the last label
        directory = Path(tempfile.mkdtemp(prefix="label-", dir=self.scratch)).resolve()
        keep = False
        try:
            job = {"structure": pack(structure), "method": self.method.to_dict(), "n_ranks": self.settings.n_ranks}
            (directory / "job.json").write_text(json.dumps(job))
            result = self._run(directory)
            if isinstance(result, RawFailure) and self.scratch is not None:
                keep = True
                return replace(result, detail=f"{result.detail} (log: {directory})")
            return result
        finally:
            if not keep:
                shutil.rmtree(directory, ignore_errors=True)

    def close(self) -> None:
        """Kill every label that still runs; from now on labels fail at once."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            kill_group(process)

    def command(self, directory: Path) -> list[str]:
        """Return the command of one label."""
        worker = ["-m", "oracle.worker", "label", str(directory)]
        if self.settings.n_ranks == 1:
            return [sys.executable, *worker]
        mpirun = [*self.settings.mpirun, "-n", str(self.settings.n_ranks)]
        return [*mpirun, sys.executable, "-m", "gpaw", "python", *worker]

    def _run(self, directory: Path) -> RawLabel | RawFailure:
        log = directory / "output.txt"
        with log.open("wb") as output:
            process = self._start(directory, output.fileno())
        try:
            process.wait(self.settings.timeout_s)
        except subprocess.TimeoutExpired:
            return RawFailure("timeout", f"no label within {self.settings.timeout_s:g} s")
        finally:
            kill_group(process)
            with self._lock:
                self._running.discard(process)
        return read_result(directory, process.returncode, log)

    def _start(self, directory: Path, output: int) -> subprocess.Popen[bytes]:
        supervisor = [sys.executable, "-S", "-E", "-c", _SUPERVISOR, str(os.getpid())]
        with self._lock:
            if self._closed:
                raise RuntimeError("this runner is closed")
            process = subprocess.Popen(
                [*supervisor, *self.command(directory)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=clean_environment(os.environ, self.settings.threads),
                process_group=0,
            )
            self._running.add(process)
        return process


def read_result(directory: Path, returncode: int, log: Path) -> RawLabel | RawFailure:
    """Return what a label process left behind."""
    path = directory / "out.json"
    if not path.exists():
        signalled = -returncode if returncode < 0 else returncode - 128
        end = f"signal {signalled}" if signalled > 0 else f"exit status {returncode}"
        said = log.read_text(errors="replace") if log.exists() else "its folder is gone"
        last = (said.strip().splitlines() or ["no output"])[-1]
        return RawFailure("crash", f"the label process ended with {end}: {last[:300]}", signalled in KILLS)
    return to_raw(json.loads(path.read_text()))


def to_raw(result: dict) -> RawLabel | RawFailure:
    """Return the value of a worker's answer."""
    if "reason" in result:
        return RawFailure(result["reason"], result["detail"])
    forces = None if result["forces"] is None else np.array(result["forces"], dtype=float).reshape(-1, 3)
    provenance = {"host": socket.gethostname(), **result["provenance"]}
    return RawLabel(result["energy"], result["free_energy"], forces, provenance)
