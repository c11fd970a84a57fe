"""How large must a carve be, so that its target atoms feel what they feel in the whole crystal?

    python scripts/benchmark_carves.py                    (both parts, then the page)
    python scripts/benchmark_carves.py --part emt
    python scripts/benchmark_carves.py --part gpaw        (an hour on one core; goes on where it stopped)
    python scripts/benchmark_carves.py --smoke

emt    Cu and Al; rough clusters of 200 atoms, (100) and (111) slabs with a step; an adatom on each, at up to six sites
gpaw   an Al cluster of 55 atoms, preset lcao-fast, its adatom at two sites; labels are kept in OUT/carves

Forces: of the adatom (the carve's one target), and of the adatom and its neighbours within 3 Å (all targets), against
the whole crystal. Differences: the energy of an adatom at one site less that at the nearest other one, the rest held
still, with the same carved atoms under both: the carve's targets are both places.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ase import Atoms
from ase.build import fcc100, fcc111
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.carve import Carve, carve, rim_weights
from growth.emt import EMTModel
from growth.errors import InputError
from growth.periodic import nearest_images
from growth.relax import relax
from growth.sites import SiteSettings, find_sites, with_adatom
from oracle import Dataset, FailedLabel, LabelSettings, Method, label, uid
from oracle.durable import write_whole
from scripts.markdown import table
from scripts.site_search.structures import A, rough_cluster

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python scripts/benchmark_carves.py"
SIZES = {"emt": (13, 19, 25, 31, 38, 55, 79), "gpaw": (19, 25, 31, 38)}
AIM = 20.0
"""meV/Å and meV: the default size is the least from which on no mean error of targets or differences is above it."""
NEAR = 3.0
"""Å; an adatom's neighbours."""
APART = (1.0, 6.0)
"""Å, how far apart rival sites may lie."""
RATTLE = 0.05
"""Å, standard deviation of each coordinate of the relaxed crystals."""
TURN = Rotation.from_rotvec([0.7, 0.4, 1.1])
"""How a carve is turned in the grid, radians."""
MODEL = EMTModel(["Al", "Cu"])
SITES = SiteSettings(relax_radius=0.0, max_ranked=None, max_candidates=40, random_share=0.5, n_competing=12, fmax=0.01)

ERRORS = {"adatom": "targets", "near": "targets", "difference": "error"}
"""What is measured, and under which key its error is."""

Numbers = dict[str, float]
T = TypeVar("T")


@dataclass(frozen=True)
class Rivals:
    """A substrate and two adatom sites on it, positions (2, 3), Å."""

    substrate: Atoms
    positions: np.ndarray

    @property
    def crystals(self) -> list[Atoms]:
        """The substrate with the adatom at either site."""
        symbol = self.substrate.get_chemical_symbols()[-1]
        return [with_adatom(self.substrate, symbol, x) for x in self.positions]

    def carved(self, n_atoms: int) -> list[Atoms]:
        """Two carves of n_atoms that differ in the adatom's place alone."""
        both = self.crystals[0] + self.crystals[1][-1:]
        piece = carve(both, np.array([-2, -1]) + len(both), n_atoms + 1)
        return [piece.structure[np.delete(np.arange(len(piece.atoms)), k)] for k in piece.targets[::-1]]


def stepped(slab: Atoms) -> Atoms:
    """A slab without half of its upper layer, periodic along x and y."""
    slab.pbc = (True, True, False)
    top = slab.positions[:, 2] > slab.positions[:, 2].max() - 0.1
    return slab[~(top & (slab.get_scaled_positions()[:, 1] % 1.0 > 0.45))]


def substrates(element: str, smoke: bool) -> dict[str, Atoms]:
    """Crystals to put an adatom on, relaxed a little and rattled."""
    n_cluster, width, layers = (60, 7, 3) if smoke else (200, 8, 5)
    made = {f"{element}, rough cluster of {n_cluster}": rough_cluster([element] * n_cluster, 1)}
    for name, make in {"100": fcc100, "111": fcc111}.items():
        slab = stepped(make(element, (width, width, layers), a=A[element], vacuum=8.0))
        made[f"{element}({name}), stepped, {len(slab)}"] = relax([slab], MODEL, 0.05, 100)[0].structure
    for structure in made.values():
        structure.rattle(RATTLE, seed=0)
    return made


def rivals(substrate: Atoms, most: int) -> list[Rivals]:
    """The lowest sites, each with the nearest other one."""
    symbol = substrate.get_chemical_symbols()[-1]
    x = np.array([s.position for s in find_sites(substrate, symbol, MODEL, SITES, np.random.default_rng(0))])
    found = []
    for place in x:
        vectors = nearest_images(x - place, substrate)
        distances = np.linalg.norm(vectors, axis=1)
        distances[(distances < APART[0]) | (distances > APART[1])] = np.inf
        other = int(distances.argmin())
        if np.isfinite(distances[other]):
            found.append(Rivals(substrate, np.array([place, x[other]])))
    return found[:most]


def targets(crystal: Atoms, kind: str) -> np.ndarray:
    """The adatom, or with its neighbours."""
    vectors = nearest_images(crystal.positions - crystal.positions[-1], crystal)
    radius = NEAR if kind == "near" else 0.0
    return np.flatnonzero(np.linalg.norm(vectors, axis=1) <= radius)


def fitting(make: Callable[..., T], *given: object) -> T | None:
    """What is made, or None where the targets and their neighbours are more than the carve may have."""
    try:
        return make(*given)
    except InputError as error:
        if not str(error).startswith("max_atoms"):
            raise
        return None


def force_errors(piece: Carve, forces: np.ndarray, whole: np.ndarray) -> Numbers:
    """Mean norm of the error of the force (meV/Å): targets, all atoms, those that a masked rim leaves, their share."""
    errors = 1e3 * np.linalg.norm(forces - whole[piece.atoms], axis=1)
    kept = rim_weights(piece) > 0
    return {
        "targets": float(errors[piece.targets].mean()),
        "all": float(errors.mean()),
        "masked": float(errors[kept].mean()),
        "share": float(kept.mean()),
    }


def mean(found: Sequence[Numbers | None]) -> Numbers | None:
    """Means over the carves that there are, the largest error of targets, and how many they were."""
    there = [each for each in found if each is not None]
    if not there:
        return None
    means = {key: float(np.mean([each[key] for each in there])) for key in there[0]}
    return {**means, "largest": max(next(iter(each.values())) for each in there), "n": len(there)}


def emt(smoke: bool) -> dict[str, Any]:
    """Every crystal's errors by carve size."""
    cases = {}
    for element in ("Al",) if smoke else ("Cu", "Al"):
        for name, substrate in substrates(element, smoke).items():
            cases[name] = emt_case(rivals(substrate, 2 if smoke else 6))
            print(name, {n: f and round(f["targets"], 1) for n, f in cases[name]["adatom"].items()}, flush=True)
    return {"sizes": SIZES["emt"], "aim": AIM, "near_A": NEAR, "rattle_A": RATTLE, "cases": cases}


def emt_case(places: list[Rivals]) -> dict[str, Any]:
    """Errors on one substrate; forces with the adatom itself rattled, off its minimum."""
    rng = np.random.default_rng(1)
    crystals = [place.crystals[0] for place in places]
    for crystal in crystals:
        crystal.positions[-1] += rng.normal(0, RATTLE, 3)
    wholes = MODEL(crystals).forces
    found: dict[str, Any] = {"n_sites": len(places)}
    for kind in ("adatom", "near"):
        atoms = [targets(crystal, kind) for crystal in crystals]
        norms = [np.linalg.norm(f[a], axis=1).mean() for f, a in zip(wholes, atoms, strict=True)]
        found[f"{kind}_force_mev_per_A"] = 1e3 * float(np.mean(norms))
        asked = list(zip(crystals, atoms, wholes, strict=True))
        found[kind] = {n: mean([emt_forces(*each, n) for each in asked]) for n in SIZES["emt"]}
    exact = [emt_difference(place.crystals) for place in places]
    found["difference_mev"] = float(np.abs(exact).mean())
    found["difference"] = {}
    for n in SIZES["emt"]:
        pairs = [(fitting(place.carved, n), e) for place, e in zip(places, exact, strict=True)]
        found["difference"][n] = mean([{"error": abs(emt_difference(pair) - e)} for pair, e in pairs if pair])
    return found


def emt_forces(crystal: Atoms, atoms: np.ndarray, whole: np.ndarray, n_atoms: int) -> Numbers | None:
    """Errors of the forces in a carve around some atoms, where they fit in; whole: (n_crystal, 3), eV/Å."""
    piece = fitting(carve, crystal, atoms, n_atoms)
    return None if piece is None else force_errors(piece, MODEL([piece.structure]).forces[0], whole)


def emt_difference(pair: list[Atoms]) -> float:
    """Energy of the second less that of the first, meV."""
    return 1e3 * float(np.diff(MODEL(pair).energies)[0])


@dataclass(frozen=True)
class Job:
    """A structure to label: what for, of which adatom site (0 or 1), of what size, and the carve it is."""

    kind: str
    site: int
    size: int
    structure: Atoms
    piece: Carve | None = None


def gpaw_jobs(smoke: bool) -> list[Job]:
    """What GPAW is asked for, the most telling first; one carve turned in space too, whose error is the grid's."""
    place = rivals(relax([rough_cluster(["Al"] * (20 if smoke else 54), 3)], MODEL, 0.02)[0].structure, 1)[0]
    sizes = SIZES["gpaw"][:1] if smoke else SIZES["gpaw"]
    first, second = (list(site_jobs(site, crystal, sizes)) for site, crystal in enumerate(place.crystals))
    turned = first[1].structure.copy()
    turned.positions = TURN.apply(turned.positions)
    pairs = [fitting(place.carved, n) for n in sizes]
    changed = [
        Job("difference", k, n, s) for n, pair in zip(sizes, pairs, strict=True) for k, s in enumerate(pair or [])
    ]
    return [*first, Job("turned", 0, len(turned), turned, first[1].piece), second[0], *changed, *second[1:]]


def site_jobs(site: int, crystal: Atoms, sizes: Sequence[int]) -> Iterator[Job]:
    """A crystal, then its carves around the adatom, then those around its neighbours too."""
    yield Job("whole", site, len(crystal), crystal)
    for kind in ("adatom", "near"):
        for n in sizes:
            piece = fitting(carve, crystal, targets(crystal, kind), n)
            if piece is not None:
                yield Job(kind, site, n, piece.structure, piece)


def gpaw(smoke: bool, folder: Path) -> Iterator[dict[str, Any]]:
    """Label what has no label yet; after each new one, what is known so far."""
    method = Method.from_dict({"kind": "emt"} if smoke else {"kind": "gpaw", "preset": "lcao-fast"})
    jobs = gpaw_jobs(smoke)
    with Dataset.open(folder, method=method) as dataset:
        for job in jobs:
            if uid(job.structure, method.hash) not in dataset:
                job.structure.info = {"config_type": "carve" if job.kind != "whole" else "whole"}
                (outcome,) = label([job.structure], method, LabelSettings(timeout_s=3600.0))
                if isinstance(outcome, FailedLabel):
                    dataset.add_failures([outcome])
                    print(f"{job.kind} {job.size}: {outcome.reason}, {outcome.detail}", flush=True)
                else:
                    dataset.add([outcome])
                    print(f"{job.kind}, site {job.site}, {len(outcome)} atoms: labelled", flush=True)
                yield gpaw_found(jobs, dataset, method.hash)
        yield gpaw_found(jobs, dataset, method.hash)


def gpaw_found(jobs: list[Job], dataset: Dataset, method_hash: str) -> dict[str, Any]:
    """Errors of the carves that have labels: means over the sites."""
    labels = {(j.kind, j.site, j.size): dataset.find(uid(j.structure, method_hash)) for j in jobs}
    whole = [labels[j.kind, j.site, j.size] for j in jobs if j.kind == "whole"]
    found: dict[str, Any] = {"sizes": SIZES["gpaw"], "n_atoms": jobs[0].size, "method_hash": method_hash}
    for kind in ("adatom", "near"):
        rows: dict[int, list[Numbers]] = {}
        for j in jobs:
            given, full = labels[j.kind, j.site, j.size], whole[j.site]
            if j.kind == kind and j.piece is not None and given is not None and full is not None:
                errors = force_errors(j.piece, given.arrays["REF_forces"], full.arrays["REF_forces"])
                rows.setdefault(j.size, []).append(errors)
        found[kind] = {n: mean(each) for n, each in rows.items()}
        norms = [np.linalg.norm(w.arrays["REF_forces"][targets(w, kind)], axis=1).mean() for w in whole if w]
        found[f"{kind}_force_mev_per_A"] = 1e3 * float(np.mean(norms)) if norms else None
    found["difference"] = {}
    exact = difference(whole)
    found["difference_mev"] = exact
    for n in SIZES["gpaw"]:
        carved = difference([labels.get(("difference", site, n)) for site in (0, 1)])
        if exact is not None and carved is not None:
            found["difference"][n] = {"carved_mev": carved, "error": abs(carved - exact)}
    for job in (j for j in jobs if j.kind == "turned"):
        turned, upright = labels["turned", 0, job.size], labels[jobs[1].kind, 0, job.size]
        if turned is not None and upright is not None:
            forces = TURN.inv().apply(turned.arrays["REF_forces"]) - upright.arrays["REF_forces"]
            error = 1e3 * float(np.linalg.norm(forces, axis=1).mean())
            found["turned"] = {"n_atoms": job.size, "mean_mev_per_A": error}
    return found


def difference(pair: Sequence[Atoms | None]) -> float | None:
    """Free energy of the first less that of the second, meV, where both have a label."""
    if len(pair) < 2 or pair[0] is None or pair[1] is None:
        return None
    return 1e3 * float(pair[0].info["REF_free_energy"] - pair[1].info["REF_free_energy"])


def cell(found: Numbers | None, *keys: str) -> str:
    """A cell of a table: means, or a dash."""
    return "–" if found is None else ", ".join(f"{found[key]:.1f}" for key in keys)


def by_size(cases: dict[str, Any], kind: str, sizes: Sequence[int], scale: str, *keys: str) -> list[str]:
    """A table of errors, a line a crystal, and in the first column how large the quantity itself is."""
    rows = [[n, f"{c[scale]:.0f}", *(cell(c[kind].get(str(s)), *keys) for s in sizes)] for n, c in cases.items()]
    return table(["", "itself", *(f"{size} atoms" for size in sizes)], rows)


def least_size(found: dict[str, Any], kinds: Sequence[str]) -> str:
    """The least size from which on no crystal's mean error of these kinds is above the aim."""
    good = "more atoms than were tried"
    for size in reversed(found["sizes"]):
        cells = [(case[kind][str(size)], ERRORS[kind]) for case in found["cases"].values() for kind in kinds]
        if any(each is None or each[key] > found["aim"] for each, key in cells):
            break
        good = f"{size} atoms"
    return good


def emt_lines(found: dict[str, Any]) -> list[str]:
    """What EMT says."""
    cases, sizes = found["cases"], found["sizes"]
    alone, all_ = least_size(found, ["adatom", "difference"]), least_size(found, list(ERRORS))
    n_sites = [case["n_sites"] for case in cases.values()]
    return [
        "## EMT",
        "",
        f"{min(n_sites)} to {max(n_sites)} adatom sites a crystal; crystals relaxed, then rattled by "
        f"{found['rattle_A']:g} Å (`{COMMAND} --part emt`). –: the targets and their neighbours are more atoms than "
        "that.",
        "",
        f"Wanted: on no crystal a mean error above {found['aim']:g} meV/Å or meV, a fraction of what a surrogate may "
        f"be wrong by. For the adatom alone and for differences this takes **{alone}**. With the adatom's neighbours "
        f"as targets too it takes **{all_}**, which is the default that follows from EMT.",
        "",
        "Error of the force on the adatom, the one target, meV/Å:",
        "",
        *by_size(cases, "adatom", sizes, "adatom_force_mev_per_A", "targets"),
        f"The adatom and its neighbours within {found['near_A']:g} Å, all targets, meV/Å:",
        "",
        *by_size(cases, "near", sizes, "near_force_mev_per_A", "targets"),
        "Energy difference between two sites, meV:",
        "",
        *by_size(cases, "difference", sizes, "difference_mev", "error"),
        "All atoms of the carve around the adatom, then those that a masked rim leaves (core and targets), meV/Å. The "
        "core's second neighbours are cut off, so that it is better than the rim, and still no target:",
        "",
        *table(
            ["", *(f"{size} atoms" for size in sizes)],
            [[n, *(cell(c["adatom"][str(s)], "all", "masked") for s in sizes)] for n, c in cases.items()],
        ),
        "Share of the carve's atoms that a masked rim leaves:",
        "",
        *table(
            ["", *(f"{size} atoms" for size in sizes)],
            [[n, *(share(c["adatom"][str(s)]) for s in sizes)] for n, c in cases.items()],
        ),
    ]


def share(found: Numbers | None) -> str:
    """A share in per cent."""
    return "–" if found is None else f"{100 * found['share']:.0f} %"


def gpaw_lines(found: dict[str, Any]) -> list[str]:
    """What GPAW says."""
    rows = []
    for size in map(str, found["sizes"]):
        adatom, near = found["adatom"].get(size), found["near"].get(size)
        changed = found["difference"].get(size)
        n_carves = ", ".join(str(each["n"]) if each else "–" for each in (adatom, near))
        cells = [n_carves, cell(adatom, "targets"), cell(near, "targets"), cell(adatom, "all", "masked"), share(adatom)]
        rows.append([size, *cells, cell(changed, "error")])
    n = found["n_atoms"]
    exact = {key: found[key] for key in ("adatom_force_mev_per_A", "near_force_mev_per_A", "difference_mev")}
    itself = ["–" if value is None else f"{abs(value):.1f}" for value in exact.values()]
    rows.append([f"{n}, itself", "", *itself[:2], "", "", itself[2]])
    head = [
        "atoms",
        "carves",
        "adatom, meV/Å",
        "adatom and neighbours",
        "all atoms, masked rim",
        "share left",
        "difference, meV",
    ]
    lines = [
        "## GPAW",
        "",
        f"Al{n}, `lcao-fast`, the adatom at two sites (`{COMMAND} --part gpaw`). Means over the carves that have a "
        "label: of the adatom, of the adatom with its neighbours as targets. meV/Å, differences meV. The last line is "
        "the size of the forces and the difference in the whole cluster.",
        "",
        *table(head, rows),
    ]
    measured = {int(size): each["targets"] for size, each in found["adatom"].items() if each}
    if measured:
        within = ", ".join(str(size) for size, error in sorted(measured.items()) if error <= AIM) or "none"
        bound = "" if measured[max(measured)] <= AIM else " What EMT says is a lower bound for such labels."
        lines += [
            f"**Sizes from {min(measured)} to {max(measured)} atoms at which the force on the adatom is within {AIM:g} "
            f"meV/Å by GPAW: {within}.**{bound}",
            "",
        ]
    if "turned" in found:
        turned = found["turned"]
        lines += [
            f"The grid's own noise: a carve of {turned['n_atoms']} atoms turned in space has forces that differ by "
            f"{turned['mean_mev_per_A']:.1f} meV/Å (mean norm).",
            "",
        ]
    return lines


def write_page(store: Path) -> None:
    """The page beside the results."""
    results = json.loads(store.read_text())
    rules = (__doc__ or "").strip().split("\n\n")[-1].replace("\n", " ")
    lines = ["# How large must a carve be?", "", rules, "Errors are means of norms over sites and targets.", ""]
    for part, of in {"emt": emt_lines, "gpaw": gpaw_lines}.items():
        if part in results:
            lines += of(results[part])
    write_whole(store.with_suffix(".md"), "\n".join(lines).rstrip() + "\n")


def keep(store: Path, part: str, found: dict[str, Any]) -> None:
    """Put a part's results into the file, and write the page anew."""
    results = json.loads(store.read_text()) if store.exists() else {}
    write_whole(store, json.dumps({**results, part: found}, indent=1) + "\n")
    write_page(store)


def main() -> None:
    """Measure, keep, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("emt", "gpaw", "page"), nargs="*", default=["emt", "gpaw"])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results", help="folder for carves.json, carves.md")
    parser.add_argument("--smoke", action="store_true", help="small, in seconds, EMT in GPAW's place; give --out too")
    given = parser.parse_args()
    store = given.out / "carves.json"
    given.out.mkdir(parents=True, exist_ok=True)
    if "emt" in given.part:
        keep(store, "emt", emt(given.smoke))
    if "gpaw" in given.part:
        for found in gpaw(given.smoke, given.out / "carves"):
            keep(store, "gpaw", found)
    if "page" in given.part:
        write_page(store)


if __name__ == "__main__":
    main()
