"""The table of studies: what each asks, of which subjects, and how it is called."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from growth.energy_model import EnergyModel
from growth.errors import InputError
from growth.study.adatom_map import AdatomMapSettings, adatom_map
from growth.study.adatom_map_files import write_adatom_map
from growth.study.barriers import BarrierSettings, barrier, write_barrier
from growth.study.contributions import ContributionSettings, contributions, write_contributions
from growth.study.disconnectivity import DisconnectivitySettings, disconnectivity, write_disconnectivity
from growth.study.exploration import NetworkSettings
from growth.study.grown_surface import grown_surface_energy
from growth.study.network import CHECKPOINT, network, write_network
from growth.study.paths import PathSettings, paths, write_paths
from growth.study.regret import RegretSettings, growth_regret, write_regret
from growth.study.scale import ScaleSettings, scale_curve, write_scale
from growth.study.slab import kind_of
from growth.study.structure import StructureSettings, structure_of, write_structure
from growth.study.subject import Subject
from growth.study.surface_files import write_surfaces
from growth.study.surfaces import SurfaceSettings, surface_energies
from growth.study.vibrations import VibrationSettings, vibrations, write_vibrations
from oracle.extxyz import read_structures

SHARE = "wulff_area_share_"
"""What headline numbers of `surfaces` begin with."""


@dataclass(frozen=True)
class Means:
    """What a study has to work with.

    Attributes:
        model: the energy surface. oracle: asked for points on top, where there is one. settings: of this study.
        seed: of its random generator. say: told what is done.
    """

    model: EnergyModel
    oracle: EnergyModel | None
    settings: Any
    seed: int
    say: Callable[[str], None]

    @property
    def rng(self) -> np.random.Generator:
        """A new one, the same each time."""
        return np.random.default_rng(self.seed)


class LandscapeSettings(BaseModel):
    """Of the search for minima and saddles, of the graph drawn of them, and of the paths among them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    search: NetworkSettings = NetworkSettings()
    tree: DisconnectivitySettings = DisconnectivitySettings()
    paths: PathSettings = PathSettings()


class RegretStudySettings(RegretSettings):
    """What the crystals are compared with, a file of the best structures that are known among it."""

    known: Path | None = Field(None, description="file of the best structures known, of any sizes")


@dataclass(frozen=True)
class Study:
    """One of the studies.

    Attributes:
        question: that it answers, for help, settings and the page. settings: their model.
        run: makes it of a subject and writes it into a folder; returns the headline numbers.
        unsuited: why it cannot be made of a subject; None where it can.
        quick: whether it takes seconds, so that it is made unless others are named.
        together: whether it looks at all crystals at once.
    """

    question: str
    settings: type[BaseModel]
    run: Callable[[Subject, Means, Path], dict[str, Any]]
    unsuited: Callable[[Subject], str | None] = lambda subject: None
    quick: bool = False
    together: bool = False


def _scale(subject: Subject, means: Means, out: Path) -> dict[str, Any]:
    return write_scale(scale_curve(subject.crystal, means.model, means.settings, means.oracle, means.say), out)


def _contributions(subject: Subject, means: Means, out: Path) -> dict[str, Any]:
    result = contributions(subject.crystal, means.model, means.settings, means.oracle, means.say)
    return write_contributions(result, out)


def _adatoms(subject: Subject, means: Means, out: Path) -> dict[str, Any]:
    return write_adatom_map(adatom_map(subject.crystal, means.model, means.settings, means.oracle, means.say), out)


def _network(subject: Subject, means: Means, out: Path) -> dict[str, Any]:
    """Minima and saddles, then what follows from them; what is found is kept as it comes."""
    settings = means.settings
    out.mkdir(parents=True, exist_ok=True)
    found = network(subject.crystal, means.model, settings.search, means.rng, means.oracle, means.say, out / CHECKPOINT)
    headline = write_network(found, out)
    headline |= write_disconnectivity(disconnectivity(found, settings.tree), out)
    try:
        return headline | write_paths(paths(found.landscape, settings.paths), out)
    except InputError as error:
        means.say(f"no paths: {error}")
        return headline


def _barriers(subject: Subject, means: Means, out: Path) -> dict[str, Any]:
    ends = (subject.crystals[0], subject.crystals[-1])
    return write_barrier(barrier(ends, means.model, means.settings, means.rng, means.oracle, means.say), out)


def _vibrations(subject: Subject, means: Means, out: Path) -> dict[str, Any]:
    result = vibrations(subject.crystal, means.model, means.settings, means.rng, means.oracle, means.say)
    return write_vibrations(result, out)


def _surfaces(subject: Subject, means: Means, out: Path) -> dict[str, Any]:
    """Of the element's own crystal; of the subject too where it is a slab."""
    result = surface_energies(subject.species[0], means.model, means.settings, means.oracle, means.say)
    grown = None
    if kind_of(subject.crystal) == "slab":
        try:
            grown = grown_surface_energy(subject.crystal, means.model, means.say)
        except InputError as error:
            means.say(f"no surface energy of the slab itself: {error}")
    return write_surfaces(result, out, grown)


def _structure(subject: Subject, means: Means, out: Path) -> dict[str, Any]:
    """Facets beside Wulff's where the surfaces have been studied before."""
    known = out.parent.parent / "surfaces" / "all" / "surfaces.json"
    found = json.loads(known.read_text()) if known.exists() else {}
    shares = {key.removeprefix(SHARE): value for key, value in found.items() if key.startswith(SHARE) and value}
    wulff = {facet: share for facet, share in shares.items() if not facet.endswith("_std")}
    return write_structure(structure_of(subject.crystals, means.settings, wulff or None, means.say), out)


def _regret(subject: Subject, means: Means, out: Path) -> dict[str, Any]:
    given = read_structures(means.settings.known) if means.settings.known else []
    walkers = dict(zip(subject.names, subject.growth, strict=True))
    return write_regret(
        growth_regret(walkers, means.model, means.settings, means.rng, given, means.oracle, means.say), out
    )


def _alone(subject: Subject) -> str | None:
    return "expected at least two atoms" if min(map(len, subject.crystals)) < 2 else None


def _alloyed(subject: Subject) -> str | None:
    return None if len(subject.species) == 1 else f"expected one element, got {', '.join(subject.species)}"


def _bulk(subject: Subject) -> str | None:
    bulk = any(kind_of(crystal) == "bulk" for crystal in subject.crystals)
    return "expected a slab or a cluster, got a bulk crystal, which has no surface" if bulk else None


def _single(subject: Subject) -> str | None:
    if subject.is_run or len(subject.crystals) < 2:
        return "expected a file whose first and last structures are the two ends"
    return None


STUDIES: dict[str, Study] = {
    "scale": Study(
        "How does the energy change when the structure is stretched, and at which distance is it stable?",
        ScaleSettings, _scale, _alone, quick=True,
    ),
    "contributions": Study(
        "What does each atom contribute to the energy, and how does that change while one atom is moved away?",
        ContributionSettings, _contributions, _alone, quick=True,
    ),
    "adatoms": Study(
        "What is the energy of one more atom, everywhere on the surface, and over which passes does it get about?",
        AdatomMapSettings, _adatoms, _bulk,
    ),
    "network": Study(
        "Which minima lie around it, over which saddles are they joined, and how fast does it get from one to another?",
        LandscapeSettings, _network, _alone,
    ),
    "barriers": Study(
        "How high is the barrier between two structures, along the lowest path between them?",
        BarrierSettings, _barriers, _single, together=True,
    ),
    "vibrations": Study(
        "At which frequencies does it vibrate, and what do vibrations add to the free energy?",
        VibrationSettings, _vibrations, _alone,
    ),
    "surfaces": Study(
        "What does a surface of the element's crystal cost, and which shape follows from that?",
        SurfaceSettings, _surfaces, _alloyed, together=True,
    ),
    "structure": Study(
        "Which order has what grew: neighbours, distances, stacking, facets?",
        StructureSettings, _structure, quick=True, together=True,
    ),
    "regret": Study(
        "How far above the lowest energy known at its size is what grew?",
        RegretStudySettings, _regret, _bulk, together=True,
    ),
}  # fmt: skip
"""By name, in the order of the page."""
