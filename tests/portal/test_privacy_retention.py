"""The retention job removes what the table says, in database, files and lake, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

import privacy_samples as samples
from autarco_ingest.paths import DataDirectory
from autarco_portal import privacy_retention, throttle
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.personal_record import Lead
from autarco_portal.photos import Photo, PhotoFiles, PhotoKind, Picture
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.privacy import retention
from autarco_portal.privacy.legal_hold import Hold
from autarco_portal.privacy.security_incident import SecurityIncident
from autarco_portal.store import open_store
from server_process import Wire, eventually, running
from test_server import count, data_frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from autarco_portal.store import Store

NOW, DAY = samples.NOW, samples.DAY
PHOTOS = {rule.name: rule for rule in retention.RULES}["photos"]


@pytest.fixture
def own(sqlite_url: str) -> Iterator[Store]:
    with open_store(sqlite_url) as opened:
        yield opened


def photographed(store: Store, data: Path, site: str) -> Path:
    picture = Picture(data=b"pixels", sha256="ab" * 32, media_type="image/png", width=1, height=1)
    portal = PortalDirectory.of(DataDirectory.at(data))
    PhotoFiles(portal.photos).save(picture)
    store.photos.add(
        Photo(
            sha256=picture.sha256, site=site, kind=PhotoKind.ROOF, media_type="image/png",
            bytes=6, width=1, height=1, uploaded_by="x", uploaded_at=NOW,
        )
    )  # fmt: skip
    (file,) = portal.photos.rglob("*.png")
    return file


def removed(store: Store, data: Path, now: datetime, *, is_dry: bool = False) -> dict[str, int]:
    done = privacy_retention.run(
        store,
        DataDirectory.at(data),
        retention.RULES,
        now,
        is_dry=is_dry,
    )
    return {one.rule: one.count for one in done if one.count}


def test_photos_go_two_years_after_the_last_guarantee_of_their_site(
    own: Store, tmp_path: Path
) -> None:
    site = samples.site(own, samples.person(own))
    contract = samples.guaranteed(own, site, energy_kwh=None)
    file = photographed(own, tmp_path, site)
    # As long as the guarantee runs, however old they are.
    assert "photos" not in removed(own, tmp_path, NOW + 5_000 * DAY)
    own.guarantees.set_status(contract, GuaranteeStatus.ENDED, NOW)
    ends = NOW + timedelta(days=PHOTOS.days)
    assert "photos" not in removed(own, tmp_path, ends - timedelta(seconds=1))
    assert removed(own, tmp_path, ends, is_dry=True)["photos"] == 1
    assert file.exists()
    own.privacy.holds.add(
        Hold(
            hold_id="h", store="photos", subject=site, reason="case", begun_at=NOW,
            begun_by="officer", review_at=NOW + DAY,
        )
    )  # fmt: skip
    assert "photos" not in removed(own, tmp_path, ends)
    own.privacy.holds.change("h", lambda one: msgspec.structs.replace(one, ended_at=NOW + DAY))
    assert removed(own, tmp_path, ends)["photos"] == 1
    assert not file.exists()
    assert own.photos.of_site(site) == []


def test_counting_changes_nothing_and_each_removal_is_in_the_log(
    own: Store, tmp_path: Path
) -> None:
    own.privacy.leads.add(
        Lead(lead_id="l", name="Kees", email="k@x.example", source="fair", added_at=NOW)
    )
    late = NOW + 400 * DAY
    assert removed(own, tmp_path, late, is_dry=True) == {"leads": 1}
    assert own.privacy.leads.get("l") is not None
    assert removed(own, tmp_path, late) == {"leads": 1}
    assert own.privacy.leads.get("l") is None
    assert [one.entry.thing for one in own.audit.of(actor="system:retention")] == ["table:leads"]
    assert removed(own, tmp_path, late) == {}


def test_the_lake_is_pruned_by_the_same_table(own: Store, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data, log=tmp_path / "log", flush_seconds="0.3") as server:
        with Wire(server.port) as wire:
            for number in range(3):
                wire.exchange(data_frame(number))
        eventually(
            "they are in the table",
            lambda: DataDirectory.at(data).catalog.exists() and count(data) == 3,
        )
        assert server.stop() == 0
    directory, now = DataDirectory.at(data), datetime.now(UTC)
    told = privacy_retention.run_ingest(own, directory, retention.RULES, now)
    assert "expired, " not in told
    short = retention.with_periods({"readings": 1})
    told = privacy_retention.run_ingest(own, directory, short, now)
    assert "readings: 1 days expired" in told


def test_a_lake_that_is_not_there_is_said_in_one_sentence(own: Store, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    with pytest.raises(privacy_retention.RetentionError, match="autarco-ingest retain: "):
        privacy_retention.run_ingest(own, DataDirectory.at(tmp_path / "made"), retention.RULES, NOW)


@pytest.mark.parametrize("name", ["login_throttles", "security_incidents"])
def test_what_names_nobody_goes_at_its_moment_too(own: Store, tmp_path: Path, name: str) -> None:
    own.throttles.attempt("ab" * 32, NOW, throttle.PAIR)
    own.privacy.incidents.add(
        SecurityIncident(incident_id="i", aware_at=NOW, recorded_by="officer", summary="a laptop")
    )
    own.privacy.incidents.change("i", lambda one: msgspec.structs.replace(one, closed_at=NOW))
    (rule,) = (one for one in retention.RULES if one.name == name)
    ends = NOW + timedelta(days=rule.days)
    assert name not in removed(own, tmp_path, ends - timedelta(seconds=1))
    assert removed(own, tmp_path, ends)[name] == 1
    assert name not in removed(own, tmp_path, ends)
