"""Every deadline and every rule of retention has a test that travels in time to its end.

Each name is a constant of the program, or a rule of the table; each value is that test itself, so
that one that is removed or renamed is missed here.
"""

from __future__ import annotations

import importlib
import pkgutil
from datetime import timedelta
from typing import TYPE_CHECKING

import test_ageing
import test_mail
import test_maintenance
import test_privacy_registers
import test_privacy_request
import test_privacy_retention
import test_privacy_rights
import test_privacy_rules
import test_privacy_schema
import test_privacy_store
import test_rights_end_to_end
import test_telemetry_kept
from autarco_portal import (
    bundle_jobs,
    mail_queue,
    privacy,
    privacy_desk,
    telemetry_kept,
)
from autarco_portal.privacy import retention
from autarco_portal.privacy.suspension import SuspensionRules

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

BY_ROWS = test_privacy_schema.test_each_rule_removes_at_its_moment_and_only_what_is_due
BY_DAYS = (
    test_maintenance.TestRetention.test_days_leave_by_table_and_their_files_after_the_grace_period
)
BY_MOMENT = test_privacy_retention.test_what_names_nobody_goes_at_its_moment_too
BY_GUARANTEE = (
    test_privacy_retention.test_photos_go_two_years_after_the_last_guarantee_of_their_site
)

RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(test_privacy_schema.SINCE, BY_ROWS),
    "readings": test_ageing.test_what_is_held_does_not_expire_either,
    "samples": test_ageing.test_addresses_go_after_a_year_and_samples_after_three,
    "addresses": test_ageing.test_addresses_go_after_a_year_and_samples_after_three,
    **dict.fromkeys(("sessions", "quarantine"), BY_DAYS),
    **dict.fromkeys(("login_throttles", "security_incidents"), BY_MOMENT),
    "photos": BY_GUARANTEE,
    "invoices": (
        test_privacy_store.test_an_invoice_is_kept_for_seven_years_after_the_end_of_its_own
    ),
    "audit_log": test_privacy_store.test_the_audit_log_is_pruned_and_still_verifies,
    # Nobody deletes backups but the operator; that the rule is due then is the program's.
    "backups": test_privacy_registers.test_each_rule_is_due_after_its_days_and_not_before,
}

DEADLINES: dict[str, Callable[..., Any]] = {
    "consent.CONFIRM_DAYS": test_privacy_registers.test_an_old_link_confirms_nothing,
    "deadline.EXTENDED_MONTHS": (
        test_privacy_request.test_two_months_more_with_a_reason_and_only_within_the_first
    ),
    "deadline.WARN_DAYS": (
        test_privacy_request.test_the_officer_is_warned_ten_and_three_days_before_and_when_it_is_missed
    ),
    "erasure.COOLING_OFF_DAYS": (
        test_privacy_rules.test_erasure_waits_for_the_persons_yes_and_for_the_cooling_off
    ),
    "erasure.INVOICE_YEARS": (
        test_privacy_rules.test_the_preview_says_what_ends_what_goes_and_what_stays
    ),
    "erasure.CLAIM_YEARS": (
        test_privacy_rules.test_the_preview_says_what_ends_what_goes_and_what_stays
    ),
    "human_decision.CONTEST_DAYS": (
        test_privacy_rules.test_an_uncontested_decision_is_final_when_the_time_to_contest_is_over
    ),
    "human_decision.DECIDE_DAYS": (
        test_privacy_rules.test_a_contested_decision_is_never_final_without_a_named_person
    ),
    "policy.NOTICE_DAYS": (
        test_privacy_registers.test_a_significant_change_is_not_in_force_before_people_could_read_of_it
    ),
    "processors.REVIEW_DAYS": (
        test_privacy_registers.test_the_register_of_processors_says_what_is_missing
    ),
    "security_incident.NOTIFY_WITHIN": (
        test_privacy_registers.test_the_authority_hears_of_a_breach_within_72_hours
    ),
    "transfer.NOTICE_DAYS": (
        test_privacy_registers.test_nothing_is_transferred_before_the_day_of_the_notice
    ),
    "SuspensionRules.lapse_after_days": (
        test_privacy_rules.test_a_suspended_guarantee_lapses_after_its_days_and_the_person_is_warned
    ),
    "SuspensionRules.lapse_warning_days": (
        test_privacy_rules.test_a_suspended_guarantee_lapses_after_its_days_and_the_person_is_warned
    ),
    "SuspensionRules.lift_notice_days": (
        test_privacy_rights.test_a_restriction_ends_on_the_announced_day_and_the_guarantee_goes_on
    ),
    "privacy_desk.LINK_DAYS": test_privacy_store.test_a_link_proves_one_request_once,
    "bundle_jobs.KEPT": (
        test_rights_end_to_end.test_access_hands_out_everything_of_the_person_and_nobody_else
    ),
    "mail_queue.RETRY_AFTER": test_mail.test_a_mail_is_tried_again_for_five_days_and_then_given_up,
    "telemetry_kept.SETTLED_FOR_GOOD": (
        test_telemetry_kept.test_readings_wait_for_the_settlement_of_their_year_and_for_who_may_contest_it
    ),
}

OF_RULES = {"retention.TERM_DAYS", "retention.SAMPLES_DAYS"}
"""Periods of the table itself."""


def periods(module: ModuleType) -> set[str]:
    """Names of a module's constants that say how long something takes."""
    last = module.__name__.rpartition(".")[2]
    return {
        f"{last}.{name}"
        for name, value in vars(module).items()
        if name.isupper() and not name.startswith("_")
        if name.endswith(("_DAYS", "_HOURS", "_MONTHS", "_YEARS", "_AFTER", "_WITHIN"))
        or isinstance(value, timedelta)
        # Not what a module only imports.
        if not _is_elsewhere(module, name)
    }


def _is_elsewhere(module: ModuleType, name: str) -> bool:
    with open(str(module.__file__), encoding="utf-8") as file:
        return not any(line.startswith((f"{name} =", f"{name}:")) for line in file)


def test_each_rule_of_retention_is_travelled_to_its_end() -> None:
    assert set(RULES) == {rule.name for rule in retention.RULES}


def test_each_deadline_is_travelled_to_its_end() -> None:
    rules = [
        importlib.import_module(f"{privacy.__name__}.{found.name}")
        for found in pkgutil.iter_modules(privacy.__path__)
    ]
    there = {
        name
        for module in (*rules, privacy_desk, bundle_jobs, mail_queue, telemetry_kept)
        for name in periods(module)
    }
    there |= {f"SuspensionRules.{name}" for name in SuspensionRules.__struct_fields__}
    assert there - OF_RULES == set(DEADLINES)
