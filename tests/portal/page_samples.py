"""Pages as a busy portal shows them: values for the tests of the templates."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from msgspec import structs

import page_samples_rights
from autarco_portal import guarantee
from autarco_portal.alarm_record import AlarmFilter
from autarco_portal.guarantee_contract import Contract, year_span
from autarco_portal.guarantee_evidence import Measured, Uncovered, YearEvidence
from autarco_portal.guarantee_record import GuaranteeStatus, SettlementRecord
from autarco_portal.incidents import Cause, Severity
from autarco_portal.pages import models
from autarco_portal.pages.charts import Chart, Gap, Series
from autarco_portal.people import MemberRole, OrganisationKind
from autarco_portal.site_health import Health

NOW = datetime(2026, 6, 21, 13, 7, tzinfo=UTC)
EVIL = '<script>alert("1")</script>'
"""A name that a page must show as it is written."""


def frame(
    path: str = "/", tab: models.Tab = "", person: str | None = "J. de Vries"
) -> models.Frame:
    """What is around a page of somebody who is signed in."""
    return models.Frame(
        path=path,
        tab=tab,
        person=person,
        has_organisations=person is not None,
        csrf="0123456789abcdef",
        now=NOW,
        json_path="/api/v1/sites" if tab == "sites" else "",
    )


def power_chart() -> Chart:
    """A fair day of two inverters with a gap."""
    start = datetime(2026, 6, 21)
    times = [start + timedelta(minutes=5 * n) for n in range(182)]

    def at(time: datetime, size: float) -> float | None:
        hour = time.hour + time.minute / 60
        if 9.5 <= hour < 10.25:
            return None
        bell: float = math.sin(max(0.0, min(1.0, (hour - 5.3) / 16.7)) * math.pi) ** 1.6
        return round(size * bell * (0.93 + 0.07 * math.sin(hour * 9)))

    return Chart(
        chart_id="power",
        title="Power",
        summary="Between 05:20 and 15:05 at most 3.620 W, at 13:40.",
        kind="lines",
        unit="W",
        x=tuple(time.strftime("%Y-%m-%d %H:%M") for time in times),
        labels=tuple(time.strftime("%H:%M") for time in times),
        series=(
            Series(name="26010007A1B2C3", values=tuple(at(time, 3600) for time in times)),
            Series(name="26010007A1B2C4", values=tuple(at(time, 1900) for time in times)),
        ),
        gaps=(Gap(start="2026-06-21 09:30", end="2026-06-21 10:15"),),
        x_format="%H:%M",
    )


def bar_chart(chart_id: str, title: str, days: list[date], size: float) -> Chart:
    """Energy beside what was expected."""
    values = [size * (0.6 + 0.4 * math.sin(3.1 * n)) for n in range(len(days))]
    return Chart(
        chart_id=chart_id,
        title=title,
        summary="98 % of what was expected.",
        kind="bars",
        unit="kWh",
        x=tuple(day.isoformat() for day in days),
        labels=tuple(day.isoformat() for day in days),
        series=(
            Series(name="Expected", values=tuple(v * 1.05 for v in values), role="expected"),
            Series(name="Energy", values=(*values[:-2], None, None)),
        ),
        digits=1,
        x_hover="%d-%m-%Y",
    )


def alarm(**changed: object) -> models.AlarmRow:
    """An open alarm."""
    row = models.AlarmRow(
        incident_id="k7m2q9xd-outage-1",
        site_id="k7m2q9xd",
        site_name="Teststraat 12",
        inverter_sn="26010007A1B2C3",
        cause=Cause.OUTAGE,
        severity=Severity.ALARM,
        opened_at=NOW - timedelta(days=2, hours=3),
        lost_kwh=31.4,
    )
    return structs.replace(row, **changed)


def site_page() -> models.SitePage:
    """A site with everything on it."""
    june = [date(2026, 6, n) for n in range(1, 31)]
    months = [date(2026, n, 1) for n in range(1, 13)]
    return models.SitePage(
        site_id="k7m2q9xd",
        name="Teststraat 12",
        address="Teststraat 12, 3511 ZZ Utrecht",
        health=Health.UNDERPERFORMING,
        time_zone="Europe/Amsterdam",
        latest_at=NOW - timedelta(minutes=3),
        peak_kw=8.2,
        power=5430,
        today_kwh=23.4,
        month_kwh=612,
        total_kwh=18422,
        day=date(2026, 6, 21),
        previous_day=date(2026, 6, 20),
        next_day=None,
        earliest_day=date(2024, 4, 9),
        power_chart=power_chart(),
        mppt_charts=(
            structs.replace(power_chart(), chart_id="mppt-1", title="MPPT 26010007A1B2C3"),
            structs.replace(power_chart(), chart_id="mppt-2", title="MPPT 26010007A1B2C4"),
        ),
        month_chart=bar_chart("month", "June 2026", june, 40),
        year_chart=bar_chart("year", "2026", months, 1000),
        comparisons=(
            models.Comparison(
                period="June 2026",
                energy_kwh=612,
                expected_kwh=640,
                performance_index=0.956,
                performance_ratio=0.83,
                peer_ratio=0.91,
                peers=14,
                availability=0.997,
            ),
            models.Comparison(
                period="2026",
                energy_kwh=3902,
                expected_kwh=None,
                performance_index=None,
                performance_ratio=None,
                peer_ratio=None,
                peers=0,
                availability=1.0,
            ),
        ),
        silent_times=(
            models.SilentTime(start=datetime(2026, 6, 18, 9, 15), end=datetime(2026, 6, 18, 11)),
            models.SilentTime(start=datetime(2026, 6, 21, 9, 30), end=None),
        ),
        alarms=(alarm(), alarm(cause=Cause.UNDERPERFORMANCE, severity=Severity.WARNING)),
        inverters=(
            models.InverterRow(
                serial_number="26010007A1B2C3",
                rated_kw=5.0,
                health=Health.OK,
                power=3530,
                total_kwh=12044,
                latest_at=NOW - timedelta(minutes=3),
            ),
            models.InverterRow(
                serial_number="26010007A1B2C4",
                rated_kw=2.5,
                health=Health.NO_COMMS,
                power=None,
                total_kwh=6378,
                latest_at=NOW - timedelta(days=3),
                is_installed=False,
            ),
        ),
        guarantee_id="g-2024-0007",
    )


def fleet(**changed: object) -> models.Fleet:
    """Sites in every state."""
    rows = tuple(
        models.SiteRow(
            site_id=f"site000{n}",
            name=f"Teststraat {n + 10}" if n else EVIL,
            place=("Utrecht", "Deurne", "Amersfoort")[n % 3],
            health=health,
            peak_kw=4.1 + n,
            power=None if n % 4 == 1 else 1200.0 * n,
            today_kwh=None if n % 4 == 1 else 3.3 * n,
            latest_at=None if health is Health.UNMONITORED else NOW - timedelta(minutes=3**n),
            alarms_open=n % 3,
        )
        for n, health in enumerate(Health)
    )
    page = models.Fleet(
        counts=tuple((health, 1200 // (n + 1) ** 3) for n, health in enumerate(Health)),
        power=4_312_000,
        today_kwh=21_350,
        rows=rows,
        found=1417,
        page=2,
        pages=29,
    )
    return structs.replace(page, **changed)


def guarantee_page() -> models.GuaranteePage:
    """A guarantee with two settled years, one of them under review."""
    contract = Contract(
        contract_id="g-2024-0007",
        site_id="k7m2q9xd",
        terms_version="2024-1",
        starts_on=date(2024, 4, 9),
        term_years=15,
        p50_kwh=Decimal(7400),
        price_eur_per_kwh=Decimal("0.10"),
    )
    settlements = []
    for year, kwh in ((1, Decimal(6500)), (2, Decimal(5100))):
        begins, ends = year_span(contract, year)
        middle = begins + timedelta(days=200)
        evidence = YearEvidence(
            year=year,
            measured=(
                Measured(
                    serial_number="26010007A1B2C3",
                    from_at=begins,
                    to_at=middle if year == 2 else ends,
                    energy_kwh=kwh,
                    method="counter",
                ),
            ),
            uncovered=(
                (
                    Uncovered(
                        from_at=middle,
                        to_at=ends,
                        weight=Decimal("0.2"),
                        performance_index=Decimal(1),
                    ),
                )
                if year == 2
                else ()
            ),
        )
        made = guarantee.settle_year(contract, evidence, code_version="0.1.0", input_sha256={})
        settlements.append(
            SettlementRecord(
                sha256=guarantee.digest(made),
                settlement=made,
                document=guarantee.to_json(made),
                first_day=made.years[0].starts_on,
                created_at=ends + timedelta(days=10),
            )
        )
    return models.GuaranteePage(
        contract=contract,
        status=GuaranteeStatus.ACTIVE,
        site_name="Teststraat 12",
        so_far=models.YearSoFar(
            starts_on=date(2026, 4, 9),
            ends_before=date(2027, 4, 9),
            guaranteed_kwh=Decimal(6600),
            measured_kwh=Decimal(1800),
        ),
        settlements=tuple(settlements),
        contestable=NOW,
        chart=bar_chart(
            "years", "Guaranteed and measured", [date(n, 4, 9) for n in range(2024, 2028)], 6600
        ),
    )


def pages() -> dict[str, tuple[models.Frame, models.Page]]:
    """All samples by name."""
    members = tuple(
        models.MemberRow(
            person_id=f"p{n}",
            name=name,
            email=f"{n}@example.nl",
            role=MemberRole.MANAGER if n == 0 else MemberRole.STAFF,
            has_second_factor=n != 2,
            is_disabled=n == 3,
            is_invited=n == 2,
            is_self=n == 0,
            may_disable=n == 1,
            may_reset_second_factor=n == 1,
        )
        for n, name in enumerate(("J. de Vries", EVIL, "A. Smit", "P. Bos"))
    )
    stranger = frame(person=None)
    return {
        "sign-in": (stranger, models.SignIn(error="That is not right.", email="a@example.nl")),
        "second-factor": (stranger, models.SecondFactor()),
        "second-factor-setup": (
            frame("/profile/second-factor", "profile"),
            models.SecondFactorSetup(
                qr_svg='<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 2"></svg>',
                secret="JBSW Y3DP EHPK 3PXP",  # noqa: S106
                is_mandatory=True,
            ),
        ),
        "prove-again": (
            frame("/sign-in/again", "profile"),
            models.ProveAgain(email="a@example.nl", next_path="/profile", has_second_factor=True),
        ),
        "recovery-codes": (
            frame("/profile/second-factor", "profile"),
            models.RecoveryCodes(codes=("abcde-fghij", "klmno-pqrst")),
        ),
        "invitation": (
            stranger,
            models.Invitation(
                token="abc",  # noqa: S106
                email="a@example.nl",
                name="A. Smit",
                organisation=EVIL,
                password_length_min=12,
            ),
        ),
        "fleet": (frame("/", "sites"), fleet()),
        "fleet-empty": (
            frame("/", "sites"),
            fleet(counts=(), rows=(), found=0, pages=1, page=1, may_add=True),
        ),
        "fleet-nothing-found": (
            frame("/?q=x", "sites"),
            fleet(rows=(), found=0, pages=1, page=1, search="x", health=Health.FAULT),
        ),
        "site": (frame("/sites/k7m2q9xd", "sites"), site_page()),
        "alarms": (
            frame("/alarms", "alarms"),
            models.Alarms(
                wanted=AlarmFilter(cause=Cause.OUTAGE, severity=Severity.ALARM),
                rows=tuple(alarm(cause=cause) for cause in Cause),
                found=len(Cause),
            ),
        ),
        "alarms-none": (
            frame("/alarms", "alarms"),
            models.Alarms(wanted=AlarmFilter(), rows=(), found=0),
        ),
        "alarm": (
            frame("/alarms/k7m2q9xd-outage-1", "alarms"),
            models.AlarmPage(
                alarm=alarm(),
                time_zone="Europe/Amsterdam",
                respond_by=NOW + timedelta(days=28),
                timeline=(
                    models.TimelineEntry(at=NOW - timedelta(days=2), what="The fault began"),
                    models.TimelineEntry(
                        at=NOW - timedelta(days=1), what="Acknowledged", by="P. Bos", comment=EVIL
                    ),
                ),
                evidence=(("producing_minutes", "0"), ("expected_kwh", "12.4")),
                method="outage of detection-1",
                may_acknowledge=True,
            ),
        ),
        "guarantees": (
            frame("/guarantees", "guarantees"),
            models.Guarantees(
                rows=(
                    models.GuaranteeRow(
                        contract_id="g-2024-0007",
                        site_name="Teststraat 12",
                        status=GuaranteeStatus.ACTIVE,
                        starts_on=date(2024, 4, 9),
                        ends_before=date(2039, 4, 9),
                        guaranteed_kwh=Decimal(6600),
                        years_settled=2,
                        paid_eur=Decimal("16.00"),
                        needs_review=True,
                    ),
                )
            ),
        ),
        "guarantee": (frame("/guarantees/g-2024-0007", "guarantees"), guarantee_page()),
        "organisations": (
            frame("/organisations", "organisations"),
            models.Organisations(
                rows=(
                    models.OrganisationRow(
                        organisation_id="o1",
                        name="Zonnig Installatie BV",
                        kind=OrganisationKind.INSTALLER,
                        parent="Zonnegroothandel BV",
                        people=4,
                    ),
                ),
                may_add=True,
            ),
        ),
        "organisation": (
            frame("/organisations/o1", "organisations"),
            models.OrganisationPage(
                organisation_id="o1",
                name="Zonnig Installatie BV",
                kind=OrganisationKind.INSTALLER,
                members=members,
                may_invite=True,
                invitation_link="https://portal.example/invitation/abc",
            ),
        ),
        "profile": (
            frame("/profile", "profile"),
            models.Profile(
                name="J. de Vries",
                email="j@example.nl",
                has_second_factor=True,
                must_have_second_factor=False,
                sessions=(
                    models.SessionRow(
                        session_id="s1",
                        browser="Firefox on Linux",
                        started_at=NOW - timedelta(days=3),
                        seen_at=NOW,
                        is_current=True,
                    ),
                ),
                tokens=(
                    models.AppTokenRow(
                        token_id="t1",  # noqa: S106
                        name="Home Assistant",
                        created_at=NOW - timedelta(days=30),
                        used_at=NOW - timedelta(minutes=2),
                    ),
                ),
                password_length_min=12,
                new_token="atk_0123456789abcdef",  # noqa: S106
            ),
        ),
        "failure": (stranger, models.Failure(status=404, sentence="")),
        **{
            name: (frame(f"/{name}", "my-data"), page)
            for name, page in page_samples_rights.pages().items()
        },
    }
