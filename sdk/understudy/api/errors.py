"""The exceptions a handler raises and catches, and the mistakes in using a context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from understudy.vm.awaits import Failure


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
    """What is stored of *error*."""
    metadata = tuple((error.metadata or {}).items())
    return Failure(error.status_code, error.message, metadata)


def causes(error: BaseException) -> Iterator[BaseException]:
    """*error* and what it was raised from, outermost first."""
    current: BaseException | None = error
    seen: list[BaseException] = []
    while current is not None and not any(current is earlier for earlier in seen):
        seen.append(current)
        yield current
        current = current.__cause__
