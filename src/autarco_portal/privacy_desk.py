"""How do requests come in and go out: receipt, proof, extension, decision, letter, warnings?

Each step is a rule of `privacy.request` on the store, an audit entry, and a mail. Whether an
address belongs to anybody is never said: every receipt and answer to a wrong proof is the same.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from autarco_portal.audit import AuditEntry
from autarco_portal.privacy import letter, request
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.request import Channel, Method, Outcome, Request, Right

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from autarco_portal.privacy.erasure import Kept
    from autarco_portal.privacy.letter import Letter
    from autarco_portal.privacy_settings import PrivacySettings
    from autarco_portal.store import Store

LINK_DAYS = 7
"""A link in a mail is good for so long."""
REQUEST_ID_BYTES = 6
"""Short enough to be read out on the phone; it opens nothing."""


class Desk:
    """The privacy officer's desk."""

    def __init__(self, store: Store, settings: PrivacySettings) -> None:
        self._store = store
        self._settings = settings

    def receive_from_person(
        self, right: Right, person_id: str, *, now: datetime, is_fresh: bool, language: str = "nl"
    ) -> Request:
        """Takes a request of somebody who is signed in.

        `is_fresh`: he proved just now, with password and second factor, who he is; else he is asked
        to, and the request waits.
        """
        asked = Request(
            request_id=_new_id(), right=right, channel=Channel.PORTAL, received_at=now,
            language=language, person=person_id,
        )  # fmt: skip
        self._store.privacy.requests.add(
            asked, _entry("receive_request", asked, now, person_id, right=right.value)
        )
        self._write(asked, letter.receipt(asked, asked.deadline_at(now)), now)
        return self.confirm_sign_in(asked.request_id, person_id, now=now) if is_fresh else asked

    def confirm_sign_in(self, request_id: str, person_id: str, *, now: datetime) -> Request:
        """Verifies a request from the portal by a fresh sign-in of the same person."""
        return self._change(
            request_id,
            "verify_request",
            now,
            person_id,
            partial(
                request.verify, at=now, by=person_id, method=Method.FRESH_SIGN_IN, person=person_id
            ),
        )

    def receive_by_staff(
        self,
        right: Right,
        channel: Channel,
        contact: str,
        *,
        received_at: datetime,
        now: datetime,
        by: str,
        language: str = "nl",
    ) -> Request:
        """Enters a mail, letter or call; the clock runs since `received_at`.

        `contact` is where the receipt goes: an address, of which nothing is known yet.
        """
        if channel is Channel.PORTAL:
            raise PrivacyError("a request in the portal comes from the person himself")
        if received_at > now:
            raise PrivacyError("a request is not received in the future")
        asked = Request(
            request_id=_new_id(), right=right, channel=channel, received_at=received_at,
            language=language,
        )  # fmt: skip
        self._store.privacy.requests.add(
            asked,
            _entry("receive_request", asked, now, by, right=right.value),
            contact=contact,
        )
        self._write(asked, letter.receipt(asked, asked.deadline_at(now)), now)
        return asked

    def ask_proof(self, request_id: str, *, now: datetime, by: str, reason: str) -> Request:
        """Stops the clock, and mails a link to the address on file if there is such a person.

        Where there is none, nobody notices here: the officer asks for a fact that only the owner
        knows.
        """
        changed = self._change(
            request_id,
            "ask_proof",
            now,
            by,
            partial(request.ask_proof, at=now, by=by, reason=reason),
        )
        contact = self._store.privacy.contact(request_id)
        person = self._store.people.by_email(contact) if contact else None
        if person is not None:
            token = secrets.token_urlsafe(32)
            self._store.privacy.add_proof_link(
                request_id,
                person.person_id,
                _hash(token),
                now=now,
                until=now + timedelta(days=LINK_DAYS),
            )
            link = f"{self._settings.url}/privacy/verify/{request_id}/{token}"
            self._store.mails.queue(
                letter.proof_link(request_id, link, changed.language),
                now=now,
                person_id=person.person_id,
                language=changed.language,
            )
        return changed

    def use_link(self, request_id: str, token: str, *, now: datetime) -> Request:
        """Verifies the request that a mailed link was made for; raises StoreError otherwise."""
        entry = AuditEntry(
            at=now, actor="system:link", action="verify_request", thing=f"request:{request_id}"
        )
        return self._store.privacy.use_proof_link(request_id, _hash(token), now, entry)

    def verify(
        self, request_id: str, *, now: datetime, by: str, method: Method, person_id: str
    ) -> Request:
        """Notes an officer's check, such as a fact that only the owner knows."""
        if method in (Method.FRESH_SIGN_IN, Method.MAILED_LINK):
            raise PrivacyError(f"{method} proves itself: nobody enters it by hand")
        return self._change(
            request_id,
            "verify_request",
            now,
            by,
            partial(request.verify, at=now, by=by, method=method, person=person_id),
        )

    def extend(self, request_id: str, *, now: datetime, by: str, reason: str) -> Request:
        """Takes two months more, and says so to the person with the reason."""
        changed = self._change(
            request_id,
            "extend_request",
            now,
            by,
            partial(request.extend, at=now, by=by, reason=reason),
        )
        self._write(changed, letter.extension(changed, changed.deadline_at(now)), now)
        return changed

    def decide(
        self, request_id: str, *, now: datetime, by: str, outcome: Outcome, reason: str = ""
    ) -> Request:
        """Decides as a named person."""
        return self._change(
            request_id,
            "decide_request",
            now,
            by,
            partial(request.decide, at=now, by=by, outcome=outcome, reason=reason),
            outcome=outcome.value,
        )

    def close(
        self,
        request_id: str,
        *,
        now: datetime,
        by: str,
        evidence_sha256: str | None = None,
        kept: Sequence[Kept] = (),
    ) -> Letter:
        """Adds the evidence, writes the closing letter and ends the request."""
        asked = self._get(request_id)
        if evidence_sha256 is not None:
            asked = request.add_evidence(asked, at=now, by=by, sha256=evidence_sha256)
        answer = letter.closing(asked, kept)
        closed = request.close(asked, at=now, by=by, letter_sha256=answer.sha256())
        self._write(asked, answer, now)
        self._change(request_id, "close_request", now, by, lambda _: closed)
        return answer

    def withdraw(self, request_id: str, *, now: datetime, by: str) -> Request:
        """Ends a request that the person no longer wants."""
        return self._change(
            request_id,
            "withdraw_request",
            now,
            by,
            partial(request.withdraw, at=now, by=by),
        )

    def warn(self, now: datetime) -> int:
        """Warns the officer of deadlines that come near or were missed; returns how often."""
        warnings = 0
        for asked in self._store.privacy.requests.all(is_open=True):
            for days in asked.warnings_due(now):
                language = self._settings.officer_language
                told = letter.warning(asked, days, asked.deadline_at(now), language)
                self.tell_officer(told, now)
                self._change(
                    asked.request_id,
                    "warn_of_request",
                    now,
                    "system:duties",
                    partial(request.warn, at=now, days=days),
                )
                warnings += 1
        return warnings

    def tell_officer(self, what: Letter, now: datetime) -> None:
        """Mails the privacy officer, where the settings name one."""
        if self._settings.officer:
            self._store.mails.queue(
                what,
                now=now,
                recipient=self._settings.officer,
                language=self._settings.officer_language,
            )

    def _write(self, asked: Request, what: Letter, now: datetime) -> None:
        """To the person once he is known; before that, to where the request came from."""
        if asked.person is not None and self._store.people.get(asked.person) is not None:
            self._store.mails.queue(what, now=now, person_id=asked.person, language=asked.language)
            return
        contact = self._store.privacy.contact(asked.request_id)
        if contact is not None and "@" in contact:
            self._store.mails.queue(what, now=now, recipient=contact, language=asked.language)

    def _get(self, request_id: str) -> Request:
        found = self._store.privacy.requests.get(request_id)
        if found is None:
            raise PrivacyError("there is no such request")
        return found

    def _change(
        self,
        request_id: str,
        action: str,
        now: datetime,
        by: str,
        rule: Callable[[Request], Request],
        **detail: str,
    ) -> Request:
        asked = self._get(request_id)
        return self._store.privacy.change_request(
            request_id, rule, _entry(action, asked, now, by, **detail)
        )


def _entry(action: str, asked: Request, now: datetime, by: str, **detail: str) -> AuditEntry:
    return AuditEntry(
        at=now, actor=by, action=action, thing=f"request:{asked.request_id}",
        subject=asked.person, detail=dict(detail),
    )  # fmt: skip


def _new_id() -> str:
    return secrets.token_hex(REQUEST_ID_BYTES)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
