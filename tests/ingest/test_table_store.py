"""Do files get where they belong, and credentials nowhere else?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from autarco_ingest import paths
from autarco_ingest.settings import LakeSettings
from autarco_ingest.table_store import Draft, LocalStore, ObjectStore, StoreError, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from autarco_ingest.table_store import Sink, TableStore

REMOTE = LakeSettings(location="s3://solar/lake", endpoint="https://s3.example.net")
KEYS = {"AWS_ACCESS_KEY_ID": "KEYID", "AWS_SECRET_ACCESS_KEY": "SECRET"}


def remote(tmp_path: Path, settings: LakeSettings, environment: dict[str, str]) -> TableStore:
    data = paths.DataDirectory.at(tmp_path, settings.location)
    return open_store(settings, data, environment)


def write(sink: Sink) -> None:
    sink.write(b"rows")


class TestLocal:
    def test_files_are_written_listed_read_and_deleted(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        names = [f"date=2026-06-{day:02d}/part.parquet" for day in range(1, 31)]

        stored = store.write_all("readings", [Draft(name, write) for name in names])

        assert [file.name for file in stored] == names
        assert sorted(store.names("readings"), key=lambda file: file.name) == stored
        with store.open("readings", names[3]) as file:
            assert file.read() == b"rows"
        store.delete("readings", [*names[1:], "date=2026-06-02/gone.parquet"])
        assert store.names("readings") == stored[:1]
        assert store.full_name("readings", names[0]) == str(tmp_path / "readings" / names[0])

    def test_a_writer_that_fails_is_reported(self, tmp_path: Path) -> None:
        def full(_: Sink) -> None:
            raise OSError(28, "No space left on device")

        drafts = [Draft(f"date=2026-06-0{day}/part.parquet", full) for day in range(1, 5)]
        with pytest.raises(OSError, match="No space"):
            LocalStore(tmp_path).write_all("readings", drafts)

    def test_another_directory_is_where_the_tables_go(self, tmp_path: Path) -> None:
        settings = LakeSettings(location=str(tmp_path / "big"))

        store = remote(tmp_path, settings, {})

        assert store.uri("readings") == str(tmp_path / "big" / "readings")


class TestRemote:
    def test_a_commit_never_replaces_another(self, tmp_path: Path) -> None:
        options = remote(tmp_path, REMOTE, KEYS).storage_options

        assert options is not None
        assert options["aws_conditional_put"] == "etag"
        assert options["AWS_S3_ALLOW_UNSAFE_RENAME"] == "false"

    def test_keys_come_from_the_environment(self, tmp_path: Path) -> None:
        options = remote(tmp_path, REMOTE, KEYS).storage_options

        assert options is not None
        assert "SECRET" in options.values()

    def test_keys_come_from_a_file_before_the_environment(self, tmp_path: Path) -> None:
        file = tmp_path / "s3.ini"
        file.write_text(
            "[default]\naws_access_key_id = A\naws_secret_access_key = 50%/secret\n"
            "[other]\naws_access_key_id = B\naws_secret_access_key = b\naws_session_token = t\n"
        )
        settings = LakeSettings(
            location=REMOTE.location, endpoint=REMOTE.endpoint, credentials=file
        )

        first = remote(tmp_path, settings, KEYS).storage_options
        second = remote(tmp_path, settings, KEYS | {"AWS_PROFILE": "other"}).storage_options

        assert first is not None
        assert second is not None
        assert "50%/secret" in first.values()
        assert (second["aws_access_key_id"], second["aws_session_token"]) == ("B", "t")

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (None, "cannot read .*s3.ini: No such file"),
            ("SECRET", r"s3.ini: not an ini file with a section \[default\]"),
            ("[x]\nSECRET = 1", r"s3.ini: no section \[default\]"),
            (
                "[default]\naws_access_key_id = SECRET",
                "credentials of the lake: aws_secret_access_key is missing in .*s3.ini",
            ),
        ],
    )
    def test_a_wrong_file_is_told_without_its_content(
        self, tmp_path: Path, content: str | None, sentence: str
    ) -> None:
        file = tmp_path / "s3.ini"
        if content is not None:
            file.write_text(content)
        settings = LakeSettings(
            location=REMOTE.location, endpoint=REMOTE.endpoint, credentials=file
        )

        with pytest.raises(StoreError, match=sentence) as caught:
            remote(tmp_path, settings, {})

        assert "SECRET" not in str(caught.value)

    def test_half_a_pair_of_keys_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="AWS_SECRET_ACCESS_KEY is missing"):
            remote(tmp_path, REMOTE, {"AWS_ACCESS_KEY_ID": "KEYID"})

    def test_amazon_needs_a_region(self, tmp_path: Path) -> None:
        amazon = LakeSettings(location="s3://solar/lake")

        with pytest.raises(StoreError, match=r"lake\.region"):
            remote(tmp_path, amazon, KEYS)

        assert remote(tmp_path, amazon, KEYS | {"AWS_REGION": "eu-west-1"}).storage_options

    def test_http_is_never_used_unasked(self, tmp_path: Path) -> None:
        settings = LakeSettings(location="s3://solar/lake")

        with pytest.raises(StoreError, match=r"lake\.allow_http"):
            remote(tmp_path, settings, KEYS | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})

    def test_no_text_of_a_store_shows_keys(self, tmp_path: Path) -> None:
        store = remote(tmp_path, REMOTE, KEYS)

        assert isinstance(store, ObjectStore)
        assert "SECRET" not in f"{store!r} {vars(store)!r} {vars(store)!s}"
