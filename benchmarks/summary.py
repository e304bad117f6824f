"""What came out of all measurements of one day and machine, on one page?

`numbers` picks from the results what stands on the page, `page` writes it in Markdown. Nothing is
measured or judged here that its own result does not hold; what is missing is told to be missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

OURS, TRIO, FLOOR = "autarco-ingest", "trio SocketStream", "epoll floor"
LAYOUT = "Solis 1-phase mini 0x0507"


def numbers(results: Path) -> dict[str, Any]:
    """Returns the budgets with their measured figures, and the tables of the page."""
    files = {path.stem: record.read(path) for path in sorted(results.glob("*.json"))}
    found = {stem: result["numbers"] for stem, result in files.items()}
    return {
        "measured": {
            stem: {"commit": result["commit"], "at": result["at"]}
            for stem, result in files.items()
            if stem != "summary"
        },
        "budgets": [_budget(found, *row) for row in BUDGETS],
        "closed_loop": found.get("ingest", {}).get("closed_loop", []),
        "open_loop": found.get("ingest", {}).get("open_loop_ours", []),
        "many_connections": found.get("ingest", {}).get("many_connections_ours_once", []),
        "stages": found.get("stages", {}).get("cases", []),
        "peers": found.get("peers", {}),
        "compaction": {
            name: case["compacted"]["cpu_us_per_reading"]
            for name, case in found.get("lake-compaction", {}).items()
        },
        "store": found.get("store", {}),
        "decode": found.get("decode", {}),
    }


def before(results: Path) -> dict[str, Any]:
    """Returns how long each script took, and how it ended, when the page was last made."""
    page_result = results / "summary.json"
    found: dict[str, Any] = record.read(page_result)["numbers"] if page_result.exists() else {}
    return {"exit_codes_other_than_0": {}, "seconds_of_scripts": {}} | found


# --- budgets: what, budget as text, file, figure, whether it is met --------------------------


def _closed(ingest: dict[str, Any], sticks: int, window: int) -> dict[str, Any]:
    cases: Iterable[dict[str, Any]] = ingest["closed_loop"]
    return next(case for case in cases if (case["sticks"], case["window"]) == (sticks, window))


def _cpu_us(case: dict[str, Any], name: str = OURS) -> float:
    return float(case["contestants"][name]["server_cpu_us_per_frame"])


def _decode(decode: dict[str, Any]) -> tuple[str, bool]:
    ns = decode["ns_per_frame"][LAYOUT]["decode_ns"]
    return f"{ns:.0f} ns", ns <= 250


def _single(ingest: dict[str, Any]) -> tuple[str, bool]:
    case = _closed(ingest, 10_000, 1)
    ours, floor = _cpu_us(case), _cpu_us(case, FLOOR)
    return f"{ours:.1f} µs, {ours / floor:.1f} times the bare epoll loop", ours <= 20


def _at_rate(ingest: dict[str, Any]) -> tuple[str, bool]:
    cases: Iterable[dict[str, Any]] = ingest["open_loop_ours"]
    us = next(
        case["server_cpu_us_per_frame"]
        for case in cases
        if (case["sticks"], case["rate"]) == (10_000, 10_000)
    )
    return f"{us:.1f} µs", us <= 20


def _to(name: str, limit: float) -> Callable[[dict[str, Any]], tuple[str, bool]]:
    def ratios(ingest: dict[str, Any]) -> tuple[str, bool]:
        judged = [case for case in ingest["closed_loop"] if case["is_judged"]]
        found = {case["sticks"]: case["our_cpu_per_frame_to"][name] for case in judged}
        text = ", ".join(f"{ratio:.2f} ({sticks:,})" for sticks, ratio in found.items())
        return text, all(ratio <= limit for ratio in found.values())

    return ratios


def _bursts(ingest: dict[str, Any]) -> tuple[str, bool]:
    us = _cpu_us(_closed(ingest, 1_000, 16))
    return f"{us:.1f} µs", us <= 2.5


def _memory(connections: dict[str, Any]) -> tuple[str, bool]:
    per = connections["bytes_per_connection"]
    return f"{per:.0f} B", per <= 1_024


def _latency(ingest: dict[str, Any]) -> tuple[str, bool]:
    cases = [case for case in ingest["open_loop_ours"] if case["rate"] == 10_000]
    worst = max(case["ack_p99_ms"] for case in cases)
    return f"{worst:.0f} ms, tick 20 ms", worst <= 100


def _captures(encoding: dict[str, Any]) -> tuple[str, bool]:
    captured = encoding["captured_bytes_per_reading"]
    per = captured["session"]["**chosen**"]
    return f"{per:.1f} B, one day of {captured['readings']['session']} readings", per <= 30


def _roll_up(queries: dict[str, Any]) -> tuple[str, bool]:
    warm_s = queries["queries"]["asked"]["all of daily_energy"]["warm_s"]
    return f"{warm_s:.2f} s of {queries['built']['readings']:,} readings", warm_s <= 1


def _expected(found: dict[str, Any]) -> tuple[str, bool]:
    per_s = found["site_years_per_s"]["kernel, 2 threads"]["median"]
    return f"{per_s:,.0f} site-years/s", found["holds"]


def _peer_index(speed: dict[str, Any]) -> tuple[str, bool]:
    return f"{speed['peer_index_365_days_s']:.1f} s", speed["peer_index_365_days_s"] <= 10


def _night(speed: dict[str, Any]) -> tuple[str, bool]:
    return f"{speed['nightly_60_days_s']:.1f} s", speed["nightly_60_days_s"] <= 5


def _settled(speed: dict[str, Any]) -> tuple[str, bool]:
    return f"{speed['evidence_and_settlement_s']:.3f} s", speed["holds"]


def _latencies(study: dict[str, Any]) -> tuple[str, bool]:
    first = {name: fleet["first year"] for name, fleet in study["fleets"].items()}
    text = "; ".join(
        f"{year['losses']['20%']['Mar-Oct']['median_days']} days and "
        f"{year['false_alarms']['per_site_year']:.2f} ({name})"
        for name, year in first.items()
    )
    return text, study["holds"]


def _peers(discipline: str) -> Callable[[dict[str, Any]], tuple[str, bool]]:
    def ratios(peers: dict[str, Any]) -> tuple[str, bool]:
        found = peers[discipline]["cpu_of_peer_per_cpu_of_ours"]
        text = ", ".join(
            f"{each['median']:.1f} ({name})"
            for name, each in found.items()
            if not name.startswith(OURS)
        )
        return text, peers[discipline]["holds"]

    return ratios


BUDGETS: tuple[tuple[str, str, str, Callable[[dict[str, Any]], tuple[str, bool]]], ...] = (
    ("decode and validate a 0x0507 frame", "≤ 250 ns", "decode", _decode),
    (
        "frame in, durable, in Parquet, ack out; 10,000 connections, saturated",
        "≤ 20 µs",
        "ingest",
        _single,
    ),
    (
        "the same at 10,000 frames/s, in runs of seconds with two batches",
        "≤ 20 µs",
        "ingest",
        _at_rate,
    ),
    ("saturated, to a plain trio server that stores nothing", "≤ 1/3", "ingest", _to(TRIO, 1 / 3)),
    ("saturated, to a bare epoll loop that stores nothing", "≤ 2", "ingest", _to(FLOOR, 2.0)),
    ("saturated, in bursts of 16", "≤ 2.5 µs", "ingest", _bursts),
    ("own memory per idle stick", "≤ 1 KiB", "connections-18000-on-1", _memory),
    ("ack latency at 10,000 frames/s, p99, up to 10,000 sticks", "≤ 100 ms", "ingest", _latency),
    ("Parquet of real captures after compaction", "≤ 30 B per reading", "lake-encoding", _captures),
    (
        "daily roll-up of 10,000 inverters",
        "≤ 1 s",
        "lake-queries-10000-inverters-1-days",
        _roll_up,
    ),
    (
        "expected energy from hourly weather",
        "≥ 5,000 site-years/s",
        "expected_energy",
        _expected,
    ),
    ("peer index of 10,000 sites, 365 days", "≤ 10 s", "detection-speed", _peer_index),
    ("nightly detection of 10,000 sites, 60 days", "≤ 5 s", "detection-speed", _night),
    ("a guarantee year of 5-minute readings settled", "≤ 0.2 s", "settlement-speed", _settled),
    (
        "a loss of 20 % found (March to October, median); false alarms per site-year",
        "≤ 5 days; ≤ 0.3",
        "injected-losses-short",
        _latencies,
    ),
    (
        "CPU per reading of peers to ours, each reading confirmed by itself",
        "> 1",
        "peers",
        _peers("one by one"),
    ),
    (
        "the same, frames of devices to both: to peers through a gateway that checks, decodes and "
        "answers",
        "> 1",
        "peers",
        _peers("batches from devices"),
    ),
    (
        "beside it, another job: to peers rows made ready elsewhere, confirmed as one batch; to "
        "ours frames of devices, each confirmed by itself",
        "> 1",
        "peers",
        _peers("batches"),
    ),
)


def _budget(
    found: dict[str, Any],
    what: str,
    budget: str,
    file: str,
    figure: Callable[[dict[str, Any]], tuple[str, bool]],
) -> dict[str, Any]:
    measured, holds = "not measured", None
    if file in found:
        try:
            measured, holds = figure(found[file])
        except KeyError:
            # A contestant or the captures were not there.
            measured, holds = "not measured here", None
    return {"what": what, "budget": budget, "measured": measured, "holds": holds, "file": file}


# --- the page ------------------------------------------------------------------------------


def page(result: dict[str, Any]) -> str:
    """Returns the summary as Markdown."""
    found, machine = result["numbers"], result["machine"]
    head = [
        "# What was measured",
        "",
        f"`{result['command']}` at {result['at']}, commit {_commit(result['commit'])}, "
        f"{machine['cores']} cores of {machine['cpu']}, Linux {machine['kernel']}, "
        f"Python {machine['python']}; {found['minutes']} minutes. Medians; ratios are taken within "
        "a round. Client and server share the machine, so judge ratios more than figures.",
        "",
    ]
    loops = "One frame on its way per connection, or a burst"
    sections = (
        _section("Budgets", budgets_table(found["budgets"])),
        _section(loops, _loops(found["closed_loop"]), _origin(found, "ingest")),
        _section("Frames at intended times", _open(found), _origin(found, "ingest")),
        _section(
            "Peers",
            [*peers_table(found["peers"]), *_compaction(found.get("compaction", {}))],
            _origin(found, "peers"),
        ),
        _section("The same days in a store", store_table(found["store"]), _origin(found, "store")),
        _section(
            "Where the time of a frame goes",
            _stages_table(found["stages"]),
            _origin(found, "stages"),
        ),
    )
    return "\n".join([*head, *(line for section in sections for line in section)])


def _section(title: str, lines: list[str], origin: Iterable[str] = ()) -> list[str]:
    if not lines:
        return [f"## {title}", "", "Not measured.", ""]
    return [f"## {title}", "", *origin, *lines, ""]


def _origin(found: dict[str, Any], file: str) -> list[str]:
    """Says of which commit a section is, and how its script ended if not well."""
    told = found.get("measured", {}).get(file)
    if told is None:
        return []
    code = found["exit_codes_other_than_0"].get(f"{file}.py")
    failure = "" if code is None else f" `{file}.py` ended with exit code {code}."
    return [f"Measured at {told['at']}, commit {_commit(told['commit'])}.{failure}", ""]


def _commit(commit: str) -> str:
    return f"{commit[:12]}{' with changes' if 'with changes' in commit else ''}"


def _table(titles: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    titles = list(titles)
    lines = [titles, ["---"] * len(titles), *rows]
    return [f"| {' | '.join(str(cell) for cell in row)} |" for row in lines]


def budgets_table(rows: list[dict[str, Any]]) -> list[str]:
    """Returns the lines of the table that the README shows too."""
    words = {True: "yes", False: "**no**", None: ""}
    return _table(
        ("what", "budget", "measured", "holds"),
        ((row["what"], row["budget"], row["measured"], words[row["holds"]]) for row in rows),
    )


def _loops(cases: list[dict[str, Any]]) -> list[str]:
    if not cases:
        return []
    rows = (
        (
            case["case"],
            name,
            f"{each['frames_per_s']:,.0f}",
            f"{each['server_cpu_us_per_frame']:.1f}",
            f"{case['our_cpu_per_frame_to'][name]:.2f}" if name != OURS else "",
            f"{each['ack_p50_ms']:.1f}",
            f"{each['ack_p99_ms']:.1f}",
            f"{each['ack_p999_ms']:.1f}",
        )
        for case in cases
        for name, each in case["contestants"].items()
    )
    return [
        "Ours acknowledges what is on disk and ends with everything in Parquet; the others decode "
        "and store nothing, and what they acknowledge is gone when they end.",
        "",
        *_table(
            ("load", "server", "frames/s", "CPU µs", "ours to it", "p50 ms", "p99", "p99.9"), rows
        ),
    ]


def _open(found: dict[str, Any]) -> list[str]:
    cases = [*found["open_loop"], *found["many_connections"]]
    if not cases:
        return []
    rows = (
        (
            f"{case['sticks']:,}" + (f" on {case['processes']}" if "processes" in case else ""),
            f"{case['rate']:,}",
            f"{case['server_cpu_us_per_frame']:.1f}",
            f"{case['ack_p50_ms']:.1f}",
            f"{case['ack_p99_ms']:.1f}",
            f"{case['ack_p999_ms']:.1f}",
        )
        for case in cases
    )
    return [
        "Ours alone, durable; latency counts from the intended time. A run lasts seconds, and its "
        "batches and its end, which a real server has every few minutes, are in the CPU.",
        "",
        *_table(("connections", "frames/s", "CPU µs", "p50 ms", "p99", "p99.9"), rows),
    ]


def peers_table(peers: dict[str, Any]) -> list[str]:
    """Returns the lines of the comparison with peers."""
    if not peers:
        return []
    lines = []
    for discipline in ("one by one", "batches", "batches from devices"):
        found = peers.get(discipline)
        if found is None:
            # Not measured until the end of November 2026.
            continue
        rows = (
            (
                name,
                f"{each['readings_per_s']:,.0f}",
                _with_parts(each),
                _times(found["cpu_of_peer_per_cpu_of_ours"].get(name)),
                f"{each['confirmed_ms']['p50']:,.1f}",
                f"{each['confirmed_ms']['p99']:,.1f}",
                f"{each['bytes_per_reading']:,.0f}",
            )
            for name, each in found["medians"].items()
        )
        titles = (
            *(f"{discipline}", "readings/s", "server CPU µs"),
            *("it to ours", "p50 ms", "p99 ms", "bytes"),
        )
        lines += [*_table(titles, rows), ""]
    for name, each in peers["contestants"].items():
        lines.append(
            f"- **{name}** {each.get('version', '')}: {each['durability']}. Batches: "
            f"{each['batch']}. More: {each['does_more']}. Less: {each['does_less']}."
        )
    lines += [
        f"- **{name}** was not measured: {why}" for name, why in peers["not_measured"].items()
    ]
    return lines


def _compaction(us_by_case: dict[str, float]) -> list[str]:
    """Says what our days cost once more, later."""
    if not us_by_case:
        return []
    cases = ", ".join(f"{us:.1f} µs ({name})" for name, us in us_by_case.items())
    return ["", f"Not in the figures of ours: compaction of each day, CPU per reading: {cases}."]


def _with_parts(each: dict[str, Any]) -> str:
    parts = each.get("server_cpu_us_of_parts", {})
    whole = f"{each['server_cpu_us_per_reading']:,.1f}"
    if len(parts) < 2:
        return whole
    return f"{whole} ({', '.join(f'{name} {us:,.1f}' for name, us in parts.items())})"


def _times(ratio: dict[str, Any] | None) -> str:
    return "" if ratio is None else f"{ratio['median']:,.1f}"


def store_table(store: dict[str, Any]) -> list[str]:
    """Returns the lines of the comparison of stores."""
    if not store:
        return []
    stores = store["stores"]
    figures = {
        "bytes per reading": "bytes_per_reading",
        "load, s": "load_s",
        "compaction, checkpoint or apply after it, s": "settle_s",
        "CPU µs per reading": "server_cpu_us_per_reading",
    }
    rows = [
        *((what, *(each[key] for each in stores.values())) for what, key in figures.items()),
        *(
            (f"{question}, ms", *(f"{asked['warm_ms'][name]:,.1f}" for name in stores))
            for question, asked in store["questions"].items()
        ),
    ]
    return _table((f"{store['readings']:,} readings", *stores), rows)


def _stages_table(cases: list[dict[str, Any]]) -> list[str]:
    if not cases:
        return []
    stages = sorted(cases[0]["share"], key=lambda stage: -cases[0]["share"][stage])
    rows = (
        (
            stage,
            *(f"{case['us_per_frame'][stage]:.2f} ({case['share'][stage]:.0%})" for case in cases),
        )
        for stage in stages
    )
    return _table(("µs per frame", *(case["case"] for case in cases)), rows)
