"""The served page: to this machine alone, under its secret, made anew when the files are."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from growth.errors import InputError
from growth.page import serve as serving
from growth.page.serve import HOST, PageServer, serve
from tests.growth.page.imitation import append_step, imitate


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    with PageServer(imitate(tmp_path / "run", finished=False)) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def get(server: PageServer, path: str, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read(), answer.headers
    connection.close()
    return found


def test_the_page_is_served_under_its_secret_alone(server: PageServer) -> None:
    status, body, headers = get(server, f"/{server.secret}/")
    assert status == 200
    assert b'data-mode="live"' in body
    assert headers["Cache-Control"] == "no-store"
    for path in (
        "/",
        "/data.json",
        f"/{server.secret}",
        f"/{server.secret}/../x",
        f"/{server.secret[:-1]}x/",
        "/%C3%A9/",
    ):
        assert get(server, path)[0] == 404


def test_another_name_for_this_machine_is_refused(server: PageServer) -> None:
    assert get(server, f"/{server.secret}/", Host=f"evil.example:{server.server_port}")[0] == 404
    assert get(server, f"/{server.secret}/", Host=f"localhost:{server.server_port}")[0] == 200


def test_news_come_when_the_files_change_and_only_then(server: PageServer) -> None:
    address = f"/{server.secret}/data.json"
    news = json.loads(get(server, f"{address}?known=")[1])
    assert [walker["sizes"][-1] for walker in news["data"]["walkers"]] == [20, 20]
    assert get(server, f"{address}?known={news['known']}")[0] == 204
    append_step(server.run, walker=0, step=7)
    status, body, _ = get(server, f"{address}?known={news['known']}")
    assert status == 200
    assert [walker["sizes"][-1] for walker in json.loads(body)["data"]["walkers"]] == [21, 20]


def test_a_run_that_is_gone_is_told(server: PageServer) -> None:
    (server.run / "config.yaml").write_text("growth: [")
    (server.run / "events.jsonl").write_text("")
    status, body, _ = get(server, f"/{server.secret}/data.json")
    assert status == 503
    assert b"config.yaml" in body


def test_what_cannot_be_served_is_refused(tmp_path: Path, server: PageServer) -> None:
    with pytest.raises(InputError, match="not a run directory"):
        serve(tmp_path)
    with pytest.raises(InputError, match="--port"):
        serve(server.run, server.server_port)
    with pytest.raises(InputError, match="--port"):
        serve(server.run, 99_999)


def test_an_interruption_ends_it_cleanly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: PageServer, poll_interval: float = 0.5) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(serving.PageServer, "serve_forever", interrupted)
    told: list[str] = []
    serve(imitate(tmp_path / "run"), say=told.append)
    assert told[0].startswith(f"http://{HOST}:")
    assert told[-1] == "ended"
