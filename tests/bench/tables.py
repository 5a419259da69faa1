"""Figures of several rounds as Markdown tables.  Pure: windows in, text out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Window = Mapping[str, Any]
# Window name to row name to one window per round.
Windows = dict[str, dict[str, list[dict[str, Any]]]]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median and, when there are several, lowest and highest."""
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratios(found: Mapping[str, Sequence[Window]], row: str, base: str) -> list[float]:
    """Rate of *row* by rate of *base*, round by round."""
    pairs = zip(found[row], found[base], strict=True)
    return [ours["ops_per_s"] / theirs["ops_per_s"] for ours, theirs in pairs if theirs["ops_per_s"]]


def ratios_table(found: Windows, rows: Sequence[str]) -> str:
    """Each row by the first: medians of the rounds' ratios, and medians of latency."""
    base, *others = rows
    lines = []
    for name, by_row in found.items():
        cells = [spread(values, 1) if (values := ratios(by_row, row, base)) else "–" for row in others]
        medians = [f"{median(by_row[row], latency('p50')):.1f}" for row in rows]
        disturbed = sum(window["disturbed"] for row in rows for window in by_row[row])
        lines.append([name, *cells, " / ".join(medians), f"{disturbed} of {sum(len(by_row[row]) for row in rows)}"])
    head = ["workload@clients", *(f"{row} : {base}" for row in others), f"p50 ms {' / '.join(rows)}", "disturbed"]
    return table(head, lines)


def cpu_table(found: Windows, rows: Sequence[str]) -> str:
    """CPU per operation of each row's processes, and how many times as much the first row takes: medians."""
    base, *others = rows
    lines = []
    for name, by_row in found.items():
        medians = {row: median(by_row[row], total_cpu_us) for row in rows}
        times = [f"{medians[base] / medians[row]:.1f}" if medians[row] and medians[base] else "–" for row in others]
        lines.append([name, *(f"{medians[row]:.0f}" for row in rows), *times])
    return table(["workload@clients", *(f"{row} µs" for row in rows), *(f"{base} : {row}" for row in others)], lines)


def total_cpu_us(window: Window) -> float:
    """CPU of server and services per operation; the load generator's is nobody's merit."""
    return sum(used for process, used in window["cpu_us_per_op"].items() if process != "loadgen")


def rates_table(found: Windows, row: str) -> str:
    """What one row did: rates, latency, CPU, the machine's state."""
    head = [
        "workload@clients",
        "ops/s",
        "p50 ms",
        "p99 ms",
        "CPU µs/op",
        "cores",
        "others",
        "RSS MiB",
        "errors",
        "speed ms",
    ]
    return table(head, (rates_line(name, by_row[row]) for name, by_row in found.items()))


def rates_line(name: str, windows: Sequence[Window]) -> list[str]:
    """One window of one row."""
    processes = [process for process in windows[0]["usage"]["cores"] if process != "loadgen"]

    def per_process(section: Callable[[Window, str], float], digits: int) -> str:
        return " + ".join(f"{median(windows, partial_of(section, process)):.{digits}f}" for process in processes)

    return [
        name,
        spread([window["ops_per_s"] for window in windows]),
        f"{median(windows, latency('p50')):.1f}",
        f"{median(windows, latency('p99')):.1f}",
        per_process(lambda window, process: window["cpu_us_per_op"].get(process, 0), 0),
        per_process(lambda window, process: window["usage"]["cores"][process], 2),
        f"{median(windows, lambda window: window['usage']['cores_others']):.2f}",
        per_process(lambda window, process: window["usage"]["rss_mib"][process], 0),
        str(sum(window["errors"] + window["stuck_clients"] for window in windows)),
        f"{median(windows, lambda window: window['calibration_ms']):.1f}",
    ]


def partial_of(section: Callable[[Window, str], float], process: str) -> Callable[[Window], float]:
    """A figure of one process."""
    return lambda window: section(window, process)


def median(windows: Sequence[Window], figure: Callable[[Window], float]) -> float:
    """The median of one figure."""
    return float(statistics.median(figure(window) for window in windows))


def latency(quantile: str) -> Callable[[Window], float]:
    """A quantile of a window's latency, in milliseconds."""
    return lambda window: float(window["latency_ms"].get(quantile, 0))
