"""What is every file of the portal called that is not the database?

All lie below `portal` in the data directory. Nothing here reads or writes.
"""

from __future__ import annotations

import re
from pathlib import Path  # noqa: TC003 - msgspec looks at it
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from datetime import date

    from autarco_ingest.paths import DataDirectory


class PortalDirectory(msgspec.Struct, frozen=True):
    """Names below `root`, the directory `portal`."""

    root: Path

    @classmethod
    def of(cls, data: DataDirectory) -> PortalDirectory:
        """Returns the names below a data directory."""
        return cls(data.root / "portal")

    @property
    def database(self) -> Path:
        """The store, unless a URL names another."""
        return self.root / "portal.sqlite"

    @property
    def secret_key(self) -> Path:
        """The key that links and counters of failures are signed with; for its owner only."""
        return self.root / "secret.key"

    @property
    def sites(self) -> Path:
        """The sites, as a JSON list, where no store keeps them."""
        return self.root / "sites.json"

    @property
    def guarantees(self) -> Path:
        """The guarantees, as a JSON list, where no store keeps them."""
        return self.root / "guarantees.json"

    @property
    def settlements(self) -> Path:
        """Directory of what was settled: documents and claim files."""
        return self.root / "settlements"

    @property
    def weather(self) -> Path:
        """Directory of the weather table."""
        return self.root / "weather"

    @property
    def weather_index(self) -> Path:
        """Which stations there are, and which files they came from."""
        return self.weather / "index.json"

    def weather_rows(self, station: str) -> Path:
        """Returns the file with the weather of one station."""
        return self.weather / f"{re.sub(r'[^A-Za-z0-9.-]', '-', station)}.parquet"

    @property
    def analytics(self) -> Path:
        """Directory of the derived tables."""
        return self.root / "analytics"

    def table(self, name: str) -> Path:
        """Returns the directory of one derived table."""
        return self.analytics / name

    def month(self, table: str, day: date) -> Path:
        """Returns the file of a derived table that the day is in."""
        return self.table(table) / f"{day:%Y-%m}.parquet"

    @property
    def erased(self) -> Path:
        """Who was erased, as keyed digests; to be backed up apart from the database."""
        return self.root / "erased.jsonl"

    @property
    def erased_key(self) -> Path:
        """The key of those digests."""
        return self.root / "erased.key"

    @property
    def summaries(self) -> Path:
        """Directory of what the pages keep of past days, by inverter."""
        return self.root / "summaries"

    @property
    def photos(self) -> Path:
        """Directory of photos, named by their hash."""
        return self.root / "photos"

    @property
    def releases(self) -> Path:
        """The list of releases of research data."""
        return self.root / "research" / "releases.jsonl"

    @property
    def bundles(self) -> Path:
        """Directory of what people asked for of their data; a day at most."""
        return self.root / "bundles"

    @property
    def shown_totals(self) -> Path:
        """The highest totals that programs were told, by site."""
        return self.root / "shown-totals.json"

    @property
    def mail_lock(self) -> Path:
        """Held by the one process that sends mail: nobody gets one twice."""
        return self.root / "mail.lock"

    def imported(self, person_id: str) -> Path:
        """Returns the directory of derived tables that somebody brought along."""
        return self.root / "imported" / person_id

    @property
    def reanalyse(self) -> Path:
        """Which sites are to be analysed again, since a fact of theirs was corrected."""
        return self.root / "reanalyse.json"

    @property
    def analysis_lock(self) -> Path:
        """Held by the one process that analyses."""
        return self.root / "analysis.lock"
