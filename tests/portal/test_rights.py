"""Each role may do exactly what the table below says, written down apart from the rule itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from autarco_portal import rights
from autarco_portal.people import (
    Actor,
    Grant,
    MemberRole,
    Organisation,
    OrganisationKind,
    PortalRole,
    SiteOwner,
    SiteRole,
)
from autarco_portal.rights import PORTAL, Action, PersonAccess, SiteAccess, may

if TYPE_CHECKING:
    from autarco_portal.rights import Thing

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
BEFORE = NOW - timedelta(days=30)


def actor(person_id: str, **more: object) -> Actor:
    return msgspec.convert(
        {"person_id": person_id, "at": NOW, "has_second_factor": True, **more}, Actor
    )


def partner(organisation_id: str, role: MemberRole = MemberRole.STAFF) -> Actor:
    return actor(f"at-{organisation_id}", roles={organisation_id: role})


SITE = SiteAccess(
    public_key="k7m2q9xd",
    owners=(SiteOwner(person_id="owner", from_at=BEFORE),),
    roles=tuple(
        SiteRole(organisation_id=kind.value, kind=kind, from_at=BEFORE) for kind in OrganisationKind
    ),
    grants=(
        Grant(
            grant_id="g1", site="k7m2q9xd", person_id="guest", from_at=BEFORE, why="neighbour",
            given_by="owner",
        ),
        Grant(
            grant_id="g2", site="k7m2q9xd", organisation_id="adviser", from_at=BEFORE, why="advice",
            given_by="owner",
        ),
        Grant(
            grant_id="g3", site="k7m2q9xd", person_id="helping", from_at=BEFORE, why="ticket 4",
            given_by="helping", until=NOW + timedelta(hours=1),
        ),
    ),
)  # fmt: skip
INSTALLER = Organisation(
    organisation_id="installer", name="Zon", kind=OrganisationKind.INSTALLER, created_at=BEFORE
)
COLLEAGUE = PersonAccess(person_id="colleague", organisations=frozenset({"installer"}))
ADMINISTRATOR = PersonAccess(
    person_id="boss",
    organisations=frozenset({"installer"}),
    portal_roles=frozenset({PortalRole.ADMINISTRATOR}),
)
OWNER = PersonAccess(person_id="owner")

ACTORS = {
    "owner": actor("owner", has_second_factor=False),
    "guest": actor("guest", has_second_factor=False),
    "stranger": actor("stranger"),
    "installer": partner("installer"),
    "manager": partner("installer", MemberRole.MANAGER),
    "maintenance": partner("maintenance"),
    "reseller": partner("reseller"),
    "distributor": partner("distributor"),
    "adviser": partner("adviser"),
    "above": actor("above", roles={"holding": "staff"}, below=["installer"]),
    "manager above": actor(
        "top", roles={"holding": "manager"}, below=["installer"], managed_below=["installer"]
    ),
    "other partner": partner("elsewhere", MemberRole.MANAGER),
    "support": actor("support", portal_roles=["support"]),
    "helping": actor("helping", portal_roles=["support"]),
    "administrator": actor("admin", portal_roles=["administrator"]),
    "privacy officer": actor("officer", portal_roles=["privacy_officer"]),
}

LOOK = {"view_site", "view_guarantee"}
CARE = LOOK | {"view_contact", "manage_site", "acknowledge_alarm", "invite"}
AT_SITE = {
    "owner": LOOK
    | {
        "view_contact", "acknowledge_alarm", "contest_settlement", "grant_access", "export_site",
        "view_audit",
    },
    "guest": {"view_site"},
    "installer": CARE,
    "manager": CARE,
    "maintenance": CARE,
    "reseller": CARE,
    "distributor": LOOK,
    "adviser": {"view_site"},
    "above": LOOK,
    "manager above": LOOK,
    "support": {"open_support_access"},
    "helping": {"open_support_access", "view_site"},
    "administrator": CARE | {"settle", "view_audit"},
    "privacy officer": LOOK | {"view_contact", "grant_access", "export_site", "view_audit"},
}  # fmt: skip
MANAGE = {"view_organisation", "manage_organisation", "invite"}
AT_ORGANISATION = {
    "installer": {"view_organisation"},
    "manager": MANAGE,
    "above": {"view_organisation"},
    "manager above": MANAGE,
    "support": {"view_organisation"},
    "helping": {"view_organisation"},
    "administrator": MANAGE | {"view_audit"},
    "privacy officer": {"view_organisation", "view_audit"},
}
OFFICER = {"view_person", "change_person", "export_person", "view_audit"}
BOSS = {"view_person", "change_person", "disable_account", "reset_second_factor"}
MANAGED = {"view_person", "disable_account", "reset_second_factor"}
AT_COLLEAGUE = {
    "installer": {"view_person"},
    "manager": MANAGED,
    "manager above": MANAGED,
    "support": {"view_person", "reset_second_factor"},
    "helping": {"view_person", "reset_second_factor"},
    "administrator": BOSS,
    "privacy officer": OFFICER,
}
AT_ADMINISTRATOR = {
    "installer": {"view_person"},
    "manager": {"view_person"},
    "administrator": BOSS,
    "privacy officer": OFFICER,
}
AT_OWNER = {
    "owner": {"view_person", "change_person", "export_person", "use_account", "view_audit"},
    "support": {"view_person", "reset_second_factor"},
    "helping": {"view_person", "reset_second_factor"},
    "administrator": BOSS,
    "privacy officer": OFFICER,
}
AT_PORTAL = {
    **{
        name: {"create_site"}
        for name, one in ACTORS.items()
        if one.roles
    },
    "support": {"find_anyone"},
    "helping": {"find_anyone"},
    "administrator": {
        "create_organisation", "create_site", "find_anyone", "invite", "administer", "view_audit",
    },
    "privacy officer": {"find_anyone", "handle_privacy_requests", "view_audit"},
}  # fmt: skip
TABLE: list[tuple[str, Thing, dict[str, set[str]]]] = [
    ("site", SITE, AT_SITE),
    ("organisation", INSTALLER, AT_ORGANISATION),
    ("colleague", COLLEAGUE, AT_COLLEAGUE),
    ("administrator", ADMINISTRATOR, AT_ADMINISTRATOR),
    ("owner", OWNER, AT_OWNER),
    ("portal", PORTAL, AT_PORTAL),
]


def allowed(who: Actor, thing: Thing) -> set[str]:
    return {action.value for action in Action if may(who, action, thing)}


@pytest.mark.parametrize("name", ACTORS)
@pytest.mark.parametrize(("what", "thing", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_each_role_may_exactly_this(
    what: str, thing: Thing, expected: dict[str, set[str]], name: str
) -> None:
    assert allowed(ACTORS[name], thing) == expected.get(name, set())


def test_every_action_is_of_use_to_somebody() -> None:
    used = {
        action for one in ACTORS.values() for _, thing, _ in TABLE for action in allowed(one, thing)
    }
    assert used == {action.value for action in Action}


@pytest.mark.parametrize("name", ACTORS)
def test_without_the_second_factor_partners_and_staff_are_nobody(name: str) -> None:
    one = msgspec.structs.replace(ACTORS[name], has_second_factor=False)
    can = set().union(*(allowed(one, thing) for _, thing, _ in TABLE))
    assert bool(can) == (name in ("owner", "guest"))


@pytest.mark.parametrize("name", ACTORS)
def test_a_token_looks_and_does_nothing_else(name: str) -> None:
    one = msgspec.structs.replace(ACTORS[name], is_read_only=True)
    for _, thing, _ in TABLE:
        can = allowed(one, thing)
        assert can == {x for x in allowed(ACTORS[name], thing) if x in rights.READING}
        assert all(action.startswith("view_") and action != "view_audit" for action in can)


@pytest.mark.parametrize("name", ACTORS)
def test_of_a_restricted_site_only_owner_and_privacy_officer_see_anything(name: str) -> None:
    restricted = msgspec.structs.replace(SITE, is_restricted=True)
    expected = AT_SITE[name] if name in ("owner", "privacy officer") else set()
    assert allowed(ACTORS[name], restricted) == expected


@pytest.mark.parametrize("name", ["owner", "guest", "installer", "adviser", "above", "helping"])
def test_whose_time_is_over_or_has_not_begun_sees_nothing(name: str) -> None:
    one = ACTORS[name]
    for at in (BEFORE - timedelta(seconds=1), NOW):
        ended = msgspec.structs.replace(
            SITE,
            owners=tuple(msgspec.structs.replace(x, until=NOW) for x in SITE.owners),
            roles=tuple(msgspec.structs.replace(x, until=NOW) for x in SITE.roles),
            grants=tuple(msgspec.structs.replace(x, until=NOW) for x in SITE.grants),
        )
        later = msgspec.structs.replace(one, at=at)
        assert not may(later, Action.VIEW_SITE, ended)
    just_before = msgspec.structs.replace(one, at=NOW - timedelta(seconds=1))
    assert may(just_before, Action.VIEW_SITE, ended)


def test_somebody_elses_site_is_invisible() -> None:
    for name in ("stranger", "other partner", "support"):
        assert not may(ACTORS[name], Action.VIEW_SITE, SITE)


SOLD = NOW - timedelta(days=10)
BOUGHT = msgspec.structs.replace(
    SITE,
    owners=(
        SiteOwner(person_id="seller", from_at=BEFORE, until=SOLD),
        SiteOwner(person_id="owner", from_at=SOLD),
    ),
    grants=tuple(
        msgspec.structs.replace(one, from_at=SOLD) if one.given_by == "owner" else one
        for one in SITE.grants
    ),
)


@pytest.mark.parametrize("name", ACTORS)
def test_whoever_buys_a_house_sees_it_from_that_day_and_so_do_his_guests(name: str) -> None:
    one = ACTORS[name]
    since = rights.visible_from(one, BOUGHT)
    if not may(one, Action.VIEW_SITE, BOUGHT):
        assert since == NOW
    elif name in ("owner", "guest", "adviser", "helping"):
        assert since == SOLD
        # The first owner's house was his before he had an account.
        assert rights.visible_from(one, SITE) is None
    else:
        assert since is None


def test_who_came_to_a_house_beside_its_owner_sees_it_since_then() -> None:
    both = (
        SiteOwner(person_id="seller", from_at=BEFORE),
        SiteOwner(person_id="owner", from_at=SOLD),
    )
    site = msgspec.structs.replace(BOUGHT, owners=both)
    assert rights.visible_from(ACTORS["owner"], site) == SOLD
    assert rights.visible_from(actor("seller"), site) is None


def test_who_buys_a_house_back_sees_nothing_of_the_time_between() -> None:
    back = SOLD + timedelta(days=5)
    owners = (
        SiteOwner(person_id="owner", from_at=BEFORE, until=SOLD),
        SiteOwner(person_id="seller", from_at=SOLD, until=back),
        SiteOwner(person_id="owner", from_at=back),
    )
    site = msgspec.structs.replace(BOUGHT, owners=owners)
    assert rights.visible_from(ACTORS["owner"], site) == back


def test_a_house_that_is_nobodys_shows_guests_no_past() -> None:
    owners = tuple(msgspec.structs.replace(one, until=NOW) for one in BOUGHT.owners[:1])
    site = msgspec.structs.replace(BOUGHT, owners=owners)
    assert rights.visible_from(ACTORS["helping"], site) == NOW


def test_an_owner_who_is_also_a_partner_sees_what_the_partner_sees() -> None:
    one = actor("owner", roles={"installer": MemberRole.STAFF})
    assert rights.visible_from(one, BOUGHT) is None
    without = msgspec.structs.replace(one, has_second_factor=False)
    assert rights.visible_from(without, BOUGHT) == SOLD
