"""In which language is a page, and how does it write numbers and times?

English is in the templates; Dutch is `locales/nl.po`, which is read as it is when the portal
starts, so there is nothing to compile. Energy comes in kWh, power in W, times in UTC with the zone
they are shown in.
"""

from __future__ import annotations

import io
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from babel import Locale, dates, numbers
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations
from msgspec import Struct

if TYPE_CHECKING:
    from decimal import Decimal

    from babel.support import NullTranslations

NOTHING = "–"
"""Stands where there is no value: absent is not zero."""

KILOWATT_FROM = 10_000
"""W from which power is shown in kW; an inverter of a house has less."""

MEGAWATT_HOUR_FROM = 100_000
"""kWh from which energy is shown in MWh."""


class Language(StrEnum):
    """A language of the pages, by its ISO 639 code."""

    DUTCH = "nl"
    ENGLISH = "en"


OWN_NAMES = {Language.DUTCH: "Nederlands", Language.ENGLISH: "English"}
"""A language is found under the name its speakers give it."""

LOCALES = {Language.DUTCH: Locale("nl", "NL"), Language.ENGLISH: Locale("en", "GB")}
"""British English, for the order of day and month."""


def preferred(chosen: str | None, accept_language: str | None) -> Language:
    """Returns the language of a visitor: as chosen, else as the browser asks, else Dutch.

    Of `Accept-Language` the first language counts that we have; browsers list them by preference.
    """
    wanted = [chosen] if chosen else []
    wanted += [part.split(";")[0].strip() for part in (accept_language or "").split(",")[:20]]
    for code in wanted:
        for language in Language:
            if code.lower().split("-")[0] == language:
                return language
    return Language.DUTCH


def N_(text: str) -> str:
    """Marks a text for translation."""
    return text


class Words(Struct, frozen=True, kw_only=True, eq=False):
    """Writes in one language."""

    language: Language
    locale: Locale
    translations: NullTranslations

    def say(self, text: str) -> str:
        """Returns the translation of a text of the source."""
        return str(self.translations.gettext(text))

    def ngettext(self, one: str, many: str, count: int) -> str:
        """Returns the translation of a text that counts something."""
        return str(self.translations.ngettext(one, many, count))

    def number(self, value: float | Decimal | None, digits: int = 0) -> str:
        """Returns a number with so many digits behind the decimal mark."""
        if value is None:
            return NOTHING
        pattern = "#,##0" + ("." + "0" * digits if digits else "")
        return numbers.format_decimal(value, pattern, locale=self.locale)

    def percent(self, share: float | Decimal | None) -> str:
        """Returns a share of 0 to 1 in whole per cent."""
        if share is None:
            return NOTHING
        return numbers.format_percent(share, "0 %", locale=self.locale)

    def power(self, watt: float | None) -> str:
        """Returns power in W, or kW when it is much."""
        if watt is None:
            return NOTHING
        if abs(watt) < KILOWATT_FROM:
            return f"{self.number(watt)} W"
        return f"{self.number(watt / 1000, 1 if abs(watt) < 10 * KILOWATT_FROM else 0)} kW"

    def energy(self, kwh: float | Decimal | None, digits: int = 0) -> str:
        """Returns energy in kWh, or MWh when it is much."""
        if kwh is None:
            return NOTHING
        if abs(float(kwh)) < MEGAWATT_HOUR_FROM:
            return f"{self.number(kwh, digits)} kWh"
        return f"{self.number(float(kwh) / 1000, 1)} MWh"

    def euro(self, amount: Decimal | None, digits: int = 2) -> str:
        """Returns an amount of money."""
        if amount is None:
            return NOTHING
        pattern = "¤\N{NO-BREAK SPACE}#,##0." + "0" * digits
        return numbers.format_currency(
            amount, "EUR", pattern, locale=self.locale, currency_digits=False
        )

    def day(self, day: date | None) -> str:
        """Returns a date, such as 3 August 2026."""
        return NOTHING if day is None else dates.format_date(day, "d MMMM y", locale=self.locale)

    def last_day(self, ends_before: date) -> str:
        """Returns the day before, with which a time that ends before a day is said to end."""
        return self.day(ends_before - timedelta(days=1))

    def month(self, day: date) -> str:
        """Returns the month of a date, such as August 2026."""
        return dates.format_date(day, "LLLL y", locale=self.locale)

    def moment(self, at: datetime | None, time_zone: str = "Europe/Amsterdam") -> str:
        """Returns date and time of day in a zone, such as 3 Aug 2026, 14:05."""
        if at is None:
            return NOTHING
        local = at.astimezone(ZoneInfo(time_zone))
        return dates.format_datetime(local, "d MMM y, HH:mm", ZoneInfo(time_zone), self.locale)

    def wall(self, at: datetime) -> str:
        """Returns date and time of a clock on a wall, which has no zone."""
        return dates.format_datetime(at, "d MMM y, HH:mm", locale=self.locale)

    def clock(self, at: datetime | None, time_zone: str = "Europe/Amsterdam") -> str:
        """Returns the time of day in a zone."""
        return NOTHING if at is None else at.astimezone(ZoneInfo(time_zone)).strftime("%H:%M")

    def ago(self, at: datetime | None, now: datetime) -> str:
        """Returns how long ago something was, roughly, such as 5 minutes ago."""
        if at is None:
            return NOTHING
        since = now - at
        if since < timedelta(seconds=10):
            return self.say(N_("just now"))
        return dates.format_timedelta(-since, add_direction=True, locale=self.locale)

    def duration(self, span: timedelta) -> str:
        """Returns a length of time, roughly, such as 2 hours."""
        return dates.format_timedelta(span, locale=self.locale)

    @property
    def separators(self) -> str:
        """Decimal mark and group mark."""
        return numbers.get_decimal_symbol(self.locale) + numbers.get_group_symbol(self.locale)

    def calendar(self) -> dict[str, list[str]]:
        """Returns the names that charts need for their axes."""
        return {
            "months": self._names("months", "wide"),
            "shortMonths": self._names("months", "abbreviated"),
            "days": self._names("days", "wide"),
            "shortDays": self._names("days", "abbreviated"),
        }

    def _names(self, kind: str, width: Literal["wide", "abbreviated"]) -> list[str]:
        """Months from January, days from Sunday: the order in which the charts count."""
        if kind == "months":
            months = dates.get_month_names(width, locale=self.locale)
            return [months[number] for number in range(1, 13)]
        days = dates.get_day_names(width, locale=self.locale)
        return [days[(number + 6) % 7] for number in range(7)]


@cache
def words(language: Language) -> Words:
    """Returns the words of a language."""
    return Words(language=language, locale=LOCALES[language], translations=_translations(language))


def _translations(language: Language) -> NullTranslations:
    if language is Language.ENGLISH:
        return Translations()
    source = resources.files("autarco_portal") / "locales" / f"{language}.po"
    with source.open("rb") as lines:
        catalog = read_po(lines, locale=language.value, abort_invalid=True)
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Translations(compiled)
