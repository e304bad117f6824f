"""A real SMTP server for tests: it takes, refuses or defers mail by its recipient."""

from __future__ import annotations

import asyncio
import contextlib
import email
import ssl
from email.policy import default
from typing import TYPE_CHECKING, Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message
    from pathlib import Path

USER, PASSWORD = b"portal", b"a-mailbox-password"


class Inbox:
    """What came in, and what is refused."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.is_encrypted: list[bool] = []
        self.takes_all = False

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address.startswith("gone"):
            return f"550 5.1.1 <{address}> is unknown here"
        if address.startswith("later") and not self.takes_all:
            return f"451 4.7.1 <{address}> is greylisted"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.messages.append(email.message_from_bytes(envelope.content, policy=default))
        self.is_encrypted.append(session.ssl is not None)
        return "250 taken"

    def to(self, recipient: str) -> list[Message]:
        """Returns the mails of one recipient."""
        return [message for message in self.messages if message["To"] == recipient]


class _OnFreePort(Controller):
    """Takes any free port, and knows which one before it tries whether it answers."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


def _authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
    is_known = (data.login, data.password) == (USER, PASSWORD)
    return AuthResult(success=is_known, handled=is_known)


@contextlib.contextmanager
def running(certificates: Path | None = None) -> Iterator[tuple[Inbox, int]]:
    """Runs a server on a free port; with a directory for its certificate it insists on TLS."""
    inbox = Inbox()
    options: dict[str, Any] = {}
    if certificates is not None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(certificates / "ca.pem")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        options = {
            "tls_context": context,
            "require_starttls": True,
            "authenticator": _authenticate,
            "auth_required": True,
        }
    controller = _OnFreePort(inbox, hostname="127.0.0.1", port=0, **options)
    controller.start()
    try:
        yield inbox, controller.port
    finally:
        controller.stop()
