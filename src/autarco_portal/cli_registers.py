"""`autarco-portal retention | incident | sharing | notice | hold`: registers and their jobs."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, FINDINGS, UsageError, data_directory, day
from autarco_portal.cli_officer import by, moment, officer, ruled
from autarco_portal.cli_store import add_verb, nothing_to_do, show, somebody

if TYPE_CHECKING:
    import argparse

    from autarco_portal.cli_command import Add


def register(add: Add) -> None:
    """Adds the commands."""
    retention = add("retention", nothing_to_do, "Remove what is kept no longer.")
    verbs = retention.add_subparsers(dest="verb", metavar="VERB", required=True)
    run = add_verb(verbs, "run", _retain, "Remove what the table says, and report the counts.")
    run.add_argument("--dry-run", action="store_true", help="count only")
    add_verb(verbs, "list", _list_rules, "List the table of retention.")

    incident = add("incident", nothing_to_do, "Keep the register of security incidents.")
    verbs = incident.add_subparsers(dest="verb", metavar="VERB", required=True)
    new = add_verb(verbs, "add", _add_incident, "Enter an incident; the 72 hours run.")
    new.add_argument("summary")
    new.add_argument("--aware", type=moment, metavar="TIME", help="default: now")
    new.add_argument("--high-risk", action="store_true", help="the people concerned must be told")
    by(new)
    add_verb(verbs, "list", _list_incidents, "List open incidents and the hours left.")
    report = add_verb(verbs, "report", _report, "Note what the authority was told.")
    report.add_argument("incident", metavar="ID")
    report.add_argument("known", nargs="+", metavar="FIELD=TEXT")
    report.add_argument("--delay-reason", default="", help="why after 72 hours")
    by(report)

    sharing = add("sharing", nothing_to_do, "Show the ledger of disclosures, and approve demands.")
    verbs = sharing.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = add_verb(verbs, "list", _list_sharing, "List what was disclosed to whom.")
    listing.add_argument("--site", metavar="KEY", help="only of one site")
    approve = add_verb(verbs, "approve", _approve, "Allow a disclosure that needs it.")
    approve.add_argument("disclosure", metavar="ID")
    by(approve)

    notice = add("notice", nothing_to_do, "Tell every registered user before something starts.")
    verbs = notice.add_subparsers(dest="verb", metavar="VERB", required=True)
    announce = add_verb(verbs, "add", _add_notice, "Publish a new policy and queue its mails.")
    announce.add_argument("version")
    announce.add_argument("starts", type=day, metavar="DAY")
    announce.add_argument("nl", type=Path, metavar="NL.md")
    announce.add_argument("en", type=Path, metavar="EN.md")
    by(announce)
    status = add_verb(verbs, "status", _notice_status, "Say who was told and who was not.")
    status.add_argument("notice", metavar="ID")

    hold = add("hold", nothing_to_do, "Keep what the law or a dispute needs.")
    verbs = hold.add_subparsers(dest="verb", metavar="VERB", required=True)
    keep = add_verb(verbs, "add", _add_hold, "Keep what a store has of somebody or of a site.")
    keep.add_argument("store", help="as `retention list` names it, or *")
    keep.add_argument("subject", metavar="EMAIL|SITE")
    keep.add_argument("--reason", required=True)
    keep.add_argument("--review", type=moment, required=True, metavar="TIME")
    by(keep)
    end = add_verb(verbs, "end", _end_hold, "End a hold.")
    end.add_argument("hold", metavar="ID")
    by(end)
    add_verb(verbs, "list", _list_holds, "List holds in force.")


def _retain(parsed: argparse.Namespace) -> int:
    from autarco_portal import privacy_retention
    from autarco_portal.privacy_retention import RetentionError

    data = data_directory(parsed)
    with ruled(parsed) as (store, settings):
        done = privacy_retention.run(
            store, data, settings.rules, datetime.now(UTC), is_dry=parsed.dry_run
        )
        show(
            ("rule", "before", "due" if parsed.dry_run else "removed", "held"),
            ((one.rule, f"{one.before:%Y-%m-%d}", str(one.count), str(one.held)) for one in done),
        )
        if parsed.dry_run:
            return DONE
        try:
            told = privacy_retention.run_ingest(store, data, settings.rules, datetime.now(UTC))
        except RetentionError as error:
            raise UsageError(str(error)) from error
    print(told, end="")
    return DONE


def _list_rules(parsed: argparse.Namespace) -> int:
    with ruled(parsed) as (_, settings):
        rules = settings.rules
    show(
        ("rule", "store", "days", "since", "action", "by", "purpose"),
        ((o.name, o.store, str(o.days), o.since, o.action, o.enforcer, o.purpose) for o in rules),
    )
    return DONE


def _add_incident(parsed: argparse.Namespace) -> int:
    from autarco_portal.audit import AuditEntry
    from autarco_portal.privacy.security_incident import SecurityIncident

    now = datetime.now(UTC)
    with ruled(parsed) as (store, _):
        who = officer(store, parsed)
        incident = SecurityIncident(
            incident_id=secrets.token_hex(4), aware_at=parsed.aware or now, recorded_by=who,
            summary=parsed.summary, is_high_risk=parsed.high_risk,
        )  # fmt: skip
        thing = f"incident:{incident.incident_id}"
        entry = AuditEntry(at=now, actor=who, action="add_incident", thing=thing)
        store.privacy.incidents.add(incident, entry)
    print(incident.incident_id)
    return DONE


def _list_incidents(parsed: argparse.Namespace) -> int:
    from autarco_portal.privacy.security_incident import hours_left

    now = datetime.now(UTC)
    with ruled(parsed) as (store, _):
        found = store.privacy.incidents.all(closed_at=None)
    left = {one.incident_id: hours_left(one, now) for one in found}
    show(
        ("incident", "aware", "hours left", "summary"),
        (
            (
                one.incident_id, f"{one.aware_at:%Y-%m-%d %H:%M}",
                "-" if (hours := left[one.incident_id]) is None else f"{hours:.0f}", one.summary,
            )
            for one in found
        ),
    )  # fmt: skip
    return FINDINGS if any(hours is not None and hours < 0 for hours in left.values()) else DONE


def _report(parsed: argparse.Namespace) -> int:
    from autarco_portal.audit import AuditEntry
    from autarco_portal.privacy import security_incident

    now = datetime.now(UTC)
    known = dict(part.partition("=")[::2] for part in parsed.known)
    with ruled(parsed) as (store, _):
        who = officer(store, parsed)
        thing = f"incident:{parsed.incident}"
        changed = store.privacy.incidents.change(
            parsed.incident,
            partial(
                security_incident.report,
                at=now,
                by=who,
                known=known,
                delay_reason=parsed.delay_reason,
            ),
            AuditEntry(at=now, actor=who, action="report_incident", thing=thing),
        )
    unknown = security_incident.still_unknown(changed)
    print(f"still to be told: {', '.join(unknown) or 'nothing'}")
    return DONE


def _list_sharing(parsed: argparse.Namespace) -> int:
    with ruled(parsed) as (store, _):
        privacy = store.privacy
        found = privacy.disclosures_of(parsed.site) if parsed.site else privacy.disclosures.all()
    show(
        ("disclosure", "recipient", "kind", "basis", "fields", "sites", "disclosed"),
        (
            (
                one.disclosure_id, one.recipient, one.kind, one.basis, ",".join(one.fields),
                ",".join(one.sites), f"{one.disclosed_at:%Y-%m-%d}" if one.disclosed_at else "-",
            )
            for one in found
        ),
    )  # fmt: skip
    return DONE


def _approve(parsed: argparse.Namespace) -> int:
    from autarco_portal.audit import AuditEntry
    from autarco_portal.privacy import sharing

    with ruled(parsed) as (store, _):
        who = officer(store, parsed)
        thing = f"disclosure:{parsed.disclosure}"
        changed = store.privacy.disclosures.change(
            parsed.disclosure,
            partial(sharing.approve, by=who),
            AuditEntry(at=datetime.now(UTC), actor=who, action="approve_disclosure", thing=thing),
        )
    print(f"approvals missing: {sharing.approvals_missing(changed)}")
    return DONE


def _add_notice(parsed: argparse.Namespace) -> int:
    from autarco_portal import privacy_notices

    with ruled(parsed) as (store, settings):
        try:
            texts = {"nl": parsed.nl.read_text("utf-8"), "en": parsed.en.read_text("utf-8")}
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the policy: {error}") from error
        notice, count = privacy_notices.publish(
            store, parsed.version, parsed.starts, texts, url=settings.url,
            now=datetime.now(UTC), by=officer(store, parsed),
        )  # fmt: skip
    print(notice.notice_id)
    print(f"mails queued: {count}")
    return DONE


def _notice_status(parsed: argparse.Namespace) -> int:
    from autarco_portal.privacy.policy import readiness

    with ruled(parsed) as (store, _):
        notice = store.privacy.notices.get(parsed.notice)
        if notice is None:
            raise UsageError("there is no such notice")
        found = readiness(
            store.privacy.registered(), store.mails.deliveries(notice.notice_id),
            starts_on=notice.starts_on,
        )  # fmt: skip
    print("everybody was told" if found.is_ready else "not everybody was told")
    for name in ("missing", "waiting", "refused"):
        people = getattr(found, name)
        print(f"{name}: {len(people)} {' '.join(people)}".rstrip())
    return DONE if found.is_ready else FINDINGS


def _add_hold(parsed: argparse.Namespace) -> int:
    from autarco_portal import telemetry_kept
    from autarco_portal.audit import AuditEntry
    from autarco_portal.privacy.legal_hold import Hold

    now = datetime.now(UTC)
    with ruled(parsed) as (store, settings):
        stores = {rule.store for rule in settings.rules} | {"*"}
        if parsed.store not in stores:
            raise UsageError(f"no store {parsed.store}: see `autarco-portal retention list`")
        who = officer(store, parsed)
        is_site = store.sites.record(parsed.subject) is not None
        subject = parsed.subject if is_site else somebody(store, parsed.subject).person_id
        hold = Hold(
            hold_id=secrets.token_hex(4), store=parsed.store, subject=subject,
            reason=parsed.reason, begun_at=now, begun_by=who, review_at=parsed.review,
        )  # fmt: skip
        entry = AuditEntry(
            at=now, actor=who, action="hold", thing=f"hold:{hold.hold_id}",
            subject=None if is_site else subject,
        )  # fmt: skip
        store.privacy.holds.add(hold, entry)
        # Now, not with the next run of retention: a server may prune by itself before.
        telemetry_kept.write(data_directory(parsed).held, telemetry_kept.entries(store, now))
    print(hold.hold_id)
    return DONE


def _end_hold(parsed: argparse.Namespace) -> int:
    from autarco_portal.audit import AuditEntry
    from autarco_portal.privacy import legal_hold

    now = datetime.now(UTC)
    with ruled(parsed) as (store, _):
        who = officer(store, parsed)
        store.privacy.holds.change(
            parsed.hold,
            partial(legal_hold.end, at=now),
            AuditEntry(at=now, actor=who, action="end_hold", thing=f"hold:{parsed.hold}"),
        )
    return DONE


def _list_holds(parsed: argparse.Namespace) -> int:
    with ruled(parsed) as (store, _):
        found = store.privacy.holds.all(ended_at=None)
    show(
        ("hold", "store", "subject", "review", "reason"),
        ((o.hold_id, o.store, o.subject, f"{o.review_at:%Y-%m-%d}", o.reason) for o in found),
    )
    return DONE
