"""Where does what a settlement needs come from, and who puts it together?

The rim of `settle`: sites, guarantees, readings, weather and incidents from the data directory, the
settlement back into it. Only this file knows the order: the periods, the buffer of the year before,
the model, the version before.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from importlib import metadata
from typing import TYPE_CHECKING, NoReturn

import msgspec
import numpy as np
import polars as pl

from autarco_portal import claim_file, guarantee, settle, settle_evidence, settle_model
from autarco_portal.counter import EnergyError
from autarco_portal.derived_store import DerivedError
from autarco_portal.guarantee_contract import year_span
from autarco_portal.guarantee_evidence import GuaranteeError
from autarco_portal.lake_reader import CatalogError, LakeReader
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.settle_evidence import SettleError
from autarco_portal.settle_records import FileRecords, Records
from autarco_portal.settlement_store import Kept, SettlementStore
from autarco_portal.site import SiteError
from autarco_portal.weather import WeatherError
from autarco_portal.weather_store import WeatherStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from autarco_ingest.paths import DataDirectory
    from autarco_portal.guarantee_contract import Contract
    from autarco_portal.guarantee_terms import Guarantee
    from autarco_portal.site import Site
    from autarco_portal.weather import PlaceWeather

LOAD_ERRORS = (
    SettleError, GuaranteeError, EnergyError, SiteError, WeatherError, CatalogError,
    DerivedError,
)  # fmt: skip
"""What a settlement may fail with because of what it was given; each message is one sentence."""

_CLIMATE_BEGINS = datetime(1990, 1, 1, tzinfo=UTC)
_INDEX_STEP = Decimal("0.000001")


class Loader:
    """Settles from one data directory."""

    def __init__(
        self, data: DataDirectory, records: Records | None = None, *, now: datetime | None = None
    ) -> None:
        """`records` knows sites, guarantees and incidents; by default the files do."""
        self.data = data
        self._portal = PortalDirectory.of(data)
        self._records = records or FileRecords(self._portal)
        self._store = SettlementStore(self._portal.settlements)
        self._weather = WeatherStore(self._portal)
        self._now = now or datetime.now(UTC)

    def settle_period(
        self,
        site_id: str,
        named_year: int,
        *,
        contract_id: str | None = None,
        progress: Callable[[str], object] = lambda _: None,
    ) -> Kept:
        """Settles the period that a year is in; raises one of LOAD_ERRORS, or OSError.

        `named_year` is as for `settle.contract_year`. `progress` hears of four steps.
        """
        site = self._records.site(site_id)
        guaranteed = self._guarantee(site_id, contract_id)
        contract = guaranteed.contract
        year = settle.contract_year(contract, named_year)
        years = guarantee.period(contract, year)
        settle.check_over(contract, years[-1], self._now)
        buffer = self._buffer(contract, year)
        progress("contract")
        place, rows = self._place(site)
        climate = pl.DataFrame() if place is None else settle_model.climate_days(site, place)
        shares = () if guaranteed.monthly_share else settle_model.monthly_share(climate)
        progress("weather")
        prepared = [
            self._prepare(guaranteed, one, site, place, rows, climate, shares) for one in years
        ]
        progress("readings")
        files = settle.evidence_files(prepared, site)
        kept = self._store.keep(
            contract,
            year,
            lambda former: settle.settled(
                contract,
                [one.evidence for one in prepared],
                files,
                code_version=metadata.version("autarco-ingest"),
                buffer_kwh=buffer,
                former_sha256=former,
            ),
            lambda settlement: claim_file.sealed(settlement, files),
        )
        self._records.hear(kept.settlement, self._now)
        progress("settlement")
        return kept

    def _guarantee(self, site_id: str, contract_id: str | None) -> Guarantee:
        found = self._records.guarantees(site_id)
        names = [one.contract.contract_id for one in found]
        if contract_id is not None:
            found = [one for one in found if one.contract.contract_id == contract_id]
            if not found:
                _refuse(f"site {site_id} has no contract {contract_id!r}, only {names}")
        if not found:
            _refuse(f"site {site_id} has no guarantee")
        if len(found) > 1:
            _refuse(f"site {site_id} has the contracts {', '.join(names)}: choose by --contract")
        return found[0]

    def _buffer(self, contract: Contract, year: int) -> Decimal:
        if contract.settlement != "carry_over" or year == 1:
            return Decimal(0)
        before = self._store.newest(contract, year - 1)
        if before is None:
            _refuse(
                f"contract {contract.contract_id} carries over, and year {year - 1} is not settled "
                "yet: settle it first"
            )
        return before.settlement.buffer_after_kwh

    def _place(self, site: Site) -> tuple[PlaceWeather | None, pl.DataFrame]:
        rows = self._weather.rows(_CLIMATE_BEGINS, self._now)
        place = settle_model.place_weather(site, self._weather.index().stations, rows)
        return place, rows

    def _prepare(
        self,
        guaranteed: Guarantee,
        year: int,
        site: Site,
        place: PlaceWeather | None,
        rows: pl.DataFrame,
        climate: pl.DataFrame,
        shares: Sequence[Decimal],
    ) -> settle_evidence.Prepared:
        contract = guaranteed.contract
        begins, ends = year_span(contract, year)
        from_at = (begins - settle_evidence.READINGS_BEFORE).astimezone(UTC)
        to_at = (ends + settle_evidence.READINGS_AFTER).astimezone(UTC)
        index = None
        if contract.weather == "normalised":
            index = _weather_index(site, contract, year, place, climate)
        used = (pl.col("ts") >= from_at) & (pl.col("ts") < ends.astimezone(UTC))
        if shares or index is not None:
            used |= pl.col("ts").dt.year().is_in(climate["date"].dt.year().unique().to_list())
        if place is not None:
            inside = place.rows.filter(pl.col("ts") >= from_at, pl.col("ts") < to_at)
            place = msgspec.structs.replace(place, rows=inside) if inside.height else None
        model = settle_model.modelled(site, from_at, to_at, place)
        if place is not None:
            files = settle_model.weather_files(place, rows.filter(used))
            model = msgspec.structs.replace(model, files=files)
        readings = LakeReader(self.data).readings(
            sorted({inverter.serial_number for inverter in site.inverters}),
            from_at,
            to_at,
            settle_evidence.COLUMNS,
        )
        return settle_evidence.prepare(
            guaranteed,
            year,
            site,
            readings,
            model,
            monthly_share=shares,
            incidents=self._records.incidents(site.site_id),
            weather_index=index,
        )


def _weather_index(
    site: Site, contract: Contract, year: int, place: PlaceWeather | None, climate: pl.DataFrame
) -> Decimal:
    begins, ends = year_span(contract, year)
    if place is None or climate.is_empty():
        _refuse(
            f"contract {contract.contract_id} follows the weather, and a reference climate takes "
            "two whole calendar years of it: import them with import-weather"
        )
    made = settle_model.year_kwh(site, place, begins, ends)
    if not np.isfinite(made):
        _refuse(
            f"contract {contract.contract_id} follows the weather, and that of {begins:%Y-%m-%d} "
            f"to before {ends:%Y-%m-%d} has gaps: import it with import-weather"
        )
    index = made / settle_model.climate_year_kwh(climate)
    return Decimal(str(index)).quantize(_INDEX_STEP)


def _refuse(why: str) -> NoReturn:
    raise SettleError(why)
