"""P21, retries: how often and how soon an invocation is tried again follows from its policy.

Failures count from the lease on, and anew under each leader and in each life of an id.  A back-off is the policy's for
that many failures, and at most `JITTER_PERCENT` and a little more; whoever gives up has failed as often as the policy
says.  Delays that an endpoint asks for are its own, and do not end with the policy.

What an endpoint is told of tries of its next step, by which policies of steps go, are attempts that reached one: none
if there were none, and no more than there were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar, Final

from understudy_runtime.model.commands import AttemptOutput, GaveUp
from understudy_runtime.model.events import AttemptEnded, AttemptStarted, LeadershipTaken, RetryScheduled
from understudy_runtime.model.invocation import RetryPolicy

from understudy_sim.stage.happenings import Step
from understudy_sim.stage.watch import Handler, Property

FAILED: Final = ("failed", "lost", "rejected")
NEVER_REACHED: Final = "rejected"
JITTER_PERCENT: Final = 30
JITTER_MS: Final = 3


class Retries(Property):
    number: ClassVar[str] = "P21"
    claim: ClassVar[str] = "retries follow their policy"

    def handlers(self) -> Mapping[type, Handler]:
        self.asked_for: dict[str, int] = {}  # invocation -> tries its endpoint asked for
        self._epochs: dict[int, int] = {}  # partition -> that of its leader
        # What happened to an invocation, by (epoch, lease).
        self._delays_asked_for: dict[str, Counter[tuple[int, int]]] = {}
        self._failures: dict[str, Counter[tuple[int, int]]] = {}
        self._reached: dict[str, Counter[tuple[int, int]]] = {}  # failures of attempts that reached an endpoint
        return {
            AttemptStarted: self._attempt_started,
            AttemptEnded: self._attempt_ended,
            RetryScheduled: self._retry_scheduled,
            Step: self._step,
            LeadershipTaken: lambda event: self._epochs.__setitem__(event.partition, event.epoch),
        }

    def _attempt_started(self, event: AttemptStarted) -> None:
        id_ = event.invocation_id
        reached = self._reached.get(id_, Counter())[self._epochs.get(event.partition, 0), event.lease]
        if event.retry_count or reached:
            self.hit("tries told")
        if event.retry_count > reached or (reached and not event.retry_count):
            self.broken(f"{id_} is told of {event.retry_count} failed tries, {reached} attempts reached it", id_)

    def _attempt_ended(self, event: AttemptEnded) -> None:
        if event.how not in FAILED:
            return
        for counts in (self._failures,) if event.how == NEVER_REACHED else (self._failures, self._reached):
            counts.setdefault(event.invocation_id, Counter())[self._epochs.get(event.partition, 0), event.lease] += 1

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        id_ = event.invocation_id
        command = self.truth.commands.get(id_)
        lease = (self._epochs.get(event.partition, 0), event.lease)
        if not event.failures:
            self._delays_asked_for.setdefault(id_, Counter())[lease] += 1
            self.asked_for[id_] = self.asked_for.get(id_, 0) + 1
        if not event.failures or command is None:
            return
        self.hit("back-offs")
        failures = self._failures.get(id_, Counter())[lease]
        if event.failures != failures:
            self.broken(f"{id_} backs off for {event.failures} failures, there were {failures}", id_)
        delay_ms = back_off_ms(command.retry_policy, failures)
        if not delay_ms <= event.delay_ms <= delay_ms * (100 + JITTER_PERCENT) // 100 + JITTER_MS:
            self.broken(f"{id_} backs off {event.delay_ms} ms after {failures} failures, its policy: {delay_ms}", id_)

    def _step(self, step: Step) -> None:
        for accepted in step.effects.accepted:
            self._failures.pop(accepted.invocation_id, None)
            self._reached.pop(accepted.invocation_id, None)
            self._delays_asked_for.pop(accepted.invocation_id, None)
        command = step.record.command
        if type(command) is not AttemptOutput or not isinstance(command.end, GaveUp) or not step.effects.invocations:
            return
        id_ = command.invocation_id
        wanted = self.truth.commands[id_].retry_policy.attempts_max
        # Its leader may have died before this was known to be durable: the next one finds it.
        lease = (command.epoch, command.lease)
        failures = self._failures.get(id_, Counter())[lease]
        asked_for = self._delays_asked_for.get(id_, Counter())[lease]
        self.hit("given up")
        if wanted is None or not wanted <= failures <= wanted + asked_for:
            self.broken(f"{id_} gave up after {failures} failures, its policy says {wanted}", id_)


def back_off_ms(policy: RetryPolicy, failures: int) -> int:
    """The pause after so many failures, without jitter.

    >>> back_off_ms(RetryPolicy(delay_ms_first=100, factor_thousandths=2000, delay_ms_max=1000), 3)
    400
    """
    delay_ms = policy.delay_ms_first
    for _ in range(failures - 1):
        if delay_ms >= policy.delay_ms_max:
            break
        delay_ms = max(delay_ms + 1, delay_ms * policy.factor_thousandths // 1000)
    return min(delay_ms, policy.delay_ms_max)
