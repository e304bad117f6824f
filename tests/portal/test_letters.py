"""Every letter is in the language of whoever reads it, to the last word of ours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import privacy_samples as samples
from autarco_portal import privacy_duties
from autarco_portal.privacy import erasure, letter
from autarco_portal.privacy.erasure import Holdings, SiteHolding
from autarco_portal.privacy.human_decision import Effect
from autarco_portal.privacy.legal_hold import Hold
from autarco_portal.privacy.request import Channel, Request, Right
from autarco_portal.privacy.security_incident import SecurityIncident

if TYPE_CHECKING:
    from autarco_portal.privacy.letter import Letter
    from autarco_portal.store import Store

NOW, DAY = datetime(2026, 5, 1, 12, tzinfo=UTC), timedelta(days=1)
ENGLISH = {"the", "your", "and", "who", "until", "guarantee", "request", "owner", "left", "we"}
"""Words that are none in Dutch."""
DUTCH = {"de", "het", "een", "uw", "van", "en", "wij", "niet", "garantie", "verzoek", "tot"}


def asked(right: Right) -> Request:
    return Request(request_id="r1", right=right, channel=Channel.PORTAL, received_at=NOW)


def words(found: Letter) -> set[str]:
    text = f"{found.subject} {found.text}".lower()
    return {word.strip(".,:;()") for word in text.split() if "://" not in word}


def letters(language: str) -> dict[str, Letter]:
    """All that need no more than a language; the others follow the request's."""
    found = {
        f"warning {right} {days}": letter.warning(asked(right), days, NOW, language)
        for right in Right
        for days in (10, 0)
    }
    found |= {
        f"decided {effect}": letter.decided("guarantee:C-1", effect, NOW, language)
        for effect in Effect
    }
    return found | {
        "proof": letter.proof_link("r1", "https://x/y", language),
        "ends": letter.restriction_ends(NOW, language),
        "lapses": letter.guarantee_lapses("C-1", date(2026, 6, 1), language),
        "policy": letter.new_policy(date(2026, 6, 1), "https://x/y", language),
        "password": letter.new_password("https://x/y", language),
        "invited": letter.invited("Huis 1", "https://x/y", language),
        "access": letter.access_given("Huis 1", "https://x/y", language),
        "newsletter": letter.confirm_newsletter("https://x/y", language),
    }


@pytest.mark.parametrize("name", letters("nl"))
def test_a_letter_is_in_one_language(name: str) -> None:
    dutch, english = letters("nl")[name], letters("en")[name]
    assert not words(dutch) & ENGLISH, dutch
    assert not words(english) & DUTCH, english
    # A code of the program is no word.
    assert not [word for word in words(dutch) | words(english) if "_" in word]


def test_whatever_is_kept_is_explained_in_dutch() -> None:
    """Every reason that the preview can give, so that a new one is missed here."""
    hold = Hold(
        hold_id="h", store="photos", subject="p", reason="zaak 12", begun_at=NOW, begun_by="o",
        review_at=NOW + DAY,
    )  # fmt: skip
    holding = erasure.GuaranteeHolding(
        contract_id="C-1", is_active=True, settled_claims=2, last_settled_on=NOW.date()
    )
    site = SiteHolding(site_id="s", moved=("SN1",), photos=1, guarantees=(holding,))
    holdings = Holdings(person="p", sites=(site,), invoices={"1": date(2026, 1, 5)})
    kept = erasure.preview(holdings, today=NOW.date(), holds=(hold,)).kept
    assert {one.what for one in kept} == {
        "invoices", "guarantees", "settlements", "readings", "photos", "request",
    }  # fmt: skip
    for one in kept:
        dutch = letter.why_kept(one.why, "nl")
        assert dutch != one.why, one.why
        assert not set(dutch.split()) & ENGLISH
        assert letter.why_kept(one.why, "en") == one.why
    assert "juridische bewaarplicht: zaak 12" in {letter.why_kept(one.why, "nl") for one in kept}


@pytest.mark.parametrize("language", ["nl", "en"])
def test_what_waits_for_the_officer_is_in_his_language(store: Store, language: str) -> None:
    store.privacy.incidents.add(
        SecurityIncident(
            incident_id="i1", aware_at=samples.NOW, recorded_by="o", summary="x", is_high_risk=True
        )
    )
    store.privacy.holds.add(
        Hold(
            hold_id="h", store="photos", subject="p", reason="x", begun_at=samples.NOW - DAY,
            begun_by="o", review_at=samples.NOW,
        )
    )  # fmt: skip
    lines = privacy_duties.attention(store, samples.NOW, language)
    assert len(lines) == 3
    found = words(letter.needs_a_person(lines, language))
    assert not found & (ENGLISH if language == "nl" else DUTCH)
