"""Where do events go, and how do they look?

Events are lower-case phrases with their values as fields: `log.info("batch committed", rows=12)`.
They go to standard error: as coloured lines when a person watches, as one JSON object per line
otherwise. What libraries report through the standard library's logging goes the same way.

A warning or an error that comes again and again is shown once a minute; `repeated` then says how
often it came in between.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict, Processor, WrappedLogger

    from autarco_ingest.settings import LogSettings


REPEAT_SECONDS = 60.0
"""How often one and the same problem is worth a line."""

PROBLEMS_MAX = 256
"""Problems told apart; beyond, all are forgotten and shown anew."""


class Repetition:
    """Drops a warning or error that was shown less than a minute ago, and counts it.

    Two are the same when event and `error` are.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Remembers nothing yet; `clock` gives seconds and never goes back."""
        self._clock = clock
        self._shown: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Lets an event pass, with what was dropped before it, or raises DropEvent."""
        if method not in ("warning", "error"):
            return event
        now_s = self._clock()
        problem = (str(event.get("event")), str(event.get("error", "")))
        shown_s, dropped = self._shown.get(problem, (-REPEAT_SECONDS, 0))
        if now_s - shown_s < REPEAT_SECONDS:
            self._shown[problem] = (shown_s, dropped + 1)
            raise structlog.DropEvent
        if len(self._shown) >= PROBLEMS_MAX:
            self._shown.clear()
        self._shown[problem] = (now_s, 0)
        return {**event, "repeated": dropped} if dropped else event


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
            Repetition(time.monotonic),
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
