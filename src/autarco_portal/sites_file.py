"""Which sites are there, where no store keeps them? `portal/sites.json`, a JSON list of `Site`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from autarco_portal.site import Site, SiteError

if TYPE_CHECKING:
    from pathlib import Path


def load(path: Path) -> list[Site]:
    """Reads the sites; raises SiteError with one sentence for what is missing or wrong."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Site])
    except FileNotFoundError as error:
        raise SiteError(f"there are no sites: {path} does not exist") from error
    except OSError as error:
        raise SiteError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise SiteError(f"{path}: {error}") from error
