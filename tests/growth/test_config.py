"""The configuration: shipped configs are valid, mistakes are named with the way out."""

from pathlib import Path

import pytest

from growth.config import load_config
from growth.errors import InputError

CONFIGS = sorted((Path(__file__).parents[2] / "growth" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_valid_and_survive_a_round_trip(path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem
    assert type(config).model_validate(config.model_dump(mode="json")) == config


def test_overrides_reach_nested_settings() -> None:
    config = load_config(CONFIGS[0], ["growth.n_atoms=21", "ask.audit_probability=0.5", "oracle.actors=3"])
    assert (config.growth.n_atoms, config.ask.audit_probability, config.oracle.actors) == (21, 0.5, 3)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("growth.n_atom=21", "n_atoms"),
        ("groth.n_atoms=21", "growth"),
        ("growth.n_atoms=many", "n_atoms"),
        ("growth.species=Xx", "species"),
        ("oracle.method={kind: gpw}", "gpaw"),
        ("oracle.method={kind: gpaw, preset: lcao-slow}", "lcao"),
        ("walkers", "section.key=value"),
        ("seed.x=1", "not a section"),
        ("seed=[", "YAML"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_way_out(override: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(CONFIGS[0], [override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", "", "\x00"])
def test_files_that_are_no_config(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"config\.yaml"):
        load_config(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_config(tmp_path / "none.yaml")
