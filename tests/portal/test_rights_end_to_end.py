"""Each right of the policy from the person's request to its end, through the API and the lake."""

from __future__ import annotations

import io
import json
import secrets
import shutil
import time
import zipfile
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from litestar.testing import TestClient

import privacy_samples as samples
import rows
from autarco_ingest import catalog
from autarco_ingest.lake import Lake
from autarco_ingest.paths import DataDirectory
from autarco_ingest.table_store import LocalStore
from autarco_portal import privacy_duties
from autarco_portal.account import LoginSession
from autarco_portal.accounts import Accounts
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.lake_reader import LakeReader
from autarco_portal.people import SELF, OrganisationKind, PortalRole
from autarco_portal.portal import Settings
from autarco_portal.privacy.human_decision import Effect
from autarco_portal.privacy.processing import Purpose
from autarco_portal.privacy_guarantees import record_outcome
from autarco_portal.privacy_services import eraser_of, settings_of
from autarco_portal.secret import Secret, digest
from autarco_portal.serve_app import assemble, make_portal
from autarco_portal.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from litestar import Litestar

    from autarco_portal.store import Store

NOW, DAY = samples.NOW, samples.DAY
NEIGHBOUR = "SAMPLE0002"
NEIGHBOURS_LOGGER = 4_012_345_999
ME, DESK = "/api/v1/me/privacy", "/api/v1/privacy"
HOURS = 30


class Life:
    """A portal with two houses, their readings in the lake, and who asks it."""

    def __init__(self, data: DataDirectory, store: Store) -> None:
        self.now = NOW
        self.data = data
        self.store = store
        self.person = samples.person(store)
        self.officer = samples.person(store, "Olga Officer", "olga@portal.example")
        neighbour = samples.person(store, "Piet Buur", "piet@buur.example")
        for one in (self.person, self.officer, neighbour):
            samples.account(store, one)
        store.people.give_portal_role(self.officer, PortalRole.PRIVACY_OFFICER, NOW)
        installer = store.organisations.add(
            name="Zon BV", kind=OrganisationKind.INSTALLER, now=NOW - 500 * DAY
        ).organisation_id
        self.site = samples.site(store, self.person, installer=installer)
        samples.site(
            store, neighbour, serial_number=NEIGHBOUR, logger_sn=NEIGHBOURS_LOGGER,
            installer=installer, street="Buurweg 9",
        )  # fmt: skip
        samples.guaranteed(store, self.site)
        fill_lake(data)
        settings = Settings(data=data.root)
        self.portal = make_portal(settings, store, now=lambda: self.now)
        self.app = assemble(self.portal, Accounts(store, bytes(32)))
        self.client: TestClient[Litestar]

    def session(self, person_id: str) -> dict[str, str]:
        """What the browser of somebody sends who signed in just now."""
        token, at = secrets.token_urlsafe(8), self.now
        login = LoginSession(
            session_id=f"session-{token}", person_id=person_id,
            has_second_factor=True, created_at=at, authenticated_at=at,
            last_seen_at=at, expires_at=at + DAY, client="test", network="192.0.2.0/24",
        )  # fmt: skip
        self.store.sessions.begin_session(login, digest(Secret(token)))
        return {"Cookie": f"session={token}"}

    def ask(self, method: str, path: str, status: int, who: str = "", **body: Any) -> Any:
        """One request to the API, of the person unless said otherwise."""
        headers = self.session(who or self.person)
        content = body or ({} if method == "POST" else None)
        answer = self.client.request(method, path, headers=headers, json=content)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def request(self, right: str) -> str:
        """A request that is verified, by its name."""
        made = self.ask("POST", f"{ME}/requests", 201, right=right)
        assert made["state"] == "verified"
        return str(made["request_id"])

    def step(self, name: str, step: str, **more: str) -> Any:
        """The officer's step."""
        path = f"{DESK}/requests/{name}/steps"
        return self.ask("POST", path, 201, self.officer, step=step, **more)

    def finish(self, name: str, sha256: str) -> None:
        """Grants and closes with evidence; the person reads so and gets his letter."""
        self.step(name, "decide", outcome="granted")
        self.step(name, "close", evidence_sha256=sha256)
        mine = self.ask("GET", f"{ME}/requests", 200)
        assert [one["state"] for one in mine if one["request_id"] == name] == ["closed"]
        letters = [one.text for one in self.store.mails.due(self.now)]
        assert any("ingewilligd" in text for text in letters)

    def bundle(self, profile: str) -> tuple[zipfile.ZipFile, str]:
        """Has a bundle made, waits for it, and gets it."""
        path = f"{ME}/bundles/{profile}"
        self.ask("POST", path, 202)
        until = time.monotonic() + 60
        while (state := self.ask("GET", path, 200))["state"] == "building":
            assert time.monotonic() < until
            time.sleep(0.02)
        assert state["state"] == "ready", state
        answer = self.client.get(f"{path}/file", headers=self.session(self.person))
        assert answer.status_code == 200
        assert len(answer.content) == state["bytes"]
        return zipfile.ZipFile(io.BytesIO(answer.content)), state["sha256"]

    def duties(self) -> privacy_duties.Report:
        """What the calendar asks for."""
        report = privacy_duties.run(
            self.store, eraser_of(self.portal), settings_of(self.portal), self.now
        )
        assert report.failures == []
        return report

    def serials(self) -> set[str]:
        """Whose readings are in the lake."""
        found = LakeReader(self.data).readings(None, NOW - 60 * DAY, NOW, ["inverter_sn"])
        return {str(serial) for serial in found.column("inverter_sn").to_pylist()}

    def guarantee(self) -> GuaranteeStatus:
        record = self.store.guarantees.get("C-1")
        assert record is not None
        return record.status


def fill_lake(data: DataDirectory) -> None:
    lake = Lake(LocalStore(data.lake), "n1")
    readings = rows.readings(
        *(
            rows.reading(
                ts=NOW - 30 * DAY + timedelta(hours=hour), inverter_sn=serial, logger_sn=logger,
                ac_power=hour,
            )
            for hour in range(HOURS)
            for serial, logger in (
                (samples.INVERTER, samples.LOGGER), (NEIGHBOUR, NEIGHBOURS_LOGGER),
            )
        )
    )  # fmt: skip
    lake.commit(1, readings, rows.sessions(), rows.quarantine())
    moment = catalog.Moment(
        readings=lake.files("readings"),
        sessions=lake.files("sessions"),
        quarantine=lake.files("quarantine"),
    )
    catalog.rebuild(data, moment, time_zone="Europe/Amsterdam")


@pytest.fixture
def life(tmp_path: Path, sqlite_template: Path) -> Iterator[Life]:
    data = DataDirectory.at(tmp_path / "data")
    data.create()
    (data.root / "portal").mkdir(mode=0o700)
    shutil.copy(sqlite_template, data.root / "portal" / "portal.sqlite")
    with open_store(str(data.root / "portal" / "portal.sqlite")) as store:
        life = Life(data, store)
        with TestClient(life.app) as client:
            life.client = client
            yield life
        life.portal.outbox.close()
        life.portal.bundles.close()


def test_access_hands_out_everything_of_the_person_and_nobody_else(life: Life) -> None:
    name = life.request("access")
    archive, sha256 = life.bundle("access")
    with archive:
        names = set(archive.namelist())
        manifest = json.loads(archive.read("manifest.json"))
        telemetry = pq.read_table(io.BytesIO(archive.read("telemetry/readings-2026.parquet")))
        people = json.loads(archive.read("records/people.json"))
    assert manifest["profile"] == "access"
    assert {"about.json", "records/guarantees.json"} <= names
    assert telemetry.num_rows == HOURS
    assert set(telemetry.column("inverter_sn").to_pylist()) == {samples.INVERTER}
    assert [one["email"] for one in people] == ["jan@canary.example"]
    shown = life.ask("GET", f"{ME}/looks", 200)
    assert any(one["sentence"].startswith("Al uw gegevens zijn") for one in shown)
    life.finish(name, sha256)
    life.now += 25 * timedelta(hours=1)
    life.ask("GET", f"{ME}/bundles/access", 404)
    life.duties()
    assert not list((life.data.root / "portal" / "bundles").glob("*.zip"))


def test_portability_hands_out_what_was_given_and_observed(life: Life) -> None:
    name = life.request("portability")
    archive, sha256 = life.bundle("portability")
    with archive:
        assert json.loads(archive.read("manifest.json"))["profile"] == "portability"
        assert "telemetry/readings-2026.csv" in archive.namelist()
        assert not [one for one in archive.namelist() if one.startswith(("derived", "settle"))]
    life.finish(name, sha256)


def test_rectification_changes_the_value_and_keeps_the_old_one(life: Life) -> None:
    name = life.request("rectification")
    life.store.people.change(life.person, {"name": "Jan Kanarie"}, SELF, life.now)
    life.finish(name, "cd" * 32)
    assert life.ask("GET", "/api/v1/me", 200)["name"] == "Jan Kanarie"
    history = [one.value for one in life.store.people.history(life.person)]
    assert {"Jan Canary", "Jan Kanarie"} <= set(history)


def test_erasure_goes_through_cooling_off_to_lake_and_rows(life: Life) -> None:
    name = life.request("erasure")
    life.bundle("access")
    preview = life.ask("POST", f"{ME}/requests/{name}/erasure", 201)
    assert preview["impact"]["inverters_erased"] == [samples.INVERTER]
    assert preview["impact"]["guarantees_lapse"] == ["C-1"]
    life.step(name, "decide", outcome="granted")
    case = f"{ME}/erasures/{preview['case_id']}/confirmation"
    life.ask("POST", case, 201, sha256=preview["sha256"])
    life.now = NOW + 9 * DAY
    assert life.duties().erased == 0
    assert life.serials() == {samples.INVERTER, NEIGHBOUR}
    life.now = NOW + 11 * DAY
    assert life.duties().erased == 1
    assert life.serials() == {NEIGHBOUR}
    # A list of keyed digests, which ingest asks: no number is in it.
    assert len((life.data.root / "forgotten.json").read_text()) > 100
    assert life.guarantee() is GuaranteeStatus.LAPSED
    assert life.store.people.get(life.person) is None
    assert not list((life.data.root / "portal" / "bundles").glob("*"))
    asked = life.store.privacy.requests.get(name)
    assert asked is not None
    assert asked.state.value == "closed"


def test_restriction_keeps_the_data_and_ends_its_use(life: Life) -> None:
    life.request("restriction")
    life.ask("PUT", f"{ME}/restriction", 200, ground="accuracy")
    for purpose in (Purpose.MONITORING, Purpose.ALARMS, Purpose.RESEARCH, Purpose.SHARING):
        assert life.site in life.store.privacy.blocked_sites(purpose, life.now)
    assert life.guarantee() is GuaranteeStatus.SUSPENDED
    assert samples.INVERTER in life.serials()
    life.ask("GET", f"/api/v1/sites/{life.site}", 200)
    life.now = NOW + 91 * DAY
    assert life.duties().guarantees.decided == 1
    life.now = NOW + 122 * DAY
    life.duties()
    assert life.guarantee() is GuaranteeStatus.LAPSED


def test_ending_ones_restriction_puts_the_guarantee_back(life: Life) -> None:
    life.ask("PUT", f"{ME}/restriction", 200, ground="claim")
    assert life.guarantee() is GuaranteeStatus.SUSPENDED
    life.ask("DELETE", f"{ME}/restriction", 204)
    assert life.guarantee() is GuaranteeStatus.ACTIVE
    assert life.store.privacy.blocked_sites(Purpose.MONITORING, life.now) == frozenset()


def test_objection_ends_one_purpose_and_leaves_the_others(life: Life) -> None:
    life.ask("PUT", f"{ME}/objections/research", 200)
    assert life.site in life.store.privacy.blocked_sites(Purpose.RESEARCH, life.now)
    assert life.store.privacy.blocked_sites(Purpose.MONITORING, life.now) == frozenset()
    assert life.guarantee() is GuaranteeStatus.ACTIVE
    life.ask("PUT", f"{ME}/objections/sharing", 200)
    assert life.guarantee() is GuaranteeStatus.SUSPENDED
    life.ask("DELETE", f"{ME}/objections/sharing", 204)
    assert life.guarantee() is GuaranteeStatus.ACTIVE


def test_a_contested_decision_is_final_by_a_named_person_only(life: Life) -> None:
    decision = record_outcome(
        life.store, person=life.person, thing="guarantee:C-1", effect=Effect.ZERO_VALUE,
        inputs_sha256="ab" * 32, model_version="guarantee-1", now=NOW,
    )  # fmt: skip
    path = f"{ME}/decisions/{decision.decision_id}/contest"
    life.ask("POST", path, 201, reason="it was sunny")
    life.now = NOW + 60 * DAY
    (shown,) = life.ask("GET", f"{ME}/decisions", 200)
    assert shown["status"] == "contested"
    word = f"{DESK}/decisions/{decision.decision_id}"
    life.ask("POST", word, 403, is_upheld=True, reason="mine")
    life.ask("POST", word, 201, life.officer, is_upheld=False, reason="a fuse was overlooked")
    (shown,) = life.ask("GET", f"{ME}/decisions", 200)
    assert (shown["status"], shown["reason"]) == ("overturned", "a fuse was overlooked")
