"""What may a disk hold after a power cut? Everything that was synced, and any part of the rest.

A model as pessimistic as POSIX allows and drives behave:
- of the bytes written to a file since its last `fsync`, each sector of 512 bytes is there or not;
- a size changed since then is the old one or any that followed;
- of the names changed in a directory since its last `fsync`, those up to some instant are there and
  later ones are not; a rename between two directories is in both or in neither;
- a name that is there may name a file whose bytes are not.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from recording_disk import Event, Operation

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable
    from pathlib import Path

SECTOR_BYTES = 512


class File:
    """One file: what is safe of it, and what was written since."""

    def __init__(self) -> None:
        """A new file is empty, and so is what is safe of it."""
        self.safe = bytearray()
        # Offset and bytes, or the new size and None.
        self.since: list[tuple[int, bytes | None]] = []

    def sync(self) -> None:
        """Everything written so far is safe."""
        for at, data in self.since:
            _apply(self.safe, at, data)
        self.since.clear()

    def after_cut(self, dice: random.Random) -> bytes:
        """What a power cut may leave."""
        left = bytearray(self.safe)
        # A cut loses all of it, nothing of it, or any sectors.
        chance = dice.choice([0.0, 1.0, 0.5, 0.9])
        for at, data in self.since:
            if data is None:
                if dice.random() < chance:
                    _apply(left, at, None)
                continue
            start = at
            while start < at + len(data):
                end = min((start // SECTOR_BYTES + 1) * SECTOR_BYTES, at + len(data))
                if dice.random() < chance:
                    _apply(left, start, data[start - at : end - at])
                start = end
        return bytes(left)


class Name:
    """One change of a directory's names: `file` is None where a name goes."""

    def __init__(self, changes: list[tuple[str, File | str | None]]) -> None:
        """`changes` are full names, with what they name afterwards; "directory" for directories."""
        self.changes = changes

    @property
    def directories(self) -> set[str]:
        """The directories it concerns."""
        return {os.path.dirname(name) for name, _ in self.changes}


class Disk:
    """A directory tree as the program sees it, as it is safe, and what lies between."""

    def __init__(self, root: Path) -> None:
        """The root itself exists and is safe."""
        self._root = str(root.resolve())
        self._seen: dict[str, File | str] = {self._root: "directory"}
        self._safe: dict[str, File | str] = dict(self._seen)
        self._since: list[Name] = []

    def play(self, event: Event) -> None:
        """Takes one recorded call."""
        match event.operation:
            case Operation.CREATE:
                self._rename([(event.path, File())])
            case Operation.MKDIR:
                self._rename([(event.path, "directory")])
            case Operation.UNLINK | Operation.RMDIR:
                self._rename([(event.path, None)])
            case Operation.LINK:
                self._rename([(event.data.decode(), self._seen[event.path])])
            case Operation.RENAME:
                named = self._seen[event.path]
                self._rename([(event.path, None), (event.data.decode(), named)])
            case Operation.WRITE:
                self._file(event.path).since.append((event.argument, event.data))
            case Operation.TRUNCATE:
                self._file(event.path).since.append((event.argument, None))
            case Operation.SYNC:
                self._file(event.path).sync()
            case Operation.SYNC_DIRECTORY:
                self._sync_directory(event.path)
            case Operation.ANSWER:
                pass

    def cut(self, to: Path, dice: random.Random) -> None:
        """Writes what a power cut now may leave below a new directory."""
        names = dict(self._safe)
        for change in self._surviving(dice):
            _change(names, change)
        to.mkdir()
        for name, named in sorted(names.items()):
            if name == self._root or not _is_reachable(name, names, self._root):
                continue
            path = to / os.path.relpath(name, self._root)
            if isinstance(named, File):
                path.write_bytes(named.after_cut(dice))
            else:
                path.mkdir()

    def _surviving(self, dice: random.Random) -> list[Name]:
        """Of each directory a first part of its changes; a change of two, only if both have it."""
        left: dict[str, int] = {}
        totals: dict[str, int] = {}
        for change in self._since:
            for directory in change.directories:
                totals[directory] = totals.get(directory, 0) + 1
        for directory, total in totals.items():
            left[directory] = dice.randint(0, total)
        surviving = []
        for change in self._since:
            if all(left[directory] > 0 for directory in change.directories):
                surviving.append(change)
                for directory in change.directories:
                    left[directory] -= 1
            else:
                # Nothing later in these directories survives either.
                for directory in change.directories:
                    left[directory] = 0
        return surviving

    def _rename(self, changes: list[tuple[str, File | str | None]]) -> None:
        change = Name(changes)
        _change(self._seen, change)
        self._since.append(change)

    def _sync_directory(self, directory: str) -> None:
        waiting = []
        for change in self._since:
            if directory in change.directories:
                _change(self._safe, change)
            else:
                waiting.append(change)
        self._since = waiting

    def _file(self, path: str) -> File:
        named = self._seen[path]
        assert isinstance(named, File), path
        return named


def cuts(events: list[Event], root: Path, wanted: Iterable[int]) -> Iterable[tuple[int, Disk]]:
    """Plays the events and stops before each of the wanted positions."""
    disk = Disk(root)
    stops = sorted(set(wanted))
    for position, event in enumerate(events):
        while stops and stops[0] == position:
            yield stops.pop(0), disk
        disk.play(event)


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
    else:
        content.extend(bytes(max(0, at - len(content))))
        content[at : at + len(data)] = data


def _change(names: dict[str, File | str], change: Name) -> None:
    for name, named in change.changes:
        if named is None:
            # With a directory everything below it gets out of sight.
            names.pop(name, None)
        else:
            names[name] = named


def _is_reachable(name: str, names: dict[str, File | str], root: str) -> bool:
    parent = os.path.dirname(name)
    while parent != root:
        if names.get(parent) != "directory":
            return False
        parent = os.path.dirname(parent)
    return True
