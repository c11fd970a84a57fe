"""Do EMT's known surface energies and Wulff shapes come out of the study of surfaces?

    python scripts/benchmark_surfaces.py                       (Cu and Al; docs/results/surfaces)
    python scripts/benchmark_surfaces.py --species Au --millers 1,1,1 1,0,0 1,1,0 3,1,1
    python scripts/benchmark_surfaces.py --smoke

Surface energies by lines over three thicknesses and by a bulk calculation, the Wulff shape, and the upper side of a
slab whose bottom is held, which has to cost the same. Known: energies of ASE's EMT on relaxed slabs, found elsewhere.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase.constraints import FixAtoms

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.emt import EMTModel
from growth.relax import relax
from growth.seeds import FACETS
from growth.study.grown_surface import grown_surface_energy
from growth.study.results import write_json
from growth.study.surface_files import write_surfaces
from growth.study.surfaces import SurfaceSettings, surface_energies

ROOT = Path(__file__).resolve().parents[1]
KNOWN: dict[str, dict[str, tuple[float, float]]] = {
    "Cu": {"111": (1.044, 0.641), "100": (1.134, 0.291), "110": (1.229, 0.069)},
    "Al": {"111": (0.707, 0.503), "100": (0.731, 0.332), "110": (0.788, 0.164)},
}
"""Surface energy in J/m², share of the Wulff shape's area."""
HEAD = "| surface | energy, J/m² | by the bulk's energy | upper side of a held slab | known | Wulff share | known |"


def held_slab(species: str, facet: str, a: float) -> float:
    """Surface energy, J/m², of the upper side of a relaxed slab of ten layers, three of them held."""
    slab = FACETS[facet](species, (1, 1, 10), a=a, vacuum=10.0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() > 7))
    model = EMTModel([species])
    return float(grown_surface_energy(relax([slab], model, 0.005, 300)[0].structure, model).energies.mean())


def measured(species: str, settings: SurfaceSettings, out: Path) -> dict[str, Any]:
    """One element: files, and what a row of the table needs."""
    start = time.process_time()
    result = surface_energies(species, EMTModel([species]), settings, progress=print)
    write_surfaces(result, out / species)
    rows = {}
    for surface in result.surfaces:
        known = KNOWN.get(species, {}).get(surface.name, (float("nan"), float("nan")))
        held = held_slab(species, surface.name, result.lattice_constant) if surface.name in FACETS else float("nan")
        rows[surface.name] = {
            "energy": surface.energy,
            "by_bulk": float(surface.by_bulk.mean()),
            "upper_side_of_held_slab": held,
            "known_energy": known[0],
            "wulff_share": result.area_shares.get(surface.name, float("nan")),
            "known_share": known[1],
        }
    return {"lattice_constant_A": result.lattice_constant, "cpu_seconds": time.process_time() - start, "surfaces": rows}


def table(species: str, found: dict[str, Any]) -> str:
    """Markdown."""
    lines = [f"{species}, a = {found['lattice_constant_A']:.4f} Å, {found['cpu_seconds']:.1f} CPU-s", "", HEAD]
    lines.append("|" + "---|" * HEAD.count(" | ") + "---|")
    for name, row in found["surfaces"].items():
        lines.append(f"| ({name}) | " + " | ".join(f"{x:.3f}" if np.isfinite(x) else "–" for x in row.values()) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--species", nargs="+", default=["Cu", "Al"])
    parser.add_argument("--millers", nargs="+", help="such as 1,1,1 3,1,1; default (111), (100), (110)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "surfaces")
    parser.add_argument("--smoke", action="store_true", help="Cu, (111) alone, thin slabs")
    given = parser.parse_args()
    settings = SurfaceSettings()
    if given.millers:
        millers = tuple(tuple(int(index) for index in miller.split(",")) for miller in given.millers)
        settings = SurfaceSettings.model_validate({"millers": millers})
    if given.smoke:
        settings = SurfaceSettings(millers=((1, 1, 1),), thicknesses=(8.0, 12.0))
    found = {}
    for species in given.species[:1] if given.smoke else given.species:
        found[species] = measured(species, settings, given.out)
        print(table(species, found[species]))
    write_json(given.out / "benchmark.json", found)


if __name__ == "__main__":
    main()
