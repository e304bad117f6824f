"""Which guarantees are there, where do they stand, and what was settled?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import selectinload

from autarco_portal import guarantee
from autarco_portal.guarantee import Decision
from autarco_portal.guarantee_contract import Contract
from autarco_portal.guarantee_record import GuaranteeRecord, GuaranteeStatus, SettlementRecord
from autarco_portal.store import sites
from autarco_portal.store.engine import Conflict, StoreError, reading, writing
from autarco_portal.store.site_rows import visible_to
from autarco_portal.store.tables import DecisionRow, GuaranteeRow, SettlementRow, SiteRow

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from autarco_portal.guarantee import Settlement
    from autarco_portal.people import Actor

_CONTRACT = msgspec.json.Decoder(Contract)
_DECISION = msgspec.json.Decoder(Decision)


class Guarantees:
    """Guarantees and settlements of the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(
        self,
        contract: Contract,
        now: datetime,
        status: GuaranteeStatus = GuaranteeStatus.REQUESTED,
    ) -> GuaranteeRecord:
        """Keeps a contract of a site; raises StoreError for an unknown site or a taken name."""
        row = GuaranteeRow(
            contract_id=contract.contract_id,
            starts_on=contract.starts_on,
            status=status.value,
            status_since=now,
            created_at=now,
            contract=msgspec.json.encode(contract).decode(),
        )
        try:
            with writing(self._engine) as session:
                row.site_number = sites.existing(session, contract.site_id).number
                session.add(row)
                session.flush()
                return _record(row)
        except Conflict as error:
            raise StoreError("there is a contract of that name already") from error

    def get(self, contract_id: str) -> GuaranteeRecord | None:
        """Returns one, or None."""
        with reading(self._engine) as session:
            row = session.get(GuaranteeRow, contract_id)
            return None if row is None else _record(row)

    def of_site(self, public_key: str) -> list[GuaranteeRecord]:
        """Returns those of a site, the oldest first."""
        with reading(self._engine) as session:
            number = sites.existing(session, public_key).number
            rows = session.scalars(
                select(GuaranteeRow)
                .where(GuaranteeRow.site_number == number)
                .order_by(GuaranteeRow.starts_on, GuaranteeRow.contract_id)
            )
            return [_record(row) for row in rows]

    def visible(self, actor: Actor, *, offset: int = 0, limit: int = 100) -> list[GuaranteeRecord]:
        """Returns those that somebody may view, by name."""
        wanted = (
            select(GuaranteeRow)
            .join(SiteRow, SiteRow.number == GuaranteeRow.site_number)
            .where(visible_to(actor, as_guest=False))
            .order_by(GuaranteeRow.contract_id)
        )
        with reading(self._engine) as session:
            return [_record(row) for row in session.scalars(wanted.offset(offset).limit(limit))]

    def count_visible(self, actor: Actor) -> int:
        """Returns how many `visible` has in all."""
        wanted = (
            select(func.count())
            .select_from(GuaranteeRow)
            .join(SiteRow, SiteRow.number == GuaranteeRow.site_number)
            .where(visible_to(actor, as_guest=False))
        )
        with reading(self._engine) as session:
            return session.scalar(wanted) or 0

    def all(self, *statuses: GuaranteeStatus) -> list[GuaranteeRecord]:
        """Returns those that stand in one of `statuses`, or all, by name."""
        wanted = select(GuaranteeRow).order_by(GuaranteeRow.contract_id)
        if statuses:
            wanted = wanted.where(GuaranteeRow.status.in_([one.value for one in statuses]))
        with reading(self._engine) as session:
            return [_record(row) for row in session.scalars(wanted)]

    def set_status(
        self,
        contract_id: str,
        status: GuaranteeStatus,
        now: datetime,
        *,
        reason: str | None = None,
    ) -> GuaranteeRecord:
        """Lets a guarantee stand elsewhere; `reason` is a short code. Raises StoreError."""
        with writing(self._engine) as session:
            row = session.get(GuaranteeRow, contract_id, with_for_update=True)
            if row is None:
                raise StoreError("there is no such guarantee")
            row.status, row.status_since, row.status_reason = status.value, now, reason
            return _record(row)

    def keep(self, settlement: Settlement, now: datetime) -> SettlementRecord:
        """Keeps a settlement as a document; the same one again changes nothing.

        Raises StoreError if its contract is unknown or not the one that was agreed.
        """
        digest = guarantee.digest(settlement)
        contract = settlement.contract
        with writing(self._engine) as session:
            agreed = session.get(GuaranteeRow, contract.contract_id, with_for_update=True)
            if agreed is None:
                raise StoreError("there is no such guarantee")
            if _CONTRACT.decode(agreed.contract) != contract:
                raise StoreError("the settlement is of another contract than the one agreed")
            row = session.get(SettlementRow, digest)
            if row is None:
                row = SettlementRow(
                    sha256=digest,
                    contract_id=contract.contract_id,
                    first_day=settlement.years[0].starts_on,
                    status=settlement.status,
                    created_at=now,
                    document=guarantee.to_json(settlement).decode(),
                )
                session.add(row)
                session.flush()
            return _settlement(row)

    def settlement(self, sha256: str) -> SettlementRecord | None:
        """Returns the settlement with a hash, or None."""
        with reading(self._engine) as session:
            row = session.get(SettlementRow, sha256)
            return None if row is None else _settlement(row)

    def settlements(self, contract_id: str) -> list[SettlementRecord]:
        """Returns what was settled of a contract, by period and then by age."""
        return self.settlements_of([contract_id])[contract_id]

    def settlements_of(self, contract_ids: Collection[str]) -> dict[str, list[SettlementRecord]]:
        """Returns what `settlements` says of some contracts: as many as a page shows."""
        found: dict[str, list[SettlementRecord]] = {name: [] for name in contract_ids}
        with reading(self._engine) as session:
            rows = session.scalars(
                select(SettlementRow)
                .where(SettlementRow.contract_id.in_(found))
                .order_by(SettlementRow.first_day, SettlementRow.created_at)
                .options(selectinload(SettlementRow.decisions))
            )
            for row in rows:
                found[row.contract_id].append(_settlement(row))
        return found

    def decide(self, decision: Decision) -> SettlementRecord:
        """Keeps a person's decision beside the settlement; raises StoreError without that."""
        with writing(self._engine) as session:
            row = session.get(SettlementRow, decision.settlement_sha256)
            if row is None:
                raise StoreError("there is no such settlement")
            row.decisions.append(DecisionRow(decision=msgspec.json.encode(decision).decode()))
            session.flush()
            return _settlement(row)


def _record(row: GuaranteeRow) -> GuaranteeRecord:
    return GuaranteeRecord(
        contract=_CONTRACT.decode(row.contract),
        status=GuaranteeStatus(row.status),
        status_since=row.status_since,
        status_reason=row.status_reason,
        created_at=row.created_at,
    )


def _settlement(row: SettlementRow) -> SettlementRecord:
    document = row.document.encode()
    return SettlementRecord(
        sha256=row.sha256,
        settlement=guarantee.from_json(document),
        document=document,
        first_day=row.first_day,
        created_at=row.created_at,
        decisions=tuple(_DECISION.decode(one.decision) for one in row.decisions),
    )
