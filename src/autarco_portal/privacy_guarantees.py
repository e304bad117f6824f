"""Which guarantees are suspended or lapse because their site may not be looked at?

Follows the flags of the store: suspends, warns, lets lapse, and puts back in force. A lapse is a
program's decision: it is told, may be contested, and is final only then (`human_decision`).
"""

from __future__ import annotations

import hashlib
import secrets
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.audit import AuditEntry
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.people import holds
from autarco_portal.privacy import deadline, human_decision, letter, suspension
from autarco_portal.privacy.human_decision import Automated, Effect, Status
from autarco_portal.privacy.processing import suspends_guarantee
from autarco_portal.privacy.suspension import GuaranteeState

if TYPE_CHECKING:
    from datetime import datetime

    from autarco_portal.privacy.letter import Letter
    from autarco_portal.privacy.suspension import SuspensionRules
    from autarco_portal.store import Store
    from autarco_portal.store.privacy import Suspension

MODEL_VERSION = "suspension-1"
REASON = "data_not_usable"
"""Of the status `suspended`; other reasons are not ours to end."""
LAPSED = "data_not_usable"
SYSTEM = "system:duties"


class Followed(msgspec.Struct, kw_only=True):
    """How many guarantees changed."""

    suspended: int = 0
    resumed: int = 0
    warned: int = 0
    decided: int = 0
    lapsed: int = 0


def follow(store: Store, rules: SuspensionRules, now: datetime) -> Followed:
    """Brings guarantees in line with what their owners allow."""
    done = Followed()
    for record in store.guarantees.all(GuaranteeStatus.ACTIVE):
        contract = record.contract
        if suspends_guarantee(store.privacy.flags_of_site(contract.site_id, now)):
            store.privacy.suspend(contract.contract_id, now)
            _set(store, contract.contract_id, GuaranteeStatus.SUSPENDED, now, REASON)
            done.suspended += 1
    for suspended in store.privacy.suspensions():
        found = store.guarantees.get(suspended.contract_id)
        if found is None or found.status is not GuaranteeStatus.SUSPENDED:
            store.privacy.end_suspension(suspended.contract_id)
        elif not suspends_guarantee(store.privacy.flags_of_site(found.contract.site_id, now)):
            store.privacy.end_suspension(suspended.contract_id)
            _set(store, suspended.contract_id, GuaranteeStatus.ACTIVE, now, None)
            done.resumed += 1
        else:
            _wait(store, suspended, found.contract.site_id, rules, now, done)
    return done


def contest(
    store: Store, decision_id: str, now: datetime, *, by: str, reason: str = ""
) -> Automated:
    """Lets a person look at a decision, at the person's wish."""
    return store.privacy.decisions.change(
        decision_id,
        partial(human_decision.contest, at=now, by=by, reason=reason),
        AuditEntry(at=now, actor=by, action="contest", thing=f"decision:{decision_id}", subject=by),
    )


def decide(
    store: Store, decision_id: str, now: datetime, *, by: str, is_upheld: bool, reason: str
) -> Automated:
    """Keeps a named employee's decision."""
    return store.privacy.decisions.change(
        decision_id,
        partial(human_decision.decide, at=now, by=by, is_upheld=is_upheld, reason=reason),
        AuditEntry(
            at=now, actor=by, action="decide", thing=f"decision:{decision_id}",
            detail={"is_upheld": is_upheld},
        ),
    )  # fmt: skip


def record_outcome(
    store: Store,
    *,
    person: str,
    thing: str,
    effect: Effect,
    inputs_sha256: str,
    model_version: str,
    now: datetime,
) -> Automated:
    """Keeps a program's decision and tells the person how to contest it.

    For every settlement that owes nothing, every refusal and every lapse, to each owner.
    """
    decision = Automated(
        decision_id=secrets.token_hex(8), person=person, thing=thing, effect=effect,
        decided_at=now, told_at=now, inputs_sha256=inputs_sha256, model_version=model_version,
    )  # fmt: skip
    store.privacy.decisions.add(
        decision,
        AuditEntry(
            at=now, actor=SYSTEM, action="decide_automatically",
            thing=f"decision:{decision.decision_id}", subject=person,
            detail={"effect": effect.value},
        ),
    )  # fmt: skip
    until = human_decision.contest_until(now)
    language = _language(store, person)
    _tell(store, person, letter.decided(thing, effect, until, language), now)
    return decision


def _wait(
    store: Store,
    suspended: Suspension,
    site: str,
    rules: SuspensionRules,
    now: datetime,
    done: Followed,
) -> None:
    contract, since = suspended.contract_id, suspended.since
    concerned = owners(store, site, now)
    if suspended.decision_id is not None:
        decisions = store.privacy.decisions.all(thing=f"guarantee:{contract}")
        ours = [one for one in decisions if one.decided_at >= since]
        states = [human_decision.status(one, now) for one in ours]
        # Of several owners one who contests, and is right, is enough.
        if Status.OVERTURNED in states:
            store.privacy.end_suspension(contract)
            store.privacy.suspend(contract, now)
        elif states and all(state is Status.FINAL for state in states):
            store.privacy.end_suspension(contract)
            _set(store, contract, GuaranteeStatus.LAPSED, now, LAPSED)
            done.lapsed += 1
        return
    if suspension.guarantee_state(since, now, rules) is GuaranteeState.LAPSE_DUE:
        inputs = msgspec.json.encode([contract, since, now], order="deterministic")
        decided = [
            record_outcome(
                store, person=owner, thing=f"guarantee:{contract}", effect=Effect.LAPSED,
                inputs_sha256=hashlib.sha256(inputs).hexdigest(), model_version=MODEL_VERSION,
                now=now,
            )
            for owner in concerned
        ]  # fmt: skip
        if decided:
            store.privacy.note_suspension(contract, decision_id=decided[0].decision_id)
            done.decided += 1
    elif suspension.lapse_warning_due(
        since, now, was_warned=suspended.warned_at is not None, rules=rules
    ):
        last = deadline.last_day(suspension.lapses_at(since, rules))
        for owner in concerned:
            text = letter.guarantee_lapses(contract, last, _language(store, owner))
            _tell(store, owner, text, now)
        store.privacy.note_suspension(contract, warned_at=now)
        done.warned += 1


def owners(store: Store, site: str, now: datetime) -> list[str]:
    """Returns who owns a site now."""
    record = store.sites.record(site)
    ever = record.owners if record is not None else ()
    return sorted({one.person_id for one in ever if holds(one, now)})


def _set(
    store: Store, contract: str, status: GuaranteeStatus, now: datetime, reason: str | None
) -> None:
    store.guarantees.set_status(contract, status, now, reason=reason)
    store.audit.append(
        AuditEntry(
            at=now, actor=SYSTEM, action="set_guarantee_status", thing=f"guarantee:{contract}",
            detail={"status": status.value, "reason": reason},
        )
    )  # fmt: skip


def _tell(store: Store, person: str, what: Letter, now: datetime) -> None:
    store.mails.queue(what, now=now, person_id=person, language=_language(store, person))


def _language(store: Store, person: str) -> str:
    found = store.people.get(person)
    return found.language if found is not None else "nl"
