"""What an exception that leaves user code means for the attempt.  Groups are unwrapped; pure.

An exception is looked for along its chain of causes, so that `raise X from TerminalError(...)` stays
terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, auto

from understudy.api.errors import RetryableError, TerminalError, causes
from understudy.vm.errors import AttemptEnded


class Outcome(Enum):
    """How user code ended, the strongest first."""

    CRASHED = auto()
    """KeyboardInterrupt, SystemExit, GeneratorExit: the process or the coroutine is going away."""
    CANCELLED = auto()
    """The scheduler ended the task."""
    ENDED = auto()
    """The attempt was over before the handler was."""
    RETRY = auto()
    """Something went wrong that another attempt may not meet."""
    TERMINAL = auto()
    """The invocation has failed for good."""


_ORDER = (Outcome.CRASHED, Outcome.CANCELLED, Outcome.ENDED, Outcome.RETRY, Outcome.TERMINAL)


def outcome_of(error: BaseException, is_cancellation: Callable[[BaseException], bool]) -> tuple[Outcome, BaseException]:
    """What *error* means, and the exception inside it that says so.

    In a group the strongest outcome wins, and among equals the first: a handler of which one part failed for
    good and another part failed for now is tried again.
    """
    found = [_outcome_of_one(leaf, is_cancellation) for leaf in _leaves(error)]
    for outcome in _ORDER:
        for kind, leaf in found:
            if kind is outcome:
                return kind, leaf
    raise AssertionError("an exception has at least one leaf")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _outcome_of_one(
    error: BaseException, is_cancellation: Callable[[BaseException], bool]
) -> tuple[Outcome, BaseException]:
    if isinstance(error, AttemptEnded):
        return Outcome.ENDED, error
    if is_cancellation(error):
        return Outcome.CANCELLED, error
    if not isinstance(error, Exception):
        return Outcome.CRASHED, error
    for cause in causes(error):
        if isinstance(cause, TerminalError):
            return Outcome.TERMINAL, cause
        if isinstance(cause, RetryableError):
            return Outcome.RETRY, cause
    return Outcome.RETRY, error
