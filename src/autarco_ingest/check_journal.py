"""What do the segments of a journal, as they can be read, mean for a person?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autarco_ingest.finding import Finding, attention

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from autarco_ingest._core import JournalSegment


def judge(
    segments: Sequence[JournalSegment], *, committed: int, is_running: bool
) -> Iterator[Finding]:
    """Judges what was read of the journal; `committed` is the newest segment in the tables.

    A torn tail is none: an interrupted write was not acknowledged, and the next start leaves it
    out.
    """
    before = committed
    for segment in segments:
        place = f"journal/{segment.number:020}.wal"
        if segment.state == "damaged":
            yield Finding(
                severity="damage",
                place=place,
                seen=_hidden(segment),
                do=_rescue(is_stored=segment.number <= committed, is_running=is_running),
            )
        elif segment.records_behind_damage and segment.number > committed and not is_running:
            yield attention(
                place,
                f"{_hidden(segment)}, and sectors in between were never written",
                "after a power cut that is normal, and none of them was acknowledged; without "
                "one, copy the file away before a server starts",
            )
        if committed and segment.number > before + 1:
            yield Finding(
                severity="damage",
                place=f"journal/{before + 1:020}.wal",
                seen=f"missing, as are all up to {segment.number - 1}, and not in the tables"
                if segment.number > before + 2
                else "missing, and not in the tables",
                do="bring it back from a backup before a server starts; without one, the "
                "readings acknowledged in it are lost",
            )
        before = max(before, segment.number)


def _hidden(segment: JournalSegment) -> str:
    return (
        f"{segment.records} records can be read, then one is broken at byte {segment.read_bytes}, "
        f"and {segment.records_behind_damage} whole ones behind it are hidden"
    )


def _rescue(*, is_stored: bool, is_running: bool) -> str:
    if is_stored:
        return (
            "its rows are in the tables unless it was damaged before the last start of the "
            "server; look after the disk"
        )
    if is_running:
        return (
            "leave the server running or stop it with SIGTERM, never with SIGKILL: what it "
            "received itself it stores from memory; copy the file away and check again"
        )
    return (
        "before a server starts, put a sound copy from a backup in its place; without one, what "
        "follows the broken record is lost to the tables: the server stores the readable records "
        "and keeps the file as *.damaged"
    )


def torn_tail(segments: Sequence[JournalSegment]) -> str | None:
    """Returns what to say of an interrupted write at the end; it is no finding."""
    if not segments or segments[-1].state != "torn":
        return None
    newest = segments[-1]
    return (
        f"segment {newest.number} ends in {newest.torn_bytes} bytes of an interrupted write: "
        "normal after a crash, nothing in them was acknowledged"
    )
