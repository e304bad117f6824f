"""What is every file below the data directory called?

The only module that knows. Nothing here reads or writes, except `create`, which makes the
directories, and the functions that list what is there.
"""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import msgspec

from autarco_ingest import durable, schema

_TAIL_PREFIX = "tail-"
_COMPACTED_PREFIX = "compact-"
_AGED_FILE = re.compile(_COMPACTED_PREFIX + r"age(\d)-")
_BATCH_FILE = re.compile(r"part-(.+)-(\d{12,})(?:\.v\d+)?\.parquet")
_VERSION = re.compile(r"\d{20}")
_SCHEMA_MARK = re.compile(r"\.v(\d+)\.parquet$")
_UNMARKED = 2
"""Names tell it since version 2; without a mark, a file has that one's columns at most."""


class DataDirectory(msgspec.Struct, frozen=True):
    """Names below one data directory; `root` is absolute, because the catalog stores full paths."""

    root: Path
    lake_location: str = ""
    """Where the tables are when not below `root`: an absolute path, or a URL."""

    @classmethod
    def at(cls, path: Path | str, lake: str = "") -> DataDirectory:
        """Returns the names below `path`, made absolute; the tables may be elsewhere."""
        if lake and "://" not in lake:
            lake = str(Path(lake).resolve())
        return cls(Path(path).resolve(), lake)

    def create(self) -> None:
        """Makes the directories that are missing, on disk.

        What is in them is personal data: a new data directory is for its owner's eyes only, until
        the operator says otherwise.
        """
        if not self.root.is_dir():
            durable.make_directory(self.root)
            self.root.chmod(0o700)
        for directory in (self.journal, self.latest.parent, self.tail):
            durable.make_directory(directory)
        if not self.is_lake_remote:
            durable.make_directory(self.lake)

    @property
    def lock(self) -> Path:
        """Held by the one server that writes here."""
        return self.root / "lock"

    @property
    def maintenance_lock(self) -> Path:
        """Held by the one process that compacts and sweeps from here."""
        return self.root / "maintenance.lock"

    @property
    def erasures(self) -> Path:
        """What was erased when, one proof per line, without saying whose."""
        return self.root / "erasures.jsonl"

    @property
    def address_keys(self) -> Path:
        """Directory of the monthly address keys, unless the settings name another."""
        return self.root / "address-keys"

    @property
    def registry(self) -> Path:
        """The list of known loggers, unless the settings name another."""
        return self.root / "registry.txt"

    @property
    def owner(self) -> Path:
        """The number that tells this data directory from others that write the same lake."""
        return self.root / "owner"

    @property
    def refused(self) -> Path:
        """Which loggers the registry refused, for people and the portal."""
        return self.root / "refused.json"

    @property
    def forgotten(self) -> Path:
        """The list of forgotten loggers and inverters, as keyed digests."""
        return self.root / "forgotten.json"

    @property
    def forget_key(self) -> Path:
        """The key of those digests."""
        return self.root / "forget.key"

    @property
    def held(self) -> Path:
        """Whose rows must not age: a list that the portal writes."""
        return self.root / "held.json"

    @property
    def forgotten_lock(self) -> Path:
        """Held for as long as the list is being changed."""
        return self.root / "forgotten.lock"

    @property
    def forgotten_applied(self) -> Path:
        """Which revision of the list a server has purged everything but the tables of."""
        return self.root / "forgotten-applied.json"

    @property
    def journal(self) -> Path:
        """Directory of the write-ahead segments."""
        return self.root / "journal"

    @property
    def is_lake_remote(self) -> bool:
        """Whether the tables are on object storage, not on a disk."""
        return "://" in self.lake_location

    @property
    def lake(self) -> Path:
        """Directory of the Delta tables; there is none when they are on object storage."""
        if self.is_lake_remote:
            raise ValueError(f"no directory: {self.lake_location}")
        return Path(self.lake_location) if self.lake_location else self.root / "lake"

    def place(self, path: Path) -> str:
        """Returns how a person is told of a file: relative to the data directory if it is there."""
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    @property
    def latest(self) -> Path:
        """The newest reading per inverter."""
        return self.root / "latest" / "latest.parquet"

    @property
    def tail(self) -> Path:
        """Directory of the tail files: acknowledged rows that are not in the table yet."""
        return self.root / "tail"

    def tail_file(self, number: int) -> Path:
        """Returns the name of one tail; numbers only grow, so a name is never used twice."""
        return self.tail / f"{_TAIL_PREFIX}{number:010d}.parquet"

    def tail_files(self) -> dict[int, Path]:
        """Lists the tail files that exist, by number."""
        return {
            int(path.stem.removeprefix(_TAIL_PREFIX)): path
            for path in sorted(self.tail.glob(f"{_TAIL_PREFIX}*.parquet"))
        }

    def tail_drafts(self) -> list[Path]:
        """Lists what an interrupted write of a tail left behind."""
        return sorted(self.tail.glob(draft(self.tail / f"{_TAIL_PREFIX}*.parquet").name))

    @property
    def damaged(self) -> Path:
        """Where `check --set-aside` puts data files that cannot be read; on the lake's disk."""
        return (self.lake if self.lake_location else self.root) / "damaged"

    @property
    def catalog(self) -> Path:
        """The DuckDB database that people open."""
        return self.root / "catalog.duckdb"

    @property
    def catalog_wal(self) -> Path:
        """Where DuckDB keeps changes that somebody made to the catalog by hand."""
        return self.root / "catalog.duckdb.wal"

    @property
    def catalog_draft(self) -> Path:
        """The next catalog while it is being built."""
        return self.root / ".catalog-draft.duckdb"


def derived_tables(data: DataDirectory) -> dict[str, list[Path]]:
    """Lists the files of tables that others derive from ours, by table.

    A directory below `portal/analytics` is a table; its files hold its name and comments.
    """
    found = {
        directory.name: [
            path for path in sorted(directory.glob("*.parquet")) if not path.name.startswith(".")
        ]
        for directory in derived_directories(data)
    }
    return {name: files for name, files in found.items() if files}


def derived_directories(data: DataDirectory) -> list[Path]:
    """Lists the directories of those tables."""
    return sorted(path for path in (data.root / "portal" / "analytics").glob("*") if path.is_dir())


def table_directory(lake: Path, table: str) -> Path:
    """Returns the directory of one Delta table."""
    return lake / table


def log_directory(table: Path) -> Path:
    """Returns the directory of a Delta table's log."""
    return table / "_delta_log"


def log_lock(table: Path) -> Path:
    """Returns what keeps repair and pruning of a Delta table's log apart."""
    return table / ".log.lock"


def log_entry(table: Path, version: int) -> Path:
    """Returns the log entry of one Delta version."""
    return log_directory(table) / f"{version:020d}.json"


def log_entries(table: Path) -> dict[int, Path]:
    """Lists a Delta table's log entries by version."""
    return {
        int(path.stem): path
        for path in log_directory(table).glob("*.json")
        if _VERSION.fullmatch(path.stem)
    }


def checkpoints(table: Path) -> dict[int, list[Path]]:
    """Lists the files of a Delta table's checkpoints by version."""
    found: dict[int, list[Path]] = {}
    for path in log_directory(table).glob("*.checkpoint*.parquet"):
        found.setdefault(int(path.name.split(".", 1)[0]), []).append(path)
    return found


def log_file_version(name: str) -> int | None:
    """Returns which Delta version a file of a log is about; None for any other file."""
    version = name.rpartition("/")[2].partition(".")[0]
    return int(version) if _VERSION.fullmatch(version) else None


def last_checkpoint(table: Path) -> Path:
    """Returns the hint that names a Delta table's newest checkpoint."""
    return log_directory(table) / "_last_checkpoint"


def data_file(node: str, version: int, date: str) -> str:
    """Returns the path of a data file relative to its table.

    It follows from the batch alone: a batch that is written again after a crash replaces the file
    it left behind, instead of leaving one more that no table refers to.
    """
    return f"date={date}/part-{node}-{version:012d}{_suffix()}"


def batch_of(name: str) -> tuple[str, int] | None:
    """Returns node and version of the batch that a data file is of; None for any other file."""
    found = _BATCH_FILE.fullmatch(name.rpartition("/")[2])
    return (found[1], int(found[2])) if found else None


def compacted_file(date: str, age: int = 0) -> str:
    """Returns a fresh path, relative to its table, for the compacted rows of a day.

    Two nodes may compact one day at once and only one of them commits: they must not share names.
    `age` is how far the rows have aged (`ageing.Age`).
    """
    mark = f"age{age}-" if age else ""
    return f"date={date}/{_COMPACTED_PREFIX}{mark}{uuid.uuid4().hex}{_suffix()}"


def age(name: str) -> int:
    """Returns how far all rows of a data file have aged, so that nobody has to open it."""
    found = _AGED_FILE.match(name.rpartition("/")[2])
    return int(found[1]) if found else 0


def schema_version(name: str) -> int:
    """Returns the version of the schema that a data file, by its path or URL, was written with.

    The name tells, so that which columns a file lacks is known without opening it.
    """
    mark = _SCHEMA_MARK.search(name.rpartition("/")[2])
    return int(mark[1]) if mark else _UNMARKED


def _suffix() -> str:
    return f".v{schema.SCHEMA_VERSION}.parquet"


def is_compacted(name: str) -> bool:
    """Whether a data file, by its path relative to the table, is one that compaction made."""
    return name.rpartition("/")[2].startswith(_COMPACTED_PREFIX)


def draft(path: Path) -> Path:
    """Returns where a file is written before it is renamed to `path`."""
    return path.with_name(f".{path.name}.draft")


def write(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Puts `content` in the place of a file, on disk, whole or not at all; raises OSError.

    `mode` is the new file's; without it, it is that of any new file.
    """
    written = draft(path)
    try:
        if mode is not None:
            # Before there is anything in it to read.
            written.touch()
            written.chmod(mode)
        written.write_bytes(content)
        durable.replace(written, path)
    except OSError:
        written.unlink(missing_ok=True)
        raise
