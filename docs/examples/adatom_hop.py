"""An adatom hops on Al(100): an elastic band with ASE, on two models of this repository.

One has learnt from clusters only, the other from 18 slabs besides. Density-functional theory (GPAW, the method of both)
had 0.446 eV at the saddle that a surrogate of that campaign found (docs/results/al100.md). Std is the members'.
"""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.constraints import FixAtoms
from ase.mep import NEB
from ase.optimize import BFGS, FIRE

from learner import Committee, KosselCalculator

MODELS = {
    "clusters": Path("docs/results/MODEL").read_text().strip(),
    "clusters and slabs": "docs/results/al100/models/02",
}


def adatom_at(x: float, calculator: KosselCalculator) -> Atoms:
    """A slab with an adatom x nearest-neighbour distances from a hollow, relaxed."""
    slab = fcc100("Al", (3, 3, 3), a=4.05, vacuum=8.0)
    hollow = np.array(slab.info["adsorbate_info"]["sites"]["hollow"])
    add_adsorbate(slab, "Al", 1.7, position=(hollow + np.array([x, 0.0])) * 4.05 / 2**0.5)
    slab.set_constraint(FixAtoms([atom.index for atom in slab if atom.tag == 3]))
    slab.pbc = (True, True, False)
    slab.calc = calculator
    BFGS(slab, logfile=None).run(fmax=0.03, steps=100)
    return slab


for name, path in MODELS.items():
    committee = Committee.load(path)
    calculator = KosselCalculator(committee)
    start, end = adatom_at(0.0, calculator), adatom_at(1.0, calculator)
    images = [start, *(start.copy() for _ in range(3)), end]
    for image in images[1:-1]:
        image.calc = calculator
    band = NEB(images, climb=True, method="improvedtangent", allow_shared_calculator=True)
    band.interpolate(mic=True)
    FIRE(band, logfile=None).run(fmax=0.08, steps=80)
    members = committee(images).member_energies  # (n_members, n_images)
    saddle = int(members.mean(0).argmax())
    barriers = members[:, saddle] - members[:, 0]
    asymmetry = members.mean(0)[-1] - members.mean(0)[0]
    print(f"{name:20s} barrier {barriers.mean():.3f} ± {barriers.std():.3f} eV, ends differ by {asymmetry:+.3f} eV")
