"""One S3 server for all tests here, and a place of its own in it for each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

import s3_server
from s3_place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """The port of a running S3 server."""
    with s3_server.running() as port:
        yield port


@pytest.fixture
def place(s3_port: int) -> Place:
    """An empty place for a lake."""
    return Place(f"s3://{s3_server.BUCKET}/test-{next(_numbers)}/lake", s3_port)


@pytest.fixture
def proxy(s3_port: int) -> Iterator[s3_server.Proxy]:
    """Something between a server and its object storage."""
    proxy = s3_server.Proxy(s3_port)
    yield proxy
    proxy.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the server under test logs."""
    return tmp_path / "server.log"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Its data directory."""
    return tmp_path / "data"
