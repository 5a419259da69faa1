"""The invoker's core: phases as a table, slots that balance, retries as the policy says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from understudy_runtime.invoker.core import (
    HOLDS_SLOT,
    PHASES,
    RETRY_DELAY_MS_MIN,
    AttemptFailure,
    Event,
    InvokerCore,
    Job,
    Phase,
    Retry,
    delay_ms,
)
from understudy_runtime.model.commands import Finished, GaveUp
from understudy_runtime.model.invocation import Failure, OnMaxAttempts, RetryPolicy

FAILED = AttemptFailure(Failure(500, "no"))
UNREACHED = AttemptFailure(Failure(500, "nobody there"), how="rejected", reached=False)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", Event)
def test_every_phase_answers_every_event_or_refuses(phase: Phase, event: Event) -> None:
    job = Job("inv_1a", 1, phase)
    following = PHASES[phase].get(event)
    if following is None:
        with pytest.raises(AssertionError, match=f"{event.name} cannot happen to a job that is {phase.name}"):
            job.advance(event)
    else:
        job.advance(event)
        assert job.phase is following


def granted(core: InvokerCore, invocation_id: str = "a", lease: int = 1) -> Job:
    assert core.start(invocation_id, lease) is None
    job = core.grant()
    assert job is not None
    assert (job.invocation_id, job.lease) == (invocation_id, lease)
    return job


def fail(
    core: InvokerCore, job: Job, failed: AttemptFailure = FAILED, policy: RetryPolicy | None = None
) -> Retry | GaveUp:
    core.over(job, failed)
    core.task_ended(job)
    assert core.settled(job) is job
    return core.decide(job, policy or RetryPolicy(), 0)


def again(core: InvokerCore, job: Job) -> None:
    core.due(job.invocation_id, job.lease, job.attempt)
    assert core.grant() is job


def test_slots_are_given_in_order_and_given_back() -> None:
    core = InvokerCore(2)
    for name in "abc":
        core.start(name, 1)
    first, second = core.grant(), core.grant()
    assert first is not None
    assert second is not None
    assert [first.invocation_id, second.invocation_id] == ["a", "b"]
    assert core.grant() is None
    assert (core.ready_count, core.slots_free) == (1, 0)
    core.sent(first, has_entries=True, end=Finished())
    core.over(first, None)
    assert core.grant() is None, "a slot is held until the task is gone"
    core.task_ended(first)
    third = core.grant()
    assert third is not None
    assert third.invocation_id == "c"


def test_a_retry_waits_until_everything_sent_is_stored() -> None:
    core = InvokerCore(1)
    job = granted(core)
    core.sent(job, has_entries=True, end=None)
    core.sent(job, has_entries=True, end=None)
    core.over(job, FAILED)
    assert core.stored("a", 1) is None, "the task lives"
    core.task_ended(job)
    assert core.settled(job) is None, "one output is in flight"
    with pytest.raises(AssertionError, match="only after everything"):
        core.decide(job, RetryPolicy(), 0)
    assert core.stored("a", 1) is job
    assert isinstance(core.decide(job, RetryPolicy(), 0), Retry)


def test_the_policy_runs_out_and_says_how() -> None:
    for word, pause in ((OnMaxAttempts.PAUSE, True), (OnMaxAttempts.KILL, False)):
        core = InvokerCore(1)
        job = granted(core)
        policy = RetryPolicy(attempts_max=2, on_max_attempts=word)
        assert isinstance(fail(core, job, policy=policy), Retry)
        again(core, job)
        assert fail(core, job, policy=policy) == GaveUp(FAILED.failure, pause)


def test_a_policy_without_an_end_goes_on() -> None:
    core = InvokerCore(1)
    job = granted(core)
    policy = RetryPolicy(attempts_max=None)
    for _ in range(200):
        assert isinstance(fail(core, job, policy=policy), Retry)
        again(core, job)


def test_a_delay_asked_for_replaces_one_back_off_even_when_the_policy_is_exhausted() -> None:
    core = InvokerCore(1)
    job = granted(core)
    asked = AttemptFailure(Failure(500, "later"), retry_delay_ms=7)
    assert fail(core, job, asked, RetryPolicy(attempts_max=1)) == Retry(7)
    again(core, job)
    assert isinstance(fail(core, job, FAILED, RetryPolicy(attempts_max=1)), GaveUp)


def test_a_retry_without_a_pause_has_one() -> None:
    core = InvokerCore(1)
    asked = AttemptFailure(Failure(500, "at once"), retry_delay_ms=0)
    assert fail(core, granted(core), asked) == Retry(RETRY_DELAY_MS_MIN)


def test_the_retry_count_is_of_attempts_that_arrived_since_the_last_stored_command() -> None:
    core = InvokerCore(1)
    job = granted(core)
    fail(core, job)
    assert job.retry_count == 1
    again(core, job)
    fail(core, job, UNREACHED)
    assert job.retry_count == 1, "K1: what never arrived is not counted"
    again(core, job)
    fail(core, job)
    assert job.retry_count == 2
    again(core, job)
    core.sent(job, has_entries=True, end=None)
    core.stored("a", 1)
    fail(core, job)
    assert job.retry_count == 1, "a stored command starts the count anew"
    assert job.failures == 4, "the policy counts them all"


def test_a_back_off_of_an_earlier_attempt_or_lease_is_ignored() -> None:
    core = InvokerCore(1)
    job = granted(core)
    fail(core, job)
    core.due("a", 1, job.attempt - 1)
    core.due("a", 2, job.attempt)
    core.due("b", 1, 1)
    assert core.ready_count == 0
    core.due("a", 1, job.attempt)
    core.due("a", 1, job.attempt)
    assert core.ready_count == 1


def test_a_revoked_lease_is_forgotten_wherever_it_is() -> None:
    core = InvokerCore(1)
    core.start("a", 1)
    assert core.revoke("a", 1) is None
    assert core.job_count == core.ready_count == 0
    job = granted(core, "b")
    fail(core, job)
    assert core.revoke("b", 1) is None, "no attempt runs: nothing to cut"
    core.due("b", 1, 1)
    assert core.job_count == core.ready_count == 0
    running = granted(core, "c")
    assert core.revoke("c", 1) is running, "the attempt must be cut"
    assert core.job("c", 1) is None, "and speaks for nobody"
    core.over(running, None)
    core.task_ended(running)
    assert core.job_count == 0
    assert core.slots_free == 1


def test_a_stale_revocation_does_nothing() -> None:
    core = InvokerCore(1)
    granted(core, "a", 2)
    assert core.revoke("a", 1) is None
    assert core.job("a", 2) is not None


def test_a_new_lease_waits_for_the_old_attempts_task() -> None:
    core = InvokerCore(2)
    job = granted(core)
    core.sent(job, has_entries=True, end=Finished())
    core.over(job, None)
    assert core.start("a", 2) is job, "the old task must be cut"
    assert core.start("a", 2) is None
    assert core.grant() is None, "no attempt of lease 2 while one of lease 1 lives"
    core.stored("a", 1)
    core.task_ended(job)
    following = core.grant()
    assert following is not None
    assert (following.lease, following.attempt, following.failures) == (2, 1, 0)


def test_a_start_that_is_known_is_ignored() -> None:
    core = InvokerCore(1)
    core.start("a", 2)
    core.start("a", 2)
    core.start("a", 1)
    assert (core.job_count, core.ready_count) == (1, 1)


@given(
    first=st.integers(0, 10_000),
    factor=st.integers(1000, 10_000),
    longest=st.integers(0, 100_000),
    failures=st.integers(1, 100),
    jitter=st.integers(0, 2**32 - 1),
)
def test_a_delay_grows_to_its_bound_plus_jitter(
    first: int, factor: int, longest: int, failures: int, jitter: int
) -> None:
    policy = RetryPolicy(first, factor, longest)
    delay = delay_ms(policy, failures, jitter)
    assert 3 <= delay <= max(longest + 3, longest * 13 // 10)
    assert delay_ms(policy, failures + 1, jitter) >= delay


def test_the_delays_of_the_default_policy() -> None:
    assert [delay_ms(RetryPolicy(), n, 0) for n in (1, 2, 3, 8, 9, 50)] == [503, 1003, 2003, 60003, 60003, 60003]
    assert delay_ms(RetryPolicy(), 1, 2**32 - 1) == 649


def test_what_is_parked_holds_no_slot_and_counts_as_no_attempt() -> None:
    core = InvokerCore(1)
    first = granted(core, "a")
    core.park(first, "dp_1", "it is gone")
    assert (core.slots_free, core.parked_for, first.attempt, first.failures) == (1, ["dp_1"], 0, 0)
    other = granted(core, "b")
    core.unpark("dp_2")
    core.due("a", 1, 0)
    assert core.ready_count == 0
    core.unpark("dp_1")
    assert (core.ready_count, first.parked, core.parked_for) == (1, "", [])
    fail(core, other)
    assert core.grant() is first
    assert first.attempt == 1


def test_a_newer_lease_takes_what_is_parked_away() -> None:
    core = InvokerCore(2)
    parked, other = granted(core, "a"), granted(core, "b")
    core.park(parked, "dp_1", "it is gone")
    core.park(other, "dp_1", "it is gone")
    assert core.start("a", 2) is None
    assert core.revoke("b", 1) is None
    assert core.parked_for == []
    moved = core.grant()
    assert moved is not None
    assert (moved.invocation_id, moved.lease, moved.parked) == ("a", 2, "")
    assert core.job_count == 1


class Jobs(RuleBasedStateMachine):
    """Anything the effects may call, in any order: slots balance, leases only grow, nothing is left."""

    def __init__(self) -> None:
        super().__init__()
        self.core = InvokerCore(2)
        self.leases: dict[str, int] = {}
        self.running: list[Job] = []

    @rule(name=st.sampled_from("abcd"), step=st.integers(0, 2))
    def start(self, name: str, step: int) -> None:
        self.leases[name] = self.leases.get(name, 0) + step
        if self.leases[name]:
            self.core.start(name, self.leases[name])

    @rule(name=st.sampled_from("abcd"))
    def revoke(self, name: str) -> None:
        self.core.revoke(name, self.leases.get(name, 1))

    @rule()
    def grant(self) -> None:
        job = self.core.grant()
        if job is not None:
            assert all(other.invocation_id != job.invocation_id for other in self.running), "one attempt at a time"
            self.running.append(job)

    @precondition(lambda self: self.running)
    @rule(ends=st.booleans(), data=st.data())
    def finish(self, ends: bool, data: st.DataObject) -> None:
        job = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        if ends:
            self.core.sent(job, has_entries=True, end=Finished())
        self.core.over(job, None if ends or job.is_revoked else FAILED)
        stored_first = data.draw(st.booleans())
        if ends and stored_first:
            self.core.stored(job.invocation_id, job.lease)
        self.core.task_ended(job)
        settled = self.core.settled(job)
        if ends and not stored_first:
            settled = self.core.stored(job.invocation_id, job.lease)
        if settled is not None and ends:
            self.core.forget(settled)
        elif settled is not None:
            self.core.decide(settled, RetryPolicy(attempts_max=None), 0)
            self.core.due(job.invocation_id, job.lease, job.attempt)

    @rule(wanted=st.sampled_from("xy"))
    def park(self, wanted: str) -> None:
        job = self.core.grant()
        if job is not None:
            attempts = job.attempt
            self.core.park(job, wanted, "why")
            assert (job.attempt, job.parked) == (attempts - 1, "why")

    @rule(wanted=st.sampled_from("xy"))
    def unpark(self, wanted: str) -> None:
        self.core.unpark(wanted)
        assert wanted not in self.core.parked_for

    @invariant()
    def slots_balance(self) -> None:
        assert self.core.slots_free == 2 - len(self.running)
        assert sorted(job.invocation_id for job in self.core.holders()) == sorted(j.invocation_id for j in self.running)
        assert all(job.phase in HOLDS_SLOT for job in self.running)

    def teardown(self) -> None:
        for _ in range(20):
            for job in self.running:
                self.core.revoke(job.invocation_id, job.lease)
                self.core.over(job, None if job.is_revoked or job.has_ended else FAILED)
                self.core.task_ended(job)
            self.running = []
            for name, lease in self.leases.items():
                self.core.revoke(name, lease)
        assert (self.core.slots_free, self.core.ready_count, self.core.parked_for) == (2, 0, [])


TestJobs = Jobs.TestCase


def test_a_later_life_of_an_id_waits_for_the_earlier_ones_attempt() -> None:
    core = InvokerCore(1)
    core.start("a", 3, 10)
    job = core.grant()
    assert job is not None
    core.sent(job, has_entries=True, end=Finished())
    core.over(job, None)
    assert core.start("a", 1, 20) is job, "the attempt is cut"
    assert core.start("a", 4, 10) is None, "what is behind it is stale"
    core.task_ended(job)
    later = core.grant()
    assert later is not None
    assert (later.lease, later.birth) == (1, 20)
    core.sent(later, has_entries=True, end=None)
    assert core.stored("a", 1, 10) is None, "an output of the earlier life is not one of this"
    assert later.outputs_in_flight == 1
