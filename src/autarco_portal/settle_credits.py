"""What energy do incidents excuse: not made for a reason that is not the guarantor's?

Which of it counts is the contract's business (`guarantee`). Source: reference document, sections
2.3 and 3.2.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from autarco_portal.guarantee_contract import DEADLINE_CAUSE, Contract
from autarco_portal.guarantee_evidence import Credit
from autarco_portal.incidents import Cause, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from autarco_portal.incidents import Incident

_CAUSES = {Cause.OVER_VOLTAGE: "curtailment", Cause.GRID_OUTAGE: "grid_outage"}
"""What the contract calls the causes of incidents that it may excuse."""
_KWH = Decimal("0.001")


def credits(
    incidents: Iterable[Incident], contract: Contract, begins: datetime, ends: datetime
) -> list[Credit]:
    """Returns what incidents excuse, day by day: the grid's faults, and alarms not acted on.

    Of an alarm that nobody acknowledged within the contract's deadline, the days until somebody did
    are the owner's. Which causes count is decided by the contract.
    """
    result = []
    for incident in incidents:
        told = incident.owner_notified_at
        late = told is not None and (
            incident.acknowledged_at is None
            or incident.acknowledged_at > told + timedelta(days=contract.response_deadline_days)
        )
        cause = _CAUSES.get(incident.cause, DEADLINE_CAUSE if late else None)
        if cause is None:
            continue
        until = ends
        if cause == DEADLINE_CAUSE and incident.acknowledged_at is not None:
            until = min(ends, incident.acknowledged_at)
        for verdict in incident.days:
            opened = verdict.begins or verdict.ends - timedelta(days=1)
            # Of the first day's loss that of days before is a part, if the rule saw it late.
            from_at, to_at = max(opened, begins), min(verdict.ends, until)
            if verdict.state is not State.FAULTY or verdict.lost_kwh <= 0 or from_at >= to_at:
                continue
            share = (to_at - from_at) / (verdict.ends - opened)
            result.append(
                Credit(
                    cause=cause,
                    from_at=from_at,
                    to_at=to_at,
                    energy_kwh=Decimal(str(verdict.lost_kwh * share)).quantize(_KWH),
                    method=_code(incident.method),
                    notified_at=told,
                    incident_id=incident.incident_id,
                )
            )
    return result


def _code(method: str) -> str:
    """A method as a code: its words joined."""
    return "-".join("".join(c if c.isalnum() or c in "._" else " " for c in method).split())[:64]
