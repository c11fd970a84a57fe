"""Six clusters at once in torch-sim, on the released model: dynamics of a batch, then relaxation of a batch.

Needs torch-sim (`pip install 'kossel[torch-sim]'`).
"""

from pathlib import Path

import torch_sim
from ase.io import read
from torch_sim.optimizers import fire

from learner.torch_sim import KosselModel

grown = sorted(Path("docs/results/al55-gpaw/run/grown/w01").glob("*.extxyz"))
clusters = [read(file) for file in grown[:6]]
model = KosselModel(Path("docs/results/MODEL").read_text().strip())

bath = {"integrator": torch_sim.nvt_langevin, "temperature": 300, "timestep": 0.002}  # K, ps
hot = torch_sim.integrate(clusters, model, n_steps=30, **bath)
converged = torch_sim.generate_force_convergence_fn(force_tol=0.1, include_cell_forces=False)
cold = torch_sim.optimize(hot, model, optimizer=fire, convergence_fn=converged, max_steps=200)
answers = model(cold)
for k, cluster in enumerate(clusters):
    energy, std = answers["energy"][k] / len(cluster), 1e3 * answers["energy_std"][k] / len(cluster)
    print(f"{len(cluster)} atoms: {energy:.4f} eV/atom, std {std:.1f} meV/atom")
