"""The page on a run while it goes on, for a browser on this machine."""

import json
import secrets
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from growth.errors import InputError
from growth.page.content import Content, content_of
from growth.page.page import html_of
from growth.page.run_files import read_run, signature
from growth.run_directory import in_use

HOST = "127.0.0.1"
LOOK_S = 10.0
"""How often the lock of the run is looked at; its files are looked at whenever a page asks."""


class PageServer(ThreadingHTTPServer):
    """Serves the page on one run, under an address that others on this machine cannot guess.

    Args:
        run: the run directory. port: to listen on; 0 for any that is free.

    Raises:
        InputError: not a run directory, or the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, run: Path, port: int = 0) -> None:
        read_run(run)  # what is no run is refused before anything is served
        self.run, self.secret = run, secrets.token_urlsafe(16)
        self._one = threading.Lock()
        self._held, self._looked = False, -LOOK_S
        self._known, self._content = "", None
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port} cannot be used ({error}); give another with --port, or 0 for any") from error

    _content: Content | None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.secret}/"

    def content(self) -> tuple[str, Content]:
        """What the page shows now, and a word that changes with it; made anew only where the files have changed.

        Raises:
            InputError: the run's files cannot be read.
        """
        with self._one:
            if time.monotonic() - self._looked >= LOOK_S:
                self._held, self._looked = in_use(self.run), time.monotonic()
            known = f"{signature(self.run)}-{self._held:d}"
            if self._content is None or known != self._known:
                self._content, self._known = content_of(self.run, live=True), known
            return self._known, self._content


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        head = f"/{self.server.secret}/"
        page, name = address.path[: len(head)], address.path[len(head) :]
        local = {f"{host}:{self.server.server_port}" for host in (HOST, "localhost")}
        if not secrets.compare_digest(page.encode(), head.encode()) or self.headers.get("Host") not in local:
            self._answer(HTTPStatus.NOT_FOUND)
            return
        try:
            known, content = self.server.content()
        except InputError as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error), "text/plain")
            return
        if name == "":
            self._answer(HTTPStatus.OK, html_of(content, live=True), "text/html")
        elif name == "data.json" and parse_qs(address.query).get("known") == [known]:
            self._answer(HTTPStatus.NO_CONTENT)
        elif name == "data.json":
            news = {"known": known, "data": content.data, "sections": content.sections}
            self._answer(HTTPStatus.OK, json.dumps(news, separators=(",", ":")), "application/json")
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def _answer(self, status: HTTPStatus, body: str = "", kind: str = "text/plain") -> None:
        content = body.encode("utf-8")
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": "frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        for name, value in headers.items():
            if status != HTTPStatus.NO_CONTENT or not name.startswith("Content-T"):
                self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):  # the page was closed meanwhile
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: an address in a log would tell the secret."""


def serve(run: Path, port: int = 0, say: Callable[[str], None] = print) -> None:
    """Serve the page on a run to browsers on this machine until Ctrl-C; it brings itself up to date.

    Args:
        run: the run directory. port: to listen on; 0 for any that is free. say: told the address.

    Raises:
        InputError: not a run directory, or the port cannot be had.
    """
    with PageServer(run, port) as server:
        say(f"{server.url}  (on this machine only; Ctrl-C ends it)")
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            say("ended")
