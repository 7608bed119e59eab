"""llama.cpp by itself: what its best settings are on this machine."""

import statistics
from dataclasses import dataclass

from bench import FORMATS, POLICIES, Bench


@dataclass
class Table:
    title: str
    head: list[str]
    lines: list[list[str]]


def median(values) -> float:
    return statistics.median(list(values))


def llama(bench: Bench):
    """llama-bench over number formats, then llama-server over streams and adapters."""
    yield formats(bench)
    yield served(bench)


def formats(bench: Bench) -> Table:
    answer = bench.options.tokens
    tests = [("prefill 512", 512, 0), (f"decode {answer}", 0, answer)]
    lines = []
    for name, prompt, tokens in tests:
        for flash in ("0", "1"):
            variants = [lambda kind=kind: bench.llama_bench(kind, prompt, tokens, flash) for kind in FORMATS]
            rates = bench.alternate(*variants)
            title = f"{name}, flash attention {'on' if flash == '1' else 'off'}"
            lines.append([title] + [f"{median(r):,.0f}" for r in rates])
    return Table("llama-bench, tokens/s", ["", *FORMATS], lines)


def served(bench: Bench) -> Table:
    columns = {"no adapter": 0, "1 adapter": 1, f"{POLICIES} adapters mixed": POLICIES}
    lines: dict[str, list[str]] = {}
    for adapters in columns.values():
        with bench.llama(adapters) as server:
            for name, figure in kinds(bench, server, adapters).items():
                lines.setdefault(name, [""] * len(columns))[list(columns.values()).index(adapters)] = figure
    lines = [[name, *figures] for name, figures in lines.items()]
    title = f"llama-server, Q8_0, adapters {bench.options.adapters}, flash attention {bench.options.flash}, tokens/s"
    return Table(title, ["", *columns], lines)


def kinds(bench: Bench, server, adapters: int) -> dict[str, str]:
    """Every kind of burst that a server with that many adapters is measured with."""

    def same(streams: int) -> list:
        return [bench.load.mix(adapters) if adapters else []] * streams

    def repeat(streams: int, mixes, tokens: int | None = None, prompt: int = 64) -> list:
        return bench.alternate(lambda: bench.burst(server, streams, mixes(), tokens, prompt))[0]

    found = {}
    found["single stream, decode"] = f"{median(b.decode for b in repeat(1, lambda: same(1))):,.0f}"
    long = repeat(1, lambda: same(1), 1, 512)
    found["single stream, prefill 512"] = f"{512 / median(b.first_token(0.5) for b in long):,.0f}"
    for streams in (8, 16):
        bursts = repeat(streams, lambda: same(streams))
        found[f"{streams} streams, same mix for all"] = throughput(bursts)
    if adapters > 1:
        for streams in (8, 16):
            bursts = repeat(streams, lambda: bench.load.mixes(streams, adapters))
            found[f"{streams} streams, every request its own mix"] = throughput(bursts)
    return found


def throughput(bursts: list) -> str:
    rate = median(b.throughput for b in bursts)
    p50, p95 = (median(b.first_token(q) for b in bursts) for q in (0.5, 0.95))
    return f"{rate:,.1f}; first token p50 {p50:.2f} s, p95 {p95:.2f} s"
