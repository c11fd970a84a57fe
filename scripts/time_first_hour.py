"""How long does a newcomer take? Clones the repository and types docs/first-hour.md from top to bottom.

    python scripts/time_first_hour.py --folder /tmp/newcomer

The folder must not be there. The table goes to docs/newcomer.md: wall time of each section's commands, and what they
need that is not written down (anything that fails ends the script, with what was typed and what came back).
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from documents import ROOT, Block, blocks_of

SET_UP = "set-up itself"
"""Why a block is not run by the tests that is run here."""
PAGE = "docs/first-hour.md"


def sections(page: Path) -> list[tuple[str, list[Block]]]:
    """Titles of a page's sections with their blocks."""
    parts = re.split(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)[1:]
    return [(title, blocks_of(text)) for title, text in zip(parts[::2], parts[1::2], strict=True)]


def type_block(block: Block, clone: Path) -> float:
    """Type a block in the clone, its environment active once there is one; seconds."""
    if block.title is not None:
        (clone / block.title).write_text(block.text)
        return 0.0
    if block.language != "sh" or (block.why_not and SET_UP not in block.why_not):
        return 0.0
    active = "" if block.why_not else "source .venv/bin/activate\n"
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH") and "RAY" not in k}
    began = time.monotonic()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", active + block.text],
        cwd=clone, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"this failed:\n{block.text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return time.monotonic() - began


def main() -> None:
    """Clone, type, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    clone = parser.parse_args().folder.absolute()
    if clone.exists():
        sys.exit(f"error: {clone} is there; name another --folder")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    rows = []
    for title, found in sections(clone / PAGE):
        seconds = sum(type_block(block, clone) for block in found)
        if seconds:
            rows.append(f"| {title.split(' (')[0]} | {seconds / 60:.1f} |")
            print(rows[-1], flush=True)
    lines = [
        "# The first hour, timed",
        "",
        "[first-hour.md](first-hour.md) typed from top to bottom in a fresh clone with a fresh environment, on",
        f"{os.cpu_count()} cores (`python scripts/time_first_hour.py --folder /tmp/newcomer`). Nothing else was",
        "needed.",
        "",
        "| section | minutes |",
        "|---|---|",
        *rows,
    ]
    (ROOT / "docs" / "newcomer.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
