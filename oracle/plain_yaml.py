"""YAML that a person wrote: plain values of bounded size, whatever stands in the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from oracle.errors import InputError

LARGEST_FILE = 1 << 20
"""Bytes."""
DEEPEST = 40
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
MOST_ALIASES = 20
"""At most some thousand copies: what k references multiply to is largest where each level has e of them, exp(k / e)."""


class _PlainLoader(yaml.SafeLoader):
    """Refuses tags, values that hold themselves, and what is nested or repeated without end."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._n_aliases = 0
        self._open: list[str | None] = []

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        problem = None
        if isinstance(event, yaml.AliasEvent):
            self._n_aliases += 1
            if event.anchor in self._open:
                problem = f"*{event.anchor} holds itself"
            elif self._n_aliases > MOST_ALIASES:
                problem = f"more than {MOST_ALIASES} references"
        elif getattr(event, "tag", None) is not None:
            problem = f"the tag {event.tag} is not taken, only plain values"
        elif len(self._open) > DEEPEST:
            problem = f"nested deeper than {DEEPEST}"
        elif _NO_TEXT.search(getattr(event, "value", "")):
            problem = "a character that no text or path has"
        if problem is not None:
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        self._open.append(event.anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        return node


def parse_yaml(text: str) -> Any:
    """Return the value that a text stands for.

    Raises:
        ValueError: not YAML, or not plain and of bounded size; the message is one line.

    >>> parse_yaml("{kind: gpaw, h: 0.2}")
    {'kind': 'gpaw', 'h': 0.2}
    >>> parse_yaml("!!python/name:os.system")
    Traceback (most recent call last):
    ValueError: line 1: the tag tag:yaml.org,2002:python/name:os.system is not taken, only plain values
    """
    try:
        return yaml.load(text, _PlainLoader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise ValueError(f"{line}{error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def read_yaml(path: str | Path, what: str, advice: str) -> Any:
    """Return the content of a YAML file.

    Args:
        path: the file.
        what: what it is, for messages. advice: what to do where it cannot be read.

    Raises:
        InputError: it cannot be read, or is not plain YAML.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise InputError(f"{what} {path}: larger than {LARGEST_FILE >> 20} MB; {advice}")
        return parse_yaml(content.decode("utf-8"))
    except OSError as error:
        raise InputError(f"{what} {path}: {error.strerror}; {advice}") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{what} {path}: not YAML ({error})") from error
