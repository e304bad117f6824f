"""Which rows of which tables are about a person, and what of them is not handed out, and why?

One line per table of the database. A test walks the schema: a table that is neither in `REACHES`
nor in `NOT_PERSONAL`, or a column that hides without a reason, fails it.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Way(msgspec.Struct, frozen=True):
    """How a row is found to be about somebody.

    `person`: the column is his identifier. `email`: his address. `site`: the number of a site that
    is his. `key`: his identifier or the public key of such a site, alone or behind `person:` or
    `site:`. `row`: the column is that of a row of `table` that is handed out.
    """

    kind: Literal["person", "email", "site", "key", "row"]
    column: str
    table: str = ""
    table_column: str = ""
    since: str = ""
    """Column with a moment: what was before the person's time in the house is another's."""
    unless: str = ""
    """Column that names somebody else: such rows are about him."""


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What is handed out of a table."""

    ways: tuple[Way, ...]
    hidden: dict[str, str] = {}
    """Columns that are not handed out, and why."""
    is_live: bool = False
    """An import makes the row again; without it, the record is kept beside."""
    is_portable: bool = False
    """Provided by the person or observed of him (article 20), not derived or about handling."""


_COUNTS = "counts rows, says nothing"
_SECRET = "opens something, here or elsewhere"  # noqa: S105 - the reason, not a secret
_ME, _SITE = Way("person", "person_id"), Way("site", "site_number")

REACHES: dict[str, Reach] = {
    "people": Reach(ways=(_ME,), is_live=True, is_portable=True),
    "personal_attributes": Reach(
        ways=(_ME, Way("site", "site_number", since="from_at")),
        hidden={"attribute_id": _COUNTS},
        is_live=True,
        is_portable=True,
    ),
    "memberships": Reach(
        ways=(_ME,), hidden={"membership_id": _COUNTS}, is_live=True, is_portable=True
    ),
    "portal_roles": Reach(ways=(_ME,)),
    "sites": Reach(ways=(Way("site", "number"),), is_live=True, is_portable=True),
    "roof_planes": Reach(ways=(_SITE,), is_live=True, is_portable=True),
    "inverters": Reach(
        ways=(_SITE,), hidden={"inverter_id": _COUNTS}, is_live=True, is_portable=True
    ),
    "site_roles": Reach(ways=(_SITE,), hidden={"role_id": _COUNTS}, is_live=True),
    "site_owners": Reach(ways=(_ME,), hidden={"owner_id": _COUNTS}, is_live=True, is_portable=True),
    "grants": Reach(
        ways=(_ME, Way("site", "site_number", since="from_at", unless="person_id")), is_live=True
    ),
    "photos": Reach(
        ways=(Way("site", "site_number", since="uploaded_at"),), is_live=True, is_portable=True
    ),
    "alarms": Reach(ways=(Way("site", "site_number", since="opened_at"),), is_live=True),
    "alarm_notices": Reach(
        ways=(_ME, Way("row", "incident_id", "alarms", "incident_id")),
        hidden={"notice_id": _COUNTS},
    ),
    "guarantees": Reach(ways=(_SITE,), is_live=True),
    "settlements": Reach(
        ways=(Way("row", "contract_id", "guarantees", "contract_id"),), is_live=True
    ),
    "decisions": Reach(
        ways=(Way("row", "settlement_sha256", "settlements", "sha256"),),
        hidden={"decision_id": _COUNTS},
        is_live=True,
    ),
    "accounts": Reach(
        ways=(_ME,),
        hidden={"password_hash": _SECRET, "generation": _COUNTS},
        is_live=True,
        is_portable=True,
    ),
    "totp_secrets": Reach(ways=(_ME,), hidden={"secret": _SECRET, "last_step": _SECRET}),
    "recovery_codes": Reach(ways=(_ME,), hidden={"code_hash": _SECRET}),
    "login_sessions": Reach(ways=(_ME,), hidden={"token_hash": _SECRET}, is_portable=True),
    "app_tokens": Reach(ways=(_ME,), hidden={"token_hash": _SECRET}),
    "invitations": Reach(ways=(_ME,)),
    "audit_log": Reach(
        ways=(Way("key", "subject"), Way("person", "actor"), Way("key", "thing", since="at")),
        hidden={
            "prev_hash": "is of the entry before, which is about others",
            "hash": "seals what others' names are left out of, so nobody could verify it",
        },
    ),
    "privacy_requests": Reach(ways=(_ME,)),
    "privacy_request_proofs": Reach(ways=(_ME,), hidden={"token_hash": _SECRET}),
    "erasure_cases": Reach(ways=(_ME,)),
    "restrictions": Reach(ways=(Way("key", "subject", since="begun_at"),)),
    "objections": Reach(ways=(_ME,), is_live=True, is_portable=True),
    "consents": Reach(ways=(_ME,), is_live=True, is_portable=True),
    "guarantee_suspensions": Reach(
        ways=(Way("row", "contract_id", "guarantees", "contract_id"),), is_live=True
    ),
    "automated_decisions": Reach(ways=(_ME,)),
    "legal_holds": Reach(ways=(Way("key", "subject"),)),
    "disclosures": Reach(ways=(Way("row", "disclosure_id", "disclosure_sites", "disclosure_id"),)),
    "disclosure_sites": Reach(ways=(Way("key", "public_key"),)),
    "mails": Reach(ways=(_ME,), hidden={"headers": "hold the link that withdraws consent"}),
    "support_notes": Reach(ways=(_ME, _SITE)),
    "leads": Reach(ways=(Way("email", "email"),)),
    "invoices": Reach(ways=(_ME,)),
}
"""In an order in which `row` finds the table it wants."""

REFERENCED = {"organisations": ("organisation_id", "name", "kind")}
"""Tables that rows refer to, and what of them is handed out: who a partner is."""

NOT_PERSONAL: dict[str, str] = {
    "organisations": "partners; who one is stands with the rows that refer to it",
    "login_throttles": "keyed hashes that nobody can look somebody up by, gone within days",
    "audit_anchors": "where the log begins",
    "imported_records": "handed out under the tables that they are records of",
    "notices": "the same for all; that somebody was told stands in mails",
    "policy_versions": "the same for all",
    "transfers": "names companies only",
    "security_incidents": "names stores and numbers; whom it concerns was told by mail",
    "processors": "names companies only",
}
