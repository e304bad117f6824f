"""Where has one test its lake, in an S3 server, and how does it read what is there?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import polars as pl

import s3_server
from autarco_ingest import paths, table_store
from autarco_ingest.lake import open_delta
from autarco_ingest.settings import LakeSettings

if TYPE_CHECKING:
    import pyarrow as pa


class Place(msgspec.Struct, frozen=True):
    """Where one test has its lake."""

    location: str
    port: int

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a server process that writes here."""
        return {
            "lake__location": self.location,
            "lake__endpoint": f"http://127.0.0.1:{self.port}",
            "lake__allow_http": "true",
        }

    @property
    def store(self) -> table_store.TableStore:
        """The same for a test that writes itself."""
        settings = LakeSettings(
            location=self.location, endpoint=f"http://127.0.0.1:{self.port}", allow_http=True
        )
        data = paths.DataDirectory.at("nowhere", self.location)
        return table_store.open_store(settings, data, s3_server.KEYS)

    def table(self, name: str = "readings") -> pa.Table:
        """Reads a table as a stranger would, by its Delta log."""
        return open_delta(self.store, name).to_pyarrow_table()

    def scan(self) -> pl.LazyFrame:
        """Reads the table of readings by Polars."""
        options = self.store.storage_options or {}
        keys = {name: text for name, text in options.items() if name.startswith("aws_")}
        return pl.scan_delta(self.store.uri("readings"), storage_options=keys)

    def through(self, port: int) -> Place:
        """The same place, reached by another port."""
        return Place(self.location, port)
