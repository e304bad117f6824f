"""How does somebody get an account, sign in, prove it again, and get a second factor?

The service that carries out the rules of `account`, `passwords`, `second_factor` and `signed_link`
on the store; `proofs` compares, `api_access` is for programs. Time and addresses come in as
arguments. What was refused is a value, with as little of the reason as its receiver may know.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from autarco_portal import second_factor, signed_link, throttle
from autarco_portal.account import (
    AppToken,
    Identity,
    Invitation,
    InvitationPurpose,
    LoginSession,
    SessionRules,
    Stage,
    is_alive,
    is_fresh,
    stage,
)
from autarco_portal.api_access import ApiAccess
from autarco_portal.audit import AuditEntry
from autarco_portal.passwords import Hasher, check_password
from autarco_portal.proofs import WRONG, Proofs, Refusal, Refused, recovery_hashes
from autarco_portal.secret import Secret, derived, digest, new_token
from autarco_portal.signed import Enrolled, Enrolment, Signed, SignedIn
from autarco_portal.store.keys import new_identifier

if TYPE_CHECKING:
    from autarco_portal.people import Person
    from autarco_portal.store import Store

INVITATION_DAYS = {InvitationPurpose.ACCOUNT: 14, InvitationPurpose.PASSWORD: 1}
"""People read a welcome after their holidays; a new password is wanted now."""
ANOTHER_LINK_AFTER = timedelta(minutes=10)
"""Nobody fills somebody's mailbox by asking for his password again and again."""
CLIENT_MAX = 200
"""Characters kept of what a browser says it is."""


_PROVE_AGAIN = Refused(reason=Refusal.PROVE_AGAIN)


class Accounts:
    """The accounts of one portal; safe to share between threads."""

    def __init__(
        self,
        store: Store,
        key: bytes,
        *,
        hasher: Hasher | None = None,
        rules: SessionRules | None = None,
        issuer: str = "Autarco",
    ) -> None:
        self._store = store
        self._rules = rules or SessionRules()
        self._issuer = issuer
        self._link_key = derived(key, "invitation link")
        self._proofs = Proofs(store, key, hasher or Hasher())
        self.api = ApiAccess(store, self._proofs)

    # Invitations and passwords.

    def invite(
        self,
        person_id: str,
        *,
        by: str | None,
        now: datetime,
        purpose: InvitationPurpose = InvitationPurpose.ACCOUNT,
    ) -> Secret:
        """Returns what the link in the mail ends in; earlier ones of this person are withdrawn.

        Raises StoreError for somebody unknown.
        """
        self._store.accounts.add(person_id, now)
        invitation = Invitation(
            invitation_id=new_identifier(),
            person_id=person_id,
            purpose=purpose,
            invited_by=by,
            created_at=now,
            expires_at=now + timedelta(days=INVITATION_DAYS[purpose]),
        )
        self._store.accounts.invite(invitation)
        self._log("invite", person_id, now, by=by or "system:invite", detail=purpose.value)
        return signed_link.sign(self._link_key, invitation.invitation_id, invitation.expires_at)

    def forgotten_password(self, email: str, now: datetime) -> tuple[Person, Secret] | None:
        """Returns to whom to mail which link; None for an address without a usable account, and
        where the last link is minutes old.

        Whoever asks is told the same in all cases.
        """
        person = self._store.people.by_email(email)
        account = None if person is None else self._store.accounts.get(person.person_id)
        if person is None or account is None or account.disabled_at is not None:
            return None
        last = self._store.accounts.last_invited_at(person.person_id)
        if last is not None and now - last < ANOTHER_LINK_AFTER:
            return None
        purpose = InvitationPurpose.PASSWORD
        return person, self.invite(person.person_id, by=None, now=now, purpose=purpose)

    def may_ask_for_link(self, email: str, *, address: str, now: datetime) -> Refused | None:
        """Counts a wish for another password; returns why it must wait, or None."""
        return self._proofs.may_ask_for_link(email, address, now)

    def invited(self, link: Secret, now: datetime) -> Person | None:
        """Returns who may choose a password by a link, or None."""
        invitation = self._invitation(link, now)
        return None if invitation is None else self._store.people.get(invitation.person_id)

    def has_password(self, person_id: str) -> bool:
        """Tells whether somebody could sign in before."""
        account = self._store.accounts.get(person_id)
        return account is not None and account.has_password

    def accept(self, link: Secret, password: Secret, now: datetime) -> Person | Refused:
        """Sets the password that a link allows, once; his sessions before end.

        Raises PasswordError for a weak password: then the link stays good.
        """
        invitation = self._invitation(link, now)
        person = None if invitation is None else self._store.people.get(invitation.person_id)
        if invitation is None or person is None:
            return Refused(reason=Refusal.LINK_OVER)
        check_password(password, email=person.email, name=person.name)
        password_hash = self._proofs.new_hash(password)
        if not self._store.accounts.take_up(invitation.invitation_id, password_hash, now):
            return Refused(reason=Refusal.LINK_OVER)
        self._log("set_password", person.person_id, now)
        return person

    def change_password(
        self, token: Secret, old: Secret, new: Secret, *, address: str, now: datetime
    ) -> SignedIn | Refused:
        """Replaces somebody's own password; all his other sessions end.

        Raises PasswordError for a weak one.
        """
        signed = self.who(token, now)
        if signed is None or signed.stage is not Stage.FULL:
            return WRONG
        check_password(new, email=signed.person.email, name=signed.person.name)
        proved = self._proofs.password(signed.person.email, old, address, now)
        if isinstance(proved, Refused):
            return proved
        self._store.accounts.set_password(signed.person.person_id, self._proofs.new_hash(new), now)
        self._log("set_password", signed.person.person_id, now)
        return self._begin(
            signed.person.person_id,
            has_second_factor=signed.session.has_second_factor,
            network=signed.session.network,
            client=signed.session.client,
            now=now,
        )

    # Signing in.

    def sign_in(
        self, email: str, password: Secret, *, address: str, client: str, now: datetime
    ) -> SignedIn | Refused:
        """Begins a session by a password; its stage says what else is wanted."""
        account = self._proofs.password(email, password, address, now)
        if isinstance(account, Refused):
            return account
        self._log("sign_in", account.person_id, now)
        return self._begin(
            account.person_id,
            has_second_factor=False,
            network=throttle.truncated(address),
            client=client,
            now=now,
        )

    def who(self, token: Secret, now: datetime) -> Signed | None:
        """Returns whose session a token opens, as he acts now; None for none that is alive."""
        found = self._store.sessions.session(digest(token), now)
        if found is None:
            return None
        session, identity = found
        signed = _signed(session, identity)
        if identity.account.disabled_at is not None:
            return None
        if not is_alive(session, signed.stage, now, self._rules):
            return None
        if now - session.last_seen_at >= self._rules.seen_step:
            self._store.sessions.seen(session.session_id, now)
        return signed

    def give_code(self, token: Secret, code: Secret, now: datetime) -> SignedIn | Refused:
        """Completes a session by a code of the second factor, or by a recovery code."""
        signed = self.who(token, now)
        if signed is None or not signed.account.has_second_factor:
            return WRONG
        refused = self._proofs.code(signed.person.person_id, code, now)
        return refused or self._renew(signed, now, has_second_factor=True)

    def prove_again(
        self,
        token: Secret,
        password: Secret,
        code: Secret | None,
        *,
        address: str,
        now: datetime,
    ) -> SignedIn | Refused:
        """Proves anew who is at the browser: by password, and by code where there is a second
        factor. What is dangerous can be done for some minutes then.
        """
        signed = self.who(token, now)
        if signed is None or signed.stage is not Stage.FULL:
            return WRONG
        proved = self._proofs.password(signed.person.email, password, address, now)
        if isinstance(proved, Refused):
            return proved
        if signed.account.has_second_factor:
            refused = self._proofs.code(signed.person.person_id, code or Secret(""), now)
            if refused is not None:
                return refused
        return self._renew(signed, now, has_second_factor=signed.session.has_second_factor)

    def is_fresh(self, signed: Signed, now: datetime) -> bool:
        """Tells whether somebody proved who he is just now."""
        return is_fresh(signed.session, now, self._rules)

    def sign_out(self, token: Secret, now: datetime) -> None:
        """Ends the session."""
        signed = self.who(token, now)
        if signed is not None:
            self._store.sessions.end_session(signed.person.person_id, signed.session.session_id)
            self._log("sign_out", signed.person.person_id, now)

    def sign_out_everywhere(self, token: Secret, now: datetime, *, but_here: bool = False) -> int:
        """Ends all of somebody's sessions, or all but this one; returns how many."""
        signed = self.who(token, now)
        if signed is None:
            return 0
        here = signed.session.session_id if but_here else None
        ended = self._store.sessions.end_sessions(signed.person.person_id, but=here)
        self._log("sign_out_everywhere", signed.person.person_id, now)
        return ended

    # Second factor.

    def enrol(self, token: Secret, now: datetime) -> Enrolment | Refused:
        """Offers a second factor; it counts once a code of it was given. Raises StoreError if one
        is set up already.
        """
        signed = self.who(token, now)
        if signed is None or signed.stage is Stage.CODE:
            return WRONG
        if signed.stage is Stage.FULL and not self.is_fresh(signed, now):
            return _PROVE_AGAIN
        secret = second_factor.new_secret()
        person_id = signed.person.person_id
        self._store.second_factors.offer_totp(person_id, self._proofs.seal(person_id, secret), now)
        uri = second_factor.uri(secret, email=signed.person.email, issuer=self._issuer)
        return Enrolment(secret=secret, uri=uri)

    def confirm(self, token: Secret, code: Secret, now: datetime) -> Enrolled | Refused:
        """Sets the second factor up by its first code; other sessions need a code from then on."""
        signed = self.who(token, now)
        if signed is None or signed.stage is Stage.CODE:
            return WRONG
        person_id = signed.person.person_id
        codes = second_factor.new_recovery_codes()
        refused = self._proofs.first_code(person_id, code, codes, now)
        if refused is not None:
            return refused
        self._log("set_second_factor", person_id, now)
        renewed = self._renew(signed, now, has_second_factor=True)
        if isinstance(renewed, Refused):
            return renewed
        return Enrolled(signed_in=renewed, recovery_codes=codes)

    def new_recovery_codes(self, token: Secret, now: datetime) -> tuple[Secret, ...] | Refused:
        """Replaces the recovery codes; a fresh proof is needed."""
        signed = self._fresh(token, now)
        if isinstance(signed, Refused):
            return signed
        if not signed.account.has_second_factor:
            return WRONG
        codes = second_factor.new_recovery_codes()
        person_id = signed.person.person_id
        self._store.second_factors.replace_codes(person_id, recovery_hashes(codes, person_id))
        self._log("new_recovery_codes", person_id, now)
        return codes

    def drop_second_factor(self, token: Secret, now: datetime) -> Refused | None:
        """Goes back to a password alone, for who may; signs out everywhere. Wants a fresh proof."""
        signed = self._fresh(token, now)
        if isinstance(signed, Refused):
            return signed
        if signed.actor is None or signed.actor.needs_second_factor:
            return WRONG
        person_id = signed.person.person_id
        self._store.second_factors.remove_totp(person_id)
        self._log("drop_second_factor", person_id, now)
        return None

    def seal_second_factors(self) -> int:
        """Encrypts secrets that an older version stored as they are; returns how many."""
        return self._proofs.seal_all()

    def reset_second_factor(self, person_id: str, *, by: str, now: datetime) -> None:
        """Forgets somebody's second factor for him: whoever may, after asking who he is."""
        self._store.second_factors.remove_totp(person_id)
        self._log("reset_second_factor", person_id, now, by=by)

    # Accounts of others.

    def disable(self, person_id: str, *, by: str, now: datetime) -> None:
        """Keeps somebody out at once, everywhere."""
        self._store.accounts.disable(person_id, now)
        self._log("disable_account", person_id, now, by=by)

    def enable(self, person_id: str, *, by: str, now: datetime) -> None:
        """Lets somebody in again."""
        self._store.accounts.enable(person_id)
        self._log("enable_account", person_id, now, by=by)

    # Tokens of programs.

    def add_token(
        self, token: Secret, name: str, now: datetime, *, expires_at: datetime | None = None
    ) -> tuple[AppToken, Secret] | Refused:
        """Makes an app token, shown this once; wants a fresh proof. Raises PeopleError for a name
        that is none.
        """
        signed = self._fresh(token, now)
        if isinstance(signed, Refused):
            return signed
        person_id = signed.person.person_id
        made = self.api.add_token(
            person_id,
            name,
            has_second_factor=signed.session.has_second_factor,
            now=now,
            expires_at=expires_at,
        )
        self._log("add_token", person_id, now, detail=made[0].token_id)
        return made

    def end_token(self, token: Secret, token_id: str, now: datetime) -> bool:
        """Ends one of one's own app tokens; tells whether there was one."""
        signed = self.who(token, now)
        if signed is None or signed.stage is not Stage.FULL:
            return False
        person_id = signed.person.person_id
        ended = self._store.sessions.end_token(person_id, token_id)
        if ended:
            self._log("end_token", person_id, now, detail=token_id)
        return ended

    def sweep(self, now: datetime) -> int:
        """Removes sessions that are over and failures that are forgotten; returns how many."""
        sessions = self._store.sessions.sweep(now, now - self._rules.idle)
        return sessions + self._store.throttles.sweep(now - throttle.PAIR.forget_after)

    def _invitation(self, link: Secret, now: datetime) -> Invitation | None:
        identifier = signed_link.read(self._link_key, link, now)
        found = None if identifier is None else self._store.accounts.invitation(identifier)
        if found is None or found.used_at is not None or found.withdrawn_at is not None:
            return None
        return found if now < found.expires_at else None

    def _fresh(self, token: Secret, now: datetime) -> Signed | Refused:
        signed = self.who(token, now)
        if signed is None or signed.stage is not Stage.FULL:
            return WRONG
        return signed if self.is_fresh(signed, now) else _PROVE_AGAIN

    def _begin(
        self, person_id: str, *, has_second_factor: bool, network: str, client: str, now: datetime
    ) -> SignedIn | Refused:
        token = new_token()
        session = LoginSession(
            session_id=new_identifier(),
            person_id=person_id,
            has_second_factor=has_second_factor,
            created_at=now,
            authenticated_at=now,
            last_seen_at=now,
            expires_at=now + self._rules.absolute,
            client="".join(letter for letter in client if letter.isprintable())[:CLIENT_MAX],
            network=network,
        )
        self._store.sessions.begin_session(session, digest(token))
        return self._signed_in(token, now)

    def _renew(
        self, signed: Signed, now: datetime, *, has_second_factor: bool
    ) -> SignedIn | Refused:
        """Under a new token: one that was seen before the proof must not be worth more after it."""
        token = new_token()
        is_there = self._store.sessions.prove(
            signed.session.session_id, digest(token), now, has_second_factor=has_second_factor
        )
        return self._signed_in(token, now) if is_there else WRONG

    def _signed_in(self, token: Secret, now: datetime) -> SignedIn | Refused:
        signed = self.who(token, now)
        return WRONG if signed is None else SignedIn(signed=signed, token=token)

    def _log(
        self,
        action: str,
        person_id: str,
        now: datetime,
        *,
        by: str | None = None,
        detail: str | None = None,
    ) -> None:
        self._store.audit.append(
            AuditEntry(
                at=now,
                actor=by or person_id,
                action=action,
                thing=f"account:{person_id}",
                subject=person_id,
                detail={} if detail is None else {"of": detail},
            )
        )


def _signed(session: LoginSession, identity: Identity) -> Signed:
    needs = identity.actor.needs_second_factor
    reached = stage(session, identity.account, needs_second_factor=needs)
    return Signed(
        session=session,
        stage=reached,
        person=identity.person,
        account=identity.account,
        actor=identity.actor if reached is Stage.FULL else None,
    )
