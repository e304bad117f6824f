"""The portal's own API, `/api/v1`: which routes does it have, and what do they share?

Handlers look up, ask `rights`, and return plain structs, of which the OpenAPI document is made.
Somebody else's site does not exist (404); what one may see but not do is 403. Lists come in pages
with the address of the next one in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Router
from litestar.di import Provide

from autarco_portal import rate_limit
from autarco_portal.api import (
    alarms,
    document,
    guarantees,
    own_account,
    performance,
    privacy,
    privacy_choices,
    privacy_data,
    privacy_links,
    privacy_office,
    readings,
    site_people,
    sites,
)
from autarco_portal.web_etag import ETags

if TYPE_CHECKING:
    from collections.abc import Callable

    from autarco_portal.accounts import Accounts

RATE = rate_limit.Rate(per_minute=600, burst=300)
"""Of one client."""


def router(accounts: Accounts, clock: Callable[[], float]) -> Router:
    """Returns all routes; `clock` gives seconds, to count requests by."""
    return Router(
        "/api/v1",
        route_handlers=[
            *sites.ROUTES,
            *readings.ROUTES,
            *performance.ROUTES,
            *alarms.ROUTES,
            *guarantees.ROUTES,
            *own_account.ROUTES,
            *site_people.ROUTES,
            *privacy.ROUTES,
            *privacy_choices.ROUTES,
            *privacy_data.ROUTES,
            *privacy_links.ROUTES,
            *privacy_office.ROUTES,
            document.openapi_document,
        ],
        dependencies={"accounts": Provide(lambda: accounts, sync_to_thread=False)},
        guards=[rate_limit.guard(RATE, clock)],
        middleware=[ETags],
        security=[{"token": []}, {"basic": []}],
    )
