"""Do the documents say what the program does?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from autarco_ingest import schema, settings, views

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).parents[2] / "docs"


def chapters(document: str) -> dict[str, str]:
    """Cuts a document at its second-level headings."""
    parts = (DOCS / document).read_text(encoding="utf-8").split("\n## ")[1:]
    return {part.splitlines()[0]: part for part in parts}


def table_rows(text: str) -> list[list[str]]:
    """Returns the cells of each Markdown table row, without headings and rules."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize(
    ("chapter", "columns"),
    [
        *((table.name, table.columns) for table in schema.TABLES),
        *views.COLUMNS.items(),
    ],
)
def test_data_document_lists_every_column_as_it_is(
    chapter: str, columns: Sequence[schema.Column]
) -> None:
    documented = table_rows(chapters("data.md")[chapter])

    assert documented == [
        [
            f"`{column.name}`",
            str(column.type),
            column.unit or "",
            column.sunspec or "",
            "yes" if column.nullable else "never",
            column.description,
        ]
        for column in columns
    ]


def test_data_document_is_of_this_schema_version() -> None:
    text = (DOCS / "data.md").read_text(encoding="utf-8")

    assert f"Schema version: {schema.SCHEMA_VERSION}." in text


def test_settings_document_lists_every_setting_with_its_default_and_a_reason() -> None:
    documented = table_rows((DOCS / "settings.md").read_text(encoding="utf-8"))

    assert {row[0]: row[1] for row in documented} == {
        f"`{name}`": as_in_toml(default) for name, default in defaults(settings.Settings())
    }
    for name, _, allowed, reason in documented:
        assert allowed, name
        assert len(reason) > 40, name


def test_every_setting_describes_itself() -> None:
    for name, description in descriptions(settings.Settings):
        assert description.endswith("."), name


def as_in_toml(value: Any) -> str:
    if value is None:
        return "none"
    if value == "":
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def defaults(struct: msgspec.Struct, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if isinstance(value, msgspec.Struct):
            found += defaults(value, f"{prefix}{field.name}.")
        else:
            found.append((f"{prefix}{field.name}", value))
    return found


def descriptions(kind: type[msgspec.Struct], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    described = msgspec.inspect.type_info(kind)
    assert isinstance(described, msgspec.inspect.StructType)
    for field in described.fields:
        name = f"{prefix}{field.name}"
        if isinstance(field.type, msgspec.inspect.StructType):
            found += descriptions(field.type.cls, f"{name}.")
        else:
            assert isinstance(field.type, msgspec.inspect.Metadata), name
            assert field.type.extra_json_schema is not None, name
            found.append((name, str(field.type.extra_json_schema.get("description", ""))))
    return found
