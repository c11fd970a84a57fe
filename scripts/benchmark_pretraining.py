"""Does it help to learn from EMT before the first DFT label?

    python scripts/benchmark_pretraining.py
    python scripts/benchmark_pretraining.py --smoke

The GPAW-labelled clusters of Al and Cu in docs/results/surrogates/gpaw: n of them to learn from, those of other growth
seeds to test on. A committee is trained on them from random weights, and from weights that have learnt EMT's labels of
structures as a campaign would make them (`growth/pretraining.py`), on the scale that the first of GPAW's labels give.
Same number of steps on GPAW's labels, several draws of these; docs/results/pretraining.md and .json.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.initial_set import InitialSettings, structures_to_teach
from growth.pretraining import labelling_by, pretrained
from growth.seeds import SeedSettings, make_seed
from learner import Committee, NetworkSettings, TrainSettings, evaluate, train
from oracle import Dataset, Method
from scripts.markdown import plus_minus
from scripts.markdown import table as page_table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
GPAW = RESULTS / "surrogates" / "gpaw"
E0 = {"Al": RESULTS / "al55-gpaw" / "run" / "dataset", "Cu": RESULTS / "cu38-gpaw" / "run" / "dataset"}
LATTICE = {"Al": 4.05, "Cu": 3.61}
ARMS = ("random weights", "EMT first")
MEASURES = {"energy_mae_mev_per_atom": "meV/atom", "force_mae_mev_per_A": "meV/Å"}


def isolated_atoms() -> list[Atoms]:
    """GPAW's labels of lone atoms: they fix E0, which clusters alone would not."""
    found = [a for path in E0.values() for a in Dataset.read(path).structures() if len(a) == 1]
    assert {str(a.symbols) for a in found} == set(E0)
    return found


def taught_structures(n: int, rng: np.random.Generator) -> list[Atoms]:
    """Of either element, grown at random from 14 to 30 atoms."""
    found = []
    for symbol, constant in LATTICE.items():
        seed = make_seed(SeedSettings(kind="fcc14", species=symbol, lattice_constant=constant))
        found += structures_to_teach(seed, [symbol], 30, n // len(LATTICE), InitialSettings(), rng)
    return found


def measure(given: argparse.Namespace, repeat: int, done: dict[str, Any]) -> None:
    """Both ways at each number of labels, for one draw of labels and weights; what is known is left alone."""
    rng = np.random.default_rng(repeat)
    structures, lone = Dataset.read(GPAW).structures(), isolated_atoms()
    pool = [a for a in structures if a.info["part"] == "train"]
    test = test_structures(given)
    order = rng.permutation(len(pool))
    network = NetworkSettings(n_members=given.members)
    settings = TrainSettings(steps=given.steps, batch_atoms=given.batch_atoms, device="cpu")
    cheap = settings.model_copy(update={"steps": given.teacher_steps})
    known = [f"{name}, {n}, {repeat}" in done for n in given.labels for name in ARMS]
    first = [*lone, *(pool[k] for k in order[: given.labels[0]])]
    start = None if all(known) else teach(taught_structures(given.teacher, rng), first, network, cheap, repeat)
    for n in given.labels:
        labelled = [*lone, *(pool[k] for k in order[:n])]
        for name in ARMS:
            key = f"{name}, {n}, {repeat}"
            if key in done:
                continue
            began = time.process_time()
            begun = start if name == ARMS[1] else None
            found = train(labelled, [], network, settings, repeat, start=begun).committee
            done[key] = {**evaluate(found, test), "cpu_s": time.process_time() - began}
            given.json.write_text(json.dumps(done, indent=1))
            print(f"{key}: {told(done[key])}", flush=True)


def teach(
    taught: Sequence[Atoms], labelled: Sequence[Atoms], network: NetworkSettings, cheap: TrainSettings, seed: int
) -> Committee:
    """A committee that has learnt EMT."""
    start = pretrained(taught, labelled, labelling_by(Method.from_dict({"kind": "emt"})), network, cheap, seed)
    assert start is not None
    return start


def told(figures: dict[str, float]) -> str:
    """The measures of one training in a line."""
    return ", ".join(f"{figures[key]:.2f} {unit}" for key, unit in MEASURES.items())


def table(done: dict[str, Any], labels: Sequence[int]) -> str:
    """Means over the draws with their standard error, and the mean difference of pairs in standard errors."""
    rows = []
    for n in labels:
        runs = {name: [f for key, f in done.items() if key.startswith(f"{name}, {n}, ")] for name in ARMS}
        for name, found in runs.items():
            rows.append([str(n), name, *(plus_minus([f[key] for f in found], 2) for key in MEASURES)])
        pairs = zip(*runs.values(), strict=True)
        apart = [{key: b[key] - a[key] for key in MEASURES} for a, b in pairs]
        rows.append([str(n), "difference", *(plus_minus([f[key] for f in apart], 2) for key in MEASURES)])
    return "\n".join(page_table(["labels", "first", *MEASURES.values()], rows))


def page(given: argparse.Namespace, done: dict[str, Any]) -> str:
    """What was asked, how, and the table."""
    members = "one network" if given.members == 1 else f"a committee of {given.members}"
    return f"""# Does it help to learn from EMT before the first DFT label?

GPAW-labelled clusters of Al and Cu (`docs/results/surrogates/gpaw`): n to learn from, {len(test_structures(given))} of
other growth seeds to test on. {members.capitalize()}, {given.steps} steps of about {given.batch_atoms} atoms on
GPAW's labels, from random weights or from weights that have learnt EMT's labels of {given.teacher} structures
({given.teacher_steps} steps; energies shifted by a constant for each element, fitted to the first {given.labels[0]} of
GPAW's labels). {given.repeats} draws of labels and weights, the same for both; mean absolute errors, ± is the standard
error over the draws, the difference is of pairs. (`python scripts/benchmark_pretraining.py`)

{table(done, given.labels)}
"""


def test_structures(given: argparse.Namespace) -> list[Atoms]:
    """GPAW's labels of clusters that grew from other seeds."""
    return [a for a in Dataset.read(GPAW).structures() if a.info["part"] == "test"][:: given.every]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 50, 100])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--steps", type=int, default=400, help="on GPAW's labels")
    parser.add_argument("--batch-atoms", type=int, default=100)
    parser.add_argument("--teacher", type=int, default=150, help="structures that EMT labels")
    parser.add_argument("--teacher-steps", type=int, default=400)
    parser.add_argument("--every", type=int, default=1, help="of the test structures")
    parser.add_argument("--json", type=Path, default=RESULTS / "pretraining.json")
    parser.add_argument("--smoke", action="store_true", help="in seconds, for no result")
    given = parser.parse_args()
    if given.smoke:
        given.labels, given.repeats, given.members, given.steps = [20], 2, 1, 4
        given.teacher, given.teacher_steps, given.every = 20, 4, 20
    done = json.loads(given.json.read_text()) if given.json.exists() else {}
    for repeat in range(given.repeats):
        measure(given, repeat, done)
    print(table(done, given.labels))
    if not given.smoke:
        given.json.with_suffix(".md").write_text(page(given, done))


if __name__ == "__main__":
    main()
