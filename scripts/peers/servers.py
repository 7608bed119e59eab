"""Both servers as processes, behind one face: start, send a burst, stop."""

import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from load import Burst, burst, post
from workload import Prompt

READY_S = 120


class Server:
    """A server that runs until the end of its `with` block."""

    log: Path
    port: int

    def __init__(self, command: list[str], environment: dict[str, str], log: Path):
        self.log = log
        with open(log, "wb") as out:
            env = {**os.environ, **environment}
            self.process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def ready(self) -> bool:
        raise NotImplementedError

    def wait_until_ready(self) -> None:
        for _ in range(READY_S * 10):
            if self.process.poll() is not None:
                break
            if self.ready():
                return
            time.sleep(0.1)
        raise SystemExit(f"{self.process.args[0]} was not ready within {READY_S} s:\n{self.log.read_text()[-2000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def memory(self, field: str = "VmRSS") -> int:
        """Bytes of memory in use."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M).group(1)) * 1024

    def request(self, prompt: Prompt, mix: list[float], tokens: int) -> bytes:
        raise NotImplementedError

    def understand(self, events):
        raise NotImplementedError

    def send(self, prompts: list[Prompt], mixes: list[list[float]], tokens: int, prompt_tokens: int) -> Burst:
        """All prompts at once; an empty mix is the base. Checks that both sides do the work that was asked for."""
        requests = [self.request(p, m, tokens) for p, m in zip(prompts, mixes, strict=True)]
        answered = burst(self.port, requests, self.understand)
        for answer in answered.answers:
            if (answer.prompt_tokens, answer.tokens) != (prompt_tokens, tokens):
                raise SystemExit(f"asked for {prompt_tokens} and {tokens} tokens, got {answer}")
        return answered


class Tureen(Server):
    def __init__(self, binary: str, pool: Path, log: Path, settings: dict[str, str]):
        self.names = sorted(re.findall(r'^id = "(.*)"\ncode', (pool / "pool.toml").read_text(), re.M))
        environment = {
            "TUREEN__SERVER__BIND": "127.0.0.1:0",
            "TUREEN__SERVER__SHUTDOWN_GRACE_MS": "1000",
            "TUREEN__POOL__DIR": str(pool),
        }
        super().__init__([binary, "serve"], environment | settings, log)

    def ready(self) -> bool:
        found = re.search(r"^tureen is ready on http://[^ ]*:(\d+) ", self.log.read_text(), re.M)
        if found:
            self.port = int(found.group(1))
        return bool(found)

    def body(self, prompt: Prompt, mix: list[float], tokens: int) -> dict:
        return {
            "messages": prompt.messages,
            "preference": dict(zip(self.names, mix, strict=True)) if mix else {},
            "parameters": {"max_new_tokens": tokens, "ignore_eos": True, "temperature": 0},
            "stream": True,
        }

    def request(self, prompt: Prompt, mix: list[float], tokens: int) -> bytes:
        return post("/generate", self.body(prompt, mix, tokens))

    def understand(self, events):
        times = [when for when, event in events if event["token"]["id"] is not None]
        details = events[-1][1]["details"]
        return times, details["generated_tokens"], details["prompt_tokens"]


class Llama(Server):
    """llama-server with 16 slots of 1024 tokens and its prompt caches off."""

    SLOTS = 16

    def __init__(self, binary: Path, model: Path, adapters: list[Path], options: list[str], log: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [str(binary), "-m", str(model), "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["-np", str(self.SLOTS), "-c", str(self.SLOTS * 1024), "--cache-ram", "0", *options]
        if adapters:
            command += ["--lora-init-without-apply", "--lora", ",".join(map(str, adapters))]
        super().__init__(command, {}, log)

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def request(self, prompt: Prompt, mix: list[float], tokens: int) -> bytes:
        body = {
            "prompt": prompt.text,
            "n_predict": tokens,
            "ignore_eos": True,
            "cache_prompt": False,
            "temperature": 0,
            # The cheapest way to the likeliest token.
            "samplers": ["top_k"],
            "top_k": 1,
            "stream": True,
        }
        if mix:
            body["lora"] = [{"id": id, "scale": scale} for id, scale in enumerate(mix)]
        return post("/completion", body)

    def understand(self, events):
        last = events[-1][1]
        times = [when for when, event in events if not event["stop"]]
        return times or [events[-1][0]], last["tokens_predicted"], last["tokens_evaluated"]
