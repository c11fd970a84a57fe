"""What a study looks at, a file's structures or a run's crystals, and the energy surface on which it looks."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ase import Atoms

from growth.emt import EMTModel
from growth.energy_model import CalculatorModel, CommitteeModel, EnergyModel
from growth.errors import InputError
from growth.lennard_jones import LennardJonesModel
from growth.seeds import checked, seed_of_run
from growth.study.labelled_model import LabelledModel
from learner import Committee
from oracle import Method
from oracle.extxyz import read_structures
from oracle.identity import hash_of, uid
from oracle.labeller import Labeller
from oracle.methods import EmtMethod, LennardJonesMethod
from oracle.settings import LabelSettings

WITHOUT_CUTOFF = 100.0
"""σ; a Lennard-Jones cutoff beyond this is none: a pair's energy there is 4e-12 ε."""


@dataclass(frozen=True)
class Subject:
    """What is studied.

    Attributes:
        path: file or run directory. names: of the crystals, such as `w00`. crystals: a run's walkers as they stand,
            or a file's structures.
        growth: for each crystal of a run all that it was, from the seed on; for a structure of a file itself.
    """

    path: Path
    names: list[str]
    crystals: list[Atoms]
    growth: list[list[Atoms]]

    def only(self, name: str) -> "Subject":
        """The crystal of that name alone."""
        index = self.names.index(name)
        return replace(self, names=[name], crystals=[self.crystals[index]], growth=[self.growth[index]])

    def with_crystals(self, crystals: list[Atoms]) -> "Subject":
        """Other structures in the crystals' places."""
        return replace(self, crystals=crystals)

    @property
    def crystal(self) -> Atoms:
        """The first crystal."""
        return self.crystals[0]

    @property
    def is_run(self) -> bool:
        """Whether it is a run directory."""
        return self.path.is_dir()

    @property
    def species(self) -> list[str]:
        """Symbols of all elements in it."""
        return sorted({symbol for crystal in self.crystals for symbol in crystal.symbols})

    @property
    def uid(self) -> str:
        """Changes with any atom of any crystal, of the growth too."""
        return hash_of([uid(crystal, "") for crystals in (self.crystals, *self.growth) for crystal in crystals])

    @property
    def is_periodic(self) -> bool:
        """Whether the first crystal repeats in some direction."""
        return bool(self.crystal.pbc.any())


def subject_of(path: Path) -> Subject:
    """Read a run directory or a file of structures.

    Raises:
        InputError: it is neither.
    """
    if not path.is_dir():
        crystals = [checked(each, f"{path}, structure {n}") for n, each in enumerate(read_structures(path))]
        names = [f"{index:03d}" for index in range(len(crystals))]
        return Subject(path, names, crystals, [[crystal] for crystal in crystals])
    if not (path / "config.yaml").exists():
        raise InputError(f"{path}: not a run directory (no config.yaml); give a run directory or a file of structures")
    seed = seed_of_run(path)
    walkers = sorted((path / "grown").glob("w[0-9][0-9]"))
    growth = [
        [
            *([seed] if seed is not None else []),
            *(read_structures(file)[-1] for file in sorted(walker.glob("*.extxyz"))),
        ]
        for walker in walkers
    ]
    if not any(growth):
        raise InputError(f"{path}: nothing has grown in this run yet; study it once it has")
    return Subject(path, [walker.name for walker in walkers], [crystals[-1] for crystals in growth], growth)


def learned_model(directory: Path, species: list[str]) -> CommitteeModel:
    """A model directory as an energy model.

    Raises:
        InputError: it cannot be read, or does not know an element.
    """
    committee = Committee.load(directory)
    unknown = sorted(set(species) - set(committee.species))
    if unknown:
        raise InputError(
            f"{directory}: knows {', '.join(committee.species)}, the structure has {', '.join(unknown)}; "
            "give a model that was trained on them"
        )
    return CommitteeModel(committee)


@contextlib.contextmanager
def surface_of(method: Method, species: list[str], cache: Path, say: Callable[[str], None]) -> Iterator[EnergyModel]:
    """A method as an energy model: EMT and Lennard-Jones here, what else by labels kept in `cache`.

    Raises:
        InputError: it has no parameters for an element.
    """
    if missing := method.missing_species(species):
        raise InputError(f"method {method.to_dict()}: no parameters for {', '.join(missing)}")
    if isinstance(method, EmtMethod) and not method.asap_cutoff:
        yield EMTModel(species)
        return
    if isinstance(method, LennardJonesMethod):
        yield _lennard_jones(method)
        return
    with Labeller(method, LabelSettings(), cache=cache) as labeller:
        yield LabelledModel(labeller, say)


def _lennard_jones(method: LennardJonesMethod) -> EnergyModel:
    reach = method.surface()["rc"]
    if reach >= WITHOUT_CUTOFF * method.sigma:
        return LennardJonesModel(method.epsilon, method.sigma)
    return CalculatorModel(lambda: method.calculator(Atoms()), reach)
