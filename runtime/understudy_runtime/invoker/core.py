"""Who runs next: the invocations of one partition that have a lease, their slots, their retries.  Only decides.

A job is one lease of one invocation.  Its phases are the rows of PHASES.  An attempt holds its slot until its task is
gone; a retry waits until everything the failed attempt sent is stored (or was refused).  Stale leases are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final

import attrs

from understudy_runtime.model.commands import AttemptEnd, GaveUp
from understudy_runtime.model.invocation import Failure, OnMaxAttempts, RetryPolicy
from understudy_runtime.model.values import frozen

JITTER_MS_MIN: Final = 3
# What an endpoint may ask for at least: a handler that fails at once must not keep the server busy with itself.
RETRY_DELAY_MS_MIN: Final = 1
JITTER_PERCENT: Final = 30


class Phase(IntEnum):
    QUEUED = 0  # waits for a slot
    RUNNING = 1  # an attempt's dialogue is open
    CLOSING = 2  # the dialogue is over, its task still holds the slot
    SETTLING = 3  # the task is gone, what it sent is not all stored
    BACKING_OFF = 4  # waits to be tried again
    PARKED = 5  # there is nowhere to run it
    GONE = 6


class Event(IntEnum):
    GRANTED = 0
    OVER = 1  # the dialogue ended, well or badly
    TASK_ENDED = 2
    RETRY = 3
    DONE = 4  # the end is stored, or was refused
    DUE = 5
    NOWHERE = 6


PHASES: Final = MappingProxyType(
    {
        Phase.QUEUED: MappingProxyType({Event.GRANTED: Phase.RUNNING, Event.DONE: Phase.GONE}),
        Phase.RUNNING: MappingProxyType({Event.OVER: Phase.CLOSING, Event.NOWHERE: Phase.PARKED}),
        Phase.CLOSING: MappingProxyType({Event.TASK_ENDED: Phase.SETTLING}),
        Phase.SETTLING: MappingProxyType({Event.RETRY: Phase.BACKING_OFF, Event.DONE: Phase.GONE}),
        Phase.BACKING_OFF: MappingProxyType({Event.DUE: Phase.QUEUED, Event.DONE: Phase.GONE}),
        Phase.PARKED: MappingProxyType({Event.DUE: Phase.QUEUED, Event.DONE: Phase.GONE}),
        Phase.GONE: MappingProxyType({}),
    }
)
HOLDS_SLOT: Final = (Phase.RUNNING, Phase.CLOSING)


@frozen
class AttemptFailure:
    """Why an attempt failed.  *how* is the word of the AttemptEnded event.

    *reached* False: the endpoint cannot have seen it.  *retry_delay_ms* replaces one back-off, also when the policy is
    exhausted.
    """

    failure: Failure
    how: str = "failed"
    reached: bool = True
    retry_delay_ms: int | None = None


@frozen
class Retry:
    """Try again after *delay_ms*."""

    delay_ms: int


@attrs.define(eq=False)
class Job:
    """One lease of one invocation.  `attempt` numbers its attempts from 1; `runner` is the shell's handle.

    `birth` is the life of the id it belongs to: leases are counted anew in each.
    """

    invocation_id: str
    lease: int
    phase: Phase = Phase.QUEUED
    birth: int = 0
    attempt: int = 0
    failures: int = 0
    # Failed attempts that reached the endpoint since the last stored command: what Start tells the SDK.
    retry_count: int = 0
    has_sent_entries: bool = False
    outputs_in_flight: int = 0
    failed: AttemptFailure | None = None
    # How an attempt failed last, also while the next one runs; when that is due, by the shell's monotonic clock.
    failed_last: AttemptFailure | None = None
    due_ms: int = 0
    has_ended: bool = False
    is_revoked: bool = False
    lease_next: int = 0
    birth_next: int = 0
    runner: Any = None
    # Where it is parked, and why, while it is.
    parked_for: str = ""
    parked: str = ""

    def advance(self, event: Event) -> None:
        following = PHASES[self.phase].get(event)
        assert following is not None, f"{event.name} cannot happen to a job that is {self.phase.name}"
        self.phase = following


class InvokerCore:
    """The jobs of one partition."""

    def __init__(self, attempts_max: int) -> None:
        assert attempts_max >= 1, "at least one attempt must be able to run"
        self._attempts_max = attempts_max
        self._jobs: dict[str, Job] = {}
        self._ready: dict[str, Job] = {}
        # What is parked, by what it is parked for.
        self._parked: dict[str, dict[str, Job]] = {}
        self._slots_taken = 0

    @property
    def job_count(self) -> int:
        return len(self._jobs)

    @property
    def ready_count(self) -> int:
        """Jobs that wait for a slot."""
        return len(self._ready)

    @property
    def parked_for(self) -> list[str]:
        """What jobs are parked for."""
        return list(self._parked)

    @property
    def slots_free(self) -> int:
        return self._attempts_max - self._slots_taken

    def job(self, invocation_id: str, lease: int) -> Job | None:
        """The job of exactly this lease; None for a stale one."""
        job = self._jobs.get(invocation_id)
        return job if job is not None and job.lease == lease and not job.is_revoked else None

    def holders(self) -> Iterator[Job]:
        """The jobs that hold a slot, in the order they became known."""
        return (job for job in self._jobs.values() if job.phase in HOLDS_SLOT)

    def start(self, invocation_id: str, lease: int, birth: int = 0) -> Job | None:
        """The invocation became INVOKED under *lease*.  Returns an attempt of an older lease that must be cut."""
        job = self._jobs.get(invocation_id)
        if job is None:
            self._enqueue(Job(invocation_id, lease, birth=birth))
            return None
        if (birth, lease) <= max((job.birth, job.lease), (job.birth_next, job.lease_next)):
            return None
        if job.phase in HOLDS_SLOT:
            job.is_revoked = True
            job.birth_next, job.lease_next = birth, lease
            return job
        self._remove(job)
        self._enqueue(Job(invocation_id, lease, birth=birth))
        return None

    def revoke(self, invocation_id: str, lease: int) -> Job | None:
        """The lease is over (kill, pause): drop the job.  Returns it when its attempt must be cut."""
        job = self.job(invocation_id, lease)
        if job is None:
            return None
        job.is_revoked = True
        if job.phase in HOLDS_SLOT:
            return job
        self._remove(job)
        return None

    def grant(self) -> Job | None:
        """Give the first job in the queue a slot, if one is free."""
        if not self._ready or self._slots_taken >= self._attempts_max:
            return None
        invocation_id = next(iter(self._ready))
        job = self._ready.pop(invocation_id)
        job.advance(Event.GRANTED)
        self._slots_taken += 1
        assert self._slots_taken <= self._attempts_max, "no more attempts run at once than the limit says"
        job.attempt += 1
        job.has_sent_entries = False
        job.failed = None
        return job

    def sent(self, job: Job, *, has_entries: bool, end: AttemptEnd | None) -> None:
        """The attempt's output was proposed."""
        job.outputs_in_flight += 1
        job.has_sent_entries = job.has_sent_entries or has_entries
        job.has_ended = job.has_ended or end is not None

    def over(self, job: Job, failed: AttemptFailure | None) -> None:
        """The dialogue is over: with an end that was proposed, or with *failed*."""
        assert job.is_revoked or (failed is None) == job.has_ended, "an attempt ends one way"
        job.failed = failed
        job.failed_last = failed or job.failed_last
        job.advance(Event.OVER)

    def task_ended(self, job: Job) -> None:
        """The attempt's task is gone: its slot is free."""
        job.advance(Event.TASK_ENDED)
        self._slots_taken -= 1
        assert self._slots_taken >= 0, "P10: slots taken and given back balance"
        job.runner = None
        if job.is_revoked:
            self._remove(job)
            if job.lease_next:
                self._enqueue(Job(job.invocation_id, job.lease_next, birth=job.birth_next))

    def stored(self, invocation_id: str, lease: int, birth: int = 0) -> Job | None:
        """An output of the lease was applied, or refused.  Returns the job when it has settled."""
        job = self.job(invocation_id, lease)
        if job is None or job.birth != birth:
            return None
        job.outputs_in_flight -= 1
        assert job.outputs_in_flight >= 0, "each output is stored once"
        return self.settled(job)

    def settled(self, job: Job) -> Job | None:
        """*job* when its task is gone and all it sent is stored, so that its fate can be decided."""
        if job.phase is Phase.SETTLING and job.outputs_in_flight == 0 and not job.is_revoked:
            return job
        return None

    def decide(self, job: Job, policy: RetryPolicy, jitter: int) -> Retry | GaveUp:
        """What becomes of a settled job whose lease goes on: tried again, or given up.  *jitter* is a u32 drawn."""
        assert self.settled(job) is job, "a retry starts only after everything the attempt sent is stored"
        failed = job.failed
        assert not job.has_ended, "an end that was honoured ends the lease"
        assert failed is not None, "an attempt ends one way"
        job.failures += 1
        job.retry_count = self._retry_count(job, failed)
        if failed.retry_delay_ms is not None:
            job.advance(Event.RETRY)
            return Retry(max(failed.retry_delay_ms, RETRY_DELAY_MS_MIN))
        if policy.attempts_max is not None and job.failures >= policy.attempts_max:
            return GaveUp(failed.failure, pause=policy.on_max_attempts is OnMaxAttempts.PAUSE)
        job.advance(Event.RETRY)
        return Retry(delay_ms(policy, job.failures, jitter))

    def due(self, invocation_id: str, lease: int, attempt: int) -> None:
        """A back-off is over.  One of an earlier attempt or lease is ignored (E3)."""
        job = self.job(invocation_id, lease)
        if job is None or job.phase is not Phase.BACKING_OFF or job.attempt != attempt:
            return
        job.advance(Event.DUE)
        self._ready[invocation_id] = job

    def park(self, job: Job, wanted: str, reason: str) -> None:
        """A granted job has nowhere to run: it gives its slot back and waits for *wanted*.  It counts as no attempt."""
        job.advance(Event.NOWHERE)
        job.attempt -= 1
        self._slots_taken -= 1
        job.parked_for, job.parked = wanted, reason
        self._parked.setdefault(wanted, {})[job.invocation_id] = job

    def unpark(self, wanted: str) -> None:
        """*wanted* is there: what is parked for it waits for a slot again."""
        for invocation_id, job in self._parked.pop(wanted, {}).items():
            job.advance(Event.DUE)
            job.parked_for = job.parked = ""
            self._ready[invocation_id] = job

    def discard(self, job: Job) -> None:
        """A granted job turned out to be stale before its attempt began: give the slot back and forget it."""
        job.is_revoked = True
        self.over(job, None)
        self.task_ended(job)

    def forget(self, job: Job) -> None:
        """The lease of a settled job is over."""
        self._remove(job)

    def _retry_count(self, job: Job, failed: AttemptFailure) -> int:
        if job.has_sent_entries:
            return 1
        return job.retry_count + 1 if failed.reached else job.retry_count

    def _enqueue(self, job: Job) -> None:
        assert job.invocation_id not in self._jobs, "one job per invocation"
        self._jobs[job.invocation_id] = job
        self._ready[job.invocation_id] = job

    def _remove(self, job: Job) -> None:
        """Forget a job whose lease is over, wherever it is."""
        assert job.phase not in HOLDS_SLOT, "an attempt is cut before its job goes"
        self._ready.pop(job.invocation_id, None)
        if job.phase is Phase.PARKED:
            del self._parked[job.parked_for][job.invocation_id]
            if not self._parked[job.parked_for]:
                del self._parked[job.parked_for]
        job.advance(Event.DONE)
        del self._jobs[job.invocation_id]


def delay_ms(policy: RetryPolicy, failures: int, jitter: int) -> int:
    """The back-off after the *failures*-th failed attempt.  *jitter* is a u32.

    >>> delay_ms(RetryPolicy(delay_ms_first=100, factor_thousandths=2000, delay_ms_max=1000), 3, 0)
    403
    """
    assert failures >= 1, "back-off follows a failure"
    assert 0 <= jitter < 1 << 32, "jitter is a u32"
    delay = policy.delay_ms_first
    for _ in range(failures - 1):
        if delay >= policy.delay_ms_max:
            break
        delay = max(delay + 1, delay * policy.factor_thousandths // 1000)
    delay = min(delay, policy.delay_ms_max)
    spread = delay * JITTER_PERCENT // 100
    return delay + max(JITTER_MS_MIN, spread * jitter >> 32)
