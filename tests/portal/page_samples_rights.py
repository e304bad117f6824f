"""Pages of rights and of the privacy officer: values for the tests of the templates."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import structs

from autarco_portal.audit_page import Line
from autarco_portal.bundle_jobs import BundleState
from autarco_portal.pages import labels_privacy as labels
from autarco_portal.pages import models, models_office, models_rights, models_site_people
from autarco_portal.people import OrganisationKind
from autarco_portal.privacy.erasure import Impact, Kept
from autarco_portal.privacy.sharing import Basis, Disclosure, RecipientKind

if TYPE_CHECKING:
    from autarco_portal.pages.models import Page

NOW = datetime(2026, 6, 21, 13, 7, tzinfo=UTC)
EVIL = '<script>alert("1")</script>'


def request(right: str = "erasure", state: str = "verified") -> models_rights.RequestRow:
    return models_rights.RequestRow(
        request_id="a1b2c3",
        right=right,
        state=state,
        received_at=NOW - timedelta(days=20),
        answer_by=date(2026, 7, 1),
        is_open=state not in ("closed", "withdrawn"),
    )


def disclosure() -> Disclosure:
    return Disclosure(
        disclosure_id="d1", recipient=EVIL, kind=RecipientKind.AUTHORITY, ground="fraud",
        basis=Basis.LEGAL_OBLIGATION, why="demand 7", fields=("readings",),
        sites=("k7m2q9xd", "s2", "s3", "s4", "s5", "s6"), asked_at=NOW, asked_by="p1",
    )  # fmt: skip


def my_data() -> models_rights.MyData:
    ready = BundleState(
        state="ready", begun_at=NOW, ready_at=NOW, bytes=76_000_000, sha256="ab" * 32
    )
    building = BundleState(state="building", begun_at=NOW, done=3, total=14)
    return models_rights.MyData(
        name=EVIL,
        email="j@example.nl",
        phone="+31 6 12345678",
        language="nl",
        is_fresh=False,
        requests=tuple(request(right) for right in labels.RIGHT),
        rights=tuple(labels.RIGHT),
        bundles=(
            models_rights.BundleRow(profile="access", state=ready),
            models_rights.BundleRow(profile="portability", state=building),
        ),
        objections=tuple((one, one == "research") for one in labels.PURPOSE),
        restricted_since=None,
        grounds=tuple(labels.GROUND),
        topics=tuple(
            models_rights.TopicRow(topic=topic, is_given=topic == "news", is_asked=n < 2)
            for n, topic in enumerate(labels.TOPIC)
        ),
        decisions=tuple(
            models_rights.DecisionRow(
                decision_id=f"d{n}",
                effect=effect,
                thing="g-2024-0007",
                state="provisional",
                decided_at=NOW,
                contest_until=NOW + timedelta(days=30),
                may_contest=n == 0,
                reason=EVIL if n else "",
            )
            for n, effect in enumerate(labels.EFFECT)
        ),
    )


def my_request() -> models_rights.MyRequest:
    impact = Impact(
        person="p1",
        sites_without_monitoring=("k7m2q9xd",),
        sites_he_leaves=(),
        guarantees_lapse=("g-2024-0007",),
        loggers_refused=(4_012_345_678,),
        inverters_erased=("26010007A1B2C3",),
        photos_deleted=2,
        removed={"sessions": 3, "site_owners": 1},
        kept=(Kept(what="invoices", count=1, why="tax law", until=date(2033, 12, 31)),),
        blocked_by=("a dispute",),
    )
    return models_rights.MyRequest(
        request=request(),
        is_fresh=True,
        is_verified=True,
        steps=tuple(
            models_rights.StepRow(at=NOW, kind=kind, outcome="partly", reason=EVIL)
            for kind in labels.STEP
        ),
        erasure=models_rights.ErasurePreview(
            case_id="e-a1b2c3",
            impact=impact,
            sha256="ab" * 32,
            cooling_off_days=10,
            effective_at=None,
            is_called_off=False,
            is_begun=False,
        ),
    )


def desk_row(days_left: int, state: str = "verified") -> models_office.DeskRow:
    return models_office.DeskRow(
        request=request(state=state), channel="mail", person=EVIL, days_left=days_left
    )


def desk_request(state: str) -> models_office.DeskRequest:
    return models_office.DeskRequest(
        row=desk_row(2, state),
        person_email="j@example.nl",
        contact="k@example.nl",
        is_verified=state == "decided",
        is_extended=False,
        outcomes=tuple(labels.OUTCOME),
        methods=("known_fact", "masked_copy"),
        steps=tuple(
            models_rights.StepRow(
                at=NOW, kind=kind, by=EVIL, method="known_fact", outcome="granted", reason="why",
                sha256="ab" * 32,
            )
            for kind in labels.STEP
        ),
        evidence=((NOW, "ab" * 32),),
        facts={"north001": ("street", f"planes.{EVIL}.pdc0")},
        effective_at=NOW + timedelta(days=10),
    )  # fmt: skip


def incident(hours_left: float | None) -> models_office.IncidentRow:
    return models_office.IncidentRow(
        incident_id=f"i{hours_left or 0:.0f}",
        summary=EVIL,
        aware_at=NOW,
        hours_left=hours_left,
        is_risk=True,
        is_high_risk=True,
        assessment=EVIL,
        must_tell_people=True,
        reports=1,
        still_unknown=("measures",),
        closed_at=None if hours_left is not None else NOW,
    )


def pages() -> dict[str, Page]:
    """All samples by name."""
    mine = my_request()
    assert mine.erasure is not None
    line = Line(sequence=12, at=NOW, sentence=EVIL, count=3, is_look=True, is_other=True)
    desk = models_office.PrivacyDesk(
        rows=tuple(desk_row(days) for days in (-1, 2, 9, 29)),
        contested=tuple(
            models_office.ContestedRow(
                decision_id=f"d{n}", effect="lapsed", thing="guarantee:g-7", person=EVIL,
                reason=EVIL, decide_until=NOW, is_own=n == 1,
            )
            for n in range(2)
        ),
        attention=(EVIL,),
        shows_all=False,
        rights=tuple(labels.RIGHT),
        channels=("mail", "letter", "phone"),
    )  # fmt: skip
    retention = tuple(
        models_office.RetentionRow(
            name="alarms", days=7_300, since="closed", purpose="evidence", enforcer=enforcer,
            due=3 if enforcer == "portal" else None, held=1,
        )
        for enforcer in ("portal", "ingest", "operator")
    )  # fmt: skip
    people = models_site_people.SitePeople(
        site_id="k7m2q9xd", site_name=EVIL,
        owners=(models_site_people.OwnerRow(name=EVIL, email="j@example.nl", is_invited=True),),
        roles=(
            models_site_people.RoleRow(
                organisation=EVIL, kind=OrganisationKind.INSTALLER, since=NOW
            ),
        ),
        grants=tuple(
            models_site_people.GrantRow(
                grant_id=f"g{n}", who=EVIL, why=EVIL, since=NOW, until=until
            )
            for n, until in enumerate((None, NOW))
        ),
        may_grant=True, may_invite=True, invitation_link="https://portal.example/invitation/abc",
    )  # fmt: skip
    return {
        "forgotten": models.Forgotten(),
        "forgotten-sent": models.Forgotten(is_sent=True),
        "site-people": people,
        "site-people-none": structs.replace(people, owners=(), roles=(), grants=()),
        "my-data": my_data(),
        "my-data-restricted": structs.replace(
            my_data(), restricted_since=NOW, ground="accuracy", requests=(), decisions=()
        ),
        "my-request": mine,
        "my-request-unproved": structs.replace(mine, is_verified=False, is_fresh=False),
        "my-request-confirmed": structs.replace(
            mine, erasure=structs.replace(mine.erasure, effective_at=NOW)
        ),
        "looks": models_rights.Looks(lines=(line,)),
        "looks-site": models_rights.Looks(
            site_id="k7m2q9xd", site_name=EVIL, lines=(line,), disclosures=(disclosure(),)
        ),
        "desk": desk,
        "desk-empty": structs.replace(desk, rows=(), contested=(), attention=()),
        "desk-request": desk_request("received"),
        "desk-request-decided": desk_request("decided"),
        "desk-incidents": models_office.DeskIncidents(
            rows=tuple(incident(hours) for hours in (-3.0, 40.0, None)),
            fields=tuple(labels.REPORT),
        ),
        "desk-disclosures": models_office.DeskDisclosures(rows=((disclosure(), 2, True),)),
        "desk-retention": models_office.DeskRetention(rows=retention),
        "policy": models_office.Policy(
            version="2026-1", text=f"# Privacy\n\n{EVIL}", in_force_on=date(2026, 1, 1),
            sha256="ab" * 32, contact="privacy@example.nl",
            history=(
                models_office.PolicyRow(
                    version="2026-1", in_force_on=date(2026, 1, 1), is_shown=True
                ),
                models_office.PolicyRow(
                    version="2025-1", in_force_on=date(2025, 1, 1), is_shown=False
                ),
            ),
        ),
        "policy-none": models_office.Policy(
            version="", text="", in_force_on=None, sha256="", history=(), contact=""
        ),
    }  # fmt: skip
