"""When may the portfolio go to another company, and whose sites go with it?

Notice comes first (policy, section 5): everybody concerned is told, and nothing leaves before the
day that the notice named. Whoever objects in that time stays behind.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.privacy.error import PrivacyError, need_text

if TYPE_CHECKING:
    from collections.abc import Iterable

NOTICE_DAYS = 30


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """A takeover; `notice_id` is the campaign that tells people."""

    transfer_id: str
    acquirer: str
    noticed_on: date
    """The day on which the last mail was delivered."""
    transfers_on: date
    notice_id: str

    def __post_init__(self) -> None:
        """Raises PrivacyError for one that leaves people no time."""
        need_text("acquirer", self.acquirer)
        earliest = self.noticed_on + timedelta(days=NOTICE_DAYS)
        if self.transfers_on < earliest:
            raise PrivacyError(
                f"a transfer follows {NOTICE_DAYS} days after its notice: not before "
                f"{earliest.isoformat()}"
            )


def check_due(transfer: Transfer, *, today: date, is_noticed: bool) -> None:
    """Raises PrivacyError before the day that the notice named, or while people wait for it."""
    if not is_noticed:
        raise PrivacyError("the notice of the transfer has not reached everybody")
    if today < transfer.transfers_on:
        raise PrivacyError(f"nothing is transferred before {transfer.transfers_on.isoformat()}")


def cohort(sites: Iterable[str], opted_out: Iterable[str]) -> tuple[str, ...]:
    """Returns the sites that go."""
    return tuple(sorted(set(sites) - set(opted_out)))
