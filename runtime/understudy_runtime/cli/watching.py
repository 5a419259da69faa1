"""Telling whoever writes handlers what blocked the loop: a line in the log, with file and line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

import trio
import understudy

import understudy_runtime
from understudy_runtime.cli.output import Logger
from understudy_runtime.real_world import LoopWatch
from understudy_runtime.telemetry.stalls import Stall

OURS: Final = tuple(str(Path(str(package.__file__)).parent) + "/" for package in (understudy, understudy_runtime))
DOING: Final = MappingProxyType[bool | None, str]({True: "computing", False: "waiting", None: "unknown"})


@contextmanager
def watched(logger: Logger, is_serving: Callable[[], bool]) -> Iterator[None]:
    """Watch the loop this runs in.  What happens before it serves is nobody's fault."""

    def report(stall: Stall) -> None:
        if not is_serving():
            return
        what = "the loop was blocked" if stall.is_over else "the loop is blocked"
        fields = {"ms": stall.ms, "at": str(stall.at), "function": stall.at.function, "doing": DOING[stall.computing]}
        if stall.inside != stall.at:
            fields["inside"] = f"{stall.inside} {stall.inside.function}"
        logger.log("warning", "handler", what, **fields)

    watch = LoopWatch(report, ours=OURS)
    trio.lowlevel.add_instrument(watch)
    watch.start()
    try:
        yield
    finally:
        watch.stop()
        trio.lowlevel.remove_instrument(watch)
