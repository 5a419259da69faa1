"""Stack traces as an Error message carries them: the user's frames, without source text, bounded in size."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Final

from understudy.api.sites import is_user_code

STACKTRACE_CHARS_MAX: Final = 8_000
_CAUSES_MAX: Final = 5


def stacktrace_of(error: BaseException) -> str:
    """The trace of *error* and of what it was raised from, innermost cause first.

    Frames of the SDK and of libraries above the user's own code are left out.  No source file is read.
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
    in_user_code = False
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        in_user_code = in_user_code or is_user_code(code.co_filename)
        if in_user_code:
            yield f'  File "{code.co_filename}", line {line}, in {code.co_qualname}\n'
    yield from traceback.format_exception_only(error)
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            for text in _lines(inner):
                yield "  | " + text
