"""Grow a crystal from Python, without a campaign, and hand it to ASE and pymatgen.

The energy model here is EMT; `CommitteeModel(Committee.load(MODEL))` from `growth.energy_model` grows on a trained one.
"""

from collections import Counter

from ase.calculators.emt import EMT
from ase.optimize import BFGS
from pymatgen.core import Molecule

from growth import grow
from growth.energy_model import CalculatorModel
from growth.observables import coordination
from growth.order import Order
from growth.seeds import SeedSettings, make_seed
from growth.simulator import GrowthSettings

seed = make_seed(SeedSettings(kind="fcc14", species="Cu"))
settings = GrowthSettings(species="Cu", n_atoms=18, temperature_K=400, sites={"max_candidates": 6, "n_competing": 3})
for state, info in grow(seed, CalculatorModel(EMT, reach=11.8), settings, rng_seed=0):
    crystal = state.crystal  # an ase.Atoms
    energy = f"{info['events'][-1].energy / len(crystal):.3f} eV/atom" if info else "the seed, relaxed"
    print(f"{len(crystal)} atoms, {energy}")

crystal.calc = EMT()
BFGS(crystal, logfile=None).run(fmax=0.01)
neighbours = dict(Counter(coordination(crystal).tolist()))
print(f"ASE: {crystal.get_potential_energy():.3f} eV relaxed; neighbours {neighbours}")
print(f"order: {dict(Counter(Order(crystal).kinds))}")
molecule = Molecule(crystal.get_chemical_symbols(), crystal.positions)
print(f"pymatgen: {molecule.composition}, nearest pair {min(molecule.get_distance(0, k) for k in range(1, 18)):.2f} Å")
