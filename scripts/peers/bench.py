"""What the rows share: where things are, the servers, the other programs."""

import argparse
import json
import subprocess
from pathlib import Path

from measure import Alternation
from servers import Llama, Tureen
from workload import Workload

PROMPT = 64
POLICIES = 6
FORMATS = ("F32", "F16", "BF16", "Q8_0", "Q4_1", "Q4_0")


class Bench:
    """`options` are those of run.py."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.work: Path = options.work.resolve()
        self.load = Workload(seed=1)
        self.alternate = Alternation(options.rounds, options.patience)

    def pool(self, policies: int) -> Path:
        return self.work / "pools" / str(policies)

    def model(self, kind: str) -> Path:
        return self.work / "gguf" / f"base-{kind}.gguf"

    def tool(self, name: str) -> Path:
        return self.work / "build" / "bin" / name

    def settings(self, promote_after: int = 0) -> dict[str, str]:
        """Of the engine; with 0 every mix stays unmerged. Without drafts: greedy answers repeat themselves, and what is
        compared is what a token costs."""
        return {
            "TUREEN__ENGINE__THREADS": str(self.options.threads),
            "TUREEN__ENGINE__SPECULATION": "false",
            "TUREEN__CACHE__PROMOTE_AFTER": str(promote_after),
        }

    def tureen(self, pool: Path, promote_after: int = 0) -> Tureen:
        """A server that has answered once."""
        server = Tureen(self.options.tureen, pool, self.work / "tureen.log", self.settings(promote_after))
        self.warm(server, len(server.names))
        return server

    def llama(self, adapters: int) -> Llama:
        """llama-server with Q8_0 weights, after one answer."""
        files = [self.work / "gguf" / f"p{i:02}-{self.options.adapters}.gguf" for i in range(1, adapters + 1)]
        options = ["-t", str(self.options.threads), "-tb", str(self.options.threads), "-fa", self.options.flash]
        server = Llama(self.tool("llama-server"), self.model("Q8_0"), files, options, self.work / "llama-server.log")
        self.warm(server, adapters)
        return server

    def warm(self, server, policies: int) -> None:
        self.burst(server, 2, [self.load.mix(policies) if policies else []] * 2, 8)

    def burst(self, server, streams: int, mixes: list, tokens: int | None = None, prompt: int = PROMPT):
        tokens = tokens or self.options.tokens
        return server.send(self.load.prompts(streams, prompt), mixes, tokens, prompt)

    def llama_bench(self, kind: str, prompt: int, tokens: int, flash: str) -> float:
        """Tokens per second by llama-bench, of a prompt or of an answer."""
        command = [self.tool("llama-bench"), "-m", self.model(kind), "-p", prompt, "-n", tokens]
        command += ["-t", self.options.threads, "-fa", flash, "-r", 3, "-o", "json"]
        done = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True)
        return max(json.loads(done.stdout)[0]["samples_ts"])
