"""What was done, in a chain that shows when somebody changed it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Engine, delete, func, select

from autarco_portal.audit import FIRST_HASH, AuditEntry, Detail, Seal, SealedEntry, fault, seal
from autarco_portal.store.account_tables import AuditAnchorRow, AuditRow
from autarco_portal.store.engine import affected, reading, writing

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

_DETAIL = msgspec.json.Decoder(Detail)
_BATCH = 1_000


class Audit:
    """The audit log of the store; entries are added, never changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(self, *entries: AuditEntry) -> SealedEntry:
        """Adds entries at the end and returns the last one."""
        if not entries:
            raise ValueError("expected an entry")
        with writing(self._engine, is_note=True) as session:
            return append(session, *entries)

    def of(
        self,
        *,
        thing: str | None = None,
        subject: str | None = None,
        actor: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[SealedEntry]:
        """Returns entries about a thing, about a person or by one, the newest first.

        `before` is the sequence number that the page before ended with.
        """
        wanted = select(AuditRow).order_by(AuditRow.sequence.desc()).limit(limit)
        if thing is not None:
            wanted = wanted.where(AuditRow.thing == thing)
        if subject is not None:
            wanted = wanted.where(AuditRow.subject == subject)
        if actor is not None:
            wanted = wanted.where(AuditRow.actor == actor)
        if before is not None:
            wanted = wanted.where(AuditRow.sequence < before)
        with reading(self._engine) as session:
            return [_sealed(row) for row in session.scalars(wanted)]

    def head(self) -> Seal:
        """Returns the end of the chain."""
        with reading(self._engine) as session:
            return _head(session)

    def verify(self, known: Seal | None = None) -> list[str]:
        """Says what is wrong with the chain, one sentence each; nothing is an empty list.

        `known` is a seal from before: the chain must still have it, unless it was pruned.
        """
        with reading(self._engine) as session:
            anchor = after = _anchor(session)
            while True:
                rows = session.scalars(
                    select(AuditRow)
                    .where(AuditRow.sequence > after.sequence)
                    .order_by(AuditRow.sequence)
                    .limit(_BATCH)
                ).all()
                for row in rows:
                    sealed = _sealed(row)
                    wrong = fault(sealed, after)
                    if wrong is not None:
                        return [wrong]
                    after = Seal(sequence=sealed.sequence, hash=sealed.hash)
                    if known == after:
                        known = None
                if len(rows) < _BATCH:
                    break
        if known is not None and known.sequence > anchor.sequence:
            return [f"entry {known.sequence} is gone or another one"]
        return []

    def prune(self, before: datetime, now: datetime) -> int:
        """Removes the entries before a moment and keeps the last one's seal; returns how many.

        Only from the beginning: the rest stays a chain that can be verified.
        """
        with writing(self._engine) as session:
            _lock(session)
            first_kept = session.scalar(
                select(func.min(AuditRow.sequence)).where(AuditRow.at >= before)
            )
            last = select(AuditRow).order_by(AuditRow.sequence.desc()).limit(1)
            if first_kept is not None:
                last = last.where(AuditRow.sequence < first_kept)
            row = session.scalar(last)
            if row is None:
                return 0
            session.add(AuditAnchorRow(sequence=row.sequence, hash=row.hash, pruned_at=now))
            gone = affected(session, delete(AuditRow).where(AuditRow.sequence <= row.sequence))
            return gone


def append(session: Session, *entries: AuditEntry) -> SealedEntry:
    """Adds entries inside a transaction that does what they tell of."""
    _lock(session)
    after = _head(session)
    for entry in entries:
        sealed = seal(entry, after)
        after = Seal(sequence=sealed.sequence, hash=sealed.hash)
        session.add(
            AuditRow(
                sequence=sealed.sequence,
                at=entry.at,
                actor=entry.actor,
                action=entry.action,
                thing=entry.thing,
                subject=entry.subject,
                why=entry.why,
                detail=msgspec.json.encode(entry.detail).decode(),
                prev_hash=sealed.prev_hash,
                hash=sealed.hash,
            )
        )
    session.flush()
    return sealed


def _lock(session: Session) -> None:
    """One writer at a time: two entries behind the same one would be no chain."""
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE audit_log IN EXCLUSIVE MODE")


def _head(session: Session) -> Seal:
    row = session.scalar(select(AuditRow).order_by(AuditRow.sequence.desc()).limit(1))
    return _anchor(session) if row is None else Seal(sequence=row.sequence, hash=row.hash)


def _anchor(session: Session) -> Seal:
    row = session.scalar(select(AuditAnchorRow).order_by(AuditAnchorRow.sequence.desc()).limit(1))
    if row is None:
        return Seal(sequence=0, hash=FIRST_HASH)
    return Seal(sequence=row.sequence, hash=row.hash)


def _sealed(row: AuditRow) -> SealedEntry:
    return SealedEntry(
        sequence=row.sequence,
        entry=AuditEntry(
            at=row.at,
            actor=row.actor,
            action=row.action,
            thing=row.thing,
            subject=row.subject,
            why=row.why,
            detail=_DETAIL.decode(row.detail),
        ),
        prev_hash=row.prev_hash,
        hash=row.hash,
    )
