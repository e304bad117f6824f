"""What do the server's numbers look like to Prometheus?

One table says what each counter of the gateway is called there and what it means; a counter that it
does not know yet is shown under its own name. Pure apart from the process's own figures: the server
takes a snapshot, `render` turns it into text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from autarco_ingest.health import Part, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

PREFIX = "autarco_ingest_"


class Family(msgspec.Struct, frozen=True):
    """One metric: its name without prefix and suffix, what it counts, and its label, if any.

    `counters` maps a counter of the gateway to its value of the label.
    """

    name: str
    help: str
    counters: Mapping[str, str]
    label: str = ""
    gauge: bool = False


def _single(counter: str, name: str, text: str, *, gauge: bool = False) -> Family:
    return Family(name, text, {counter: ""}, gauge=gauge)


FAMILIES = (
    _single("connections", "connections", "Open connections.", gauge=True),
    _single("addresses", "tracked_addresses", "Addresses with limits in use.", gauge=True),
    _single("loggers", "tracked_loggers", "Loggers with limits in use.", gauge=True),
    _single("registered", "registered_loggers", "Loggers in the registry.", gauge=True),
    _single("accepted", "connections_accepted", "Connections taken."),
    Family(
        "connections_refused",
        "Connections closed at accept: the server, or the address, had its number or its rate.",
        {
            "refused": "connections_max",
            "refused_address_full": "connections_per_address_max",
            "refused_address_rate": "connects_per_address_per_minute",
        },
        "limit",
    ),
    Family(
        "connections_closed",
        "Connections that the server ended.",
        {
            "closed_idle": "idle",
            "closed_no_frame": "no_frame",
            "closed_replaced": "replaced",
            "closed_noise": "noise",
            "closed_unread": "unread",
        },
        "reason",
    ),
    Family(
        "accept_failures",
        "Accepts that failed: the peer had left, or descriptors or memory had run out.",
        {"accept_errors": "peer_left", "accept_exhausted": "exhausted"},
        "reason",
    ),
    Family(
        "bytes",
        "Bytes from and to sticks.",
        {"bytes_in": "in", "bytes_out": "out"},
        "direction",
    ),
    _single("frames", "frames", "Whole frames with a right checksum."),
    Family(
        "frames_by_kind",
        "Frames of loggers that may send.",
        {
            "frames_data": "data",
            "frames_heartbeat": "heartbeat",
            "frames_session": "session",
            "frames_other": "other",
        },
        "kind",
    ),
    _single("refused_frames", "frames_refused", "Frames of loggers that the registry refused."),
    _single(
        "forgotten_frames",
        "frames_forgotten",
        "Frames of loggers and inverters that are forgotten.",
    ),
    Family(
        "data_frames",
        "Data frames by what became of them; quarantined ones are stored too, apart.",
        {"staged": "stored", "resends": "resend", "quarantined": "quarantined"},
        "outcome",
    ),
    Family(
        "answers",
        "Answers handed to the kernel, and those whose stick had gone.",
        {"answers": "sent", "answers_orphaned": "orphaned"},
        "outcome",
    ),
    _single("noise_bytes", "noise_bytes", "Bytes that belong to no frame."),
    Family(
        "rejections",
        "Starts of frames that turned out to be none.",
        {
            "rejected_too_long": "too_long",
            "rejected_control": "control",
            "rejected_end": "end",
            "rejected_checksum": "checksum",
            "rejected_stale": "stale",
        },
        "reason",
    ),
    Family(
        "reading_paused",
        "Times a connection was not read: journal or tables too slow, or a rate used up.",
        {"paused": "backlog", "paused_address": "address", "paused_logger": "logger"},
        "reason",
    ),
    Family(
        "commits",
        "Group commits of the journal.",
        {"commits": "done", "commit_errors": "failed"},
        "outcome",
    ),
    _single("replayed", "recovered_records", "Records that the journal gave back at start."),
    _single("journal_torn_bytes", "journal_torn_bytes", "Bytes of torn records cut at start."),
    _single(
        "journal_damaged_segments",
        "journal_damaged_segments",
        "Segments of the journal that the disk has damaged, set aside at start.",
    ),
    _single(
        "journal_hidden_records",
        "journal_hidden_records",
        "Records behind damage in the journal, not read at start.",
    ),
)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The server's numbers of one moment; bytes, seconds and rows."""

    version: str
    counters: Mapping[str, int]
    answer_spans: Sequence[tuple[float, int]]
    answer_seconds: float
    health: State
    waiting_rows: int
    waiting_batches: int
    flushes: int
    flush_failures: int
    flushed_rows: Mapping[str, int]
    flush_seconds: float
    last_flush_unix_s: float
    disk_free_bytes: Mapping[str, int]


def render(snapshot: Snapshot) -> bytes:
    """Returns the snapshot, and the process's own figures, in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(snapshot))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        yield from _of_gateway(self._snapshot.counters)
        yield from _of_server(self._snapshot)


def _of_gateway(counters: Mapping[str, int]) -> Iterable[Metric]:
    left = dict(counters)
    for family in FAMILIES:
        kind = GaugeMetricFamily if family.gauge else CounterMetricFamily
        labels = [family.label] if family.label else []
        metric = kind(PREFIX + family.name, family.help, labels=labels)
        for counter, value in family.counters.items():
            metric.add_metric([value] if labels else [], left.pop(counter, 0))
        yield metric
    for name, count in left.items():
        yield CounterMetricFamily(PREFIX + name, "A counter without a description yet.", count)


def _of_server(snapshot: Snapshot) -> Iterable[Metric]:
    yield InfoMetricFamily(PREFIX + "build", "The running version.", {"version": snapshot.version})
    answers = HistogramMetricFamily(
        PREFIX + "answer_seconds", "From reading a data frame to its answer, on disk in between."
    )
    spans = [(_bound(bound), float(count)) for bound, count in snapshot.answer_spans]
    answers.add_metric([], spans, snapshot.answer_seconds)
    yield answers
    failing = {problem.part for problem in snapshot.health.problems}
    parts = GaugeMetricFamily(PREFIX + "failing", "1 while a part fails.", labels=["part"])
    for part in Part:
        parts.add_metric([part], float(part in failing))
    yield parts
    yield GaugeMetricFamily(
        PREFIX + "acknowledging",
        "1 while samples are acknowledged.",
        float(snapshot.health.acknowledging),
    )
    yield GaugeMetricFamily(
        PREFIX + "waiting_rows", "Durable rows that no table has yet.", snapshot.waiting_rows
    )
    yield GaugeMetricFamily(
        PREFIX + "waiting_batches", "Batches that the lake refused.", snapshot.waiting_batches
    )
    flushes = CounterMetricFamily(PREFIX + "flushes", "Batches for the lake.", labels=["outcome"])
    flushes.add_metric(["done"], snapshot.flushes)
    flushes.add_metric(["failed"], snapshot.flush_failures)
    yield flushes
    rows = CounterMetricFamily(PREFIX + "flushed_rows", "Rows in the tables.", labels=["table"])
    for table, count in snapshot.flushed_rows.items():
        rows.add_metric([table], count)
    yield rows
    yield CounterMetricFamily(
        PREFIX + "flush_seconds", "Time spent on batches for the lake.", snapshot.flush_seconds
    )
    yield GaugeMetricFamily(
        PREFIX + "last_flush_timestamp_seconds",
        "When the tables last had everything; unix time.",
        snapshot.last_flush_unix_s,
    )
    free = GaugeMetricFamily(PREFIX + "disk_free_bytes", "Room on the disk of.", labels=["place"])
    for place, free_bytes in snapshot.disk_free_bytes.items():
        free.add_metric([place], free_bytes)
    yield free


def _bound(seconds: float) -> str:
    return "+Inf" if seconds == float("inf") else repr(seconds)
