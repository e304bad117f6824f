"""After a full life (join, use, export, erase) nothing of a person is where we do not say so.

Planted: a name, an address, a phone, a street, a password, a token, a second factor's secret,
serial numbers, an IP address. Searched: each file of the data directory, also in Parquet pages and
zips, the log of the programs, and what the mail server got.
"""

from __future__ import annotations

import io
import logging
import re
import shutil
import zipfile
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pyotp
import pytest
from litestar.testing import TestClient

import privacy_samples as samples
import smtp_server
from autarco_ingest.paths import DataDirectory
from autarco_portal import mail_queue
from autarco_portal.accounts import Accounts
from autarco_portal.incidents import Cause, State, Verdict, fold
from autarco_portal.mail_smtp import MailSettings
from autarco_portal.passwords import Hasher
from autarco_portal.people import PortalRole
from autarco_portal.privacy.processing import Purpose
from autarco_portal.secret import Secret, load_key
from autarco_portal.serve_app import assemble
from autarco_portal.signed import Enrolled, Enrolment, SignedIn
from autarco_portal.store import open_store
from page_visitor import FAST
from test_rights_end_to_end import DESK, ME, NEIGHBOUR, Life

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW, DAY = samples.NOW, samples.DAY
PASSWORD = "Kanarie!gele.vogel42"  # noqa: S105 - a canary
ADDRESS = "203.0.113.77"
GUEST = "buur@x.example"
PLANTED = {
    "name": "Canary",
    "e-mail": "jan@canary.example",
    "phone": samples.PHONE,
    "street": "Kanarieweg",
    "password": PASSWORD,
    "serial": samples.INVERTER,
    "logger": str(samples.LOGGER),
    "IP": ADDRESS,
}
NEVER = {"password", "IP", "token", "second factor", "link", "session"}
"""In no file and no log, at no time."""


@pytest.fixture
def life(tmp_path: Path, sqlite_template: Path) -> Iterator[Life]:
    data = DataDirectory.at(tmp_path / "data")
    data.create()
    portal = data.root / "portal"
    portal.mkdir(mode=0o700)
    shutil.copy(sqlite_template, portal / "portal.sqlite")
    with open_store(str(portal / "portal.sqlite")) as store:
        made = Life(data, store)
        made.app = assemble(
            made.portal, Accounts(store, load_key(portal / "secret.key"), hasher=Hasher(FAST))
        )

        async def from_there(scope: Any, receive: Any, send: Any) -> None:
            await made.app(scope | {"client": (ADDRESS, 50_000)}, receive, send)

        with TestClient(from_there) as client:
            made.client = client  # type: ignore[assignment]
            yield made
        made.portal.outbox.close()
        made.portal.bundles.close()


def contents(path: Path) -> str:
    """What can be read in a file, also in pages of Parquet and members of a zip."""
    raw = path.read_bytes()
    found = [raw.decode("latin-1")]
    if path.suffix == ".parquet":
        found.append(str(pq.read_table(io.BytesIO(raw)).to_pylist()))
    if path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for name in archive.namelist():
                member = archive.read(name)
                found.append(member.decode("latin-1"))
                if name.endswith(".parquet"):
                    found.append(str(pq.read_table(io.BytesIO(member)).to_pylist()))
    return "".join(found)


def everywhere(life: Life, planted: dict[str, str]) -> dict[str, set[str]]:
    """Which canary is in which files."""
    life.store.erasure.overwrite()
    found: dict[str, set[str]] = {name: set() for name in planted}
    for path in sorted(life.data.root.rglob("*")):
        if path.is_file():
            text = contents(path)
            for name, canary in planted.items():
                if canary in text:
                    found[name].add(str(path.relative_to(life.data.root)))
    return found


def form(client: TestClient[Any], page: str, path: str, **fields: str) -> Any:
    token = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get(page).text)
    assert token is not None
    return client.post(path, data={"csrf": token[1]} | fields, follow_redirects=False)


def join(life: Life) -> dict[str, str]:
    """Takes an invitation up in a browser, signs in, sets a second factor and an app token up."""
    accounts = Accounts(
        life.store, load_key(life.data.root / "portal" / "secret.key"), hasher=Hasher(FAST)
    )
    link = accounts.invite(life.person, by=None, now=life.now).reveal()
    page = f"/invitation/{link}"
    assert form(life.client, page, page, password=PASSWORD, again=PASSWORD).status_code == 303
    email = PLANTED["e-mail"]
    wrong = form(life.client, "/sign-in", "/sign-in", email=email, password=PASSWORD + "x")
    assert wrong.status_code == 403
    into = form(life.client, "/sign-in", "/sign-in", email=email, password=PASSWORD)
    assert into.status_code == 303
    life.client.cookies.clear()
    signed = accounts.sign_in(
        email, Secret(PASSWORD), address=ADDRESS, client="Firefox", now=life.now
    )
    assert isinstance(signed, SignedIn)
    offered = accounts.enrol(signed.token, life.now)
    assert isinstance(offered, Enrolment)
    secret = offered.secret.reveal()
    code = Secret(pyotp.TOTP(secret).at(life.now))
    enrolled = accounts.confirm(signed.token, code, life.now)
    assert isinstance(enrolled, Enrolled)
    made = accounts.add_token(enrolled.signed_in.token, "Home Assistant", life.now)
    assert isinstance(made, tuple)
    token = made[1].reveal()
    looked = life.client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert looked.status_code == 200
    return {
        "link": link,
        "second factor": secret,
        "token": token,
        "session": enrolled.signed_in.token.reveal(),
    }


def use(life: Life) -> None:
    """Alarms, somebody's look, a grant, a newsletter, an objection, a lost password."""
    verdict = Verdict(
        site_id=life.site, inverter_sn=samples.INVERTER, cause=Cause.OUTAGE, day=NOW.date(),
        state=State.FAULTY, alarm=True, ends=NOW, method="test",
    )  # fmt: skip
    life.store.alarms.take_over(fold([], [verdict], NOW), [life.site])
    life.ask("GET", f"/api/v1/sites/{life.site}/looks", 200, life.officer)
    life.ask("POST", f"/api/v1/sites/{life.site}/grants", 201, email=GUEST, why="oppas")
    life.ask("PUT", f"{ME}/objections/{Purpose.RESEARCH}", 200)
    form(life.client, "/forgotten-password", "/forgotten-password", email=PLANTED["e-mail"])


def test_nothing_of_a_person_is_left_but_where_the_document_says(
    life: Life, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    # The client and the mail server of this test tell what they see, also on standard error where
    # another test has let the logs go there.
    for ours in ("httpx", "mail.log"):
        caplog.set_level(logging.WARNING, logger=ours)
    life.store.people.give_portal_role(life.officer, PortalRole.ADMINISTRATOR, NOW)
    planted = PLANTED | join(life)
    use(life)
    name = life.request("erasure")
    archive, _ = life.bundle("access")
    with archive:
        exported = "".join(archive.read(one).decode("latin-1") for one in archive.namelist())
    for what in ("name", "e-mail", "phone", "street", "serial", "logger"):
        assert planted[what] in exported, f"the export lacks the {what}"
    assert not [what for what in NEVER if planted[what] in exported]
    before = everywhere(life, planted)
    assert not [what for what in NEVER if before[what]], before
    for what in set(planted) - NEVER:
        assert before[what], f"the search of this test finds no {what}"

    preview = life.ask("POST", f"{ME}/requests/{name}/erasure", 201)
    life.step(name, "decide", outcome="granted")
    confirmation = f"{ME}/erasures/{preview['case_id']}/confirmation"
    life.ask("POST", confirmation, 201, sha256=preview["sha256"])
    life.now = NOW + 11 * DAY
    assert life.duties().erased == 1
    # The last letter goes to the address that was his; then nobody knows it any more.
    with smtp_server.running() as (inbox, port):
        settings = MailSettings(host="127.0.0.1", port=port, security="none", sender="p@a.example")
        mail_queue.send_due(life.store, settings, life.now + timedelta(minutes=1))
    assert planted["e-mail"] in {str(one["To"]) for one in inbox.messages}
    # He let his neighbour look, who is told at what: at a site that he called by its street.
    own = {planted["e-mail"], GUEST}
    partners = "".join(one.as_string() for one in inbox.messages if one["To"] not in own)
    assert not [what for what in planted if planted[what] in partners]

    after = everywhere(life, planted)
    # The settlement that owes him money is evidence, and names the inverter (docs/privacy.md).
    assert after.pop("serial") <= {"portal/portal.sqlite"}
    assert {what: files for what, files in after.items() if files} == {}
    assert life.serials() == {NEIGHBOUR}
    records = [f"{one.name} {one.getMessage()}" for one in caplog.records]
    said = "\n".join([*records, *capfd.readouterr()])
    assert not [what for what in planted if planted[what] in said]
    assert life.client.get(f"{DESK}/requests").status_code == 401
