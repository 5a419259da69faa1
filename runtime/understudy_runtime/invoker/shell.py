"""Attempts as tasks: one task each, a cancel scope to cut it, one more task for all back-offs and timeouts.

Who runs, when to retry and what frames mean is decided in `core.py` and `attempt.py`.  `pump` must be called between
steps of the partition only (after a batch's actions, or from a task's own turn): it builds start messages.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import attrs
import trio
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType

from understudy_runtime.invoker.attempt import AttemptCore, Step, entropy_bytes
from understudy_runtime.invoker.core import AttemptFailure, InvokerCore, Job, Retry
from understudy_runtime.invoker.placement import Parked, Placement, has_output, is_current, is_reachable, place
from understudy_runtime.invoker.port import AttemptHead, AttemptStream, Transport, TransportError
from understudy_runtime.invoker.timeouts import YIELD_IDLE_MS, Timeouts
from understudy_runtime.limits import Limits
from understudy_runtime.machine.start import start_message
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model.actions import AbortAttempt, Notify, StartAttempt
from understudy_runtime.model.commands import AttemptEnd, AttemptOutput, Command, GaveUp, Suspend
from understudy_runtime.model.events import AttemptEnded, AttemptParked, AttemptStarted, Observe, RetryScheduled
from understudy_runtime.model.invocation import Failure
from understudy_runtime.model.schema import Schema
from understudy_runtime.slot import Slot
from understudy_runtime.world import World

LOST: Final = 500
# How often it is looked whether what attempts are parked for has come (back).
PARKED_LOOK_MS: Final = 5_000


class Leader(Protocol):
    """The partition an invoker works for."""

    @property
    def index(self) -> int: ...

    @property
    def epoch(self) -> int: ...

    @property
    def has_room(self) -> bool: ...

    @property
    def tables(self) -> Tables: ...

    def propose(self, command: Command) -> None: ...


@attrs.define(eq=False)
class Attempt:
    """One running attempt: what a transport calls back, and the server's sending half."""

    invoker: Invoker
    job: Job
    core: AttemptCore
    placement: Placement
    timeouts: Timeouts
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    stream: AttemptStream | None = None
    outgoing: list[Frame] = attrs.field(factory=list)
    is_over: bool = False

    def opened(self, stream: AttemptStream) -> None:
        assert self.stream is None, "an exchange opens once"
        self.stream = stream
        self.flush()
        if self.timeouts.has_closed or self.is_over:
            stream.close_send()

    def received(self, frames: Sequence[Frame]) -> None:
        """Frames from the SDK: into one command.  What comes after the end is nobody's."""
        if not self.is_over:
            self.invoker.received(self, frames)

    async def room(self) -> None:
        """Wait while the partition's queue is full."""
        while not self.invoker.has_room:
            await self.invoker.wait_for_room()

    def flush(self) -> None:
        """Send what was notified since the last flush, in one piece."""
        if self.outgoing and self.stream is not None:
            frames, self.outgoing = self.outgoing, []
            self.stream.send(frames)

    def close_send(self) -> None:
        """Ask the SDK to suspend at its next wait."""
        if self.stream is not None:
            self.stream.close_send()


class Invoker:
    """The attempts of one partition.  Call `run` in a task before anything is started."""

    def __init__(
        self,
        leader: Leader,
        *,
        world: World,
        limits: Limits,
        observe: Observe,
        transports: Mapping[str, Transport],
        schema: Callable[[], Schema],
    ) -> None:
        self._leader = leader
        self._world = world
        self._limits = limits
        self._observe = observe
        self._transports = transports
        self._schema = schema
        self._core = InvokerCore(limits.attempts_max)
        self._running: dict[str, Attempt] = {}
        self._to_flush: list[Attempt] = []
        # Commands whose SDK wants to know that they are stored, as they were proposed.
        self._unacked: deque[tuple[AttemptOutput, Attempt, Sequence[int]]] = deque()
        self._back_offs: list[tuple[int, int, str, int, int]] = []
        self._sequence = 0
        self._sweep_due_ms: float = math.inf
        self._ask_due_ms = 0
        self._parked_due_ms: float = math.inf
        self._slot = Slot()
        self._nursery: trio.Nursery | None = None
        self._is_closing = False
        self._waiting_for_room: list[Slot] = []

    @property
    def has_room(self) -> bool:
        """Whether attempts may propose more."""
        return self._leader.has_room

    @property
    def running_count(self) -> int:
        """Attempts whose task lives."""
        return len(self._running)

    @property
    def job_count(self) -> int:
        """Leases that are not settled: queued, running, backing off."""
        return self._core.job_count

    def job(self, invocation_id: str, lease: int) -> Job | None:
        """The work on exactly this lease, to look at."""
        return self._core.job(invocation_id, lease)

    def retry_at_ms(self, job: Job) -> int:
        """When *job*, which backs off, is tried again, by the wall clock as it is now."""
        return self._world.now_ms() + max(0, job.due_ms - self._now_ms())

    # What the partition's effects call.

    def start(self, action: StartAttempt) -> None:
        self._cut(self._core.start(action.invocation_id, action.lease, action.birth))

    def abort(self, action: AbortAttempt) -> None:
        self._cut(self._core.revoke(action.invocation_id, action.lease))

    def notify(self, action: Notify) -> None:
        """Have an entry sent with the next `pump`.  An attempt not begun yet finds it in its journal."""
        attempt = self._running.get(action.invocation_id)
        if attempt is None or attempt.job.lease != action.lease or attempt.is_over:
            return
        self._send_soon(attempt, Frame(action.entry.type, action.entry.payload))

    def _send_soon(self, attempt: Attempt, frame: Frame) -> None:
        if not attempt.outgoing:
            self._to_flush.append(attempt)
        attempt.outgoing.append(frame)

    def stored(self, command: AttemptOutput) -> None:
        if self._unacked and self._unacked[0][0] is command:
            self._acknowledge(*self._unacked.popleft())
        if command.epoch == self._leader.epoch:
            self._settle(self._core.stored(command.invocation_id, command.lease, command.birth))

    def _acknowledge(self, command: AttemptOutput, attempt: Attempt, indexes: Sequence[int]) -> None:
        """Tell an SDK that asked which of its commands are stored, unless they came too late to count."""
        job = attempt.job
        invocation = self._leader.tables.invocation(job.invocation_id)
        if attempt.is_over or job.is_revoked or not is_current(invocation, job.lease, job.birth):
            return
        for index in indexes:
            payload = pb.CommandAck(command_index=index).SerializeToString()
            self._send_soon(attempt, Frame(int(MessageType.COMMAND_ACK), payload))

    def pump(self) -> None:
        """Send what was notified and begin the attempts that have a slot."""
        if self._waiting_for_room and self._leader.has_room:
            waiting, self._waiting_for_room = self._waiting_for_room, []
            for slot in waiting:
                slot.wake()
        if self._to_flush:
            flushing, self._to_flush = self._to_flush, []
            now_ms = self._now_ms()
            for attempt in flushing:
                attempt.timeouts.heard(now_ms)
                attempt.flush()
        while self._nursery is not None and not self._is_closing and (job := self._core.grant()) is not None:
            self._begin(job)
        if self._core.ready_count:
            self._ask_waiting_attempts()

    def close_all(self) -> None:
        """Ask every attempt to suspend, and begin none any more (the server stops)."""
        self._is_closing = True
        for attempt in self._running.values():
            attempt.timeouts.closed(self._now_ms())
            attempt.close_send()

    async def wait_for_room(self) -> None:
        """Park an attempt's task until a batch has left the queue."""
        slot = Slot()
        self._waiting_for_room.append(slot)
        await slot.park()

    # Tasks.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the attempts' tasks and serve back-offs and timeouts, for ever."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                while True:
                    next_ms = self._serve_due(self._now_ms())
                    await self._slot.park_until(next_ms / 1000)
            finally:
                # The node is ending; a partition may still take its last step before it is cut, too.
                self._nursery = None

    async def _run_attempt(self, attempt: Attempt, head: AttemptHead, frames: Sequence[Frame]) -> None:
        """The attempt's task: the transport does the talking."""
        with attempt.scope:
            try:
                await attempt.placement.transport.run(head, frames, attempt)
                failed = attempt.core.closed()
            except TransportError as error:
                # After the end the SDK sent, nothing of the stream matters any more.
                failed = None if attempt.is_over else lost(error)
            if failed is not None:
                self._over(attempt, None, failed)
        self._task_ended(attempt)

    # One attempt.

    def _begin(self, job: Job) -> None:
        """Start the next attempt of *job*, unless its lease is over."""
        tables = self._leader.tables
        invocation = tables.invocation(job.invocation_id)
        if invocation is None or not is_current(invocation, job.lease, job.birth):
            self._core.discard(job)
            return
        placement = place(invocation, self._schema(), self._transports)
        if isinstance(placement, Parked):
            self._park(job, placement)
            return
        if isinstance(placement, AttemptFailure):
            self._core.over(job, placement)
            self._tell_ended(job, placement.how, placement.failure)
            self._core.task_ended(job)
            self._settle(self._core.settled(job))
            return
        assert self._nursery is not None, "run comes first"
        now_ms = self._world.now_ms()
        frames = start_message(
            tables,
            job.invocation_id,
            retry_count=job.retry_count,
            now_ms=now_ms,
            eager_state_bytes_max=placement.eager_state_bytes_max(self._limits),
        )
        core = AttemptCore(invocation, self._limits, journal_has_output=has_output(frames))
        timeouts = Timeouts.for_handler(placement.handler, self._limits, self._now_ms())
        attempt = Attempt(self, job, core, placement, timeouts)
        job.runner = attempt
        self._running[job.invocation_id] = attempt
        self._observe(
            AttemptStarted(
                self._leader.index, job.invocation_id, job.lease, job.attempt, len(frames) - 1, job.retry_count
            )
        )
        head = AttemptHead(job.invocation_id, invocation.target, placement.protocol_version, placement.deployment_id)
        self._sweep_by(timeouts.due_ms)
        self._nursery.start_soon(self._run_attempt, attempt, head, frames)

    def _park(self, job: Job, parked: Parked) -> None:
        """Let *job* wait for what is not there."""
        self._core.park(job, parked.wanted, parked.reason)
        self._observe(AttemptParked(self._leader.index, job.invocation_id, job.lease, parked.reason))
        if self._parked_due_ms == math.inf:
            self._parked_due_ms = self._now_ms() + PARKED_LOOK_MS
            self._slot.wake_before(self._parked_due_ms / 1000)

    def received(self, attempt: Attempt, frames: Sequence[Frame]) -> None:
        """One flush of an attempt's SDK becomes one command."""
        attempt.timeouts.heard(self._now_ms())
        draws = entropy_bytes(frames)
        step = attempt.core.received(
            frames,
            self._schema(),
            now_ms=self._world.now_ms() if draws else 0,
            entropy=self._world.entropy(draws) if draws else b"",
        )
        if step.entries or step.end is not None:
            self._propose(attempt, step)
        if step.end is not None or step.failed is not None:
            self._over(attempt, step.end, step.failed)

    def _propose(self, attempt: Attempt, step: Step) -> None:
        job, placement = attempt.job, attempt.placement
        self._core.sent(job, has_entries=bool(step.entries), end=step.end)
        command = AttemptOutput(
            job.invocation_id,
            self._leader.epoch,
            job.lease,
            job.attempt,
            step.entries,
            step.end,
            placement.deployment_id if placement.is_new else "",
            placement.protocol_version if placement.is_new else 0,
            job.birth,
        )
        if step.acks:
            self._unacked.append((command, attempt, step.acks))
        self._leader.propose(command)

    def _over(self, attempt: Attempt, end: AttemptEnd | None, failed: AttemptFailure | None) -> None:
        """The dialogue is over; the task goes when the SDK has closed its side, or is cut after a while."""
        attempt.is_over = True
        job = attempt.job
        self._core.over(job, failed)
        how = failed.how if failed is not None else ("suspended" if isinstance(end, Suspend) else "finished")
        self._tell_ended(job, how, None if failed is None else failed.failure)
        attempt.timeouts.over(self._now_ms())
        self._sweep_by(attempt.timeouts.due_ms)
        attempt.close_send()

    def _task_ended(self, attempt: Attempt) -> None:
        """The task is gone.  When nothing had ended the dialogue, the attempt was cut."""
        job = attempt.job
        if not attempt.is_over:
            cut = attempt.timeouts.cut_reason
            failed = None if job.is_revoked else AttemptFailure(Failure(LOST, cut))
            attempt.is_over = True
            self._core.over(job, failed)
            how = "aborted" if job.is_revoked else "failed"
            self._tell_ended(job, how, None if failed is None else failed.failure)
        # Stream and attempt hold each other: apart they go at once, together they would wait for the collector.
        attempt.stream = None
        del self._running[job.invocation_id]
        self._core.task_ended(job)
        self._settle(self._core.settled(job))
        self._wake_for_ready()

    def _tell_ended(self, job: Job, how: str, failure: Failure | None) -> None:
        detail, code = ("", 0) if failure is None else (failure.message, failure.code)
        self._observe(AttemptEnded(self._leader.index, job.invocation_id, job.lease, job.attempt, how, detail, code))

    def _cut(self, job: Job | None) -> None:
        if job is not None and job.runner is not None:
            job.runner.scope.cancel()

    def _settle(self, job: Job | None) -> None:
        """Decide the fate of a job whose attempt is gone and whose output is stored."""
        if job is None:
            return
        invocation = self._leader.tables.invocation(job.invocation_id)
        if invocation is None or not is_current(invocation, job.lease, job.birth):
            self._core.forget(job)
            return
        jitter = int.from_bytes(self._world.entropy(4), "big") if job.failed is not None else 0
        fate = self._core.decide(job, invocation.retry_policy, jitter)
        if isinstance(fate, GaveUp):
            self._core.sent(job, has_entries=False, end=fate)
            self._leader.propose(
                AttemptOutput(job.invocation_id, self._leader.epoch, job.lease, job.attempt, end=fate, birth=job.birth)
            )
        elif isinstance(fate, Retry):
            self._back_off(job, fate.delay_ms)

    # Time.

    def _now_ms(self) -> int:
        return round(trio.current_time() * 1000)

    def _back_off(self, job: Job, delay_ms: int) -> None:
        is_asked_for = job.failed is not None and job.failed.retry_delay_ms is not None
        failures = 0 if is_asked_for else job.failures
        self._observe(RetryScheduled(self._leader.index, job.invocation_id, job.lease, delay_ms, failures))
        job.due_ms = due_ms = self._now_ms() + delay_ms
        self._sequence += 1
        entry = (due_ms, self._sequence, job.invocation_id, job.lease, job.attempt)
        heapq.heappush(self._back_offs, entry)
        self._slot.wake_before(due_ms / 1000)

    def _sweep_by(self, due_ms: float) -> None:
        """Look at all running attempts no later than *due_ms*."""
        if due_ms < self._sweep_due_ms:
            self._sweep_due_ms = due_ms
            self._slot.wake_before(due_ms / 1000)

    def _wake_for_ready(self) -> None:
        """A slot came free outside a batch: let the wheel's task begin who waits for it."""
        if self._core.ready_count:
            self._slot.wake()

    def _serve_due(self, now_ms: int) -> float:
        """Everything that is due now; when to look again."""
        while self._back_offs and self._back_offs[0][0] <= now_ms:
            _, _, invocation_id, lease, attempt = heapq.heappop(self._back_offs)
            self._core.due(invocation_id, lease, attempt)
        if self._sweep_due_ms <= now_ms:
            self._sweep(now_ms)
        if self._parked_due_ms <= now_ms:
            self._look_for_places(now_ms)
        self.pump()
        next_back_off = self._back_offs[0][0] if self._back_offs else math.inf
        return min(next_back_off, self._sweep_due_ms, self._parked_due_ms)

    def _look_for_places(self, now_ms: int) -> None:
        """Let go on what was parked for what is there now."""
        for wanted in self._core.parked_for:
            if is_reachable(wanted, self._schema(), self._transports):
                self._core.unpark(wanted)
        self._parked_due_ms = now_ms + PARKED_LOOK_MS if self._core.parked_for else math.inf

    def _sweep(self, now_ms: int) -> None:
        """Close or cut the attempts whose time is up."""
        self._sweep_due_ms = math.inf
        for attempt in list(self._running.values()):
            timeouts = attempt.timeouts
            if timeouts.must_cut(now_ms):
                attempt.scope.cancel()
                continue
            if timeouts.must_close(now_ms):
                timeouts.closed(now_ms)
                attempt.close_send()
            self._sweep_due_ms = min(self._sweep_due_ms, timeouts.due_ms)

    def _ask_waiting_attempts(self) -> None:
        """Others wait for a slot: ask the attempts that have been idle longest to suspend."""
        now_ms = self._now_ms()
        if now_ms < self._ask_due_ms:
            self._sweep_by(self._ask_due_ms)
            return
        self._ask_due_ms = now_ms + YIELD_IDLE_MS
        self._sweep_by(self._ask_due_ms)
        asked = sum(a.timeouts.has_closed or a.is_over for a in self._running.values())
        wanted = self._core.ready_count - asked
        idle = [a for a in self._running.values() if not (a.timeouts.has_closed or a.is_over)]
        idle.sort(key=lambda attempt: attempt.timeouts.heard_ms)
        for attempt in idle[: max(wanted, 0)]:
            if attempt.timeouts.may_yield(now_ms):
                attempt.timeouts.yielded(now_ms)
                attempt.close_send()


def lost(error: TransportError) -> AttemptFailure:
    """What a broken exchange means for the attempt."""
    return AttemptFailure(
        Failure(LOST, str(error)),
        how="lost" if error.reached else "rejected",
        reached=error.reached,
        retry_delay_ms=error.retry_after_ms,
    )
