"""Claims about what Prometheus gets to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from autarco_ingest import _core, metrics
from autarco_ingest.health import Health, Part
from test_health import Clock

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client.samples import Sample


def snapshot(**chosen: Any) -> metrics.Snapshot:
    ordinary: dict[str, Any] = {
        "version": "0.1.0",
        "counters": {},
        "answer_spans": [(0.01, 3), (float("inf"), 4)],
        "answer_seconds": 0.5,
        "health": Health(Clock()).state(),
        "waiting_rows": 7,
        "waiting_batches": 1,
        "flushes": 2,
        "flush_failures": 1,
        "flushed_rows": {"readings": 10},
        "flush_seconds": 0.25,
        "last_flush_unix_s": 1_800_000_000.0,
        "disk_free_bytes": {"journal": 5},
    }
    return metrics.Snapshot(**ordinary | chosen)


def samples(text: bytes) -> list[Sample]:
    families = text_string_to_metric_families(text.decode())
    return [sample for family in families for sample in family.samples]


def value(text: bytes, name: str, **labels: str) -> float:
    (found,) = [s.value for s in samples(text) if s.name == name and s.labels == labels]
    return found


def gateway(journal: Path) -> _core.Gateway:
    return _core.Gateway(
        host="127.0.0.1",
        port=0,
        tls=None,
        reuse_port=False,
        journal=journal,
        segment_bytes=64 * 1024,
        committed=0,
        time_zone="Europe/Amsterdam",
        oldest_reading_us=0,
        ahead_max_us=0,
        address_mode="none",
        address_key=b"",
        registry_policy="open",
        forget_key=b"",
        forgotten=[],
        limits={
            "connections_max": 1,
            "connections_per_address_max": 1,
            "connects_per_address_per_minute": 1,
            "frames_per_address_per_minute": 1,
            "connections_per_logger_max": 1,
            "frames_per_logger_per_minute": 1,
            "first_frame_us": 1,
            "idle_timeout_us": 1,
            "partial_frame_us": 1,
            "noise_bytes_max": 1,
            "unsent_bytes_max": 1,
            "unread_us": 1,
            "staged_bytes_max": 1,
        },
    )


def test_every_counter_of_the_gateway_is_described(tmp_path: Path) -> None:
    described = {name for family in metrics.FAMILIES for name in family.counters}

    assert described == set(gateway(tmp_path / "journal").counters())


def test_counters_of_one_kind_share_a_name_and_differ_by_label() -> None:
    text = metrics.render(snapshot(counters={"closed_idle": 3, "closed_noise": 4}))

    assert value(text, "autarco_ingest_connections_closed_total", reason="idle") == 3
    assert value(text, "autarco_ingest_connections_closed_total", reason="noise") == 4


def test_a_counter_without_a_description_is_shown_all_the_same() -> None:
    text = metrics.render(snapshot(counters={"comets": 2}))

    assert value(text, "autarco_ingest_comets_total") == 2


def test_failing_parts_are_ones_among_zeros() -> None:
    health = Health(Clock())
    health.fail(Part.JOURNAL, "disk full")
    text = metrics.render(snapshot(health=health.state()))

    assert value(text, "autarco_ingest_failing", part="journal") == 1
    assert value(text, "autarco_ingest_failing", part="lake") == 0
    assert value(text, "autarco_ingest_acknowledging") == 0


def test_waits_for_answers_are_a_histogram() -> None:
    text = metrics.render(snapshot())

    assert value(text, "autarco_ingest_answer_seconds_bucket", le="0.01") == 3
    assert value(text, "autarco_ingest_answer_seconds_count") == 4
    assert value(text, "autarco_ingest_answer_seconds_sum") == 0.5


def test_the_process_shows_its_memory_and_descriptors() -> None:
    names = {sample.name for sample in samples(metrics.render(snapshot()))}

    assert {"process_resident_memory_bytes", "process_open_fds", "process_max_fds"} <= names
