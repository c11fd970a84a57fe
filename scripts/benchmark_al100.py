"""Does an adatom on Al(100) hop or exchange? A surrogate that learns from GPAW, and GPAW's own word on what it found.

    python scripts/benchmark_al100.py              (some hours on one core; goes on where it stopped)
    python scripts/benchmark_al100.py --rounds 6   (further rounds)
    python scripts/benchmark_al100.py --smoke      (in a minute, EMT in GPAW's place; give --out too)

EMT, and every surrogate that learnt from clusters alone, may have the mechanism wrong: density-functional theory puts
the exchange far below the hop (Feibelman 1990). The slab is 3 x 3 with k-points along it, its lowest layer held.

Each round: the surrogate relaxes the adatom in its hollow and searches for what can happen to it, in one event, or in
two through a minimum in which the adatom has sunk into the layer; and an elastic band is laid to where an exchange
would lead, for a search without an end in view may miss it. The minimum, the highest points of the lowest hop and the
lowest exchange, what the exchange goes through, and the process that the committee is least sure of are labelled; the
surrogate learns them. It ends when both barriers agree with the oracle's within the aim. The oracle's barrier is
the difference of its energies at the surrogate's minimum and saddle; what force it feels there says how near its own
they are. At last the adatom is left to itself on the first and on the last surrogate. Rounds 0 to 3 of the run in
docs/results were searched by random pushes alone, without a band, and began from 486 labels of clusters.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.constraints import FixAtoms
from ase.io import write

mpl.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from growth.energy_model import CommitteeModel, EnergyModel
from growth.errors import InputError
from growth.event_table import EventTable, TableSettings, Transition
from growth.events import State
from growth.initial_set import InitialSettings, given_labels, initial_structures
from growth.kmc import KineticGrowth, KineticSettings
from growth.periodic import nearest_images
from growth.relax import Relaxed, movable_atoms, relax
from growth.saddles import exchange_way
from growth.study.barriers import BarrierSettings, barrier
from learner import Committee, NetworkSettings, TrainSettings, UpdateSettings, train, update
from oracle import Dataset, LabelSettings, Method, uid
from oracle.campaign import label_into
from oracle.durable import write_whole
from scripts.markdown import table as page_table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
COMMAND = "python scripts/benchmark_al100.py"
KINDS = ("hop", "exchange")
EMT_SAYS = {"hop": 0.215, "exchange": 0.671}
"""eV, climbing-image elastic bands on EMT (docs/results/kinetics.md)."""

Found = dict[str, Any]


SEARCHED = TableSettings(max_searches=48, missing=0.1, highest=1.8, detach=False)
BAND = BarrierSettings(fmax=0.03)


@dataclass(frozen=True)
class Settings:
    """What is done. Lengths in Å, energies in eV."""

    method: dict[str, Any]
    labelled: tuple[Path, ...]
    width: int = 3
    layers: int = 3
    lattice: float = 4.05
    n_first: int = 0
    cutoff: float = 6.0
    train_steps: int = 2500
    update_steps: int = 800
    energy_weight: float = 40.0
    aim: float = 0.05
    temperature_K: float = 300.0
    n_events: int = 40
    table: TableSettings = SEARCHED
    band: BarrierSettings = BAND


GPAW = Settings(
    {"kind": "gpaw", "preset": "lcao-fast"},
    (
        *(RESULTS / "al-gpaw" / f"{name}.extxyz" for name in ("labels", "other_runs", "certificate")),
        *(RESULTS / "al-gpaw" / "further" / f"{name}.extxyz" for name in ("labels", "certificate")),
        RESULTS / "surrogates" / "gpaw",
        RESULTS / "carves",
    ),
)
SMOKE = Settings(
    {"kind": "emt"},
    (),
    lattice=3.994,
    n_first=24,
    cutoff=5.0,
    train_steps=300,
    update_steps=100,
    n_events=5,
    table=SEARCHED.model_copy(update={"max_searches": 12, "missing": 0.3}),
)


def bare_slab(settings: Settings) -> Atoms:
    """The (100) slab, periodic along x and y, lowest layer held."""
    slab = fcc100("Al", (settings.width, settings.width, settings.layers), a=settings.lattice, vacuum=8.0)
    slab.pbc = (True, True, False)
    slab.set_constraint(FixAtoms([atom.index for atom in slab if atom.tag == settings.layers]))
    return slab


def with_adatom(settings: Settings) -> Atoms:
    """The slab with an adatom in a hollow, not relaxed; the adatom comes last."""
    slab = bare_slab(settings)
    add_adsorbate(slab, "Al", 1.6, "hollow")
    return slab


def first_structures(settings: Settings) -> list[Atoms]:
    """What the surrogate must have seen before it may judge a slab; where it knows clusters, four slabs will do."""
    rng = np.random.default_rng(0)
    if settings.n_first:
        return initial_structures(bare_slab(settings), ["Al"], InitialSettings(n=settings.n_first), rng)
    adatom = with_adatom(settings)
    adatom.info = {"config_type": "adatom"}
    structures = [adatom]
    landed = initial_structures(bare_slab(settings), ["Al"], InitialSettings(n=30), rng)
    for config_type in ("landed", "adatom", "rattled"):
        structures += [s for s in landed if s.info["config_type"] == config_type][:1]
    return structures


def first_surrogate(structures: Sequence[Atoms], settings: Settings) -> Committee:
    """Trained on the first labels of slabs and on those of clusters that are there."""
    return train(
        structures,
        [],
        NetworkSettings(cutoff=settings.cutoff),
        TrainSettings(steps=settings.train_steps, energy_weight=settings.energy_weight),
        seed=0,
    ).committee


def learnt(committee: Committee, slabs: Sequence[Atoms], others: Sequence[Atoms], settings: Settings) -> Committee:
    """The surrogate gone on from, with all labels of slabs and those of clusters; trained anew where that is worse."""
    settings_ = UpdateSettings(steps=settings.update_steps, energy_weight=settings.energy_weight, new_share=0.4)
    result = update(committee, slabs, others, [], settings_)
    print(f"learnt from {len(slabs)} labels of slabs: {'promoted' if result.promoted else result.reason}", flush=True)
    return result.committee if result.promoted else first_surrogate([*others, *slabs], settings)


@dataclass(frozen=True, eq=False)
class Way:
    """One way of the adatom out of its hollow: one event, or two through a minimum in which it lies in the layer.

    Attributes:
        kind: hop; exchange (another atom is the adatom now); absorbed (none is: ten atoms lie in the layer); row (a row
            of atoms has moved, which a cell three atoms wide makes easy); still.
        barrier, std: eV, from the hollow to the highest point, and the std of the members' own.
        saddle: the crystal at its highest point. via: the minimum between, where there is one, via_height eV up.
    """

    kind: str
    barrier: float
    std: float
    saddle: Atoms
    via: Atoms | None = None
    via_height: float = float("nan")


def mechanism(before: Atoms, after: Atoms) -> str:
    """What has become of the adatom, the last atom of `before`; see `Way.kind`."""
    far = 1.0  # Å
    layer = float(np.sort(before.positions[:, 2])[-2])
    above = np.flatnonzero(after.positions[:, 2] > layer + far)
    if len(above) != 1:
        return "absorbed"
    if above[0] != len(before) - 1:
        return "exchange"
    moved = np.linalg.norm(nearest_images(after.positions - before.positions, before), axis=1) > far
    if moved[:-1].any():
        return "row"
    return "hop" if moved[-1] else "still"


def ways(model: EnergyModel, settings: Settings, seed: int) -> tuple[Atoms, list[Way]]:
    """The adatom at rest, and what can become of it, lowest first; on a landscape looked at for the first time."""
    fmax, rng = settings.table.saddles.fmax, np.random.default_rng(seed)
    start = relax([with_adatom(settings)], model, fmax, 400)[0]
    crystal, table = start.structure, EventTable(model, settings.table)
    found = []
    for transition in converged(table, crystal, [len(crystal) - 1], rng):
        end = relax([transition.after(crystal)], model, fmax, 400)[0]
        first = Way(mechanism(crystal, end.structure), *above(model, start, transition.at_saddle(crystal)))
        found.append(first)
        if first.kind != "absorbed" or any(way.via is not None for way in found):
            continue
        lengths = np.linalg.norm(nearest_images(end.structure.positions - crystal.positions, crystal), axis=1)
        for onward in converged(table, end.structure, np.argsort(-lengths)[:2].tolist(), rng):
            kind = mechanism(crystal, relax([onward.after(end.structure)], model, fmax, 400)[0].structure)
            second = Way(kind, *above(model, start, onward.at_saddle(end.structure)), via=end.structure)
            highest = max(first, second, key=lambda way: way.barrier)
            found.append(replace(highest, kind=kind, via=end.structure, via_height=end.energy - start.energy))
    found += exchange_by_band(model, settings, start, rng)
    return crystal, sorted(found, key=lambda way: way.barrier)


def exchange_by_band(model: EnergyModel, settings: Settings, start: Relaxed, rng: np.random.Generator) -> list[Way]:
    """The exchange along an elastic band, its end being known; none where that end is no minimum of its own."""
    crystal = start.structure
    try:
        band = barrier((crystal, exchanged(crystal)), model, settings.band, rng)
    except InputError as error:
        print(f"no exchange by a band: {error}", flush=True)
        return []
    way = Way(mechanism(crystal, band.images[-1]), *above(model, start, band.images[band.highest]))
    if band.between:
        lowest = min(band.between, key=lambda minimum: minimum.energy)
        way = replace(way, via=lowest.structure, via_height=lowest.energy - start.energy)
    return [way]


def exchanged(crystal: Atoms) -> Atoms:
    """The adatom, the last atom, in the place of its nearest neighbour, and that one in the hollow beyond."""
    adatom = len(crystal) - 1
    lengths = np.linalg.norm(nearest_images(crystal.positions - crystal.positions[adatom], crystal), axis=1)
    end = crystal.copy()
    end.positions += exchange_way(crystal, adatom, int(np.argsort(lengths)[1]))
    return end


def converged(table: EventTable, crystal: Atoms, atoms: list[int], rng: np.random.Generator) -> list[Transition]:
    """What can happen around some atoms, one of each kind, converged on this very crystal, lowest first."""
    by_process = {id(t.process): t for t in table.transitions(crystal, rng, np.array(atoms))}
    exact = [t for t in table.converged_on(crystal, list(by_process.values())) if t is not None]
    return sorted(exact, key=lambda t: t.process.barrier)


def above(model: EnergyModel, start: Relaxed, saddle: Atoms) -> tuple[float, float, Atoms]:
    """How far a saddle lies above the start, eV, and the std of the members' own values; and the saddle."""
    found = model([saddle])
    members = found.member_energies[:, 0] - start.member_energies.ravel()
    return float(found.energies[0]) - start.energy, float(members.std()), saddle


def questions(found: Sequence[Way]) -> dict[str, Way]:
    """The lowest hop, the lowest exchange, and of the others that lie low the one least sure."""
    asked: dict[str, Way] = {}
    for kind in KINDS:
        of_kind = [way for way in found if way.kind == kind]
        if of_kind:
            asked[kind] = of_kind[0]
    highest = max((way.barrier for way in asked.values()), default=np.inf) + 0.2
    others = [way for way in found if all(way is not known for known in asked.values()) and way.barrier < highest]
    if others:
        asked["other"] = max(others, key=lambda way: way.std)
    return asked


def structures_of(minimum: Atoms, asked: dict[str, Way]) -> dict[str, Atoms]:
    """What is labelled in a round, by what it is: the minimum, the saddles, and what the exchange goes through."""
    structures = {"minimum": minimum.copy()} | {name: way.saddle.copy() for name, way in asked.items()}
    via = next((way.via for way in asked.values() if way.via is not None), None)
    if via is not None:
        structures["via"] = via.copy()
    for name, structure in structures.items():
        structure.info = {"config_type": f"saddle_{name}" if name in asked else name}
    return structures


def labels_of(structures: dict[str, Atoms], dataset: Dataset, method: Method) -> dict[str, Atoms]:
    """The oracle's labels of a round; a structure without one (its label failed) is left out."""
    found = {name: dataset.find(uid(structure, method.hash)) for name, structure in structures.items()}
    return {name: label for name, label in found.items() if label is not None}


def compared(asked: dict[str, Way], labels: dict[str, Atoms]) -> dict[str, Found]:
    """Barriers of the surrogate and of the oracle, eV, and the oracle's largest force at the saddle, eV/Å."""
    rows: dict[str, Found] = {}
    for name, way in asked.items():
        row: Found = {"kind": way.kind, "barrier": way.barrier, "std": way.std, "two_steps": way.via is not None}
        if name in labels and "minimum" in labels:
            saddle = labels[name]
            row["oracle"] = saddle.get_potential_energy() - labels["minimum"].get_potential_energy()
            forces = saddle.get_forces(apply_constraint=False)[movable_atoms(saddle)]
            row["oracle_force"] = float(np.linalg.norm(forces, axis=1).max())
        rows[name] = row
    return rows


def agreed(rows: dict[str, Found], aim: float) -> bool:
    """Whether both mechanisms are there and both barriers are the oracle's within the aim."""
    return all(kind in rows and abs(rows[kind].get("oracle", np.inf) - rows[kind]["barrier"]) <= aim for kind in KINDS)


def left_alone(model: EnergyModel, crystal: Atoms, settings: Settings) -> dict[str, int]:
    """How often which event happens to the adatom."""
    growth = KineticGrowth(
        model, KineticSettings(temperature_K=settings.temperature_K, table=settings.table), State(crystal.copy())
    )
    events = growth.run(np.random.default_rng(0), settings.n_events)
    return dict(sorted(Counter(event.kind for _, event in events).items()))


class Campaign:
    """Rounds of search, labels and learning; everything of a round is kept in `folder` before the next begins."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.method = Method.from_dict(settings.method)
        self.others = given_labels(InitialSettings(labelled=settings.labelled), self.method, ["Al"])
        self.store = folder / "al100.json"
        self.found: Found = {"rounds": []}
        if self.store.exists():
            self.found = json.loads(self.store.read_text())

    def run(self, rounds: int) -> None:
        """Go on to so many rounds, or until both barriers agree."""
        with Dataset.open(self.folder / "labels", method=self.method) as dataset:
            self.label(dataset, first_structures(self.settings))
            while len(self.found["rounds"]) < rounds and not self.at_end():
                self.round(dataset, len(self.found["rounds"]))
        for name, number in (("first", 0), ("last", len(self.found["rounds"]))):
            if name not in self.found or name == "last":
                model = CommitteeModel(self.surrogate(number))
                crystal = relax([with_adatom(self.settings)], model, self.settings.table.saddles.fmax, 400)[0].structure
                self.keep(**{name: left_alone(model, crystal, self.settings)})

    def at_end(self) -> bool:
        """Whether the last round agreed."""
        done = self.found["rounds"]
        return bool(done) and agreed(done[-1]["processes"], self.settings.aim)

    def round(self, dataset: Dataset, number: int) -> None:
        """Search, ask, compare; what was learnt is the next round's surrogate."""
        minimum, found = ways(CommitteeModel(self.surrogate(number)), self.settings, number)
        asked = questions(found)
        print(
            f"round {number}: " + ", ".join(f"{k} ({w.kind}) {w.barrier:.3f} eV" for k, w in asked.items()), flush=True
        )
        structures = structures_of(minimum, asked)
        self.label(dataset, list(structures.values()))
        labels = labels_of(structures, dataset, self.method)
        write(self.folder / f"round{number}.extxyz", list(labels.values()), format="extxyz")
        rows = compared(asked, labels)
        if "via" in labels and "minimum" in labels:
            height = next(way.via_height for way in asked.values() if way.via is not None)
            oracle = labels["via"].get_potential_energy() - labels["minimum"].get_potential_energy()
            rows["via"] = {"height": height, "oracle": oracle}
        self.found["rounds"].append({"n_labels": self.found["seen"][number], "processes": rows, "n_found": len(found)})
        self.keep(aim=self.settings.aim, n_others=len(self.others), method_hash=self.method.hash)
        self.surrogate(number + 1)

    def surrogate(self, number: int) -> Committee:
        """That of a round, made if it is not there yet."""
        directory = self.folder / "models" / f"{number:02d}"
        if not directory.exists():
            slabs = Dataset.read(self.folder / "labels").structures()
            if number == 0:
                committee = first_surrogate([*self.others, *slabs], self.settings)
            else:
                committee = learnt(self.surrogate(number - 1), slabs, self.others, self.settings)
            self.keep(seen=[*self.found.get("seen", [])[:number], len(slabs)])
            committee.save(directory, version=number)
        return Committee.load(directory)

    def label(self, dataset: Dataset, structures: list[Atoms]) -> None:
        """Labels into the dataset; those that are there are not paid for again."""
        label_into(
            dataset, structures, self.method, LabelSettings(timeout_s=7200.0), lambda line: print(line, flush=True)
        )

    def keep(self, **more: Any) -> None:
        """Write what was found so far, and the page."""
        self.found |= more
        write_whole(self.store, json.dumps(self.found, indent=1) + "\n")
        write_page(self.folder, self.found)


def cell(row: Found | None) -> list[str]:
    """Surrogate, oracle, and the oracle's force at the saddle."""
    if row is None:
        return ["not found", "", ""]
    oracle = [f"{row['oracle']:.3f}", f"{row['oracle_force']:.2f}"] if "oracle" in row else ["no label", ""]
    return [f"{row['barrier']:.3f} ± {row['std']:.3f}", *oracle]


def write_page(folder: Path, found: Found) -> None:
    """`al100.md` beside the folder, and its figure."""
    rows = []
    for number, each in enumerate(found["rounds"]):
        cells = [part for kind in KINDS for part in cell(each["processes"].get(kind))]
        via = each["processes"].get("via")
        sunk = [f"{via['height']:.3f}", f"{via['oracle']:.3f}"] if via else ["", ""]
        rows.append([str(number), str(each["n_labels"]), *cells, *sunk])
    head = ["round", "labels of slabs", *("hop", "oracle", "its force", "exchange", "oracle", "its force")]
    head += ["sunk into the layer", "oracle"]
    lines = ["# Does an adatom on Al(100) hop or exchange?", "", *(__doc__ or "").split("\n\n")[2:]]
    lines = [line.strip("\n").replace("\n", " ") if " " in line else line for line in lines]
    page = [lines[0], ""]
    for paragraph in lines[2:]:
        page += [paragraph, ""]
    page += [
        f"`{COMMAND}`: {found.get('n_others', 0)} labels of clusters of earlier runs to begin with. Barriers in eV, of "
        "the surrogate ± the std of its members' own barriers, and of the oracle at the same structures; the oracle's "
        "largest force on a free atom at the saddle in eV/Å. Where the exchange goes through a minimum in which the "
        "adatom has sunk into the layer, how high that lies. EMT: hop 0.215, exchange 0.671 eV.",
        "",
        *page_table(head, rows),
    ]
    for name in ("first", "last"):
        if name in found:
            happened = ", ".join(f"{n} × {kind}" for kind, n in found[name].items())
            page += [f"Left alone at 300 K on the {name} surrogate: {happened}.", ""]
    if found["rounds"] and not agreed(found["rounds"][-1]["processes"], found["aim"]):
        page += [f"Not yet: both barriers within {found['aim']:g} eV of the oracle's; `--rounds` goes on.", ""]
    write_whole(folder.with_suffix(".md"), "\n".join(page).rstrip() + "\n")
    if rows:
        draw(folder / "barriers.png", found["rounds"])


def draw(path: Path, rounds: list[Found]) -> None:
    """Both barriers by labels, surrogate and oracle."""
    figure, axes = plt.subplots(figsize=(5.0, 3.4), layout="constrained")
    for kind, colour in zip(KINDS, ("tab:blue", "tab:orange"), strict=True):
        there = [(each["n_labels"], each["processes"][kind]) for each in rounds if kind in each["processes"]]
        n, values = [a for a, _ in there], [b["barrier"] for _, b in there]
        axes.errorbar(n, values, [b["std"] for _, b in there], color=colour, marker="o", label=f"{kind}, surrogate")
        judged = [(a, b["oracle"]) for a, b in there if "oracle" in b]
        axes.plot([a for a, _ in judged], [b for _, b in judged], "x", color=colour, label=f"{kind}, oracle")
        axes.axhline(EMT_SAYS[kind], color=colour, lw=0.7, ls=":", label=f"{kind}, EMT")
    axes.set(xlabel="labels of slabs that the surrogate has seen", ylabel="barrier / eV")
    axes.legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Run, or go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for al100.md and the folder al100")
    parser.add_argument("--smoke", action="store_true", help="EMT in GPAW's place, a minute")
    given = parser.parse_args()
    folder = given.out / "al100"
    folder.mkdir(parents=True, exist_ok=True)
    Campaign(folder, SMOKE if given.smoke else GPAW).run(given.rounds)


if __name__ == "__main__":
    main()
