"""Malformed input: what users, editors, disks and strangers make of configs, structures, datasets, models, commands.

`Malformer(chance, folder)` spoils a working set of files (`stock`) and a working command line. Randomness is an
argument, which hypothesis provides.
"""

import hashlib
import json
import os
import pickle
import shutil
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Union, get_args, get_origin

import numpy as np
import yaml
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import write
from pydantic import BaseModel

from growth.config import Config, load_config
from growth.run import launch
from growth.training import TrainingSections
from oracle import Dataset, FailedLabel, Method, read_labelled

CONFIGS = sorted((Path(__file__).parents[1] / "growth" / "configs").glob("*.yaml"))
TINY = [
    "pool=serial",
    "walkers=1",
    "growth.n_atoms=15",
    "growth.sites={max_candidates: 2, n_competing: 2, max_steps: 5}",
    "initial.n=10",
    "learner.network={n_members: 2, n_features: 4, n_steps: 1, n_directions: 0}",
    "learner.train.steps=5",
    "learner.update.steps=2",
    "ask.arm=everything",
    "certificate={path_steps: 1, site_steps: 1, relax_final: false}",
]
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))
JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, -1e308, 1e-320, 10**30, -(10**30), 2**63, "", "abc", "-", "\0", "\ud800", "../../x",
    "a/b", "🙂" * 9, "x" * 300, [], {}, [1, 2, 3], [[[]]], {"a": {"b": 1}}, {"Al": -1}, ["a"], [-1, -1, -1],
    [10**9] * 3,
)  # fmt: skip
WORDS = (
    "", " ", "-", "--", "abc", "-1", "0", "1e999", "nan", "inf", "99999999999999999999", "3.5", "../../x", "a/b",
    "x" * 300, "no/such/file", ".", "🙂", "\ud800", "a\nb", "a\tb", "%s", "{}", "null", "~", "*", "!x", "&a", "=",
    "a=b", "Al=nan", "80/10", "nan/1/1", "1-2-3", "15-10",
)  # fmt: skip
OPTIONS = ("--bogus", "-x", "--=", "--set", "--seed", "--json=", "--help=1", "--run-dir", "--method", "--out", "---")


class Case(NamedTuple):
    """A command line, and whether nothing but a refusal is right."""

    arguments: list[str]
    refused: bool


def stock(folder: Path) -> Path:
    """A tiny run directory, its dataset and model beside it, and files for every command."""
    config = load_config(CONFIGS[0].with_name("al_emt.yaml"), TINY)
    launch(config, folder / "run")
    for unneeded in (*(folder / "run").glob("*.png"), folder / "run" / "state" / "paid"):
        shutil.rmtree(unneeded) if unneeded.is_dir() else unneeded.unlink()
    shutil.copytree(folder / "run" / "dataset", folder / "dataset")
    shutil.copytree(folder / "run" / "models" / "v0001", folder / "model")
    plain = config.model_dump(mode="json", exclude_unset=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(plain))
    (folder / "method.yaml").write_text("kind: emt\n")
    (folder / "lj.yaml").write_text("{kind: lj, epsilon: 0.4, sigma: 2.5}\n")
    dimers = [Atoms("Al2", [[0, 0, 0], [0, 0, distance]], info={"group": f"g{distance}"}) for distance in (2.4, 2.8, 3)]
    for dimer in dimers:
        dimer.calc = EMT()
        dimer.get_forces()
    for name in ("dimers.extxyz", "dimers.db"):
        write(folder / name, dimers)
    write(folder / "slab.cif", Atoms("Al", cell=[2, 2, 9], pbc=True))
    write(folder / "bare.xyz", Atoms("Al2", [[0, 0, 0], [0, 0, 2.6]]))
    with Dataset.open(folder / "dataset", method=Method.from_dict({"kind": "emt"})) as dataset:
        dataset.add_failures([FailedLabel(dimers[0].copy(), "timeout", "60 s")])
    with Dataset.open(folder / "other", method=Method.from_dict({"kind": "lj"})) as other:
        labelled = read_labelled(folder / "dimers.extxyz")
        for dimer in labelled:
            dimer.info["method_hash"] = Method.from_dict({"kind": "lj"}).hash
        other.add(labelled)
    (folder / "qm9.csv").write_text("Index,Elements,XYZ_Ang\n" + "".join(_methane(i) for i in (1, 9, 21)))
    return folder


def _methane(index: int) -> str:
    return f"""{index},"['C', 'H']","[[0.0, 0.0, 0.0], [0.0, 0.0, 1.1]]"\n"""


class Malformer:
    """Spoils the files of `folder` and command lines about them."""

    def __init__(self, chance: Random, folder: Path) -> None:
        self.chance, self.folder = chance, folder

    def case(self, command: str) -> Case:
        """A malformed call of a command."""
        words = [self._word(word) for word in self.chance.choice(COMMANDS[command]).split()]
        files = [word for word in words if (self.folder / word).exists() and Path(word).is_absolute()]
        spoil = self.chance.choice([self._spoil_file] * (3 if files else 0) + [self._spoil_words])
        return spoil(command.split() + words, len(command.split()), files)

    def _word(self, word: str) -> str:
        return str(self.folder / word[1:]) if word.startswith("@") else word

    # ------------------------------------------------------------------ command lines

    def _spoil_words(self, words: list[str], first: int, _files: list[str]) -> Case:
        for _ in range(self.chance.choice((1, 1, 2))):
            place = self.chance.randrange(first, len(words) + 1)
            match self.chance.randrange(5):
                case 0:
                    words[place : place + 1] = []
                case 1:
                    words[place : place + 1] = [self.chance.choice(WORDS)]
                case 2:
                    words[place:place] = [self.chance.choice(OPTIONS)]
                case 3:
                    words[place:place] = [self.chance.choice(WORDS)]
                case 4 if words[0] in ("grow", "train"):
                    words += ["--set", self.assignment(Config if words[0] == "grow" else TrainingSections)]
        return Case(words, False)

    def assignment(self, model: type[BaseModel]) -> str:
        """`--set` with a key and a value of which one is odd."""
        key = ".".join(self.chance.choice(list(settings_of(model))))
        match self.chance.randrange(4):
            case 0:
                return key + "=" + self.chance.choice((*WORDS, *NESTED))
            case 1:
                return self.chance.choice((key, "=", f"={key}", f".{key}=1", f"{key}.=1", f"{key}..x=1", f"{key}x=1"))
            case _:
                value = self.chance.choice((*JUNK, *NOT_FINITE))
                return f"{key}={yaml.safe_dump(value, default_flow_style=True).removesuffix(chr(10) + '...' + chr(10))}"

    # ------------------------------------------------------------------ files

    def _spoil_file(self, words: list[str], _first: int, files: list[str]) -> Case:
        path = Path(self.chance.choice(files))
        inside = [p for p in sorted(path.rglob("*")) if p.is_file() and p.name != ".lock"] if path.is_dir() else []
        target = self.chance.choice(inside) if inside else path
        refused = False
        by_kind: dict[str, Callable[[Path], bool]] = {
            ".yaml": self._spoil_yaml,
            ".extxyz": self._spoil_structures,
            ".json": self._spoil_json,
            ".jsonl": self._spoil_json_lines,
        }
        if target.suffix in by_kind and self.chance.random() < 0.7:
            refused = by_kind[target.suffix](target) and target == path
            self._reseal(target)
        else:
            self._spoil_bytes(target)
            if self.chance.random() < 0.5:
                self._reseal(target)
        return Case(words, refused)

    def _spoil_bytes(self, path: Path) -> None:
        """Something that happens to any file."""
        content = path.read_bytes()
        place = self.chance.randrange(len(content) + 1)
        match self.chance.randrange(12):
            case 0:
                path.unlink()
            case 1:
                path.unlink()
                path.mkdir()
            case 2:
                path.unlink()
                path.symlink_to(path.name)
            case 3:
                path.write_bytes(b"")
            case 4 | 5:
                path.write_bytes(content[:place])
            case 6:
                path.write_bytes(content[:place] + bytes([self.chance.randrange(256)]) + content[place + 1 :])
            case 7:
                path.write_bytes(content[:place] + b"\0" * 9 + content[place:])
            case 8:
                path.write_bytes(bytes(self.chance.randrange(256) for _ in range(64)))
            case 9:
                path.write_bytes(pickle.dumps(_Harmful()))
            case 10:
                path.write_bytes(content.decode("latin-1").encode("utf-16"))
            case 11:
                path.write_bytes(content + content)

    def _reseal(self, path: Path) -> None:
        """Give what is spoilt a checksum that agrees: the reader must look at the content."""
        if not path.is_file():
            return
        digest = _sha256(path.read_bytes())
        checksum = path.with_name(f"{path.name}.sha256")
        if checksum.is_file():
            checksum.write_text(f"{digest}  {path.name}\n")
        header = path.with_name("model.json")
        if path.suffix == ".safetensors" and header.is_file():
            header.write_text(json.dumps({**json.loads(header.read_text()), "weights_sha256": digest}))

    def _spoil_yaml(self, path: Path) -> bool:
        if self.chance.random() < 0.25:
            path.write_text(self.chance.choice(NESTED))
            return True
        content = yaml.safe_load(path.read_text())
        model = Config if "oracle" in content else None
        refused = self._spoil_tree(content, model)
        path.write_text(yaml.safe_dump(content))
        return refused

    def _spoil_json(self, path: Path) -> bool:
        if self.chance.random() < 0.2:
            path.write_text(
                self.chance.choice(("[" * 100_000, '{"a":' * 50_000, "null", "[]", "3", '"x"', "{}", "NaN"))
            )
            return True
        content = json.loads(path.read_text())
        refused = self._spoil_tree(content, None)
        path.write_text(json.dumps(content))
        return refused

    def _spoil_json_lines(self, path: Path) -> bool:
        lines = path.read_text().splitlines()
        if not lines:
            return False
        at = self.chance.randrange(len(lines))
        match self.chance.randrange(4):
            case 0:
                lines[at] = lines[at][: self.chance.randrange(len(lines[at]))]
            case 1:
                lines[at] = self.chance.choice(("[]", "3", "null", "{}", "[" * 100_000, '{"what": 1}', '{"uid": []}'))
            case _:
                content = json.loads(lines[at])
                self._spoil_tree(content, None)
                lines[at] = json.dumps(content)
        path.write_text("\n".join(lines) + "\n")
        return False

    def _spoil_tree(self, content: Any, model: type[BaseModel] | None) -> bool:
        """Change, add or remove one entry somewhere below; returns whether that must be refused."""
        junk = self.chance.choice((*JUNK, *NOT_FINITE))
        not_finite = isinstance(junk, float) and not np.isfinite(junk)
        if model is not None and self.chance.random() < 0.6:
            *parents, last = self.chance.choice(list(settings_of(model)))
            node = content
            for parent in parents:
                node = node.setdefault(parent, {})
                if not isinstance(node, dict):
                    return False
            node[last] = junk
            return not_finite
        holders = [node for node in _nodes(content) if node]
        if not holders:
            return False
        node = self.chance.choice(holders)
        key = self.chance.choice(list(node) if isinstance(node, dict) else list(range(len(node))))
        match self.chance.randrange(4):
            case 0:
                del node[key]
                return False
            case 1 if isinstance(node, dict):
                node[self.chance.choice(("unknown", "__class__", 7, "", "a.b"))] = junk
                return node is content
            case _:
                node[key] = junk
                return not_finite

    def _spoil_structures(self, path: Path) -> bool:
        """A file of structures with one thing wrong; returns whether nothing can be computed for it."""
        lines = path.read_text().splitlines()
        n_atoms = int(lines[0])
        at = 2 + self.chance.randrange(n_atoms)
        words = lines[at].split()
        kind = self.chance.randrange(16)
        match kind:
            case 0:
                words[1 + self.chance.randrange(3)] = self.chance.choice(("nan", "inf", "-inf", "1e999", "NaN"))
            case 1:
                words[self.chance.randrange(len(words))] = self.chance.choice(("", "abc", "1e400", "--", "0x1", "*"))
            case 2:
                words[0] = self.chance.choice(("Qq", "X", "-1", "al", "999", "Alx", ""))
            case 3:
                lines[0] = self.chance.choice(("-1", "0", "abc", "", "1e3", "99999999999999", str(n_atoms + 1), "2 2"))
            case 4:
                lines = lines[: self.chance.randrange(len(lines))]
            case 5:
                words[1:4] = lines[3 if at == 2 else 2].split()[1:4]
            case 6:
                lines[1] += " " + self.chance.choice(HEADERS)
            case 7:
                lines[1] = self.chance.choice(HEADERS) + " " + lines[1]
            case 8:
                lines[1] = self.chance.choice((*HEADERS, ""))
            case 9:
                cell = self.chance.choice(CELLS)
                lines[1] = f'Lattice="{cell}" Properties=species:S:1:pos:R:3 pbc="T T T"'
            case 10:
                lines = ["0", lines[1]]
            case 11:
                words = words[:-1]
            case 12:
                words += ["1", "2"]
            case 13:
                words[1:4] = ["1e200", "-1e200", "1e9"]
            case 14:
                lines[1] = lines[1].replace("energy=", self.chance.choice(("energy=nan#", "energy=abc ", "enrgy=")))
            case 15:
                lines[1] = lines[1].replace(":R:", self.chance.choice((":S:", ":I:", ":L:", ":Q:", ":R:-", ":R:99")), 1)
        if at < len(lines):
            lines[at] = " ".join(words)
        path.write_text("\n".join(lines) + "\n")
        return kind in (0, 10, 13)


class _Harmful:
    """What a pickle could do if anybody unpickled it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.rmdir, ("/unpickled",)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
)
NESTED = (
    "[" * 5000, "{a: " * 2000, "- " * 3000, "&a [*a]", "a: &a {b: *a}", "!!python/object/apply:os.mkdir [unpickled]",
    "!!python/name:os.system", "!!timestamp foo", "!!int ''", "!!bool maybe", "!!binary é", "!!set {a, b}", "!x y",
    "2001-13-45", "9" * 5000, "0x_", "{[1, 2]: 3}", "{1: 2}", "? {a: b}", "key: [", "\t- a", "\x00", "\x07",
    "%YAML 9.9", "--- a\n--- b", "{kind: emt}{", "kind: &x emt\nkind: *y", "kind: [emt]", "kind: null", "- kind: emt",
    "kind: EMT", "kind: gpaw\npreset: 7", "kind: gpaw\nh: -1", "kind: gpaw\nh: .nan", "kind: gpaw\nmode: [lcao]",
    "kind: gpaw\nxc: {}", "kind: gpaw\nmagmoms: {Qq: 1}\nspin: true", "kind: lj\nepsilon: .inf", "kind: lj\nsigma: 0",
    "kind: lj\nrc: [1]",
    "kind: ase\ncalculator: os", "kind: ase\ncalculator: [emt]", "kind: ase\nsettings: 3", "kind: tblite\ncharge: .nan",
    "kind: ase\ncalculator: lj\nsettings: {epsilon: .nan}", "kind: ase\ncalculator: lj\nsettings: " + "{a: " * 900,
    "kind: ase\ncalculator: lj\nsettings: {at: !!binary /w==}", "kind: ase\ncalculator: lj\nsettings: &a {a: *a}",
    "kind: emt\n" + BOMB, "oracle: {method: {kind: emt}}\n" + BOMB, BOMB, MERGES,
    "kind: ase\ncalculator: lj\nsettings:\n" + "".join(f"  {line}\n" for line in BOMB.splitlines()),
)  # fmt: skip
HEADERS = (
    'Lattice="1 2 3"', 'Lattice="a b c d e f g h i"', 'Lattice="nan 0 0 0 nan 0 0 0 nan" pbc="T T T"', "Properties=",
    "Properties=species:S:1", "Properties=species:S:1:pos:R:2", "Properties=pos:R:3:species:S:1", 'pbc="T"', "pbc=3",
    "Properties=species:S:1:pos:R:999999999999", "Properties=a:b:c", "=", '"', "{", "energy=nan", "REF_energy=abc",
    "REF_energy=inf", 'REF_energy="_JSON [1]"', 'x="_JSON {"', "uid=../../x", "method_hash=../../x", "method_hash=1",
    "energy=[1, 2]", "forces=3", 'stress="1 2"', "config_type=1e5", "charge=nan", 'momenta="a"', "a=" + "x" * 9999,
)  # fmt: skip
CELLS = (
    "0 0 0 0 0 0 0 0 0", "1 0 0 2 0 0 3 0 0", "1e-9 0 0 0 1e-9 0 0 0 1e-9", "5 0 0 0 5 0 0 0 0", "nan 0 0 0 5 0 0 0 5",
    "1e9 0 0 0 1e9 0 0 0 1e9", "1e300 0 0 0 1e300 0 0 0 1e300", "-5 0 0 0 5 0 0 0 5", "5 0 0 0 5 0 5 5 1e-7",
    "0.2 0 0 0 0.2 0 0 0 0.2", "1e-3 0 0 0 5 0 0 0 5",
)  # fmt: skip
SMALL_NETWORK = "network={n_members:1,n_features:4,n_steps:1,n_directions:0}"
COMMANDS: dict[str, tuple[str, ...]] = {
    "grow": ("@config.yaml --run-dir @out/run", "@config.yaml --run-dir @run", "@config.yaml --dry-run"),
    "label": (
        "@dimers.extxyz --method @method.yaml --dataset @out/data --timeout 5 --ranks 1",
        "@dimers.extxyz --method @method.yaml --dataset @dataset",
        "@slab.cif --method @lj.yaml --dataset @out/data",
        "@dimers.db --method @method.yaml --dataset @out/data",
    ),
    "make-dataset": (
        "augmented-qm9 --method @lj.yaml --out @out/data --limit 1 --qm9 @qm9.csv --workers 1",
        "infinite-crystal --method @method.yaml --out @out/data --limit 1 --lattice-constant Al=4",
        "crystal-growth --method @method.yaml --out @out/data --sizes 15-16 --limit 2 --seed 0",
    ),
    "dataset info": ("@dataset", "@other"),
    "dataset export": ("@dataset @out/x.extxyz", "@dataset @out/x.db"),
    "dataset import": (
        "@out/data @dimers.extxyz --method @method.yaml --energy-key energy --forces-key forces",
        "@dataset @dimers.extxyz --method @method.yaml",
    ),
    "dataset merge": ("@out/data @dataset", "@dataset @run/dataset"),
    "dataset relabel": ("@dataset --method @lj.yaml --out @out/data --timeout 5 --ranks 1",),
    "dataset split": ("@other --out @out/parts --ratio 34/33/33 --by group --seed 1",),
    "dataset retry": ("@dataset --method @method.yaml --timeout 5",),
    "train": (
        f"--data @dimers.extxyz --out @out/model --seed 0 --threads 1 --set {SMALL_NETWORK} --set train.steps=1",
        f"--data @dataset --out @out/model --set {SMALL_NETWORK} --set train.steps=1",
        "--data @dataset --out @out/model --from @model --set update.steps=1",
    ),
    "evaluate": (
        "@model @dimers.extxyz --json @out/errors.json --energy-key energy --forces-key forces",
        "@model @dataset",
    ),
    "study": (
        "@dimers.extxyz --method @method.yaml --out @out/study --what scale --seed 0 --set scale.step=0.01",
        "@run --out @out/study --what structure",
        "@dimers.extxyz --model @model --out @out/study --what scale,contributions",
    ),
    "report": ("@run --out @out/report.html", "@run"),
    "export": ("@run --out @out/export", "@run"),
    "status": ("@run --json", "@run"),
    "doctor": ("@run --json",),
    "schema": ("--out @out/schema.json",),
}  # fmt: skip


def settings_of(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every setting below a model, sections themselves included."""
    for name, field in model.model_fields.items():
        path = (*prefix, name)
        yield path
        options = get_args(field.annotation) if get_origin(field.annotation) in (Union, types.UnionType) else ()
        for option in (field.annotation, *options):
            if isinstance(option, type) and issubclass(option, BaseModel):
                yield from settings_of(option, path)


def _nodes(content: Any) -> Iterator[Any]:
    """Every mapping and list in a tree."""
    if isinstance(content, dict | list):
        yield content
        for below in content.values() if isinstance(content, dict) else content:
            yield from _nodes(below)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def spoilt(working: Path) -> None:
    """Files beside those of `stock` that no command can use, by telling names."""
    atoms = "Al 0 0 0\nAl 0 0 2.6\n"
    texts = {
        "bomb.yaml": BOMB,
        "merges.yaml": MERGES,
        "deep.yaml": "[" * 100_000,
        "tag.yaml": "!!python/object/apply:os.system ['touch unpickled']",
        "empty.yaml": "",
        "list.yaml": "- a\n- b\n",
        "nan.yaml": "oracle: {method: {kind: emt}}\ngrowth: {temperature_K: .nan}\n",
        "infinite.yaml": "oracle: {method: {kind: emt}}\ngrowth: {species: {Al: .inf}}\n",
        "climbing.yaml": "name: ../../elsewhere\noracle: {method: {kind: emt}}\n",
        "unknown.yaml": "oracle: {method: {kind: emt}}\ngrowht: {n_atoms: 20}\n",
        "huge.yaml": "oracle: {method: {kind: emt}}\nstructure: {kind: slab, repeat: [100000, 100000, 9]}\n",
        "nanlj.yaml": "{kind: lj, epsilon: .nan}",
        "nanase.yaml": "{kind: ase, calculator: lj, settings: {epsilon: .nan}}",
        "nan.extxyz": "2\nProperties=species:S:1:pos:R:3 energy=1\n" + atoms.replace("2.6", "nan"),
        "count.extxyz": "99999999999\nProperties=species:S:1:pos:R:3\n" + atoms,
        "torn.extxyz": "2\nProperties=species:S:1:pos:R:3\nAl 0 0 0\nAl 0",
        "element.extxyz": "2\nProperties=species:S:1:pos:R:3 energy=1\n" + atoms.replace("Al", "Qq"),
        "overlap.extxyz": "2\nProperties=species:S:1:pos:R:3\n" + atoms.replace("2.6", "0.01"),
        "flat.extxyz": '2\nLattice="1 0 0 2 0 0 3 0 0" pbc="T T T" Properties=species:S:1:pos:R:3 energy=1\n' + atoms,
        "none.extxyz": "0\nProperties=species:S:1:pos:R:3\n",
        "far.extxyz": "2\nProperties=species:S:1:pos:R:3 energy=1\n" + atoms.replace("2.6", "1e200"),
        "bare.extxyz": "2\nProperties=species:S:1:pos:R:3\n" + atoms,
        "junk.cif": "data_x\nloop_\n_atom_site_label\n",
        "junk.db": "not SQLite",
        "qm9_torn.csv": 'Index,Elements,XYZ_Ang\n1,"[\'C\']","[[0, 0]]"\n',
    }
    for name, text in texts.items():
        (working / name).write_text(text)
    (working / "binary.yaml").write_bytes(bytes(range(256)))
    (working / "folder.yaml").mkdir()
    (working / "loop.yaml").symlink_to("loop.yaml")
    (working / "pickle.traj").write_bytes(pickle.dumps(_Harmful()))
    (working / "qm9_torn.tar.bz2").write_bytes(b"BZh91AY&SY" + bytes(99))
    for name, file, content in (
        ("pickle_model", "model.safetensors", pickle.dumps(_Harmful())),
        ("torn_model", "model.safetensors", (working / "model" / "model.safetensors").read_bytes()[:-9]),
        ("deep_model", "model.json", b"[" * 100_000),
        ("other_model", "model.json", b'{"format": 3}'),
    ):
        shutil.copytree(working / "model", working / name)
        (working / name / file).write_bytes(content)
    (working / "headless_model").mkdir()
    shutil.copytree(working / "dataset", working / "torn_dataset")
    segment = sorted((working / "torn_dataset" / "segments").glob("*.extxyz"))[0]
    segment.write_bytes(segment.read_bytes()[:-40])
    segment.with_name(f"{segment.name}.sha256").write_text(f"{_sha256(segment.read_bytes())}  {segment.name}\n")
    shutil.copytree(working / "run", working / "torn_run")
    (working / "torn_run" / "config.yaml").write_bytes(b"name: [")
    (working / "torn_run" / "seed.json").write_text('{"numbers": [13]}')
