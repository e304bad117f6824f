"""What carries people's rights out in a running portal: settings, desk, eraser, newsletters?

Pages and API ask here, so that both do the same with the same settings. `privacy.toml` is read each
time it is asked for: an operator who changes it need not start anything anew.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from litestar.exceptions import ClientException, NotFoundException

from autarco_ingest.paths import DataDirectory
from autarco_portal.newsletter import Newsletter
from autarco_portal.people import PeopleError
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy_desk import Desk
from autarco_portal.privacy_erasure import Eraser
from autarco_portal.privacy_settings import PrivacySettings, load
from autarco_portal.secret import derived, load_key
from autarco_portal.store import StoreError
from autarco_portal.telemetry_erasure import IngestForget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autarco_portal.portal import Portal


class NotThere(LookupError):
    """There is no such request, case or decision of his; one sentence."""


def directory_of(portal: Portal) -> PortalDirectory:
    """Returns the names of the portal's files."""
    return PortalDirectory.of(DataDirectory.at(portal.settings.data))


def settings_of(portal: Portal) -> PrivacySettings:
    """Returns what the deployment chose; raises PrivacyError, OSError."""
    return load(directory_of(portal).root / "privacy.toml")


def desk_of(portal: Portal) -> Desk:
    """Returns the desk that takes requests and answers them."""
    return Desk(portal.store, settings_of(portal))


def eraser_of(portal: Portal) -> Eraser:
    """Returns what previews and carries out erasures."""
    data = DataDirectory.at(portal.settings.data)
    insurer = settings_of(portal).insurer or None
    return Eraser(portal.store, data, IngestForget(portal.settings.data), insurer=insurer)


def newsletter_of(portal: Portal) -> Newsletter:
    """Returns the newsletters of a portal, with the key that its links are made with."""
    settings = settings_of(portal)
    return Newsletter(
        portal.store,
        derived(load_key(directory_of(portal).secret_key), "newsletter"),
        url=settings.url,
        mailbox=settings.officer,
    )


@contextmanager
def ruled() -> Iterator[None]:
    """What a rule refuses is the caller's mistake (400), and the rule says which."""
    try:
        yield
    except NotThere as error:
        raise NotFoundException(str(error)) from error
    except (PrivacyError, StoreError, PeopleError) as error:
        raise ClientException(str(error)) from error
