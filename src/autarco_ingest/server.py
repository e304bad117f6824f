"""What runs while sticks are connected, in which rhythm, and how does it end?

trio owns everything with a life cycle; the sockets, the decoding and the journal are native. Each
task below is one rhythm:

- `_pump`: the epoll set is readable → one turn of the gateway, once per commit tick unless busy
- `_commit_staged`: something is staged → one group commit in a thread, then the answers
- `_sweep`: every second → idle and stale connections, paused ones, too many rows waiting
- `_flush`: every `flush_seconds` or `flush_rows` → one batch into the lake, a new catalog
- `_show_tail`, `_show_latest`: every few seconds → what views show beyond the table
- `_rotate_address_key`: hourly → this month's key
- `_prepare_segment`: every second → the next journal segment, before it is needed
- `_look_around`: every ten seconds → room on the disks, descriptors
- `_reload_files`: every two seconds → a new registry, list of the forgotten or certificate, and the
  list of refused loggers
- `_purge_regularly`: the list of the forgotten has changed → whoever is on it is erased
- `_maintain`: every `maintenance.every_s` → a process that compacts, expires and deletes

Beside them `status_page` answers operators. Not here: what a frame means (Rust), what becomes of a
batch (`storage`), what the server tells about itself (`status`).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import gc
import os
import signal
import sys
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pyarrow as pa
import structlog
import trio

from autarco_ingest import (
    _core,
    address_keys,
    descriptors,
    forgotten,
    maintenance_process,
    status_page,
)
from autarco_ingest.health import Part
from autarco_ingest.paths import DataDirectory
from autarco_ingest.reload import Reload
from autarco_ingest.settings import MaintenanceSettings, TlsSettings
from autarco_ingest.status import Status
from autarco_ingest.storage import Storage, StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from autarco_ingest.settings import Settings

log = structlog.get_logger(__name__)

LOCK_ATTEMPTS = 5
LOCK_PAUSE_SECONDS = 0.1
"""`autarco-ingest check` takes the lock for an instant, to see whether a server has it."""

BUSY_ANSWERS = 32
"""A commit that lets so many frames be answered is followed by the next turn at once: wake-up and
fsync then cost a frame little, and sticks that wait for an answer keep the server going. With less,
waiting out the tick saves more than half of the CPU."""

SWEEP_SECONDS = 1.0
"""Idle and stale connections are found at most this much too late."""

FLUSH_CHECK_SECONDS = 1.0
"""How often the number of waiting rows is looked at."""

RETRY_SECONDS_FIRST = 0.5
RETRY_SECONDS_MAX = 10.0
"""Pause after a failed write; doubled up to the maximum while the disk stays ill."""

RELOAD_SECONDS = 2.0
"""A new registry or certificate is in force at most this late."""

PREPARE_SECONDS = 1.0
"""A segment of 16 MiB lasts longer than this up to 50,000 frames per second."""

LOOK_AROUND_SECONDS = 10.0
"""A disk that fills up is seen at most this late."""

CLOCK_JUMP_SECONDS = 10.0
"""NTP moves a clock slowly; a step larger than this is worth a line in the log."""

CLOCK_PROBLEM_SECONDS = 3600.0
"""How long a jump of the clock counts as a problem: nothing else tells whether it was mended."""

KEY_CHECK_SECONDS = 3600.0
"""A new month's key is in use at most this late."""

POLL_SECONDS = 0.1

MICROSECONDS = 1_000_000

T = TypeVar("T")


class AlreadyRunningError(Exception):
    """Another server writes to this data directory."""


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT and returns the exit code.

    Prints `listening on HOST:PORT` on stdout when sticks can connect. What prevents that is told in
    one sentence, exit code 2; what ends a server that was running is a fault of ours or the
    machine's and logged with its trace, exit code 1.
    """
    # pyarrow's own allocator returns what a batch took and asks for it again at the next one: some
    # 5 to 10 % more CPU and memory at full load.
    pa.set_memory_pool(pa.system_memory_pool())
    ready = trio.Event()
    code = 0
    try:
        trio.run(_run, settings, ready)
    except* Exception as errors:
        code = _report(errors, was_serving=ready.is_set())
    # The interpreter collects what is left when it ends; libraries complain of what it may not.
    gc.unfreeze()
    return code


def _report(errors: ExceptionGroup[Exception], *, was_serving: bool) -> int:
    causes = list(_leaves(errors))
    expected = (AlreadyRunningError, OSError, ValueError, StorageError)
    if was_serving or not all(isinstance(cause, expected) for cause in causes):
        log.critical("server failed", exc_info=errors)
        return 1
    for cause in causes:
        log.debug("cannot serve", exc_info=cause)
        sys.stderr.write(f"autarco-ingest: {cause}\n")
    return 2


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _run(settings: Settings, ready: trio.Event) -> None:
    # Signals are caught from the first moment: one that comes while the journal is read back must
    # not leave the data directory half written.
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def stop_on_signal() -> None:
                async for number in signals:
                    log.info("stopping", signal=signal.Signals(number).name)
                    nursery.cancel_scope.cancel()

            nursery.start_soon(stop_on_signal)
            host, port = await nursery.start(serve, settings)
            # What there is now lives as long as the process. Looking through it again and again
            # took the collector 3 % of the CPU at full load.
            gc.collect()
            gc.freeze()
            sys.stdout.write(f"listening on {host}:{port}\n")
            sys.stdout.flush()
            ready.set()


def serve_until(settings: Settings, is_done: Callable[[], bool], seconds_max: float) -> bool:
    """Serves where nobody connects until `is_done`, asked in a thread; whether that came in time.

    For commands that need a server to put the data directory in order while none is running.
    Raises what `serve` raises, alone.
    """
    alone = msgspec.structs.replace(
        settings,
        listen="127.0.0.1:0",
        http_listen="",
        tls=TlsSettings(),
        maintenance=MaintenanceSettings(every_s=0.0),
    )

    async def until() -> bool:
        with trio.move_on_after(seconds_max) as limit:
            async with trio.open_nursery() as nursery:
                await nursery.start(serve, alone)
                # What is waited for happens in files.
                while not await trio.to_thread.run_sync(is_done):  # noqa: ASYNC110
                    await trio.sleep(POLL_SECONDS)
                nursery.cancel_scope.cancel()
        return not limit.cancelled_caught

    try:
        return trio.run(until)
    except ExceptionGroup as errors:
        raise next(_leaves(errors)) from errors


async def serve(
    settings: Settings,
    *,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves sticks until cancelled; reports `(host, port)` by `task_status.started`.

    Resource handling: takes the lock of the data directory and owns every socket. On cancellation
    it takes no further connection, answers what is durable, and leaves nothing unflushed unless
    `stop_deadline_s` passes; then the journal keeps the rest for the next start.

    Raises:
        AlreadyRunningError: the data directory is locked by another server.
        OSError: the address cannot be listened on, or a file cannot be read or written.
        ValueError: a setting that only the gateway can check is wrong.
        StorageError: a table cannot be opened.
        ForgottenError: the list of the forgotten cannot be used.
    """
    if _core.DEBUG_BUILD:
        log.warning("the extension is a debug build, several times slower than a release build")
    directory = DataDirectory.at(settings.data, settings.lake.location)
    try:
        directory.create()
    except OSError as error:
        raise StorageError(f"cannot create {directory.root}: {error.strerror}") from error
    with _locked(directory.lock):
        listed = await trio.to_thread.run_sync(forgotten.load, directory)
        storage = await trio.to_thread.run_sync(Storage, settings, directory, listed)
        connections_max = descriptors.connections_possible(
            settings.connections_max, descriptors.raise_limit()
        )
        gateway = await trio.to_thread.run_sync(
            _open_gateway, settings, directory, storage, listed, connections_max
        )
        reload = await trio.to_thread.run_sync(Reload, settings, directory, gateway, listed)
        server = _Server(settings, directory, storage, gateway, reload)
        try:
            async with trio.open_nursery() as nursery:
                await server.start(nursery)
                http_address = None
                if settings.http_endpoint is not None:
                    http_address = await nursery.start(
                        status_page.serve, *settings.http_endpoint, server.status.pages()
                    )
                log.info(
                    "serving",
                    address=gateway.address,
                    tls_address=gateway.tls_address,
                    http_address=http_address,
                    data=str(directory.root),
                    connections_max=connections_max,
                )
                task_status.started(gateway.address)
        finally:
            with trio.move_on_after(settings.stop_deadline_s, shield=True) as deadline:
                await server.stop()
            if deadline.cancelled_caught:
                log.warning("stop deadline passed, the journal keeps the rest")
            log.info("stopped", **gateway.counters())


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    # Not opened for writing: an idle server keeps no file system from turning read-only.
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for attempt in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if attempt == LOCK_ATTEMPTS - 1:
                    text = f"another server is using {path.parent}"
                    raise AlreadyRunningError(text) from error
                time.sleep(LOCK_PAUSE_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _open_gateway(
    settings: Settings,
    directory: DataDirectory,
    storage: Storage,
    listed: forgotten.Forgotten,
    connections_max: int,
) -> _core.Gateway:
    return _core.Gateway(
        host=settings.host,
        port=settings.port,
        tls=_tls(settings),
        reuse_port=settings.reuse_port,
        registry_policy=settings.registry.policy,
        forget_key=listed.key,
        forgotten=sorted(listed.digests),
        journal=directory.journal,
        segment_bytes=settings.segment_bytes,
        committed=storage.committed_version(),
        time_zone=settings.time_zone,
        oldest_reading_us=settings.oldest_reading_us,
        ahead_max_us=int(settings.ahead_max_s * MICROSECONDS),
        address_mode=settings.address.mode,
        address_key=_address_key(settings, directory),
        limits={
            "connections_max": connections_max,
            "connections_per_address_max": settings.connections_per_address_max,
            "connects_per_address_per_minute": settings.connects_per_address_per_minute,
            "frames_per_address_per_minute": settings.frames_per_address_per_minute,
            "connections_per_logger_max": settings.connections_per_logger_max,
            "frames_per_logger_per_minute": settings.frames_per_logger_per_minute,
            "first_frame_us": int(settings.first_frame_s * MICROSECONDS),
            "idle_timeout_us": int(settings.idle_timeout_s * MICROSECONDS),
            "partial_frame_us": int(settings.partial_frame_s * MICROSECONDS),
            "noise_bytes_max": settings.noise_bytes_max,
            "unsent_bytes_max": settings.unsent_bytes_max,
            "unread_us": int(settings.unread_s * MICROSECONDS),
            "staged_bytes_max": settings.staged_bytes_max,
        },
    )


def _tls(settings: Settings) -> _core.Tls | None:
    listener = settings.tls_listener
    if listener is None:
        return None
    return {
        "host": listener.host,
        "port": listener.port,
        "certificate": listener.certificate,
        "key": listener.key,
    }


def _address_key(settings: Settings, directory: DataDirectory) -> bytes:
    if not settings.address.mode.startswith("ipcrypt-"):
        return b""
    keys = settings.address.keys or directory.address_keys
    return address_keys.current_key(keys, dt.datetime.now(dt.UTC).date())


class _Server:
    def __init__(
        self,
        settings: Settings,
        directory: DataDirectory,
        storage: Storage,
        gateway: _core.Gateway,
        reload: Reload,
    ) -> None:
        self._settings = settings
        self._reload = reload
        self._directory = directory
        self._storage = storage
        self._gateway = gateway
        self._staged = trio.Event()
        # Sealed batches that are not in the lake yet, oldest first: more than one only after a
        # crash or while the lake's disk is ill.
        self._sealed: deque[_core.Batch] = deque()
        self.status = Status(
            directory,
            gateway,
            lambda: tuple(self._sealed),
            disk_free_warn_bytes=settings.disk_free_warn_bytes,
        )
        self._health = self.status.health
        # The tail shows exactly the rows that the table does not have, so nobody may commit while
        # it is being written.
        self._showing = trio.Lock()
        # The operator's files are looked at by one thread at a time.
        self._reloading = trio.Lock()
        self._purge_due = trio.Event()
        # The list that nothing outside the tables is left of; none before the first purge.
        self._purged: forgotten.Forgotten | None = None
        self._purge_problem: str | None = None
        # Parquet must not queue before an acknowledgement.
        self._journal_thread = trio.CapacityLimiter(1)
        self._lake_thread = trio.CapacityLimiter(1)
        # Set while so many rows wait for the tables that no more is read.
        self._held = False
        # A turn outside the pump has put reads off, of which the epoll set will not tell again.
        self._unfinished = False
        self._resting_pump = trio.CancelScope()
        self._idle_pump = trio.CancelScope()

    async def start(self, nursery: trio.Nursery) -> None:
        counters = self._gateway.counters()
        if counters["journal_damaged_segments"]:
            log.error(
                "the disk has damaged the journal, acknowledged records are lost; the segments are "
                "kept as *.damaged",
                segments=counters["journal_damaged_segments"],
                whole_records_behind=counters["journal_hidden_records"],
                directory=str(self._directory.journal),
            )
        # What an earlier process left in the journal is older than all that will come.
        while batch := await self._in_journal_thread(self._gateway.seal):
            self._sealed.append(batch)
        await self._flush()
        await self._show_latest()
        listed = self._reload.forgotten
        if await trio.to_thread.run_sync(self._is_purged, listed):
            self._purged = listed
        else:
            await self._purge()
        for task in (
            self._pump,
            self._commit_staged,
            self._sweep,
            self._flush_regularly,
            self._purge_regularly,
            self._rotate_address_key,
        ):
            nursery.start_soon(task)
        if self._settings.maintenance.every_s:
            nursery.start_soon(self._every, self._settings.maintenance.every_s, self._maintain)
        nursery.start_soon(self._every, RELOAD_SECONDS, self._reload_files)
        nursery.start_soon(self._every, LOOK_AROUND_SECONDS, self._look_around)
        nursery.start_soon(self._every, PREPARE_SECONDS, self._prepare_segment)
        nursery.start_soon(self._every, self._settings.tail_seconds, self._show_tail)
        nursery.start_soon(self._every, self._settings.latest_seconds, self._show_latest)

    async def stop(self) -> None:
        """Leaves nothing unflushed: journal, then answers, then table and catalog."""
        self._gateway.stop_listening()
        await self._commit_at_stop()
        # Sends the answers; what it reads on this occasion is stored too.
        self._gateway.turn()
        await self._commit_at_stop()
        self._gateway.close_all()
        await self._commit_at_stop()
        await self._flush()
        await self._show_latest()

    async def _commit_at_stop(self) -> None:
        try:
            await self._in_journal_thread(self._gateway.commit)
        except OSError as error:
            # Not acknowledged, so the sticks still have it; what is durable can be flushed.
            log.error("journal cannot be written at stop", error=str(error))

    async def _pump(self) -> None:
        tick_s = self._settings.commit_tick_ms / 1000
        while True:
            pending = self._gateway.turn()
            if pending.staged:
                self._staged.set()
            # Frames that arrive within a tick share one turn, one fsync and one wake-up.
            with trio.move_on_after(tick_s) as self._resting_pump:
                await trio.sleep_forever()
            if not (pending.deferred or self._unfinished):
                # Not for ever: accepting goes on by itself after a pause, without an event.
                with trio.move_on_after(SWEEP_SECONDS) as self._idle_pump:
                    await trio.lowlevel.wait_readable(self._gateway)
            self._unfinished = False

    def _wake_pump(self) -> None:
        self._unfinished = True
        self._idle_pump.cancel()

    async def _commit_staged(self) -> None:
        retry_s = RETRY_SECONDS_FIRST
        while True:
            await self._staged.wait()
            self._staged = trio.Event()
            try:
                answered = await self._in_journal_thread(self._gateway.commit)
            except OSError as error:
                # Nothing is acknowledged, nothing is dropped: sticks keep what they have.
                log.error("journal cannot be written, not acknowledging", error=str(error))
                self._health.fail(Part.JOURNAL, str(error))
                self._staged.set()
                await trio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_SECONDS_MAX)
                continue
            if retry_s > RETRY_SECONDS_FIRST:
                log.info("journal can be written again")
                self._health.recover(Part.JOURNAL)
                retry_s = RETRY_SECONDS_FIRST
            self._gateway.answer()
            if answered >= BUSY_ANSWERS:
                self._resting_pump.cancel()

    async def _sweep(self) -> None:
        offset_s = time.time() - time.monotonic()
        jumped_at = -CLOCK_PROBLEM_SECONDS
        while True:
            await trio.sleep(SWEEP_SECONDS)
            self._gateway.sweep()
            self._wake_pump()
            await self._hold_when_full()
            jump_s = time.time() - time.monotonic() - offset_s
            offset_s += jump_s
            if abs(jump_s) > CLOCK_JUMP_SECONDS:
                # Answers set the clocks of sticks, and those date the samples.
                log.warning("the machine's clock jumped; check NTP", jump_s=round(jump_s))
                self._health.fail(Part.CLOCK, f"jumped by {jump_s:+.0f} s")
                jumped_at = trio.current_time()
            elif trio.current_time() - jumped_at > CLOCK_PROBLEM_SECONDS:
                self._health.recover(Part.CLOCK)

    async def _hold_when_full(self) -> None:
        """Stops reading while too many rows wait for the tables, and goes on when they are in."""
        rows = await trio.to_thread.run_sync(self.status.waiting_rows)
        held = rows >= self._settings.unflushed_rows_max
        if held == self._held:
            return
        self._held = held
        self._gateway.hold(held)
        if held:
            log.error("too many rows wait for the tables, not acknowledging", rows=rows)
            self._health.fail(Part.MEMORY, f"{rows} rows wait for the tables")
        else:
            log.info("rows are in the tables, acknowledging again", rows=rows)
            self._health.recover(Part.MEMORY)

    async def _reload_files(self) -> None:
        async with self._reloading:
            await trio.to_thread.run_sync(self._reload.check)
        for part in (Part.REGISTRY, Part.TLS):
            self._health.report(part, self._reload.problems.get(part))
        self._report_forgotten()
        if self._reload.forgotten != self._purged:
            self._purge_due.set()

    async def _look_around(self) -> None:
        await trio.to_thread.run_sync(self.status.look_around)

    async def _prepare_segment(self) -> None:
        try:
            await trio.to_thread.run_sync(self._gateway.prepare)
        except OSError as error:
            # The next append tries again, and tells if it cannot.
            log.debug("no journal segment in reserve", error=str(error))

    async def _flush_regularly(self) -> None:
        retry_s = RETRY_SECONDS_FIRST
        due = trio.current_time() + self._settings.flush_seconds
        while True:
            await trio.sleep(min(FLUSH_CHECK_SECONDS, self._settings.flush_seconds))
            rows = await trio.to_thread.run_sync(self._gateway.rows)
            if trio.current_time() < due and rows < self._settings.flush_rows:
                continue
            if await self._flush():
                retry_s = RETRY_SECONDS_FIRST
                due = trio.current_time() + self._settings.flush_seconds
            else:
                await trio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_SECONDS_MAX)

    async def _flush(self) -> bool:
        """Moves what is durable into the lake; whether all of it is there."""
        async with self._showing:
            # A batch that the lake refused before comes first: versions only go up.
            done = await self._commit_sealed()
            if done and (batch := await self._in_journal_thread(self._gateway.seal)):
                self._sealed.append(batch)
                done = await self._commit_sealed()
            if done:
                self.status.note_flushed()
            await self._write_views()
        return done

    async def _commit_sealed(self) -> bool:
        while self._sealed:
            batch = self._sealed[0]
            started = trio.current_time()
            try:
                commit = await self._in_lake_thread(partial(self._storage.commit, batch))
            except StorageError as error:
                log.error("lake cannot be written, the journal has it", error=str(error))
                self.status.note_flush_failure(str(error))
                return False
            self._sealed.popleft()
            self.status.note_flush(commit, trio.current_time() - started)
            log.info(
                "flushed",
                version=batch.version,
                readings=commit.readings.rows,
                sessions=commit.sessions.rows,
                quarantine=commit.quarantine.rows,
            )
            await self._retire(batch.version)
        return True

    async def _retire(self, version: int) -> None:
        try:
            await self._in_lake_thread(partial(self._gateway.retire, version))
        except OSError as error:
            # Costs space only; the next flush tries again.
            log.warning("journal segments stay", error=str(error))

    def _is_purged(self, listed: forgotten.Forgotten) -> bool:
        if not listed.revision:
            return True
        try:
            return forgotten.applied(self._directory) == listed.revision
        except OSError:
            return False

    async def _purge_regularly(self) -> None:
        while True:
            await self._purge_due.wait()
            # After a failure the next look at the files asks again.
            self._purge_due = trio.Event()
            await self._purge()

    async def _purge(self) -> None:
        """Erases whom the list has from all but the tables' files, and records that it is done."""
        listed = self._reload.forgotten
        try:
            await self._erase(listed)
        except (StorageError, OSError) as error:
            log.error("what is forgotten is not erased yet", error=str(error))
            self._purge_problem = f"not erased yet: {error}"
        else:
            log.info("forgotten loggers and inverters are erased", revision=listed.revision)
            self._purged = listed
            self._purge_problem = None
        self._report_forgotten()

    async def _erase(self, listed: forgotten.Forgotten) -> None:
        await self._in_lake_thread(partial(self._storage.forget, listed))
        async with self._reloading:
            await trio.to_thread.run_sync(self._reload.use_forgotten, listed)
        async with self._showing:
            # What was taken before the gateway refused it has to pass the tables' filter, so that
            # the journal can go as a whole.
            await self._in_journal_thread(self._gateway.commit)
            self._wake_pump()
            done = await self._commit_sealed()
            if done and (batch := await self._in_journal_thread(self._gateway.seal_all)):
                self._sealed.append(batch)
                done = await self._commit_sealed()
            if not done:
                raise StorageError("the tables cannot be written")
            version = batch.version if batch else 0
            await self._in_lake_thread(partial(self._erase_journal, version))
            await self._in_lake_thread(lambda: self._storage.purge([self._gateway.tail()]))
        async with self._reloading:
            await trio.to_thread.run_sync(self._reload.forget_refused)
        await trio.to_thread.run_sync(forgotten.note_applied, self._directory, listed.revision)

    def _erase_journal(self, version: int) -> None:
        self._gateway.retire(version, at_once=True)
        if removed := self._gateway.remove_damaged():
            log.warning(
                "damaged segments of the journal are gone: they may have held forgotten frames",
                segments=removed,
            )

    def _report_forgotten(self) -> None:
        reasons = (self._reload.problems.get(Part.FORGOTTEN), self._purge_problem)
        self._health.report(Part.FORGOTTEN, "; ".join(filter(None, reasons)) or None)

    async def _show_tail(self) -> None:
        async with self._showing:
            await self._write_views()

    async def _write_views(self) -> None:
        """Tail and catalog; the caller holds `_showing`."""

        def write() -> None:
            waiting = [batch.readings for batch in self._sealed]
            self._storage.show([*waiting, self._gateway.tail()])

        try:
            await self._in_lake_thread(write)
        except (StorageError, OSError) as error:
            log.error("views are out of date", error=str(error))
            self._health.fail(Part.VIEWS, str(error))
        else:
            self._health.recover(Part.VIEWS)

    async def _show_latest(self) -> None:
        def write() -> None:
            self._storage.show_latest(self._gateway.take_latest())

        try:
            await self._in_lake_thread(write)
        except OSError as error:
            log.error("latest readings are out of date", error=str(error))
            self._health.fail(Part.LATEST, str(error))
        else:
            self._health.recover(Part.LATEST)

    async def _maintain(self) -> None:
        # Killed when the server stops, wherever it is: nothing is half done but files that no
        # table names, which a later run deletes.
        result = await trio.run_process(
            maintenance_process.COMMAND,
            stdin=maintenance_process.order(self._settings),
            check=False,
        )
        reason = f"exit code {result.returncode}, see the log" if result.returncode else None
        self._health.report(Part.MAINTENANCE, reason)

    async def _rotate_address_key(self) -> None:
        mode = self._settings.address.mode
        while True:
            await trio.sleep(KEY_CHECK_SECONDS)
            try:
                key = _address_key(self._settings, self._directory)
            except (OSError, address_keys.AddressKeyError) as error:
                log.error("address key cannot be renewed, the old one stays", error=str(error))
                self._health.fail(Part.ADDRESS_KEY, str(error))
                continue
            self._gateway.set_address_key(mode, key)
            self._health.recover(Part.ADDRESS_KEY)

    async def _every(self, seconds: float, task: Callable[[], Awaitable[None]]) -> None:
        while True:
            await trio.sleep(seconds)
            await task()

    async def _in_journal_thread(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._journal_thread)

    async def _in_lake_thread(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._lake_thread)
