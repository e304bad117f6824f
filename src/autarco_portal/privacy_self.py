"""What does somebody do about his own data: ask, prove, preview, confirm, object, restrict?

For pages and API alike; each step has its audit entry. Who comes here was signed in, and whatever
wants a fresh proof was given one before: `is_fresh` says so where a rule asks.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

from autarco_portal import audit_reading, privacy_guarantees
from autarco_portal.audit import AuditEntry
from autarco_portal.people import SELF
from autarco_portal.privacy import consent, erasure, policy, suspension
from autarco_portal.privacy.erasure import Case
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.processing import ALWAYS, Purpose
from autarco_portal.privacy.request import Right
from autarco_portal.privacy_services import (
    NotThere,
    desk_of,
    eraser_of,
    newsletter_of,
    settings_of,
)

if TYPE_CHECKING:
    from datetime import datetime

    from autarco_portal.audit_page import Line
    from autarco_portal.people import Language, Person
    from autarco_portal.portal import Portal
    from autarco_portal.privacy.consent import Consent
    from autarco_portal.privacy.human_decision import Automated
    from autarco_portal.privacy.request import Request
    from autarco_portal.privacy.suspension import Restriction

PURPOSES = tuple(purpose for purpose in Purpose if purpose not in ALWAYS)
"""What one can object to."""
DETAILS = ("name", "phone", "language")
"""What somebody corrects himself; another e-mail address is asked for, because it signs in."""


class Own:
    """One person's rights in one portal, now."""

    def __init__(self, portal: Portal, person_id: str, now: datetime) -> None:
        self._portal = portal
        self._store = portal.store
        self._person_id = person_id
        self._now = now

    @property
    def person(self) -> Person:
        """Who it is; raises NotThere for somebody who was erased meanwhile."""
        found = self._store.people.get(self._person_id)
        if found is None:
            raise NotThere("you are not there any more")
        return found

    # Requests.

    def requests(self) -> list[Request]:
        """Returns open ones and those that ended, the newest first."""
        found = self._store.privacy.requests.all(person_id=self._person_id)
        return sorted(found, key=lambda one: one.received_at, reverse=True)

    def request(self, request_id: str) -> Request:
        """Returns one of his; raises NotThere for others'."""
        found = self._store.privacy.requests.get(request_id)
        if found is None or found.person != self._person_id:
            raise NotThere("no such request")
        return found

    def ask(self, right: Right, *, is_fresh: bool) -> Request:
        """Takes a request; without a fresh proof it waits for `prove`, and the clock runs."""
        return desk_of(self._portal).receive_from_person(
            right,
            self._person_id,
            now=self._now,
            is_fresh=is_fresh,
            language=self.person.language,
        )

    def prove(self, request_id: str) -> Request:
        """Verifies a request by the fresh sign-in that the caller has seen."""
        self.request(request_id)
        desk = desk_of(self._portal)
        return desk.confirm_sign_in(request_id, self._person_id, now=self._now)

    def withdraw(self, request_id: str) -> Request:
        """Ends a request that he no longer wants."""
        self.request(request_id)
        return desk_of(self._portal).withdraw(request_id, now=self._now, by=self._person_id)

    # Erasure.

    def case(self, request_id: str) -> Case | None:
        """Returns the erasure of a request, if it was previewed."""
        return self._store.privacy.cases.get(_case_id(request_id))

    def preview(self, request_id: str) -> Case:
        """Keeps what erasure would do now; one that was confirmed stays as it is."""
        asked = self.request(request_id)
        if asked.right is not Right.ERASURE:
            raise NotThere("no such request")
        if not asked.is_verified:
            raise PrivacyError("prove first who you are")
        name = _case_id(request_id)
        fresh = Case(
            case_id=name,
            request_id=request_id,
            impact=eraser_of(self._portal).preview(self._person_id, self._now),
            cooling_off_days=settings_of(self._portal).cooling_off_days,
            previewed_at=self._now,
        )
        before = self._store.privacy.cases.get(name)
        if before is None:
            return self._store.privacy.cases.add(fresh, self._entry("preview_erasure", name))
        if before.confirmed_at is not None:
            return before
        return self._store.privacy.cases.change(name, lambda _: fresh)

    def confirm(self, case_id: str, sha256: str) -> Case:
        """His yes to exactly this preview; the caller has seen a fresh proof."""
        self.erasure(case_id)
        return self._store.privacy.cases.change(
            case_id,
            partial(erasure.confirm, at=self._now, by=self._person_id, impact_sha256=sha256),
            self._entry("confirm_erasure", case_id),
        )

    def call_off(self, case_id: str) -> Case:
        """His no, until it is carried out."""
        self.erasure(case_id)
        return self._store.privacy.cases.change(
            case_id,
            partial(erasure.call_off, at=self._now, by=self._person_id),
            self._entry("call_off_erasure", case_id),
        )

    # Objection and restriction.

    def objections(self) -> dict[Purpose, bool]:
        """Returns each purpose that one can object to, and whether he does."""
        flags = self._store.privacy.flags_of_person(self._person_id)
        return {purpose: purpose in flags.objections for purpose in PURPOSES}

    def object_to(self, purpose: str) -> None:
        """At once; what a guarantee cannot do without suspends it."""
        entry = self._entry("object", purpose)
        self._store.privacy.object_to(self._person_id, _purpose(purpose), self._now, entry)
        self._follow()

    def withdraw_objection(self, purpose: str) -> None:
        """A guarantee that it suspended goes on."""
        entry = self._entry("withdraw_objection", purpose)
        self._store.privacy.withdraw_objection(self._person_id, _purpose(purpose), entry)
        self._follow()

    def restriction(self) -> Restriction | None:
        """Returns his own restriction that is in force."""
        found = self._store.privacy.restrictions.all(subject=self._person_id, lifted_at=None)
        return found[0] if found else None

    def restrict(self, ground: str) -> Restriction:
        """Keeps his data from being used, at once; raises PrivacyError for a second one."""
        if self.restriction() is not None:
            raise PrivacyError("the use of your data is restricted already")
        begun = suspension.begin(
            restriction_id=secrets.token_hex(8),
            subject=self._person_id,
            ground=ground,
            at=self._now,
            by=self._person_id,
        )
        thing = f"restriction:{begun.restriction_id}"
        self._store.privacy.restrict(begun, self._entry("restrict", thing=thing))
        self._follow()
        return begun

    def lift(self) -> None:
        """Ends his own restriction; that needs no announcement."""
        found = self.restriction()
        if found is None:
            raise NotThere("the use of your data is not restricted")
        self._store.privacy.change_restriction(
            found.restriction_id,
            partial(suspension.lift, at=self._now, by=self._person_id),
            self._now,
            self._entry("lift_restriction", thing=f"restriction:{found.restriction_id}"),
        )
        self._follow()

    # Consent.

    def consents(self) -> dict[str, Consent | None]:
        """Returns the newest word that counts on each topic; None for none."""
        said = self._store.privacy.consents.all(person_id=self._person_id, withdrawn_at=None)
        newest = {one.topic: one for one in sorted(said, key=lambda one: one.asked_at)}
        return {topic: newest.get(topic) for topic in consent.TOPICS}

    def ask_newsletter(self, topic: str, address: str) -> None:
        """The first yes; the second is the link in the mail."""
        person = self.person
        policies = self._store.privacy.policies.all()
        version = policy.in_force(policies, person.language, self._now.date())
        newsletter_of(self._portal).ask(
            person,
            topic,
            text_version=version.version if version is not None else "none",
            address=address,
            now=self._now,
        )

    def end_newsletter(self, topic: str) -> None:
        """As easy as asking; twice is once."""
        if topic not in consent.TOPICS:
            raise NotThere("no such newsletter")
        for one in self._store.privacy.consents.all(
            person_id=self._person_id, topic=topic, withdrawn_at=None
        ):
            self._store.privacy.withdraw_consent(one.consent_id, self._now, "account")

    # Decisions of programs, details, and who looked.

    def decisions(self) -> list[Automated]:
        """Returns what programs decided about him, the newest first."""
        found = self._store.privacy.decisions.all(person_id=self._person_id)
        return sorted(found, key=lambda one: one.decided_at, reverse=True)

    def contest(self, decision_id: str, reason: str) -> Automated:
        """Lets a person look at it; raises NotThere for others' decisions."""
        found = self._store.privacy.decisions.get(decision_id)
        if found is None or found.person != self._person_id:
            raise NotThere("no such decision")
        return privacy_guarantees.contest(
            self._store, decision_id, self._now, by=self._person_id, reason=reason
        )

    def correct(self, changes: dict[str, str | None]) -> Person:
        """Gives his details new values; the old ones stay in the history."""
        unknown = sorted(set(changes) - set(DETAILS))
        if unknown:
            raise PrivacyError(f"{', '.join(unknown)}: ask for rectification")
        changed = self._store.people.change(self._person_id, changes, SELF, self._now)
        self._store.audit.append(self._entry("change_person", thing=f"person:{self._person_id}"))
        return changed

    def looks(self, language: Language) -> list[Line]:
        """Returns who did what with his data, the newest first."""
        return audit_reading.of_person(self._store, self._person_id, self._now, language)

    def erasure(self, case_id: str) -> Case:
        """Returns one of his erasures; raises NotThere for others'."""
        found = self._store.privacy.cases.get(case_id)
        if found is None or found.impact.person != self._person_id:
            raise NotThere("no such erasure")
        return found

    def _follow(self) -> None:
        rules = settings_of(self._portal).suspension
        privacy_guarantees.follow(self._store, rules, self._now)

    def _entry(self, action: str, name: str = "", *, thing: str = "") -> AuditEntry:
        return AuditEntry(
            at=self._now,
            actor=self._person_id,
            action=action,
            thing=thing or f"privacy:{name}",
            subject=self._person_id,
        )


def _case_id(request_id: str) -> str:
    return f"e-{request_id}"


def _purpose(text: str) -> Purpose:
    if text not in PURPOSES:
        raise NotThere("no such purpose")
    return Purpose(text)
