"""Growth by molecular dynamics: atoms fly in, hit, and shed their energy, as a comparison for growth in events.

Nothing is chosen and no barrier is looked for, so what grows is right for as long as the dynamics is run: nanoseconds,
at rates of arrival a million times those of an experiment.
"""

import numpy as np
from ase import Atom, Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from pydantic import BaseModel, ConfigDict, Field

from growth.candidates import bond_lengths
from growth.energy_model import EnergyModel, ModelCalculator
from growth.errors import DepositionError
from growth.kmc import flight
from growth.observables import flaw, n_parts
from growth.relax import movable_atoms


class DepositionSettings(BaseModel):
    """How atoms arrive and how long each is watched."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    species: str = Field("Al", description="symbol of the atoms that arrive")
    temperature_K: float = Field(300.0, gt=0, description="of the crystal")
    arrival_energy: float = Field(0.2, ge=0, description="kinetic energy of an arriving atom, eV")
    picoseconds: float = Field(5.0, gt=0, description="between two arrivals")
    step_fs: float = Field(3.0, gt=0, description="of the integrator")
    friction: float = Field(0.01, gt=0, description="of the thermostat that takes up the heat, 1/fs")
    height: float = Field(2.0, ge=0, description="above where it would touch, an atom starts, bond lengths")


def deposit(crystal: Atoms, model: EnergyModel, settings: DepositionSettings, rng: np.random.Generator) -> Atoms:
    """One atom flies in, and the crystal is followed until the next would.

    Args:
        crystal: cluster or slab; atoms under `FixAtoms` do not move. Momenta are kept; without any it is heated first.
        model: energy model. settings: see there. rng: draws flight, heating and thermostat.

    Returns:
        The crystal with the atom in it, last, and the momenta it then has.

    Raises:
        DepositionError: the atom was reflected, or the crystal fell apart.
    """
    warm = crystal.copy()
    if not warm.get_momenta().any():
        thermalize_momenta(warm, temperature_K=settings.temperature_K, rng=rng)
    parts = n_parts(crystal)
    place, direction = flight(warm, settings.species, rng)
    place = place - settings.height * float(bond_lengths(warm, settings.species).mean()) * direction
    warm.append(Atom(settings.species, place))
    momenta = warm.get_momenta()
    momenta[-1] = direction * np.sqrt(2 * settings.arrival_energy * warm.get_masses()[-1])
    warm.set_momenta(momenta)
    warm.calc = ModelCalculator(model)
    friction = np.where(movable_atoms(warm), settings.friction / units.fs, 0.0)[:, None]
    friction[-1] = 0.0  # it gives its heat to the crystal, the crystal to the thermostat
    run = Langevin(
        warm, settings.step_fs * units.fs, temperature_K=settings.temperature_K, friction=friction, fixcm=False, rng=rng
    )
    run.run(max(1, round(1e3 * settings.picoseconds / settings.step_fs)))
    why = flaw(warm, float(warm.get_potential_energy()), parts)
    if why is not None:
        raise DepositionError(f"deposition of {settings.species} on {len(crystal)} atoms: {why}")
    warm.calc = None
    return warm
