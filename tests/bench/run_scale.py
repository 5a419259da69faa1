"""What scale and a kill -9 cost, row by row, each on a pair started for it.

python -m tests.bench.run_scale sleepers recovery --rows real,serve,dev
python -m tests.bench.run_scale echoes --rows serve --plot docs/echoes.svg

sleepers   20,000 handlers asleep for an hour: memory, disk; kill -9; time to the first echo
recovery   2,000 invocations of five steps and sleeps; kill -9 amid them; time until all are done; every claim checked
echoes     200,000 echoes kept for 60 s each: memory and disk over time; kill -9 at the end; time to the first echo
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.bench.plot import Series, draw
from tests.bench.procfs import machine
from tests.bench.rows import NONE, ROWS, Pair
from tests.bench.scale import kept_echoes, recovery, sleepers

RETENTION_S = 60
SETTINGS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"echoes": {f"DEFAULT_{what}_RETENTION": f"{RETENTION_S}s" for what in ("IDEMPOTENCY", "JOURNAL")}}
)
KINDS: Mapping[str, Callable[[Pair, argparse.Namespace], dict[str, Any]]] = MappingProxyType(
    {
        "sleepers": lambda pair, args: sleepers(pair, args.sleepers),
        "recovery": lambda pair, args: recovery(pair, args.invocations),
        "echoes": lambda pair, args: kept_echoes(pair, args.echoes, RETENTION_S),
    }
)


def plotted(figures: Mapping[str, Any], title: str) -> str:
    """Memory and disk over time as a picture."""
    samples = figures["samples"]
    times = [point["at_s"] for point in samples]
    series = [
        Series("server's memory, MiB", [point["rss_mib"] for point in samples]),
        Series("data folder, MiB", [point["disk_mib"] for point in samples]),
    ]
    return draw(title, "seconds", times, series, marks={"kill -9": figures["restarted_at_s"]})


def summary(figures: Mapping[str, Any]) -> str:
    """The figures without the curves."""
    return json.dumps({name: value for name, value in figures.items() if name != "samples"}, indent=1)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+", choices=sorted(KINDS))
    parser.add_argument("--rows", default="real,serve,dev", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--sleepers", type=int, default=20_000)
    parser.add_argument("--invocations", type=int, default=2_000)
    parser.add_argument("--echoes", type=int, default=200_000)
    parser.add_argument("--plot", default=None, help="write the curves of the last row's echoes to this SVG file")
    parser.add_argument("--work-dir", default=None, help="where data folders go: the disk that is measured")
    parser.add_argument("--json", default=None, help="write all figures to this file")
    args = parser.parse_args()
    found: dict[str, dict[str, Any]] = {kind: {} for kind in args.kinds}
    for kind in args.kinds:
        for name in args.rows.split(","):
            with tempfile.TemporaryDirectory(dir=args.work_dir) as folder:
                with Pair(ROWS[name], Path(folder) / name, SETTINGS.get(kind, NONE)) as pair:
                    found[kind][name] = KINDS[kind](pair, args)
            print(f"{kind} {name}: {summary(found[kind][name])}", file=sys.stderr, flush=True)
            if kind == "echoes" and args.plot:
                Path(args.plot).write_text(plotted(found[kind][name], f"{args.echoes:,} echoes, each kept for 60 s"))
    text = json.dumps({"machine": machine(), "scale": found}, indent=1) + "\n"
    if args.json:
        Path(args.json).write_text(text)
    wrong = [
        (kind, row)
        for kind, rows in found.items()
        for row, one in rows.items()
        if not one.get("each_exactly_once", True)
    ]
    if wrong:
        raise SystemExit(f"not everything was done exactly once: {wrong}")


if __name__ == "__main__":
    main()
