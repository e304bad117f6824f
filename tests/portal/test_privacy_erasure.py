"""After an erasure nothing of the person is left in lake, files and database but what was said.

With a real ingest server beside, and its own command `forget`.
"""

from __future__ import annotations

import io
import shutil
import time
from datetime import date, datetime
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import privacy_samples as samples
import smtp_server
from autarco_ingest.paths import DataDirectory
from autarco_portal import guarantee, mail_queue
from autarco_portal.audit import AuditEntry
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.mail_smtp import MailSettings
from autarco_portal.people import OrganisationKind
from autarco_portal.personal_record import Invoice, SupportNote
from autarco_portal.photos import Photo, PhotoFiles, PhotoKind, stripped
from autarco_portal.privacy import erasure
from autarco_portal.privacy.erasure import Case
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.request import Outcome, Right, State
from autarco_portal.privacy_desk import Desk
from autarco_portal.privacy_erasure import Eraser
from autarco_portal.privacy_settings import PrivacySettings
from autarco_portal.store import Store, open_store
from autarco_portal.telemetry_erasure import IngestForget, TelemetryError
from server_process import Wire, eventually, running
from test_server import count, data_frame, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW, DAY = samples.NOW, samples.DAY
SETTINGS = PrivacySettings(url="https://portal.example")
OTHER_LOGGER = 4_012_349_999
INVERTER, OTHER_INVERTER = "OWN5678", "OWN9999"
CANARIES = (
    "Canary",
    "canary.example",
    samples.PHONE,
    "Kanarieweg",
    INVERTER,
    "router in the attic",
)
OFFICER = "officer01"


class Portal:
    """A data directory with a portal in it."""

    def __init__(self, data: Path, store: Store) -> None:
        self.data = data
        self.store = store
        self.eraser = Eraser(
            store, DataDirectory.at(data), IngestForget(data), insurer="claims@insurer.example"
        )
        self.desk = Desk(store, SETTINGS)

    @property
    def root(self) -> Path:
        return self.data / "portal"

    def confirmed(self, person: str, now: datetime) -> Case:
        """A request for erasure, granted, previewed and confirmed."""
        asked = self.desk.receive_from_person(Right.ERASURE, person, now=now, is_fresh=True)
        self.desk.decide(asked.request_id, now=now, by=OFFICER, outcome=Outcome.GRANTED)
        impact = self.eraser.preview(person, now)
        case = Case(
            case_id=f"e-{asked.request_id}", request_id=asked.request_id, impact=impact,
            cooling_off_days=10, previewed_at=now,
        )  # fmt: skip
        confirmed = erasure.confirm(case, at=now, by=person, impact_sha256=impact.sha256())
        return self.store.privacy.cases.add(confirmed)


@pytest.fixture
def portal(tmp_path: Path, sqlite_template: Path) -> Iterator[Portal]:
    data = tmp_path / "data"
    (data / "portal").mkdir(parents=True)
    shutil.copy(sqlite_template, data / "portal" / "portal.sqlite")
    with open_store(str(data / "portal" / "portal.sqlite")) as store:
        yield Portal(data, store)


def photo(portal: Portal, site: str, colour: str) -> Photo:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    picture = stripped(buffer.getvalue())
    PhotoFiles(portal.root / "photos").save(picture)
    return portal.store.photos.add(
        Photo(
            sha256=picture.sha256, site=site, kind=PhotoKind.ROOF, media_type=picture.media_type,
            bytes=len(picture.data), width=8, height=8, uploaded_by="x", uploaded_at=NOW,
        )
    )  # fmt: skip


def derived(portal: Portal, *sites: str) -> Path:
    file = portal.root / "analytics" / "site_day" / "2026-04.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table({"site_id": list(sites), "date": [date(2026, 4, 1)] * len(sites)}), file
    )
    return file


def settled(portal: Portal, site: str, energy_kwh: int, year: int) -> Path:
    document = portal.root / "settlements" / site / f"C-1.year-{year}.v1.json"
    document.parent.mkdir(parents=True, exist_ok=True)
    made = samples.settlement(samples.contract(site), energy_kwh)
    document.write_bytes(guarantee.to_json(made))
    document.with_suffix(".zip").write_bytes(b"claim")
    return document


def whole(path: Path) -> bytes:
    """The content of a file that a running server may be writing, or may have removed by now."""
    for _ in range(100):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return b""
        if path.suffix != ".parquet" or (len(content) > 8 and content.endswith(b"PAR1")):
            return content
        time.sleep(0.1)
    raise AssertionError(f"{path} is never finished")


def found(data: Path, needle: str) -> list[str]:
    """Files that hold a text, also inside Parquet pages."""
    hits = []
    for path in sorted(data.rglob("*")):
        if not path.is_file():
            continue
        content = whole(path)
        is_held = needle.encode() in content
        if path.suffix == ".parquet" and content:
            rows = pq.read_table(io.BytesIO(content)).to_pylist()
            is_held = is_held or needle in str(rows)
        if is_held:
            hits.append(str(path.relative_to(data)))
    return hits


def full_life(portal: Portal) -> tuple[str, str, str]:
    """Two neighbours; the first one has everything that the portal keeps of people."""
    store = portal.store
    installer = store.organisations.add(
        name="Zon BV", kind=OrganisationKind.INSTALLER, email="zon@installer.example",
        now=NOW - 500 * DAY,
    ).organisation_id  # fmt: skip
    person = samples.person(store)
    other = samples.person(store, "Piet Buur", "piet@buur.example")
    samples.account(store, person)
    site = samples.site(store, person, serial_number=INVERTER, installer=installer)
    neighbour = samples.site(
        store,
        other,
        serial_number=OTHER_INVERTER,
        logger_sn=OTHER_LOGGER,
        installer=installer,
        street="Buurweg 9",
    )
    samples.guaranteed(store, site)
    store.privacy.invoices.add(
        Invoice(
            number="2026-1", person_id=person, issued_on=date(2026, 1, 5), name="J. C.",
            address="by post", total_eur="6.050,00",
        )
    )  # fmt: skip
    store.privacy.add_note(
        SupportNote(
            note_id="n1", person_id=person, site=site, text="router in the attic",
            written_by="s", written_at=NOW,
        )
    )  # fmt: skip
    store.audit.append(
        AuditEntry(at=NOW, actor=OFFICER, action="view_site", thing=f"site:{site}", subject=person)
    )
    photo(portal, site, "red")
    # The same picture at both houses: its file stays.
    photo(portal, site, "blue")
    photo(portal, neighbour, "blue")
    derived(portal, site, neighbour)
    settled(portal, site, 1_000, 1)
    settled(portal, site, 9_000, 2)
    return person, site, neighbour


def test_everything_of_a_person_goes_and_his_sticks_are_refused(
    portal: Portal, tmp_path: Path
) -> None:
    data, store = portal.data, portal.store
    person, site, neighbour = full_life(portal)
    assert portal.eraser.write_registry() or not (data / "registry.txt").exists()
    options = {"flush_seconds": "0.3", "tail_seconds": "0.2"}
    with running(data, log=tmp_path / "log", **options) as server:
        for logger_sn in (samples.LOGGER, OTHER_LOGGER):
            with Wire(server.port) as wire:
                for number in range(4):
                    wire.exchange(data_frame(number, logger_sn=logger_sn))
        eventually(
            "all is visible", lambda: DataDirectory.at(data).catalog.exists() and count(data) == 8
        )
        case = portal.confirmed(person, NOW)
        with pytest.raises(PrivacyError, match="cooling-off"):
            portal.eraser.execute(case.case_id, NOW + 9 * DAY, by=OFFICER)
        for canary in CANARIES:
            assert found(data, canary), f"the search of this test finds no {canary}"
        proof = portal.eraser.execute(case.case_id, NOW + 10 * DAY, by=OFFICER)
        assert count(data) == 4
        # Telemetry of the stick is refused: no answer, no row.
        with Wire(server.port) as wire:
            wire.be_impatient(1.0)
            with pytest.raises((EOFError, OSError)):
                wire.exchange(data_frame(9, logger_sn=samples.LOGGER))
        with Wire(server.port) as wire:
            wire.exchange(data_frame(9, logger_sn=OTHER_LOGGER))
    assert (data / "registry.txt").read_text().split()[-1] == str(OTHER_LOGGER)
    assert {row["logger_sn"] for row in rows(data, "SELECT logger_sn FROM readings")} == {
        OTHER_LOGGER
    }
    assert (len(proof.telemetry), proof.loggers_refused, proof.guarantees_lapsed) == (2, 1, 1)
    assert proof.removed == case.impact.removed
    # Kept: the settlement that owes something, and the neighbour's.
    left = sorted(path.name for path in (portal.root / "settlements").rglob("*.json"))
    assert left == ["C-1.year-1.v1.json"]
    assert len(list((portal.root / "photos").rglob("*.png"))) == 1
    table = pq.read_table(portal.root / "analytics" / "site_day" / "2026-04.parquet")
    assert table.column("site_id").to_pylist() == [neighbour]
    lapsed = store.guarantees.get("C-1")
    assert lapsed is not None
    assert lapsed.status is GuaranteeStatus.LAPSED
    asked = store.privacy.requests.get(case.request_id)
    assert asked is not None
    assert asked.state is State.CLOSED
    assert site not in msgspec.json.encode(proof).decode()
    closed = store.privacy.cases.get(case.case_id)
    assert closed is not None
    assert (closed.impact.inverters_erased, closed.impact.loggers_refused) == ((), ())
    # The letter is the last that knows his address; then it goes too.
    with smtp_server.running() as (inbox, port):
        settings = MailSettings(host="127.0.0.1", port=port, security="none", sender="p@a.example")
        mail_queue.send_due(store, settings, NOW + 11 * DAY)
    told = {message["To"] for message in inbox.messages}
    assert told == {"jan@canary.example", "zon@installer.example", "claims@insurer.example"}
    partner = inbox.to("zon@installer.example")[0]
    assert "C-1" in partner.as_string()
    assert "Canary" not in partner.as_string()
    store.erasure.overwrite()
    # The paid settlement's evidence names the inverter; docs/privacy.md says so.
    allowed = {"portal/portal.sqlite"}
    for canary in CANARIES:
        hits = set(found(data, canary))
        assert hits <= (allowed if canary == INVERTER else set()), (canary, hits)
    assert store.audit.verify() == []


def test_a_backup_brings_nobody_back(portal: Portal, tmp_path: Path) -> None:
    store = portal.store
    person = samples.person(store)
    other = samples.person(store, "Piet Buur", "piet@buur.example")
    site = store.sites.add(
        msgspec.structs.replace(samples.new_site(person), inverters=()), NOW - 400 * DAY
    ).public_key
    neighbour = samples.site(store, other)
    derived(portal, site, neighbour)
    store.erasure.overwrite()
    shutil.copy(portal.root / "portal.sqlite", tmp_path / "backup.sqlite")
    case = portal.confirmed(person, NOW)
    portal.eraser.execute(case.case_id, NOW + 10 * DAY, by=OFFICER)
    entries = (portal.root / "erased.jsonl").read_text()
    assert len(entries.splitlines()) == 2
    assert person not in entries
    assert site not in entries
    # The backup is brought back; the list, which is kept apart, stays.
    with open_store(str(tmp_path / "backup.sqlite")) as restored:
        assert restored.people.get(person) is not None
        derived(portal, site, neighbour)
        eraser = Eraser(restored, DataDirectory.at(portal.data), IngestForget(portal.data))
        proofs = eraser.reapply(NOW + 20 * DAY, by=OFFICER)
        assert [proof.removed["site_owners"] for proof in proofs] == [1]
        assert restored.people.get(person) is None
        assert restored.people.get(other) is not None
        assert eraser.reapply(NOW + 21 * DAY, by=OFFICER) == []
    table = pq.read_table(portal.root / "analytics" / "site_day" / "2026-04.parquet")
    assert table.column("site_id").to_pylist() == [neighbour]
    (portal.root / "erased.key").unlink()
    with pytest.raises(PrivacyError, match=r"erased\.key is missing"):
        portal.eraser.reapply(NOW + 22 * DAY, by=OFFICER)


def test_an_interrupted_erasure_goes_on_where_it_stopped(portal: Portal) -> None:
    store = portal.store
    person = samples.person(store)
    samples.account(store, person)
    site = samples.site(store, person)
    samples.guaranteed(store, site)
    case = portal.confirmed(person, NOW)
    at = NOW + 10 * DAY
    # There is no lake in this directory, so the command cannot do its work.
    with pytest.raises(TelemetryError, match="is no data directory"):
        portal.eraser.execute(case.case_id, at, by=OFFICER)
    assert store.people.get(person) is not None
    account = store.accounts.get(person)
    assert account is not None
    assert account.disabled_at == at
    with pytest.raises(PrivacyError, match="carried out"):
        store.privacy.cases.change(
            case.case_id, lambda one: erasure.call_off(one, at=at, by=person)
        )
    DataDirectory.at(portal.data).create()
    proof = portal.eraser.execute(case.case_id, at + DAY, by=OFFICER)
    assert (proof.loggers_refused, proof.guarantees_lapsed) == (1, 1)
    assert store.people.get(person) is None
    with pytest.raises(PrivacyError, match="carried out"):
        portal.eraser.execute(case.case_id, at + DAY, by=OFFICER)


def test_an_effect_that_changed_is_confirmed_anew(portal: Portal) -> None:
    store = portal.store
    person = samples.person(store)
    case = portal.confirmed(person, NOW)
    samples.site(store, person)
    with pytest.raises(PrivacyError, match="ask again: sites_without_monitoring"):
        portal.eraser.execute(case.case_id, NOW + 10 * DAY, by=OFFICER)
    assert store.people.get(person) is not None


def test_the_registry_lists_each_logger_that_hangs_somewhere(portal: Portal) -> None:
    store = portal.store
    site = samples.site(store, samples.person(store))
    assert portal.eraser.write_registry()
    assert not portal.eraser.write_registry()
    listed = (portal.data / "registry.txt").read_text()
    assert listed.splitlines()[1:] == [str(samples.LOGGER)]
    store.sites.uninstall(site, samples.INVERTER, NOW, NOW)
    assert portal.eraser.write_registry()
    assert (portal.data / "registry.txt").read_text().splitlines()[1:] == []
