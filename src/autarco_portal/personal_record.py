"""What else may the company keep about people: invoices, notes of support, leads?

Plain values; how long each is kept says `privacy.retention`.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them when it decodes

import msgspec

from autarco_portal.people import check_email, check_text


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody was billed; tax law wants it as it was sent."""

    number: str
    person_id: str
    issued_on: date
    name: str
    address: str
    total_eur: str
    """As it was printed."""


class SupportNote(msgspec.Struct, frozen=True, kw_only=True):
    """What support wrote down; of a person, a site, or both."""

    note_id: str
    person_id: str | None = None
    site: str | None = None
    """The site's public key."""
    text: str
    is_sensitive: bool = False
    written_by: str
    written_at: datetime
    closed_at: datetime | None = None


class Lead(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may become a customer, from a public or commercial register."""

    lead_id: str
    name: str
    email: str
    source: str
    added_at: datetime
    noticed_at: datetime | None = None
    """When he was told where his data is from (article 14): within a month."""

    def __post_init__(self) -> None:
        """Raises PeopleError for what nobody is called, or no address."""
        check_text("name", self.name)
        check_text("source", self.source)
        check_email(self.email)
