"""What every potential of the comparison goes through: data, budget, errors, time and memory of an ASE call.

Runs in our environment and in that of the peers, so it imports neither us nor them.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read

FEWEST_CALLS = 5
LONGEST_S = 60.0


class Potential(Protocol):
    """Energies (eV) and forces (eV/Å) of structures, one batch; `n_parameters` trainable numbers.

    One that has an ASE calculator of its own makes it by `calculator()`.
    """

    n_parameters: int

    def __call__(self, structures: Sequence[Atoms]) -> tuple[np.ndarray, list[np.ndarray]]: ...


Train = Callable[[str, Sequence[Atoms], float, int, Path], tuple[Potential, dict[str, Any]]]
Load = Callable[[str, Path], Potential]


def read_set(path: Path) -> list[Atoms]:
    """Labelled structures of an extxyz file."""
    return read(path, ":")


def labels(structures: Sequence[Atoms]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Free energies (eV) and forces (eV/Å) that structures carry."""
    energies = [a.calc.results.get("free_energy", a.calc.results.get("energy")) for a in structures]
    return np.array(energies), [np.asarray(a.calc.results["forces"]) for a in structures]


def errors(potential: Potential, structures: Sequence[Atoms], batch: int = 20) -> dict[str, float]:
    """Mean absolute errors of energies (meV/atom) and force components (meV/Å), and their root mean squares."""
    energies, forces = [], []
    for start in range(0, len(structures), batch):
        e, f = potential(structures[start : start + batch])
        energies.append(e)
        forces += f
    true_energies, true_forces = labels(structures)
    off = 1e3 * (np.concatenate(energies) - true_energies) / np.array([len(a) for a in structures])
    push = 1e3 * (np.concatenate(forces) - np.concatenate(true_forces))
    return {
        "n_structures": len(structures),
        "energy_mae_mev_per_atom": float(np.abs(off).mean()),
        "energy_rmse_mev_per_atom": float(np.sqrt((off**2).mean())),
        "force_mae_mev_per_A": float(np.abs(push).mean()),
        "force_rmse_mev_per_A": float(np.sqrt((push**2).mean())),
    }


class Budget:
    """CPU time of this process, in shares of what it may use."""

    def __init__(self, cpu_seconds: float) -> None:
        self._seconds, self._start = cpu_seconds, time.process_time()

    @property
    def progress(self) -> float:
        """0 at the start, 1 when it is used up."""
        return (time.process_time() - self._start) / self._seconds


def batches(n: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of batches, for ever, each epoch in another order."""
    while True:
        order = rng.permutation(n)
        yield from np.array_split(order, max(1, n // size))


def crystal(n_atoms: int, element: str = "Cu") -> Atoms:
    """The n atoms of an fcc crystal that are nearest to a point, rattled by 0.1 Å: a cluster of any size."""
    a = bulk(element, cubic=True)
    edge = int(np.ceil((n_atoms / 4) ** (1 / 3))) + 2
    block = a.repeat((edge,) * 3)
    distance = np.linalg.norm(block.positions - block.positions.mean(0) - 0.01, axis=1)
    ball = block[np.argsort(distance, kind="stable")[:n_atoms]]
    ball.set_pbc(False)
    ball.set_cell(None)
    ball.rattle(0.1, seed=0)
    return ball


class Caller(Calculator):
    """A potential as an ASE calculator."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self._potential = potential

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """One structure."""
        super().calculate(atoms, properties, system_changes)
        energies, forces = self._potential([self.atoms])
        self.results = {"energy": float(energies[0]), "forces": forces[0]}


def call_seconds(calculator: Calculator, n_atoms: int, element: str) -> dict[str, float]:
    """Median time of energy + forces by an ASE call, each of other positions, and the memory they took.

    Peak memory is that above what the process took before the first call.
    """
    atoms = crystal(n_atoms, element)
    atoms.calc = calculator
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rng = np.random.default_rng(0)
    positions = atoms.positions.copy()

    def call() -> float:
        atoms.positions = positions + rng.normal(0, 0.01, positions.shape)
        start = time.perf_counter()
        atoms.get_potential_energy()
        atoms.get_forces()
        return time.perf_counter() - start

    for _ in range(3):
        call()
    times: list[float] = []
    while len(times) < FEWEST_CALLS or (sum(times) < 2.0 and len(times) < 200):
        times.append(call())
        if sum(times) > LONGEST_S:
            break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    median = 1e3 * float(np.median(times))
    return {"n_atoms": n_atoms, "ms": median, "n_calls": len(times), "peak_mb": (peak - before) / 1024}


def batch_seconds(potential: Potential, n_structures: int, n_atoms: int, element: str) -> dict[str, float]:
    """Median time of energy + forces of many structures in one call."""
    structures = [crystal(n_atoms, element) for _ in range(n_structures)]
    for number, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=number)
    potential(structures)
    times: list[float] = []
    while len(times) < FEWEST_CALLS or (sum(times) < 2.0 and len(times) < 200):
        start = time.perf_counter()
        potential(structures)
        times.append(time.perf_counter() - start)
    median = float(np.median(times))
    return {"n_structures": n_structures, "n_atoms": n_atoms, "structures_per_second": n_structures / median}


def _train_and_test(given: argparse.Namespace, train: Train) -> None:
    """Train, store, test on every set of the data; what came of it goes to result.json."""
    given.out.mkdir(parents=True, exist_ok=True)
    structures = read_set(given.data / "train.extxyz")
    start = time.perf_counter()
    potential, facts = train(given.name, structures, given.cpu_seconds, given.seed, given.out)
    facts |= {"n_parameters": potential.n_parameters, "wall_s": time.perf_counter() - start}
    sets = {path.stem.removeprefix("test-"): read_set(path) for path in sorted(given.data.glob("test-*.extxyz"))}
    facts["errors"] = {name: errors(potential, of) for name, of in sets.items()}
    (given.out / "result.json").write_text(json.dumps(facts, indent=1) + "\n")


def command_line(description: str | None, names: Sequence[str], train: Train, load: Load) -> None:
    """Train and test a potential, or time it, on one core, as the arguments of the process say.

    Args:
        description: of the script.
        names: of its potentials.
        train: trains one within a budget of CPU seconds and stores it in a folder; the potential, and facts on it.
        load: reads one from such a folder.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("train")
    one.add_argument("name", choices=names)
    one.add_argument("--data", type=Path, required=True, help="folder with train.extxyz and test-*.extxyz")
    one.add_argument("--cpu-seconds", type=float, required=True)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--out", type=Path, required=True)
    two = commands.add_parser("time")
    two.add_argument("name", choices=names)
    two.add_argument("--model", type=Path, required=True)
    two.add_argument("--n-atoms", type=int, required=True)
    two.add_argument("--element", default="Cu")
    two.add_argument("--batch", type=int, help="structures in one call, instead of one structure by an ASE call")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.command == "time":
        potential = load(given.name, given.model)
        if given.batch:
            found = batch_seconds(potential, given.batch, given.n_atoms, given.element)
        else:
            own = getattr(potential, "calculator", None)
            found = call_seconds(own() if own else Caller(potential), given.n_atoms, given.element)
        print(json.dumps(found))
    else:
        _train_and_test(given, train)
