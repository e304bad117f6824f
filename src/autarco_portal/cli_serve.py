"""`autarco-portal serve`: where does the portal listen, and what does it stand on?"""

from __future__ import annotations

import argparse
import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, UsageError, data_directory

if TYPE_CHECKING:
    from autarco_portal.cli_command import Add

LISTEN = "127.0.0.1:8080"
_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\s\[\]]+):(\d{1,5})")


def register(add: Add) -> None:
    """Adds the command."""
    command = add("serve", _serve, "Serve the portal to people and programs until SIGTERM.")
    command.add_argument(
        "--listen", type=_address, default=LISTEN, metavar="HOST:PORT", help=f"default: {LISTEN}"
    )
    command.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    command.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    command.add_argument(
        "--proxy",
        action="append",
        type=_proxy,
        default=[],
        metavar="ADDRESS",
        help="a proxy with TLS in front, whose X-Forwarded headers are believed; may be repeated",
    )
    command.add_argument(
        "--database", default="", metavar="URL", help="the store (default: DATA/portal/…)"
    )


def _serve(parsed: argparse.Namespace) -> int:
    from autarco_portal import serve
    from autarco_portal.serve_app import check, make_app
    from autarco_portal.web import Settings

    data = data_directory(parsed)
    host, port = parsed.listen if isinstance(parsed.listen, tuple) else _address(parsed.listen)
    settings = Settings(
        data=data.root,
        database=parsed.database,
        is_https=parsed.tls_cert is not None or bool(parsed.proxy),
    )
    serving = serve.Serving(
        host=host,
        port=port,
        tls_cert=parsed.tls_cert,
        tls_key=parsed.tls_key,
        proxies=tuple(parsed.proxy),
    )
    try:
        check(settings)
        serve.run(settings, serving, make_app)
    except serve.ServeError as error:
        raise UsageError(str(error)) from error
    return DONE


def _address(text: str) -> tuple[str, int]:
    found = _LISTEN.fullmatch(text)
    if found is None or int(found[2]) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT")
    return found[1].strip("[]"), int(found[2])


def _proxy(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        # A name would never be compared with an address, and so never be believed.
        raise argparse.ArgumentTypeError(f"{text!r} is no address or network") from error
    return text
