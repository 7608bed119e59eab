"""The rows of the report, in groups that can be asked for by name."""

import json
import os
import subprocess
from pathlib import Path

from bench import FORMATS, POLICIES, PROMPT, Bench
from measure import Row

STREAMS = 16
BASE = [[]]
ADAPTERS = f"llama-server, the same {POLICIES} adapters, Q8_0"


def spread(bursts: list) -> dict:
    """What a row also keeps of its bursts."""
    return {
        "first_token_p50_s": [b.first_token(0.5) for b in bursts],
        "first_token_p95_s": [b.first_token(0.95) for b in bursts],
        "decode_per_s": [b.decode for b in bursts],
        "client_cpu": [b.client_cpu for b in bursts],
    }


def against(bench: Bench, title: tuple[str, str, str], ours, other, figure=lambda burst: burst.throughput) -> Row:
    """Two kinds of bursts in turn. `title`: name of the row, name of the other, goal."""
    a, b = bench.alternate(ours, other)
    name, other_name, goal = title
    notes = {"ours": spread(a), "other": spread(b)}
    return Row(name, "tokens/s", [figure(x) for x in a], [figure(x) for x in b], other_name, goal, notes)


def gate(bench: Bench):
    """What 16 preferences cost over none, same server and precision."""
    pools = [("the shipped pool (q, v)", "policies", ">= 0.92"), ("6 policies on 7 projections", None, ">= 0.85")]
    for title, folder, goal in pools:
        with bench.tureen(Path(folder) if folder else bench.pool(POLICIES)) as server:
            policies = len(server.names)
            yield against(
                bench,
                (f"{STREAMS} streams, all-different preferences, {title}", f"{STREAMS} streams of the base", goal),
                lambda: bench.burst(server, STREAMS, bench.load.mixes(STREAMS, policies)),
                lambda: bench.burst(server, STREAMS, BASE * STREAMS),
            )


def streams(bench: Bench):
    """16 streams against llama-server."""
    with bench.tureen(bench.pool(POLICIES)) as ours, bench.llama(POLICIES) as mixed, bench.llama(0) as plain:
        yield against(
            bench,
            (f"{STREAMS} streams of the base", f"llama-server -np {STREAMS}, Q8_0", ">= 3"),
            lambda: bench.burst(ours, STREAMS, BASE * STREAMS),
            lambda: bench.burst(plain, STREAMS, BASE * STREAMS),
        )
        name = f"{STREAMS} streams, all-different preferences over {POLICIES} policies"
        yield against(
            bench,
            (name, "llama-server, the same adapters, all-different scales, Q8_0", ">= 25"),
            lambda: bench.burst(ours, STREAMS, bench.load.mixes(STREAMS, POLICIES)),
            lambda: bench.burst(mixed, STREAMS, bench.load.mixes(STREAMS, POLICIES)),
        )


def single(bench: Bench):
    """One stream, after its first token."""
    with bench.tureen(bench.pool(POLICIES)) as ours:
        a, b = bench.alternate(
            lambda: bench.burst(ours, 1, BASE),
            lambda: max((bench.llama_bench("Q8_0", 0, bench.options.tokens, flash), flash) for flash in ("0", "1")),
        )
        rates = [x.decode for x in a], [rate for rate, _ in b]
        other = f"llama-bench tg{bench.options.tokens}, Q8_0"
        notes = {"ours": spread(a), "flash attention": [flash for _, flash in b]}
        yield Row("single stream, decode, the base", "tokens/s", *rates, other, ">= 1.6", notes)
        with bench.llama(POLICIES) as other:
            yield against(
                bench,
                (f"single stream, decode, {POLICIES} policies mixed", ADAPTERS, ">= 4"),
                lambda: bench.burst(ours, 1, bench.load.mixes(1, POLICIES)),
                lambda: bench.burst(other, 1, bench.load.mixes(1, POLICIES)),
                lambda burst: burst.decode,
            )


def prefill(bench: Bench, prompt: int = 512):
    """A long prompt: ours over HTTP until the first token, llama-bench without HTTP."""

    def rate(server, mixes):
        return prompt / bench.burst(server, 1, mixes, 1, prompt).first_token(0.5)

    tried = [(kind, flash) for kind in FORMATS for flash in ("0", "1")]
    variants = [lambda kind=kind, flash=flash: bench.llama_bench(kind, prompt, 0, flash) for kind, flash in tried]
    rates = dict(zip(tried, (rate for (rate,) in bench.alternate(*variants, rounds=1))))
    kind, flash = max(rates, key=rates.get)
    with bench.tureen(bench.pool(POLICIES)) as ours:
        a, b = bench.alternate(lambda: rate(ours, BASE), lambda: bench.llama_bench(kind, prompt, 0, flash))
        best = f"llama-bench pp{prompt}, its best: {kind}, flash attention {'on' if flash == '1' else 'off'}"
        notes = {"tried": {f"{k} fa={f}": rate for (k, f), rate in rates.items()}}
        yield Row(f"prefill of {prompt} tokens, the base", "tokens/s", a, b, best, ">= 4", notes)
        with bench.llama(POLICIES) as other:
            a, b = bench.alternate(
                lambda: rate(ours, bench.load.mixes(1, POLICIES)),
                lambda: rate(other, bench.load.mixes(1, POLICIES)),
            )
            yield Row(f"prefill of {prompt} tokens, {POLICIES} policies mixed", "tokens/s", a, b, ADAPTERS)


def first_token(bench: Bench):
    """Time to the first token of a preference that nobody asked for before, prompts never seen on both sides."""
    with bench.tureen(bench.pool(POLICIES)) as server:
        seen = bench.load.mixes(1, POLICIES)
        wait = lambda mixes: bench.burst(server, 1, mixes, 1).first_token(0.5) * 1e3
        wait(seen)
        fresh, again = bench.alternate(
            lambda: wait(bench.load.mixes(1, POLICIES)), lambda: wait(seen), rounds=10 * bench.options.rounds
        )
        name = f"time to first token, {PROMPT} prompt tokens, never-seen preference"
        yield Row(name, "ms", fresh, again, "a seen one", "<= 1.05")


def policies(bench: Bench):
    """What each policy more costs."""
    for count in (1, 2, 4, 8, 16):
        with bench.tureen(bench.pool(count)) as server:
            yield against(
                bench,
                (f"{STREAMS} streams, all-different preferences, pool of {count}", f"{STREAMS} of the base", ""),
                lambda: bench.burst(server, STREAMS, bench.load.mixes(STREAMS, count)),
                lambda: bench.burst(server, STREAMS, BASE * STREAMS),
            )


def users(bench: Bench):
    """Many people, each with a preference of their own: memory and speed before and after. Soups are counted for
    merging, as the server does by default."""
    with bench.tureen(bench.pool(POLICIES), promote_after=16) as server:
        def crowd(people: int):
            for _ in range(people // STREAMS):
                bench.burst(server, STREAMS, bench.load.mixes(STREAMS, POLICIES), 1, 16)

        speed = lambda: bench.burst(server, STREAMS, bench.load.mixes(STREAMS, POLICIES)).throughput
        speed()
        started = server.memory()
        crowd(bench.options.users // 10)
        memory, before = server.memory(), bench.alternate(speed)[0]
        crowd(bench.options.users)
        after = bench.alternate(speed)[0]
        others = f"after {bench.options.users // 10:,}"
        name = f"after {bench.options.users:,} more distinct preferences: "
        notes = {"started": started / 1e6}
        yield Row(name + "memory", "MB", [server.memory() / 1e6], [memory / 1e6], others, "1", notes)
        yield Row(name + "throughput", "tokens/s", after, before, others, "1")


def http(bench: Bench):
    """The same bursts with and without HTTP."""
    environment = {**os.environ, **bench.settings(), "TUREEN__POOL__DIR": str(bench.pool(POLICIES))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    engine = subprocess.Popen([bench.options.engine], env=environment, **pipes)
    try:
        with bench.tureen(bench.pool(POLICIES)) as server:
            bodies = lambda: [
                server.body(prompt, mix, bench.options.tokens)
                for prompt, mix in zip(bench.load.prompts(STREAMS, PROMPT), bench.load.mixes(STREAMS, POLICIES))
            ]

            def within() -> float:
                engine.stdin.write(json.dumps(bodies()) + "\n")
                engine.stdin.flush()
                return float(engine.stdout.readline())

            within()
            over = lambda: bench.burst(server, STREAMS, bench.load.mixes(STREAMS, POLICIES))
            a, b = bench.alternate(over, within)
            name = f"{STREAMS} streams over HTTP, all-different preferences over {POLICIES} policies"
            rates = [x.throughput for x in a], b
            yield Row(name, "tokens/s", *rates, "the engine without HTTP", ">= 0.95", {"ours": spread(a)})
    finally:
        engine.stdin.close()
        engine.wait()


GROUPS = {f.__name__.replace("_", "-"): f for f in (gate, streams, single, prefill, first_token, policies, users, http)}
