"""How does DuckDB in this process read files on object storage?

DuckDB's own way (httpfs) is an extension to be downloaded, which this program never does. It also
takes a Python file system of fsspec's kind; this is the smallest that answers what DuckDB asks,
on top of pyarrow's. Nothing can be written through it.

It relies on two properties of the files a catalog names: they exist, and they never change.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import fsspec

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import FileSystem

_SCHEME = "s3://"
_UNCHANGED = datetime(2000, 1, 1, tzinfo=UTC)


class RemoteFiles(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """Files by URL, read only; to be registered with one DuckDB connection."""

    protocol = "s3"
    # fsspec keeps instances for ever otherwise, and with them the credentials.
    cachable = False

    def __init__(self, files: FileSystem) -> None:
        """Reads through `files`, whose paths start with the bucket."""
        super().__init__()
        self._files = files
        self._sizes: dict[str, int] = {}

    def glob(self, path: str, **_: Any) -> list[str]:
        """Returns the name itself; asking whether it exists would be a request per file."""
        return [_path(path)]

    def size(self, path: str) -> int:
        """Returns the size of a file; DuckDB asks after opening it."""
        path = _path(path)
        if path not in self._sizes:
            self._sizes[path] = self._files.get_file_info(path).size
        return self._sizes[path]

    def modified(self, path: str) -> datetime:
        """Returns one time for all files."""
        return _UNCHANGED

    def exists(self, path: str, **_: Any) -> bool:
        """Asks whether a file is there."""
        return bool(self._files.get_file_info(_path(path)).is_file)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> pa.NativeFile:
        if mode != "rb":
            raise PermissionError(f"files on object storage are only read here: {path}")
        path = _path(path)
        file = self._files.open_input_file(path)
        self._sizes[path] = file.size()
        return file


def _path(url: str) -> str:
    return url.removeprefix(_SCHEME)
