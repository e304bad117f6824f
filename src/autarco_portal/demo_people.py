"""Who can sign in to the demo's portal, and what do they find there?

Made people, one for each role, around the made town: its roofs with addresses, the incidents that
were found, and a guarantee. Passwords and second factors are drawn anew each time and shown once.
"""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pyotp

from autarco_portal.accounts import Accounts
from autarco_portal.guarantee_contract import Contract
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.people import SELF as HIMSELF
from autarco_portal.people import MemberRole, OrganisationKind, PortalRole, SiteOwner, SiteRole
from autarco_portal.proofs import Refused
from autarco_portal.secret import Secret, load_key
from autarco_portal.site_record import Address, NewSite
from autarco_portal.store import migrate, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autarco_portal.incidents import Incident
    from autarco_portal.portal_paths import PortalDirectory
    from autarco_portal.site import Site
    from autarco_portal.store import Store

_T = TypeVar("_T")

SINCE = datetime(2022, 1, 1, tzinfo=UTC)
"""The town is older than its readings."""
CODE_STEP = timedelta(seconds=30)
HOUSES_OF_OWNER = 2


class DemoAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who can sign in."""

    role: str
    email: str
    password: Secret
    totp: Secret | None
    """Base32, for an authenticator; partners and the portal's own need one."""

    def code(self, now: datetime) -> str:
        """Returns what the authenticator shows now; empty without a second factor."""
        return "" if self.totp is None else pyotp.TOTP(self.totp.reveal()).at(now)


def populate(
    portal: PortalDirectory, sites: Sequence[Site], incidents: Sequence[Incident], now: datetime
) -> list[DemoAccount]:
    """Fills an empty store with the town and its people; raises StoreError."""
    address = str(portal.database)
    migrate(address)
    with open_store(address) as store:
        made = _People(store, Accounts(store, load_key(portal.secret_key)), now)
        return made.settle_in(sites, incidents)


class _People:
    """Makes them."""

    def __init__(self, store: Store, accounts: Accounts, now: datetime) -> None:
        self.store, self.accounts, self.now = store, accounts, now

    def settle_in(self, sites: Sequence[Site], incidents: Sequence[Incident]) -> list[DemoAccount]:
        store, now = self.store, self.now
        reseller = store.organisations.add(
            name="Zonnehandel Voorbeeld", kind=OrganisationKind.RESELLER, now=now
        )
        installer = store.organisations.add(
            name="Dakwerk Voorbeeld", kind=OrganisationKind.INSTALLER, now=now,
            parent=reseller.organisation_id, email="storing@dakwerk.example",
        )  # fmt: skip
        accounts = [
            self._own("administrator", PortalRole.ADMINISTRATOR),
            self._own("support", PortalRole.SUPPORT),
            self._own("privacy officer", PortalRole.PRIVACY_OFFICER),
            self._partner("reseller", reseller.organisation_id),
            self._partner("installer", installer.organisation_id),
        ]
        owner, owner_account = self._private("owner")
        guest, guest_account = self._private("guest")
        roles = tuple(
            SiteRole(organisation_id=one.organisation_id, kind=one.kind, from_at=SINCE)
            for one in (reseller, installer)
        )
        store.sites.add_all(
            [
                NewSite(
                    name=f"Zonnestraat {number}",
                    address=Address(
                        street=f"Zonnestraat {number}", postcode="3511 ZZ", city="Utrecht"
                    ),
                    public_key=site.site_id,
                    latitude=site.latitude,
                    longitude=site.longitude,
                    commissioned_on=site.commissioned_on,
                    planes=site.planes,
                    inverters=site.inverters,
                    roles=roles,
                    owners=(SiteOwner(person_id=owner, from_at=SINCE),)
                    if number <= HOUSES_OF_OWNER
                    else (),
                )
                for number, site in enumerate(sites, start=1)
            ],
            now,
        )
        first = sites[0]
        store.sites.grant(
            first.site_id, why="looks after the house", given_by=owner, now=now, person_id=guest
        )
        store.alarms.take_over(incidents, [site.site_id for site in sites])
        contract = Contract(
            contract_id="DEMO-1",
            site_id=first.site_id,
            terms_version="demo",
            starts_on=date(2025, 6, 1),
            term_years=15,
            p50_kwh=Decimal(round(first.pdc0 * 0.95)),
            price_eur_per_kwh=Decimal("0.23"),
        )
        store.guarantees.add(contract, now, GuaranteeStatus.ACTIVE)
        return [*accounts, owner_account, guest_account]

    def _private(self, role: str) -> tuple[str, DemoAccount]:
        email = f"{role}@demo.example"
        person = self.store.people.add(
            name=f"Demo {role}", email=email, source=HIMSELF, now=self.now, language="en"
        )
        return person.person_id, self._account(role, email, person.person_id, second=False)

    def _own(self, role: str, portal_role: PortalRole) -> DemoAccount:
        email = f"{portal_role.value.replace('_', '-')}@demo.example"
        person = self.store.people.add(
            name=f"Demo {role}", email=email, source=HIMSELF, now=self.now, language="en"
        )
        self.store.people.give_portal_role(person.person_id, portal_role, self.now)
        return self._account(role, email, person.person_id, second=True)

    def _partner(self, role: str, organisation: str) -> DemoAccount:
        email = f"{role}@demo.example"
        person = self.store.people.add(
            name=f"Demo {role}", email=email, source=HIMSELF, now=self.now, language="en"
        )
        self.store.people.join(person.person_id, organisation, MemberRole.MANAGER, self.now)
        return self._account(role, email, person.person_id, second=True)

    def _account(self, role: str, email: str, person_id: str, *, second: bool) -> DemoAccount:
        """As anybody gets one: an invitation, a password, and the second factor by its code."""
        password = Secret(secrets.token_urlsafe(12))
        link = self.accounts.invite(person_id, by=None, now=self.now)
        _done(self.accounts.accept(link, password, self.now))
        if not second:
            return DemoAccount(role=role, email=email, password=password, totp=None)
        signed = _done(
            self.accounts.sign_in(email, password, address="127.0.0.1", client="demo", now=self.now)
        )
        offered = _done(self.accounts.enrol(signed.token, self.now))
        # A code counts once: that of the step before leaves the one of now to whoever signs in.
        code = Secret(pyotp.TOTP(offered.secret.reveal()).at(self.now - CODE_STEP))
        enrolled = _done(self.accounts.confirm(signed.token, code, self.now))
        self.accounts.sign_out(enrolled.signed_in.token, self.now)
        return DemoAccount(role=role, email=email, password=password, totp=offered.secret)


def _done(answer: _T | Refused) -> _T:
    if isinstance(answer, Refused):
        raise AssertionError(f"refused in an empty store: {answer.reason}")
    return answer
