"""What the tables and the invoker know about one invocation, joined for people: values out, nothing is changed.

Restate's words for a status (`ready`, `running`, `backing-off`) say more than the stored one: whether an attempt runs
is known to the invoker alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from understudy_runtime.admin.backend import Described, Exported, Waiting
from understudy_runtime.ingress.backend import Known
from understudy_runtime.invoker.core import HOLDS_SLOT, Phase
from understudy_runtime.invoker.shell import Invoker
from understudy_runtime.limits import Limits
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.start import eager_state
from understudy_runtime.machine.tables import Tables
from understudy_runtime.machine.waits import Wait, WaitKind, find_cycle, stuck
from understudy_runtime.model.invocation import Status

STATUS_WORDS: Final = MappingProxyType(
    {
        Status.SCHEDULED: "scheduled",
        Status.INBOXED: "pending",
        Status.SUSPENDED: "suspended",
        Status.PAUSED: "paused",
        Status.COMPLETED: "completed",
    }
)
READY: Final = "ready"
RUNNING: Final = "running"
BACKING_OFF: Final = "backing-off"
PARKED: Final = "parked"
PHASE_WORDS: Final = MappingProxyType({Phase.BACKING_OFF: BACKING_OFF, Phase.PARKED: PARKED})
LOOKED_AT_MAX: Final = 10_000


def described(
    found: Invocation, invoker: Invoker, waits: Sequence[Wait] = (), circle: Sequence[str] = (), parked: str = ""
) -> Described:
    """*found* as the admin shows it: what its partition's *invoker* does about it, what it *waits* for, whether that is
    a *circle* that nothing in it can leave, and why it is *parked*, if it is.
    """
    job = invoker.job(found.id, found.lease)
    failed = job.failed_last if job is not None else None
    if found.status is not Status.INVOKED or job is None:
        word = STATUS_WORDS.get(found.status, READY)
    else:
        word = RUNNING if job.phase in HOLDS_SLOT else PHASE_WORDS.get(job.phase, READY)
    retry_at_ms = invoker.retry_at_ms(job) if job is not None and word == BACKING_OFF else 0
    return Described(
        id=found.id,
        known=Known(found.target, found.status, found.result, found.expires_ms),
        status=word,
        service_type=found.service_type,
        idempotency_key=found.idempotency_key,
        created_ms=found.created_ms,
        execution_time_ms=found.execution_time_ms,
        completed_ms=found.completed_ms,
        deployment_id=found.deployment_id,
        protocol_version=found.protocol_version,
        journal_length=found.journal_length,
        command_count=found.command_count,
        is_running=word == RUNNING,
        attempts=job.attempt if job is not None else 0,
        failures=job.failures if job is not None else 0,
        retry_at_ms=retry_at_ms,
        last_failure=failed.failure if failed is not None else None,
        is_idle=found.status is Status.INVOKED and (job is None or job.phase not in HOLDS_SLOT),
        waits=[waiting(wait, retry_at_ms) for wait in waits],
        callers=[caller.invocation_id for caller in found.callers],
        deadlock=circle,
        # An attempt that runs goes on where it is, also when nobody could begin it there any more.
        parked="" if word == RUNNING else parked,
    )


def is_shown_as(shown: Described, status: str) -> bool:
    """Whether *status* is its own; `parked` is whatever has nowhere to go on, also while it sleeps or is paused."""
    return bool(shown.parked) if status == PARKED else shown.status == status


def waiting(wait: Wait, retry_at_ms: int) -> Waiting:
    """*wait* as the admin takes it: a time is a time, whatever its kind."""
    is_time = wait.kind in (WaitKind.SLEEP, WaitKind.START)
    return Waiting(
        kind=wait.kind,
        on=wait.on,
        detail="" if is_time else wait.detail,
        until_ms=int(wait.detail) if is_time else retry_at_ms if wait.kind is WaitKind.RETRY else 0,
    )


def circles_of(blockers: Callable[[str], Sequence[str]], ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Those of *ids* that can never go on by themselves, each with the circle it waits for.

    *blockers* says who alone can make one go on; a circle begins with the one asked for where that is part of it.  No
    more than LOOKED_AT_MAX are looked at, and who was not looked at may go on.
    """
    waiting_for: dict[str, Sequence[str]] = {}
    to_look_at = list(reversed(ids))
    while to_look_at and len(waiting_for) < LOOKED_AT_MAX:
        one = to_look_at.pop()
        if one not in waiting_for:
            waiting_for[one] = found = blockers(one)
            to_look_at += found
    left = stuck(waiting_for)
    return {one: find_cycle(left.__getitem__, one) for one in ids if one in left}


def exported(tables: Tables, found: Invocation, invoker: Invoker, limits: Limits) -> Exported:
    """The journal of *found* and, while it is not over, the state its next attempt is given.

    The state of an object whose invocation has completed is others' by now: none is given then, and marked as such.
    """
    state: list[tuple[bytes, bytes]] = []
    is_partial = True
    if found.status is not Status.COMPLETED:
        state, is_partial = eager_state(tables, found, limits.eager_state_bytes_max)
    return Exported(
        described=described(found, invoker),
        random_seed=found.random_seed,
        entries=tuple(tables.entries(found)),
        state=tuple(state),
        is_state_complete=not is_partial,
    )
