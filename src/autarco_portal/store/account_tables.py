"""Which tables hold how people sign in, and what was done?

Hashes only of what opens anything; the secrets of second factors, which codes are made from, are
encrypted with the installation's key (`sealed`).
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy looks at it

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from autarco_portal.store.declarative import Base


class AccountRow(Base):
    """How somebody signs in."""

    __tablename__ = "accounts"
    person_id: Mapped[str] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), primary_key=True
    )
    password_hash: Mapped[str | None]
    """Argon2id; none before the invitation was taken up."""
    password_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    last_signed_in_at: Mapped[datetime | None]
    generation: Mapped[int] = mapped_column(default=0)
    """Counts what ends all that was proved before: a new password, disabling, signing out."""


class TotpRow(Base):
    """The secret of a second factor."""

    __tablename__ = "totp_secrets"
    person_id: Mapped[str] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), primary_key=True
    )
    secret: Mapped[str]
    """Sealed."""
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    """The last code's number; it and older ones are never taken again."""


class RecoveryCodeRow(Base):
    """A code for somebody who lost his second factor; once."""

    __tablename__ = "recovery_codes"
    code_hash: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), index=True
    )
    used_at: Mapped[datetime | None]


class LoginSessionRow(Base):
    """A browser that is signed in."""

    __tablename__ = "login_sessions"
    session_id: Mapped[str] = mapped_column(primary_key=True)
    """Names it to people; opens nothing."""
    token_hash: Mapped[str] = mapped_column(unique=True)
    person_id: Mapped[str] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), index=True
    )
    has_second_factor: Mapped[bool]
    created_at: Mapped[datetime]
    authenticated_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    client: Mapped[str]
    network: Mapped[str]


class AppTokenRow(Base):
    """A program that may look."""

    __tablename__ = "app_tokens"
    token_id: Mapped[str] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    person_id: Mapped[str] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str]
    has_second_factor: Mapped[bool]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]


class InvitationRow(Base):
    """A link that makes somebody's account, or a new password for it; once."""

    __tablename__ = "invitations"
    invitation_id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), index=True
    )
    purpose: Mapped[str]
    invited_by: Mapped[str | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]


class ThrottleRow(Base):
    """Failed attempts of one network at one account, or of one network at all."""

    __tablename__ = "login_throttles"
    key_hash: Mapped[str] = mapped_column(primary_key=True)
    """Keyed: who reads the table learns neither the address nor the e-mail."""
    failures: Mapped[int]
    last_failure_at: Mapped[datetime] = mapped_column(index=True)
    blocked_until: Mapped[datetime | None]


class AuditRow(Base):
    """Who did what to whom and why; rows are only added, each one sealed with the one before."""

    __tablename__ = "audit_log"
    __table_args__ = (UniqueConstraint("hash"),)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(index=True)
    action: Mapped[str]
    thing: Mapped[str] = mapped_column(index=True)
    subject: Mapped[str | None] = mapped_column(index=True)
    why: Mapped[str | None]
    detail: Mapped[str]
    """JSON object of short values; no text that people wrote."""
    prev_hash: Mapped[str]
    hash: Mapped[str]


class AuditAnchorRow(Base):
    """Where the log begins since rows were pruned: the last pruned row's number and hash."""

    __tablename__ = "audit_anchors"
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[str]
    pruned_at: Mapped[datetime]
