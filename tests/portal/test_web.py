"""Every answer carries what protects people, and no failure shows what it should not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog
from litestar import get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.testing import TestClient

from autarco_portal import web, web_problems
from autarco_portal.store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from litestar import Litestar


@get("/api/secret", sync_to_thread=True)
def secret() -> None:
    raise RuntimeError("password=hunter2")


@get("/api/foreign", sync_to_thread=True)
def foreign() -> None:
    raise NotFoundException("no such site")


@get("/api/ill", sync_to_thread=True)
def ill() -> None:
    raise web_problems.Unavailable("the table cannot be read")


@get("/api/away", sync_to_thread=True)
def away() -> None:
    raise StoreUnavailable("the database does not answer: OperationalError hunter2")


@get("/api/link/{link:str}", sync_to_thread=True)
def link(link: FromPath[str]) -> None:
    raise RuntimeError("it broke")


@post("/api/change", sync_to_thread=True)
def change() -> dict[str, str]:
    return {"done": "yes"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient[Litestar]]:
    settings = web.Settings(data=tmp_path, is_https=True)
    app = web.app(settings, routes=[secret, foreign, ill, away, link, change])
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health", 200),
        ("/api/secret", 500),
        ("/api/foreign", 404),
        ("/api/ill", 503),
        ("/api/away", 503),
        ("/api/nowhere", 404),
        ("/api/change", 405),
    ],
)
def test_every_answer_is_protected_and_says_no_more_than_it_should(
    client: TestClient[Litestar], path: str, status: int
) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["strict-transport-security"].startswith("max-age=")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert "hunter2" not in answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver.local"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://testserver.local"}, 201),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_no_other_site_s_page_changes_anything(
    client: TestClient[Litestar], headers: dict[str, str], status: int
) -> None:
    assert client.post("/api/change", headers=headers).status_code == status


def test_a_page_tells_people_what_programs_are_told(tmp_path: Path) -> None:
    from litestar import Response

    app = web.app(
        web.Settings(data=tmp_path),
        page=lambda request, status, detail: Response(
            f"<p>{status}</p>", media_type="text/html", status_code=status
        ),
    )
    with TestClient(app) as client:
        assert client.get("/nowhere").text == "<p>404</p>"
        assert client.get("/api/nowhere").json()["title"] == "Not Found"


def test_a_log_of_failures_has_no_link_that_opens_something(
    client: TestClient[Litestar],
) -> None:
    with structlog.testing.capture_logs() as logs:
        assert client.get("/api/link/canary-5f2a").status_code == 500
    assert [one["path"] for one in logs] == ["/api/link/{link}"]
    assert "canary" not in str(logs)
