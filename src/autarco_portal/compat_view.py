"""How does a site look in the API that clients of the old portal speak?

Shapes, names and number types as the public client `autarco` and Home Assistant parse them:
energies and powers are whole numbers and never null, series are maps by site-local wall-clock time
or date with null for what nobody measured, an empty map is a map. Unknown keys do no harm, missing
ones do.

Pure. Source: reference document of the portal API, sections 1.3 and 1.4.
"""

from __future__ import annotations

import functools
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
from babel import Locale

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from autarco_portal.site import Inverter, RoofPlane
    from autarco_portal.site_record import SiteRecord
    from autarco_portal.site_view import Health, Silence, SiteView, Sums

Range: TypeAlias = Literal["day", "week", "month", "year", "total"]

CO2_KG_PER_KWH = 0.3686
"""What the old portal's numbers imply. A promise about today's grid it is not."""
PER_PAGE = 30
_CLOCK = "%Y-%m-%d %H:%M:%S"


class RangeError(ValueError):
    """A range or its day cannot be understood; the message is one sentence."""


class ListedSite(msgspec.Struct, frozen=True, kw_only=True):
    """A site in the list of an account."""

    record: SiteRecord
    owner: str = ""
    retailer: str = ""
    health: Health = "OK"


def on_page(keys: Sequence[str], page: int) -> Sequence[str]:
    """Returns which of all sites that somebody sees are on a page."""
    return keys[(page - 1) * PER_PAGE : page * PER_PAGE]


def site_list(shown: Sequence[ListedSite], *, count: int, page: int, url: str) -> dict[str, Any]:
    """Returns a page of the sites that somebody sees, of `count`; `url` is that of the list."""
    begin = (page - 1) * PER_PAGE

    def page_url(number: int) -> str:
        return f"{url}?page={number}"

    return {
        "current_page": page,
        "data": [_listed(site) for site in shown],
        "first_page_url": page_url(1),
        "from": begin + 1 if shown else None,
        "next_page_url": page_url(page + 1) if count > begin + PER_PAGE else None,
        "path": url,
        "per_page": PER_PAGE,
        "prev_page_url": page_url(page - 1) if page > 1 else None,
        "to": begin + len(shown) if shown else None,
    }


def _listed(site: ListedSite) -> dict[str, Any]:
    record = site.record
    return {
        "mock": 0,
        "name_end_user": site.owner,
        "name_retailer": site.retailer,
        "public_key": record.public_key,
        "dt_created": record.created_at.strftime(_CLOCK),
        "dt_updated": record.updated_at.strftime(_CLOCK),
        "address_line_1": record.address.street,
        "address_line_2": None,
        "address_line_3": None,
        "city": record.address.city,
        "postcode": record.address.postcode,
        "country_code": record.address.country,
        "country_name": _country(record.address.country),
        "site_id": record.number,
        "address_id": record.number,
        "nominal_power": record.nominal_power,
        "health": site.health,
        "name": record.name,
    }


def site_detail(
    record: SiteRecord, *, retailer: str, has_meter: bool, has_battery: bool, shows_address: bool
) -> dict[str, Any]:
    """Returns a site without its readings; the address only for whom it may be shown to."""
    address = {
        "address_line_1": record.address.street,
        "postcode": record.address.postcode,
        "city": record.address.city,
        "country": _country(record.address.country),
    }
    began = record.commissioned_on or record.created_at.date()
    created, updated = record.created_at.date(), record.updated_at.date()
    return {
        "public_key": record.public_key,
        "name": record.name,
        "address": address if shows_address else {},
        "timezone": record.time_zone,
        "dt_created": created.isoformat(),
        "dt_updated": updated.isoformat(),
        "has_consumption_meter": has_meter,
        "has_battery": has_battery,
        "systems": [
            {
                "retailer": retailer,
                "nominal_power": record.nominal_power,
                "dt_created": created.isoformat(),
                "dt_updated": updated.isoformat(),
                "inverters": {one.serial_number: _installed(one) for one in record.inverters},
                "layout": [_layout(plane) for plane in record.planes],
                # What a filled one looks like is known to nobody; /api/v1 has the guarantee.
                "guarantee": None,
                "dt_installed": began.isoformat(),
            }
        ],
    }


def _installed(inverter: Inverter) -> dict[str, Any]:
    gone = inverter.uninstalled_at
    return {
        "serial_number": inverter.serial_number,
        "variant_code": inverter.variant_code or "",
        "dt_installed": inverter.installed_at.date().isoformat(),
        "dt_uninstalled": gone.date().isoformat() if gone is not None else None,
    }


def _layout(plane: RoofPlane) -> dict[str, Any]:
    # There south is 0 and east negative.
    return {
        "qty": plane.modules,
        "type": plane.module_type or plane.name,
        "pitch": round(plane.surface_tilt),
        "azimuth": round(plane.surface_azimuth) - 180,
    }


def kpis_energy(view: SiteView, *, is_daytime: bool) -> dict[str, Any]:
    """Returns what was made, used and stored: today, this month and ever."""
    charged, discharged = view.battery_charged, view.battery_discharged
    used, made_used = view.self_sufficiency, view.self_consumption
    return {
        "is_daytime": is_daytime,
        **_three("pv", view.pv),
        "co2_today": _co2(view.pv.today),
        "co2_month": _co2(view.pv.month),
        "co2_to_date": _co2(view.pv.to_date),
        **_three("consumption", view.consumption),
        **_three("grid_import", view.grid_import),
        **_three("grid_export", view.grid_export),
        "grid_net_import_to_date": view.grid_import.to_date - view.grid_export.to_date,
        "battery_soc": view.battery_soc,
        **_three("battery_charged", charged),
        **_three("battery_discharged", discharged),
        "battery_net_charged_month": charged.month - discharged.month,
        "battery_net_charged_to_date": charged.to_date - discharged.to_date,
        "self_sufficiency_month": used.month,
        "self_sufficiency_to_date": used.to_date,
        "self_consumption_month": made_used.month,
        "self_consumption_to_date": made_used.to_date,
    }


def kpis_power(view: SiteView, *, is_daytime: bool) -> dict[str, Any]:
    """Returns what happens now."""
    imported, exported = max(0, view.grid_now), max(0, -view.grid_now)
    return {
        "inverters": {
            one.serial_number: {
                "latest": _instant(one.at),
                "power": one.power,
                "health": one.health,
                "error": one.error,
            }
            for one in view.inverters
        },
        "pv_now": view.pv_now,
        "is_daytime": is_daytime,
        "consumption_now": view.consumption_now,
        "consumed_now": imported,
        "grid_net_import_now": imported,
        "grid_export_now": exported,
        "self_consumption_now": _share(view.pv_now, exported),
        "self_sufficiency_now": _share(view.consumption_now, imported),
        "battery_now": view.battery_now,
        "battery_net_charged_now": view.battery_now,
        "battery_soc": view.battery_soc,
    }


def power(
    view: SiteView,
    series: Mapping[str, Mapping[datetime, int | None]],
    silent: Iterable[Silence],
    *,
    changed_at: datetime,
) -> dict[str, Any]:
    """Returns the inverters now and their power by quarter of an hour."""
    return {
        "dt_config_changed": _instant(changed_at),
        "inverters": {
            one.serial_number: {
                "sn": one.serial_number,
                "dt_latest_msg": _instant(one.at),
                "out_ac_power": one.power,
                "out_ac_energy_total": one.energy_total,
                "error": one.error,
                "grid_turned_off": one.grid_is_off,
                "health": one.health,
            }
            for one in view.inverters
        },
        "stats": {
            "graphs": {"pv_power": {sn: by_clock(values) for sn, values in series.items()}},
            "no_comms": [
                {
                    "start": one.start.strftime(_CLOCK),
                    "end": one.end.strftime(_CLOCK) if one.end is not None else None,
                }
                for one in silent
            ],
            "kpis": {"pv_now": view.pv_now},
        },
    }


def energy(view: SiteView, series: Mapping[str, Mapping[date, int | None]]) -> dict[str, Any]:
    """Returns the inverters' energy by day, month or year, and the days that nobody measured."""
    days = sorted({day for values in series.values() for day in values})
    silent = [day for day in days if all(v.get(day) is None for v in series.values())]
    return {
        "stats": {
            "graphs": {"pv_energy": {sn: by_day(values) for sn, values in series.items()}},
            "no_comms": [
                {
                    "start": datetime.combine(day, time()).strftime(_CLOCK),
                    "end": datetime.combine(day, time(23, 59, 59)).strftime(_CLOCK),
                }
                for day in silent
            ],
            "kpis": _three("pv", view.pv),
        }
    }


def by_clock(values: Mapping[datetime, int | None]) -> dict[str, int | None]:
    """Returns a series as JSON has it, by site-local wall-clock time."""
    return {at.strftime(_CLOCK): value for at, value in values.items()}


def by_day(values: Mapping[date, int | None]) -> dict[str, int | None]:
    """Returns a series as JSON has it; months and years by their first day."""
    return {day.isoformat(): value for day, value in values.items()}


def days_of(range_: str, day: date, first: date | None) -> list[date]:
    """Returns the borders of a range's parts: first days, and the day after the last.

    A day has itself, a week (from Monday) and a month have days, a year has months, `total` has
    years from `first` on. `day` is any day within. Raises RangeError for another range.
    """
    if range_ == "day":
        return [day, day + timedelta(days=1)]
    if range_ == "week":
        monday = day - timedelta(days=day.weekday())
        return [monday + timedelta(days=n) for n in range(8)]
    if range_ == "month":
        start, end = day.replace(day=1), _months_on(day, 1)
        return [start + timedelta(days=n) for n in range((end - start).days + 1)]
    if range_ == "year":
        return [_months_on(day.replace(month=1), n) for n in range(13)]
    if range_ == "total":
        begin = (first or day).year
        return [date(year, 1, 1) for year in range(begin, day.year + 2)]
    raise RangeError(f"r is day, week, month, year or total, not {range_[:20]!r}")


def parse_day(text: str | None, today: date) -> date:
    """Returns the day that `d` names (20261129 or 2026-11-29), today without one.

    Raises RangeError for another spelling, and for days that no solar system has seen.
    """
    if text is None:
        return today
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise RangeError(f"d is a day as 20261129, not {text[:20]!r}") from None
    if not date(2000, 1, 1) <= day <= today + timedelta(days=366):
        raise RangeError(f"d is a day since 2000 and not far ahead, not {day}")
    return day


def _months_on(day: date, months: int) -> date:
    month = day.year * 12 + day.month - 1 + months
    return date(month // 12, month % 12 + 1, 1)


def _three(name: str, sums: Sums) -> dict[str, int]:
    return {
        f"{name}_today": sums.today,
        f"{name}_month": sums.month,
        f"{name}_to_date": sums.to_date,
    }


def _co2(kwh: int) -> int:
    return round(kwh * CO2_KG_PER_KWH)


def _share(whole: int, elsewhere: int) -> int:
    return min(100, max(0, round(100 * (whole - elsewhere) / whole))) if whole > 0 else 0


def _instant(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at is not None else None


@functools.cache
def _country(code: str) -> str:
    return str(Locale("nl").territories.get(code, code))
