"""What does a deployment choose about privacy? One TOML file, `privacy.toml` beside the database.

Every choice has a default that the policy states; a file that asks for more than the policy allows
is refused in one sentence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from autarco_portal.mail import MailError
from autarco_portal.mail_smtp import MailSettings  # noqa: TC001 - msgspec looks at it
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.retention import Rule, with_periods
from autarco_portal.privacy.suspension import SuspensionRules


class PrivacySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `privacy.toml`."""

    officer: str = ""
    """Where the privacy officer is warned; also the contact in `security.txt`."""
    officer_language: Literal["nl", "en"] = "nl"
    """Of what the privacy officer is mailed."""
    security: str = ""
    """Where finders of a hole write to instead: an address, or a URI."""
    insurer: str = ""
    """Who hears of guarantees that lapsed."""
    url: str = "https://localhost"
    """Where people reach the portal: links in mails begin with it."""
    cooling_off_days: Annotated[int, msgspec.Meta(ge=7, le=14)] = 10
    mail: MailSettings | None = None
    """Without it mails wait in the database."""
    suspension: SuspensionRules = SuspensionRules()
    retention: dict[str, Any] = {}
    """Days by rule, where they are not the default."""

    @property
    def security_contact(self) -> str:
        """What `security.txt` names; empty for nobody."""
        return self.security or self.officer

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The table of retention as this deployment has it."""
        return with_periods(self.retention)


def load(path: Path) -> PrivacySettings:
    """Reads the file, or the defaults where there is none; raises PrivacyError, OSError."""
    if not path.exists():
        return PrivacySettings()
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=PrivacySettings, dec_hook=_path)
    except (msgspec.DecodeError, UnicodeDecodeError, MailError, PrivacyError) as error:
        raise PrivacyError(f"{path.name}: {error}") from error
    # Now, not in the night when the job runs.
    with_periods(found.retention)
    return found


def _path(kind: type, value: object) -> object:
    """TOML has no paths."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"no {kind.__name__} in this file")
