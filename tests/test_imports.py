"""The arrows of docs/architecture.md, held by reading the source; and what must not be in the tree."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from learner.prediction import Prediction

ROOT = Path(__file__).resolve().parent.parent
HOUSES = ("growth", "learner", "oracle")
FILES = sorted(path for house in HOUSES for path in (ROOT / house).rglob("*.py"))

FORBIDDEN = {
    "oracle": {"learner", "growth", "ray", "torch", "torch_geometric"},
    "learner": {"oracle", "growth", "ray"},
    "growth": {"ray"},
}
MAY_IMPORT_RAY = {"growth/actors.py", "growth/run.py"}
MAY_IMPORT_LATE = {"growth/cli.py", *(f"{house}/__init__.py" for house in HOUSES)}
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "base"}


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_names(node: ast.AST, package: str) -> list[str]:
    """Full names of the modules that one statement imports, `import_module("...")` included."""
    match node:
        case ast.Import(names=names):
            return [name.name for name in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            parents = package.split(".")
            above = parents[: len(parents) - level + 1] if level else []
            source = ".".join([*above, *([module] if module else [])])
            return [source, *(f"{source}.{name.name}" for name in names)]
        case ast.Call(
            func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
            args=[ast.Constant(value=str() as name), *_],
        ):
            return [name]
    return []


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(module, line, whether inside a function) of every import in a file; those for type checkers count too."""
    package = ".".join(path.relative_to(ROOT).parent.parts)

    def visit(node: ast.AST, inside: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            for name in imported_names(child, package):
                yield name, child.lineno, inside
            yield from visit(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    yield from visit(ast.parse(path.read_text()), False)


@pytest.mark.parametrize("path", FILES, ids=short)
def test_imports_follow_the_arrows(path: Path) -> None:
    house = path.relative_to(ROOT).parts[0]
    forbidden = FORBIDDEN[house] - ({"ray"} if short(path) in MAY_IMPORT_RAY else set())
    assert not [f"line {line}: {name}" for name, line, _ in imports(path) if name.split(".")[0] in forbidden]


@pytest.mark.parametrize("path", FILES, ids=short)
def test_our_own_imports_stand_at_the_top(path: Path) -> None:
    if short(path) in MAY_IMPORT_LATE:
        return
    late = [f"line {line}: {name}" for name, line, inside in imports(path) if inside and name.split(".")[0] in HOUSES]
    assert not late


def test_no_cycles() -> None:
    modules = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}
    graph = {
        module: {name for name, _, inside in imports(path) if name in modules and not inside}
        for module, path in modules.items()
        if path.name != "__init__.py"
    }
    done: set[str] = set()

    def walk(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"import cycle: {' → '.join([*above[above.index(module) :], module])}"
        if module not in done:
            for imported in sorted(graph.get(module, ())):
                walk(imported, (*above, module))
            done.add(module)

    for module in sorted(graph):
        walk(module, ())


@pytest.mark.parametrize("path", FILES, ids=short)
def test_modules_have_names_of_their_own(path: Path) -> None:
    names = {part for part in path.relative_to(ROOT).with_suffix("").parts[1:] if part != "__init__"}
    assert not names & sys.stdlib_module_names, "under `python growth/run.py` this would hide the standard library's"
    assert not names & VAGUE_NAMES


def test_importing_the_packages_loads_nothing_heavy() -> None:
    code = (
        "import sys, growth, learner, oracle\n"
        "heavy = {'ray', 'torch', 'torch_geometric', 'gpaw', 'pymatgen', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'importing growth, learner, oracle loads {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_types_and_shapes_are_checked_in_this_test_run() -> None:
    wrong = np.zeros((2, 2))
    with pytest.raises(TypeCheckError):
        Prediction(energies=wrong, forces=[], member_energies=wrong, forces_std=[], atom_energies=[])


def tracked_text_files() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    binary = {".png", ".safetensors", ".db", ".gz", ".ico", ".woff2"}
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in binary]


def test_no_path_of_somebodys_machine_in_the_tree() -> None:
    home = re.compile(r"(?<![\w.$~}])/(?:" + "|".join(["home", "root", "Users"]) + r")/\w+")
    found = [
        f"{short(path)}:{number}: {line.strip()[:100]}"
        for path in tracked_text_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if home.search(line)
    ]
    assert not found


def test_lock_pins_versions_and_nothing_else() -> None:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    odd = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)]
    assert not odd, "a line is NAME==VERSION: no address, no local version"
    assert not [line for line in lines if re.match(r"(nvidia|cuda|triton)", line)], "the lock is for the CPU"
