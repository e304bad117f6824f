"""Whoever may come in comes in, nobody else does, and nothing tells others why or with what."""

from __future__ import annotations

import base64
import logging
import threading
import traceback
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyotp
import pytest

from autarco_portal.account import Stage
from autarco_portal.accounts import Accounts
from autarco_portal.passwords import Hasher, Parameters, PasswordError
from autarco_portal.people import SELF, MemberRole, OrganisationKind, PortalRole
from autarco_portal.proofs import SEAL_PURPOSE, Refusal, Refused
from autarco_portal.rights import Action, may
from autarco_portal.sealed import SealError, is_sealed, unseal
from autarco_portal.secret import Secret, derived
from autarco_portal.signed import Enrolled, Enrolment, SignedIn
from autarco_portal.store import StoreError, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from autarco_portal.account import Identity
    from autarco_portal.store import Store

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
KEY = bytes(range(32))
HOME, ELSEWHERE = "192.0.2.7", "198.51.100.9"
PASSWORD = "correct horse battery"  # noqa: S105 - a test's
CHEAP = Parameters(time_cost=1, memory_kib=8, parallelism=1)


@pytest.fixture
def accounts(store: Store) -> Accounts:
    return Accounts(store, KEY, hasher=Hasher(CHEAP))


@pytest.fixture
def small(sqlite_store: Store) -> tuple[Store, Accounts]:
    """On SQLite alone, where the database is not what is tested."""
    return sqlite_store, Accounts(sqlite_store, KEY, hasher=Hasher(CHEAP))


def join(store: Store, accounts: Accounts, name: str = "An", password: str = PASSWORD) -> str:
    """Somebody who took up an invitation."""
    email = f"{name}@example.org"
    person = store.people.add(name=name, email=email, source=SELF, now=NOW)
    link = accounts.invite(person.person_id, by=None, now=NOW)
    assert accounts.accept(link, Secret(password), NOW) == person
    return person.person_id


def sign_in(
    accounts: Accounts,
    name: str = "An",
    password: str = PASSWORD,
    *,
    address: str = HOME,
    now: datetime = NOW,
) -> SignedIn | Refused:
    return accounts.sign_in(
        f"{name}@example.org", Secret(password), address=address, client="Firefox", now=now
    )


def signed_in(accounts: Accounts, name: str = "An", now: datetime = NOW) -> SignedIn:
    found = sign_in(accounts, name, now=now)
    assert isinstance(found, SignedIn)
    return found


def enrolled(accounts: Accounts, token: Secret, now: datetime = NOW) -> tuple[str, Enrolled]:
    """The secret of a second factor that was set up just now, and what came of it."""
    offered = accounts.enrol(token, now)
    assert isinstance(offered, Enrolment)
    secret = offered.secret.reveal()
    found = accounts.confirm(token, code(secret, now), now)
    assert isinstance(found, Enrolled)
    return secret, found


def code(secret: str, at: datetime) -> Secret:
    return Secret(pyotp.TOTP(secret).at(at))


def reason(found: object) -> Refusal | None:
    return found.reason if isinstance(found, Refused) else None


def basic(email: str, password: str, encoding: str = "utf-8") -> Secret:
    pair = base64.b64encode(f"{email}:{password}".encode(encoding)).decode()
    return Secret(f"Basic {pair}")


def ask(
    accounts: Accounts, header: Secret, now: datetime = NOW, address: str = HOME
) -> Identity | Refused:
    return accounts.api.authenticate(header, address=address, now=now)


def test_an_invitation_works_once(store: Store, accounts: Accounts) -> None:
    person = store.people.add(name="An", email="an@example.org", source=SELF, now=NOW)
    link = accounts.invite(person.person_id, by="staff1", now=NOW)
    assert accounts.invited(link, NOW) == person
    with pytest.raises(PasswordError):
        accounts.accept(link, Secret("short"), NOW)
    assert accounts.accept(link, Secret(PASSWORD), NOW + DAY) == person
    assert accounts.invited(link, NOW + DAY) is None
    again = accounts.accept(link, Secret("another good password"), NOW + DAY)
    assert reason(again) is Refusal.LINK_OVER
    assert isinstance(sign_in(accounts), SignedIn)


def test_an_invitation_is_taken_up_once_also_by_two_at_the_same_time(
    store: Store, accounts: Accounts
) -> None:
    person = store.people.add(name="An", email="an@example.org", source=SELF, now=NOW)
    link = accounts.invite(person.person_id, by=None, now=NOW)
    found: list[object] = []
    threads = [
        threading.Thread(
            target=lambda n=number: found.append(
                accounts.accept(link, Secret(f"{PASSWORD} {n}"), NOW)
            )
        )
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, map(reason, found))) == ["None", *["link_over"] * 3]


def test_a_link_that_is_over_forged_or_replaced_opens_nothing(
    small: tuple[Store, Accounts],
) -> None:
    store, accounts = small
    person = store.people.add(name="An", email="an@example.org", source=SELF, now=NOW)
    first = accounts.invite(person.person_id, by=None, now=NOW)
    link = accounts.invite(person.person_id, by=None, now=NOW)
    good = link.reveal()
    identifier, seconds, signature = good.split(".")
    other = Accounts(store, bytes(32), hasher=Hasher(CHEAP)).invite
    for bad, now in (
        (first.reveal(), NOW),
        (good, NOW + 14 * DAY),
        (f"{identifier}.{int(seconds) + 1}.{signature}", NOW),
        (f"{identifier}.{seconds}.{signature[:-1]}{'A' if signature[-1] != 'A' else 'B'}", NOW),
        (good + "x", NOW),
        ("", NOW),
        ("\udcff", NOW),
    ):
        assert accounts.invited(Secret(bad), now) is None, bad
    assert accounts.invited(link, NOW + 14 * DAY - MINUTE) == person
    assert accounts.invited(other(person.person_id, by=None, now=NOW), NOW) is None
    assert accounts.invited(link, NOW) is None


def test_a_forgotten_password_ends_what_the_old_one_opened(
    store: Store, accounts: Accounts
) -> None:
    person_id = join(store, accounts)
    before = signed_in(accounts)
    now = NOW + 10 * MINUTE
    assert accounts.forgotten_password("nobody@example.org", now) is None
    found = accounts.forgotten_password("AN@example.org", now)
    assert found is not None
    assert found[0].person_id == person_id
    assert accounts.forgotten_password("an@example.org", now + MINUTE) is None
    assert accounts.invited(found[1], now + DAY) is None
    accounts.accept(found[1], Secret("an entirely new one"), now)
    assert accounts.who(before.token, now) is None
    assert reason(sign_in(accounts)) is Refusal.WRONG
    assert isinstance(sign_in(accounts, password="an entirely new one"), SignedIn)  # noqa: S106
    accounts.disable(person_id, by="admin1", now=NOW)
    assert accounts.forgotten_password("an@example.org", NOW + DAY) is None


def test_a_session_ends_idle_or_old_or_signed_out(store: Store, accounts: Accounts) -> None:
    join(store, accounts)
    token = signed_in(accounts).token
    assert accounts.who(token, NOW + 7 * DAY) is None
    for day in range(0, 30, 3):
        assert accounts.who(token, NOW + day * DAY) is not None, day
    assert accounts.who(token, NOW + 30 * DAY) is None
    later = NOW + 30 * DAY
    token = signed_in(accounts, now=later).token
    accounts.sign_out(token, later)
    assert accounts.who(token, later) is None
    assert accounts.who(Secret("nonsense"), later) is None


def test_signing_out_everywhere_leaves_no_session(store: Store, accounts: Accounts) -> None:
    person_id = join(store, accounts)
    join(store, accounts, "Bo")
    tokens = [signed_in(accounts).token for _ in range(3)]
    other = signed_in(accounts, "Bo").token
    header = basic("an@example.org", PASSWORD)
    assert not isinstance(ask(accounts, header), Refused)
    assert accounts.sign_out_everywhere(tokens[0], NOW, but_here=True) == 2
    assert [accounts.who(token, NOW) is not None for token in tokens] == [True, False, False]
    assert accounts.sign_out_everywhere(tokens[0], NOW) == 1
    assert store.sessions.sessions(person_id) == []
    assert accounts.who(other, NOW) is not None


def test_a_changed_password_keeps_this_browser_and_no_other(
    store: Store, accounts: Accounts
) -> None:
    join(store, accounts)
    here, there = signed_in(accounts).token, signed_in(accounts).token
    new = Secret("another good password")
    wrong = accounts.change_password(here, Secret("wrong"), new, address=HOME, now=NOW)
    assert reason(wrong) is Refusal.WRONG
    with pytest.raises(PasswordError):
        accounts.change_password(here, Secret(PASSWORD), Secret("x"), address=HOME, now=NOW)
    found = accounts.change_password(here, Secret(PASSWORD), new, address=HOME, now=NOW)
    assert isinstance(found, SignedIn)
    assert accounts.who(found.token, NOW) is not None
    assert accounts.who(here, NOW) is None
    assert accounts.who(there, NOW) is None


def test_with_a_second_factor_the_password_opens_nothing(store: Store, accounts: Accounts) -> None:
    join(store, accounts)
    secret, found = enrolled(accounts, signed_in(accounts).token)
    assert found.signed_in.signed.stage is Stage.FULL
    half = signed_in(accounts)
    assert half.signed.stage is Stage.CODE
    assert half.signed.actor is None
    assert reason(accounts.enrol(half.token, NOW)) is Refusal.WRONG
    assert reason(accounts.add_token(half.token, "x", NOW)) is Refusal.WRONG
    later = NOW + MINUTE
    whole = accounts.give_code(half.token, code(secret, later), later)
    assert isinstance(whole, SignedIn)
    assert whole.signed.actor is not None
    assert whole.signed.actor.has_second_factor
    assert accounts.who(half.token, later) is None
    assert accounts.who(whole.token, later) is not None


def test_sessions_of_before_need_a_code_once_there_is_a_second_factor(
    store: Store, accounts: Accounts
) -> None:
    join(store, accounts)
    before, now = signed_in(accounts), NOW + 20 * MINUTE
    here = signed_in(accounts, now=now)
    assert accounts.who(before.token, now) is not None
    enrolled(accounts, here.token, now)
    assert accounts.who(before.token, now) is None
    unfinished = signed_in(accounts, now=now).token
    found = accounts.who(unfinished, now + 14 * MINUTE)
    assert found is not None
    assert found.stage is Stage.CODE
    assert accounts.who(unfinished, now + 15 * MINUTE) is None


def test_a_code_is_taken_once_and_none_older_after_it(store: Store, accounts: Accounts) -> None:
    join(store, accounts)
    secret, _ = enrolled(accounts, signed_in(accounts).token)
    now = NOW + 10 * MINUTE
    first = signed_in(accounts, now=now).token
    second = signed_in(accounts, now=now).token
    assert isinstance(accounts.give_code(first, code(secret, now), now), SignedIn)
    assert reason(accounts.give_code(second, code(secret, now), now)) is Refusal.WRONG
    older = code(secret, now - 30 * timedelta(seconds=1))
    assert reason(accounts.give_code(second, older, now)) is Refusal.WRONG
    newer = code(secret, now + 30 * timedelta(seconds=1))
    assert isinstance(accounts.give_code(second, newer, now), SignedIn)


def test_the_code_that_set_it_up_does_not_sign_in(store: Store, accounts: Accounts) -> None:
    join(store, accounts)
    secret, _ = enrolled(accounts, signed_in(accounts).token)
    half = signed_in(accounts)
    assert reason(accounts.give_code(half.token, code(secret, NOW), NOW)) is Refusal.WRONG


def test_codes_around_now_are_taken_and_others_not(small: tuple[Store, Accounts]) -> None:
    store, accounts = small
    join(store, accounts)
    secret, _ = enrolled(accounts, signed_in(accounts).token)
    now = NOW + DAY
    for seconds, is_taken in ((-60, False), (60, False), (-30, True), (30, True)):
        token = signed_in(accounts, now=now).token
        given = code(secret, now + timedelta(seconds=seconds))
        found = accounts.give_code(token, given, now)
        assert isinstance(found, SignedIn) == is_taken, seconds
        now += DAY
    for nonsense in ("", "12345", "1234567", "abcdef", "١٢٣٤٥٦"):
        token = signed_in(accounts, now=now).token
        assert reason(accounts.give_code(token, Secret(nonsense), now)) is Refusal.WRONG
        now += DAY
    spaced = code(secret, now).reveal()
    token = signed_in(accounts, now=now).token
    found = accounts.give_code(token, Secret(f" {spaced[:3]} {spaced[3:]}\n"), now)
    assert isinstance(found, SignedIn)


def test_recovery_codes_work_once_each_however_they_are_typed(
    store: Store, accounts: Accounts
) -> None:
    person_id = join(store, accounts)
    _, found = enrolled(accounts, signed_in(accounts).token)
    codes = found.recovery_codes
    assert len({one.reveal() for one in codes}) == 10
    typed = Secret(codes[0].reveal().upper().replace("-", " "))
    token = signed_in(accounts).token
    assert isinstance(accounts.give_code(token, typed, NOW), SignedIn)
    assert reason(accounts.give_code(signed_in(accounts).token, typed, NOW)) is Refusal.WRONG
    assert store.second_factors.codes_left(person_id) == 9
    fresh = accounts.new_recovery_codes(found.signed_in.token, NOW)
    assert not isinstance(fresh, Refused)
    token = signed_in(accounts).token
    assert reason(accounts.give_code(token, codes[1], NOW)) is Refusal.WRONG
    assert isinstance(accounts.give_code(token, fresh[1], NOW), SignedIn)


def test_a_recovery_code_is_nobody_elses(store: Store, accounts: Accounts) -> None:
    for name in ("An", "Bo"):
        join(store, accounts, name)
    _, ans = enrolled(accounts, signed_in(accounts, "An").token)
    enrolled(accounts, signed_in(accounts, "Bo").token)
    half = signed_in(accounts, "Bo").token
    assert reason(accounts.give_code(half, ans.recovery_codes[0], NOW)) is Refusal.WRONG


@pytest.mark.parametrize("role", ["partner", "portal"])
def test_partners_and_staff_must_set_up_a_second_factor(
    role: str, store: Store, accounts: Accounts
) -> None:
    person_id = join(store, accounts)
    if role == "partner":
        partner = store.organisations.add(name="Z", kind=OrganisationKind.INSTALLER, now=NOW)
        store.people.join(person_id, partner.organisation_id, MemberRole.STAFF, NOW)
    else:
        store.people.give_portal_role(person_id, PortalRole.SUPPORT, NOW)
    first = signed_in(accounts)
    assert first.signed.stage is Stage.ENROL
    assert first.signed.actor is None
    header = basic("an@example.org", PASSWORD)
    assert reason(ask(accounts, header)) is Refusal.APP_TOKEN_WANTED
    _, found = enrolled(accounts, first.token)
    actor = found.signed_in.signed.actor
    assert actor is not None
    assert actor.has_second_factor
    dropped = accounts.drop_second_factor(found.signed_in.token, NOW)
    assert dropped == Refused(reason=Refusal.WRONG)
    assert accounts.who(found.signed_in.token, NOW) is not None


def test_who_becomes_a_partner_needs_the_second_factor_from_then_on(
    store: Store, accounts: Accounts
) -> None:
    person_id = join(store, accounts)
    token, header = signed_in(accounts).token, basic("an@example.org", PASSWORD)
    assert not isinstance(ask(accounts, header), Refused)
    store.people.give_portal_role(person_id, PortalRole.ADMINISTRATOR, NOW)
    found = accounts.who(token, NOW)
    assert found is not None
    assert found.stage is Stage.ENROL
    assert reason(ask(accounts, header)) is Refusal.APP_TOKEN_WANTED


def test_an_owner_may_go_back_to_a_password_alone(store: Store, accounts: Accounts) -> None:
    join(store, accounts)
    _, found = enrolled(accounts, signed_in(accounts).token)
    assert accounts.drop_second_factor(found.signed_in.token, NOW) is None
    assert accounts.who(found.signed_in.token, NOW) is None
    assert signed_in(accounts).signed.stage is Stage.FULL


def test_a_reset_second_factor_is_gone_and_so_is_what_it_opened(
    store: Store, accounts: Accounts
) -> None:
    person_id = join(store, accounts)
    secret, found = enrolled(accounts, signed_in(accounts).token)
    made = accounts.add_token(found.signed_in.token, "Home", NOW)
    assert not isinstance(made, Refused)
    with pytest.raises(StoreError, match="already"):
        accounts.enrol(found.signed_in.token, NOW)
    accounts.reset_second_factor(person_id, by="support1", now=NOW)
    assert accounts.who(found.signed_in.token, NOW) is None
    assert reason(ask(accounts, Secret(f"Bearer {made[1].reveal()}"))) is Refusal.WRONG
    again = signed_in(accounts)
    assert again.signed.stage is Stage.FULL
    later = NOW + DAY
    assert reason(accounts.give_code(again.token, code(secret, later), later)) is Refusal.WRONG


def test_what_is_dangerous_wants_a_fresh_proof(store: Store, accounts: Accounts) -> None:
    join(store, accounts)
    secret, found = enrolled(accounts, signed_in(accounts).token)
    token, later = found.signed_in.token, NOW + 11 * MINUTE
    assert reason(accounts.add_token(token, "Home", later)) is Refusal.PROVE_AGAIN
    assert reason(accounts.new_recovery_codes(token, later)) is Refusal.PROVE_AGAIN
    assert accounts.drop_second_factor(token, later) == Refused(reason=Refusal.PROVE_AGAIN)
    for password, given in ((PASSWORD, None), ("wrong", code(secret, later))):
        refused = accounts.prove_again(token, Secret(password), given, address=HOME, now=later)
        assert reason(refused) is Refusal.WRONG
    proved = accounts.prove_again(
        token, Secret(PASSWORD), code(secret, later), address=HOME, now=later
    )
    assert isinstance(proved, SignedIn)
    assert accounts.who(token, later) is None
    assert not isinstance(accounts.add_token(proved.token, "Home", later), Refused)


def test_a_disabled_account_is_out_at_once(store: Store, accounts: Accounts) -> None:
    person_id = join(store, accounts)
    token, header = signed_in(accounts).token, basic("an@example.org", PASSWORD)
    made = accounts.add_token(token, "Home", NOW)
    assert not isinstance(made, Refused)
    assert not isinstance(ask(accounts, header), Refused)
    accounts.disable(person_id, by="admin1", now=NOW)
    assert accounts.who(token, NOW) is None
    assert reason(sign_in(accounts)) is Refusal.WRONG
    assert reason(ask(accounts, header)) is Refusal.WRONG
    assert reason(ask(accounts, Secret(f"Bearer {made[1].reveal()}"))) is Refusal.WRONG
    accounts.enable(person_id, by="admin1", now=NOW)
    assert isinstance(sign_in(accounts), SignedIn)
    assert accounts.who(token, NOW) is None


def test_app_tokens_look_for_somebody_until_they_are_ended(
    store: Store, accounts: Accounts
) -> None:
    person_id = join(store, accounts)
    token = signed_in(accounts).token
    made = accounts.add_token(token, "Home Assistant", NOW, expires_at=NOW + 2 * DAY)
    assert not isinstance(made, Refused)
    app_token, secret = made
    assert secret.reveal().startswith("aut_")
    for header in (
        Secret(f"Bearer {secret.reveal()}"),
        basic("an@example.org", secret.reveal()),
        basic("AN@example.org", secret.reveal()),
    ):
        found = ask(accounts, header, NOW + DAY)
        assert not isinstance(found, Refused)
        assert found.person.person_id == person_id
        assert found.actor.is_read_only
    assert reason(ask(accounts, basic("bo@example.org", secret.reveal()))) is Refusal.WRONG
    used = store.sessions.tokens(person_id)
    assert [one.last_used_at for one in used] == [NOW + DAY]
    assert reason(ask(accounts, Secret(f"Bearer {secret.reveal()}"), NOW + 2 * DAY))
    assert accounts.end_token(token, app_token.token_id, NOW)
    assert not accounts.end_token(token, app_token.token_id, NOW)
    assert reason(ask(accounts, Secret(f"Bearer {secret.reveal()}"))) is Refusal.WRONG


def test_nobody_ends_anothers_token(store: Store, accounts: Accounts) -> None:
    for name in ("An", "Bo"):
        join(store, accounts, name)
    made = accounts.add_token(signed_in(accounts, "An").token, "Home", NOW)
    assert not isinstance(made, Refused)
    assert not accounts.end_token(signed_in(accounts, "Bo").token, made[0].token_id, NOW)
    assert not isinstance(ask(accounts, Secret(f"Bearer {made[1].reveal()}")), Refused)


def test_a_partners_token_sees_as_far_as_the_session_that_made_it(
    store: Store, accounts: Accounts
) -> None:
    person_id = join(store, accounts)
    weak = accounts.add_token(signed_in(accounts).token, "before", NOW)
    store.people.give_portal_role(person_id, PortalRole.ADMINISTRATOR, NOW)
    _, found = enrolled(accounts, signed_in(accounts).token)
    strong = accounts.add_token(found.signed_in.token, "after", NOW)
    assert not isinstance(weak, Refused)
    assert not isinstance(strong, Refused)
    access = store.people.access("x", NOW) or store.people.access(person_id, NOW)
    assert access is not None
    seen = []
    for made in (weak, strong):
        identity = ask(accounts, Secret(f"Bearer {made[1].reveal()}"))
        assert not isinstance(identity, Refused)
        seen.append(identity.actor.has_second_factor)
        assert not may(identity.actor, Action.DISABLE_ACCOUNT, access)
    assert seen == [False, True]


class CountingHasher(Hasher):
    """Counts how often a password is compared."""

    compared = 0

    def matches(self, password: Secret, password_hash: str | None) -> bool:
        """Counts, and compares."""
        self.compared += 1
        return super().matches(password, password_hash)


def test_polling_compares_the_password_once(sqlite_store: Store) -> None:
    store = sqlite_store
    hasher = CountingHasher(CHEAP)
    accounts = Accounts(store, KEY, hasher=hasher)
    person_id = join(store, accounts)
    header, now = basic("an@example.org", PASSWORD), NOW
    for _ in range(100):
        assert not isinstance(ask(accounts, header, now), Refused)
        now += 5 * MINUTE
    assert hasher.compared == 1
    assert not isinstance(ask(accounts, header, now + timedelta(hours=1)), Refused)
    assert hasher.compared == 2
    for _ in range(200):
        now += 5 * MINUTE
        ask(accounts, header, now + timedelta(hours=1))
    assert hasher.compared == 3
    store.accounts.set_password(person_id, hasher.hash(Secret("a new good password")), now)
    assert reason(ask(accounts, header, now)) is Refusal.WRONG
    assert hasher.compared == 4


def test_a_wrong_password_is_never_remembered_as_right(small: tuple[Store, Accounts]) -> None:
    store, accounts = small
    join(store, accounts)
    right, wrong = basic("an@example.org", PASSWORD), basic("an@example.org", PASSWORD + "x")
    assert not isinstance(ask(accounts, right), Refused)
    assert reason(ask(accounts, wrong)) is Refusal.WRONG
    assert not isinstance(ask(accounts, right), Refused)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_password_with_accents_works_in_either_encoding(
    encoding: str, small: tuple[Store, Accounts]
) -> None:
    store, accounts = small
    join(store, accounts, password="café crème brûlée")  # noqa: S106
    header = basic("an@example.org", "café crème brûlée", encoding)
    assert not isinstance(ask(accounts, header), Refused)


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic ", "Basic !!!!", "Basic YWJj", "Bearer ", "Digest x", "Bearer aut_x",
     "Basic " + "QUFB" * 10_000, "basic " + base64.b64encode(b":").decode(), "Basic é", "\udcff x",
     "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
     "Basic " + base64.b64encode(b"a@x.nl:\0\0").decode()],
)  # fmt: skip
def test_nonsense_in_the_header_is_refused_calmly(
    header: str, small: tuple[Store, Accounts]
) -> None:
    assert reason(ask(small[1], Secret(header))) is Refusal.WRONG


def test_wrong_tries_must_wait_longer_and_longer(store: Store, accounts: Accounts) -> None:
    join(store, accounts)
    now, waits = NOW, []
    for _ in range(15):
        found = sign_in(accounts, password="wrong", now=now)  # noqa: S106
        assert isinstance(found, Refused)
        if found.reason is Refusal.WAIT:
            assert found.retry_after_s is not None
            waits.append(found.retry_after_s)
            now += timedelta(seconds=found.retry_after_s)
    assert waits == [30, 60, 120, 240, 480]
    assert reason(sign_in(accounts, now=now)) is None
    assert reason(sign_in(accounts, password="wrong", now=now)) is Refusal.WRONG  # noqa: S106


def test_while_waiting_the_right_password_is_no_help(store: Store, accounts: Accounts) -> None:
    join(store, accounts)
    for _ in range(6):
        sign_in(accounts, password="wrong")  # noqa: S106
    assert reason(sign_in(accounts)) is Refusal.WAIT
    assert reason(sign_in(accounts, now=NOW + MINUTE)) is None


def test_nobody_locks_others_out_from_elsewhere(store: Store, accounts: Accounts) -> None:
    join(store, accounts)
    for _ in range(40):
        sign_in(accounts, password="wrong", address=ELSEWHERE)  # noqa: S106
    assert reason(sign_in(accounts, address=ELSEWHERE)) is Refusal.WAIT
    assert isinstance(sign_in(accounts, address=HOME), SignedIn)


def test_one_address_cannot_try_all_accounts(small: tuple[Store, Accounts]) -> None:
    store, accounts = small
    join(store, accounts)
    found = [reason(sign_in(accounts, f"p{number}", address=ELSEWHERE)) for number in range(60)]
    assert found[:50] == [Refusal.WRONG] * 50
    assert Refusal.WAIT in found[50:]
    assert reason(sign_in(accounts, address=ELSEWHERE)) is Refusal.WAIT
    assert reason(sign_in(accounts, address=HOME)) is None


def test_own_successes_do_not_buy_tries_at_others(small: tuple[Store, Accounts]) -> None:
    store, accounts = small
    join(store, accounts)
    for number in range(51):
        sign_in(accounts, f"p{number}", address=ELSEWHERE)
        sign_in(accounts, address=ELSEWHERE)
    assert reason(sign_in(accounts, "p99", address=ELSEWHERE)) is Refusal.WAIT


def test_addresses_of_one_ipv6_customer_count_as_one(small: tuple[Store, Accounts]) -> None:
    store, accounts = small
    join(store, accounts)
    for number in range(6):
        sign_in(accounts, password="wrong", address=f"2001:db8::{number}")  # noqa: S106
    assert reason(sign_in(accounts, address="2001:db8::ffff")) is Refusal.WAIT
    assert reason(sign_in(accounts, address="2001:db8:0:1::1")) is None


def test_tries_at_once_all_count(store: Store, accounts: Accounts) -> None:
    join(store, accounts)
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(sign_in(accounts, password="wrong")))  # noqa: S106
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reasons = [reason(one) for one in found]
    assert reasons.count(Refusal.WRONG) <= 6
    assert reasons.count(Refusal.WAIT) >= 6


def test_codes_cannot_be_tried_at_will(store: Store, accounts: Accounts) -> None:
    join(store, accounts)
    enrolled(accounts, signed_in(accounts).token)
    found = []
    for number in range(8):
        token = signed_in(accounts).token
        found.append(reason(accounts.give_code(token, Secret(f"00000{number}"), NOW)))
    assert found == [Refusal.WRONG] * 6 + [Refusal.WAIT] * 2


def test_unknown_and_known_accounts_look_and_cost_the_same(sqlite_store: Store) -> None:
    store = sqlite_store
    hasher = CountingHasher(CHEAP)
    accounts = Accounts(store, KEY, hasher=hasher)
    join(store, accounts, "known")
    join(store, accounts, "disabled")
    invited = store.people.add(name="I", email="invited@example.org", source=SELF, now=NOW)
    accounts.invite(invited.person_id, by=None, now=NOW)
    gone = store.people.by_email("disabled@example.org")
    assert gone is not None
    accounts.disable(gone.person_id, by="admin1", now=NOW)
    for name in ("known", "disabled", "invited", "nobody"):
        hasher.compared = 0
        password = PASSWORD if name == "disabled" else "wrong"
        seen = [sign_in(accounts, name, password) for _ in range(7)]
        assert hasher.compared == 6, name
        assert seen[:6] == [Refused(reason=Refusal.WRONG)] * 6
        assert seen[6] == Refused(reason=Refusal.WAIT, retry_after_s=30)


def test_a_weaker_hash_is_replaced_when_its_password_comes(small: tuple[Store, Accounts]) -> None:
    store, weak = small
    join(store, weak)
    before = store.accounts.credentials("an@example.org")
    stronger = Accounts(
        store, KEY, hasher=Hasher(Parameters(time_cost=2, memory_kib=16, parallelism=1))
    )
    assert isinstance(sign_in(stronger), SignedIn)
    after = store.accounts.credentials("an@example.org")
    assert before is not None
    assert after is not None
    assert after.password_hash != before.password_hash
    assert "t=2" in (after.password_hash or "")
    assert isinstance(sign_in(stronger), SignedIn)


def test_what_is_over_is_swept(store: Store, accounts: Accounts) -> None:
    person_id = join(store, accounts)
    signed_in(accounts)
    sign_in(accounts, password="wrong", address=ELSEWHERE)  # noqa: S106
    assert accounts.sweep(NOW + MINUTE) == 0
    assert accounts.sweep(NOW + 8 * DAY) >= 2
    assert store.sessions.sessions(person_id) == []


def test_everything_that_happens_to_an_account_is_in_the_log(
    store: Store, accounts: Accounts
) -> None:
    person_id = join(store, accounts)
    _, found = enrolled(accounts, signed_in(accounts).token)
    made = accounts.add_token(found.signed_in.token, "Home", NOW)
    assert not isinstance(made, Refused)
    accounts.end_token(found.signed_in.token, made[0].token_id, NOW)
    accounts.sign_out_everywhere(found.signed_in.token, NOW)
    accounts.reset_second_factor(person_id, by="support1", now=NOW)
    accounts.disable(person_id, by="admin1", now=NOW)
    logged = [one.entry for one in reversed(store.audit.of(subject=person_id))]
    assert [(one.action, one.actor) for one in logged] == [
        ("invite", "system:invite"),
        ("set_password", person_id),
        ("sign_in", person_id),
        ("set_second_factor", person_id),
        ("add_token", person_id),
        ("end_token", person_id),
        ("sign_out_everywhere", person_id),
        ("reset_second_factor", "support1"),
        ("disable_account", "admin1"),
    ]
    assert store.audit.verify() == []


CANARY = "Kanarie!gele.vogel42"


def test_nothing_secret_shows_in_logs_values_errors_or_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole life of an account; then everything that was said is searched for its secrets."""
    caplog.set_level(logging.DEBUG)
    secrets, shown = [CANARY, "vogel42"], []
    path = tmp_path / "portal.sqlite"

    def note(value: Any) -> Any:
        shown.append(f"{value!r} {value}")
        return value

    with open_store(str(path), migrate=True) as store:
        accounts = Accounts(store, KEY, hasher=Hasher(CHEAP))
        person = store.people.add(name="An", email="an@example.org", source=SELF, now=NOW)
        link = note(accounts.invite(person.person_id, by=None, now=NOW))
        secrets.append(link.reveal())
        note(accounts.accept(link, Secret(CANARY), NOW))
        signed = note(sign_in(accounts, password=CANARY))
        assert isinstance(signed, SignedIn)
        offered = note(accounts.enrol(signed.token, NOW))
        secrets += [signed.token.reveal(), offered.secret.reveal()]
        found = note(accounts.confirm(signed.token, code(offered.secret.reveal(), NOW), NOW))
        secrets += [one.reveal() for one in found.recovery_codes]
        made = note(accounts.add_token(found.signed_in.token, "Home", NOW))
        secrets += [made[1].reveal(), found.signed_in.token.reveal()]
        for header in (basic("an@example.org", CANARY), Secret(f"Bearer {made[1].reveal()}")):
            note(ask(accounts, header))
            secrets.append(header.reveal())
        note(sign_in(accounts, password=CANARY + "x"))
        note(store.accounts.credentials("an@example.org"))
        note(store.accounts.all())
        note(store.sessions.sessions(person.person_id))
        note(store.audit.of())
        for wrong in (
            lambda: accounts.accept(link, Secret(CANARY[:8]), NOW),
            lambda: accounts.accept(
                accounts.invite(person.person_id, by=None, now=NOW), Secret("an@example.org"), NOW
            ),
            lambda: accounts.enrol(found.signed_in.token, NOW),
            lambda: store.accounts.set_password(CANARY, CANARY, NOW),
            lambda: Hasher(CHEAP).matches(Secret(CANARY), CANARY),
        ):
            try:
                shown.append(repr(wrong()))
            except Exception as error:  # whatever it is, it must not tell
                shown.append("".join(traceback.format_exception(error)))
    said = "\n".join([*shown, caplog.text])
    assert "Running upgrade" in caplog.text
    assert "$argon2" not in said
    for secret in secrets:
        assert secret not in said
    stored = b"".join(one.read_bytes() for one in tmp_path.iterdir())
    for secret in secrets:
        assert secret.encode() not in stored


def test_a_flood_of_passwords_is_turned_away_and_counts_against_nobody(
    sqlite_store: Store,
) -> None:
    crowded = Parameters(time_cost=1, memory_kib=8, parallelism=1, at_once=1, waiting_max=0)
    hasher = CountingHasher(crowded)
    accounts = Accounts(sqlite_store, KEY, hasher=hasher)
    join(sqlite_store, accounts)
    hasher.compared = 0
    with hasher.place():
        tried = [sign_in(accounts) for _ in range(60)]
    assert tried == [Refused(reason=Refusal.WAIT, retry_after_s=5)] * 60
    assert hasher.compared == 0
    assert isinstance(sign_in(accounts), SignedIn)


def test_the_secret_of_a_second_factor_is_sealed_for_its_account(
    small: tuple[Store, Accounts],
) -> None:
    store, accounts = small
    person_id = join(store, accounts)
    secret, found = enrolled(accounts, signed_in(accounts).token)
    assert isinstance(found, Enrolled)
    stored = store.second_factors.totp_secrets()[person_id]
    assert is_sealed(stored)
    assert secret not in stored
    key = derived(KEY, SEAL_PURPOSE)
    assert unseal(key, stored, of=person_id) == Secret(secret)
    with pytest.raises(SealError, match=r"portal/secret\.key"):
        unseal(key, stored, of="somebody else")
    with pytest.raises(SealError, match=r"portal/secret\.key"):
        unseal(derived(bytes(32), SEAL_PURPOSE), stored, of=person_id)
    with pytest.raises(SealError, match=r"portal/secret\.key"):
        unseal(key, stored[:-8] + "AAAAAAA=", of=person_id)
    with pytest.raises(SealError, match="not sealed"):
        unseal(key, secret, of=person_id)


def test_secrets_of_an_older_version_are_sealed_and_go_on_working(
    small: tuple[Store, Accounts],
) -> None:
    store, accounts = small
    person_id = join(store, accounts)
    secret, _ = enrolled(accounts, signed_in(accounts).token)
    sealed = store.second_factors.totp_secrets()[person_id]
    assert accounts.seal_second_factors() == 0
    assert store.second_factors.replace_secret(person_id, sealed, secret)

    assert accounts.seal_second_factors() == 1

    assert is_sealed(store.second_factors.totp_secrets()[person_id])
    later = NOW + 10 * MINUTE
    token = signed_in(accounts, now=later).token
    assert isinstance(accounts.give_code(token, code(secret, later), later), SignedIn)
    other = Accounts(store, bytes(32), hasher=Hasher(CHEAP))
    with pytest.raises(SealError):
        other.seal_second_factors()
