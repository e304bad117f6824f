"""Claims about what a running server tells by HTTP, and what bad HTTP does to it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from autarco_ingest.paths import DataDirectory
from autarco_ingest.status_page import CONNECTIONS_MAX, HEAD_BYTES_MAX
from server_process import ServerProcess, Wire, eventually, running
from test_metrics import value
from test_server import data_frame

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "server.log"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def http_port(log: Path) -> int:
    """The port that the log names."""
    (line,) = [line for line in log.read_text().splitlines() if '"event": "serving"' in line]
    port: int = json.loads(line)["http_address"][1]
    return port


def get(port: int, path: str, *, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def health(port: int) -> tuple[int, dict[str, Any]]:
    status, body = get(port, "/health")
    state: dict[str, Any] = json.loads(body)
    return status, state


def ill_parts(port: int) -> set[str]:
    return {problem["part"] for problem in health(port)[1]["problems"]}


def test_health_tells_an_ill_lake_and_its_recovery(data: Path, log: Path, tmp_path: Path) -> None:
    directory = DataDirectory.at(data)
    quiet = {"flush_seconds": "0.3", "disk_free_warn_bytes": "0"}
    with running(data, log=log, **quiet) as server, Wire(server.port) as wire:
        port = http_port(log)
        assert health(port) == (200, {"status": "ready", "acknowledging": True, "problems": []})
        wire.exchange(data_frame(1))
        directory.lake.rename(tmp_path / "away")
        directory.lake.write_text("not a directory")
        wire.exchange(data_frame(2))
        # The views may be missed first, and the lake only when the next flush comes to it.
        eventually("the lake is said to be ill", lambda: "lake" in ill_parts(port))
        status, state = health(port)
        assert status == 503
        assert state["acknowledging"]
        assert all(problem["consequence"] for problem in state["problems"])
        assert get(port, "/live")[0] == 200
        assert value(get(port, "/metrics")[1], "autarco_ingest_failing", part="lake") == 1
        directory.lake.unlink()
        (tmp_path / "away").rename(directory.lake)
        eventually("all is well", lambda: health(port)[0] == 200, seconds=30)
        text = get(port, "/metrics")[1]
        assert value(text, "autarco_ingest_flushed_rows_total", table="readings") == 2
        assert value(text, "autarco_ingest_data_frames_total", outcome="stored") == 2
        assert value(text, "autarco_ingest_answer_seconds_count") == 2


def test_a_journal_that_cannot_be_written_stops_the_acknowledgements_and_says_so(
    data: Path, log: Path, tmp_path: Path
) -> None:
    directory = DataDirectory.at(data)
    quiet = {"flush_seconds": "0.3", "disk_free_warn_bytes": "0"}
    with running(data, log=log, **quiet) as server, Wire(server.port) as wire:
        port = http_port(log)
        directory.journal.rename(tmp_path / "away")
        wire.send(data_frame(1))
        eventually("the server is degraded", lambda: health(port)[0] == 503)
        assert not health(port)[1]["acknowledging"]
        (tmp_path / "away").rename(directory.journal)
        assert wire.receive()[4] == 0x12
        eventually("all is well", lambda: health(port)[0] == 200)


def test_little_room_on_the_disk_is_told_before_anything_fails(data: Path, log: Path) -> None:
    with running(data, log=log, disk_free_warn_bytes=str(2**62)):
        port = http_port(log)
        eventually("the server is degraded", lambda: health(port)[0] == 503, seconds=20)
        (problem,) = health(port)[1]["problems"]
        assert problem["part"] == "disk_space"
        assert "MB left" in problem["reason"]


def test_bad_http_is_refused_and_harms_nobody(data: Path, log: Path) -> None:
    with running(data, log=log) as server, Wire(server.port) as wire:
        port = http_port(log)
        assert get(port, "/")[0] == 404
        assert get(port, "/health", method="POST")[0] == 405
        assert get(port, "/live", method="HEAD") == (200, b"")
        for garbage in (
            b"\xa5" * 300 + b"\r\n\r\n",
            b"GET /health HTTP/1.1\r\n\r\n",
            b"GET /live HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 2 * HEAD_BYTES_MAX,
        ):
            assert _talk(port, garbage).startswith(b"HTTP/1.1 4"), garbage[:40]
        assert _talk(port, b"") == b""
        # More silent peers than there are places; then they leave.
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS_MAX + 8)]
        time.sleep(0.2)
        assert wire.exchange(data_frame(1))[4] == 0x12
        for peer in silent:
            peer.close()
        eventually("there is room again", lambda: _is_alive(port))
        assert server.stop() == 0
    assert "Traceback" not in log.read_text()


def test_a_taken_port_is_one_sentence(data: Path, log: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AssertionError, match=rf"cannot listen on 127.0.0.1:{port} \(http_list"):
            ServerProcess(data, log=log, http_listen=f"127.0.0.1:{port}")


def test_without_an_address_there_is_no_page(data: Path, log: Path) -> None:
    with running(data, log=log, http_listen=""):
        assert '"http_address": null' in log.read_text()


def _talk(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := peer.recv(4096):
            answer += chunk
        return answer


def _is_alive(port: int) -> bool:
    try:
        return get(port, "/live")[0] == 200
    except (OSError, http.client.HTTPException):
        return False
