"""Lattice constant and phonons of bulk aluminium, from models that never saw bulk: what to believe, and what not.

Experiment: 4.05 Å; at X 5.8 THz (transverse) and 9.7 THz (longitudinal), at L 4.2 and 9.7 THz, nothing unstable
(Stedman & Nilsson, Phys. Rev. 145, 492 (1966)). A negative frequency stands for an imaginary one: an instability.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.phonons import Phonons
from ase.units import _e, _hplanck

from learner import KosselCalculator

THZ = 1e-12 * _e / _hplanck  # THz in an eV
MODELS = {
    "clusters": Path("docs/results/MODEL").read_text().strip(),
    "clusters and slabs": "docs/results/al100/models/02",
}
CELLS = 6  # along each vector of the supercell

for name, path in MODELS.items():
    calculator = KosselCalculator(path)
    constants = np.linspace(3.9, 4.25, 8)
    energies = []
    for a in constants:
        crystal = bulk("Al", a=a)
        crystal.calc = calculator
        energies.append(crystal.get_potential_energy())
    fit = np.polynomial.Polynomial.fit(constants, energies, 4)
    a = min((x.real for x in fit.deriv().roots() if abs(x.imag) < 1e-9 and 3.9 < x.real < 4.25), key=fit)
    crystal = bulk("Al", a=a)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        phonons = Phonons(crystal, calculator, supercell=(CELLS, CELLS, CELLS), delta=0.05, name=f"{folder}/phonons")
        phonons.run()
        phonons.read(acoustic=True)
        at_x, at_l = phonons.band_structure(np.array([[0.5, 0.0, 0.5], [0.5, 0.5, 0.5]])) * THZ
        path_in_k = crystal.cell.bandpath("GXWKGL", npoints=60)
        lowest = phonons.get_band_structure(path_in_k).energies.min() * THZ
    print(
        f"{name:20s} a = {a:.3f} Å; X: {at_x[0]:.1f}, {at_x[2]:.1f} THz; L: {at_l[0]:.1f}, {at_l[2]:.1f} THz; "
        f"lowest on the path {lowest:.1f} THz"
    )
