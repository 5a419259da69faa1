"""Call sites: where in user code something happened, for hazards and misuse.  Not for the hot path."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import PurePath
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

_OURS: Final = str(PurePath(__file__).parent.parent)
_STDLIB: Final = sysconfig.get_path("stdlib")


class Site(NamedTuple):
    """A line of a function."""

    filename: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.filename}:{self.line} in {self.function}"


def is_user_code(filename: str) -> bool:
    """Whether *filename* is neither ours nor a library's."""
    if filename.startswith((_OURS, "<frozen")) or "site-packages" in filename:
        return False
    return not filename.startswith(_STDLIB)


def calling_site() -> Site:
    """Where user code called into us, seen from anywhere below that call."""
    frame: FrameType | None = sys._getframe(1)
    last = frame
    while frame is not None:
        if is_user_code(frame.f_code.co_filename):
            return _site(frame.f_code, frame.f_lineno)
        last = frame
        frame = frame.f_back
    assert last is not None, "there is always a frame"
    return _site(last.f_code, last.f_lineno)


def awaiting_site(coroutine: Any) -> Site:
    """Where *coroutine* (suspended) waits: the innermost line of user code on its chain of awaits."""
    found: Site | None = None
    outermost: Site | None = None
    current = coroutine
    while current is not None:
        frame: FrameType | None = getattr(current, "cr_frame", None) or getattr(current, "gi_frame", None)
        if frame is not None:
            site = _site(frame.f_code, frame.f_lineno)
            outermost = outermost or site
            if is_user_code(frame.f_code.co_filename):
                found = site
        current = getattr(current, "cr_await", None) or getattr(current, "gi_yieldfrom", None)
    return found or outermost or Site("<unknown>", 0, "<unknown>")


def _site(code: CodeType, line: int | None) -> Site:
    return Site(code.co_filename, line or code.co_firstlineno, code.co_qualname)
