"""Does docs/detection.md say what the rules do?"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from autarco_portal.availability import AvailabilityRules
from autarco_portal.detection import DetectionRules
from autarco_portal.detection_intraday import IntradayRules
from autarco_portal.escalation import EscalationRules
from autarco_portal.incidents import IncidentRules
from autarco_portal.peers import PeerRules

DOCUMENT = Path(__file__).parents[2] / "docs" / "detection.md"
RULES = (
    PeerRules(), DetectionRules(), IntradayRules(), AvailabilityRules(), IncidentRules(),
    EscalationRules(),
)  # fmt: skip


def as_written(value: float | timedelta) -> str:
    if not isinstance(value, timedelta):
        return f"{value:g}"
    if value >= timedelta(days=3):
        return f"{value.days} d"
    minutes = value // timedelta(minutes=1)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h"


def test_the_document_names_every_threshold_once_as_it_is() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    written = re.findall(r"`(\w+)` = (-?[\d.]*\d(?: (?:min|h|d)\b)?)", text)
    coded = [
        (name, as_written(value))
        for rules in RULES
        for name, value in msgspec.structs.asdict(rules).items()
        if name != "model_version"
    ]

    assert sorted(written) == sorted(coded)


@pytest.mark.parametrize("rules", RULES)
def test_rules_cannot_be_changed_in_place(rules: msgspec.Struct) -> None:
    name = rules.__struct_fields__[-1]

    with pytest.raises(AttributeError):
        setattr(rules, name, 0)
