"""Pieces of HTML; whatever comes from a run is escaped here."""

import re
from collections.abc import Iterable, Sequence
from html import escape

_CODE = re.compile(r"`([^`]*)`")


class Safe(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> str:
    """A value as HTML: escaped, unless it is HTML already.

    >>> text("</script>"), text(Safe("<b>x</b>"))
    ('&lt;/script&gt;', '<b>x</b>')
    """
    return value if isinstance(value, Safe) else escape(str(value))


def prose(sentence: str) -> Safe:
    """Escaped, with what stands between backticks as code.

    >>> prose("run `kossel doctor <RUN>`")
    'run <code>kossel doctor &lt;RUN&gt;</code>'
    """
    return Safe(_CODE.sub(r"<code>\1</code>", escape(sentence)))


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "") -> Safe:
    """A table that scrolls by itself where it is too wide; the first cell of a row is its heading."""
    top = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>'
        + "".join(
            f'<td data-head="{text(name)}">{text(cell)}</td>' for name, cell in zip(head[1:], row[1:], strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return Safe(
        f'<div class="wide" tabindex="0" role="region" aria-label="{text(caption)}"><table class="{kind}">'
        f"<caption>{text(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def details(summary: str, content: str) -> Safe:
    """Content that is folded away; `content` is HTML."""
    return Safe(f"<details><summary>{text(summary)}</summary>{content}</details>")


def paragraph(*sentences: str) -> Safe:
    """Sentences as one paragraph."""
    return Safe(f"<p>{' '.join(prose(sentence) for sentence in sentences if sentence)}</p>")


def code(command: str) -> Safe:
    """A command that can be copied."""
    return Safe(
        f'<div class="command"><code>{text(command)}</code><button type="button" class="copy">Copy</button></div>'
    )


def duration(seconds: float) -> str:
    """As people say it.

    >>> duration(7350), duration(75), duration(4.2)
    ('2 h 2 min', '1 min 15 s', '4 s')
    """
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def number(value: float | None, digits: int) -> str:
    """A figure with a fixed number of decimals and a proper minus; a dash where there is none.

    >>> number(-3.17951, 3), number(None, 1)
    ('−3.180', '–')
    """
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def count(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> count(1, "label"), count(1200, "label"), count(2, "crystal of Al", "crystals of Al")
    ('1 label', '1,200 labels', '2 crystals of Al')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"
