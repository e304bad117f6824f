"""docs/accounts.md says what the code does."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from autarco_portal import passwords, second_factor, throttle, verified
from autarco_portal.account import InvitationPurpose, SessionRules
from autarco_portal.accounts import INVITATION_DAYS
from autarco_portal.people import Organisation
from autarco_portal.rights import ALLOWED, PersonAccess, Portal, SiteAccess
from autarco_portal.site_record import NewSite

if TYPE_CHECKING:
    from autarco_portal.rights import Action, Relation

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "accounts.md").read_text()
TITLES = {
    "Of a site": SiteAccess,
    "Of an organisation": Organisation,
    "Of a person": PersonAccess,
    "Of the portal": Portal,
}


def test_the_tables_of_rights_are_the_rule() -> None:
    found: dict[type, dict[str, set[str]]] = {}
    for part in TEXT.split("\n### ")[1:]:
        title, _, rows = part.partition("\n")
        found[TITLES[title]] = {
            who: set(re.findall(r"`(\w+)`", actions))
            for who, actions in re.findall(r"^\| (\w+) \| (`.*) \|$", rows, re.MULTILINE)
        }
    assert found == {thing: _plain(table) for thing, table in ALLOWED.items()}


def _plain(table: dict[Relation, frozenset[Action]]) -> dict[str, set[str]]:
    return {who.value: {action.value for action in actions} for who, actions in table.items()}


def test_the_numbers_are_those_of_the_code() -> None:
    rules, cost = SessionRules(), passwords.Parameters()
    days = INVITATION_DAYS
    for claim in (
        f"at least {passwords.LENGTH_MIN} characters, {passwords.DIFFERENT_MIN} different",
        f"({cost.memory_kib // 1024} MiB, {cost.time_cost} passes)",
        f"{rules.idle.days} days without use, {rules.absolute.days} days at most; "
        f"{rules.unfinished // timedelta(minutes=1)} minutes between",
        f"no older than {rules.fresh // timedelta(minutes=1)} minutes",
        f"invitation {days[InvitationPurpose.ACCOUNT]} days, new password "
        f"{days[InvitationPurpose.PASSWORD]} day,",
        f"{throttle.PAIR.free} for a pair of network address and account, {throttle.NETWORK.free}",
        f"then {throttle.PAIR.first_wait.seconds} s, doubling to an hour, forgotten after a day",
    ):
        assert claim in TEXT, claim
    assert throttle.PAIR.longest_wait == timedelta(hours=1)
    assert throttle.PAIR.forget_after == timedelta(days=1)
    assert second_factor.RECOVERY_CODES == 10
    assert timedelta(days=1) / verified.LONGEST == 2


def test_the_sample_file_is_read() -> None:
    (sample,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    (site,) = msgspec.json.decode(sample, type=list[NewSite])
    assert site.inverters[0].mppt_planes == (site.planes[0].name,)
