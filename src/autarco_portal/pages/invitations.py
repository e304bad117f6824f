"""Where does somebody open an invitation: by a link that is shown, or by one that is mailed?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autarco_portal.privacy_services import settings_of

if TYPE_CHECKING:
    from litestar import Request

    from autarco_portal.portal import Portal
    from autarco_portal.secret import Secret


def shown(request: Request[Any, Any, Any], link: Secret) -> str:
    """Returns the link for whoever asked for it, at the address by which he reached us."""
    return str(request.url.with_replacements(path=f"/invitation/{link.reveal()}", query=""))


def mailed(portal: Portal, link: Secret) -> str:
    """Returns the link for a mail, at the address that is set (`url` in `privacy.toml`).

    Never that of a request, which says what its sender likes: the mail goes to somebody else.
    """
    return f"{settings_of(portal).url}/invitation/{link.reveal()}"
