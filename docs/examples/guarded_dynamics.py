"""Molecular dynamics that stops where the committee no longer agrees.

The model has learnt from clusters. It goes on with the dynamics of one, and stops in bulk, which it has never seen: the
largest std of a force says when to stop believing, and what to have labelled next. It is no guard against everything:
hot clusters, whose members err together, pass (docs/ecosystem.md). Have some structures labelled all the same.
"""

from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from learner import KosselCalculator

TRUSTED = 0.5  # eV/Å: std of a force up to which the dynamics goes on
STEPS, TIMESTEP_FS, KELVIN = 60, 2.0, 300

grown = sorted(Path("docs/results/al55-gpaw/run/grown/w00").glob("*.extxyz"))[-1]
for name, atoms in {"cluster of 55": read(grown), "bulk": bulk("Al", a=4.05, cubic=True) * (3, 3, 3)}.items():
    atoms.calc = KosselCalculator(Path("docs/results/MODEL").read_text().strip())
    rng = np.random.default_rng(0)
    thermalize_momenta(atoms, temperature_K=KELVIN, rng=rng)
    bath = {"temperature_K": KELVIN, "friction": 0.01 / units.fs, "fixcm": False}
    dynamics = Langevin(atoms, TIMESTEP_FS * units.fs, rng=rng, **bath)
    largest, stopped = 0.0, False
    for _ in dynamics.irun(STEPS):
        largest = max(largest, float(atoms.calc.results["forces_std"].max()))
        if largest > TRUSTED:
            write("doubtful.extxyz", atoms)  # what `kossel label` should see next
            stopped = True
            break
    verdict = "stopped after" if stopped else "went on for"
    print(f"{name}: {verdict} {dynamics.nsteps * TIMESTEP_FS:.0f} fs; largest std of a force {largest:.2f} eV/Å")
