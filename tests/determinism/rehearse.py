"""Rehearses seeds in a fresh process and prints one `seed digest` line each.  Not a test itself: the tests start it.

    python tests/determinism/rehearse.py 3 4 5 [--replay] [--junk] [--import-hypothesis] [--warm SEED]

`--replay` runs `understudy replay` for each seed instead of `understudy simulate`; `--junk` litters the heap before and
between runs; `--warm` runs another seed first.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import random
import sys

SCRIPT = "scenarios/ticket_tour.py"


def command_json(*arguments: str) -> dict[str, object]:
    """The JSON line a command of the console script ends with."""
    group = importlib.import_module("understudy_runtime.cli.main").understudy
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        group.main([*arguments, "--json"], prog_name="understudy")
    value: dict[str, object] = json.loads(printed.getvalue().splitlines()[-1])
    return value


def litter(rng: random.Random) -> list[object]:
    """Objects of many sizes, some of them freed at once, so that later ones lie at other addresses."""
    kept: list[object] = []
    for _ in range(20_000):
        junk = [rng.random()] * rng.randrange(1, 40)
        if rng.random() < 0.3:
            kept.append(junk)
    return kept


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", nargs="+", type=int)
    parser.add_argument("--replay", action="store_true")
    parser.add_argument("--junk", action="store_true")
    parser.add_argument("--import-hypothesis", action="store_true")
    parser.add_argument("--warm", type=int)
    args = parser.parse_args()
    sys.path.insert(0, "")
    rng = random.Random()
    kept: list[object] = []
    if args.import_hypothesis:
        importlib.import_module("hypothesis")
    if args.warm is not None:
        command_json("simulate", SCRIPT, "--seed", str(args.warm))
    for seed in args.seeds:
        if args.junk:
            kept.append(litter(rng))
        command = "replay" if args.replay else "simulate"
        print(seed, command_json(command, SCRIPT, "--seed", str(seed))["digest"], flush=True)


if __name__ == "__main__":
    main()
