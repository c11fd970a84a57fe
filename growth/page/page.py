"""The page on a run: one HTML file that needs nothing else and can ask nothing of anybody."""

import base64
import hashlib
import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from growth.errors import InputError
from growth.page.content import Content, content_of
from growth.page.markup import text
from oracle.durable import write_whole

SCRIPTS = ("3Dmol-min.js", "plotly-basic.min.js", "viewer.js", "plots.js", "page.js")
LICENCES = ("3Dmol-LICENSE.txt", "plotly-LICENSE.txt")
_SLOT = re.compile(r"\{\{ (\w+) \}\}")


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the page on a run as one file that opens without a network.

    Args:
        run: the run directory, of a run that is over, goes on, or has just begun.
        out: the file; default RUN/report.html.

    Returns:
        The file.

    Raises:
        InputError: not a run directory, or its files cannot be read, or the file cannot be written.
    """
    content = content_of(run)
    target = out or run / "report.html"
    try:
        write_whole(target, html_of(content))
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror}); give another path with --out") from error
    return target


def html_of(content: Content, live: bool = False) -> str:
    """The page as HTML.

    Args:
        live: whether it asks the server that it came from for news; otherwise it may connect to nothing.
    """
    scripts = [_asset(name).replace("</script", "<\\/script") for name in SCRIPTS]
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    connect = "'self'" if live else "'none'"
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
    policy += f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    slots = {
        "policy": policy,
        "title": text(content.title),
        "live": "live" if live else "still",
        "style": _asset("page.css"),
        "data": json_for_html(content.data),
        "licences": text("\n\n".join(map(_asset, LICENCES))),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
        **content.sections,
    }
    return _SLOT.sub(lambda match: slots[match[1]], _asset("page.html"))


def json_for_html(value: Any) -> str:
    """JSON that cannot end the element it stands in.

    >>> json_for_html({"name": "</script><b>&"})
    '{"name":"\\\\u003c/script\\\\u003e\\\\u003cb\\\\u003e\\\\u0026"}'
    """
    told = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return told.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _asset(name: str) -> str:
    return (files("growth.page") / "assets" / name).read_text(encoding="utf-8")
