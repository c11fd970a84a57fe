"""What README and scripts promise: its programs run, its scripts answer."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_of_the_readme_run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_there_are_programs_in_the_readme() -> None:
    assert len(PROGRAMS) >= 2


def test_compare_al55_answers(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "compare_al55.py"), "--smoke", "--json", str(tmp_path / "x.json")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert "most-coordinated" in done.stdout
    assert (tmp_path / "x.json").exists()


def test_paths_named_in_the_documents_exist() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
