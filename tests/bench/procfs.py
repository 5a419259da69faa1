"""What a window of time cost: CPU by process, by everything else, and how fast the cores were just then.

Linux only: reads the process table.  Standard library only.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PROC = Path("/proc")


def stat_fields(pid: int) -> list[str] | None:
    """The fields of the process after its name; None when it is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def children(pid: int) -> list[int]:
    """Direct children, of any thread."""
    found: list[int] = []
    try:
        for task in (PROC / str(pid) / "task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass  # The process or thread ended between two reads: it has no children any more.
    return found


def family(pid: int) -> list[int]:
    """The process and its living descendants."""
    found, waiting = [], [pid]
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting += children(process)
    return found


def cpu_s(pid: int) -> float:
    """User and system seconds of the family, ended children included."""
    fields = [stat_fields(process) for process in family(pid)]
    return sum(sum(int(field) for field in row[11:15]) for row in fields if row) / TICKS_PER_S


def rss_mib(pid: int) -> float:
    """Resident memory of the family."""
    fields = [stat_fields(process) for process in family(pid)]
    return round(sum(int(row[21]) for row in fields if row) * PAGE_BYTES / 2**20, 1)


def disk_mib(folder: Path) -> float:
    """Blocks allocated to the files below *folder*: prewritten logs count as what they take."""
    return round(sum(allocated_bytes(path) for path in folder.rglob("*")) / 2**20, 2)


def allocated_bytes(path: Path) -> int:
    """What one file takes; 0 when it is gone."""
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0


def machine_cpu_s() -> tuple[float, float]:
    """(busy, idle) seconds of the whole machine since it started."""
    user, nice, system, idle, iowait, irq, softirq, steal = (
        int(field) / TICKS_PER_S for field in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return user + nice + system + irq + softirq + steal, idle + iowait


def calibration_ms() -> float:
    """CPU milliseconds of a fixed piece of Python, best of five: the cores' speed drifts by tens of per cent."""
    best = math.inf
    for _ in range(5):
        start = time.process_time()
        table: dict[int, int] = {}
        for i in range(60_000):
            table[i & 1023] = table.get(i & 1023, 0) + i
        best = min(best, time.process_time() - start)
    return round(best * 1e3, 3)


class Window:
    """CPU used by named processes, and by everything else, between `start` and `stop`."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)

    def start(self) -> None:
        """Open the window."""
        self._at = time.monotonic()
        self._cpu_s = {name: cpu_s(pid) for name, pid in self._pids.items()}
        self._busy_s, self._idle_s = machine_cpu_s()

    def stop(self) -> dict[str, Any]:
        """Close the window: seconds, cores per process, cores of others, resident memory, load average."""
        wall_s = time.monotonic() - self._at
        busy_s, idle_s = machine_cpu_s()
        used = {name: cpu_s(pid) - self._cpu_s[name] for name, pid in self._pids.items()}
        others = max(0.0, busy_s - self._busy_s - sum(used.values()))
        return {
            "wall_s": round(wall_s, 3),
            "cpu_s": {name: round(value, 3) for name, value in used.items()},
            "cores": {name: round(value / wall_s, 3) for name, value in used.items()},
            "cores_others": round(others / wall_s, 3),
            "cores_idle": round((idle_s - self._idle_s) / wall_s, 3),
            "rss_mib": {name: rss_mib(pid) for name, pid in self._pids.items()},
            "load1": os.getloadavg()[0],
        }


def quantile(ordered: list[float], share: float) -> float:
    """The smallest value that at least *share* of *ordered* does not exceed."""
    if not ordered:
        return math.nan
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def latency_ms(seconds: list[float]) -> dict[str, float]:
    """Mean and quantiles, in milliseconds."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    figures = {name: round(quantile(ordered, share) * 1e3, 3) for name, share in shares.items()}
    return {"mean": round(sum(ordered) / len(ordered) * 1e3, 3), **figures, "max": round(ordered[-1] * 1e3, 3)}


def machine() -> dict[str, Any]:
    """Which machine this is, without its name."""
    info = (PROC / "cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    memory_mib = int((PROC / "meminfo").read_text().split()[1]) // 1024
    return {"cpus": os.cpu_count(), "cpu_model": models[0] if models else "", "memory_mib": memory_mib}
