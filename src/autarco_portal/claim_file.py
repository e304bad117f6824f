"""How does a settlement reach an insurer: as one zip that proves itself and names nobody?

`write` puts a settlement, the evidence behind it and a sheet of the calculation into a zip with a
manifest of SHA-256 (`evidence` and `sealed` are its halves); the same input gives the same bytes.
`verify` says what is wrong with such a file, and does the calculation again. Who opens it needs no
program of ours: CSV, JSON, Markdown.

No contact data: every file has its fixed list of fields, and none of them is a name, an address, a
place on the map or a text that people wrote. Roof planes are numbered, because their names are such
texts; of the reason of a decision there is the hash.

Source: reference document, section 3.4. docs/guarantee.md lists the files.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from autarco_portal import guarantee
from autarco_portal.claim_sheet import Table, calculation, credit_rows, gap_rows, markdown
from autarco_portal.guarantee_evidence import GuaranteeError, check_code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    import pyarrow as pa

    from autarco_portal.guarantee import Decision, Settlement
    from autarco_portal.incidents import Incident
    from autarco_portal.site import Site

FORMAT = "autarco-claim-1"
FILE_BYTES_MAX = 256 * 1024 * 1024
"""A year of 5-minute samples of one inverter takes 5 MB; larger files are not read."""

_MANIFEST = "manifest.json"
_SETTLEMENT = "settlement.json"
_DERIVED = ("calculation.csv", "calculation.md", "gaps.csv", "credits.csv")
"""What follows from the settlement alone, so that `verify` can write it again."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time a zip can tell: files have none, or the bytes would differ."""


class ClaimFileError(ValueError):
    """The evidence does not belong to the settlement; the message is one sentence."""


class Month(msgspec.Struct, frozen=True, kw_only=True):
    """What was made, expected and available in a calendar month."""

    month: date
    """Its first day."""
    energy_kwh: Decimal
    expected_kwh: Decimal
    availability: Decimal | None = None
    coverage: Decimal | None = None


class WeatherFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of weather that expected energy was computed from."""

    source: str
    """Code of network and station, such as `knmi-260`."""
    first: date
    last: date
    sha256: str


class _OfSite(msgspec.Struct, frozen=True):
    site_id: str


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    bytes: int
    sha256: str


class _Manifest(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    settlement_sha256: str
    model_version: str
    code_version: str
    files: dict[str, _Entry]


def write(
    settlement: Settlement,
    *,
    site: Site,
    counters: pa.Table,
    months: Sequence[Month] = (),
    weather: Sequence[WeatherFile] = (),
    incidents: Sequence[Incident] = (),
    decisions: Sequence[Decision] = (),
) -> bytes:
    """Returns the claim file of a settlement; arguments are those of `evidence` and `sealed`."""
    files = evidence(
        site=site, counters=counters, months=months, weather=weather, incidents=incidents
    )
    return sealed(settlement, files, decisions=decisions)


def evidence(
    *,
    site: Site,
    counters: pa.Table,
    months: Sequence[Month] = (),
    weather: Sequence[WeatherFile] = (),
    incidents: Sequence[Incident] = (),
) -> dict[str, bytes]:
    """Returns the files of a claim file that a settlement rests on, by name.

    A settlement may name their hashes among its inputs; `verify` then compares. `counters` has the
    raw samples, at least the columns `inverter_sn`, `ts` and `energy_total_wh` of the lake's
    `readings`; other columns and other inverters' rows stay out. Raises GuaranteeError for a code
    that is more than one.
    """
    return {
        "system.json": _pretty(_system(site)),
        "counters.csv": _counters(counters, site),
        "monthly.csv": _csv(_monthly(months)),
        "weather.csv": _csv(_weather(weather)),
        "incidents.csv": _csv(_incidents(incidents)),
    }


def sealed(
    settlement: Settlement, files: Mapping[str, bytes], *, decisions: Sequence[Decision] = ()
) -> bytes:
    """Returns the claim file of a settlement with its `evidence`.

    Raises ClaimFileError for evidence or a decision of another settlement.
    """
    site_id = msgspec.json.decode(files["system.json"], type=_OfSite).site_id
    if site_id != settlement.contract.site_id:
        raise ClaimFileError(
            f"the settlement is of site {settlement.contract.site_id}, not of {site_id}"
        )
    sha256 = guarantee.digest(settlement)
    if any(decision.settlement_sha256 != sha256 for decision in decisions):
        raise ClaimFileError("a decision is about another settlement")
    inside = {
        **files,
        _SETTLEMENT: guarantee.to_json(settlement),
        "decisions.csv": _csv(_decisions(decisions)),
        **_derived(settlement),
    }
    others = _other_inputs(settlement, inside)
    if others:
        raise ClaimFileError(f"{others[0]} is not what the settlement was made of")
    manifest = _Manifest(
        format=FORMAT,
        settlement_sha256=sha256,
        model_version=settlement.model_version,
        code_version=settlement.code_version,
        files={
            name: _Entry(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in sorted(inside.items())
        },
    )
    return _zip({_MANIFEST: _pretty(manifest)} | dict(sorted(inside.items())))


def verify(data: bytes) -> tuple[str, ...]:
    """Returns what is wrong with a claim file, one sentence each; nothing if it is whole.

    Whole means: exactly the files of the manifest, each with its size and hash, a settlement that
    follows from its own inputs by these rules, inputs that are those files where it names them, and
    a calculation that is that settlement's. The
    manifest is not signed: who must know that it is the one that was sent compares its hash.
    """
    try:
        files = _unzip(data)
    except (zipfile.BadZipFile, NotImplementedError, ClaimFileError) as error:
        return (f"not a claim file: {error}",)
    if _MANIFEST not in files:
        return ("manifest.json is missing",)
    try:
        manifest = msgspec.json.decode(files.pop(_MANIFEST), type=_Manifest)
    except msgspec.DecodeError as error:
        return (f"manifest.json cannot be read: {error}",)
    if manifest.format != FORMAT:
        return (f"manifest.json: expected format {FORMAT}, got {manifest.format!r}",)
    findings = [f"{name} is not in the manifest" for name in sorted(files.keys() - manifest.files)]
    for name, entry in manifest.files.items():
        if name not in files:
            findings.append(f"{name} is missing")
        elif len(files[name]) != entry.bytes:
            findings.append(f"{name} has {len(files[name])} bytes, manifest says {entry.bytes}")
        elif hashlib.sha256(files[name]).hexdigest() != entry.sha256:
            findings.append(f"{name} was changed: its SHA-256 is not the manifest's")
    return (*findings, *_doubts(files, manifest))


def _doubts(files: dict[str, bytes], manifest: _Manifest) -> list[str]:
    """What does not follow from the settlement's inputs."""
    if _SETTLEMENT not in files:
        return [] if _SETTLEMENT in manifest.files else [f"{_SETTLEMENT} is missing"]
    try:
        settlement = guarantee.from_json(files[_SETTLEMENT])
    except msgspec.DecodeError as error:
        return [f"{_SETTLEMENT} cannot be read: {error}"]
    if hashlib.sha256(files[_SETTLEMENT]).hexdigest() != manifest.settlement_sha256:
        return [f"{_SETTLEMENT} is not the settlement of the manifest"]
    if settlement.model_version != guarantee.MODEL_VERSION:
        return [
            f"settled by {settlement.model_version}, this is {guarantee.MODEL_VERSION}: not "
            "calculated again"
        ]
    try:
        again = guarantee.recompute(settlement)
    except GuaranteeError as error:
        return [f"the settlement cannot be calculated again: {error}"]
    if again != settlement:
        return ["the settlement does not follow from its inputs"]
    return [
        f"{name} is not what the settlement was made of"
        for name in _other_inputs(settlement, files)
    ] + [
        f"{name} is not the settlement's"
        for name, content in _derived(settlement).items()
        if files.get(name) != content
    ]


def _other_inputs(settlement: Settlement, files: Mapping[str, bytes]) -> list[str]:
    """Files that the settlement names among its inputs, and that are others."""
    return [
        name
        for name, sha256 in settlement.input_sha256.items()
        if name in files and hashlib.sha256(files[name]).hexdigest() != sha256
    ]


def _derived(settlement: Settlement) -> dict[str, bytes]:
    sheet = calculation(settlement)
    contents = (
        _csv(sheet),
        markdown(settlement, sheet).encode(),
        _csv(gap_rows(settlement)),
        _csv(credit_rows(settlement)),
    )
    return dict(zip(_DERIVED, contents, strict=True))


def _system(site: Site) -> dict[str, object]:
    """The system as built. Fields are named one by one: a new one stays out until chosen here."""
    numbers = {plane.name: number for number, plane in enumerate(site.planes, start=1)}
    for inverter in site.inverters:
        check_code("serial_number", inverter.serial_number)
    return {
        "site_id": site.site_id,
        "time_zone": site.time_zone,
        "commissioned_on": site.commissioned_on,
        "planes": [
            {
                "plane": numbers[plane.name],
                "surface_tilt": plane.surface_tilt,
                "surface_azimuth": plane.surface_azimuth,
                "modules": plane.modules,
                "pdc0": plane.pdc0,
                "gamma_pdc": plane.gamma_pdc,
                "horizon": plane.horizon,
                "shading": plane.shading,
            }
            for plane in site.planes
        ],
        "inverters": [
            {
                "serial_number": inverter.serial_number,
                "pac0": inverter.pac0,
                "installed_at": _utc(inverter.installed_at),
                "uninstalled_at": _utc(inverter.uninstalled_at),
                "mppt_planes": [
                    None if name is None else numbers[name] for name in inverter.mppt_planes
                ],
            }
            for inverter in site.inverters
        ],
    }


def _counters(readings: pa.Table, site: Site) -> bytes:
    """By polars: a year of 5-minute samples has a hundred thousand rows."""
    rows: pl.DataFrame = pl.from_arrow(  # type: ignore[assignment]
        readings.select(["inverter_sn", "ts", "energy_total_wh"])
    )
    serials = sorted({inverter.serial_number for inverter in site.inverters})
    mine = (
        rows.filter(pl.col("inverter_sn").is_in(serials), pl.col("energy_total_wh").is_not_null())
        .with_columns(pl.col("inverter_sn").cast(pl.Enum(serials)))
        .sort("inverter_sn", "ts", "energy_total_wh")
    )
    text: str = mine.select(
        pl.col("inverter_sn").alias("serial_number"),
        pl.col("ts").dt.convert_time_zone("UTC").dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ"),
        "energy_total_wh",
    ).write_csv()
    return text.encode()


def _monthly(months: Sequence[Month]) -> Table:
    header = (
        "month", "energy_kwh", "expected_kwh", "performance_index", "availability", "coverage",
    )  # fmt: skip
    return header, [
        (
            f"{m.month:%Y-%m}",
            m.energy_kwh,
            m.expected_kwh,
            f"{m.energy_kwh / m.expected_kwh:.4f}" if m.expected_kwh else None,
            m.availability,
            m.coverage,
        )
        for m in sorted(months, key=lambda m: m.month)
    ]


def _weather(weather: Sequence[WeatherFile]) -> Table:
    for found in weather:
        check_code("weather source", found.source)
        check_code("weather sha256", found.sha256)
    return ("source", "first", "last", "sha256"), [
        (found.source, found.first, found.last, found.sha256) for found in weather
    ]


def _incidents(incidents: Sequence[Incident]) -> Table:
    for found in incidents:
        check_code("incident_id", found.incident_id)
        check_code("cause", found.cause)
    header = (
        "incident_id", "cause", "opened_at", "detected_at", "installer_notified_at",
        "owner_notified_at", "acknowledged_at", "closed_at", "lost_kwh",
    )  # fmt: skip
    return header, [
        (
            found.incident_id,
            found.cause,
            _utc(found.opened_at),
            _utc(found.detected_at),
            _utc(found.installer_notified_at),
            _utc(found.owner_notified_at),
            _utc(found.acknowledged_at),
            _utc(found.closed_at),
            f"{found.lost_kwh:.3f}",
        )
        for found in sorted(incidents, key=lambda i: (i.opened_at, i.incident_id))
    ]


def _decisions(decisions: Sequence[Decision]) -> Table:
    header = ("settlement_sha256", "compensation_eur", "decided_by", "decided_at", "reason_sha256")
    return header, [
        (
            found.settlement_sha256,
            found.compensation_eur,
            found.decided_by,
            _utc(found.decided_at),
            hashlib.sha256(found.reason.encode()).hexdigest(),
        )
        for found in sorted(decisions, key=lambda d: d.decided_at)
    ]


def _utc(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _csv(table: Table) -> bytes:
    header, rows = table
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _pretty(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic")) + b"\n"


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    # Not compressed: what deflate makes of the same bytes differs between versions of zlib.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def _unzip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if len(set(names)) < len(names):
            raise ClaimFileError("two files of one name")
        for entry in entries:
            is_plain = entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & 1
            if not is_plain or entry.file_size > FILE_BYTES_MAX:
                raise ClaimFileError(f"{entry.filename} is compressed, encrypted or too large")
        return {entry.filename: archive.read(entry) for entry in entries}
