"""What everybody may read without signing in: the privacy policy, and where to report a hole."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from litestar import MediaType, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import QueryParameter

from autarco_portal.pages import models_office as models
from autarco_portal.pages.visitor import Visiting, show
from autarco_portal.people import known_language
from autarco_portal.portal import Here
from autarco_portal.privacy import policy
from autarco_portal.privacy_services import settings_of

if TYPE_CHECKING:
    from autarco_portal.privacy_settings import PrivacySettings

EXPIRES_IN = timedelta(days=180)
"""RFC 9116 recommends less than a year: whoever reads an old copy must see that it is old."""


@get("/privacy", sync_to_thread=True)
def privacy_policy(
    portal: Here,
    visitor: Visiting,
    wanted: Annotated[str, QueryParameter(name="version", max_length=64)] = "",
) -> Response[str]:
    """Shows the version in force, or one of those before and after it."""
    language = known_language(visitor.language.value)
    versions = [one for one in portal.store.privacy.policies.all() if one.language == language]
    found = policy.in_force(versions, language, visitor.now.date())
    if wanted:
        found = next((one for one in versions if one.version == wanted), None)
        if found is None:
            raise NotFoundException
    newest = sorted(versions, key=lambda one: (one.in_force_on, one.published_at), reverse=True)
    page = models.Policy(
        version=found.version if found is not None else "",
        text=found.text if found is not None else "",
        in_force_on=found.in_force_on if found is not None else None,
        sha256=found.sha256() if found is not None else "",
        history=tuple(
            models.PolicyRow(
                version=one.version, in_force_on=one.in_force_on, is_shown=one is found
            )
            for one in newest
        ),
        contact=settings_of(portal).officer,
    )
    return show(visitor, page)


@get("/.well-known/security.txt", sync_to_thread=True, media_type=MediaType.TEXT)
def security_txt(portal: Here) -> str:
    """Says where finders of a hole write to (RFC 9116); 404 where the settings name nobody."""
    settings = settings_of(portal)
    if not settings.security_contact:
        raise NotFoundException
    return security_text(settings, portal.now())


def security_text(settings: PrivacySettings, now: datetime) -> str:
    """Returns the file; it expires half a year from today, so it is never an old one."""
    contact = settings.security_contact
    expires = (now + EXPIRES_IN).replace(hour=0, minute=0, second=0, microsecond=0)
    lines = [
        f"Contact: {contact if ':' in contact else f'mailto:{contact}'}",
        f"Expires: {expires:%Y-%m-%dT%H:%M:%SZ}",
        "Preferred-Languages: nl, en",
    ]
    if settings.url.startswith("https://"):
        lines += [
            f"Canonical: {settings.url}/.well-known/security.txt",
            f"Policy: {settings.url}/privacy",
        ]
    return "\n".join(lines) + "\n"


HANDLERS = [privacy_policy, security_txt]
