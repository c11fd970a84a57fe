"""The processes in which labels are made: one a label (`label DIR`), or one for many cheap labels (`batch`).

Run as `python -m oracle.worker`. Nothing here is imported by the parent's side but `pack` and `unpack`.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from oracle.methods import Method, Numerics

_PR_SET_PDEATHSIG = 1
_NOT_CONVERGED = ("KohnShamConvergenceError", "ConvergenceError", "SCFError", "NotConverged")


def pack(structure: Atoms) -> dict[str, Any]:
    """Return the geometry as JSON-like data, exact to the last bit."""
    return {
        "numbers": structure.numbers.tolist(),
        "positions": structure.positions.tolist(),
        "cell": structure.cell.array.tolist(),
        "pbc": structure.pbc.tolist(),
    }


def unpack(data: dict[str, Any]) -> Atoms:
    """Return the structure of `pack`."""
    positions = np.array(data["positions"], dtype=float).reshape(-1, 3)
    return Atoms(data["numbers"], positions, cell=data["cell"], pbc=data["pbc"])


def evaluate(
    structure: Atoms, method: Method, numerics: Numerics | None = None, txt: str | None = None
) -> dict[str, Any]:
    """Return energy, free_energy (eV) and forces ((n_atoms, 3) as lists, eV/Å, or None) of a structure."""
    boxed = method.boxed(structure)
    boxed.calc = method.calculator(boxed, numerics, txt)
    energy = float(boxed.get_potential_energy())
    try:
        forces = boxed.get_forces(apply_constraint=False).tolist()
    except PropertyNotImplementedError:
        forces = None
    try:
        free_energy = float(boxed.get_potential_energy(force_consistent=True))
    except PropertyNotImplementedError:  # no entropy in this method: both energies are the same
        free_energy = energy
    return {"energy": energy, "free_energy": free_energy, "forces": forces}


def outcome(structure: Atoms, method: Method, txt: str | None = None) -> dict[str, Any]:
    """Evaluate on each rung of the method's ladder until one converges; return the label or {"reason", "detail"}."""
    failure: dict[str, Any] = {}
    start = time.perf_counter()
    for rung, numerics in enumerate(method.ladder):
        try:
            label = evaluate(structure, method, numerics, txt if txt is None or not rung else f"{txt}.{rung}")
        except Exception as error:  # whatever an outside code raises becomes a value with its name and line
            detail = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
            if not any(cls.__name__ in _NOT_CONVERGED for cls in type(error).__mro__):
                if txt is not None:  # a label of its own keeps its log; a batch worker would only add noise
                    traceback.print_exc()
                return {"reason": "crash", "detail": detail}
            failure = {"reason": "not_converged", "detail": f"{detail}, {rung + 1} settings of mixing tried"}
        else:
            peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            wall_s = time.perf_counter() - start
            return {
                **label,
                "provenance": {"wall_time_s": round(wall_s, 4), "rung": rung, "peak_memory_gb": round(peak_gb, 3)},
            }
    return failure


def run_label(directory: Path) -> None:
    """Label the structure of DIR/job.json; write DIR/out.json (on rank 0, whole or not at all)."""
    job = json.loads((directory / "job.json").read_text())
    method = Method.from_dict(job["method"])
    rank, size = _world(job["n_ranks"])
    if size != job["n_ranks"]:
        result = {
            "reason": "crash",
            "detail": f"n_ranks is {job['n_ranks']} but GPAW runs on {size}: built without MPI?",
        }
    else:
        result = outcome(unpack(job["structure"]), method, str(directory / "calculator.txt"))
    if rank == 0:
        temporary = directory / f"out.json.{os.getpid()}"
        temporary.write_text(json.dumps(result))
        temporary.replace(directory / "out.json")


def _world(n_ranks: int) -> tuple[int, int]:
    """Return the rank and the size of GPAW's communicator; a serial label does not ask."""
    if n_ranks == 1:
        return 0, 1
    from gpaw.mpi import world  # heavy, and only there in a parallel label

    return world.rank, world.size


def run_batch() -> None:
    """Serve jobs from stdin, one JSON line each: {"home", "method", "structures"}; answer one JSON line a structure."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a calculator prints must not mix with the replies
    replies.write('"ready"\n')
    for line in sys.stdin:
        job = json.loads(line)
        importlib.import_module(job.get("home", Method.home))
        method = Method.from_dict(job["method"])
        for packed in job["structures"]:
            replies.write(json.dumps(outcome(unpack(packed), method)) + "\n")


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends (a rank of MPI: when mpirun ends)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def watch_parent(parent: int) -> None:
    """End this process soon after its parent has ended; unlike `die_with_parent`, whichever thread started it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: list[str]) -> None:
    """Entry: `batch PARENT_PID`, or `label DIR`."""
    if arguments[0] == "batch":
        watch_parent(int(arguments[1]))
        run_batch()
    else:
        die_with_parent()
        os.chdir(arguments[1])
        run_label(Path(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
