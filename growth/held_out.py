"""What model versions say of structures that no model learnt, and how wrong that is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from growth.errors import CampaignError
from growth.pool import Pool, Task
from growth.relax import Relaxed
from growth.run_directory import RunDirectory
from growth.verdict import free_energy

ERRORS = ("energy_mae_mev_per_atom", "force_mae_mev_per_A")


def assessed(wanted: Mapping[int, Sequence[Atoms]], run: RunDirectory, pool: Pool) -> dict[int, list[Atoms]]:
    """What model versions say of structures as they are, by version, in their order; see `predicted`.

    Raises:
        CampaignError: a model failed at it.
    """
    for version, structures in wanted.items():
        files = pool.share(run.model(version))
        pool.submit(Task("surrogate", "assess", str(version), (version, files, list(structures))))
    found: dict[int, list[Atoms]] = {}
    while pool.pending("surrogate"):
        for done in pool.wait(timeout=5.0):
            if done.error:
                raise CampaignError(f"certificate: model v{done.task.key}: {done.error}")
            found[int(done.task.key)] = [predicted(said) for said in done.result]
    return found


def predicted(said: Relaxed) -> Atoms:
    """A structure with what a model said of it, as `RunDirectory.read_sites` gives it."""
    structure = said.structure.copy()
    structure.info = {"member_energies": said.member_energies}
    structure.arrays["forces_std"] = said.forces_std
    structure.calc = SinglePointCalculator(structure, energy=said.energy, forces=said.forces)
    return structure


def errors_of(said: Sequence[Atoms], labels: Sequence[Atoms]) -> dict[str, float]:
    """Mean absolute errors over structures: of the energy per atom, and of the components of forces."""
    energies = [abs(s.get_potential_energy() - free_energy(a)) / len(a) for s, a in zip(said, labels, strict=True)]
    pairs = [(one.get_forces(apply_constraint=False) for one in pair) for pair in zip(said, labels, strict=True)]
    forces = np.concatenate([np.abs(mine - oracle).ravel() for mine, oracle in pairs])
    return dict(zip(ERRORS, (1e3 * float(np.mean(energies)), 1e3 * float(forces.mean())), strict=True))


def extension(labels: Sequence[Atoms], newest: int | None, run: RunDirectory, pool: Pool) -> dict[str, Any]:
    """What learning has brought: errors of the run's first model and of its newest on labels that neither learnt.

    Returns:
        n_structures; `first` and `newest`, each its version and errors, None where there is no label or no such model.
    """
    versions = {"first": 1 if run.has_model(1) else None, "newest": newest}
    asked = {version for version in versions.values() if version is not None and labels}
    said = assessed(dict.fromkeys(sorted(asked), labels), run, pool)
    told = {name: {"version": v, **errors_of(said[v], labels)} if v in said else None for name, v in versions.items()}
    return {"n_structures": len(labels), **told}


def newest_version(run: RunDirectory) -> int | None:
    """Of the models of a run; None where it has none."""
    found = run.latest_model()
    return None if found is None else found[0]
