"""What must not be deleted for now, because the law or a dispute needs it?

A hold keeps exactly what it names and nothing beside it; erasure takes the rest and the answer to
the person lists what was kept (article 17(3)).
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec looks at it when it decodes
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.privacy.error import PrivacyError, need_text

if TYPE_CHECKING:
    from collections.abc import Iterable


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Keeps what `store` has of `subject`; times are UTC."""

    hold_id: str
    store: str
    """As in the table of retention; `*` for every store."""
    subject: str
    """A person's key, or a site's."""
    reason: str
    begun_at: datetime
    begun_by: str
    review_at: datetime
    """When somebody looks whether it is still needed; it does not end by itself."""
    ended_at: datetime | None = None

    def __post_init__(self) -> None:
        """Raises PrivacyError for a hold without reason or review."""
        need_text("reason", self.reason)
        if self.review_at <= self.begun_at:
            raise PrivacyError("review_at: expected a day after the hold begins")


def is_held(holds: Iterable[Hold], store: str, subjects: Iterable[str]) -> Hold | None:
    """Returns the first hold in force on what a store has of one of these subjects."""
    whom = set(subjects)
    return next(
        (
            hold
            for hold in holds
            if hold.ended_at is None and hold.store in ("*", store) and hold.subject in whom
        ),
        None,
    )


def to_review(holds: Iterable[Hold], now: datetime) -> tuple[Hold, ...]:
    """Returns the holds that somebody must look at again."""
    return tuple(hold for hold in holds if hold.ended_at is None and hold.review_at <= now)


def end(hold: Hold, *, at: datetime) -> Hold:
    """Ends a hold; from now on erasure and retention take what it kept."""
    if hold.ended_at is not None:
        raise PrivacyError("the hold has ended")
    return msgspec.structs.replace(hold, ended_at=at)
