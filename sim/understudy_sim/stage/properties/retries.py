"""P21, retries: how often and how soon an invocation is tried again follows from its policy.

Failures count from the lease on, and anew under each leader.  A back-off is the policy's for that many failures, and at
most `JITTER_PERCENT` and a little more; whoever gives up has failed as often as the policy says.  Delays that an
endpoint asks for are its own, and do not end with the policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from understudy_runtime.model.commands import AttemptOutput, GaveUp
from understudy_runtime.model.events import AttemptEnded, RetryScheduled
from understudy_runtime.model.invocation import RetryPolicy

from understudy_sim.stage.happenings import ServerStopped, Step
from understudy_sim.stage.watch import Handler, Property

FAILED: Final = ("failed", "lost", "rejected")
JITTER_PERCENT: Final = 30
JITTER_MS: Final = 3


class Retries(Property):
    number: ClassVar[str] = "P21"
    claim: ClassVar[str] = "retries follow their policy"

    def handlers(self) -> Mapping[type, Handler]:
        self.asked_for: dict[str, int] = {}  # invocation -> tries its endpoint asked for
        self._asked_for: dict[tuple[str, int], int] = {}  # those of a lease
        self._failures: dict[tuple[str, int], int] = {}
        return {
            AttemptEnded: self._attempt_ended,
            RetryScheduled: self._retry_scheduled,
            Step: self._step,
            ServerStopped: lambda _: self._failures.clear(),
        }

    def _attempt_ended(self, event: AttemptEnded) -> None:
        if event.how in FAILED:
            lease = (event.invocation_id, event.lease)
            self._failures[lease] = self._failures.get(lease, 0) + 1

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        id_ = event.invocation_id
        command = self.truth.commands.get(id_)
        if not event.failures:
            lease = (id_, event.lease)
            self._asked_for[lease] = self._asked_for.get(lease, 0) + 1
            self.asked_for[id_] = self.asked_for.get(id_, 0) + 1
        if not event.failures or command is None:
            return
        self.hit("back-offs")
        failures = self._failures.get((id_, event.lease), 0)
        if event.failures != failures:
            self.broken(f"{id_} backs off for {event.failures} failures, there were {failures}", id_)
        delay_ms = back_off_ms(command.retry_policy, failures)
        if not delay_ms <= event.delay_ms <= delay_ms * (100 + JITTER_PERCENT) // 100 + JITTER_MS:
            self.broken(f"{id_} backs off {event.delay_ms} ms after {failures} failures, its policy: {delay_ms}", id_)

    def _step(self, step: Step) -> None:
        command = step.record.command
        if type(command) is not AttemptOutput or not isinstance(command.end, GaveUp) or not step.effects.invocations:
            return
        id_ = command.invocation_id
        wanted = self.truth.commands[id_].retry_policy.attempts_max
        failures = self._failures.get((id_, command.lease), 0)
        self.hit("given up")
        asked_for = self._asked_for.get((id_, command.lease), 0)
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
