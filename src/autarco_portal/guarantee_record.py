"""What does the portal keep of a guarantee besides the contract: how it stands, what was paid?

Settlements are documents: kept byte for byte, found by their hash, never changed.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them when it decodes
from enum import StrEnum

import msgspec

from autarco_portal.guarantee import Decision, Settlement  # noqa: TC001 - as above
from autarco_portal.guarantee_contract import Contract  # noqa: TC001 - as above


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
