"""Is everything about a person handed out, nothing about another, and does it come back in?"""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import select, update

import person_rows
from autarco_portal.site_record import Address, NewSite
from autarco_portal.store.declarative import Base
from autarco_portal.store.engine import StoreError, make_engine, reading, writing
from autarco_portal.store.person_data import ANOTHER, PersonData
from autarco_portal.store.person_rules import NOT_PERSONAL, REACHES, REFERENCED
from autarco_portal.store.tables import GrantRow, InverterRow, OrganisationRow, SiteOwnerRow
from person_rows import ANNA, BOB, NOW, START, canary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine, Table

    from autarco_portal.person_record import PersonRecords
    from autarco_portal.store import Store

TABLES = Base.metadata.tables
WHO = {"people", "sites"}
TELLING = ("person_id", "email", "subject", "actor", "site_number", "public_key")
"""Columns by which somebody could be found without a foreign key."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Making tables waits for the disk, copying them does not."""
    files = {}
    for name in ("filled", "empty"):
        files[name] = tmp_path_factory.mktemp("made") / f"{name}.sqlite"
        engine = person_rows.database(files[name])
        if name == "filled":
            person_rows.fill(engine)
        engine.dispose()
    return files


def copied(file: Path, to: Path) -> Iterator[Engine]:
    engine = make_engine(str(shutil.copy(file, to / file.name)))
    yield engine
    engine.dispose()


@pytest.fixture
def engine(made: dict[str, Path], tmp_path: Path) -> Iterator[Engine]:
    yield from copied(made["filled"], tmp_path)


@pytest.fixture
def empty(made: dict[str, Path], tmp_path: Path) -> Iterator[Engine]:
    yield from copied(made["empty"], tmp_path)


def text_of(records: PersonRecords) -> str:
    return msgspec.json.encode(records).decode()


# --- the schema -----------------------------------------------------------------------------


def parents(table: Table) -> set[str]:
    """Tables that a table refers to, at any depth."""
    found: set[str] = set()
    waiting = [table]
    while waiting:
        for key in waiting.pop().foreign_keys:
            if key.column.table.name not in found:
                found.add(key.column.table.name)
                waiting.append(key.column.table)
    return found


def test_every_table_is_handed_out_or_holds_nobody() -> None:
    assert set(TABLES) == set(REACHES) | set(NOT_PERSONAL)
    assert not set(REACHES) & set(NOT_PERSONAL)


@pytest.mark.parametrize("name", sorted(NOT_PERSONAL))
def test_a_table_that_can_reach_a_person_is_not_said_to_hold_nobody(name: str) -> None:
    assert NOT_PERSONAL[name]
    if name == "imported_records":
        return
    table = TABLES[name]
    assert not parents(table) & WHO
    telling = {column.name for column in table.columns} & set(TELLING)
    assert telling <= ({"email"} if name == "organisations" else set())


@pytest.mark.parametrize("name", sorted(REACHES))
def test_every_way_from_a_table_to_a_person_is_followed(name: str) -> None:
    table, reach = TABLES[name], REACHES[name]
    followed = {way.column for way in reach.ways}
    for column in table.columns:
        if any(key.column.table.name in WHO for key in column.foreign_keys):
            assert column.name in followed or name == "site_owners", column.name
        if column.name in TELLING and name not in ("site_owners", "people", "sites", "mails"):
            assert column.name in followed, column.name
    assert all(reach.hidden.values())
    assert set(reach.hidden) <= set(table.columns.keys())
    assert not set(reach.hidden) & followed or name == "disclosure_sites"


# --- out ------------------------------------------------------------------------------------


def test_every_value_of_a_person_is_handed_out_unless_it_is_hidden(engine: Engine) -> None:
    found = PersonData(engine).collect(ANNA, NOW)

    text = text_of(found)
    for name, reach in REACHES.items():
        assert found.records[name], name
        for column in TABLES[name].columns:
            word = person_rows.canary(ANNA, name, column.name)
            if column.name in reach.hidden:
                assert word not in text
                assert all(column.name not in record for record in found.records[name])
            else:
                assert all(column.name in record for record in found.records[name])
                assert (word in text) == in_database(engine, name, column.name, word), word


def in_database(engine: Engine, table: str, column: str, word: str) -> bool:
    with reading(engine) as session:
        values = session.scalars(select(TABLES[table].c[column])).all()
    return any(word in str(value) for value in values)


def test_nothing_of_anybody_else_is_handed_out(engine: Engine) -> None:
    found = PersonData(engine).collect(ANNA, NOW)

    text = text_of(found)
    bob = (BOB, "BOB ", "bob@example.org", "bobssite", person_rows.SERIALS[BOB])
    assert not [word for word in bob if word in text]
    assert found.records["alarms"][0]["acknowledged_by"] == ANOTHER
    assert found.records["grants"][0]["given_by"] == ANOTHER


def test_of_a_partner_only_the_name_is_handed_out(engine: Engine) -> None:
    (partner,) = PersonData(engine).collect(ANNA, NOW).records["organisations"]

    assert tuple(partner) == REFERENCED["organisations"]


def test_a_guest_is_not_handed_out_and_sees_his_own_grant(engine: Engine) -> None:
    with writing(engine) as session:
        session.add(
            GrantRow(
                grant_id="guest", site_number=1, person_id=BOB, from_at=START, why="buren",
                given_by=ANNA,
            )
        )  # fmt: skip

    data = PersonData(engine)
    assert "guest" not in text_of(data.collect(ANNA, NOW))
    bobs = data.collect(BOB, NOW)
    assert "guest" in {grant["grant_id"] for grant in bobs.records["grants"]}
    assert "annasite" not in text_of(bobs)


def test_what_may_be_taken_elsewhere_is_provided_or_observed(engine: Engine) -> None:
    found = PersonData(engine).collect(ANNA, NOW, is_portable=True)

    assert {"people", "sites", "inverters", "photos", "organisations"} <= set(found.records)
    assert not {"alarms", "settlements", "audit_log", "support_notes"} & set(found.records)


def test_the_house_before_it_was_sold_is_the_sellers(engine: Engine) -> None:
    sold = START + timedelta(days=500)
    with writing(engine) as session:
        session.execute(
            update(SiteOwnerRow).values(until=sold).where(SiteOwnerRow.person_id == BOB)
        )
        session.add(SiteOwnerRow(site_number=2, person_id=ANNA, from_at=sold))

    data = PersonData(engine)
    buyer, seller = data.collect(ANNA, NOW), data.collect(BOB, NOW)

    assert buyer.households.sites == {"annasite": None, "bobssite": sold}
    (bought,) = (one for one in buyer.households.present if one.site_id == "bobssite")
    assert (bought.from_at, bought.until) == (sold, None)
    assert not [alarm for alarm in buyer.records["alarms"] if alarm["site_number"] == 2]
    (own,) = buyer.records["support_notes"]
    assert own["site_number"] == 1
    assert [one["public_key"] for one in buyer.records["disclosure_sites"]] == ["annasite"]
    assert len(buyer.records["guarantees"]) == 2
    (own,) = buyer.records["settlements"]
    # Bob's was of a year that was over when the house was sold.
    assert own["document"]["code_version"] == canary(ANNA, "settlements", "document")
    (own,) = buyer.records["decisions"]
    assert own["settlement_sha256"] == buyer.records["settlements"][0]["sha256"]
    assert buyer.households.first_days == {"bobssite": date(2026, 4, 16)}
    assert [site["public_key"] for site in buyer.records["sites"]] == ["annasite", "bobssite"]
    assert seller.households.sites == {}
    # Whose it is now has its own key.
    assert [(one.site_id, one.until) for one in seller.households.present] == [(ANOTHER, sold)]
    assert seller.records["site_owners"]
    assert not seller.records["sites"]


def test_telemetry_is_of_an_inverter_while_it_hung_there(engine: Engine) -> None:
    moved = START + timedelta(days=90)
    with writing(engine) as session:
        session.execute(update(InverterRow).values(uninstalled_at=moved))

    (present,) = PersonData(engine).collect(ANNA, NOW).households.present

    assert (present.serial_number, present.logger_sn) == ("SIM0001", 4_100_000_001)
    assert present.until == moved


def test_nobody_is_refused(engine: Engine) -> None:
    with pytest.raises(StoreError, match="no such person"):
        PersonData(engine).collect("nobody", NOW)


# --- in -------------------------------------------------------------------------------------


def test_an_empty_instance_hands_out_the_same_records(engine: Engine, empty: Engine) -> None:
    found = PersonData(engine).collect(ANNA, NOW)

    PersonData(empty).restore(found, NOW)

    again = PersonData(empty).collect(ANNA, NOW)
    for table, records in found.records.items():
        assert again.records[table] == records, table
    assert again == found


def test_each_kind_of_database_takes_somebody_in_and_counts_on(
    engine: Engine, store: Store
) -> None:
    found = PersonData(engine).collect(ANNA, NOW)

    store.person_data.restore(found, NOW)

    assert store.person_data.collect(ANNA, NOW) == found
    new = NewSite(
        name="Buren",
        address=Address(street="Dorpsstraat 2", postcode="3511 AB", city="Utrecht"),
        latitude=52.0,
        longitude=5.0,
    )
    assert store.sites.add(new, NOW).number == 2


def test_a_house_bought_and_one_sold_stay_what_they_were(engine: Engine, empty: Engine) -> None:
    sold = START + timedelta(days=500)
    with writing(engine) as session:
        for who, number in ((ANNA, 2), (BOB, 1)):
            row = SiteOwnerRow(site_number=number, person_id=who, from_at=sold)
            ending = update(SiteOwnerRow).values(until=sold)
            session.execute(ending.where(SiteOwnerRow.site_number == number))
            session.add(row)
    found = PersonData(engine).collect(ANNA, NOW)
    assert {one.site_id for one in found.households.present} == {"bobssite", ANOTHER}

    PersonData(empty).restore(found, NOW)

    again = PersonData(empty).collect(ANNA, NOW)
    assert again.records == found.records
    assert again.households.present == found.households.present


def test_nothing_that_opens_anything_comes_in(engine: Engine, empty: Engine) -> None:
    PersonData(empty).restore(PersonData(engine).collect(ANNA, NOW), NOW)

    with reading(empty) as session:
        for table in ("login_sessions", "app_tokens", "totp_secrets", "portal_roles", "audit_log"):
            assert not session.execute(select(TABLES[table])).all(), table
        account = session.execute(select(TABLES["accounts"])).one()
    assert account.password_hash is None


def test_a_person_comes_in_once_and_whole(engine: Engine, empty: Engine) -> None:
    found = PersonData(engine).collect(ANNA, NOW)
    data = PersonData(empty)
    data.restore(found, NOW)

    with pytest.raises(StoreError, match="known here already"):
        data.restore(found, NOW)

    broken = msgspec.structs.replace(
        data.collect(ANNA, NOW), person_id=BOB, records={"organisations": [], "people": [{"a": 1}]}
    )
    with pytest.raises(StoreError, match="do not fit"):
        data.restore(broken, NOW)
    assert data.collect(ANNA, NOW) == found


def test_a_file_from_elsewhere_makes_nobody_a_partners_manager_here(
    engine: Engine, empty: Engine
) -> None:
    found = PersonData(engine).collect(ANNA, NOW)
    partner = found.records["organisations"][0]
    with writing(empty) as session:
        session.add(OrganisationRow(created_at=NOW, **partner))
    membership = {
        "person_id": ANNA,
        "organisation_id": partner["organisation_id"],
        "role": "manager",
        "from_at": START.isoformat(),
        "until": None,
    }
    forged = found.records | {"memberships": [membership]}

    PersonData(empty).restore(msgspec.structs.replace(found, records=forged), NOW)

    with reading(empty) as session:
        assert not session.execute(select(TABLES["memberships"])).all()
    assert PersonData(empty).collect(ANNA, NOW).records["memberships"] == [membership]


def test_a_file_from_elsewhere_brings_no_password(engine: Engine, empty: Engine) -> None:
    found = PersonData(engine).collect(ANNA, NOW)
    accounts = [one | {"password_hash": "$argon2id$x"} for one in found.records["accounts"]]

    with pytest.raises(StoreError, match="columns that nobody hands out"):
        PersonData(empty).restore(
            msgspec.structs.replace(found, records=found.records | {"accounts": accounts}), NOW
        )
