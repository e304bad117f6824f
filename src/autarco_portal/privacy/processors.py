"""Who processes personal data for the company, where, and under which agreement (article 28)?"""

from __future__ import annotations

from datetime import date  # noqa: TC003 - msgspec looks at it when it decodes
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.privacy.error import PrivacyError, need_text

if TYPE_CHECKING:
    from collections.abc import Iterable


class TransferBasis(StrEnum):
    """Why data may be outside the European Economic Area (chapter V)."""

    WITHIN_EEA = "within_eea"
    ADEQUACY = "adequacy"
    STANDARD_CLAUSES = "standard_clauses"


class Processor(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the register."""

    processor_id: str
    name: str
    service: str
    region: str
    stores: tuple[str, ...]
    """What it has, as in the table of retention."""
    agreement_on: date | None
    """When the data processing agreement was signed."""
    transfer_basis: TransferBasis
    reviewed_on: date | None = None
    ended_on: date | None = None

    def __post_init__(self) -> None:
        """Raises PrivacyError for one that nobody knows anything of."""
        for name in ("name", "service", "region"):
            need_text(name, getattr(self, name))
        if not self.stores:
            raise PrivacyError("stores: a processor without any is none")


REVIEW_DAYS = 365


def findings(processors: Iterable[Processor], today: date) -> tuple[str, ...]:
    """Returns what is wrong in the register: no agreement, or nobody looked for a year."""
    found = []
    for processor in processors:
        if processor.ended_on is not None and processor.ended_on <= today:
            continue
        if processor.agreement_on is None:
            found.append(f"{processor.name}: no data processing agreement")
        seen_on = processor.reviewed_on or processor.agreement_on
        if seen_on is not None and (today - seen_on).days > REVIEW_DAYS:
            found.append(f"{processor.name}: not reviewed since {seen_on.isoformat()}")
    return tuple(found)
