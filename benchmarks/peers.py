"""Claim: for the same job autarco-ingest spends less server CPU per durable reading than each peer.

All store the same readings: those that our server decoded from the frames of the load fleet before
anything was measured, in their order of arrival. All servers are started once and have done all of
it once before. There are three disciplines:

- one by one: each reading is confirmed by itself, as a stick needs it, on many connections.
- batches from devices: the same sticks as ours talk to `peer_gateway`, which hands their readings
  to the peer in the batches that it likes best, and answers each frame when the peer has confirmed
  them; what it spends is told apart. With the first, the same job for all, and the claim.
- batches: the peers get rows that somebody else made ready, in the form that each likes best, and
  confirm them as one; ours still gets frames of devices, 128 per write, each confirmed by itself.
  Not the same job, and told beside the claim: it says how much of the peers' time is storing.

CPU is that of the server with all its processes until the readings are on disk in their final form:
with us and behind NATS all is in Parquet; PostgreSQL has made a checkpoint; QuestDB has applied its
log. Without a gateway, peers get values that are ready to be stored from a client nearby, whose CPU
is not counted. Ours is charged for the connections of devices, decoding, checksums, deduplication.

A peer that cannot be had on this machine is left out, loudly. `--quick` shows in seconds that
everything works; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from deltalake import DeltaTable

import peer
import record
import summary
from autarco_ingest import paths
from peer_nats import Nats
from peer_postgres import Postgres
from peer_questdb import QuestDB
from processes import Server, fleet_binary, free_port, run_fleet, settle
from synthetic_fleet import arrival_order

if TYPE_CHECKING:
    import pyarrow as pa

CLAIM = "for the same job autarco-ingest spends less server CPU per durable reading than each peer"
OURS = "autarco-ingest"
ONE_BY_ONE, BATCHES, DEVICES = "one by one", "batches", "batches from devices"
DISCIPLINES = (ONE_BY_ONE, BATCHES, DEVICES)
ALIKE = {
    ONE_BY_ONE: "autarco-ingest, 100 connections",
    BATCHES: "autarco-ingest, 100 connections, 128 frames per write",
}
"""Ours with as few connections as the peers have, and as much on its way."""
SAME_JOB = (ONE_BY_ONE, DEVICES)
REFERENCE = {ONE_BY_ONE: OURS, BATCHES: ALIKE[BATCHES], DEVICES: OURS}
"""With what peers are compared: in batches with as many readings on their way as a batch has."""
STICKS = 1_000
FIRST_SERIAL = 1_800_000_001
CADENCE_S = 300
WINDOW = 64
FEW_STICKS = 100
FEW_WINDOW = 128
"""So some 10,000 frames are on their way, as many as a batch of the peers has rows."""
"""Frames per write: a stick's backlog of five hours. In bursts of 16 a frame costs a fifth more."""
FLUSH_S = 2.0
GATEWAY = Path(__file__).with_name("peer_gateway.py")
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of ours inside it
"""For what the gateway of a peer is made to write and nobody needs."""
SUNRISE_H = 6

OUR_NOTES = {
    "durability": "each frame is answered after fdatasync of the journal that holds it",
    "does_more": "speaks the devices' protocol: TCP, frames, checksums, decoding, deduplication; "
    "compressed Parquet in an open table, and sessions and quarantine beside it",
    "does_less": "days are compacted later, for another 4 to 8 µs of CPU per reading; no server "
    "for SQL, no transactions, no changes in place, no replication; rows "
    "come to the table in flushes, minutes later, and to the newest readings within seconds",
    "batch": f"{WINDOW} frames per write of each stick, all of them answered one by one",
    "connections": STICKS,
}


def main() -> int:
    """Measures all contestants in turns, records, and tells whether the claim holds."""
    options = _options()
    on = record.machine()
    peer.end_gently()
    root = Path(tempfile.mkdtemp(prefix="autarco-peers-", dir=options.directory))
    # PostgreSQL lives there as another user if this is root.
    root.chmod(0o711)
    peers: list[peer.Peer] = []
    ours = Ours(root, options)
    try:
        ours.load(BATCHES)
        rows = peer.stored_columns(arrival_order(ours.rows()))
        ours.load(ONE_BY_ONE)
        ours.pause()
        missing = {}
        for candidate in (Postgres(), Nats(), QuestDB()):
            try:
                _start(candidate, root, rows)
            except peer.NotHere as reason:
                missing[candidate.name] = str(reason)
                _say(f"*** {candidate.name} is NOT measured: {reason} ***")
            else:
                peers.append(candidate)
        rounds = [_round(number, ours, peers, root, options) for number in range(options.rounds)]
        sizes = {OURS: ours.bytes_per_reading()}
        sizes |= {each.name: _final_bytes(each) for each in peers}
    finally:
        ours.stop()
        for each in peers:
            each.stop()
        shutil.rmtree(root)
    disciplines = {name: _summary(name, rounds, peers, sizes) for name in DISCIPLINES}
    numbers = {
        "holds": bool(peers) and all(disciplines[name]["holds"] for name in SAME_JOB),
        "readings": rows.num_rows,
        "columns": rows.num_columns,
        "rounds": options.rounds,
        "seconds_one_by_one": options.seconds,
        "contestants": {OURS: OUR_NOTES} | {each.name: _notes(each) for each in peers},
        "not_measured": missing,
        **disciplines,
    }
    path = record.write("peers-quick" if options.quick else "peers",
                        claim=CLAIM, numbers=numbers, on=on)  # fmt: skip
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n{path.relative_to(record.REPOSITORY)}\n")
    sys.stdout.write("\n".join([*summary.peers_table(numbers), ""]))
    return 0 if numbers["holds"] else 1


def _start(candidate: peer.Peer, root: Path, rows: pa.Table) -> None:
    """Starts a peer and lets it do everything once unmeasured."""
    _say(f"start {candidate.name}")
    try:
        candidate.start(root)
        candidate.prepare(rows)
        for load in (candidate.batches, lambda: candidate.one_by_one(1.0)):
            candidate.empty()
            load()
            candidate.settle()
        candidate.pause()
    except BaseException:
        candidate.stop()
        raise


def _round(
    number: int, ours: Ours, peers: list[peer.Peer], root: Path, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Lets each contestant load once in each discipline; every other round backwards."""
    found: dict[str, dict[str, Any]] = {}

    def say(discipline: str, name: str, measured: dict[str, Any]) -> None:
        found.setdefault(discipline, {})[name] = measured
        _say(f"round {number + 1}, {discipline}, {name}: {measured}")

    contestants: list[peer.Peer | None] = [None, *peers]
    for discipline in (ONE_BY_ONE, BATCHES):
        for each in contestants if number % 2 == 0 else reversed(contestants):
            if each is not None:
                say(discipline, each.name, _run_peer(each, discipline, options))
                continue
            ours.go_on()
            say(discipline, OURS, ours.load(discipline))
            say(discipline, ALIKE[discipline], ours.load(discipline, alike=True))
            ours.pause()
    # What ours gets from devices in batches is what it got a moment ago.
    say(DEVICES, OURS, found[BATCHES][OURS])
    for each in peers:
        if each.gateway is not None:
            say(DEVICES, each.name, _run_gateway(each, number, root, options))
    return found


def _run_gateway(
    each: peer.Peer, number: int, root: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Lets the fleet's sticks talk to a gateway before the peer; see `peer_gateway`."""
    assert each.gateway is not None
    each.go_on()
    each.empty()
    journal = Path(tempfile.mkdtemp(prefix="autarco-gateway-", dir=IN_MEMORY))
    command = [sys.executable, str(GATEWAY), each.gateway, each.address, str(journal)]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
            try:
                assert gateway.stdout is not None
                ready = gateway.stdout.readline()
                if not ready.startswith("listening on "):
                    raise SystemExit(f"no gateway before {each.name}")
                before_s = each.cpu_parts_s()
                gateway_before_s = peer.tree_cpu_s(gateway.pid)
                report = run_fleet(*_fleet_options(int(ready.split()[-1]), BATCHES, options))
                gateway_s = peer.tree_cpu_s(gateway.pid) - gateway_before_s
            finally:
                gateway.terminate()
    finally:
        shutil.rmtree(journal)
    # After its connection has gone: a part of the server's time counts only then.
    each.settle()
    readings = report["records_acknowledged"]
    if report["gave_up"]:
        raise SystemExit(f"the gateway before {each.name}: {report}")
    spent_s = {part: cpu_s - before_s[part] for part, cpu_s in each.cpu_parts_s().items()}
    _check(f"{each.name} behind a gateway", each.count(), readings)
    each.pause()
    parts_us = {
        part: round(cpu_s / readings * 1e6, 2)
        for part, cpu_s in {"gateway": gateway_s, **spent_s}.items()
    }
    return {
        "readings": readings,
        "readings_per_s": round(readings / report["wall_s"]),
        "server_cpu_us_per_reading": round(sum(parts_us.values()), 2),
        "server_cpu_us_of_parts": parts_us,
        "client_cpu_us_per_reading": round(report["cpu_s"] / readings * 1e6, 2),
        "confirmed_ms": {share: report["ack_ms"]["live"][share] for share in ("p50", "p99")},
    }


def _run_peer(each: peer.Peer, discipline: str, options: argparse.Namespace) -> dict[str, Any]:
    each.go_on()
    each.empty()
    before_s = each.cpu_parts_s()
    loaded = each.one_by_one(options.seconds) if discipline == ONE_BY_ONE else each.batches()
    each.settle()
    parts_us = {
        part: round((cpu_s - before_s[part]) / loaded.readings * 1e6, 2)
        for part, cpu_s in each.cpu_parts_s().items()
    }
    _check(each.name, each.count(), loaded.readings)
    each.pause()
    return {
        "readings": loaded.readings,
        "readings_per_s": round(loaded.readings / loaded.took_s),
        "server_cpu_us_per_reading": round(sum(parts_us.values()), 2),
        "server_cpu_us_of_parts": parts_us,
        "client_cpu_us_per_reading": round(loaded.client_cpu_s / loaded.readings * 1e6, 2),
        "confirmed_ms": {
            f"p{share}": round(float(np.percentile(loaded.ack_ms, share)), 2) for share in (50, 99)
        },
    }


class Ours:
    """A server of ours, treated as the peers are: started once, and paused between its turns."""

    def __init__(self, root: Path, options: argparse.Namespace) -> None:
        """Starts the server and lets it do everything once unmeasured."""
        self._options = options
        # The readings are some days old: their days would be compacted at once, or a moment too
        # late to be counted. What that costs, `lake_compaction.py` says.
        self._server = Server(
            root / "ours", port=free_port(), flush_seconds=str(FLUSH_S), maintenance__every_s="0"
        )
        self._runs = 0
        self._readings = 0
        self._table = Path(
            paths.table_directory(paths.DataDirectory.at(root / "ours").lake, "readings")
        )

    def load(self, discipline: str, *, alike: bool = False) -> dict[str, Any]:
        """Lets the fleet send everything; returns what that took.

        `alike`: over as few connections as the peers have.
        """
        pid = self._server.process.pid
        before_s = peer.tree_cpu_s(pid)
        report = run_fleet(
            *_fleet_options(self._server.port, discipline, self._options, alike=alike),
            # A record that came before would be taken for a resend.
            *("--first-serial", str(FIRST_SERIAL + self._runs * STICKS)),
        )
        self._runs += 1
        readings = report["records_acknowledged"]
        self._readings += readings
        confirmed_s = peer.tree_cpu_s(pid) - before_s
        settle([self._server], self._readings)
        cpu_s = peer.tree_cpu_s(pid) - before_s
        if report["gave_up"] or self._server.problems():
            raise SystemExit(f"{OURS}: {report}, {self._server.problems()}")
        _check(OURS, DeltaTable(str(self._table)).count(), self._readings)
        return {
            "readings": readings,
            "readings_per_s": round(readings / report["wall_s"]),
            "server_cpu_us_per_reading": round(cpu_s / readings * 1e6, 2),
            # The rest went into Parquet and the catalog.
            "server_cpu_us_until_confirmed": round(confirmed_s / readings * 1e6, 2),
            "client_cpu_us_per_reading": round(report["cpu_s"] / readings * 1e6, 2),
            "confirmed_ms": {share: report["ack_ms"]["live"][share] for share in ("p50", "p99")},
        }

    def rows(self) -> pa.Table:
        """Returns all that is stored."""
        return DeltaTable(str(self._table)).to_pyarrow_table()

    def bytes_per_reading(self) -> float:
        """Returns the size of the table's data files, as flushes left them, per reading."""
        stored = sum(peer.disk_bytes(partition) for partition in self._table.glob("date=*"))
        return round(stored / self._readings, 1)

    def pause(self) -> None:
        """Lets it not run."""
        self._server.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends a pause."""
        self._server.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends the server."""
        self._server.end()


def _fleet_options(
    port: int, discipline: str, options: argparse.Namespace, *, alike: bool = False
) -> list[str]:
    """Returns how all readings are sent, from a sunrise on that lies days back."""
    sticks, window = (FEW_STICKS, FEW_WINDOW) if alike else (STICKS, WINDOW)
    records = options.readings // sticks
    midnight = dt.datetime.combine(dt.datetime.now(dt.UTC).date(), dt.time(), dt.UTC)
    # The same span of time, however many sticks fill it.
    cadence_s = max(1, CADENCE_S * sticks // STICKS)
    span_s = records * cadence_s
    begin = midnight - dt.timedelta(days=span_s // 86_400 + 1) + dt.timedelta(hours=SUNRISE_H)
    how = ["--window", str(window)]
    if discipline == ONE_BY_ONE:
        how = ["--seconds", str(options.seconds)]
    return [
        *("--to", f"127.0.0.1:{port}", "--sticks", str(sticks), "--connect-rate", "0"),
        *("--cadence-seconds", str(cadence_s), "--hours", str(span_s / 3_600)),
        *("--end", str(int(begin.timestamp()) + span_s)),
        *("--heartbeats-per-data", "0", "--outages", "0", "--resends", "0", "--hangups", "0"),
        *how,
    ]


def _final_bytes(each: peer.Peer) -> float:
    """Returns bytes per reading, once more from all of them, after the server has ended."""
    each.go_on()
    each.empty()
    readings = each.batches().readings
    each.settle()
    _check(each.name, each.count(), readings)
    each.stop()
    return round(each.bytes_on_disk() / readings, 1)


def _summary(
    discipline: str, rounds: list[dict[str, Any]], peers: list[peer.Peer], sizes: dict[str, float]
) -> dict[str, Any]:
    of_rounds = [found[discipline] for found in rounds]
    reference = REFERENCE[discipline]
    medians: dict[str, Any] = {}
    for name in of_rounds[0]:
        medians[name] = _medians([of_round[name] for of_round in of_rounds])
        medians[name]["bytes_per_reading"] = sizes[OURS if name == ALIKE.get(discipline) else name]
    ratios = {
        name: [
            of_round[name]["server_cpu_us_per_reading"]
            / of_round[reference]["server_cpu_us_per_reading"]
            for of_round in of_rounds
        ]
        for name in of_rounds[0]
        if name != reference
    }
    names = [each.name for each in peers if each.name in ratios]
    return {
        "holds": bool(names) and all(statistics.median(ratios[name]) > 1 for name in names),
        "medians": medians,
        "cpu_of_peer_per_cpu_of_ours": {
            name: {
                "median": round(statistics.median(ratios[name]), 2),
                "all": [round(ratio, 2) for ratio in ratios[name]],
            }
            for name in ratios
        },
        "rounds": of_rounds,
    }


def _medians(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        key: _medians([each[key] for each in found])
        if isinstance(value, dict)
        else round(statistics.median(each[key] for each in found), 2)
        for key, value in found[0].items()
    }


def _notes(each: peer.Peer) -> dict[str, Any]:
    return {
        "version": each.version,
        "durability": each.durability,
        "does_more": each.does_more,
        "does_less": each.does_less,
        "batch": each.batch,
        "connections": each.connections,
    }


def _check(name: str, stored: int, confirmed: int) -> None:
    if stored != confirmed:
        raise SystemExit(f"{name}: {confirmed} readings were confirmed, {stored} are stored")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="one by one, per contestant")
    parser.add_argument("--readings", type=int, default=1_000_000, help="in batches")
    parser.add_argument("--quick", action="store_true", help="one short round, to see it work")
    parser.add_argument("--directory", type=Path, help="where the data goes meanwhile")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.readings = 1, 1.0, 50_000
    usage = subprocess.run([fleet_binary(), "--help"], check=True, capture_output=True, text=True)
    if "--window" not in usage.stdout:
        raise SystemExit("the load fleet is too old: it has no --window")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
