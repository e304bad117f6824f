"""Which tables keep photos, and what came with somebody from another instance?"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy looks at it

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from autarco_portal.store.declarative import Base


class PhotoRow(Base):
    """A photo of a site; the file is named by the hash."""

    __tablename__ = "photos"
    site_number: Mapped[int] = mapped_column(
        ForeignKey("sites.number", ondelete="CASCADE"), primary_key=True
    )
    sha256: Mapped[str] = mapped_column(primary_key=True, index=True)
    kind: Mapped[str]
    media_type: Mapped[str]
    bytes: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    uploaded_by: Mapped[str]
    uploaded_at: Mapped[datetime]
    verdict: Mapped[str | None]
    """JSON of a `photos.Verdict`."""


class ImportedRow(Base):
    """A record of another instance that has no place here, such as its log: kept to hand it out."""

    __tablename__ = "imported_records"
    person_id: Mapped[str] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), primary_key=True
    )
    table: Mapped[str] = mapped_column("table_name", primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    record: Mapped[str]
    """JSON, as it was in the bundle."""
