"""How do operators and load balancers ask a running server how it is? By HTTP, on loopback.

`/health` answers 200 when everything is well and 503 with the reasons when not; `/live` answers 200
as long as the server runs; `/metrics` is for Prometheus. There is no authentication and nothing
personal to see: it is meant for this machine, so every limit is small.

HTTP/1.1 is parsed by h11; one request per connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import msgspec
import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger(__name__)

CONNECTIONS_MAX = 32
"""Prometheus and a load balancer hold one each for a moment."""

REQUEST_SECONDS = 10.0
"""From accept to the last byte of the answer."""

HEAD_BYTES_MAX = 8 * 1024
"""Browsers send less than 2 KiB."""

RECEIVE_BYTES = 4 * 1024


class Page(msgspec.Struct, frozen=True):
    """What one path answers."""

    status: int
    content_type: str
    body: bytes


NOT_FOUND = Page(404, "text/plain", b"there is /health, /live and /metrics\n")
NOT_ALLOWED = Page(405, "text/plain", b"only GET and HEAD\n")
BAD_REQUEST = Page(400, "text/plain", b"not an HTTP/1.1 request\n")


async def serve(
    host: str,
    port: int,
    pages: dict[str, Callable[[], Page]],
    *,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves pages until cancelled; reports `(host, port)` by `task_status.started`.

    A page is made in a thread. Raises OSError when the address cannot be listened on.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port} (http_listen): {error.strerror}") from error
    places = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def handle(stream: trio.SocketStream) -> None:
        try:
            places.acquire_nowait()
        except trio.WouldBlock:
            await stream.aclose()
            return
        try:
            with trio.move_on_after(REQUEST_SECONDS):
                await _answer(stream, pages)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("status page: the peer left before its answer")
        finally:
            places.release()
            await trio.aclose_forcefully(stream)

    address = listeners[0].socket.getsockname()
    task_status.started((address[0], address[1]))
    await trio.serve_listeners(handle, listeners)


async def _answer(stream: trio.SocketStream, pages: dict[str, Callable[[], Page]]) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
    try:
        request = await _request(stream, connection)
    except h11.RemoteProtocolError:
        await _send(stream, connection, BAD_REQUEST, head_only=False)
        return
    if request is None:
        return
    method, path = request.method, request.target.partition(b"?")[0].decode("ascii", "replace")
    if method not in (b"GET", b"HEAD"):
        page = NOT_ALLOWED
    elif path not in pages:
        page = NOT_FOUND
    else:
        page = await trio.to_thread.run_sync(pages[path])
    await _send(stream, connection, page, head_only=method == b"HEAD")


async def _request(stream: trio.SocketStream, connection: h11.Connection) -> h11.Request | None:
    """Waits for a request's head; None when the peer leaves without one."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        connection.receive_data(await stream.receive_some(RECEIVE_BYTES))


async def _send(
    stream: trio.SocketStream, connection: h11.Connection, page: Page, *, head_only: bool
) -> None:
    if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    headers = [
        ("Content-Type", page.content_type),
        ("Content-Length", str(len(page.body))),
        ("Cache-Control", "no-store"),
        ("Connection", "close"),
    ]
    head = h11.Response(status_code=page.status, headers=headers)
    sent = connection.send(head) or b""
    if not head_only:
        sent += connection.send(h11.Data(data=page.body)) or b""
    await stream.send_all(sent)
    # Closing right away could reset the connection before the peer has read the answer.
    await stream.send_eof()
    with trio.move_on_after(1.0):
        while await stream.receive_some(RECEIVE_BYTES):
            pass
