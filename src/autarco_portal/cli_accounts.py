"""`autarco-portal migrate | user | organisation`: tables, people and partners, by an operator.

Nobody's password passes here: a new user gets a link to choose one. What is done is in the audit
log, as done by `system:cli`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, UsageError
from autarco_portal.cli_store import (
    add_database,
    add_verb,
    address,
    nothing_to_do,
    opened,
    portal_directory,
    show,
    somebody,
)

if TYPE_CHECKING:
    import argparse

    from autarco_portal.accounts import Accounts
    from autarco_portal.cli_command import Add
    from autarco_portal.people import Organisation, Person
    from autarco_portal.store import Store

_WHO = "system:cli"
_KINDS = ("distributor", "reseller", "installer", "maintenance")
_ROLES = ("administrator", "support", "privacy_officer")
"""Of `people`, spelt again so that `--help` need not import it; a test compares them."""


def register(add: Add) -> None:
    """Adds the commands."""
    migrate = add("migrate", _migrate, "Make the store's tables or bring them up to date.")
    add_database(migrate)
    user = add("user", nothing_to_do, "Invite people, list them, keep them out.")
    verbs = user.add_subparsers(dest="verb", metavar="VERB", required=True)
    new = add_verb(verbs, "add", _add_user, "Add somebody and print his invitation's link.")
    new.add_argument("email", metavar="EMAIL")
    new.add_argument("name", metavar="NAME")
    new.add_argument("--language", choices=("nl", "en"), default="nl")
    new.add_argument("--role", choices=_ROLES, action="append", default=[], help="in the portal")
    new.add_argument("--organisation", metavar="ID", help="where he works")
    new.add_argument("--manager", action="store_true", help="he manages that organisation")
    _add_url(new)
    again = add_verb(verbs, "invite", _invite, "Print a new invitation's link for somebody.")
    again.add_argument("email", metavar="EMAIL")
    _add_url(again)
    add_verb(verbs, "list", _list_users, "List who has an account.")
    for name, run, text in (
        ("disable", _disable, "Keep somebody out at once, everywhere."),
        ("enable", _enable, "Let somebody in again."),
        ("reset-totp", _reset, "Forget somebody's second factor, so that he sets up a new one."),
    ):
        add_verb(verbs, name, run, text).add_argument("email", metavar="EMAIL")
    organisation = add("organisation", nothing_to_do, "Add partners and list them.")
    verbs = organisation.add_subparsers(dest="verb", metavar="VERB", required=True)
    partner = add_verb(verbs, "add", _add_organisation, "Add a partner and print its ID.")
    partner.add_argument("name", metavar="NAME")
    partner.add_argument("--kind", choices=_KINDS, required=True)
    partner.add_argument("--parent", metavar="ID", help="the organisation it belongs to")
    partner.add_argument("--email", metavar="EMAIL", help="where it is told of alarms")
    add_verb(verbs, "list", _list_organisations, "List the partners.")


def _add_url(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--url", default="", metavar="URL", help="where people reach the portal, for the link"
    )


def _migrate(parsed: argparse.Namespace) -> int:
    from autarco_portal.store import StoreError, migrate

    try:
        before, after = migrate(address(parsed))
    except StoreError as error:
        raise UsageError(str(error)) from error
    if before == after:
        print(f"the tables have version {after} already")
    else:
        print(f"the tables have version {after} now, before {before or 'there were none'}")
    from autarco_portal.sealed import SealError

    with opened(parsed) as store:
        try:
            sealed = _accounts(parsed, store).seal_second_factors()
        except SealError as error:
            raise UsageError(str(error)) from error
        if sealed:
            print(f"{sealed} secrets of second factors were encrypted")
            store.erasure.overwrite()
    return DONE


def _add_user(parsed: argparse.Namespace) -> int:
    from autarco_portal.people import MemberRole, PortalRole, Source, SourceKind

    if parsed.manager and not parsed.organisation:
        raise UsageError("--manager of which organisation? say --organisation ID")
    now = datetime.now(UTC)
    with opened(parsed) as store:
        partner: str | None = parsed.organisation
        if partner is not None and store.organisations.get(partner) is None:
            raise UsageError(f"there is no organisation {partner}")
        person = store.people.add(
            name=parsed.name,
            email=parsed.email,
            language=parsed.language,
            source=Source(kind=SourceKind.PARTNER, organisation_id=partner),
            now=now,
        )
        for role in parsed.role:
            store.people.give_portal_role(person.person_id, PortalRole(role), now)
            _log(store, "give_portal_role", f"person:{person.person_id}", person, now, role)
        if partner is not None:
            role = MemberRole.MANAGER if parsed.manager else MemberRole.STAFF
            store.people.join(person.person_id, partner, role, now)
            _log(store, "join", f"organisation:{partner}", person, now, role.value)
        _print_link(parsed, store, person, now)
    return DONE


def _invite(parsed: argparse.Namespace) -> int:
    with opened(parsed) as store:
        _print_link(parsed, store, somebody(store, parsed.email), datetime.now(UTC))
    return DONE


def _print_link(parsed: argparse.Namespace, store: Store, person: Person, now: datetime) -> None:
    """The link is a secret, and here it goes where it must: to who asked for it."""
    link = _accounts(parsed, store).invite(person.person_id, by=_WHO, now=now)
    print(f"{parsed.url.rstrip('/')}/invitation/{link.reveal()}")


def _list_users(parsed: argparse.Namespace) -> int:
    with opened(parsed) as store:
        rows = []
        now = datetime.now(UTC)
        for person, account in store.accounts.all():
            access = store.people.access(person.person_id, now)
            roles = sorted(access.portal_roles) if access is not None else []
            state = "disabled" if account.disabled_at is not None else "active"
            if not account.has_password:
                state = "invited"
            seen = account.last_signed_in_at
            rows.append(
                (
                    person.email,
                    person.name,
                    state,
                    "yes" if account.has_second_factor else "no",
                    f"{seen:%Y-%m-%d %H:%M}" if seen is not None else "never",
                    ", ".join(roles),
                )
            )
    show(("e-mail", "name", "account", "second factor", "signed in (UTC)", "roles"), rows)
    return DONE


def _disable(parsed: argparse.Namespace) -> int:
    with opened(parsed) as store:
        person = somebody(store, parsed.email)
        _accounts(parsed, store).disable(person.person_id, by=_WHO, now=datetime.now(UTC))
    return DONE


def _enable(parsed: argparse.Namespace) -> int:
    with opened(parsed) as store:
        person = somebody(store, parsed.email)
        _accounts(parsed, store).enable(person.person_id, by=_WHO, now=datetime.now(UTC))
    return DONE


def _reset(parsed: argparse.Namespace) -> int:
    with opened(parsed) as store:
        person_id = somebody(store, parsed.email).person_id
        _accounts(parsed, store).reset_second_factor(person_id, by=_WHO, now=datetime.now(UTC))
    return DONE


def _add_organisation(parsed: argparse.Namespace) -> int:
    from autarco_portal.people import OrganisationKind

    with opened(parsed) as store:
        made = store.organisations.add(
            name=parsed.name,
            kind=OrganisationKind(parsed.kind),
            parent=parsed.parent,
            email=parsed.email,
            now=datetime.now(UTC),
        )
    print(made.organisation_id)
    return DONE


def _list_organisations(parsed: argparse.Namespace) -> int:
    with opened(parsed) as store:
        known = store.organisations.all()
    names = {one.organisation_id: one.name for one in known}
    show(("ID", "name", "kind", "belongs to"), (_organisation_row(one, names) for one in known))
    return DONE


def _organisation_row(one: Organisation, names: dict[str, str]) -> tuple[str, ...]:
    return one.organisation_id, one.name, one.kind.value, names.get(one.parent or "", "")


def _accounts(parsed: argparse.Namespace, store: Store) -> Accounts:
    from autarco_portal.accounts import Accounts
    from autarco_portal.secret import SecretKeyError, load_key

    try:
        return Accounts(store, load_key(portal_directory(parsed).secret_key))
    except SecretKeyError as error:
        raise UsageError(str(error)) from error


def _log(store: Store, action: str, thing: str, subject: Person, now: datetime, role: str) -> None:
    from autarco_portal.audit import AuditEntry

    store.audit.append(
        AuditEntry(
            at=now,
            actor=_WHO,
            action=action,
            thing=thing,
            subject=subject.person_id,
            detail={"role": role},
        )
    )
