"""Serves the world of tests by the portal's own server: `python serve_world.py DIR CERT KEY`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import structlog

from autarco_portal import serve
from autarco_portal.portal import Settings
from autarco_portal.serve_app import assemble

HEAD_MS, BODY_S = 4_000, 2.0
"""Shorter than in life, for tests of how long a client may take."""


def make_app(settings: Settings) -> Any:
    """The application of the one worker."""
    from portal_world import World

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    world = World(settings.data / "world")
    return assemble(world.portal, world.accounts)


if __name__ == "__main__":
    directory, cert, key = map(Path, sys.argv[1:])
    serving = serve.Serving(
        host="127.0.0.1", port=0, tls_cert=cert, tls_key=key, head_ms=HEAD_MS, body_s=BODY_S
    )
    serve.run(Settings(data=directory), serving, make_app)
