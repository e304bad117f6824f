"""Claims about the TLS listener: the same table, and a certificate that may change."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from server_process import ServerProcess, eventually, running
from test_server import count, data_frame

if TYPE_CHECKING:
    from pathlib import Path

ANSWER_BYTES = 23


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key, as PEM files."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no program `openssl`: no certificate to show")
    chain, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(
        [
            *(program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *(
                "-nodes",
                "-days",
                "2",
                "-subj",
                f"/CN={name}",
                "-addext",
                f"subjectAltName=DNS:{name}",
            ),
            *("-keyout", str(key), "-out", str(chain)),
        ],
        check=True,
        capture_output=True,
    )
    return chain, key


def tls_port(log: Path) -> int:
    """The port that the log names."""
    (line,) = [line for line in log.read_text().splitlines() if '"event": "serving"' in line]
    port: int = json.loads(line)["tls_address"][1]
    return port


def answer(port: int, trusted: Path, name: str, frame: bytes) -> bytes:
    """Sends one frame under TLS and returns its answer; raises ssl.SSLError."""
    context = ssl.create_default_context(cafile=str(trusted))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        secured.sendall(frame)
        received = b""
        while len(received) < ANSWER_BYTES:
            chunk = secured.recv(ANSWER_BYTES - len(received))
            assert chunk, "the server hung up"
            received += chunk
        return received


def test_frames_come_by_tls_and_the_certificate_may_change(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "server.log"
    shown, key = certificate(tmp_path, "sticks.example")
    renewed, renewed_key = certificate(tmp_path, "renewed.example")
    options = {"tls__listen": "127.0.0.1:0", "tls__certificate": str(shown), "tls__key": str(key)}
    with running(data, log=log, **options) as server:
        port = tls_port(log)
        trusted = tmp_path / "trusted.pem"
        shutil.copyfile(shown, trusted)
        assert answer(port, trusted, "sticks.example", data_frame(1))[4] == 0x12
        shutil.copyfile(renewed_key, key)
        shutil.copyfile(renewed, shown)
        eventually("the new one is taken over", lambda: "certificate taken over" in log.read_text())
        with pytest.raises(ssl.SSLError):
            answer(port, trusted, "sticks.example", data_frame(2))
        assert answer(port, renewed, "renewed.example", data_frame(3))[4] == 0x12
        shown.write_text("no certificate")
        eventually("the bad one is told", lambda: "certificate cannot be used" in log.read_text())
        assert answer(port, renewed, "renewed.example", data_frame(4))[4] == 0x12
        assert server.stop() == 0
    assert count(data) == 3


def test_a_key_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    chain, _ = certificate(tmp_path, "a.example")
    _, other_key = certificate(tmp_path, "b.example")
    with pytest.raises(AssertionError, match="certificate and key do not fit"):
        ServerProcess(
            tmp_path / "data",
            log=tmp_path / "server.log",
            tls__listen="127.0.0.1:0",
            tls__certificate=str(chain),
            tls__key=str(other_key),
        )
