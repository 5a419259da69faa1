"""Who waits where: read off parked tasks when a run is stuck.  Paid only on failure."""

from __future__ import annotations

import inspect
import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from types import FrameType
from typing import Any

import attrs
import trio

_LIBRARIES = (
    os.path.dirname(trio.__file__) + os.sep,
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    sysconfig.get_paths()["stdlib"] + os.sep,
)


@attrs.frozen
class Waiter:
    """A parked task:

    its process, its name, and the innermost frame that is not trio's, the kernel's or the library's.
    """

    process: str
    task: str
    function: str
    filename: str
    line: int

    def __str__(self) -> str:
        return f"{self.process}: {self.task} waits in {self.function} ({relative(self.filename)}:{self.line})"


def waiters_of(processes: Iterable[tuple[str, Sequence[Any]]]) -> tuple[Waiter, ...]:
    """One Waiter per task of each (process name, tasks)."""
    found: list[Waiter] = []
    for name, tasks in processes:
        for task in tasks:
            frame, line = user_frame(task)
            function = frame.f_code.co_qualname if frame is not None else "?"
            filename = frame.f_code.co_filename if frame is not None else "?"
            found.append(Waiter(name, task.name, function, filename, line))
    return tuple(found)


def user_frame(task: Any) -> tuple[FrameType | None, int]:
    """The innermost frame of a parked task that is not trio's, the kernel's or the library's, and its line."""
    frames = await_frames(task)
    for frame, line in reversed(frames):
        if not is_library(frame.f_code.co_filename):
            return frame, line
    return frames[-1] if frames else (None, 0)


def await_frames(task: Any) -> list[tuple[FrameType, int]]:
    """The frames of a parked task with their lines, outermost first.

    Where one drives a coroutine itself (by `send`, not by `await`), those of that coroutine follow.
    """
    frames: list[tuple[FrameType, int]] = list(task.iter_await_frames())
    while frames:
        driven = [one for one in frames[-1][0].f_locals.values() if inspect.iscoroutine(one) and one.cr_suspended]
        if len(driven) != 1:
            break
        inner: Any = driven[0]
        while (frame := getattr(inner, "cr_frame", None) or getattr(inner, "gi_frame", None)) is not None:
            frames.append((frame, frame.f_lineno))
            inner = getattr(inner, "cr_await", None) or getattr(inner, "gi_yieldfrom", None)
    return frames


def relative(filename: str) -> str:
    """*filename* as a person in the working directory would write it."""
    return os.path.relpath(filename) if filename.startswith(os.getcwd() + os.sep) else filename


def is_library(filename: str) -> bool:
    """Whether *filename* is trio, this kernel, the standard library or an installed package:

    never the culprit.
    """
    return (
        filename.startswith(_LIBRARIES)
        or filename.startswith("<frozen")
        or f"{os.sep}site-packages{os.sep}" in filename
    )


assert sys.version_info >= (3, 11), "co_qualname is needed"
