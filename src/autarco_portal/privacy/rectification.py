"""Which facts of a site does a decision on rectification change, and what follows from that?

A fact is named as people name it to the officer: `street`, `latitude`, `planes.south.pdc0`. What a
site is computed with makes old analyses wrong: then they are run again. Pure.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from typing import Any

import msgspec

from autarco_portal.privacy.error import PrivacyError
from autarco_portal.site import RoofPlane

ADDRESS = ("street", "postcode", "city", "country")
_PLAIN: dict[str, type] = {
    "name": str, "latitude": float, "longitude": float, "altitude": float, "time_zone": str,
    "commissioned_on": date, "has_consumption_meter": bool, "has_battery": bool,
}  # fmt: skip
_PLANE: dict[str, type] = {
    "surface_tilt": float, "surface_azimuth": float, "modules": int, "pdc0": float,
    "gamma_pdc": float, "module_type": str,
}  # fmt: skip
_COMPUTED = ("latitude", "longitude", "altitude", "time_zone", "commissioned_on")
"""What expectation and comparison stand on, besides the roof planes."""


class Rectified(msgspec.Struct, frozen=True, kw_only=True):
    """One fact that was corrected: the evidence of the request."""

    request_id: str
    site: str
    fact: str
    before: str | None
    after: str
    at: datetime
    by: str

    def sha256(self) -> str:
        """Returns the hash that the register keeps: it tells no address."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


def facts(planes: tuple[RoofPlane, ...]) -> tuple[str, ...]:
    """Returns the names of what can be corrected of a site with these roof planes."""
    named = (f"planes.{plane.name}.{attribute}" for plane in planes for attribute in _PLANE)
    return (*ADDRESS, *_PLAIN, *named)


def value_of(fact: str, text: str) -> Any:
    """Returns what somebody wrote as the fact's own type; raises PrivacyError for what is none."""
    name = fact.rpartition(".")[2] if fact.startswith("planes.") else fact
    kind = str if fact in ADDRESS else (_PLANE if fact.startswith("planes.") else _PLAIN).get(name)
    if kind is None:
        raise PrivacyError(f"a site has no {fact} to correct")
    written = text.strip()
    if kind is bool:
        written = {"yes": "true", "no": "false"}.get(written.lower(), written.lower())
    try:
        value: Any = msgspec.convert(written, kind, strict=False)
    except msgspec.ValidationError as error:
        raise PrivacyError(f"{fact}: expected {_KINDS[kind]}, got {written[:80]!r}") from error
    if value == "":
        raise PrivacyError(f"{fact}: expected a value")
    return value


def corrected(planes: tuple[RoofPlane, ...], fact: str, value: Any) -> tuple[RoofPlane, ...]:
    """Returns roof planes with one attribute changed; raises PrivacyError, SiteError."""
    plane, attribute = _plane_of(planes, fact)
    changed = {name: getattr(plane, name) for name in plane.__struct_fields__} | {attribute: value}
    # Not `replace`: that would not look whether it can be.
    new = RoofPlane(**changed)
    return tuple(new if one.name == plane.name else one for one in planes)


def before(planes: tuple[RoofPlane, ...], fact: str) -> Any:
    """Returns what an attribute of a roof plane was; raises PrivacyError."""
    plane, attribute = _plane_of(planes, fact)
    return getattr(plane, attribute)


def written(value: Any) -> str | None:
    """Returns a value as the history keeps it."""
    if value is None:
        return None
    return value.isoformat() if isinstance(value, date) else str(value)


def changes_analyses(fact: str) -> bool:
    """Whether what was computed of the site is wrong from now on."""
    return fact in _COMPUTED or fact.startswith("planes.")


def _plane_of(planes: tuple[RoofPlane, ...], fact: str) -> tuple[RoofPlane, str]:
    name, _, attribute = fact.removeprefix("planes.").rpartition(".")
    found = next((plane for plane in planes if plane.name == name), None)
    if found is None or attribute not in _PLANE:
        raise PrivacyError(f"a site has no {fact} to correct")
    return found, attribute


_KINDS = {
    str: "a text", float: "a number", int: "a whole number", bool: "yes or no",
    date: "a day as 2026-06-21",
}  # fmt: skip
