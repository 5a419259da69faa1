"""What the tables and the invoker know about one invocation, joined for people: values out, nothing is changed.

Restate's words for a status (`ready`, `running`, `backing-off`) say more than the stored one: whether an attempt runs
is known to the invoker alone.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from understudy_runtime.admin.backend import Described, Exported
from understudy_runtime.ingress.backend import Known
from understudy_runtime.invoker.core import HOLDS_SLOT, Phase
from understudy_runtime.invoker.shell import Invoker
from understudy_runtime.limits import Limits
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.start import eager_state
from understudy_runtime.machine.tables import Tables
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


def described(found: Invocation, invoker: Invoker) -> Described:
    """*found* as the admin shows it, with what its partition's *invoker* does about it."""
    job = invoker.job(found.id, found.lease)
    failed = job.failed_last if job is not None else None
    if found.status is not Status.INVOKED or job is None:
        word = STATUS_WORDS.get(found.status, READY)
    else:
        word = RUNNING if job.phase in HOLDS_SLOT else BACKING_OFF if job.phase is Phase.BACKING_OFF else READY
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
        retry_at_ms=invoker.retry_at_ms(job) if job is not None and word == BACKING_OFF else 0,
        last_failure=failed.failure if failed is not None else None,
        idle_lease=found.lease if word == BACKING_OFF else 0,
    )


def exported(tables: Tables, found: Invocation, shown: Described, limits: Limits) -> Exported:
    """The journal of *found* and, while it is not over, the state its next attempt is given.

    The state of an object whose invocation has completed is others' by now: none is given then, and marked as such.
    """
    state: list[tuple[bytes, bytes]] = []
    is_partial = True
    if found.status is not Status.COMPLETED:
        state, is_partial = eager_state(tables, found, limits.eager_state_bytes_max)
    return Exported(
        described=shown,
        random_seed=found.random_seed,
        entries=tuple(tables.entries(found)),
        state=tuple(state),
        is_state_complete=not is_partial,
    )
