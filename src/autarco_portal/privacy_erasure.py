"""How is an erasure carried out, from the first refused frame to the proof?

In the order of `erasure.actions`: the person can no longer sign in, his guarantees lapse, the list
that outlives a restore knows him, his sticks are refused, telemetry and files go, then the rows of
the database together with the proof, in one transaction. Each step may be repeated: an erasure that
was interrupted goes on where it stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autarco_portal import privacy_files, reanalysis, registry_file
from autarco_portal.audit import AuditEntry
from autarco_portal.erased_list import ErasedList
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.people import holds
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.privacy import erasure, letter, request
from autarco_portal.privacy.erasure import ActionKind, Case, Impact, Proof
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.store.privacy_erasure import LAPSED_BY_ERASURE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from autarco_ingest.paths import DataDirectory
    from autarco_portal.photos import Photo
    from autarco_portal.store import Store
    from autarco_portal.telemetry_erasure import Forget

REAPPLIED = "reapplied"
"""Stands in for a case where a restored backup brought somebody back."""


class Eraser:
    """Erases people of one portal; `forget` takes telemetry out of the lake.

    `insurer` is the address that hears of guarantees that lapsed.
    """

    def __init__(
        self, store: Store, data: DataDirectory, forget: Forget, *, insurer: str | None = None
    ) -> None:
        self.store = store
        self.data = data
        self.forget = forget
        self.insurer = insurer
        self.portal = PortalDirectory.of(data)
        self.erased = ErasedList(path=self.portal.erased, key_path=self.portal.erased_key)

    def preview(self, person_id: str, now: datetime) -> Impact:
        """Returns what erasing somebody would do now; raises StoreError for somebody unknown."""
        holdings = self.store.erasure.holdings(person_id, now)
        in_force = tuple(self.store.privacy.holds.all(ended_at=None))
        return erasure.preview(holdings, today=now.date(), holds=in_force)

    def execute(self, case_id: str, now: datetime, *, by: str) -> Proof:
        """Carries a confirmed erasure out, after its cooling-off; returns the proof.

        Raises PrivacyError where it may not be carried out or its effect has changed,
        TelemetryError where the lake could not be cleared: then the same call goes on.
        """
        found = self.store.privacy.cases.get(case_id)
        if found is None:
            raise PrivacyError("there is no such erasure")
        erasure.check_due(found, now)
        current = self.preview(found.impact.person, now)
        case = self.store.privacy.cases.change(
            case_id,
            lambda before: erasure.begin(before, current, at=now),
            _entry("begin_erasure", case_id, found.impact.person, now, by),
        )
        person = self.store.people.get(case.impact.person)
        proof = _Execution(self, case.impact, now, by=by, case=case).run()
        self._answer(case, proof, now, by=by, recipient=person.email if person else None)
        self.store.erasure.overwrite()
        return proof

    def reapply(self, now: datetime, *, by: str) -> list[Proof]:
        """Erases again whom a restored backup brought back; that needs nobody's word.

        Ingest's own list refuses the devices already; their restored rows go again.
        """
        returned = self.erased.matching("person", self.store.erasure.everybody())
        proofs = [_Execution(self, self.preview(one, now), now, by=by).run() for one in returned]
        sites = self.erased.matching("site", privacy_files.sites_in_tables(self.portal))
        privacy_files.erase_from_tables(self.portal, sites)
        self.store.erasure.overwrite()
        return proofs

    def write_registry(self, *, without: tuple[int, ...] = ()) -> bool:
        """Tells the ingest server which loggers there are; returns whether that changed."""
        loggers = {
            inverter.logger_sn
            for record in self.store.sites.records()
            for inverter in record.inverters
            if inverter.logger_sn is not None and inverter.uninstalled_at is None
        }
        return registry_file.write(self.data.registry, loggers - set(without))

    def _answer(
        self, case: Case, proof: Proof, now: datetime, *, by: str, recipient: str | None
    ) -> None:
        """Closes the request with its evidence and a letter to the address that was his."""
        asked = self.store.privacy.requests.get(case.request_id)
        if asked is None or asked.state is not request.State.DECIDED:
            # Nobody has decided on it yet: the officer closes it by hand, with the proof there is.
            return
        proved = request.add_evidence(asked, at=now, by=by, sha256=proof.sha256())
        answer = letter.closing(proved, proof.kept)
        self.store.privacy.change_request(
            case.request_id,
            lambda _: request.close(proved, at=now, by=by, letter_sha256=answer.sha256()),
            AuditEntry(
                at=now, actor=by, action="close_request", thing=f"request:{case.request_id}"
            ),
        )
        if recipient is not None:
            self.store.mails.queue(answer, now=now, recipient=recipient, language=asked.language)


class _Execution:
    """One erasure while it is carried out."""

    def __init__(
        self, eraser: Eraser, impact: Impact, now: datetime, *, by: str, case: Case | None = None
    ) -> None:
        self._of = eraser
        self._store = eraser.store
        self._impact = impact
        self._now = now
        self._by = by
        self._case = case
        self._sites = impact.sites_without_monitoring
        self._kept = {part.what for part in impact.kept}
        self._telemetry: list[str] = []
        self._files = 0

    def run(self) -> Proof:
        """Does everything in order and returns the proof."""
        steps: dict[ActionKind, Callable[[], None]] = {
            ActionKind.STOP_USE: self._stop_use,
            ActionKind.LAPSE_GUARANTEES: self._lapse_guarantees,
            ActionKind.REMEMBER: self._remember,
            ActionKind.REFUSE_TELEMETRY: self._refuse_telemetry,
            ActionKind.ERASE_TELEMETRY: self._erase_telemetry,
            ActionKind.ERASE_FILES: self._erase_files,
            ActionKind.TELL_PARTNERS: self._tell_partners,
        }
        for action in erasure.actions(self._impact):
            if action is not ActionKind.ERASE_RECORDS:
                steps[action]()
        return self._erase_records()

    def _stop_use(self) -> None:
        if self._store.accounts.get(self._impact.person) is not None:
            self._store.accounts.disable(self._impact.person, self._now)

    def _lapse_guarantees(self) -> None:
        for contract in self._impact.guarantees_lapse:
            self._store.guarantees.set_status(
                contract, GuaranteeStatus.LAPSED, self._now, reason=LAPSED_BY_ERASURE
            )

    def _remember(self) -> None:
        names = [("person", self._impact.person), *(("site", site) for site in self._sites)]
        self._of.erased.add(names, self._now.date())

    def _refuse_telemetry(self) -> None:
        # Where the operator keeps no registry, the server's list of the forgotten refuses alone.
        if self._of.data.registry.exists():
            self._of.write_registry(without=self._impact.loggers_refused)
        for logger_sn in self._impact.loggers_refused:
            self._telemetry.append(self._of.forget("logger", str(logger_sn)))

    def _erase_telemetry(self) -> None:
        for serial in self._impact.inverters_erased:
            self._telemetry.append(self._of.forget("inverter", serial))

    def _erase_files(self) -> None:
        portal = self._of.portal
        self._files += privacy_files.erase_from_tables(portal, self._sites)
        self._files += privacy_files.erase_from_summaries(portal, self._impact.inverters_erased)
        reanalysis.forget(portal, self._sites)
        self._files += privacy_files.forget_totals(portal, self._sites)
        self._files += privacy_files.delete_imported(portal, self._impact.person)
        self._files += privacy_files.delete_bundles(portal, self._impact.person)
        self._files += privacy_files.delete_settlements(
            portal, self._sites, keep_paid="settlements" in self._kept
        )
        if "photos" not in self._kept:
            self._files += privacy_files.delete_photos(portal, self._own_photos())

    def _own_photos(self) -> list[Photo]:
        """Photos that no other site has: one file may belong to several. Their rows go later."""
        elsewhere = self._store.erasure.photos_elsewhere(self._sites)
        return [
            photo
            for site in self._sites
            for photo in self._store.photos.of_site(site)
            if photo.sha256 not in elsewhere
        ]

    def _tell_partners(self) -> None:
        """To whoever does something for the site now, and to the insurer: that it lapsed."""
        for contract in self._impact.guarantees_lapse:
            record = self._store.guarantees.get(contract)
            site = self._store.sites.record(record.contract.site_id) if record else None
            roles = site.roles if site is not None else ()
            partners = {role.organisation_id for role in roles if holds(role, self._now)}
            found = [self._store.organisations.get(one) for one in sorted(partners)]
            addresses = {one.email for one in found if one is not None and one.email is not None}
            if self._of.insurer is not None:
                addresses.add(self._of.insurer)
            for address in sorted(addresses):
                self._store.mails.queue(
                    letter.guarantee_lapsed(contract), now=self._now, recipient=address,
                    language="en",
                )  # fmt: skip

    def _erase_records(self) -> Proof:
        case, person = self._case, self._impact.person
        if case is None:
            return self._proof(self._store.erasure.erase(self._impact, self._now))
        self._store.erasure.erase(
            self._impact,
            self._now,
            lambda removed: (
                erasure.close(case, at=self._now),
                self._proof(removed),
                _entry("erase", case.case_id, person, self._now, self._by),
            ),
        )
        proof = self._store.privacy.proof(case.case_id)
        if proof is None:
            raise AssertionError("the proof is kept in the transaction that erases")
        return proof

    def _proof(self, removed: dict[str, int]) -> Proof:
        case, impact = self._case, self._impact
        return Proof(
            case_id=case.case_id if case is not None else REAPPLIED,
            subject=self._of.erased.digest("person", impact.person),
            at=self._now,
            removed=removed,
            files_changed=self._files,
            loggers_refused=len(impact.loggers_refused),
            telemetry=tuple(self._telemetry),
            guarantees_lapsed=len(impact.guarantees_lapse),
            kept=impact.kept,
            impact_sha256=case.confirmed_sha256 if case is not None else impact.sha256(),
        )


def _entry(action: str, case_id: str, person: str, now: datetime, by: str) -> AuditEntry:
    return AuditEntry(at=now, actor=by, action=action, thing=f"erasure:{case_id}", subject=person)
