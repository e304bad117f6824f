"""The store keeps what it is given, on SQLite and on PostgreSQL, and refuses what cannot be."""

from __future__ import annotations

import random
import sqlite3
import threading
import traceback
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, event

from autarco_portal.people import (
    SELF,
    Actor,
    MemberRole,
    OrganisationKind,
    PeopleError,
    PortalRole,
    SiteOwner,
    SiteRole,
    Source,
    SourceKind,
)
from autarco_portal.rights import Action, may
from autarco_portal.site import Inverter, RoofPlane, SiteError
from autarco_portal.site_record import Address, NewSite, SiteRecord
from autarco_portal.store import Store, StoreError, StoreUnavailable, migrate, open_store
from autarco_portal.store.declarative import Base
from autarco_portal.store.engine import make_engine, writing
from autarco_portal.store.tables import PersonRow, SiteRow
from test_store_records import CONTRACT

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PLANE = RoofPlane(
    name="south",
    surface_tilt=38,
    surface_azimuth=165,
    modules=14,
    pdc0=5740,
    horizon=((90, 5), (180, 2)),
    shading=tuple(tuple(0.1 * (hour == 9) for hour in range(24)) for _ in range(12)),
    module_type="S1.MHJ410B",
)
INVERTER = Inverter(
    serial_number="26010007A1B2C3",
    pac0=8200,
    installed_at=datetime(2024, 4, 9, 13, 2, 55, 123456, tzinfo=UTC),
    mppt_planes=("south", None),
    variant_code="S2.LH10000-MII.1",
    logger_sn=4_294_967_295,
)
NEW = NewSite(
    name="Teststraat 12",
    address=Address(street="Teststraat 12", postcode="3511 ZZ", city="Utrecht"),
    latitude=52.09,
    longitude=5.12,
    altitude=4.0,
    commissioned_on=date(2024, 4, 9),
    planes=(PLANE,),
    inverters=(INVERTER,),
    has_battery=True,
)


def new(**changes: Any) -> NewSite:
    return msgspec.structs.replace(NEW, **changes)


def person(store: Store, name: str = "An") -> str:
    return store.people.add(name=name, email=f"{name}@example.org", source=SELF, now=NOW).person_id


def installer(store: Store, **more: Any) -> str:
    values = {"name": "Zon", "kind": OrganisationKind.INSTALLER, "now": NOW, **more}
    return store.organisations.add(**values).organisation_id


def plain_site(store: Store, name: str = "A") -> SiteRecord:
    return store.sites.add(new(name=name, inverters=()), NOW)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_models_and_migrations_agree(kind: str, request: pytest.FixtureRequest) -> None:
    engine = make_engine(request.getfixturevalue(f"{kind}_url"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_a_changed_model_is_noticed(sqlite_url: str) -> None:
    engine = make_engine(sqlite_url)
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("ALTER TABLE people DROP COLUMN phone")
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert [change[0] for change in compare_metadata(context, Base.metadata)] == ["add_column"]
    engine.dispose()


def test_migrating_twice_changes_nothing(tmp_path: Path, empty_postgresql_url: str) -> None:
    for url in (str(tmp_path / "a.sqlite"), empty_postgresql_url):
        before, after = migrate(url)
        assert before is None
        assert migrate(url) == (after, after)
        open_store(url).close()


def test_programs_that_migrate_at_once_wait_for_one_another(
    tmp_path: Path, empty_postgresql_url: str
) -> None:
    for url in (str(tmp_path / "a.sqlite"), empty_postgresql_url):
        seen: list[str | None] = []
        threads = [threading.Thread(target=_migrate, args=(url, seen)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen, key=str) == sorted([None, *[migrate(url)[0]] * 3], key=str)


def _migrate(url: str, seen: list[str | None]) -> None:
    seen.append(migrate(url)[0])


def test_a_database_of_another_version_is_refused_in_a_sentence(tmp_path: Path) -> None:
    url = str(tmp_path / "a.sqlite")
    with pytest.raises(StoreError, match="no tables yet, run `autarco-portal migrate`"):
        open_store(url)
    migrate(url)
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    for wanted in (False, True):
        with pytest.raises(StoreError, match="9999, which a newer program made"):
            open_store(url, migrate=wanted)


@pytest.mark.parametrize(
    "url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:", "://", "postgresql://h:port/x"]
)
def test_what_is_no_database_is_refused(url: str) -> None:
    with pytest.raises(StoreError):
        make_engine(url)


def test_a_database_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    for url in (f"{tmp_path}/no/such/a.sqlite", f"postgresql://portal@/x?host={tmp_path}"):
        with pytest.raises(StoreError, match="is not there, or does not let"):
            open_store(url)


def test_sqlite_is_set_up_as_promised(sqlite_url: str) -> None:
    engine = make_engine(sqlite_url)
    with engine.connect() as connection:
        for pragma, value in (
            ("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 2), ("secure_delete", 1),
            ("busy_timeout", 10_000),
        ):  # fmt: skip
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    engine.dispose()


def test_a_site_comes_back_as_it_was_given(store: Store) -> None:
    owner, partner = person(store), installer(store)
    role = SiteRole(organisation_id=partner, kind=OrganisationKind.INSTALLER, from_at=NOW)
    given = new(roles=(role,), owners=(SiteOwner(person_id=owner, from_at=NOW),))
    record = store.sites.add(given, NOW)
    assert store.sites.record(record.public_key) == record
    assert store.sites.by_number(record.number) == record
    assert store.sites.by_inverter(INVERTER.serial_number) == record
    for name in ("name", "address", "latitude", "planes", "inverters", "roles", "owners"):
        assert getattr(record, name) == getattr(given, name)
    assert record.address_sources["street"].kind is SourceKind.PARTNER
    assert store.sites.get(record.public_key) == record.site
    assert record.site.site_id == record.public_key
    assert list(store.sites.all()) == [record.site]
    assert store.sites.access(record.public_key) == record.access


def test_unknown_things_are_none(store: Store) -> None:
    assert store.sites.get("aaaaaaaa") is None
    assert store.sites.record("aaaaaaaa") is None
    assert store.sites.access("aaaaaaaa") is None
    assert store.people.get("x") is None
    assert store.people.by_email("no address") is None
    assert store.people.actor("x", NOW) is None
    assert store.organisations.get("x") is None


def test_a_site_that_is_being_set_up_is_none_for_the_rules(store: Store) -> None:
    record = store.sites.add(new(planes=(), inverters=(), commissioned_on=None), NOW)
    assert store.sites.get(record.public_key) is None
    assert list(store.sites.all()) == []
    assert [one.number for one in store.sites.records()] == [record.number]
    store.sites.set_planes(record.public_key, [PLANE], NOW)
    store.sites.change(record.public_key, {"commissioned_on": date(2024, 4, 9)}, SELF, NOW)
    assert store.sites.get(record.public_key) is not None


def test_numbers_of_sites_are_never_used_again(store: Store) -> None:
    first, second = plain_site(store, "A"), plain_site(store, "B")
    with writing(store._engine) as session:
        session.execute(delete(SiteRow).where(SiteRow.number == second.number))
    third = plain_site(store, "C")
    assert first.number < second.number < third.number


def test_a_key_can_be_given_and_is_taken_once(store: Store) -> None:
    given = new(public_key="k7m2q9xd", inverters=())
    assert store.sites.add(given, NOW).public_key == "k7m2q9xd"
    with pytest.raises(StoreError, match="taken"):
        store.sites.add(given, NOW)


def test_an_inverter_hangs_in_one_place_at_a_time(store: Store) -> None:
    first, second = store.sites.add(NEW, NOW), plain_site(store)
    with pytest.raises(StoreError, match="hangs elsewhere"):
        store.sites.install(second.public_key, INVERTER, NOW)
    with pytest.raises(StoreError, match="hangs elsewhere"):
        store.sites.add(NEW, NOW)
    serial = INVERTER.serial_number
    with pytest.raises(StoreError, match="after it came"):
        store.sites.uninstall(first.public_key, serial, INVERTER.installed_at - DAY, NOW)
    gone = store.sites.uninstall(first.public_key, serial, NOW, NOW)
    assert [one.uninstalled_at for one in gone.inverters] == [NOW]
    moved = store.sites.install(
        second.public_key, msgspec.structs.replace(INVERTER, installed_at=NOW), NOW
    )
    found = store.sites.by_inverter(serial)
    assert found is not None
    assert found.number == moved.number
    with pytest.raises(StoreError, match="no such inverter"):
        store.sites.uninstall(first.public_key, serial, NOW, NOW)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"latitude": 91.0}, SiteError),
        ({"time_zone": "Europe/Utrecht"}, SiteError),
        ({"country": "nl"}, SiteError),
        ({"city": " "}, PeopleError),
        ({"number": 4}, SiteError),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(
    store: Store, changes: dict[str, Any], error: type[Exception]
) -> None:
    record = store.sites.add(NEW, NOW)
    with pytest.raises(error):
        store.sites.change(record.public_key, {"name": "B", **changes}, SELF, NOW + DAY)
    assert store.sites.record(record.public_key) == record


def test_a_plane_that_an_inverter_hangs_on_stays(store: Store) -> None:
    record = store.sites.add(NEW, NOW)
    other = msgspec.structs.replace(PLANE, name="east")
    with pytest.raises(SiteError, match="no plane named"):
        store.sites.set_planes(record.public_key, [other], NOW)
    changed = store.sites.set_planes(record.public_key, [other, PLANE], NOW)
    assert [plane.name for plane in changed.planes] == ["east", "south"]


def test_every_attribute_tells_its_source_and_what_it_was(store: Store) -> None:
    partner = installer(store)
    by_partner = Source(kind=SourceKind.PARTNER, organisation_id=partner)
    one = store.people.add(
        name="An", email="An.Jansen@Example.ORG ", phone="+31 6 1234", source=by_partner, now=NOW
    )
    assert one.email == "an.jansen@example.org"
    assert set(one.sources.values()) == {by_partner}
    changed = store.people.change(one.person_id, {"name": "Anna", "phone": None}, SELF, NOW + DAY)
    assert changed.sources == {"name": SELF, "email": by_partner, "language": by_partner}
    assert store.people.get(one.person_id) == changed
    names = [x for x in store.people.history(one.person_id) if x.attribute == "name"]
    assert [(x.value, x.source, x.from_at, x.until) for x in names] == [
        ("An", by_partner, NOW, NOW + DAY),
        ("Anna", SELF, NOW + DAY, None),
    ]


def test_the_old_address_stays_in_the_history(store: Store) -> None:
    record = store.sites.add(NEW, NOW)
    store.sites.change(record.public_key, {"street": "Nieuwstraat 1"}, SELF, NOW + DAY)
    streets = [
        (one.value, one.source.kind, one.until)
        for one in store.sites.address_history(record.public_key)
        if one.attribute == "street"
    ]
    assert streets == [
        ("Teststraat 12", SourceKind.PARTNER, NOW + DAY),
        ("Nieuwstraat 1", SourceKind.SELF, None),
    ]


def test_an_email_is_one_persons_in_any_spelling(store: Store) -> None:
    first, second = person(store, "An"), person(store, "Bo")
    with pytest.raises(StoreError, match="that e-mail address") as raised:
        store.people.add(name="X", email="AN@example.org", source=SELF, now=NOW)
    assert "example.org" not in str(raised.value)
    with pytest.raises(StoreError, match="that e-mail address"):
        store.people.change(second, {"email": "an@Example.org"}, SELF, NOW)
    found = store.people.by_email(" aN@example.org")
    assert found is not None
    assert found.person_id == first


@pytest.mark.parametrize(
    "changes",
    [{"email": "nobody"}, {"name": ""}, {"phone": "call me"}, {"language": "fr"}, {"age": "4"},
     {"name": None}, {"email": None}],
)  # fmt: skip
def test_nobody_becomes_what_nobody_is(store: Store, changes: dict[str, str | None]) -> None:
    one = person(store)
    before = store.people.get(one)
    with pytest.raises(PeopleError):
        store.people.change(one, {"phone": "+31 6 1234", **changes}, SELF, NOW)
    assert store.people.get(one) == before


def test_text_that_like_would_interpret_is_found_as_it_is(store: Store) -> None:
    percent = store.people.add(name="100%_\\", email="a@x.nl", source=SELF, now=NOW)
    store.people.add(name="1000", email="b@x.nl", source=SELF, now=NOW)
    for text in ("0%", "%_", "_\\", "\\"):
        assert store.people.find(text) == [percent]
    assert len(store.people.find("X.NL")) == 2


def test_organisations_form_a_tree(store: Store) -> None:
    top = installer(store, kind=OrganisationKind.DISTRIBUTOR)
    middle = installer(store, parent=top)
    bottom = installer(store, parent=middle)
    root = store.organisations.get(top)
    assert root is not None
    for parent in (bottom, middle, top):
        with pytest.raises(PeopleError, match=r"belongs? to itself"):
            store.organisations.change(msgspec.structs.replace(root, parent=parent))
    with pytest.raises(StoreError, match="no such organisation"):
        installer(store, parent="nobody")
    one = person(store)
    store.people.join(one, middle, MemberRole.STAFF, NOW)
    actor = store.people.actor(one, NOW)
    assert actor is not None
    assert (actor.below, actor.managed_below) == (frozenset({bottom}), frozenset())
    store.people.join(one, middle, MemberRole.MANAGER, NOW)
    actor = store.people.actor(one, NOW)
    assert actor is not None
    assert actor.managed_below == {bottom}
    ended = store.organisations.get(middle)
    assert ended is not None
    store.organisations.change(msgspec.structs.replace(ended, ended_at=NOW + DAY))
    later = store.people.actor(one, NOW + DAY)
    assert later is not None
    assert not later.roles
    assert not later.below


def test_a_member_is_one_once_and_until_he_leaves(store: Store) -> None:
    one, partner = person(store), installer(store)
    store.people.join(one, partner, MemberRole.STAFF, NOW)
    store.people.join(one, partner, MemberRole.MANAGER, NOW + DAY)
    assert [(m.role, m.from_at, m.until) for m in store.people.memberships(one)] == [
        (MemberRole.STAFF, NOW, NOW + DAY),
        (MemberRole.MANAGER, NOW + DAY, None),
    ]
    assert [p.person_id for p, _ in store.people.members(partner, NOW + DAY)] == [one]
    assert store.people.leave(one, partner, NOW + 2 * DAY)
    assert not store.people.leave(one, partner, NOW + 2 * DAY)
    assert store.people.members(partner, NOW + 2 * DAY) == []
    access = store.people.access(one, NOW + DAY)
    assert access is not None
    assert access.organisations == {partner}


def test_grants_are_seen_given_and_ended(store: Store) -> None:
    record, owner, guest = plain_site(store), person(store, "An"), person(store, "Bo")
    store.sites.add_owner(record.public_key, owner, NOW)
    grant = store.sites.grant(
        record.public_key, person_id=guest, why="neighbour", given_by=owner, now=NOW
    )
    found = store.sites.record(record.public_key)
    assert found is not None
    assert found.grants == (grant,)
    visitor = store.people.actor(guest, NOW + DAY)
    assert visitor is not None
    assert may(visitor, Action.VIEW_SITE, found.access)
    assert not store.sites.end_grant(plain_site(store, "B").public_key, grant.grant_id, NOW)
    assert store.sites.end_grant(record.public_key, grant.grant_id, NOW + DAY)
    assert not store.sites.end_grant(record.public_key, grant.grant_id, NOW + DAY)
    access = store.sites.access(record.public_key)
    assert access is not None
    assert not may(visitor, Action.VIEW_SITE, access)
    with pytest.raises(PeopleError):
        store.sites.grant(record.public_key, why="x", given_by=owner, now=NOW)
    with pytest.raises(StoreError):
        store.sites.grant(record.public_key, person_id="x", why="x", given_by=owner, now=NOW)


def test_what_an_owner_gave_ends_when_he_sells(store: Store) -> None:
    record, owner, guest = plain_site(store), person(store, "An"), person(store, "Bo")
    store.sites.add_owner(record.public_key, owner, NOW)
    store.sites.grant(record.public_key, person_id=guest, why="son", given_by=owner, now=NOW)
    sold = store.sites.end_owner(record.public_key, owner, NOW + DAY)
    assert [one.until for one in sold.owners] == [NOW + DAY]
    assert [one.until for one in sold.grants] == [NOW + DAY]


def test_instants_are_utc_and_need_a_zone(store: Store) -> None:
    summer = timezone(timedelta(hours=2))
    local = datetime(2026, 7, 1, 14, 0, 0, 5, tzinfo=summer)
    one = store.people.add(name="An", email="a@x.nl", source=SELF, now=local)
    found = store.people.get(one.person_id)
    assert found is not None
    assert found.created_at == local
    assert found.created_at.utcoffset() == timedelta(0)
    with pytest.raises(Exception, match="expected a time with a zone"):
        installer(store, now=datetime(2026, 7, 1))


def worlds(store: Store, seed: int) -> tuple[list[Actor], list[SiteRecord]]:
    """Some people and sites in all relations that there are, at random."""
    draw = random.Random(seed)
    moments = [NOW - 2 * DAY, NOW - DAY, NOW, NOW + DAY]
    organisations: list[str] = []
    for _ in range(5):
        parent = draw.choice([None, *organisations])
        organisations.append(
            installer(store, kind=draw.choice(list(OrganisationKind)), parent=parent)
        )
    people = [person(store, f"p{number}") for number in range(8)]
    for one in people:
        for organisation in draw.sample(organisations, draw.choice([0, 0, 1, 2])):
            at = draw.choice(moments)
            store.people.join(one, organisation, draw.choice(list(MemberRole)), at)
            if draw.random() < 0.3:
                store.people.leave(one, organisation, draw.choice(moments))
        if draw.random() < 0.4:
            store.people.give_portal_role(one, draw.choice(list(PortalRole)), NOW)
    for number in range(12):
        key = plain_site(store, f"s{number}").public_key
        for _ in range(draw.choice([0, 1, 2])):
            owner, at = draw.choice(people), draw.choice(moments)
            store.sites.add_owner(key, owner, at)
            if draw.random() < 0.3:
                store.sites.end_owner(key, owner, at + draw.choice([0, 1]) * DAY)
        for _ in range(draw.choice([0, 1, 2])):
            kind = draw.choice(list(OrganisationKind))
            organisation = draw.choice(organisations)
            store.sites.give_role(key, organisation, kind, draw.choice(moments))
            if draw.random() < 0.3:
                store.sites.end_role(key, organisation, kind, draw.choice(moments))
        for _ in range(draw.choice([0, 1, 2])):
            at = draw.choice(moments)
            to: dict[str, str] = (
                {"person_id": draw.choice(people)}
                if draw.random() < 0.5
                else {"organisation_id": draw.choice(organisations)}
            )
            until = draw.choice([None, at + DAY, at + 3 * DAY])
            store.sites.grant(key, why="x", given_by=people[0], now=at, until=until, **to)
        if draw.random() < 0.25:
            store.sites.set_restricted(key, NOW)
    actors = [
        store.people.actor(one, NOW, has_second_factor=proved, is_read_only=read_only)
        for one in people
        for proved in (False, True)
        for read_only in (False, True)
    ]
    return [actor for actor in actors if actor is not None], list(store.sites.records())


@pytest.mark.parametrize("seed", range(3))
def test_the_list_of_sites_is_what_the_rule_says_one_by_one(store: Store, seed: int) -> None:
    actors, records = worlds(store, seed)
    seen = 0
    for actor in actors:
        expected = [x.number for x in records if may(actor, Action.VIEW_SITE, x.access)]
        assert [x.number for x in store.sites.visible(actor)] == expected
        assert store.sites.count_visible(actor) == len(expected)
        seen += len(expected)
    assert 0 < seen < len(actors) * len(records)
    # One is read without the ORM, all are read with it.
    assert [store.sites.record(x.public_key) for x in records] == records


@pytest.mark.parametrize("seed", range(3))
def test_the_list_of_guarantees_is_what_the_rule_says_one_by_one(store: Store, seed: int) -> None:
    actors, records = worlds(store, seed)
    for record in records:
        name, site = f"g-{record.number:03}", record.public_key
        contract = msgspec.structs.replace(CONTRACT, contract_id=name, site_id=site)
        store.guarantees.add(contract, NOW)
    seen = 0
    for actor in actors:
        expected = [
            f"g-{x.number:03}" for x in records if may(actor, Action.VIEW_GUARANTEE, x.access)
        ]
        found = store.guarantees.visible(actor)
        assert [x.contract.contract_id for x in found] == expected
        assert store.guarantees.visible(actor, offset=1, limit=2) == found[1:3]
        assert store.guarantees.count_visible(actor) == len(expected)
        seen += len(expected)
    assert 0 < seen < len(actors) * len(records)


def test_the_list_of_sites_comes_in_pages_and_can_be_searched(store: Store) -> None:
    boss = person(store)
    store.people.give_portal_role(boss, PortalRole.ADMINISTRATOR, NOW)
    actor = store.people.actor(boss, NOW, has_second_factor=True)
    assert actor is not None
    store.sites.add(NEW, NOW)
    for number in range(5):
        plain_site(store, f"s{number}")
    first = store.sites.visible(actor, limit=4)
    rest = store.sites.visible(actor, limit=4, after=first[-1].number)
    assert [len(first), len(rest)] == [4, 2]
    for text in ("teststraat", "3511 zz", "UTRECHT", "s3", first[3].public_key):
        assert store.sites.count_visible(actor, text=text) >= 1
    assert [x.name for x in store.sites.visible(actor, text="a1b2c3")] == ["Teststraat 12"]
    assert store.sites.visible(actor, text="nowhere") == []


def test_writers_at_once_lose_nothing(store: Store) -> None:
    key = plain_site(store).public_key
    people = [person(store, f"p{number}") for number in range(12)]
    failed: list[BaseException] = []

    def own(one: str) -> None:
        try:
            store.sites.add_owner(key, one, NOW)
        except BaseException as error:  # reported below, whatever it was
            failed.append(error)

    threads = [threading.Thread(target=own, args=(one,)) for one in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    access = store.sites.access(key)
    assert access is not None
    assert {owner.person_id for owner in access.owners} == set(people)


def test_errors_of_the_database_carry_no_values(store: Store) -> None:
    with pytest.raises(StoreError) as raised:
        _insert_half_a_person(store)
    shown = "".join(traceback.format_exception(raised.value))
    assert "refuses that" in shown
    assert "Canary" not in shown


def _insert_half_a_person(store: Store) -> None:
    with writing(store._engine) as session:
        session.add(PersonRow(person_id="x", name="Canary Jansen"))


def test_a_database_that_is_locked_for_long_is_unavailable(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store, sqlite3.connect(sqlite_url) as other:
        event.listen(store._engine, "connect", lambda one, _: one.execute("PRAGMA busy_timeout=1"))
        store._engine.dispose()
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="does not answer"):
            person(store)
        other.rollback()
        assert person(store)
    other.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_street_is_found_by_those_only_who_may_see_it(store: Store, seed: int) -> None:
    actors, records = worlds(store, seed)
    street = records[0].address.street
    assert all(one.address.street == street and street not in one.name for one in records)
    seen = hidden = 0
    for actor in actors:
        expected = [x.number for x in records if may(actor, Action.VIEW_CONTACT, x.access)]
        if actor.is_read_only:
            assert set(expected) <= {x.number for x in records}
        assert [x.number for x in store.sites.visible(actor, text=street)] == expected
        assert store.sites.count_visible(actor, text=street) == len(expected)
        seen += len(expected)
        hidden += store.sites.count_visible(actor) - len(expected)
    assert seen
    assert hidden


def test_the_database_is_made_for_its_owner_only(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "portal.sqlite"), migrate=True) as made:
        person(made)
        modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}
    assert "portal.sqlite-wal" in modes
    assert not any(modes.values()), modes
