"""Silence for the dead: coroutines of crashed processes that nobody reaped complain when they are collected.

What they say is about a process that lost its power and means nothing.  While `silent` is open such complaints are
dropped, and at its end everything dead is collected, so that none comes later.
"""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CoroutineType
from typing import Any

from understudy_sim.stage.large_pages import use_large_pages


def silence_for_good() -> None:
    """For a process that only rehearses: what of the dead outlives every run stays silent at its end, too.

    What is there by now stays: the collector need not look at it after every run.
    """
    gc.collect()
    gc.freeze()
    before = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: _drop_coroutines(unraisable, before)


def _drop_coroutines(unraisable: Any, otherwise: Callable[[Any], Any]) -> None:
    if not isinstance(unraisable.object, CoroutineType):
        otherwise(unraisable)


@contextmanager
def silent() -> Iterator[None]:
    """Around any number of runs.  The collector is off: who runs many calls `collect` now and then.

    What is there before the first run is not looked at; a collection costs what the runs left behind.
    """
    before = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: _drop_coroutines(unraisable, before)
    collecting, frozen = gc.isenabled(), gc.get_freeze_count() > 0
    gc.disable()
    if not frozen:
        gc.freeze()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            try:
                yield
            finally:  # Also where somebody stopped in the middle: what was left would complain later.
                gc.collect()
    finally:
        sys.unraisablehook = before
        if not frozen:
            gc.unfreeze()
        if collecting:
            gc.enable()


def collect(*, keep: bool = False) -> None:
    """Free what the runs so far left; with *keep*, what is still there will stay and is not looked at again."""
    gc.collect()
    if keep:
        gc.freeze()
        use_large_pages()
