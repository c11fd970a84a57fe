"""A dataset labelled again by your own code, then extended: nothing is mixed, nothing is paid for twice.

`kind: ase` takes any calculator of ASE's registry by its name. Morse stands in for a DFT code here; VASP would be
`{"kind": "ase", "calculator": "vasp", "settings": {"xc": "pbe", "encut": 350}, "version": "6.4.2"}`.
"""

import tempfile
from pathlib import Path

from ase.cluster import Icosahedron

from oracle import Dataset, Method, label
from oracle.errors import InputError
from oracle.relabel import relabel

emt = Method.from_dict({"kind": "emt"})
mine = Method.from_dict({"kind": "ase", "calculator": "morse", "settings": {"r0": 2.7, "epsilon": 0.5}})
structures = []
for seed in range(6):
    cluster = Icosahedron("Al", 2)
    cluster.rattle(0.1, seed=seed)
    cluster.info = {"config_type": "rattled", "reason": "example"}
    structures.append(cluster)

with tempfile.TemporaryDirectory() as folder:
    first, second = Path(folder) / "emt", Path(folder) / "mine"
    with Dataset.open(first, method=emt) as dataset:
        dataset.add(label(structures[:4], emt))

    print("relabelled:", relabel(first, mine, second)["structures"], "structures, method", mine.hash)

    with Dataset.open(second, method=mine) as dataset:  # extend: two new ones; one that is known is not stored again
        new = dataset.add(label(structures[3:], mine))
        print(f"extended by {len(new)} to {len(dataset)}")
        try:
            dataset.add(label(structures[:1], emt))
        except InputError as error:
            print("refused:", error)
    old = Dataset.read(first).structures()[0]
    again = next(s for s in Dataset.read(second) if s.info.get("parent_uid") == old.info["uid"])
    by_emt, by_mine = old.get_potential_energy(), again.get_potential_energy()
    print(f"the same structure: {by_emt:.3f} eV by EMT, {by_mine:.3f} eV by mine")
