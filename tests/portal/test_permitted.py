"""Jobs see nothing of whoever restricted his data, or objected to what they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import privacy_samples as samples
from autarco_portal import permitted
from autarco_portal.audit import AuditEntry
from autarco_portal.incidents import Cause, State, Verdict, fold
from autarco_portal.privacy import suspension
from autarco_portal.privacy.processing import ALWAYS, GUARANTEE_NEEDS, Purpose
from autarco_portal.settle_evidence import SettleError
from autarco_portal.settle_records import StoreRecords

if TYPE_CHECKING:
    from autarco_portal.store import Store

NOW, DAY = samples.NOW, samples.DAY


def broken(store: Store, site: str) -> None:
    verdict = Verdict(
        site_id=site, cause=Cause.ZERO_DAY, day=NOW.date(), state=State.FAULTY, alarm=True,
        ends=NOW, method="test",
    )  # fmt: skip
    store.alarms.take_over(fold([], [verdict], NOW), [site])


def test_each_job_leaves_out_whoever_said_no_to_it(store: Store) -> None:
    people = [samples.person(store, f"P{n}", f"p{n}@x.example") for n in range(4)]
    first, second, third, free = (
        samples.site(store, one, serial_number=f"SN{n}", logger_sn=n)
        for n, one in enumerate(people)
    )
    for site in (first, second, third, free):
        broken(store, site)
    store.privacy.object_to(people[0], Purpose.ALARMS, NOW)
    store.privacy.object_to(people[1], Purpose.ANALYTICS, NOW)
    store.privacy.restrict(
        suspension.begin(
            restriction_id="x", subject=people[2], ground="claim", at=NOW, by="officer"
        ),
        AuditEntry(at=NOW, actor="officer", action="restrict", thing="restriction:x"),
    )
    alarms = {one.incident.site_id for one in permitted.open_alarms(store, NOW)}
    assert alarms == {second, free}
    analysed = {site.site_id for site in permitted.sites(store, Purpose.ANALYTICS, NOW)}
    assert analysed == {first, free}
    researched = {site.site_id for site in permitted.sites(store, Purpose.RESEARCH, NOW)}
    assert researched == {first, second, free}
    store.privacy.withdraw_objection(people[0], Purpose.ALARMS)
    assert first in {one.incident.site_id for one in permitted.open_alarms(store, NOW + DAY)}


@pytest.mark.parametrize("purpose", [one for one in Purpose if one not in ALWAYS])
def test_nothing_is_settled_without_a_purpose_that_it_needs(store: Store, purpose: Purpose) -> None:
    """Also where nobody has suspended the guarantee yet."""
    person = samples.person(store)
    site = samples.site(store, person)
    samples.guaranteed(store, site)
    records = StoreRecords(store, NOW)
    assert records.site(site).site_id == site
    store.privacy.object_to(person, purpose, NOW)
    if purpose in GUARANTEE_NEEDS:
        with pytest.raises(SettleError, match=f"by its owner: no {purpose}"):
            records.site(site)
    else:
        assert records.site(site).site_id == site


def test_nothing_is_settled_of_a_site_that_is_restricted(store: Store) -> None:
    person = samples.person(store)
    site = samples.site(store, person)
    store.privacy.restrict(
        suspension.begin(restriction_id="x", subject=site, ground="claim", at=NOW, by="officer"),
        AuditEntry(at=NOW, actor="officer", action="restrict", thing="restriction:x"),
    )
    with pytest.raises(SettleError, match="analytics, guarantee, monitoring, sharing"):
        StoreRecords(store, NOW).site(site)
