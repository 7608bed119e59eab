"""Rows, alternations, and how quiet the machine is meanwhile."""

import os
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
# Other processes may take this share of the machine during a measurement before it counts as disturbed.
QUIET = 0.05


@dataclass
class Row:
    """One line of the report: ours against the other, each round's figure, and the goal for the ratio."""

    name: str
    unit: str
    ours: list[float]
    other: list[float]
    other_name: str
    goal: str = ""
    notes: dict = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ours) / statistics.median(self.other)


class Alternation:
    """Measures variants in turn, A B A B A B, on a machine that others may use too.

    With `patience` seconds for each measurement it waits until others are quiet, measures again what they disturbed,
    and keeps the least disturbed. `worst` is the largest share of the machine that others had during one that was kept.
    """

    def __init__(self, rounds: int, patience: float):
        self.rounds, self.patience, self.worst = rounds, patience, 0.0

    def __call__(self, *variants, rounds: int | None = None) -> list[list]:
        results: list[list] = [[] for _ in variants]
        for _ in range(rounds or self.rounds):
            for variant, kept in zip(variants, results):
                kept.append(self.measure(variant))
        return results

    def measure(self, variant):
        deadline = time.monotonic() + self.patience
        best = None
        while best is None or (best[0] > QUIET and time.monotonic() < deadline):
            self.wait(deadline)
            begun = Look()
            result = variant()
            share = begun.others()
            if best is None or share < best[0]:
                best = share, result
        self.worst = max(self.worst, best[0])
        return best[1]

    @staticmethod
    def wait(deadline: float) -> None:
        while time.monotonic() < deadline:
            begun = Look()
            time.sleep(0.5)
            if begun.others() <= QUIET:
                return


class Look:
    """The CPU time used until now, but for processes of low priority: they take what is left, and make way."""

    def __init__(self):
        self.then = (time.monotonic(), busy(), mine(os.getpid()))

    def others(self) -> float:
        """Share of all cores that processes other than ours had since."""
        wall, all_ticks, ours = (now - then for now, then in zip(Look().then, self.then))
        return max(0.0, (all_ticks - ours) / TICKS / wall / os.cpu_count())


def busy() -> int:
    """Ticks that the whole machine was busy with processes of ordinary or high priority."""
    user, _, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return user + system + irq + softirq + steal


def mine(pid: int) -> int:
    """Ticks of a process, those of its children that ended, and those of its children that run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        threads = Path(f"/proc/{pid}/task").iterdir()
        children = [child for thread in threads for child in (thread / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(map(int, stat[11:15])) + sum(mine(int(child)) for child in children)
