"""What README and documents promise: commands run in the order of the page, programs answer, links lead on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import GUIDES, PAGES, ROOT, Block, blocks, commands, refusal, spans

RUN = [
    page
    for page in GUIDES
    if any(block.language in ("sh", "python") and block.why_not is None for block in blocks(page))
]


LONG = ("first-hour", "how-to")
"""Pages of several minutes."""


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page.stem in LONG), id=page.stem) for page in RUN]
)
@pytest.mark.timeout(900)
def test_commands_and_programs_of_a_guide_run(page: Path, tmp_path: Path) -> None:
    """From top to bottom, in a folder that looks like the checkout."""
    for entry in ("growth", "learner", "oracle", "docs", "scripts", "README.md"):
        (tmp_path / entry).symlink_to(ROOT / entry)
    for block in blocks(page):
        if block.title is not None:
            (tmp_path / block.title).write_text(block.text)
        elif block.why_not is None and block.language in ("sh", "python"):
            run(block, tmp_path)


def run(block: Block, cwd: Path) -> None:
    """Type a block; every line of it must succeed."""
    programs = {"sh": ["bash", "-euo", "pipefail", "-c", block.text], "python": [sys.executable, "-c", block.text]}
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "CI"):
        environment.pop(name, None)
    done = subprocess.run(
        programs[block.language], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert done.stdout.strip(), block.text


def test_there_are_commands_and_programs_in_the_guides() -> None:
    run_here = [block for page in RUN for block in blocks(page) if block.why_not is None]
    assert sum(len(list(commands(block.text))) for block in run_here if block.language == "sh") >= 20
    assert sum(block.language == "python" for block in run_here) >= 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_are_named_exist_and_take_these_options(page: Path) -> None:
    for text in (*(block.text for block in blocks(page)), spans(page)):
        for words in commands(text):
            assert refusal(words) is None, f"{' '.join(words)}: {refusal(words)}"


def test_what_no_command_takes_is_found() -> None:
    for wrong in ("kossel grow --bogus", "kossel gro", "kossel dataset info", "python scripts/chaos.py --bogus"):
        assert refusal(wrong.split()) is not None
    (words,) = commands("# a comment\nOMP_NUM_THREADS=1 .venv/bin/kossel grow x.yaml \\\n  --dry-run | head  # so\n")
    assert words == ["kossel", "grow", "x.yaml", "--dry-run"]


def test_paths_named_in_the_documents_exist() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_compare_al55_answers(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "compare_al55.py"), "--smoke", "--json", str(tmp_path / "x.json")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert "most-coordinated" in done.stdout
    assert (tmp_path / "x.json").exists()


def test_reference_pages_are_what_the_code_says() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "make_reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
