"""P17, promptness: in a healthy system, what can go on goes on within `GRACE_NS`.

A wake-up that was lost is often made up for later, by a time-out, a poll or a client that asks again, and no result is
wrong: only time is lost.  Each of these must follow its cause soon:

- an attempt after its lease began, after its back-off and after a restart; where it must queue for a slot, after one
  came free or those who hold them had nothing to do but wait (`slots.py`);
- an attempt that waits for the server goes on once all it waits for is in its journal;
- an attempt does something after the function of a step of it has ended;
- the end of an attempt after the time-outs of its handler, and when it only waits after the first of them;
- the record of a timer after the timer is due, and the arrival of a message after it was put into the outbox;
- the answer to a client after what it asks for has ended, or after it asked where it only sends or looks.

Only healthy time counts: a fault, and what it leaves behind at connections that were open, explains any delay.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs
from understudy.protocol.messages import MessageType
from understudy_runtime.limits import Limits
from understudy_runtime.model.actions import (
    AbortAttempt,
    Action,
    ArmTimer,
    Completed,
    DisarmTimer,
    Notify,
    Send,
    StartAttempt,
)
from understudy_runtime.model.commands import AttemptOutput, Delivered, TimerFired
from understudy_runtime.model.events import (
    AttemptEnded,
    AttemptParked,
    AttemptStarted,
    LeadershipTaken,
    RetryScheduled,
)
from understudy_runtime.model.invocation import Failure, HandlerType

from understudy_sim.kernel.clock import NS_PER_MS
from understudy_sim.kernel.loop import Loop
from understudy_sim.kernel.runner import Timer
from understudy_sim.stage.happenings import (
    Answered,
    Asking,
    AttemptWaits,
    BodyStarted,
    EndpointStopped,
    ServerStopped,
    Step,
    StepEnded,
    StepExecuted,
    Unanswered,
)
from understudy_sim.stage.history import Asked
from understudy_sim.stage.model_words import Note
from understudy_sim.stage.operations import Attach, Call
from understudy_sim.stage.properties.patience import Patience
from understudy_sim.stage.properties.slots import Slots
from understudy_sim.stage.tally import Tally
from understudy_sim.stage.watch import Handler, Property

GRACE_NS: Final = 5_000 * NS_PER_MS
# With fewer connections than this, clients may have to wait for one.
CONNECTIONS_PLENTY: Final = 1_000
CANCEL: Final = -1
# How the SDK numbers the ways futures are joined.
FIRST_COMPLETED: Final = 1
ALL_COMPLETED: Final = 2
FIRST_SUCCEEDED: Final = 3
# An answer that is known, and one that a record gives, behind all that was to be recorded before.
ANSWER: Final = "answer"
BY_RECORD: Final = "answer by a record"
# What is expected of a body, and of an attempt.
OF_BODIES: Final = ("wait", "step", "idle")
OF_ATTEMPTS: Final = (*OF_BODIES, "silent")


@attrs.frozen
class _Expected:
    """Something that is to follow.

    Where it needs a connection, that is as old as `connected_ns`: trouble it has seen may last as long as it does.
    Whoever judges a delay by a clock, as a timer's, wants that to be right from `asked_ns` on.
    """

    what: str
    asked_ns: int
    since_ns: int
    invocation_id: str
    timer: Timer
    connected_ns: int | None
    due_ms: int = 0  # of a timer, by the server's clock


@attrs.define
class _Waiting:
    attempt: int
    tree: Any


class Promptness(Property):
    number: ClassVar[str] = "P17"
    claim: ClassVar[str] = "what can go on goes on at once"

    def handlers(self) -> Mapping[type, Handler]:
        self._loop: Loop | None = None
        self._tally: Tally | None = None
        self._wall_ms: Callable[[], int] = lambda: 0
        self._slots = Slots(1)
        self._has_connections = True
        self._partitions: dict[str, int] = {}  # who is to be run -> where
        self._patience = Patience(Limits(), ())
        self._drain_ns = 0
        self._recheck_ns = 0
        self._expected: dict[Hashable, _Expected] = {}
        self._running: dict[str, int] = {}  # invocation -> when the attempt the server believes in began
        self._waiting: dict[str, _Waiting] = {}
        self._newest: dict[str, int] = {}  # invocation -> its newest attempt at an endpoint
        self._known: dict[str, dict[int | str, bool]] = {}  # invocation -> what came to it: whether it is a failure
        self._read: dict[tuple[str, int], int] = {}  # journal entries looked at of an invocation's life
        self._clients: dict[str, dict[int, Asking]] = {}  # invocation -> who asks for it
        self._ended: set[str] = set()  # invocations that are over
        self._down_ns = -1
        self._stepped_ns = -GRACE_NS  # when a record was applied last
        self._actions: Mapping[type, Callable[[int, Any], object]] = {
            StartAttempt: self._to_start,
            Notify: lambda _, action: self._heard(action.invocation_id),
            AbortAttempt: lambda _, action: self._met(("start", action.invocation_id)),
            Completed: lambda _, action: self._met(("start", action.invocation_id)),
            ArmTimer: self._armed,
            DisarmTimer: lambda partition, action: self._met(("timer", partition, action.timer_id)),
            Send: self._sent,
        }
        return {
            Step: self._step,
            AttemptStarted: self._attempt_started,
            AttemptParked: lambda event: self._met(("start", event.invocation_id)),
            AttemptEnded: self._attempt_ended,
            RetryScheduled: self._retry_scheduled,
            LeadershipTaken: lambda event: self._asked_for(event.partition, event.outstanding),
            ServerStopped: self._server_stopped,
            EndpointStopped: self._endpoint_stopped,
            BodyStarted: self._body_started,
            StepExecuted: self._step_executed,
            StepEnded: self._step_ended,
            AttemptWaits: self._attempt_waits,
            Asking: self._asking,
            Answered: lambda event: self._asks_no_more(event.asked),
            Unanswered: lambda event: self._asks_no_more(event.asked),
        }

    def watches(
        self,
        loop: Loop,
        limits: Limits,
        tally: Tally,
        wall_ms: Callable[[], int],
        manifests: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Measure by the time of *loop*; *tally* knows the faults, *wall_ms* is the server's clock.

        The applications under rehearsal offer *manifests*.
        """
        self._loop, self._tally, self._wall_ms = loop, tally, wall_ms
        self._slots = Slots(limits.attempts_max)
        self._has_connections = limits.connections_max >= CONNECTIONS_PLENTY
        self._patience = Patience(limits, manifests)
        self._drain_ns = limits.drain_timeout_ms * NS_PER_MS
        self._recheck_ns = limits.timer_recheck_ms * NS_PER_MS

    # --- what is to follow what --------------------------------------------------------------------------------

    def _expect(
        self,
        key: Hashable,
        what: str,
        *,
        after_ns: int = 0,
        connected_ns: int | None = None,
        invocation_id: str = "",
        due_ms: int = 0,
    ) -> None:
        if self._loop is None:
            return
        self._met(key)
        since_ns = self._loop.now_ns + after_ns
        timer = self._loop.call_at(since_ns + GRACE_NS, self._overdue, key)
        self._expected[key] = _Expected(what, self._loop.now_ns, since_ns, invocation_id, timer, connected_ns, due_ms)

    def _met(self, key: Hashable) -> None:
        expected = self._expected.pop(key, None)
        if expected is not None and self._loop is not None:
            self._loop.cancel_timer(expected.timer)

    def _no_more(self, id_: str, kinds: Sequence[str]) -> None:
        for kind in kinds:
            self._met((kind, id_))

    def _overdue(self, key: Hashable) -> None:
        expected = self._expected.pop(key)
        assert self._loop is not None, "timers are the loop's"
        again_ns = self._due_again_ns(expected) if expected.due_ms else 0
        if isinstance(key, tuple):
            id_ = expected.invocation_id
            if key[0] == "start":
                again_ns = self._slot_due_ns(id_)
            elif key[0] == BY_RECORD:
                again_ns = self._stepped_ns + GRACE_NS
            elif key[0] == "idle" and not self._slots.is_idle(id_):
                return
        if again_ns > self._loop.now_ns:
            self._expected[key] = attrs.evolve(expected, timer=self._loop.call_at(again_ns, self._overdue, key))
            return
        well_ns = self._well_since_ns()
        if expected.connected_ns is not None:
            if well_ns > expected.connected_ns:
                return
        elif well_ns > expected.since_ns:
            timer = self._loop.call_at(max(well_ns + GRACE_NS, self._loop.now_ns + 1), self._overdue, key)
            self._expected[key] = attrs.evolve(expected, since_ns=well_ns, timer=timer)
            return
        late_ms = (self._loop.now_ns - expected.since_ns) // NS_PER_MS
        self.broken(f"{expected.what}: nothing came of it in {late_ms} ms", expected.invocation_id)

    def _slot_due_ns(self, id_: str) -> int:
        """When it is too late for whoever waits for a slot."""
        assert self._loop is not None, "it watches a run"
        partition, now_ns = self._partitions[id_], self._loop.now_ns
        due_ns = self._slots.due_ns(partition, now_ns, self._well_since_ns(), self._may_go_on)
        if due_ns > now_ns:
            self.hit("attempts that waited for a slot")
        return due_ns

    def _due_again_ns(self, expected: _Expected) -> int:
        """When a timer is late by a clock that was moved, or went at another rate, since it was armed or just before.

        The server looks at its clock again every `timer_recheck_ms`.  0 for a clock that was right.
        """
        assert self._tally is not None, "it watches a run"
        assert self._loop is not None, "it watches a run"
        right_since_ns = self._right_since_ns()
        if right_since_ns < 0 or right_since_ns + self._recheck_ns < expected.asked_ns:
            return 0
        self.hit("timers by clocks that were moved")
        wait_ns = max(0, expected.due_ms - self._wall_ms()) * NS_PER_MS
        from_ns = self._loop.now_ns + wait_ns if wait_ns else max(right_since_ns, expected.since_ns)
        return from_ns + self._recheck_ns + GRACE_NS

    def _timer_fired(self, partition: int, command: TimerFired) -> None:
        """It may come late by a clock that went ahead, but not when that has been right, and all well, for long."""
        assert self._loop is not None, "it watches a run"
        key = ("timer", partition, command.timer_id)
        expected = self._expected.get(key)
        if expected is not None:
            late_ms = self._wall_ms() - command.due_ms
            noticed_ns = self._recheck_ns + GRACE_NS
            # Most are in time: only for a late one is it worth looking through all faults.
            if late_ms * NS_PER_MS > noticed_ns and self._settled_ns(expected) + noticed_ns < self._loop.now_ns:
                self.broken(f"{expected.what}: it fired {late_ms} ms late by a clock that is looked at more often")
        self._met(key)

    def _settled_ns(self, expected: _Expected) -> int:
        """Since when the timer was armed, the clock right and all well."""
        return max(self._right_since_ns(), self._well_since_ns(), expected.asked_ns)

    def _right_since_ns(self) -> int:
        """When a clock was last moved, or went at another rate; -1 when none was."""
        assert self._tally is not None, "it watches a run"
        clocks = (one for one in self._tally.firings if one.kind.startswith("clock"))
        return max((one.at_ns + one.lasts_ns for one in clocks), default=-1)

    def _well_since_ns(self) -> int:
        """Since when nothing has gone wrong."""
        assert self._tally is not None, "it watches a run"
        assert self._loop is not None, "it watches a run"
        if self._tally.lasts():
            return self._loop.now_ns + 1
        last_ns = max(self._down_ns, self._tally.ended_ns)
        for firing in self._tally.firings:
            if not firing.kind.startswith("provider_"):
                # Who is told to stop begins nothing new, for as long as it has for what is under way.
                drains_ns = self._drain_ns if firing.kind.endswith("_drain") else 0
                last_ns = max(last_ns, firing.at_ns + firing.lasts_ns + drains_ns)
        return last_ns + 1

    # --- the server --------------------------------------------------------------------------------------------

    def _step(self, step: Step) -> None:
        self._stepped_ns = self.watch.now_ns
        command = step.record.command
        if type(command) is AttemptOutput:
            self._met(("step", command.invocation_id))
            self._heard(command.invocation_id)
        elif type(command) is TimerFired:
            self._timer_fired(step.partition, command)
        elif type(command) is Delivered:
            self._met(("send", command.source_partition, step.partition, command.sequence))
        self._asked_for(step.partition, step.actions)
        for accepted in step.effects.accepted:
            self._begins(accepted.invocation_id)
        for id_ in step.effects.completed:
            self._ends(id_)
        for id_ in step.effects.invocations:
            if id_ in self._waiting:
                self._look(id_)

    def _asked_for(self, partition: int, actions: Sequence[Action]) -> None:
        for action in actions:
            then = self._actions.get(type(action))
            if then is not None:
                then(partition, action)

    def _to_start(self, partition: int, action: StartAttempt) -> None:
        id_ = action.invocation_id
        self._partitions[id_] = partition
        self._expect(("start", id_), f"{id_} was to be run", invocation_id=id_)

    def _sent(self, partition: int, action: Send) -> None:
        target, sequence = action.target_partition, action.sequence
        what = f"partition {partition} sent message {sequence} to partition {target}"
        self._expect(("send", partition, target, sequence), what)

    def _armed(self, partition: int, action: ArmTimer) -> None:
        wait_ns = max(0, action.due_ms - self._wall_ms()) * NS_PER_MS
        what = f"timer {action.timer_id} of partition {partition} was due"
        self._expect(("timer", partition, action.timer_id), what, after_ns=wait_ns, due_ms=action.due_ms)

    def _attempt_started(self, event: AttemptStarted) -> None:
        self.hit("attempts begun")
        self._met(("start", event.invocation_id))
        self._running[event.invocation_id] = self.watch.now_ns
        self._slots.taken(event.partition, event.invocation_id, self.watch.now_ns)
        self._heard(event.invocation_id)

    def _attempt_ended(self, event: AttemptEnded) -> None:
        id_ = event.invocation_id
        self._running.pop(id_, None)
        self._slots.left(event.partition, id_, self.watch.now_ns)
        timed_out = (self._expected.get((kind, id_)) for kind in ("idle", "silent"))
        if any(one is not None and one.since_ns <= self.watch.now_ns for one in timed_out):
            self.hit("time-outs")
        self._no_more(id_, OF_ATTEMPTS)

    def _heard(self, id_: str) -> None:
        """A message of the attempt of *id_* has passed: from now on its silence counts."""
        command = self.truth.commands.get(id_)
        if id_ not in self._running or command is None:
            return
        allowed = self._patience.with_handler(command.target)
        what = f"the attempt of {id_} is silent for longer than its time-outs allow"
        self._expect(("silent", id_), what, after_ns=allowed.inactivity_ns + allowed.abort_ns, invocation_id=id_)
        if id_ in self._waiting:
            self._idle(id_)

    def _idle(self, id_: str) -> None:
        """The attempt of *id_* only waits: unless something comes it is asked to suspend."""
        after_ns = self._patience.with_handler(self.truth.commands[id_].target).inactivity_ns
        what = f"the attempt of {id_} waits for longer than its inactivity time-out"
        connected_ns = self._running[id_]
        self._expect(("idle", id_), what, after_ns=after_ns, connected_ns=connected_ns, invocation_id=id_)

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        id_ = event.invocation_id
        self._partitions[id_] = event.partition
        after_ns = event.delay_ms * NS_PER_MS
        self._expect(("start", id_), f"{id_} was to be tried again", after_ns=after_ns, invocation_id=id_)

    def _server_stopped(self, _: ServerStopped) -> None:
        self._down_ns = self.watch.now_ns
        self._running.clear()
        self._slots.all_left()
        for key in list(self._expected):
            self._met(key)

    # --- the endpoint ------------------------------------------------------------------------------------------

    def _endpoint_stopped(self, _: EndpointStopped) -> None:
        self._down_ns = self.watch.now_ns
        self._waiting.clear()
        for key in [key for key in self._expected if isinstance(key, tuple) and key[0] in OF_BODIES]:
            self._met(key)

    def _body_started(self, event: BodyStarted) -> None:
        """Nothing is expected any more of those before it, which may run on for a while."""
        id_ = event.invocation_id
        if self._is_newest(event.body, id_):
            self._slots.begins(id_)
            self._waiting.pop(id_, None)
            self._no_more(id_, OF_BODIES)

    def _step_executed(self, event: StepExecuted) -> None:
        self._met(("step", event.invocation_id))
        if event.attempt and self._is_newest(event.attempt, event.invocation_id):
            self._slots.step(event.invocation_id, 1)

    def _step_ended(self, event: StepEnded) -> None:
        id_ = event.invocation_id
        if self._is_newest(event.attempt, id_):
            self._slots.step(id_, -1)
        if self._is_newest(event.attempt, id_) and id_ in self._running:
            self.hit("steps ended")
            self._expect(
                ("step", id_), f"a step of {id_} has ended", connected_ns=self._running[id_], invocation_id=id_
            )

    def _attempt_waits(self, event: AttemptWaits) -> None:
        id_ = event.invocation_id
        if not self._is_newest(event.attempt, id_):
            return
        self._no_more(id_, OF_BODIES)
        if event.tree is None:
            self._waiting.pop(id_, None)
            self._slots.goes_on(id_)
            return
        self._slots.waits(id_, self.watch.now_ns)
        self._waiting[id_] = _Waiting(event.attempt, event.tree)
        if id_ in self._running:
            self._idle(id_)
        self._look(id_)

    def _is_newest(self, attempt: int, invocation_id: str) -> bool:
        newest = self._newest[invocation_id] = max(attempt, self._newest.get(invocation_id, 0))
        return newest == attempt

    def _look(self, id_: str) -> None:
        """Whether *id_* waits for what has come."""
        if id_ not in self._running or ("wait", id_) in self._expected:
            return
        if self._may_go_on(id_):
            self.hit("waits that are over")
            what = f"{id_} waits for what is in its journal"
            self._expect(("wait", id_), what, connected_ns=self._running[id_], invocation_id=id_)

    def _may_go_on(self, id_: str) -> bool:
        """Whether all that *id_* waits for has come."""
        return id_ in self._waiting and is_over(self._waiting[id_].tree, self._came(id_))

    def _came(self, id_: str) -> dict[int | str, bool]:
        """What is in the journal of *id_*: the key of each notification, and whether it is a failure."""
        inv = next((model.invocations[id_] for model in self.truth.models if id_ in model.invocations), None)
        if inv is None:
            return {}
        life = (id_, inv.birth)
        read = self._read.get(life, 0)
        if not read:
            self._known[id_] = {}  # An id may live again.
        known = self._known[id_]
        self._read[life] = len(inv.journal)
        for entry in inv.journal[read:]:
            if isinstance(entry, Note):
                is_signal = entry.type == MessageType.SIGNAL_NOTIFICATION
                key = -entry.answers if is_signal and isinstance(entry.answers, int) else entry.answers
                known[key] = isinstance(entry.says, Failure)
        return known

    # --- clients -----------------------------------------------------------------------------------------------

    def _asking(self, event: Asking) -> None:
        asked = event.asked
        operation = asked.operation
        if not self._has_connections:
            return
        if isinstance(operation, Call) and operation.one_way:
            self._answer_expected(event, BY_RECORD)
        elif isinstance(operation, Attach) and not operation.wait:
            self._answer_expected(event)
        elif asked.invocation_id:
            self._clients.setdefault(asked.invocation_id, {})[asked.ordinal] = event
            if self._conflicts(asked):
                self._answer_expected(event, BY_RECORD)
            elif asked.invocation_id in self._ended:
                self._answer_expected(event)

    def _conflicts(self, asked: Asked) -> bool:
        """Whether a workflow is asked to run that has run, or does: that is refused at once."""
        id_ = asked.invocation_id
        command = self.truth.commands.get(id_)
        is_run = command is not None and command.handler_type is HandlerType.WORKFLOW
        return is_run and asked.attach is None and any(id_ in model.invocations for model in self.truth.models)

    def _asks_no_more(self, asked: Asked) -> None:
        self._answered(asked.ordinal)
        self._clients.get(asked.invocation_id, {}).pop(asked.ordinal, None)

    def _answered(self, ordinal: int) -> None:
        for kind in (ANSWER, BY_RECORD):
            self._met((kind, ordinal))

    def _begins(self, id_: str) -> None:
        """An id may live again: who asks for it then waits for its new end."""
        self._ended.discard(id_)
        for ordinal in self._clients.get(id_, ()):
            self._answered(ordinal)

    def _ends(self, id_: str) -> None:
        self._ended.add(id_)
        for event in self._clients.get(id_, {}).values():
            self._answer_expected(event)

    def _answer_expected(self, event: Asking, kind: str = ANSWER) -> None:
        asked = event.asked
        self.hit("clients to be answered")
        what = f"{asked.operation} was to be answered"
        key = (kind, asked.ordinal)
        self._expect(key, what, connected_ns=event.connected_ns, invocation_id=asked.invocation_id)


def is_over(tree: Any, came: Mapping[int | str, bool]) -> bool:
    """Whether a wait for *tree*, a key or (combinator, children), is over when *came* has come.

    >>> is_over((FIRST_COMPLETED, (1, (ALL_COMPLETED, (2, 3)))), {2: False, 3: True})
    True
    """
    return _standing(tree, came) is not None


def _standing(tree: Any, came: Mapping[int | str, bool]) -> bool | None:
    """None: open; else whether it failed."""
    if not isinstance(tree, tuple):
        return None if tree == CANCEL else came.get(tree)
    combinator, children = tree
    standings = [_standing(child, came) for child in children]
    settled = [one for one in standings if one is not None]
    if combinator == FIRST_COMPLETED:
        return settled[0] if settled else None
    if combinator == ALL_COMPLETED:
        return False if len(settled) == len(standings) else None
    ends_it: bool = combinator != FIRST_SUCCEEDED  # all succeeded or the first failed
    if ends_it in settled:
        return ends_it
    return (not ends_it) if len(settled) == len(standings) else None
