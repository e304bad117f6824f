"""What an operator types about people, partners and sites is done, or refused in a sentence."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import pytest

from autarco_portal import cli, cli_accounts
from autarco_portal.accounts import Accounts
from autarco_portal.passwords import Hasher, Parameters
from autarco_portal.people import Language, MemberRole, OrganisationKind, PortalRole
from autarco_portal.secret import Secret, load_key
from autarco_portal.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

SITE = {
    "name": "Teststraat 12",
    "address": {"street": "Teststraat 12", "postcode": "3511 ZZ", "city": "Utrecht"},
    "latitude": 52.09,
    "longitude": 5.12,
    "commissioned_on": "2024-04-09",
    "planes": [
        {"name": "south", "surface_tilt": 38, "surface_azimuth": 165, "modules": 14, "pdc0": 5740}
    ],
    "inverters": [
        {
            "serial_number": "26010007A1B2C3",
            "pac0": 8200,
            "installed_at": "2024-04-09T13:02:55Z",
            "mppt_planes": ["south"],
        }
    ],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    assert cli.main(["migrate", "--data", str(tmp_path)]) == 0
    return tmp_path


def run(data: Path, *arguments: str) -> int:
    verb = arguments[:2]
    return cli.main([verb[0], "--data", str(data), *arguments[1:]])


def test_the_data_directory_is_said_before_or_after_the_verb(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    for arguments in (["--data", str(data), "list"], ["list", "--data", str(data)]):
        assert cli.main(["user", *arguments]) == 0
        assert capsys.readouterr().out.startswith("e-mail\t")
    # Not an abbreviation of --database.
    with pytest.raises(SystemExit, match="2"):
        cli.main(["user", "list", "--dat", str(data)])
    assert cli.main(["user", "list", "--data", str(data / "portal")]) == 2
    assert "`autarco-portal migrate` makes it" in capsys.readouterr().err


def refused(capsys: pytest.CaptureFixture[str], data: Path, *arguments: str) -> str:
    """The one sentence on standard error."""
    capsys.readouterr()
    assert run(data, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    return shown.err


def test_choices_on_the_command_line_are_all_there_are() -> None:
    assert set(cli_accounts._KINDS) == set(OrganisationKind)
    assert set(cli_accounts._ROLES) == set(PortalRole)
    assert set(get_args(Language)) == {"nl", "en"}


def test_migrating_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "migrate") == 0
    assert "there were none" in capsys.readouterr().out
    assert run(tmp_path, "migrate") == 0
    assert "already" in capsys.readouterr().out


def test_without_tables_every_command_says_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (("user", "list"), ("site", "list"), ("organisation", "list")):
        assert "autarco-portal migrate" in refused(capsys, tmp_path, *command)
    assert "is no data directory" in refused(capsys, tmp_path / "no", "user", "list")


def test_a_user_that_is_added_can_take_up_his_link(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, "organisation", "add", "Zon BV", "--kind", "installer") == 0
    partner = capsys.readouterr().out.split()[-1]
    added = run(
        data, "user", "add", "an@example.org", "An Jansen", "--organisation", partner,
        "--manager", "--role", "support", "--url", "https://portal.example/", "--language", "en",
    )  # fmt: skip
    assert added == 0
    link = capsys.readouterr().out.strip()
    assert link.startswith("https://portal.example/invitation/")
    now = datetime.now(UTC)
    with open_store(str(data / "portal" / "portal.sqlite")) as store:
        key = load_key(data / "portal" / "secret.key")
        cheap = Hasher(Parameters(time_cost=1, memory_kib=8, parallelism=1))
        accounts = Accounts(store, key, hasher=cheap)
        person = accounts.invited(Secret(link.rpartition("/")[2]), now)
        assert person is not None
        actor = store.people.actor(person.person_id, now)
        assert actor is not None
        assert actor.roles == {partner: MemberRole.MANAGER}
        assert actor.portal_roles == {PortalRole.SUPPORT}
        assert store.audit.verify() == []
        assert {one.entry.actor for one in store.audit.of()} == {"system:cli"}
    assert run(data, "user", "list") == 0
    assert "an@example.org\tAn Jansen\tinvited\tno\tnever\tsupport" in capsys.readouterr().out
    for verb in ("disable", "enable", "reset-totp", "invite"):
        assert run(data, "user", verb, "an@example.org") == 0


def test_what_cannot_be_is_refused_in_a_sentence(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, "user", "add", "an@example.org", "An") == 0
    for expected, command in (
        ("somebody has that e-mail", ("user", "add", "An@example.org", "An")),
        ("no e-mail address", ("user", "add", "an", "An")),
        ("there is no organisation x", ("user", "add", "b@x.nl", "B", "--organisation", "x")),
        ("of which organisation", ("user", "add", "b@x.nl", "B", "--manager")),
        ("nobody has the address", ("user", "disable", "b@x.nl")),
        ("no such organisation", ("organisation", "add", "Z", "--kind", "installer", "--parent",
                                  "x")),
        ("cannot read", ("site", "import", str(data / "no.json"))),
        ("no database URL", ("user", "list", "--database", "://")),
    ):  # fmt: skip
        assert expected in refused(capsys, data, *command)
    (data / "portal" / "secret.key").chmod(0o644)
    assert "set its mode to 600" in refused(capsys, data, "user", "invite", "an@example.org")
    with pytest.raises(SystemExit) as ended:
        run(data, "user")
    assert ended.value.code == 2


def test_sites_come_in_from_a_file_all_or_none(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(data, "organisation", "add", "Zon BV", "--kind", "installer")
    partner = capsys.readouterr().out.split()[-1]
    run(data, "user", "add", "an@example.org", "An")
    path = data / "sites.json"
    path.write_text(json.dumps([SITE, {**SITE, "inverters": [], "public_key": "k7m2q9xd"}]))
    added = run(
        data, "site", "import", str(path), "--owner", "AN@example.org",
        "--partner", f"{partner}:maintenance",
    )  # fmt: skip
    assert added == 0
    with open_store(str(data / "portal" / "portal.sqlite")) as store:
        records = list(store.sites.records())
        assert len(records) == 2
        assert records[1].public_key == "k7m2q9xd"
        assert all(one.is_complete and len(one.owners) == len(one.roles) == 1 for one in records)
    path.write_text(json.dumps([{**SITE, "inverters": []}, SITE]))
    assert "hangs elsewhere" in refused(capsys, data, "site", "import", str(path))
    assert run(data, "site", "list") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert run(data, "site", "list", "26010007") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"latitude": 91}, "not a place on earth"),
        ({"latitude": "x"}, "Expected `float`"),
        ({"colour": "red"}, "unknown field `colour`"),
        ({"time_zone": "Mars"}, "no time zone"),
        ({"address": {**SITE["address"], "city": ""}}, "city: expected 1 to"),  # type: ignore[dict-item]
    ],
)
def test_a_file_with_a_mistake_is_refused(
    changes: dict[str, Any], expected: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = data / "sites.json"
    path.write_text(json.dumps([SITE, {**SITE, **changes}]))
    assert expected in refused(capsys, data, "site", "import", str(path))
    for text, what in (("[]", "no sites in it"), ("{]", "JSON is malformed"), ("", "truncated")):
        path.write_text(text)
        assert what in refused(capsys, data, "site", "import", str(path))
