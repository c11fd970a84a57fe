"""The first structures worth a label: what a surrogate must have seen before it may grow anything.

Isolated atoms and dimers fix the ends of the scale, scaled and rattled seeds the crystal, landed adatoms the surface.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from growth import teacher  # noqa: F401  makes the kind `model` known
from growth.candidates import bond_radius, find_candidates
from growth.damage import model_problem
from growth.errors import InputError
from growth.relax import movable_atoms
from growth.sites import with_adatom
from oracle import Method, isolated_atoms, read_labelled

LEAST_TAUGHT, MOST_TAUGHT = 20, 60
"""Labels of a teacher below which nothing is learnt from it; atoms landed on the seed in what it labels, at most."""
TAUGHT_SCALES, TAUGHT_RATTLES = (0.92, 1.12), (0.02, 0.25)
"""Isotropic scales of that, and standard deviations of displacements, Å."""


class PretrainSettings(BaseModel):
    """Who teaches, on how much, for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: dict[str, Any] = Field(
        description="a cheap method, as in a method file: {kind: emt}, {kind: tblite}, {kind: model, path: MODEL}, "
        "{kind: mace, path: FILE}"
    )
    n: int = Field(
        default=300, ge=LEAST_TAUGHT, description="structures that it labels: seeds with atoms landed on them"
    )
    steps: int = Field(default=1000, ge=1, description="gradient steps on its labels")

    @field_validator("method")
    @classmethod
    def _cheap(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not Method.from_dict(value).cheap:
            raise ValueError("expected a cheap method, such as emt, tblite or lj; dear labels are for the oracle")
        return value


class InitialSettings(BaseModel):
    """How many initial structures, and how far from the seed they go. Lengths in Å."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    n: int = Field(
        default=36, ge=0, description="structures in all, about: atoms and dimers come on top of 30 others; 0: none"
    )
    labelled: tuple[Path, ...] = Field(
        default=(),
        description="datasets or files of labels of the same method, such as an earlier campaign's; those with "
        "elements that the campaign does not meet are left out",
    )
    model: Path | None = Field(
        None,
        description="model directory, or an earlier run's directory, whose newest it is then: the first model, instead "
        "of one trained here; with n: 0 no label is asked for before growth begins",
    )
    pretrain: PretrainSettings | None = Field(
        None,
        description="a cheap method whose labels the first model learns before the oracle's; they shape its weights, "
        "and nothing else",
    )
    dimer_scales: tuple[float, ...] = Field(default=(0.75, 0.9, 1.0, 1.2, 1.6), description="in bond lengths")
    scales: tuple[float, float] = Field(default=(0.92, 1.12), description="isotropic scale of most scaled seeds")
    far_scales: tuple[float, ...] = Field(default=(0.8, 0.86, 1.22, 1.4), description="and of a few beyond")
    rattles: tuple[float, float] = Field(default=(0.05, 0.25), description="standard deviation of rattled positions")
    most_landed: int = Field(default=6, ge=2, description="atoms landed on a seed at once, at most")
    bond_length: float | None = Field(default=None, gt=0, description="default: sum of the two radii")

    @model_validator(mode="after")
    def _one_start(self) -> "InitialSettings":
        if self.model is not None and self.pretrain is not None:
            raise ValueError("pretrain: expected none with a model to start from")
        return self


def initial_structures(
    seed: Atoms, species: Sequence[str], settings: InitialSettings, rng: np.random.Generator
) -> list[Atoms]:
    """Structures to label before growth begins, about `settings.n`, each with its `config_type` in `info`.

    Args:
        seed: cluster or slab; atoms under `FixAtoms` scale with the others but are not rattled.
        species: symbols of the atoms that will arrive.
        settings: see `InitialSettings`.
        rng: the same generator state gives the same structures.

    Returns:
        Isolated atoms alone where `settings.n` is 0; else `isolated_atom` and `dimer` (one of each element, and pair of
        elements, first), then `seed`, `scaled`, `rattled`, `adatom` and `landed`, in shares of 4 : 4 : 4 : 6 after the
        seed itself (a single atom is neither scaled nor rattled).

    Raises:
        InputError: the seed has no free surface, so that nothing can land on it.
    """
    elements = sorted({*seed.get_chemical_symbols(), *species})
    found = isolated_atoms(elements)
    if settings.n == 0:
        return found
    for a, b in combinations_with_replacement(elements, 2):
        found += [_typed(dimer, "dimer") for dimer in _dimers(a, b, settings)]
    n_left = max(settings.n - len(found) - 1, 4)
    n_scaled, n_rattled, n_adatom = (round(n_left * share / 18) for share in (4, 4, 4))
    if len(seed) == 1:
        n_scaled = n_rattled = 0
    n_landed = n_left - n_scaled - n_rattled - n_adatom
    found.append(_typed(seed, "seed"))
    found += [_typed(s, "scaled") for s in _scaled(seed, n_scaled, settings, rng)]
    for width in np.linspace(*settings.rattles, n_rattled):
        found.append(_typed(rattled(seed, float(width), rng), "rattled"))
    found += [_typed(s, "adatom") for s in _with_adatoms(seed, species, n_adatom, settings, rng)]
    for k in range(n_landed):
        landed = _landed(seed, species, 2 + k % (settings.most_landed - 1), settings, rng)
        found.append(_typed(landed, "landed"))
    return found


def structures_to_teach(
    seed: Atoms, species: Sequence[str], n_atoms: int, n: int, settings: InitialSettings, rng: np.random.Generator
) -> list[Atoms]:
    """What a campaign may meet, from the seed to the grown crystal: atoms landed one by one, each time scaled, rattled.

    Args:
        seed: cluster or slab. species: of the atoms that arrive. n_atoms: of the largest.
        n: how many. settings: how atoms land. rng: draws all.
    """
    found: list[Atoms] = []
    crystal, most = seed, min(n_atoms, len(seed) + MOST_TAUGHT)
    while len(found) < n:
        crystal = seed if len(crystal) >= most else with_adatom(crystal, *arrival(crystal, species, settings, rng))
        copy = scaled(crystal, float(rng.uniform(*TAUGHT_SCALES)))
        found.append(rattled(copy, float(rng.uniform(*TAUGHT_RATTLES)), rng))
    return found


def given_labels(settings: InitialSettings, method: Method, elements: Iterable[str]) -> list[Atoms]:
    """The labelled structures that a campaign starts from: of all of `settings.labelled` those of its elements alone.

    Raises:
        InputError: a path is not there or holds no labels, or a label is of another method or does not say of which.
    """
    found, met = [], set(elements)
    for path in settings.labelled:
        if not path.exists():
            raise InputError(f"initial.labelled: no such file or directory: {path}")
        for index, structure in enumerate(read_labelled(path)):
            own = structure.info.get("method_hash")
            if own != method.hash:
                raise InputError(
                    f"initial.labelled: {path}, structure {index} is a label of method {own or 'unknown'}, the run's "
                    f"is {method.hash}; take labels of the same method (`kossel dataset import` marks a file's labels)"
                )
            if set(structure.symbols) <= met:
                found.append(structure)
    return found


def given_model(settings: InitialSettings, method: Method, elements: Iterable[str]) -> dict[str, bytes] | None:
    """The files of the model that a campaign starts from; None where it trains its own.

    Raises:
        InputError: no model is there, or it learnt from another method or lacks an element that the campaign meets.
    """
    if settings.model is None:
        return None
    runs = sorted((settings.model / "models").glob("v[0-9][0-9][0-9][0-9]"))
    directory = next((path for path in reversed(runs) if model_problem(path) is None), settings.model)
    if directory.is_dir() and (problem := model_problem(directory)):
        raise InputError(f"initial.model: {problem}; restore it from a copy")
    try:
        files = {
            path.name: path.read_bytes() for path in directory.iterdir() if path.suffix in (".json", ".safetensors")
        }
        header = json.loads(files["model.json"])
        learnt, species = header.get("method_hash"), {chemical_symbols[z] for z in header["species"]}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"initial.model: no model in {directory} ({type(error).__name__}: {error}); give a model directory "
            "(model.json, model.safetensors) or a run directory"
        ) from error
    if learnt != method.hash:
        raise InputError(
            f"initial.model: {directory} learnt labels of method {learnt or 'unknown'}, the run's is {method.hash}"
        )
    if lacking := sorted(set(elements) - species):
        raise InputError(f"initial.model: {directory} does not know {', '.join(lacking)}; it knows {sorted(species)}")
    return files


def _typed(structure: Atoms, config_type: str) -> Atoms:
    """Copy with nothing in `info` but the config type."""
    copy = structure.copy()
    copy.info, copy.calc = {"config_type": config_type}, None
    return copy


def _dimers(a: str, b: str, settings: InitialSettings) -> list[Atoms]:
    length = settings.bond_length or bond_radius(a) + bond_radius(b)
    return [Atoms([a, b], [[0.0, 0.0, 0.0], [scale * length, 0.0, 0.0]]) for scale in settings.dimer_scales]


def _scaled(seed: Atoms, n: int, settings: InitialSettings, rng: np.random.Generator) -> list[Atoms]:
    """Seeds scaled about their centre (periodic ones with their cell), a little rattled so that forces differ."""
    far = list(settings.far_scales[: n // 2])
    scales = [*np.linspace(*settings.scales, n - len(far)), *far]
    return [rattled(scaled(seed, float(scale)), 0.02, rng) for scale in scales]


def scaled(structure: Atoms, scale: float) -> Atoms:
    """A copy scaled about its centre, fixed atoms too, the cell along what is periodic."""
    copy = structure.copy()
    copy.set_constraint()
    if copy.pbc.any():
        periodic = np.where(copy.pbc, scale, 1.0)[:, None]
        copy.set_cell(copy.cell[:] * periodic, scale_atoms=False)
    centre = copy.positions.mean(axis=0)
    copy.positions = centre + scale * (copy.positions - centre)
    copy.set_constraint(structure.constraints)
    return copy


def rattled(structure: Atoms, width: float, rng: np.random.Generator) -> Atoms:
    """A copy whose atoms are displaced at random, by a standard deviation of width (Å), fixed ones not."""
    copy = structure.copy()
    movable = movable_atoms(structure)
    copy.positions[movable] += rng.normal(0.0, width, size=(int(movable.sum()), 3))
    return copy


def _with_adatoms(
    seed: Atoms, species: Sequence[str], n: int, settings: InitialSettings, rng: np.random.Generator
) -> list[Atoms]:
    """One atom on the seed, at raw sites and from 0.85 to 1.5 times the height there."""
    structures = []
    for height in np.linspace(0.85, 1.5, n):
        symbol, place = arrival(seed, species, settings, rng)
        nearest = seed.positions[np.argsort(np.linalg.norm(seed.positions - place, axis=1), kind="stable")[:3]]
        foot = nearest.mean(axis=0)
        structures.append(with_adatom(seed, symbol, foot + height * (place - foot)))
    return structures


def _landed(seed: Atoms, species: Sequence[str], n: int, settings: InitialSettings, rng: np.random.Generator) -> Atoms:
    """The seed with n atoms landed one after another at random raw sites, then rattled by 0.03 to 0.15 Å."""
    structure = seed
    for _ in range(n):
        structure = with_adatom(structure, *arrival(structure, species, settings, rng))
    return rattled(structure, float(rng.uniform(0.03, 0.15)), rng)


def arrival(
    structure: Atoms, species: Sequence[str], settings: InitialSettings, rng: np.random.Generator
) -> tuple[str, np.ndarray]:
    """A species and a raw site for it, (3,), both at random."""
    symbol = species[int(rng.integers(len(species)))]
    raw = find_candidates(structure, symbol, settings.bond_length).positions
    if len(raw) == 0:
        raise InputError(f"seed: no place for {symbol} on {structure.get_chemical_formula()}; has it a free surface?")
    return symbol, raw[int(rng.integers(len(raw)))]
