"""Stack traces as an Error message carries them: the user's frames, bounded in size."""

from __future__ import annotations

import traceback
from typing import Final

from understudy.api.sites import is_user_code

STACKTRACE_CHARS_MAX: Final = 8_000


def stacktrace_of(error: BaseException) -> str:
    """The trace of *error*, without the frames of the SDK and of libraries above the user's own code."""
    summary = traceback.TracebackException.from_exception(error)
    frames = list(summary.stack)
    while frames and not is_user_code(frames[0].filename):
        del frames[0]
    if frames:
        summary.stack = traceback.StackSummary.from_list(frames)
    text = "".join(summary.format(chain=True))
    return text if len(text) <= STACKTRACE_CHARS_MAX else text[:STACKTRACE_CHARS_MAX] + "…\n"
