"""Who knows a site, its guarantees and its incidents, and who hears of a settlement?

`StoreRecords` asks the portal's store, `FileRecords` the JSON files and the table `alarms` where no
store is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from autarco_portal import derived, privacy_guarantees, sites_file
from autarco_portal.derived_rows import incidents_of
from autarco_portal.derived_store import DerivedStore
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.guarantee_terms import Guarantee, GuaranteeFile
from autarco_portal.privacy.human_decision import Effect
from autarco_portal.privacy.processing import GUARANTEE_NEEDS, may_process
from autarco_portal.settle_evidence import SettleError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from autarco_portal.guarantee import Settlement
    from autarco_portal.incidents import Incident
    from autarco_portal.portal_paths import PortalDirectory
    from autarco_portal.site import Site
    from autarco_portal.store import Store

SETTLED_STATUSES = (GuaranteeStatus.ACTIVE, GuaranteeStatus.ENDED)
"""Where a guarantee must stand to be settled; an ended one owes its years."""


class Records(Protocol):
    """Keeps what a settlement is about; every method may raise SettleError."""

    def site(self, site_id: str) -> Site:
        """Returns a site."""

    def guarantees(self, site_id: str) -> Sequence[Guarantee]:
        """Returns the guarantees of a site that can be settled."""

    def incidents(self, site_id: str) -> Sequence[Incident]:
        """Returns the incidents of a site."""

    def hear(self, settlement: Settlement, now: datetime) -> None:
        """Takes note of what was settled; the same again changes nothing."""


class FileRecords:
    """Sites and guarantees of files below `portal`, incidents of the table `alarms`.

    That table does not know what people did about incidents, so no alarm is found that nobody acted
    on.
    """

    def __init__(self, portal: PortalDirectory) -> None:
        self._portal = portal

    def site(self, site_id: str) -> Site:
        """Returns a site of `sites.json`; raises SiteError too."""
        sites = sites_file.load(self._portal.sites)
        found = [site for site in sites if site.site_id == site_id]
        if len(found) != 1:
            raise SettleError(f"{self._portal.sites} has {len(found) or 'no'} sites {site_id!r}")
        return found[0]

    def guarantees(self, site_id: str) -> Sequence[Guarantee]:
        """Returns those of `guarantees.json`; raises GuaranteeError too."""
        return GuaranteeFile(self._portal.guarantees).of_site(site_id)

    def incidents(self, site_id: str) -> Sequence[Incident]:
        """Returns those of the table; raises DerivedError too."""
        found = incidents_of(DerivedStore(self._portal).everything(derived.ALARMS))
        return [one for one in found if one.site_id == site_id]

    def hear(self, settlement: Settlement, now: datetime) -> None:
        """Files have no other place for it than where it lies."""


class StoreRecords:
    """Sites, guarantees and incidents of the store, which also keeps the settlement.

    Every method may raise StoreError too.
    """

    def __init__(self, store: Store, now: datetime) -> None:
        self._store = store
        self._now = now

    def site(self, site_id: str) -> Site:
        """Returns a site that the rules can compute with; raises SiteError too."""
        record = self._store.sites.record(site_id)
        if record is None:
            raise SettleError(f"there is no site {site_id!r}")
        flags = self._store.privacy.flags_of_site(site_id, self._now)
        # All that a settlement does: it reads what was monitored, models it, and goes to the
        # insurer. Not only where `duties` has suspended the guarantee already.
        if blocked := sorted(one for one in GUARANTEE_NEEDS if not may_process(flags, one)):
            raise SettleError(
                f"the data of site {site_id} may not be used to settle, by its owner: no "
                f"{', '.join(blocked)}"
            )
        return record.site

    def guarantees(self, site_id: str) -> Sequence[Guarantee]:
        """Returns those that are active or ended; raises SettleError if there are others only."""
        records = self._store.guarantees.of_site(site_id)
        found = [one for one in records if one.status in SETTLED_STATUSES]
        if records and not found:
            others = ", ".join(f"{one.contract.contract_id} is {one.status}" for one in records)
            raise SettleError(f"site {site_id} has no guarantee to settle: {others}")
        return [Guarantee(contract=one.contract) for one in found]

    def incidents(self, site_id: str) -> Sequence[Incident]:
        """Returns those of the store, with what people did about them."""
        return [one.incident for one in self._store.alarms.of_site(site_id)]

    def hear(self, settlement: Settlement, now: datetime) -> None:
        """Keeps the settlement beside its guarantee.

        Owners hear of one that owes them nothing, and how to contest what a program decided.
        """
        kept = self._store.guarantees.keep(settlement, now)
        # What a person must look at first is no decision yet.
        if settlement.status == "review" or settlement.compensation_eur > 0:
            return
        thing = f"guarantee:{settlement.contract.contract_id}"
        # By what is known of each, not by what was kept: a run may end between two owners.
        told = {
            one.person
            for one in self._store.privacy.decisions.all(thing=thing)
            if one.inputs_sha256 == kept.sha256
        }
        site = settlement.contract.site_id
        for person in privacy_guarantees.owners(self._store, site, kept.created_at):
            if person in told:
                continue
            privacy_guarantees.record_outcome(
                self._store,
                person=person,
                thing=thing,
                effect=Effect.ZERO_VALUE,
                inputs_sha256=kept.sha256,
                model_version=settlement.model_version,
                now=now,
            )
