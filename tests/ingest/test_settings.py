"""Do settings come from where they should, and is a wrong one explained in one sentence?"""

from __future__ import annotations

import io
import json
import logging
from datetime import date
from pathlib import Path

import pytest
import structlog

from autarco_ingest import log, settings
from autarco_ingest.settings import SettingsError, load


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "autarco.toml"
    path.write_text(
        'listen = "[::1]:4000"\noldest_reading = 2016-02-29\nflush_rows = 7\n'
        'data = "/srv/solar"\n[log]\nlevel = "error"\n'
    )
    return path


class TestSources:
    def test_without_any_source_all_defaults_hold(self) -> None:
        assert load() == settings.Settings()

    def test_the_file_is_read(self, config: Path) -> None:
        found = load(config)

        assert (found.host, found.port) == ("::1", 4000)
        assert found.oldest_reading == date(2016, 2, 29)
        assert found.data == Path("/srv/solar")
        assert found.log.level == "error"
        assert found.log.format == "auto"

    def test_later_sources_win(self, config: Path) -> None:
        found = load(
            config,
            {"AUTARCO_FLUSH_ROWS": "8", "AUTARCO_DATA": "/from/environment"},
            {"data": "/from/option"},
        )

        assert found.flush_rows == 8
        assert found.data == Path("/from/option")
        assert found.log.level == "error"

    def test_the_environment_reaches_nested_settings_and_keeps_their_neighbours(
        self, config: Path
    ) -> None:
        found = load(config, {"AUTARCO_LOG__FORMAT": "json", "AUTARCO_ADDRESS__MODE": "none"})

        assert found.log == settings.LogSettings(format="json", level="error")
        assert found.address.mode == "none"

    def test_variables_of_others_are_left_alone(self) -> None:
        others = {"AUTARCO_CONFIG": "x", "AUTARCO_PORTAL_LISTEN": "y", "PATH": "z"}

        assert load(None, others) == settings.Settings()


class TestMistakes:
    @pytest.mark.parametrize(
        ("environment", "sentence"),
        [
            (
                {"AUTARCO_FLUSH_ROW": "5"},
                r"variable AUTARCO_FLUSH_ROW: unknown setting `flush_row`",
            ),
            ({"AUTARCO_LOG__COLOUR": "red"}, r"LOG__COLOUR: log: unknown setting `colour`"),
            ({"AUTARCO_LOG__LEVEL": "loud"}, r"log\.level: .*'loud'"),
            ({"AUTARCO_COMMIT_TICK_MS": "9"}, r"commit_tick_ms: .*>= 10"),
            ({"AUTARCO_COMMIT_TICK_MS": "51"}, r"commit_tick_ms: .*<= 50"),
            ({"AUTARCO_FLUSH_ROWS": "many"}, r"flush_rows: Expected `int`"),
            ({"AUTARCO_LISTEN": "10000"}, r"listen: expected HOST:PORT, got '10000'"),
            ({"AUTARCO_LISTEN": "localhost:65536"}, r"listen: expected HOST:PORT"),
            ({"AUTARCO_TIME_ZONE": "x'; DROP"}, r"time_zone: expected a name"),
            ({"AUTARCO_NODE": "../etc"}, r"node: expected up to 40"),
            ({"AUTARCO_DATA": ""}, r"data: expected a path"),
            ({"AUTARCO_OLDEST_READING": "2015-13-01"}, r"oldest_reading: Invalid"),
        ],
    )
    def test_a_wrong_variable_is_named_in_one_sentence(
        self, environment: dict[str, str], sentence: str
    ) -> None:
        with pytest.raises(SettingsError, match=sentence) as caught:
            load(None, environment)

        assert "\n" not in str(caught.value)

    def test_an_unknown_name_in_the_file_names_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "wrong.toml"
        path.write_text("flush_minutes = 5\n")

        with pytest.raises(SettingsError, match=r"wrong\.toml: unknown setting `flush_minutes`"):
            load(path)

    def test_a_missing_file_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"cannot read .*nowhere\.toml: No such file"):
            load(tmp_path / "nowhere.toml")

    def test_a_broken_file_is_reported(self, tmp_path: Path) -> None:
        path = tmp_path / "broken.toml"
        path.write_text("listen = \n")

        with pytest.raises(SettingsError, match=r"broken\.toml is not TOML"):
            load(path)

    def test_a_wrong_option_is_named_as_people_type_it(self) -> None:
        with pytest.raises(SettingsError, match=r"option --listen: listen: expected HOST:PORT"):
            load(None, None, {"listen": "nowhere"})


class TestLake:
    def test_tables_on_object_storage_are_accepted(self) -> None:
        found = load(
            None,
            {
                "AUTARCO_LAKE__LOCATION": "s3://solar/lake/eu",
                "AUTARCO_LAKE__ENDPOINT": "http://127.0.0.1:8333",
                "AUTARCO_LAKE__ALLOW_HTTP": "true",
                "AUTARCO_LAKE__CREDENTIALS": "/etc/autarco/s3.ini",
            },
        )

        assert found.lake.is_remote
        assert not load().lake.is_remote

    @pytest.mark.parametrize(
        ("chosen", "sentence"),
        [
            ({"location": "s3://"}, "lake.location: expected s3://BUCKET/PREFIX, got 's3://'"),
            ({"location": "s3://Big/x y"}, "lake.location: expected s3://BUCKET/PREFIX, got "),
            ({"location": "gs://solar/lake"}, "lake.location: expected a directory or s3://…"),
            (
                {"location": "s3://solar/lake", "endpoint": "127.0.0.1:8333"},
                "lake.endpoint: expected https://HOST or http://HOST:PORT, got '127.0.0.1:8333'",
            ),
            (
                {"location": "s3://solar/lake", "endpoint": "http://user:secret@host"},
                "lake.endpoint: expected https://HOST or http://HOST:PORT",
            ),
            (
                {"location": "s3://solar/lake", "endpoint": "http://127.0.0.1:8333"},
                "lake.endpoint: http shows everything to the network; set lake.allow_http",
            ),
            (
                {"endpoint": "https://s3.example.net"},
                "lake.endpoint and lake.credentials: need an s3:// lake.location",
            ),
        ],
    )
    def test_what_cannot_work_is_one_sentence(self, chosen: dict[str, str], sentence: str) -> None:
        environment = {f"AUTARCO_LAKE__{name.upper()}": text for name, text in chosen.items()}

        with pytest.raises(SettingsError) as caught:
            load(None, environment)

        assert str(caught.value).startswith(sentence)
        assert "\n" not in str(caught.value)


def test_oldest_reading_counts_microseconds_from_1970_in_utc() -> None:
    found = settings.Settings(oldest_reading=date(1970, 1, 2))

    assert found.oldest_reading_us == 86_400_000_000


class TestLog:
    @pytest.fixture(autouse=True)
    def _logging_as_before(self) -> object:
        root = logging.getLogger()
        handlers, level = root.handlers, root.level
        yield
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()

    def test_each_event_is_one_json_object_with_its_values(self) -> None:
        stream = io.StringIO()
        log.configure(settings.LogSettings(), stream=stream)

        structlog.get_logger("any").info("batch committed", rows=12, path=Path("/x"))

        event = json.loads(stream.getvalue())
        assert event.pop("timestamp").endswith("Z")
        assert event == {"event": "batch committed", "level": "info", "rows": 12, "path": "/x"}

    def test_libraries_report_the_same_way(self) -> None:
        stream = io.StringIO()
        log.configure(settings.LogSettings(format="json"), stream=stream)

        logging.getLogger("some.library").warning("slow %s", "disk")

        event = json.loads(stream.getvalue())
        assert (event["event"], event["level"]) == ("slow disk", "warning")

    def test_less_severe_events_are_dropped(self) -> None:
        stream = io.StringIO()
        log.configure(settings.LogSettings(level="warning"), stream=stream)

        structlog.get_logger().info("not shown")
        logging.getLogger("some.library").info("not shown")

        assert stream.getvalue() == ""

    def test_people_get_lines_and_no_colour_codes_in_files(self) -> None:
        stream = io.StringIO()
        log.configure(settings.LogSettings(format="human"), stream=stream)

        structlog.get_logger().info("batch committed", rows=12)

        assert "batch committed" in stream.getvalue()
        assert "rows=12" in stream.getvalue()
        assert "\x1b" not in stream.getvalue()

    @pytest.mark.parametrize("form", ["json", "human"])
    def test_tracebacks_show_no_local_variables(self, form: str) -> None:
        stream = io.StringIO()
        log.configure(load(None, {"AUTARCO_LOG__FORMAT": form}).log, stream=stream)
        peer = "203.0.113." + "77"

        try:
            raise ValueError(f"refused after {len(peer)} characters")
        except ValueError:
            structlog.get_logger().exception("connection failed")

        assert "refused after 12 characters" in stream.getvalue()
        assert "203.0.113.77" not in stream.getvalue()
