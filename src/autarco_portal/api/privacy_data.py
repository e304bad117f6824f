"""`/api/v1/me/privacy`: all of my data as a file, who looked at it, and to whom did it go?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from litestar import Request, get, post
from litestar.exceptions import NotFoundException, PermissionDeniedException
from litestar.response import File

from autarco_portal import audit_reading
from autarco_portal.api.access import PROBLEMS, Key, allowed, known, seen
from autarco_portal.api.privacy_access import Name, need_fresh, oneself, own_of
from autarco_portal.audit_page import Line
from autarco_portal.bundle import Profile
from autarco_portal.bundle_jobs import BundleState
from autarco_portal.portal import Here, Portal
from autarco_portal.privacy import sharing
from autarco_portal.privacy.sharing import Disclosure
from autarco_portal.privacy_services import ruled
from autarco_portal.rights import Action, PersonAccess, may
from autarco_portal.web_identity import Asking

if TYPE_CHECKING:
    from autarco_portal.people import Actor

NO_BUNDLE = "no such bundle: ask for it"


@post("/me/privacy/bundles/{name:str}", sync_to_thread=True, summary="Have my data put together",
      tags=["privacy"], responses=PROBLEMS, status_code=202)  # fmt: skip
def begin_bundle(portal: Here, actor: Asking, request: Request[Any, Any, Any], name: Name) -> None:
    """`access` is everything, `portability` what you gave and what was measured."""
    who = _exporting(portal, request, actor)
    portal.bundles.begin(who.person_id, profile_of(name))


@get("/me/privacy/bundles/{name:str}", sync_to_thread=True, summary="How far is my data",
     tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def show_bundle(portal: Here, actor: Asking, name: Name) -> BundleState:
    """404 where none was asked for, or its day is over."""
    who = known(actor)
    found = portal.bundles.state(who.person_id, profile_of(name))
    if found is None:
        raise NotFoundException(NO_BUNDLE)
    return found


@get("/me/privacy/bundles/{name:str}/file", sync_to_thread=True, summary="Get my data",
     tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def get_bundle(portal: Here, actor: Asking, request: Request[Any, Any, Any], name: Name) -> File:
    """The zip, for a day. Wants a session in which you proved just now who you are."""
    who = _exporting(portal, request, actor)
    return bundle_file(portal, who.person_id, profile_of(name))


@get("/me/privacy/looks", sync_to_thread=True, summary="Who looked at my data", tags=["privacy"],
     responses=PROBLEMS)  # fmt: skip
def list_looks(portal: Here, actor: Asking) -> list[Line]:
    """And who changed or exported what of it; the newest first."""
    own = own_of(portal, oneself(actor))
    with ruled():
        return own.looks(own.person.language)


@get("/sites/{key:str}/looks", sync_to_thread=True, summary="Who looked at a site",
     tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def list_site_looks(portal: Here, actor: Asking, key: Key) -> list[Line]:
    """And who changed what of it; an owner reads of his own time there."""
    who, record = seen(portal, actor, key)
    allowed(who, Action.VIEW_AUDIT, record)
    portal.looked(who, record, "view_audit")
    person = portal.store.people.get(who.person_id)
    language = person.language if person is not None else "nl"
    return audit_reading.of_site(portal.store, record, who.at, language, reader=who.person_id)


@get("/sites/{key:str}/disclosures", sync_to_thread=True, summary="To whom was it disclosed",
     tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def list_disclosures(portal: Here, actor: Asking, key: Key) -> list[Disclosure]:
    """The ledger of a site, the oldest first."""
    who, record = seen(portal, actor, key)
    allowed(who, Action.VIEW_AUDIT, record)
    portal.looked(who, record, "view_audit")
    return sharing.about(portal.store.privacy.disclosures_of(key), key, record.seen_from)


def bundle_file(portal: Portal, person_id: str, profile: Profile) -> File:
    """Returns the answer with a bundle that is ready; raises NotFoundException."""
    found = portal.bundles.file(person_id, profile)
    if found is None:
        raise NotFoundException(NO_BUNDLE)
    day = portal.now().date().isoformat()
    return File(path=found, filename=f"autarco-{profile}-{day}.zip", media_type="application/zip")


def profile_of(text: str) -> Profile:
    """Returns which bundle is meant; raises NotFoundException."""
    for profile in get_args(Profile):
        if text == profile:
            found: Profile = profile
            return found
    raise NotFoundException("no such bundle: access or portability")


def _exporting(portal: Portal, request: Request[Any, Any, Any], actor: Actor | None) -> Actor:
    who = known(actor)
    if not may(who, Action.EXPORT_PERSON, PersonAccess(person_id=who.person_id)):
        raise PermissionDeniedException("a program exports nobody: use the portal itself")
    need_fresh(portal, request, who)
    return who


ROUTES = (
    begin_bundle, show_bundle, get_bundle, list_looks, list_site_looks, list_disclosures,
)  # fmt: skip
