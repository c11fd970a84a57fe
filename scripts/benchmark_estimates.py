"""How long is an estimate, and how much longer is GPAW?

    python scripts/benchmark_estimates.py --out docs/results/paper            (GPAW at 75 atoms alone takes minutes)
    python scripts/benchmark_estimates.py --smoke

One core, one structure at a time, neighbour list included. Claims: 0.007 s an estimate, VIMPNN 1.3 times MPNN,
10⁵ times faster than DFT.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from learner.benchmarks import crystal_growth
from learner.committee import Committee, Header
from learner.paper.bond_types import all_hard_types
from learner.paper.model import PaperHeader, PaperModel
from learner.paper.network import PaperNetwork
from learner.paper.settings import PaperSettings
from learner.settings import NetworkSettings
from learner.vimpnn import VIMPNN
from oracle import LabelSettings, Method, label

SIZES = (15, 30, 55, 75)


def paper_model(settings: PaperSettings, structures: list[Atoms]) -> PaperModel:
    """A network of the paper with weights as they were drawn: its time does not depend on them."""
    hard = all_hard_types(structures) if settings.bond_types == "hard" else ()
    network = PaperNetwork(settings, (13,), hard)
    header = PaperHeader(network=settings, species=[13], hard_types=list(hard), offsets=[0.0], energy_scale=1.0)
    return PaperModel(network, header)


def surrogate(n_members: int) -> Committee:
    """Kossel's own network, or a committee of it, likewise."""
    settings = NetworkSettings(n_members=n_members)
    network = VIMPNN(settings, (13,))
    header = Header(network=settings, species=[13], channels=list(network.basis.channels), e0=[0.0], e0_source="given")
    return Committee(network, header)


def seconds(call: Callable[[], object], least: float) -> float:
    """Median time of a call, of as many as fill `least` seconds."""
    call()
    times: list[float] = []
    while sum(times) < least or len(times) < 5:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def gpaw_seconds(structure: Atoms) -> float | None:
    """Wall time of one GPAW label (energy and forces), start of its process included; None where it failed."""
    start = time.perf_counter()
    (outcome,) = label([structure], Method.from_dict({"kind": "gpaw", "preset": "lcao-fast"}), LabelSettings())
    return time.perf_counter() - start if isinstance(outcome, Atoms) else None


def main() -> None:
    """Time everything, write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=None, help="folder for estimates.json and estimates.md")
    parser.add_argument("--smoke", action="store_true", help="without GPAW, in seconds")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sizes = SIZES[:2] if given.smoke else SIZES
    systems = {len(s.stable): s.stable for s in crystal_growth(sizes=(15, max(sizes))) if s.group == "Al-00"}
    structures = [systems[n] for n in sizes]
    plain, soft = PaperSettings(), PaperSettings(bond_types="valence")
    models: dict[str, Callable[[Atoms], object]] = {}
    for name, settings in (("MPNN", PaperSettings(network="mpnn")), ("VIMPNN", plain), ("VIMPNN, soft channels", soft)):
        model = paper_model(settings, structures)
        models[f"{name}: energy"] = lambda a, model=model: model.energies([a])
        models[f"{name}: energy and forces"] = lambda a, model=model: model([a])
    if not given.smoke:
        compiled = paper_model(soft, structures).compile()
        models["VIMPNN, soft channels, compiled: energy"] = lambda a: compiled.energies([a])
        models["VIMPNN, soft channels, compiled: energy and forces"] = lambda a: compiled([a])
    for name, n_members in (("surrogate, one member", 1), ("surrogate, committee of 4", 4)):
        committee = surrogate(n_members)
        models[f"{name}: energy and forces"] = lambda a, committee=committee: committee([a])
    least = 0.05 if given.smoke else 1.0
    times = {
        name: [seconds(lambda a=a, call=call: call(a), least) for a in structures] for name, call in models.items()
    }
    gpaw = [None] * len(sizes) if given.smoke else [gpaw_seconds(a) for a in structures]
    lines = [f"| one core, ms | {' | '.join(f'{n} atoms' for n in sizes)} |", "|---|" + "---|" * len(sizes)]
    for name, found in times.items():
        lines.append(f"| {name} | {' | '.join(f'{1e3 * t:.2f}' for t in found)} |")
    if not given.smoke:
        lines.append(f"| GPAW, lcao-fast | {' | '.join('failed' if t is None else f'{1e3 * t:.0f}' for t in gpaw)} |")
        for name in (
            "VIMPNN, soft channels: energy",
            "VIMPNN, soft channels: energy and forces",
            "VIMPNN, soft channels, compiled: energy",
            "VIMPNN, soft channels, compiled: energy and forces",
            "surrogate, one member: energy and forces",
            "surrogate, committee of 4: energy and forces",
        ):
            ratios = [
                "–" if g is None else f"{g:.0f} s / {1e3 * t:.2f} ms = {g / t:.1e}"
                for g, t in zip(gpaw, times[name], strict=True)
            ]
            lines.append(f"| GPAW / {name} | {' | '.join(ratios)} |")
    ratio = [v / m for v, m in zip(times["VIMPNN, soft channels: energy"], times["MPNN: energy"], strict=True)]
    lines.append(f"| VIMPNN, soft channels / MPNN (energy) | {' | '.join(f'{r:.2f}' for r in ratio)} |")
    print("\n".join(lines))
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        facts = {"sizes": sizes, "seconds": times, "gpaw_seconds": gpaw, "threads": 1}
        (given.out / "estimates.json").write_text(json.dumps(facts, indent=1) + "\n")
        (given.out / "estimates.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
