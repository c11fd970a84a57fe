"""The one exception that a user of the oracle is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something that the user gave cannot be used; the message is one clear line: what, where, expected, what to do."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the right word, or every known word when none is near.

    >>> nearest("lcoa", ["lcao", "pw"])
    "did you mean 'lcao'?"
    >>> nearest("zzz", ["lcao", "pw"])
    'known: lcao, pw'
    """
    choices = sorted(known)
    close = difflib.get_close_matches(word, choices, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(choices)}"
