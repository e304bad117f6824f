"""Where do events go, and how do they look?

Events are lower-case phrases with their values as fields: `log.info("batch committed", rows=12)`.
They go to standard error: as coloured lines when a person watches, as one JSON object per line
otherwise. What libraries report through the standard library's logging goes the same way.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

    from autarco_ingest.settings import LogSettings


def configure(settings: LogSettings, *, stream: TextIO | None = None) -> None:
    """Sends structlog and standard logging to `stream` (standard error); may be called again."""
    output = sys.stderr if stream is None else stream
    for_people = settings.format == "human" or (settings.format == "auto" and output.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(for_people, colours=output.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        # Loggers are made at import, before settings are known.
        cache_logger_on_first_use=False,
    )


def _rendering(for_people: bool, *, colours: bool) -> list[Processor]:
    # Tracebacks never show local variables: one of them may be a network address.
    if for_people:
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain)]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(default=str),
    ]
