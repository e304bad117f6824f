"""Which guarantees does a site have? The contracts, with what belongs to them and not in the rules.

`GuaranteeFile` keeps them as a JSON list, where no store does.
"""

from __future__ import annotations

from decimal import Decimal  # noqa: TC003 - msgspec looks at it when it decodes
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.guarantee_contract import Contract  # noqa: TC001 - likewise
from autarco_portal.guarantee_evidence import Credit, GuaranteeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Guarantee(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A contract, and what was agreed or noted beside it."""

    contract: Contract
    monthly_share: tuple[Decimal, ...] = ()
    """Shares of January to December in a year's energy, of the yield report. Without them they
    come from the model under the weather of whole years."""
    credits: tuple[Credit, ...] = ()
    """Energy that people know was not made for a reason that is not the guarantor's."""

    def __post_init__(self) -> None:
        """Raises GuaranteeError for a year of other than twelve months."""
        if self.monthly_share and len(self.monthly_share) != 12:
            raise GuaranteeError(f"monthly_share: expected 12, got {len(self.monthly_share)}")


class GuaranteeFile:
    """Guarantees as a JSON list on disk; amounts as text, so that they are exact decimals."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of_site(self, site_id: str) -> Sequence[Guarantee]:
        """Returns the guarantees of a site; none without a file. Raises GuaranteeError, OSError."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=list[Guarantee])
        except FileNotFoundError:
            return []
        except msgspec.DecodeError as error:
            raise GuaranteeError(f"{self._path}: {error}") from error
        ids = [one.contract.contract_id for one in found]
        if len(set(ids)) < len(ids):
            raise GuaranteeError(f"{self._path}: two contracts of one contract_id")
        return [one for one in found if one.contract.site_id == site_id]
