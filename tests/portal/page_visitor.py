"""A browser for tests of pages: signs in, follows, and sends a page's own forms."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyotp

from autarco_portal.accounts import Accounts
from autarco_portal.passwords import Hasher, Parameters
from autarco_portal.proofs import SEAL_PURPOSE
from autarco_portal.sealed import seal
from autarco_portal.secret import Secret, derived
from portal_world import BEGAN, email, password

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.testing import TestClient

    from portal_world import World

FAST = Parameters(time_cost=1, memory_kib=8, parallelism=1)
"""Argon2 all the same, as cheap as it gets: tests sign in a hundred times."""
TOKEN = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


class Keys:
    """Accounts of a world whose people all have a password, and a second factor where they must."""

    def __init__(self, world: World, *, without_second_factor: tuple[str, ...] = ()) -> None:
        self.world = world
        self.accounts = Accounts(world.store, b"k" * 32, hasher=Hasher(FAST))
        self.totp: dict[str, str] = {}
        for who, person_id in world.ids.items():
            link = self.accounts.invite(person_id, by=None, now=world.now)
            self.accounts.accept(link, Secret(password(who)), world.now)
            actor = world.store.people.actor(person_id, BEGAN + timedelta(seconds=1))
            assert actor is not None
            if actor.needs_second_factor and who not in without_second_factor:
                secret = pyotp.random_base32()
                factors = world.store.second_factors
                key = derived(b"k" * 32, SEAL_PURPOSE)
                sealed = seal(key, Secret(secret), of=person_id)
                factors.offer_totp(person_id, sealed, world.now)
                assert factors.confirm_totp(person_id, 1, (), world.now)
                self.totp[who] = secret

    def code(self, who: str) -> str:
        """What the app on somebody's phone shows; another one each time it is asked for."""
        self.world.now += timedelta(seconds=60)
        return pyotp.TOTP(self.totp[who]).at(self.world.now)


class Browser:
    """One visitor of a test client, whose cookies it has to itself."""

    def __init__(self, client: TestClient[Litestar], keys: Keys) -> None:
        self.client = client
        self.keys = keys
        client.cookies.clear()

    def get(self, path: str, **more: Any) -> Any:
        """Opens a page; redirects are shown, not followed."""
        return self.client.get(path, follow_redirects=False, **more)

    def send(self, page: str, path: str, **fields: str) -> Any:
        """Sends a form of a page."""
        shown = self.get(page)
        found = TOKEN.search(shown.text)
        assert found is not None, shown.text
        return self.client.post(path, data={"csrf": found[1]} | fields, follow_redirects=False)

    def sign_in(self, who: str) -> Browser:
        """Signs somebody in, with the second factor where there is one."""
        answer = self.send("/sign-in", "/sign-in", email=email(who), password=password(who))
        assert answer.status_code == 303, answer.text
        if who in self.keys.totp:
            answer = self.send("/sign-in/code", "/sign-in/code", code=self.keys.code(who))
            assert answer.status_code == 303, answer.text
        return self


def text_of(answer: Any) -> str:
    """Returns what a person reads on a page."""
    plain = re.sub(r"<script.*?</script>|<[^>]+>", " ", answer.text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(plain)).strip()
