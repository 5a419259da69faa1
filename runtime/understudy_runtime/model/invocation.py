"""The words every part shares about an invocation: its target, its result, its journal entries, its policies."""

from __future__ import annotations

from enum import IntEnum

from understudy_runtime.model.fields import numbered
from understudy_runtime.model.values import frozen


class ServiceType(IntEnum):
    SERVICE = 0
    VIRTUAL_OBJECT = 1
    WORKFLOW = 2


class HandlerType(IntEnum):
    """SHARED takes no lock (all handlers of plain services are SHARED); WORKFLOW is a workflow's run handler."""

    SHARED = 0
    EXCLUSIVE = 1
    WORKFLOW = 2


class Status(IntEnum):
    """The stored status of an invocation.  FREE (unknown or purged) is the absence of a row."""

    FREE = 0
    SCHEDULED = 1
    INBOXED = 2
    INVOKED = 3
    SUSPENDED = 4
    PAUSED = 5
    COMPLETED = 6


@frozen
class Target:
    """What is called.  `key` is None for plain services."""

    service: str = numbered(1)
    handler: str = numbered(2)
    key: str | None = numbered(3, default=None)


@frozen
class Failure:
    """A terminal failure: protocol error code (also the HTTP status at the ingress), message, metadata pairs."""

    code: int = numbered(1)
    message: str = numbered(2)
    metadata: tuple[tuple[str, str], ...] = numbered(3, default=())


@frozen
class Success:
    value: bytes = numbered(1)


Result = Success | Failure


@frozen
class Entry:
    """One journal entry: the message's type code and its payload, exactly as the SDK sent or will receive it."""

    type: int = numbered(1)
    payload: bytes = numbered(2)


class OnMaxAttempts(IntEnum):
    PAUSE = 0
    KILL = 1


@frozen
class RetryPolicy:
    """When a failed attempt is tried again: delay_n = min(first * factor^(n-1), max), plus jitter up to 30 %.

    `factor_thousandths` is the exponentiation factor in thousandths (no float is durable); `attempts_max` counts the
    first
    attempt; None tries for ever.
    """

    delay_ms_first: int = numbered(1, default=500)
    factor_thousandths: int = numbered(2, default=2000)
    delay_ms_max: int = numbered(3, default=60_000)
    attempts_max: int | None = numbered(4, default=70)
    on_max_attempts: OnMaxAttempts = numbered(5, default=OnMaxAttempts.PAUSE)
