"""Whose readings must stay whole although they are old, and how does ingest hear of it?

Those that a legal hold names, and those that a guarantee still needs: from the first year that is
not settled for good, with the days around it that a settlement reads. For good is a settlement
that nobody must look at any more and that can no longer be contested: until then somebody may want
it computed again. Ingest reads the list from `held.json`; it is replaced as a whole.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from autarco_ingest import paths
from autarco_portal import guarantee
from autarco_portal.guarantee_contract import anniversary, year_span
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.privacy.human_decision import CONTEST_DAYS, DECIDE_DAYS
from autarco_portal.settle_evidence import READINGS_BEFORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from autarco_portal.guarantee_contract import Contract
    from autarco_portal.guarantee_record import SettlementRecord
    from autarco_portal.site_record import SiteRecord
    from autarco_portal.store import Store

SETTLED_FOR_GOOD = timedelta(days=CONTEST_DAYS + DECIDE_DAYS)
"""After a settlement was made: it can be contested, and then an employee decides."""

OWING = (GuaranteeStatus.ACTIVE, GuaranteeStatus.SUSPENDED, GuaranteeStatus.ENDED)
"""Where a guarantee's years still have to be settled."""


WHOLE, WITHOUT_ADDRESSES = 0, 1
"""Ages of ingest (`autarco_ingest.ageing`): no settlement asks where a stick was."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Rows that stay as they are: of one inverter in `readings`, of one logger elsewhere."""

    table: Literal["readings", "sessions", "quarantine"]
    serial: str
    since: date | None = None
    """The first UTC date of them; None for all."""
    age: int = WHOLE
    """How far they may age all the same."""


class _List(msgspec.Struct, frozen=True, kw_only=True):
    """The file's content."""

    entries: tuple[Entry, ...]


def needed_since(
    contract: Contract, settled: Sequence[SettlementRecord], now: datetime
) -> date | None:
    """Returns the first UTC date whose readings a guarantee still needs; None when all is settled.

    `settled` are the settlements that are final. Later dates are needed too.
    """
    first_days = {year.starts_on for one in settled for year in one.settlement.years}
    for year in range(1, contract.term_years + 1):
        begins, _ = year_span(contract, year)
        if begins > now:
            return None
        years = guarantee.period(contract, year)
        if anniversary(contract, year) not in first_days:
            begins, _ = year_span(contract, years[0])
            return (begins - READINGS_BEFORE).astimezone(UTC).date()
    return None


def entries(store: Store, now: datetime) -> list[Entry]:
    """Returns what stays whole now, each once."""
    found: set[Entry] = set()
    contested = {
        one.inputs_sha256
        for one in store.privacy.decisions.all()
        if one.contested_at is not None and one.human_at is None
    }
    for record in store.guarantees.all(*OWING):
        contract = record.contract
        final = [
            one
            for one in store.guarantees.settlements(contract.contract_id)
            if (one.settlement.status != "review" or one.decisions)
            and one.sha256 not in contested
            and one.created_at + SETTLED_FOR_GOOD <= now
        ]
        since = needed_since(contract, final, now)
        site = store.sites.record(contract.site_id)
        if since is not None and site is not None:
            found |= {
                Entry(
                    table="readings",
                    serial=inverter.serial_number,
                    since=since,
                    age=WITHOUT_ADDRESSES,
                )
                for inverter in site.inverters
            }
    for hold in store.privacy.holds.all(ended_at=None):
        for site in _sites(store, hold.subject):
            found |= set(_of_hold(hold.store, site))
    return sorted(found, key=lambda one: (one.table, one.serial, one.since or date.min))


def write(path: Path, wanted: Iterable[Entry]) -> bool:
    """Replaces the list, on disk; tells whether it changed. Raises OSError."""
    content = msgspec.json.encode(_List(entries=tuple(wanted)))
    if path.is_file() and path.read_bytes() == content:
        return False
    paths.write(path, content)
    return True


def _sites(store: Store, subject: str) -> list[SiteRecord]:
    """A hold names a site, or a person and with him the sites that are or were his."""
    return [
        record
        for record in store.sites.records()
        if record.public_key == subject
        or any(owner.person_id == subject for owner in record.owners)
    ]


def _of_hold(held_store: str, site: SiteRecord) -> Iterable[Entry]:
    if held_store in ("readings", "*"):
        yield from (Entry(table="readings", serial=one.serial_number) for one in site.inverters)
    loggers = sorted({one.logger_sn for one in site.inverters if one.logger_sn is not None})
    for logger_sn in loggers:
        if held_store in ("sessions", "*"):
            yield Entry(table="sessions", serial=str(logger_sn))
        if held_store in ("quarantine", "*"):
            yield Entry(table="quarantine", serial=str(logger_sn))
