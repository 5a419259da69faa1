"""Stack traces as an Error message carries them: the user's frames, without source text, bounded in size.

They cross the wire, so the same failure must give the same bytes in every checkout and on every Python version: files
are named from where they are imported, and frames of libraries, whose lines move with versions, are left out.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from typing import Final

from understudy.api.errors import sendable_text
from understudy.api.sites import is_user_code

STACKTRACE_CHARS_MAX: Final = 8_000
_CAUSES_MAX: Final = 5


def stacktrace_of(error: BaseException) -> str:
    """The trace of *error* and of what it was raised from, innermost cause first.

    No source file is read.
    """
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and len(chain) < _CAUSES_MAX:
        chain.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    text = "\n".join("".join(_lines(one)) for one in reversed(chain))
    return text if len(text) <= STACKTRACE_CHARS_MAX else text[:STACKTRACE_CHARS_MAX] + "…\n"


def _lines(error: BaseException) -> Iterator[str]:
    yield "Traceback (most recent call last):\n"
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if is_user_code(code.co_filename):
            yield f'  File "{_imported_as(code.co_filename)}", line {line}, in {code.co_qualname}\n'
    yield f"{type(error).__qualname__}: {sendable_text(error)}\n"
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            for text in _lines(inner):
                yield "  | " + text


def _imported_as(filename: str) -> str:
    """*filename* from the folder it is imported from."""
    folders = [folder.rstrip("/") + "/" for folder in (*sys.path, os.getcwd()) if folder]
    return filename.removeprefix(max((f for f in folders if filename.startswith(f)), key=len, default=""))
