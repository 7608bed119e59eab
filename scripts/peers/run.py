"""Measures the groups of rows that are asked for and writes a report in Markdown and JSON. See scripts/bench-peers."""

import argparse
import json
import statistics
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

from bench import Bench
from llama import Table, llama
from machine import machine, versions
from measure import Row
from rows import GROUPS


def engine(_: Bench):
    """The rows that need no peer: bandwidth, precision, merging. Their own bench prints them."""
    yield subprocess.run(["cargo", "bench", "--bench", "serving"], check=True, stdout=subprocess.PIPE, text=True).stdout


ALL = {**GROUPS, "engine": engine, "llama": llama}


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def row_line(row: Row) -> str:
    ours, other = (f"{number(statistics.median(values))} {row.unit}" for values in (row.ours, row.other))
    return f"| {row.name} | {ours} | {row.other_name}: {other} | {row.ratio:.3g} | {row.goal} |"


def table_text(table: Table) -> str:
    lines = [table.head, ["---"] * len(table.head), *table.lines]
    return f"{table.title}:\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def told(result) -> str:
    match result:
        case Row():
            return row_line(result)
        case Table():
            return table_text(result)
    return result


def markdown(facts: dict, results: list, disturbed: float) -> str:
    lines = [f"{key}: {value}  " for key, value in facts.items()]
    lines += [f"most that other processes had of the machine during one measurement: {disturbed:.0%}", ""]
    rows = [told(result) for result in results if isinstance(result, Row)]
    if rows:
        lines += ["| row | Tureen | other | ratio | goal |", "|---|---|---|---|---|", *rows, ""]
    lines += [told(result) for result in results if not isinstance(result, Row)]
    return "\n".join(lines)


def plain(result):
    """For JSON."""
    match result:
        case Row():
            return {**asdict(result), "ratio": result.ratio}
        case Table():
            return asdict(result)
    return {"text": result}


def main() -> None:
    options = argparse.ArgumentParser(prog="bench-peers", description=__doc__)
    options.add_argument("--work", type=Path, required=True, help="folder with build/, gguf/ and pools/")
    options.add_argument("--tureen", required=True, help="the server's binary")
    options.add_argument("--engine", required=True, help="the binary of examples/engine_load.rs")
    options.add_argument("--groups", default=",".join(ALL), help=f"of {', '.join(ALL)}; all when left out")
    options.add_argument("--rounds", type=int, default=3, help="alternations of every pair")
    options.add_argument("--tokens", type=int, default=128, help="tokens of each answer")
    options.add_argument("--threads", type=int, default=2, help="compute threads of both sides")
    patience = "seconds that each measurement may wait, or be repeated, until other processes are quiet"
    options.add_argument("--patience", type=float, default=0, help=patience)
    options.add_argument("--users", type=int, default=100_000, help="distinct preferences of the group users")
    options.add_argument("--flash", choices=("on", "off"), default="off", help="llama-server's flash attention")
    options.add_argument("--adapters", choices=("f16", "f32"), default="f16", help="format of llama.cpp's adapters")
    options.add_argument("--out", type=Path, help="where the report goes, without ending; default WORK/report")
    given = options.parse_args()
    if unknown := set(given.groups.split(",")) - set(ALL):
        options.error(f"unknown groups: {', '.join(sorted(unknown))}")
    bench = Bench(given)
    out = given.out or given.work / "report"
    facts = {**machine(), **versions(bench), "threads": given.threads, "rounds": given.rounds}
    facts["begun"] = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    results, shares = [], {}
    for group in given.groups.split(","):
        bench.alternate.worst = 0.0
        for result in ALL[group](bench):
            results.append(result)
            print(told(result), flush=True)
        shares[group] = bench.alternate.worst
        # Written after every group: a run that is broken off has told what it knew.
        document = {"facts": facts, "other_processes": shares, "results": [plain(r) for r in results]}
        out.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
        out.with_suffix(".md").write_text(markdown(facts, results, max(shares.values())) + "\n")
    print(f"\n{out.with_suffix('.md')}:\n\n{out.with_suffix('.md').read_text()}")


if __name__ == "__main__":
    main()
