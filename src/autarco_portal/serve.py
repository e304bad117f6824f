"""How is the portal served: which server, which limits, when is it ready, how does it end?

granian answers HTTP in Rust and hands requests to the one process with the application. It bounds
heads of requests in time and size; `web_limits` bounds what comes after. HTTP/1 only and no
WebSockets: nothing here needs more, and what is not spoken cannot be abused. TLS by certificate
files, or plain behind a proxy that is named.

One process, because what it remembers must be one: the totals that were shown and must not fall,
how often a client asked, which passwords were compared, and a copy of the fleet, a gigabyte for
10,000 inverters. These take half a core of it when they are polled (docs/performance.md).
"""

from __future__ import annotations

import functools
import resource
import socket
import ssl
import sys
import threading
import time
from pathlib import Path  # noqa: TC003 - msgspec looks at it
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels

from autarco_portal.web import Settings  # noqa: TC001 - msgspec looks at it
from autarco_portal.web_limits import BODY_S, Limits
from autarco_portal.web_proxy import behind

if TYPE_CHECKING:
    from collections.abc import Callable

READY_PREFIX = "listening on "
HEAD_MS = 10_000
"""For the head of a request, and for a connection without one."""
HEAD_BYTES_MAX = 65_536
"""Of request line and headers; browsers send a few kilobytes."""
BACKLOG = 1_024
CONNECTIONS_MAX = 8_192
"""At once, those included that only wait; beyond, they wait in the backlog. Home Assistant keeps
one after each poll, here for HEAD_MS: of 10,000 sites 333."""
DESCRIPTORS_BESIDES = 256
"""For what is no connection: database, lake, log."""
STOP_S = 10
"""What the process may take to finish its requests before it is killed."""
READY_S = 60.0
_READY_STEP_S = 0.05


class ServeError(Exception):
    """The portal cannot be served as it was asked; the message is one sentence."""


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how."""

    host: str
    port: int
    """0 takes a free one."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    proxies: tuple[str, ...] = ()
    """Addresses or networks whose X-Forwarded headers are believed."""
    head_ms: int = HEAD_MS
    body_s: float = BODY_S


def run(settings: Settings, serving: Serving, make_app: Callable[[Settings], Any]) -> None:
    """Serves until SIGTERM or Ctrl-C, then lets requests finish.

    `make_app` is called in the process that answers. Raises ServeError for an address or
    certificate that cannot be used, and SystemExit when that process cannot start.
    """
    _check_certificate(serving)
    held, port = _hold(serving.host, serving.port)
    server = Granian(
        "autarco_portal",
        address=serving.host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=_connections_max(),
        http1_settings=HTTP1Settings(
            header_read_timeout=serving.head_ms, keep_alive=True, max_buffer_size=HEAD_BYTES_MAX
        ),
        log_level=LogLevels.warning,
        ssl_cert=serving.tls_cert,
        ssl_key=serving.tls_key,
        ssl_protocol_min=SSLProtocols.tls12,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_S,
    )
    shown = f"[{serving.host}]" if ":" in serving.host else serving.host
    stopping = threading.Event()
    server.on_startup(
        lambda: threading.Thread(
            target=_tell_when_ready,
            args=(serving.host, port, f"{READY_PREFIX}{shown}:{port}", stopping),
            daemon=True,
        ).start()
    )
    try:
        server.serve(
            target_loader=functools.partial(load, settings, serving, make_app),
            wrap_loader=False,
        )
    finally:
        stopping.set()
        held.close()


def load(settings: Settings, serving: Serving, make_app: Callable[[Settings], Any]) -> Any:
    """Returns the application within its limits."""
    log_to_stderr()
    app: Any = Limits(make_app(settings), body_s=serving.body_s)
    return behind(app, serving.proxies) if serving.proxies else app


def log_to_stderr() -> None:
    """Sends events to standard error: standard output is for the ready line.

    Tracebacks show no local variables: one of them may be somebody's address.
    """
    for_people = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=True)
            if for_people
            else structlog.processors.JSONRenderer(default=str),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _connections_max() -> int:
    """As many as wanted, or as this process may have descriptors for; asks for more of these."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + DESCRIPTORS_BESIDES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return CONNECTIONS_MAX
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(1, allowed - DESCRIPTORS_BESIDES)


def _check_certificate(serving: Serving) -> None:
    if (serving.tls_cert is None) != (serving.tls_key is None):
        raise ServeError("a certificate needs its key, and a key its certificate")
    if serving.tls_cert is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(serving.tls_cert, serving.tls_key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or getattr(error, "reason", None) or "unreadable"
        raise ServeError(f"cannot use certificate {serving.tls_cert}: {reason}") from error


def _hold(host: str, port: int) -> tuple[socket.socket, int]:
    """Reserves the address for the process that binds it again: a bound socket hears nothing."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        if port:
            # Another server may let its address be shared; two portals must not divide requests.
            with socket.socket(family, kind, protocol) as alone:
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind(address)
                alone.listen(1)
        held = socket.socket(family, kind, protocol)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except OSError as error:
        raise ServeError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return held, int(held.getsockname()[1])


def _tell_when_ready(host: str, port: int, line: str, stopping: threading.Event) -> None:
    until_s = time.monotonic() + READY_S
    while time.monotonic() < until_s and not stopping.wait(_READY_STEP_S):
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            continue
        print(line, flush=True)
        return
