"""Which photos are there of a site, and what did a reviewer say of them?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Engine, select

from autarco_portal.photos import Photo, PhotoKind, Verdict
from autarco_portal.store import sites
from autarco_portal.store.engine import StoreError, reading, writing
from autarco_portal.store.record_tables import PhotoRow
from autarco_portal.store.tables import SiteRow

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_VERDICT = msgspec.json.Decoder(Verdict)


class Photos:
    """Photos of the store; the files are `photos.PhotoFiles`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, photo: Photo) -> Photo:
        """Keeps what is known of a photo and returns it; the same one again changes nothing."""
        with writing(self._engine) as session:
            number = sites.existing(session, photo.site).number
            row = session.get(PhotoRow, (number, photo.sha256))
            if row is None:
                row = PhotoRow(
                    site_number=number,
                    sha256=photo.sha256,
                    kind=photo.kind.value,
                    media_type=photo.media_type,
                    bytes=photo.bytes,
                    width=photo.width,
                    height=photo.height,
                    uploaded_by=photo.uploaded_by,
                    uploaded_at=photo.uploaded_at,
                    verdict=_text(photo.verdict),
                )
                session.add(row)
                session.flush()
            return _photo(session, row)

    def of_site(self, public_key: str) -> list[Photo]:
        """Returns those of a site, the oldest first; raises StoreError for an unknown one."""
        with reading(self._engine) as session:
            number = sites.existing(session, public_key).number
            rows = session.scalars(
                select(PhotoRow)
                .where(PhotoRow.site_number == number)
                .order_by(PhotoRow.uploaded_at, PhotoRow.sha256)
            )
            return [_photo(session, row) for row in rows]

    def review(self, public_key: str, sha256: str, verdict: Verdict) -> Photo:
        """Notes what a reviewer says; raises StoreError for an unknown photo."""
        with writing(self._engine) as session:
            number = sites.existing(session, public_key).number
            row = session.get(PhotoRow, (number, sha256))
            if row is None:
                raise StoreError("there is no such photo")
            row.verdict = _text(verdict)
            return _photo(session, row)

    def remove(self, public_key: str, sha256: str) -> bool:
        """Forgets a photo and tells whether its file may go: no other site has the same one."""
        with writing(self._engine) as session:
            number = sites.existing(session, public_key).number
            row = session.get(PhotoRow, (number, sha256))
            if row is None:
                raise StoreError("there is no such photo")
            session.delete(row)
            session.flush()
            return session.scalar(select(PhotoRow).where(PhotoRow.sha256 == sha256)) is None


def _photo(session: Session, row: PhotoRow) -> Photo:
    return Photo(
        sha256=row.sha256,
        site=session.get_one(SiteRow, row.site_number).public_key,
        kind=PhotoKind(row.kind),
        media_type="image/jpeg" if row.media_type == "image/jpeg" else "image/png",
        bytes=row.bytes,
        width=row.width,
        height=row.height,
        uploaded_by=row.uploaded_by,
        uploaded_at=row.uploaded_at,
        verdict=None if row.verdict is None else _VERDICT.decode(row.verdict),
    )


def _text(verdict: Verdict | None) -> str | None:
    return None if verdict is None else msgspec.json.encode(verdict).decode()
