"""The exceptions a handler raises and catches, and the mistakes in using a context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from understudy.vm.awaits import Failure
from understudy.vm.errors import CODE_INTERNAL

_U32_MAX: Final = (1 << 32) - 1
_DELAY_MS_MAX: Final = 1000 * 366 * 86_400_000


class TerminalError(Exception):
    """A failure that is final: the invocation ends with it and is not tried again.

    *status_code* is what callers see (an HTTP status or any u32), *metadata* goes along (protocol version 6
    and later).
    """

    def __init__(self, message: str, status_code: int = 500, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.metadata = dict(metadata) if metadata else None


class RetryableError(Exception):
    """A failure that is tried again, after *retry_after* when given, else by the policy in force."""

    def __init__(self, message: str, status_code: int = 500, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.retry_after = retry_after


class ContextMisuse(RuntimeError):
    """A context was used where it must not be: from another task, or inside the function given to `ctx.run`."""


def terminal_error(failure: Failure) -> TerminalError:
    """The exception a stored failure is raised as."""
    return TerminalError(failure.message, failure.code, dict(failure.metadata) or None)


def failure_of(error: TerminalError) -> Failure:
    """What is stored of *error*, whatever user code has put into it."""
    metadata = tuple((sendable_text(key), sendable_text(value)) for key, value in (error.metadata or {}).items())
    return Failure(sendable_code(error.status_code), sendable_text(error.message), metadata)


def sendable_text(value: object) -> str:
    """*value* as text that can be sent: what is no text is made one, what is no Unicode becomes question marks."""
    try:
        text = str(value)
    except Exception:
        text = f"<{type(value).__qualname__} that cannot be printed>"
    return text.encode("utf-8", "replace").decode()


def sendable_repr(error: BaseException) -> str:
    """The repr of *error* as text that can be sent."""
    try:
        return sendable_text(repr(error))
    except Exception:
        return f"<{type(error).__qualname__} that cannot be printed>"


def sendable_code(code: object) -> int:
    """*code* where it is one, else 500."""
    return code if isinstance(code, int) and 0 <= code <= _U32_MAX else CODE_INTERNAL


def sendable_delay_ms(error: RetryableError) -> int | None:
    """The pause *error* asks for, at least none and at most a thousand years."""
    if error.retry_after is None:
        return None
    return min(max(0, error.retry_after // timedelta(milliseconds=1)), _DELAY_MS_MAX)


def causes(error: BaseException) -> Iterator[BaseException]:
    """*error* and what it was raised from, outermost first."""
    current: BaseException | None = error
    seen: list[BaseException] = []
    while current is not None and not any(current is earlier for earlier in seen):
        seen.append(current)
        yield current
        current = current.__cause__
