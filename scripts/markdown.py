"""What pages of results are made of: tables, and means with their standard errors."""

from collections.abc import Sequence

import numpy as np


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, and an empty one."""
    line = "| {} |".format
    return [line(" | ".join(head)), "|---" * len(head) + "|", *(line(" | ".join(r)) for r in rows), ""]


def mean_and_error(values: Sequence[float | None]) -> tuple[float, float]:
    """Mean and its standard error, of what is not None; nan where there is nothing, or one alone."""
    given = np.array([x for x in values if x is not None], dtype=float)
    error = given.std(ddof=1) / len(given) ** 0.5 if len(given) > 1 else np.nan
    return float(given.mean()) if len(given) else np.nan, float(error)


def plus_minus(values: Sequence[float | None], digits: int = 1) -> str:
    """Mean ± standard error, or the mean alone.

    >>> plus_minus([1.0, 3.0]), plus_minus([2.0], digits=0)
    ('2.0 ± 1.0', '2')
    """
    mean, error = mean_and_error(values)
    return f"{mean:.{digits}f}" + (f" ± {error:.{digits}f}" if np.isfinite(error) else "")
