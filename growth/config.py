"""The whole configuration of a campaign. Only `run.py` and `cli.py` build it; each house owns its own section."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from growth.asking import AskSettings
from growth.errors import InputError
from growth.initial_set import InitialSettings
from growth.seeds import SeedSettings
from growth.simulator import GrowthSettings
from learner.settings import DeviceName, NetworkSettings, TrainSettings, UpdateSettings
from oracle.errors import InputError as OracleInputError
from oracle.methods import Method
from oracle.plain_yaml import parse_yaml, read_yaml
from oracle.settings import LabelSettings

Resources = dict[str, Annotated[float, Field(gt=0)]]
Settings = TypeVar("Settings", bound=BaseModel)


class Section(BaseModel):
    """A group of settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class OracleSection(Section):
    """Who labels, how many at once, and with which limits."""

    method: dict[str, Any] = Field(description="the method, as in a method file: {kind: gpaw, preset: lcao-fast}")
    actors: int = Field(1, ge=1, description="oracles that label side by side")
    most_actors: int | None = Field(None, ge=1, description="up to so many while the cluster has room; null: actors")
    num_cpus: float | None = Field(
        None, ge=0, description="cores that Ray reserves for each; null: labels.n_ranks times labels.threads"
    )
    resources: Resources = Field({}, description="what else Ray reserves for each, by its custom names: {name: amount}")
    max_atoms: int | None = Field(
        None,
        ge=20,
        description="a larger crystal is asked about through a cluster of so many atoms, cut out around the adatom and "
        "the competing places near it; none: whole crystals are labelled",
    )
    labels: LabelSettings = LabelSettings()
    cache: Path | None = Field(None, description="folder of labels shared between runs: none is paid for twice")

    @property
    def cores(self) -> float:
        """That Ray reserves for each."""
        return self.labels.n_ranks * self.labels.threads if self.num_cpus is None else self.num_cpus

    @field_validator("method")
    @classmethod
    def _known(cls, value: dict[str, Any]) -> dict[str, Any]:
        Method.from_dict(value)
        return value


class LearnerSection(Section):
    """The committee and how it learns."""

    network: NetworkSettings = NetworkSettings()
    train: TrainSettings = TrainSettings()
    update: UpdateSettings = UpdateSettings()
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="share of the labels that is never trained on")
    labels_per_update: int = Field(
        6,
        ge=1,
        description="new labels that start an update; with so many unlearnt, the unsure wait for the next model",
    )
    num_cpus: float = Field(1.0, ge=0, description="cores that Ray reserves")
    num_gpus: float = Field(0.0, ge=0, description="GPUs that Ray reserves; without one it computes on cores")
    resources: Resources = Field({}, description="what else Ray reserves")
    threads: int = Field(1, ge=1, description="cores that torch uses")


class SurrogateSection(Section):
    """Where walkers grow."""

    actors: int = Field(1, ge=1, description="processes in which walkers grow")
    num_cpus: float = Field(1.0, ge=0)
    num_gpus: float = Field(0.0, ge=0, description="GPUs that Ray reserves for each; without one it computes on cores")
    resources: Resources = Field({}, description="what else Ray reserves for each")
    threads: int = Field(1, ge=1)
    device: DeviceName = Field("auto", description="auto: a GPU where the process sees one")


class BudgetSection(Section):
    """What may be spent."""

    labels: int | None = Field(None, ge=1, description="labels, failures counted, and those before growth begins")
    hours: float | None = Field(None, gt=0, description="wall time in which labels are asked for, resumptions included")
    paced: bool = Field(
        True,
        description="labels that will not last for all doubtful steps are spread over the growth: the most doubtful "
        "get them; not in growth with a clock, whose steps nobody can count",
    )
    least_gain: float | None = Field(
        None,
        ge=-1,
        lt=1,
        description="no more is asked once the errors before learning of the last gain_steps asked steps are not lower "
        "by this share than those of as many before; null: go on asking",
    )
    gain_steps: int = Field(20, ge=3, description="asked steps on either side of that comparison")
    when_spent: Literal["go_on", "stop"] = Field(
        "go_on", description="go_on: steps that are in doubt are taken, and marked; stop: a walker ends before one"
    )


class CertificateSettings(Section):
    """What is checked at the end with labels that the learner never sees."""

    path_steps: int = Field(40, ge=0, description="accepted steps whose crystal is labelled, drawn at random")
    site_steps: int = Field(30, ge=0, description="steps of those of which every competing site is labelled")
    label_final: bool = Field(True, description="label the grown crystals, where the oracle takes so many atoms")
    relax_final: bool = Field(True, description="relax the grown crystals with the oracle's method, where it is cheap")


class RaySection(Section):
    """How to reach Ray."""

    address: str | None = Field(None, description="cluster address; without one: the job's cluster, or a private one")
    num_cpus: int | None = Field(
        None,
        ge=1,
        description="logical cores of a private cluster; default: what is there, or what one actor of each part takes",
    )


class Config(Section):
    """Everything a campaign needs."""

    name: str = Field("run", max_length=200, description="of the campaign, and of its folder below runs/")
    seed: int = Field(0, ge=0, lt=2**63, description="random seed of the campaign")
    pool: Literal["ray", "serial"] = Field("ray", description="actors on a cluster, or all in this one process")
    deterministic: bool = Field(
        False,
        description="one step of every walker at a time, and answers in the order of the questions: the same crystals "
        "and dataset, bit for bit, whatever the number of actors, their speed and interruptions; slower",
    )
    walkers: int = Field(2, ge=1, le=1000, description="crystals that grow side by side")
    structure: SeedSettings = Field(SeedSettings(), description="the seed crystal")
    growth: GrowthSettings = GrowthSettings()
    initial: InitialSettings = InitialSettings()
    oracle: OracleSection
    surrogate: SurrogateSection = SurrogateSection()
    learner: LearnerSection = LearnerSection()
    ask: AskSettings = AskSettings()
    budget: BudgetSection = BudgetSection()
    certificate: CertificateSettings = CertificateSettings()
    ray: RaySection = RaySection()

    @field_validator("name")
    @classmethod
    def _one_folder(cls, name: str) -> str:
        if name in ("", ".", "..") or "/" in name or not name.isprintable():
            raise ValueError("expected the name of one folder")
        return name

    @model_validator(mode="after")
    def _agree(self) -> "Config":
        if self.oracle.max_atoms is not None and self.growth.kinetics == "kmc":
            raise ValueError("oracle.max_atoms: expected none with growth.kinetics kmc, whose events are not carved")
        if self.deterministic and (self.growth.kinetics == "kmc" or self.budget.hours is not None):
            what = "growth.kinetics: kmc, whose actors remember events" if self.budget.hours is None else "budget.hours"
            raise ValueError(f"deterministic: expected false with {what}")
        return self


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML config and apply `section.key=value` overrides.

    Raises:
        InputError: no such file, no plain YAML, an unknown key (the nearest right one is named) or a bad value.
    """
    try:
        content = read_yaml(path, "config", "give the path of a YAML file")
    except OracleInputError as error:
        raise InputError(str(error)) from error
    if not isinstance(content, dict):
        raise InputError(f"config {path}: expected a mapping of sections, got {type(content).__name__}")
    content.setdefault("name", path.stem)
    for override in overrides:
        set_key(content, override)
    return check_settings(Config, content, f"config {path}")


def set_key(content: dict[str, Any], override: str) -> None:
    """Apply one `a.b.c=value` (value in YAML) to a nested mapping.

    >>> content = {"growth": {"n_atoms": 20}}
    >>> set_key(content, "growth.n_atoms=55"); content
    {'growth': {'n_atoms': 55}}
    """
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set {override!r}: expected section.key=value, such as growth.n_atoms=55")
    *parents, last = key.split(".")
    node = content
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise InputError(f"--set {override!r}: {parent} is a value, not a section")
    try:
        node[last] = parse_yaml(value)
    except ValueError as error:
        raise InputError(f"--set {override!r}: {value!r} is not a YAML value ({error})") from None


def check_settings(model: type[Settings], content: Mapping[str, Any], where: str) -> Settings:
    """`content` as `model`.

    Raises:
        InputError: the first thing wrong, in one line.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{where}: {explain(error, model)}") from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first complaint of a validation error in one line; an unknown key with the nearest right one."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _keys_at(model, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key {key!r}; {hint}{more}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message}, got {first.get('input')!r}{more}" if key else f"{message}{more}"


def _keys_at(model: type[BaseModel], location: Sequence[Any]) -> list[str]:
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        candidates = [annotation, *get_args(annotation)]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not nested:
            return []
        model = nested[0]
    return sorted(model.model_fields)
