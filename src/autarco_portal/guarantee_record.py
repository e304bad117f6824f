"""What does the portal keep of a guarantee besides the contract: how it stands, what was paid?

Settlements are documents: kept byte for byte, found by their hash, never changed.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them when it decodes
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.guarantee import Decision, Settlement  # noqa: TC001 - as above
from autarco_portal.guarantee_contract import Contract  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Sequence


class GuaranteeStatus(StrEnum):
    """Where a guarantee stands; source: reference document, section 8.2."""

    REQUESTED = "requested"
    REFUSED = "refused"
    QUOTED = "quoted"
    EXPIRED = "expired"
    """The quote was not accepted in time."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    LAPSED = "lapsed"
    ENDED = "ended"


class GuaranteeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A contract and where it stands."""

    contract: Contract
    status: GuaranteeStatus
    status_since: datetime
    status_reason: str | None = None
    """A short code, such as `erasure`; no free text about people."""
    created_at: datetime


class SettlementRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement as it was made, and the decisions of people over it, in their order."""

    sha256: str
    settlement: Settlement
    document: bytes
    """What `guarantee.encode` made; the hash is of these bytes."""
    first_day: date
    created_at: datetime
    decisions: tuple[Decision, ...] = ()

    @property
    def ends_before(self) -> date:
        """The day after the period."""
        return self.settlement.years[-1].ends_before


def seen_from(
    records: Sequence[SettlementRecord], first_day: date | None
) -> list[SettlementRecord]:
    """Returns the settlements that concern somebody whose time began on a day; None: all.

    A guarantee goes over with the house, and so does the period in which that happened: it is
    settled as one, with whoever has the house when it ends. Earlier ones are the former owner's.
    """
    return [one for one in records if first_day is None or one.ends_before > first_day]
