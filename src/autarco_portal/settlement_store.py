"""Where do settlements lie, and which one stands in for which?

One directory per site below `portal/settlements`; of each settled period a JSON file and a claim
file per version: `C-1.year-3.v1.json`, `.zip`. A settlement never changes: `keep` writes a version
where there is none and never over one. Settling again with the same inputs gives the bytes that are
there; with others, the next version, which names the SHA-256 of the one before among its inputs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import msgspec

from autarco_ingest import durable, file_lock, paths
from autarco_portal import guarantee
from autarco_portal.guarantee_evidence import GuaranteeError, check_code
from autarco_portal.settle import FORMER

if TYPE_CHECKING:
    from pathlib import Path

    from autarco_portal.guarantee import Settlement
    from autarco_portal.guarantee_contract import Contract


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement as it lies there."""

    version: int
    settlement: Settlement
    document: Path
    claim: Path
    is_new: bool = False


class Make(Protocol):
    """Settles, naming the settlement before among the inputs."""

    def __call__(self, former_sha256: str | None) -> Settlement:
        """Returns the settlement."""


class Seal(Protocol):
    """Makes the claim file."""

    def __call__(self, settlement: Settlement) -> bytes:
        """Returns its bytes."""


class SettlementStore:
    """The settlements below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def newest(self, contract: Contract, year: int) -> Kept | None:
        """Returns the newest settlement of the period that a contract year is in; None without.

        Raises GuaranteeError for a file that is no settlement.
        """
        version = self._version(contract, year)
        if not version:
            return None
        document = self._document(contract, year, version)
        try:
            settlement = guarantee.from_json(document.read_bytes())
        except msgspec.DecodeError as error:
            raise GuaranteeError(f"{document}: {error}") from error
        return Kept(
            version=version,
            settlement=settlement,
            document=document,
            claim=document.with_suffix(".zip"),
        )

    def keep(self, contract: Contract, year: int, make: Make, seal: Seal) -> Kept:
        """Settles and keeps it, unless the same lies there already; raises GuaranteeError, OSError.

        When this returns, both files are on disk. Who settles at the same time waits.
        """
        durable.make_directory(self._directory)
        with file_lock.held(self._directory / "lock"):
            return self._keep(contract, year, make, seal)

    def _keep(self, contract: Contract, year: int, make: Make, seal: Seal) -> Kept:
        before = self.newest(contract, year)
        if before is not None:
            again = make(before.settlement.input_sha256.get(FORMER))
            if guarantee.to_json(again) == guarantee.to_json(before.settlement):
                # The claim file is written first, but somebody may have taken it away.
                if not before.claim.exists():
                    paths.write(before.claim, seal(again))
                return before
        former = None if before is None else guarantee.digest(before.settlement)
        settlement = make(former)
        version = 1 if before is None else before.version + 1
        document = self._document(contract, year, version)
        kept = Kept(
            version=version,
            settlement=settlement,
            document=document,
            claim=document.with_suffix(".zip"),
            is_new=True,
        )
        durable.make_directory(document.parent)
        paths.write(kept.claim, seal(settlement))
        # Last: where the document is, the claim file is.
        paths.write(document, guarantee.to_json(settlement))
        return kept

    def _version(self, contract: Contract, year: int) -> int:
        """The newest version there is; 0 for none."""
        first = self._document(contract, year, 1)
        name = re.compile(re.escape(first.name.removesuffix("1.json")) + r"(\d+)\.json")
        found = first.parent.glob("*.json") if first.parent.is_dir() else ()
        return max(
            (int(match[1]) for file in found if (match := name.fullmatch(file.name))), default=0
        )

    def _document(self, contract: Contract, year: int, version: int) -> Path:
        check_code("site_id", contract.site_id)
        years = guarantee.period(contract, year)
        span = f"year-{years[0]}" if len(years) == 1 else f"years-{years[0]}-{years[-1]}"
        name = f"{contract.contract_id}.{span}.v{version}.json"
        return self._directory / contract.site_id / name
