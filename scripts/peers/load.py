"""A burst of streamed requests over HTTP, all at once, with the time of every event.

One thread and one selector: while the servers work, the client only notes when bytes came; everything is parsed
afterwards. `Burst.client_cpu` says how much of one core the client took, so that a bottleneck in it shows.
"""

import bisect
import gc
import json
import selectors
import socket
import time
from dataclasses import dataclass

LIMIT_S = 600.0  # a burst that takes longer is broken


@dataclass
class Answer:
    """One answered request. Seconds count from the start of the burst."""

    first: float  # the first token
    last: float  # the last token
    tokens: int  # generated
    prompt_tokens: int


@dataclass
class Burst:
    answers: list[Answer]
    client_cpu: float  # share of one core

    @property
    def wall(self) -> float:
        return max(a.last for a in self.answers)

    @property
    def throughput(self) -> float:
        """Tokens per second, from sending the requests to the last token."""
        return sum(a.tokens for a in self.answers) / self.wall

    @property
    def decode(self) -> float:
        """Tokens per second of the answers after their first token, each over its own time, in sum."""
        return sum((a.tokens - 1) / (a.last - a.first) for a in self.answers)

    def first_token(self, quantile: float) -> float:
        """Seconds to the first token at a quantile (nearest rank)."""
        ordered = sorted(a.first for a in self.answers)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


def post(path: str, body: dict) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return f"{head}content-length: {len(data)}\r\n\r\n".encode() + data


def burst(port: int, requests: list[bytes], understand) -> Burst:
    """Sends all requests at once. `understand(events)` gives (times of tokens, generated, prompt tokens) of
    [(time, event)]."""
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in requests]
    arrivals: dict[int, list[tuple[float, bytes]]] = {}
    selector = selectors.DefaultSelector()
    for connection in sockets:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        arrivals[connection.fileno()] = []
        selector.register(connection, selectors.EVENT_READ, (connection, arrivals[connection.fileno()]))
    streams = list(arrivals.values())
    gc.disable()
    cpu, start = time.process_time(), time.perf_counter()
    for connection, request in zip(sockets, requests):
        connection.sendall(request)
    open_streams = len(sockets)
    while open_streams:
        for key, _ in selector.select(1.0):
            connection, chunks = key.data
            data = connection.recv(1 << 16)
            if data:
                chunks.append((time.perf_counter() - start, data))
            else:
                selector.unregister(connection)
                connection.close()
                open_streams -= 1
        if time.perf_counter() - start > LIMIT_S:
            raise SystemExit(f"{open_streams} of {len(sockets)} answers had not ended after {LIMIT_S:.0f} s")
    cpu, wall = time.process_time() - cpu, time.perf_counter() - start
    gc.enable()
    answers = []
    for chunks in streams:
        times, generated, prompt = understand(events(chunks))
        answers.append(Answer(times[0], times[-1], generated, prompt))
    return Burst(answers, cpu / wall)


def events(chunks: list[tuple[float, bytes]]) -> list[tuple[float, dict]]:
    """The server-sent events of a chunked answer, each with the time at which it was whole."""
    raw = b"".join(data for _, data in chunks)
    head, _, rest = raw.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise SystemExit(f"the server refused: {raw.decode(errors='replace')[:2000]}")
    ends, total = [], 0  # raw bytes that had come by the time of each arrival
    for _, data in chunks:
        total += len(data)
        ends.append(total)
    body, marks = bytearray(), []  # marks: (length of the body, place in raw) after each HTTP chunk
    at = len(head) + 4
    while at < len(raw):
        line = raw.index(b"\r\n", at)
        size = int(raw[at:line], 16)
        body += raw[line + 2 : line + 2 + size]
        at = line + 2 + size + 2
        marks.append((len(body), at))
        if size == 0:
            break
    found, begin = [], 0
    while (end := body.find(b"\n\n", begin)) >= 0:
        place = marks[bisect.bisect_left(marks, (end + 2, 0))][1]
        text = bytes(body[begin:end])
        if text.startswith(b"data: "):
            # The last CR LF of an HTTP chunk may come apart: it is none of the event.
            when = chunks[bisect.bisect_left(ends, place - 2)][0]
            found.append((when, json.loads(text[6:])))
        elif text.startswith(b"event: error"):
            raise SystemExit(f"the stream broke off: {text.decode()}")
        begin = end + 2
    return found
