"""What does the portal remember, and how is it asked?

`open_store(url)` gives a `Store`: groups of methods, each one transaction, that take and return the
values of the pure modules, never rows. The only package with SQLAlchemy. A method that finds
nothing returns None; StoreError says what was asked that cannot be, in one sentence without
anybody's data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autarco_portal.store.accounts import Accounts
from autarco_portal.store.alarm_notices import AlarmNotices
from autarco_portal.store.alarms import Alarms
from autarco_portal.store.audit import Audit
from autarco_portal.store.engine import StoreError as StoreError
from autarco_portal.store.engine import StoreUnavailable as StoreUnavailable
from autarco_portal.store.engine import make_engine, revision_of
from autarco_portal.store.guarantees import Guarantees
from autarco_portal.store.mails import Mails
from autarco_portal.store.migrate import check_version, upgrade
from autarco_portal.store.organisations import Organisations
from autarco_portal.store.people import People
from autarco_portal.store.person_data import PersonData
from autarco_portal.store.photos import Photos
from autarco_portal.store.privacy import Privacy
from autarco_portal.store.privacy_erasure import Erasure
from autarco_portal.store.privacy_retention import Retention
from autarco_portal.store.rectifications import Rectifications
from autarco_portal.store.second_factors import SecondFactors
from autarco_portal.store.sessions import Sessions
from autarco_portal.store.sites import Sites
from autarco_portal.store.throttles import Throttles

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy import Engine


class Store:
    """The portal's database; safe to share between threads; close it at the end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.organisations = Organisations(engine)
        self.people = People(engine)
        self.sites = Sites(engine)
        self.accounts = Accounts(engine)
        self.sessions = Sessions(engine)
        self.second_factors = SecondFactors(engine)
        self.throttles = Throttles(engine)
        self.alarms = Alarms(engine)
        self.alarm_notices = AlarmNotices(engine)
        self.guarantees = Guarantees(engine)
        self.audit = Audit(engine)
        self.privacy = Privacy(engine)
        self.mails = Mails(engine)
        self.erasure = Erasure(engine)
        self.retention = Retention(engine)
        self.photos = Photos(engine)
        self.rectifications = Rectifications(engine)
        self.person_data = PersonData(engine)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def revision(self) -> int:
        """Differs once this process has changed people, rights or sites.

        Ask it before reading what is to be remembered. Changes by other processes do not show.
        """
        return revision_of(self._engine).count

    def close(self) -> None:
        """Gives the connections back."""
        self._engine.dispose()


def open_store(url: str, *, migrate: bool = False) -> Store:
    """Opens a database by URL, or an SQLite file by path.

    `migrate` makes the tables or brings them up to date first; without it, tables of another
    version than this program's raise StoreError, which also says what to do.
    """
    engine = make_engine(url)
    try:
        if migrate:
            upgrade(engine)
        else:
            check_version(engine)
    except BaseException:
        engine.dispose()
        raise
    return Store(engine)


def migrate(url: str) -> tuple[str | None, str]:
    """Makes or updates the tables and returns the version before and after; raises StoreError."""
    engine = make_engine(url)
    try:
        return upgrade(engine)
    finally:
        engine.dispose()
