"""Claims about the files that operators copy, and the page they read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec

from autarco_ingest import metrics, settings
from autarco_ingest.health import Part
from autarco_ingest.metrics import PREFIX
from test_docs import defaults
from test_metrics import samples, snapshot

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_sample_settings_are_the_defaults() -> None:
    file = EXAMPLES / "autarco-ingest.toml"

    assert settings.load(file) == settings.Settings()


def test_the_sample_settings_name_every_setting() -> None:
    text = (EXAMPLES / "autarco-ingest.toml").read_text(encoding="utf-8")
    everything = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    named = set()
    for name, value in everything.items():
        named |= {f"{name}.{inner}" for inner in value} if isinstance(value, dict) else {name}

    assert named == {name for name, _ in defaults(settings.Settings())}


def test_the_service_gives_the_server_time_to_flush_and_descriptors_for_its_connections() -> None:
    unit = (EXAMPLES / "autarco-ingest.service").read_text(encoding="utf-8")
    ordinary = settings.Settings()

    assert _number(unit, "TimeoutStopSec") > ordinary.stop_deadline_s
    assert _number(unit, "LimitNOFILE") > ordinary.connections_max


def test_alerts_ask_for_metrics_that_exist() -> None:
    text = (EXAMPLES / "prometheus-alerts.yml").read_text(encoding="utf-8")
    asked = set(re.findall(rf"{PREFIX}\w+", text))
    shown = {sample.name for sample in samples(metrics.render(snapshot()))}

    assert asked
    assert asked <= shown


def test_operations_explain_every_part_that_can_fail() -> None:
    chapter = OPERATIONS.partition("## Health")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", chapter, flags=re.MULTILINE)) == set(Part)


def test_operations_explain_every_metric() -> None:
    chapter = OPERATIONS.partition("## Metrics")[2].partition("\n## ")[0]
    explained = set(re.findall(r"`(\w+)`", chapter))
    shown = {sample.name for sample in samples(metrics.render(snapshot()))}
    names = {
        re.sub(r"_(total|info|bucket|count|sum|created)$", "", name.removeprefix(PREFIX))
        for name in shown
        if name.startswith(PREFIX)
    }

    assert names <= explained


def test_operations_name_settings_and_counters_that_exist() -> None:
    chapter = OPERATIONS.partition("## Limits")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in chapter.splitlines() if line.startswith("| ")][1:]
    known = {name for name, _ in defaults(settings.Settings())} | {"LimitNOFILE"}
    counted = {family.name for family in metrics.FAMILIES}
    for row in rows:
        limits = re.findall(r"`([\w.]+)", row[2])
        assert set(limits) <= known, row
        assert set(re.findall(r"`(\w+)`", row[4])) <= counted, row
    named = {limit for row in rows for limit in re.findall(r"`([\w.]+)", row[2])}
    bounds = {field for field in msgspec.structs.asdict(settings.Settings()) if "max" in field}
    assert bounds - {"ahead_max_s"} <= named


def _number(unit: str, name: str) -> int:
    found = re.search(rf"^{name}=(\d+)$", unit, flags=re.MULTILINE)
    assert found is not None
    return int(found[1])
