"""What is remembered of people and sites saves reading, and keeps no right that was taken away."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from litestar.testing import TestClient

from autarco_portal.audit import AuditEntry
from autarco_portal.remembered import BELIEVED, Believed, Remembered
from autarco_portal.secret import Secret
from autarco_portal.serve_app import assemble
from autarco_portal.store import Store, open_store
from autarco_portal.throttle import PAIR
from portal_world import BATTERY, EMPTY, FOREIGN, HYBRID, NORTH, World, email, password
from statement_count import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from litestar import Litestar

AT = datetime(2026, 11, 29, 8, tzinfo=UTC)
MOMENT = timedelta(milliseconds=1)
WITHIN = timedelta(seconds=5)
"""How soon docs/accounts.md promises that a right is gone which another process took away."""


@pytest.fixture
def client(world: World) -> Iterator[TestClient[Litestar]]:
    with TestClient(assemble(world.portal, world.accounts)) as client:
        yield client


@pytest.fixture
def elsewhere(world: World) -> Iterator[Store]:
    """The same database, as another process has it."""
    with open_store(world.portal.settings.store_url) as store:
        yield store


@pytest.fixture
def at(world: World) -> Iterator[Callable[[timedelta], None]]:
    """Sets the portal's clock, by what has gone by."""
    began = world.now

    def later(gone_by: timedelta) -> None:
        world.now = began + gone_by

    yield later
    world.now = began


def status(client: TestClient[Litestar], path: str, headers: dict[str, str]) -> int:
    return client.get(f"/api/site/{path}/kpis/power", headers=headers).status_code


def test_what_was_read_is_believed_for_seconds() -> None:
    known: Believed[str, str] = Believed(10, lambda: 1)
    assert known.get("a", AT) is None
    known.put("a", "value", AT, 1)
    assert known.get("a", AT) == known.get("a", AT + BELIEVED - MOMENT) == "value"
    assert known.get("a", AT + BELIEVED) is None
    # A clock that was set back does not make it last.
    assert known.get("a", AT - MOMENT) is None
    assert BELIEVED < WITHIN


def test_a_change_while_something_was_read_makes_it_old_at_once() -> None:
    revision = 1
    known: Believed[str, str] = Believed(10, lambda: revision)
    before = revision
    revision += 1
    known.put("a", "read before the change", AT, before)
    assert known.get("a", AT) is None
    known.put("a", "read after it", AT, revision)
    assert known.get("a", AT) == "read after it"
    revision += 1
    assert known.get("a", AT) is None


def test_the_oldest_is_forgotten_first() -> None:
    known: Remembered[int, int] = Remembered(2)
    for key in (1, 2, 1, 3):
        known.put(key, key)
    assert (known.get(1), known.get(2), known.get(3)) == (1, None, 3)


def test_threads_may_change_a_store_at_once_and_each_change_counts(sqlite_store: Store) -> None:
    began = sqlite_store.revision

    def change() -> None:
        for _ in range(5):
            sqlite_store.sessions.sweep(AT, AT)

    threads = [threading.Thread(target=change) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sqlite_store.revision == began + 20


def test_notes_are_no_changes_and_what_failed_may_be_one(sqlite_store: Store) -> None:
    began = sqlite_store.revision
    sqlite_store.throttles.attempt("a" * 64, AT, PAIR)
    sqlite_store.audit.append(AuditEntry(at=AT, actor="a", action="view_site", thing="site:a"))
    sqlite_store.sessions.token_used("a", AT)
    assert sqlite_store.revision == began
    with pytest.raises(Exception, match="no such"):
        sqlite_store.accounts.disable("nobody", AT)
    assert sqlite_store.revision == began + 1


def test_a_second_request_asks_the_database_nothing(
    world: World, client: TestClient[Litestar]
) -> None:
    header = world.header("owner")
    assert status(client, HYBRID, header) == 200
    assert statements(world.store, lambda: status(client, HYBRID, header)) == 0


def test_a_grant_that_ends_here_ends_at_once(world: World, client: TestClient[Litestar]) -> None:
    header = world.header("guest")
    assert status(client, EMPTY, header) == 200
    record = world.store.sites.record(EMPTY)
    assert record is not None
    (grant,) = record.grants
    assert world.store.sites.end_grant(EMPTY, grant.grant_id, world.now)
    assert status(client, EMPTY, header) == 404


def test_a_token_a_password_and_a_role_that_end_here_end_at_once(
    world: World, client: TestClient[Litestar]
) -> None:
    installer = world.header("installer")
    assert status(client, NORTH, installer) == 200
    (token,) = world.store.sessions.tokens(world.ids["installer"])
    assert world.store.sessions.end_token(world.ids["installer"], token.token_id)
    assert status(client, NORTH, installer) == 401

    reseller = world.header("reseller")
    assert status(client, NORTH, reseller) == 200
    person, organisation = world.ids["reseller"], world.organisations["reseller"]
    world.store.people.leave(person, organisation, world.now)
    assert status(client, NORTH, reseller) == 404

    stranger = world.header("stranger")
    assert status(client, FOREIGN, stranger) == 200
    world.accounts.disable(world.ids["stranger"], by="test", now=world.now)
    assert status(client, FOREIGN, stranger) == 401


def test_what_another_process_takes_away_is_gone_within_five_seconds(
    world: World,
    client: TestClient[Litestar],
    elsewhere: Store,
    at: Callable[[timedelta], None],
) -> None:
    guest, owner, support = (
        world.header("guest"),
        world.header("owner"),
        world.header("maintenance"),
    )
    assert [status(client, NORTH, one) for one in (guest, owner, support)] == [200, 200, 200]
    record = elsewhere.sites.record(NORTH)
    assert record is not None
    elsewhere.sites.end_grant(NORTH, record.grants[0].grant_id, world.now)
    elsewhere.accounts.disable(world.ids["owner"], world.now)
    (token,) = elsewhere.sessions.tokens(world.ids["maintenance"])
    elsewhere.sessions.end_token(world.ids["maintenance"], token.token_id)
    at(WITHIN)
    assert [status(client, NORTH, one) for one in (guest, owner, support)] == [404, 401, 401]


def test_a_token_is_not_believed_beyond_its_end(
    world: World, client: TestClient[Litestar], at: Callable[[timedelta], None]
) -> None:
    _, secret = world.accounts.api.add_token(
        world.ids["distributor"],
        "short",
        has_second_factor=True,
        now=world.now,
        expires_at=world.now + timedelta(seconds=1),
    )
    header = {"Authorization": f"Bearer {secret.reveal()}"}
    assert status(client, NORTH, header) == 200
    at(timedelta(seconds=1))
    assert status(client, NORTH, header) == 401


def test_who_is_remembered_acts_at_the_moment_of_his_request(world: World) -> None:
    header = Secret(world.header("administrator")["Authorization"])
    api, now = world.accounts.api, world.now
    first = api.authenticate(header, address="127.0.0.1", now=now)
    again = api.authenticate(header, address="127.0.0.1", now=now + timedelta(seconds=1))
    assert (first.actor.at, again.actor.at) == (now, now + timedelta(seconds=1))  # type: ignore[union-attr]
    wrong = Secret(world.header("administrator", password("administrator"))["Authorization"])
    assert api.known(wrong, now) is None
    assert email("administrator") not in repr(api.__dict__)


def test_a_site_is_read_the_same_with_and_without_objects(world: World) -> None:
    by_objects = {one.public_key: one for one in world.store.sites.records()}
    assert by_objects
    for key, record in by_objects.items():
        assert world.store.sites.record(key) == record
    assert world.store.sites.record("nowhere0") is None


def test_each_inverter_of_the_fleet_is_placed_by_one_statement(world: World) -> None:
    expected = [
        (one.serial_number, site.time_zone, one.pac0)
        for site in world.store.sites.records()
        for one in site.inverters
    ]
    assert sorted(world.store.sites.placed()) == sorted(expected)
    assert BATTERY in {serial for serial, _, _ in expected}
    assert statements(world.store, world.store.sites.placed) == 2  # BEGIN is one.
