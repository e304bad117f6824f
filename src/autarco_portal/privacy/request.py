"""How does a data-subject request go from its receipt to its closing letter?

A request is the list of its steps; state, deadline and decision follow from them, and each function
returns the request with one step more, or refuses it. So nothing that was done can be undone
unseen. Verification belongs to one request: a second one of the same person is verified anew.
"""

from __future__ import annotations

import re
from datetime import datetime  # noqa: TC003 - msgspec looks at it when it decodes
from enum import StrEnum

import msgspec

from autarco_portal.privacy import deadline
from autarco_portal.privacy.error import PrivacyError, need_text

SHA256 = re.compile(r"[0-9a-f]{64}")
SYSTEM = "system"
"""Who did a step that nobody ordered."""


class Right(StrEnum):
    """What is asked for, by article."""

    ACCESS = "access"
    RECTIFICATION = "rectification"
    ERASURE = "erasure"
    RESTRICTION = "restriction"
    PORTABILITY = "portability"
    OBJECTION = "objection"
    HUMAN_DECISION = "human_decision"


ARTICLES = {
    Right.ACCESS: "15", Right.RECTIFICATION: "16", Right.ERASURE: "17", Right.RESTRICTION: "18",
    Right.PORTABILITY: "20", Right.OBJECTION: "21", Right.HUMAN_DECISION: "22",
}  # fmt: skip


class Channel(StrEnum):
    """How the request came."""

    PORTAL = "portal"
    """By the person, signed in."""
    MAIL = "mail"
    LETTER = "letter"
    PHONE = "phone"


class Method(StrEnum):
    """How it was made sure that the person asked."""

    FRESH_SIGN_IN = "fresh_sign_in"
    """Password and second factor again, within the session."""
    MAILED_LINK = "mailed_link"
    """A single-use link to the address on file."""
    KNOWN_FACT = "known_fact"
    """The inverter's serial number on its label, or the month it was installed."""
    MASKED_COPY = "masked_copy"
    """Of an identity card, without number, photo and machine-readable lines; deleted at once."""


METHODS: dict[Channel, frozenset[Method]] = {
    Channel.PORTAL: frozenset({Method.FRESH_SIGN_IN}),
    Channel.MAIL: frozenset({Method.MAILED_LINK, Method.KNOWN_FACT, Method.MASKED_COPY}),
    Channel.LETTER: frozenset({Method.MAILED_LINK, Method.KNOWN_FACT, Method.MASKED_COPY}),
    Channel.PHONE: frozenset({Method.MAILED_LINK, Method.KNOWN_FACT}),
}
"""An address that a mail names proves nothing: anybody can write it."""


class Kind(StrEnum):
    """What a step did."""

    PROOF_ASKED = "proof_asked"
    VERIFIED = "verified"
    EXTENDED = "extended"
    WARNED = "warned"
    DECIDED = "decided"
    EVIDENCE = "evidence"
    WITHDRAWN = "withdrawn"
    CLOSED = "closed"


class Outcome(StrEnum):
    """What was decided."""

    GRANTED = "granted"
    PARTLY = "partly"
    REFUSED = "refused"


class State(StrEnum):
    """Where a request stands."""

    RECEIVED = "received"
    AWAITING_PROOF = "awaiting_proof"
    VERIFIED = "verified"
    DECIDED = "decided"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was done. `by` is an account's key; `at` is UTC."""

    kind: Kind
    at: datetime
    by: str
    method: Method | None = None
    outcome: Outcome | None = None
    reason: str = ""
    warned_days: int | None = None
    sha256: str = ""
    """Of the evidence or of the letter."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asked for; `person` is None until it is known who he is."""

    request_id: str
    right: Right
    channel: Channel
    received_at: datetime
    language: str = "nl"
    person: str | None = None
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        """Raises PrivacyError for what no register can hold."""
        if self.received_at.tzinfo is None:
            raise PrivacyError("received_at has no time zone")
        if self.language not in ("nl", "en"):
            raise PrivacyError(f"language: expected nl or en, got {self.language!r}")

    def last(self, *kinds: Kind) -> Step | None:
        """Returns the last step of these kinds."""
        return next((step for step in reversed(self.steps) if step.kind in kinds), None)

    @property
    def state(self) -> State:
        """Follows from the steps."""
        ends = {Kind.CLOSED: State.CLOSED, Kind.WITHDRAWN: State.WITHDRAWN}
        ends |= {Kind.DECIDED: State.DECIDED, Kind.VERIFIED: State.VERIFIED}
        ends |= {Kind.PROOF_ASKED: State.AWAITING_PROOF}
        step = self.last(*ends)
        return ends[step.kind] if step else State.RECEIVED

    @property
    def is_open(self) -> bool:
        """Whether an answer is still owed."""
        return self.state not in (State.CLOSED, State.WITHDRAWN)

    @property
    def is_verified(self) -> bool:
        """Whether this request, not another one of the person, was verified."""
        return self.last(Kind.VERIFIED) is not None

    @property
    def pauses(self) -> tuple[deadline.Pause, ...]:
        """When the clock stood still because proof was awaited."""
        found: list[deadline.Pause] = []
        begun: datetime | None = None
        for step in self.steps:
            if step.kind is Kind.PROOF_ASKED and begun is None:
                begun = step.at
            elif begun is not None and step.kind in (Kind.VERIFIED, Kind.DECIDED, Kind.WITHDRAWN):
                found.append(deadline.Pause(from_at=begun, to_at=step.at))
                begun = None
        if begun is not None:
            found.append(deadline.Pause(from_at=begun))
        return tuple(found)

    def deadline_at(self, now: datetime) -> datetime:
        """Returns until when the answer is in time, UTC."""
        is_extended = self.last(Kind.EXTENDED) is not None
        return deadline.deadline(self.received_at, now, pauses=self.pauses, is_extended=is_extended)

    def warnings_due(self, now: datetime) -> tuple[int, ...]:
        """Returns which warnings are to be given now; none while proof is awaited or at the end."""
        if not self.is_open or self.state is State.AWAITING_PROOF:
            return ()
        since = self.last(Kind.EXTENDED)
        # An extension makes a new deadline, of which nobody was warned yet.
        warned = frozenset(
            step.warned_days
            for step in self.steps
            if step.warned_days is not None and (since is None or step.at > since.at)
        )
        return deadline.warnings_due(self.deadline_at(now), now, warned)


def ask_proof(request: Request, *, at: datetime, by: str, reason: str) -> Request:
    """Stops the clock until the person proves who he is.

    Needs a reason: proof may be asked only on reasonable doubt (article 12(6)).
    """
    if request.state is not State.RECEIVED:
        raise _wrong(request, "ask for proof")
    return _with(request, Kind.PROOF_ASKED, at, by, reason=need_text("reason", reason))


def verify(request: Request, *, at: datetime, by: str, method: Method, person: str) -> Request:
    """Notes how it was made sure that `person` asked; the clock goes on.

    A request from within the portal belongs to who was signed in, and to nobody else.
    """
    if request.state not in (State.RECEIVED, State.AWAITING_PROOF):
        raise _wrong(request, "verify")
    if method not in METHODS[request.channel]:
        raise PrivacyError(f"{method} proves nothing for a request by {request.channel}")
    if request.person not in (None, person):
        raise PrivacyError("the proof is of another person than the request")
    if method is Method.FRESH_SIGN_IN and by != person:
        raise PrivacyError("nobody signs in for somebody else")
    known = msgspec.structs.replace(request, person=person)
    return _with(known, Kind.VERIFIED, at, by, method=method)


def extend(request: Request, *, at: datetime, by: str, reason: str) -> Request:
    """Gives two months more; only once, with a reason, within the first month."""
    if not request.is_open or request.state is State.DECIDED:
        raise _wrong(request, "extend")
    if request.last(Kind.EXTENDED):
        raise PrivacyError("a request is extended once at most")
    if at >= request.deadline_at(at):
        raise PrivacyError("the first month is over: it is too late to extend")
    return _with(request, Kind.EXTENDED, at, by, reason=need_text("reason", reason))


def warn(request: Request, *, at: datetime, days: int) -> Request:
    """Notes that the privacy officer was warned, `days` before the deadline."""
    if days not in request.warnings_due(at):
        raise PrivacyError(f"no warning of {days} days is due")
    return _with(request, Kind.WARNED, at, SYSTEM, warned_days=days)


def decide(
    request: Request, *, at: datetime, by: str, outcome: Outcome, reason: str = ""
) -> Request:
    """Decides; whoever gets less than he asked for is told why (article 12(4)).

    Without proof of identity a request can only be refused. A person decides, never the system.
    """
    if request.state is State.DECIDED or not request.is_open:
        raise _wrong(request, "decide")
    if by == SYSTEM:
        raise PrivacyError("a named person decides")
    if outcome is not Outcome.REFUSED and not request.is_verified:
        raise PrivacyError("nobody verified who asks: it can only be refused")
    if outcome is not Outcome.GRANTED:
        reason = need_text("reason", reason)
    return _with(request, Kind.DECIDED, at, by, outcome=outcome, reason=reason)


def add_evidence(request: Request, *, at: datetime, by: str, sha256: str) -> Request:
    """Notes the hash of what proves that it was carried out: bundle, proof of erasure, change."""
    if request.state is not State.DECIDED:
        raise _wrong(request, "prove")
    return _with(request, Kind.EVIDENCE, at, by, sha256=_hash(sha256))


def withdraw(request: Request, *, at: datetime, by: str) -> Request:
    """Ends it because the person wants it no more."""
    if not request.is_open:
        raise _wrong(request, "withdraw")
    if request.person is not None and by != request.person:
        raise PrivacyError("only the person himself withdraws his request")
    return _with(request, Kind.WITHDRAWN, at, by)


def close(request: Request, *, at: datetime, by: str, letter_sha256: str) -> Request:
    """Ends it with a letter; what was granted needs evidence that it was done."""
    if request.state is not State.DECIDED:
        raise _wrong(request, "close")
    decided = request.last(Kind.DECIDED)
    is_refused = decided is not None and decided.outcome is Outcome.REFUSED
    if not is_refused and request.last(Kind.EVIDENCE) is None:
        raise PrivacyError("what was granted is proved before it is closed")
    return _with(request, Kind.CLOSED, at, by, sha256=_hash(letter_sha256))


def _with(
    request: Request,
    kind: Kind,
    at: datetime,
    by: str,
    *,
    method: Method | None = None,
    outcome: Outcome | None = None,
    reason: str = "",
    warned_days: int | None = None,
    sha256: str = "",
) -> Request:
    if at.tzinfo is None:
        raise PrivacyError("the time of a step has no time zone")
    before = request.steps[-1].at if request.steps else request.received_at
    if at < before:
        raise PrivacyError(f"a step of {at.isoformat()} is older than the one before")
    step = Step(
        kind=kind, at=at, by=need_text("by", by), method=method, outcome=outcome, reason=reason,
        warned_days=warned_days, sha256=sha256,
    )  # fmt: skip
    return msgspec.structs.replace(request, steps=(*request.steps, step))


def _hash(text: str) -> str:
    if not SHA256.fullmatch(text):
        raise PrivacyError("sha256: expected 64 digits of hex")
    return text


def _wrong(request: Request, wish: str) -> PrivacyError:
    return PrivacyError(f"cannot {wish}: the request is {request.state}")
