"""What the documents tell a reader to type: programs, files to save, and commands, block by block in the page's order.

A fenced block of `sh` is typed, one of `python` run, one with `title=NAME` saved under that name. A block after
`<!-- not run: WHY -->` is only looked at: whether its commands exist and take these options.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main
from typer.core import TyperGroup

from growth.cli import UsageErrors, app

ROOT = Path(__file__).parents[1]
GUIDES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
"""Pages whose blocks are run."""
PAGES = (*GUIDES, *sorted((ROOT / "docs" / "results").rglob("*.md")))
FENCE = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]*) -->\n)?^```(?P<language>\w*)(?: title=(?P<title>\S+))?\n(?P<text>.*?)^```",
    re.DOTALL | re.MULTILINE,
)
START = re.compile(r"^(?:\$ |\w+=\S+ )*(?:\.venv/bin/)?(?P<program>kossel|python)\s")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the name to save it under, its text, and why it is not run."""

    language: str
    title: str | None
    text: str
    why_not: str | None


def spans(page: Path) -> str:
    """Commands with arguments in running text, a line each; those with a choice, or words to fill in, are left out."""
    prose = FENCE.sub("", page.read_text())
    found = [each.replace("\n", " ") for each in re.findall(r"`((?:kossel|python) [^`]+)`", prose)]
    return "\n".join(each for each in found if len(each.split()) > 2 and not re.search(r"[|…*]|\b[A-Z]{3,}\b", each))


def blocks(page: Path) -> list[Block]:
    """All of a page."""
    return blocks_of(page.read_text())


def blocks_of(text: str) -> list[Block]:
    """All of a piece of a page."""
    found = FENCE.finditer(text)
    return [Block(each["language"], each["title"], each["text"], each["why"]) for each in found]


def commands(text: str) -> Iterator[list[str]]:
    """The words of each `kossel` and `python` command of a block; comments, pipes and what stands before are cut."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if START.match(line):
            words = shlex.split(line, comments=True)
            program = next(n for n, word in enumerate(words) if Path(word).name in ("kossel", "python"))
            rest = words[program:]
            ends = [n for n, word in enumerate(rest) if word in ("|", ">", "&&", "&", ";", "2>&1")]
            yield [Path(rest[0]).name, *rest[1 : ends[0] if ends else None]]


def refusal(words: list[str]) -> str | None:
    """Why `kossel` or a script would not take a command; None where it would."""
    if words[0] == "kossel":
        return _refused_by_kossel(words[1:])
    script = ROOT / words[1]
    if words[1] in ("-c", "-m") or words[1] == "growth/run.py" or not words[1].startswith("scripts/"):
        return None
    if not script.exists():
        return f"no {words[1]}"
    known = "".join(path.read_text() for path in (script, *(ROOT / "scripts").glob("*/*.py")))
    missing = [word for word in words[2:] if word.startswith("--") and f'"{word.split("=")[0]}"' not in known]
    return f"{words[1]} has no {missing[0]}" if missing else None


def _refused_by_kossel(words: list[str]) -> str | None:
    command: Any = typer.main.get_command(app)
    try:
        while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
            if words[0] not in command.commands:
                return f"no command {words[0]}"
            command, words = command.commands[words[0]], words[1:]
        command.make_context("kossel", list(words))
    except typer.Exit:  # --help
        return None
    except UsageErrors as error:
        return str(error.format_message())
    return None
