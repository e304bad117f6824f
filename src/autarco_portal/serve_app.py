"""Which parts make the portal that `serve` serves, and what runs beside the requests?

Beside the requests one thread reads what is new in the lake into a copy of the fleet in memory.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING

import structlog

from autarco_ingest.paths import DataDirectory
from autarco_portal import api, compat, web
from autarco_portal.accounts import Accounts
from autarco_portal.api import document
from autarco_portal.lake_reader import CatalogError, LakeReader
from autarco_portal.live_fleet import Fleet, NotReady, Placed
from autarco_portal.live_sites import Views
from autarco_portal.pages import web as pages
from autarco_portal.pages.visitor import cookie_name
from autarco_portal.portal import Portal, Settings
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.sealed import SealError
from autarco_portal.secret import SecretKeyError, load_key
from autarco_portal.serve import ServeError
from autarco_portal.shown_totals import ShownTotals
from autarco_portal.store import StoreError, open_store
from autarco_portal.web_identity import Identities

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from litestar import Litestar

    from autarco_portal.store import Store

log = structlog.get_logger(__name__)

REFRESH_S = 5.0
"""How often the catalog is looked at; the ingest server replaces it every half minute at most."""
KEEP_S = 60.0
"""How often it is written down which totals were shown."""
FIRST_S = 10.0
"""How long the first requests wait for the lake; after that they are told to come back."""


def check(settings: Settings) -> None:
    """Makes directory and tables of the portal; raises ServeError where that cannot be."""
    try:
        _directory(settings).mkdir(mode=0o700, parents=True, exist_ok=True)
        with open_store(settings.store_url, migrate=True) as store:
            # Made here, before the process that answers wants it: a bad one is said at the start.
            key = load_key(_directory(settings) / "secret.key")
            Accounts(store, key).seal_second_factors()
    except (StoreError, SecretKeyError, SealError) as error:
        raise ServeError(str(error)) from error
    except OSError as error:
        raise ServeError(f"cannot use {settings.data}: {error.strerror}") from error


def _directory(settings: Settings) -> Path:
    return PortalDirectory.of(DataDirectory.at(settings.data)).root


def make_app(settings: Settings) -> Litestar:
    """Returns the application on the store and key of `settings`."""
    store = open_store(settings.store_url)
    accounts = Accounts(store, load_key(_directory(settings) / "secret.key"))
    return assemble(make_portal(settings, store), accounts)


def make_portal(
    settings: Settings,
    store: Store,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Portal:
    """Returns what handlers need, on an open store."""
    data = DataDirectory.at(settings.data)

    def placed() -> list[Placed]:
        return [
            Placed(serial_number=serial, time_zone=zone, pac0=pac0)
            for serial, zone, pac0 in store.sites.placed()
        ]

    fleet = Fleet(LakeReader(data), PortalDirectory.of(data).summaries, placed=placed)
    views = Views(
        fleet,
        store.sites.record,
        revision=lambda: store.revision,
        totals=ShownTotals(PortalDirectory.of(data).shown_totals),
    )
    return Portal(settings, store=store, sites=views, now=now)


def assemble(portal: Portal, accounts: Accounts) -> Litestar:
    """Returns the application with all routes."""

    @asynccontextmanager
    async def reading_the_lake(_: Litestar) -> AsyncIterator[None]:
        reader = LakeThread(portal)
        await asyncio.to_thread(reader.start)
        try:
            yield
        finally:
            await asyncio.to_thread(reader.stop)

    return web.app(
        portal.settings,
        portal=portal,
        routes=[
            compat.router(time.monotonic),
            api.router(accounts, time.monotonic),
            pages.router(portal, accounts),
        ],
        page=pages.failure(portal, accounts),
        identify=Identities(
            accounts, session_cookie=cookie_name("session", is_https=portal.settings.is_https)
        ),
        lifespan=[reading_the_lake],
        openapi=document.config(metadata.version("autarco-ingest")),
    )


class LakeThread:
    """Reads what is new in the lake until it is stopped, and writes down what was shown of it."""

    def __init__(self, portal: Portal, *, every_s: float = REFRESH_S) -> None:
        self._portal = portal
        self._every_s = every_s
        self._stopping = threading.Event()
        self._read_once = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lake", daemon=True)

    def start(self) -> None:
        """Starts, and waits a moment for the first reading."""
        self._thread.start()
        self._read_once.wait(FIRST_S)

    def stop(self) -> None:
        """Ends after the reading that is going on."""
        self._stopping.set()
        self._thread.join(FIRST_S)

    def _run(self) -> None:
        kept_at_s = time.monotonic()
        while not self._stopping.is_set():
            try:
                self._portal.sites.fleet.refresh(self._portal.now())
                self._read_once.set()
            except (CatalogError, OSError) as error:
                log.warning("the lake cannot be read", error=str(error))
            except Exception:
                # What is known stays known, and the next look may go well.
                log.exception("reading the lake failed")
            if time.monotonic() - kept_at_s >= KEEP_S:
                kept_at_s = time.monotonic()
                self._keep_totals()
            self._stopping.wait(self._every_s)
        self._keep_totals()

    def _keep_totals(self) -> None:
        try:
            self._portal.sites.keep_totals(self._sites)
        except NotReady:
            # Nothing was shown yet.
            return
        except OSError as error:
            log.warning("cannot write down which totals were shown", error=error.strerror)
        except StoreError as error:
            # Unasked, those of an erased site would come back.
            log.warning("cannot write down which totals were shown", error=str(error))

    def _sites(self) -> set[str]:
        return {key for key, _, _ in self._portal.store.sites.hanging()}
