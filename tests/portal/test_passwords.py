"""Good passwords pass, what everybody guesses does not, and secrets stay secret."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autarco_portal import second_factor, secret, signed_link, throttle, verified
from autarco_portal.passwords import Busy, Hasher, Parameters, PasswordError, check_password
from autarco_portal.people import Organisation, OrganisationKind, PeopleError, below, normal_email
from autarco_portal.secret import Secret, SecretKeyError
from autarco_portal.throttle import Throttle

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
KEY = bytes(range(32))
CHEAP = Parameters(time_cost=1, memory_kib=8, parallelism=1)


def check(password: str) -> None:
    check_password(Secret(password), email="an.jansen@example.org", name="An Jansen-de Vries")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "Zonnepaneel-op-het-dak",
        "x7#kQ9!mLp2&",
        "jansen likes mountains",
        "пароль из слов",
        "日本語のとても長い合言葉です",
    ],
)
def test_good_passwords_pass(password: str) -> None:
    check(password)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("elevenchars", "at least 12"),
        ("x" * 257, "at most 256"),
        ("aaaaaaaaaaaaaaaa", "different characters"),
        ("abababababab", "different characters"),
        ("aB1!aB1!aB1!aB1!", "different characters"),
        ("abcdefghijklmnop", "a row"),
        ("zyxwvutsrqponmlk", "a row"),
        ("qwertyuiopasdf", "a row"),
        ("1234567890123", "a row"),
        ("1qaz2wsx3edc4rfv", "a row"),
        ("an.jansen@example.org", "one's own name"),
        ("AnJansenDeVries", "one's own name"),
        ("jansen-example-1", "one's own name"),
        ("", "at least 12"),
    ],
)
def test_what_is_guessed_first_is_refused_and_not_repeated(password: str, why: str) -> None:
    with pytest.raises(PasswordError) as raised:
        check(password)
    assert why in str(raised.value)
    assert not password or password not in str(raised.value)


def test_a_password_matches_however_its_accents_are_composed() -> None:
    hasher = Hasher(CHEAP)
    stored = hasher.hash(Secret("cre\u0300me bru\u0302le\u0301e!"))
    assert stored.startswith("$argon2id$")
    assert hasher.matches(Secret("crème brûlée!"), stored)
    assert not hasher.matches(Secret("creme brulee!"), stored)
    assert not hasher.matches(Secret("nobody's password"), None)
    assert not hasher.is_outdated(stored)
    assert Hasher(Parameters(time_cost=2, memory_kib=8, parallelism=1)).is_outdated(stored)


def test_the_cost_of_a_guess_is_no_less_than_the_standards_second_choice() -> None:
    found = Hasher().hash(Secret("x"))
    assert "$m=65536,t=3,p=4$" in found


def test_a_secret_shows_itself_to_nobody() -> None:
    one = Secret("canary")
    for shown in (repr(one), str(one), f"{one}", f"{[one]}", f"{one:}"):
        assert "canary" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(one)
    with pytest.raises(TypeError):
        msgspec.json.encode(one)
    with pytest.raises(TypeError):
        hash(one)
    assert one == Secret("canary")
    assert one != Secret("other")
    assert one != "canary"


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    key = secret.load_key(path)
    assert secret.load_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret.derived(key, "a") != secret.derived(key, "b")
    path.chmod(0o640)
    with pytest.raises(SecretKeyError, match="mode to 600"):
        secret.load_key(path)
    path.chmod(0o600)
    path.write_bytes(key[:-1])
    with pytest.raises(SecretKeyError, match="31 bytes"):
        secret.load_key(path)
    with pytest.raises(SecretKeyError, match="cannot make"):
        secret.load_key(tmp_path / "no" / "secret.key")


def test_codes_are_those_of_the_standard() -> None:
    """RFC 6238, appendix B, SHA-1, the last six of its eight digits."""
    shared = Secret("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
    for seconds, code in ((59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")):
        at = datetime.fromtimestamp(seconds, UTC)
        assert second_factor.step_of(shared, Secret(code), at) == seconds // 30


def test_an_authenticator_understands_the_uri() -> None:
    shared = second_factor.new_secret()
    uri = second_factor.uri(shared, email="an@example.org", issuer="Autarco").reveal()
    parsed = pyotp.parse_uri(uri)
    assert isinstance(parsed, pyotp.TOTP)
    assert (parsed.secret, parsed.issuer) == (shared.reveal(), "Autarco")


@given(st.text(max_size=80))
def test_no_text_is_a_link_by_accident(text: str) -> None:
    assert signed_link.read(KEY, Secret(text), NOW) is None


def test_a_link_is_read_with_its_key_and_in_its_time() -> None:
    link = signed_link.sign(KEY, "abc123", NOW + timedelta(hours=1))
    assert signed_link.read(KEY, link, NOW) == "abc123"
    assert signed_link.read(KEY, link, NOW + timedelta(hours=1)) is None
    assert signed_link.read(bytes(32), link, NOW) is None
    for index in range(len(link.reveal())):
        text = list(link.reveal())
        text[index] = "0" if text[index] != "0" else "1"
        assert signed_link.read(KEY, Secret("".join(text)), NOW) is None


@given(st.lists(st.tuples(st.integers(0, 7_200), st.booleans()), max_size=60))
def test_whoever_fails_never_gets_more_tries_than_promised(
    tries: list[tuple[int, bool]],
) -> None:
    state, at, judged = Throttle(), NOW, []
    for seconds, _ in tries:
        at += timedelta(seconds=seconds)
        found = throttle.attempt(state, at, throttle.PAIR)
        if isinstance(found, Throttle):
            state = found
            judged.append(at)
        else:
            assert timedelta(0) < found <= throttle.PAIR.longest_wait
    # After the free ones at least the first wait lies between two.
    gaps = [later - earlier for earlier, later in pairwise(judged[5:])]
    assert all(gap >= throttle.PAIR.first_wait for gap in gaps)


def test_failures_are_forgotten_after_a_day() -> None:
    state = Throttle()
    for number in range(10):
        found = throttle.attempt(state, NOW + timedelta(hours=2 * number), throttle.PAIR)
        assert isinstance(found, Throttle)
        state = found
    found = throttle.attempt(state, NOW + timedelta(hours=18 + 24), throttle.PAIR)
    assert isinstance(found, Throttle)
    assert found.failures == 1
    assert found.blocked_until is None


@pytest.mark.parametrize(
    ("address", "counted", "kept"),
    [
        ("203.0.113.77", "203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("fe80::1:2%eth0", "fe80::/64", "fe80::/48"),
        ("", "unknown", "unknown"),
        ("/run/portal.sock", "unknown", "unknown"),
    ],
)
def test_addresses_are_counted_by_customer_and_kept_cut(
    address: str, counted: str, kept: str
) -> None:
    assert throttle.network_of(address) == counted
    assert throttle.truncated(address) == kept


def test_the_memory_of_credentials_is_bounded_and_keeps_none() -> None:
    memory = verified.VerifiedCredentials(entries_max=3)
    for number in range(5):
        memory.put(Secret(f"Basic {number}"), f"p{number}", 0, NOW)
    kept = [memory.get(Secret(f"Basic {number}"), NOW) for number in range(5)]
    assert [one is not None for one in kept] == [False, False, True, True, True]
    assert not any("Basic" in repr(one) for one in vars(memory).values())


@pytest.mark.parametrize("email", ["a", "a@b", "a@@b.nl", "a b@c.nl", "a@b.nl,c@d.nl", "<a@b.nl>",
                                   "a" * 250 + "@b.nl", "", "a@b.nl\nBcc: c@d.nl"])  # fmt: skip
def test_what_is_no_address_is_refused_and_not_repeated(email: str) -> None:
    with pytest.raises(PeopleError) as raised:
        normal_email(email)
    assert str(raised.value) == "that is no e-mail address"


def test_organisations_below_are_found_at_any_depth() -> None:
    def one(name: str, parent: str | None) -> Organisation:
        return Organisation(
            organisation_id=name, name=name, kind=OrganisationKind.RESELLER, parent=parent,
            created_at=NOW,
        )  # fmt: skip

    tree = [one("a", None), one("b", "a"), one("c", "b"), one("d", None)]
    assert below(tree, ["a"]) == {"b", "c"}
    assert below(tree, ["a", "b"]) == {"b", "c"}
    assert below(tree, ["c", "d"]) == frozenset()
    with pytest.raises(PeopleError, match="by a detour"):
        below([one("a", "c"), one("b", "a"), one("c", "b")], ["a"])


def test_who_comes_when_too_many_wait_is_turned_away_at_once() -> None:
    cheap = msgspec.structs.replace(CHEAP, at_once=1, waiting_max=1)
    hasher = Hasher(cheap)
    with hasher.place(), hasher.place(), pytest.raises(Busy), hasher.place():
        pytest.fail("there was a place")
    with hasher.place():
        assert not hasher.matches(Secret("x"), None)
