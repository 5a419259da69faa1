"""Who waits for whom in a rehearsal that stands still: read from the truth, the server's memory and the world.

What is durable comes from the reference model, so that a server that is down or wrong is told of as well.  Whether
anything leads on is looked up where it would have to be: a timer that is armed, a message in an outbox, an attempt that
runs at an endpoint.  Nothing is changed.  `explaining.py` puts it into words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import attrs
from understudy.protocol.messages import MESSAGES, MessageType
from understudy_runtime.explaining import Cause, Hope, Waiter, cause, chain, everything, judged
from understudy_runtime.invoker.core import HOLDS_SLOT, Job, Phase
from understudy_runtime.machine.waits import WAITS, Wait, WaitKind
from understudy_runtime.model import commands as c
from understudy_runtime.model.ids import AWAKEABLE_INDEX_FIRST, awakeable_id
from understudy_runtime.model.invocation import Status
from understudy_runtime.node import Node

from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.kernel.loop import Ending
from understudy_sim.kernel.waiters import relative, user_frame
from understudy_sim.stage.chronicle import Event, number_in
from understudy_sim.stage.chronicle_words import shortened, target_text
from understudy_sim.stage.history import Asked, Fate
from understudy_sim.stage.model import CANCEL_SIGNAL, PartitionModel
from understudy_sim.stage.model_words import Invocation, Note
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.story import seconds
from understudy_sim.stage.watch import Violation

CHAINS_MAX: Final = 12
CLIENT: Final = "client "
_CALL_ID: Final = int(MessageType.CALL_INVOCATION_ID_COMPLETION)
# Frames that run a handler's body, each with its number in `body`.
_SERVING: Final = ("_serve", "hosted")
NO_EVENT: Final = "no event is due in the whole world"
# How late a timer may be beside the leader's own pace of looking.
LATE_MS: Final = 2_000
UP_TO_OTHERS: Final = "it is up to those who still run"
SERVER_DOWN: Final = "the server is down: once it is back"


class _Open(NamedTuple):
    """A completion that is awaited, and what will answer it."""

    completion_id: int
    wait: Wait


class NobodyMeant(LookupError):
    """No invocation is called so: what there is, and how one is named."""


class Inquiry:
    """What can be asked of a rehearsal that stands still.  *events* say since when, if there is a chronicle."""

    def __init__(
        self, rehearsal: Rehearsal, ended: KernelOutcome | None = None, events: tuple[Event, ...] = ()
    ) -> None:
        self._run = rehearsal
        self._truth = rehearsal.truth
        self._is_over = ended is not None and ended.ending is Ending.STUCK
        self._numbers = {id_: number for number, id_ in enumerate(rehearsal.truth.commands, 1)}
        self._since: dict[tuple[str, str], Event] = {(one.kind, one.invocation): one for one in events}
        self.waiters = self._waiters()

    @property
    def node(self) -> Node | None:
        """The running server, if there is one that has opened its partitions."""
        node = self._run.cluster.server.node
        if node is None or min(len(node.invokers), len(node.effects)) < self._run.plan.partition_count:
            return None
        return node

    def name(self, invocation_id: str) -> str:
        """`inv #3 CartObject/ann/checkout`."""
        number = self._numbers.get(invocation_id)
        if number is None:
            return invocation_id
        return f"inv #{number} {target_text(self._truth.commands[invocation_id].target)}"

    def find(self, text: str) -> str:
        """Whom *text* means: an id or a unique beginning of one, `#3`, a label, a target or a client; empty: nobody."""
        number = number_in(text)
        if number is not None:
            return next((id_ for id_, one in self._numbers.items() if one == number), "")
        labelled = self._run.cluster.directory.invocation_id(text)
        if labelled:
            return labelled
        if CLIENT + text in self.waiters:
            return CLIENT + text
        commands = self._truth.commands
        targets = [id_ for id_, one in commands.items() if target_text(one.target) == text]
        waiting = [id_ for id_ in targets if id_ in self.waiters]
        begun = [id_ for id_ in commands if id_.startswith(text)] if len(text) > len("inv_1") else []
        return next(iter((*waiting, *targets, *(begun if len(begun) == 1 else ()))), "")

    def told(self, text: str) -> list[str]:
        """Who waits for whom from the one on that *text* means; all that have not ended without any.

        Raises NobodyMeant.
        """
        if not text:
            return self.everything()
        found = self.find(text)
        if not found:
            raise NobodyMeant(self._nobody(text))
        if found in self.waiters:
            return chain(self.waiters, found, judged(self.waiters))
        if found not in self._truth.commands:
            return [f"{text!r} is {found}, which no durable record has accepted yet", *self._asked_for(found)]
        return [f"{self.name(found)} ({found}) has ended"]

    def _nobody(self, text: str) -> str:
        count = len(self._numbers)
        there = (
            "nothing was accepted" if not count else "there is #1 alone" if count == 1 else f"there are #1 to #{count}"
        )
        return (
            f"there is no invocation {text!r} in this run, so far; {there}: name one by its number, its id or the only "
            "beginning of one, its label, service/key/handler, or the client who waits for it; or leave it out"
        )

    def is_stuck(self, text: str) -> bool:
        """Whether the one that *text* means can never go on; without any: whether somebody cannot."""
        stuck = judged(self.waiters).stuck
        return self.find(text) in stuck if text else bool(stuck)

    def behind(self, violation: Violation, told: dict[str, None]) -> list[str]:
        """Who waits for whom behind a claim about an end; whom *told* has was told of behind another one."""
        if violation.invocation_id in self.waiters:
            return chain(self.waiters, violation.invocation_id, judged(self.waiters), told)
        return everything(self.waiters, CHAINS_IN_A_STORY) if self.waiters else []

    def _asked_for(self, invocation_id: str) -> list[str]:
        told = (CLIENT + one.operation.client for one in self._run.cluster.history.asked if _waits(one))
        return [line for id_ in dict.fromkeys(told) if id_ in self.waiters for line in chain(self.waiters, id_)]

    def everything(self) -> list[str]:
        """All chains; a line if there are none."""
        if not self.waiters:
            count = len(self._truth.commands)
            return [f"nobody waits: {count} invocations were accepted, and all have ended"]
        return everything(self.waiters, CHAINS_MAX)

    # --- who waits ----------------------------------------------------------------------------------------------

    def _waiters(self) -> dict[str, Waiter]:
        # Who only waits for its time comes last: it holds up nobody.
        found: list[tuple[tuple[bool, int], Waiter]] = []
        for model in self._truth.models:
            for id_, inv in model.invocations.items():
                if inv.status is not Status.COMPLETED:
                    place = inv.status is Status.SCHEDULED, self._numbers.get(id_, 0)
                    found.append((place, self._invocation(model, inv)))
        waiters = {one.id: one for _, one in sorted(found, key=lambda pair: pair[0])}
        for asked in self._run.cluster.history.asked:
            if _waits(asked):
                waiter = self._client(asked)
                waiters[waiter.id] = waiter
        return {id_: self._sobered(one) for id_, one in waiters.items()}

    def _sobered(self, waiter: Waiter) -> Waiter:
        """When nothing is due any more, nothing comes."""
        if not self._is_over:
            return waiter
        causes = tuple(
            attrs.evolve(one, hope=Hope.NOBODY, because=NO_EVENT) if one.hope is Hope.COMES else one
            for one in waiter.causes
        )
        return attrs.evolve(waiter, causes=causes)

    def _client(self, asked: Asked) -> Waiter:
        name = asked.operation.client
        on = asked.invocation_id
        what = f"the answer to {asked.operation} (asked {asked.tries} times, first at {seconds(asked.asked_ns)})"
        if on not in self._truth.commands:
            waits = Cause(
                what, record="Invoke", producer="the ingress", hope=Hope.COMES, because="it asks until it is heard"
            )
        elif any(on in model.invocations and model.invocations[on].result is None for model in self._truth.models):
            waits = Cause(what, on, f"the end of {self.name(on)}")
        else:
            waits = Cause(what, on, hope=Hope.COMES, because="the result is there: it asks again, or is being told")
        return Waiter(CLIENT + name, CLIENT + name, "waiting", (waits,))

    def _invocation(self, model: PartitionModel, inv: Invocation) -> Waiter:
        id_ = inv.command.invocation_id
        state = f"{inv.status.name} in partition {model.index}{self._when('status', id_)}"
        return Waiter(id_, self.name(id_), state, tuple(CAUSES[inv.status](self, model, inv)))

    def _when(self, kind: str, invocation_id: str) -> str:
        event = self._since.get((kind, invocation_id))
        return "" if event is None else f" since {seconds(event.at_ns)} (step {event.step})"

    # --- what for, by status ------------------------------------------------------------------------------------

    def scheduled(self, model: PartitionModel, inv: Invocation) -> Iterator[Cause]:
        """Its time."""
        found = cause("start", until=self._until(inv.command.execution_time_ms))
        yield self._timer(model, inv, "start", 0, found)

    def inboxed(self, model: PartitionModel, inv: Invocation) -> Iterator[Cause]:
        """The lock of its object."""
        assert inv.command.target.key is not None, "P1: only keyed invocations wait in an inbox"
        key = inv.command.target.service, inv.command.target.key
        object_ = "/".join(key)
        holder = model.locks.get(key, "")
        if not holder:
            free = f"the object {object_}, which is free"
            yield Cause(free, hope=Hope.NOBODY, because="what freed it should have admitted the next one")
            return
        held = cause("lock", on=holder, on_name=self.name(holder), detail=object_)
        found = model.invocations.get(holder)
        if found is None or found.status is Status.COMPLETED:
            yield attrs.evolve(held, hope=Hope.NOBODY, because="its holder is over and did not give it back")
            return
        waiting = list(model.inboxes.get(key, ()))
        ahead = waiting.index(inv.command.invocation_id) if inv.command.invocation_id in waiting else 0
        since = self._when("lock", holder).removeprefix(" ")
        queue = f"{ahead} ahead of it in the inbox" if ahead else ""
        yield attrs.evolve(held, because=", ".join(part for part in (f"held {since}" if since else "", queue) if part))

    def invoked(self, model: PartitionModel, inv: Invocation) -> Iterator[Cause]:
        """What its attempt waits for, or an attempt."""
        node = self.node
        if node is None:
            yield self._down(Cause("an attempt", record="AttemptOutput", producer="the server", hope=Hope.COMES))
            return
        job = node.invokers[model.index].job(inv.command.invocation_id, inv.lease)
        if job is None:
            none = "the server neither runs nor plans one under this lease; only a restart would begin it"
            yield Cause("an attempt", "", "AttemptOutput", "the server", Hope.NOBODY, none)
        elif job.phase in HOLDS_SLOT:
            yield from self._running(model, inv, job)
        else:
            yield from self._not_running(node, model, job)

    def _not_running(self, node: Node, model: PartitionModel, job: Job) -> Iterator[Cause]:
        failed = job.failed_last.failure.message if job.failed_last is not None else ""
        match job.phase:
            case Phase.BACKING_OFF:
                # By the loop's time: nobody runs any more whose clock the invoker could read.
                left_ms = max(0, job.due_ms - round(self._run.kernel.now_ns / 1_000_000))
                until = self._until(self._clock_ms() + left_ms)
                yield cause("retry", detail=failed, until=until)
            case Phase.PARKED:
                yield cause("place", detail=job.parked)
            case Phase.QUEUED:
                yield from self._slots(node, model)
            case _:
                yield Cause("what it has sent to be durable", record="AttemptOutput", hope=Hope.COMES)

    def _slots(self, node: Node, model: PartitionModel) -> Iterator[Cause]:
        """Whoever runs in its partition may give it a slot."""
        invoker = node.invokers[model.index]
        running = [
            id_
            for id_, one in model.invocations.items()
            if (job := invoker.job(id_, one.lease)) is not None and job.phase in HOLDS_SLOT
        ]
        slot = cause("slot", detail=f" partition {model.index}, where {len(running)} attempts run")
        if not running:
            yield attrs.evolve(slot, because="it is next")
        for id_ in running:
            yield attrs.evolve(slot, on=id_, hope=Hope.OTHER, because=f"one of them is {self.name(id_)}")

    def _running(self, model: PartitionModel, inv: Invocation, job: Job) -> Iterator[Cause]:
        where = self._body(inv.command.invocation_id)
        waits = list(self._open(model, inv, inv.expects))
        handler = cause("handler", detail=f": attempt {job.attempt}{where}")
        if job.failures and job.failed_last is not None:
            last = shortened(job.failed_last.failure.message, 160)
            handler = attrs.evolve(handler, because=f"{job.failures} in a row failed before, the last one so: {last}")
        if not where:
            lost = "no endpoint runs it: its stream is on its way, or lost, which keep-alive or a time-out finds out"
            yield attrs.evolve(handler, because=lost)
        elif not waits or not _has_spoken_last(inv) or any(one.wait.kind is WaitKind.RUN for one in waits):
            yield handler
        for one in waits:
            if one.wait.kind is not WaitKind.RUN:
                yield self._cause(model, inv, one)

    def suspended(self, model: PartitionModel, inv: Invocation) -> Iterator[Cause]:
        """Any of what it awaits."""
        assert inv.awaiting is not None, "a suspended invocation awaits something"
        found = [self._cause(model, inv, one) for one in self._open(model, inv, inv.awaiting.completions)]
        for index in inv.awaiting.signals:
            if index >= AWAKEABLE_INDEX_FIRST:
                kind, detail = "awakeable", awakeable_id(inv.command.invocation_id, index)
                found.append(self._told(inv, index, cause(kind, detail=detail)))
            elif index != CANCEL_SIGNAL:
                found.append(self._told(inv, index, cause("signal", detail=str(index))))
        found += [self._told(inv, name, cause("signal", detail=name)) for name in inv.awaiting.named_signals]
        if not found:
            there = "all it awaits is in its journal: the record that brought it should have woken it"
            found.append(Cause("nothing that is still to come", hope=Hope.NOBODY, because=there))
        yield from found

    def paused(self, model: PartitionModel, inv: Invocation) -> Iterator[Cause]:
        """Somebody who resumes it."""
        if self._somebody_acts():
            yield cause("resume")
        else:
            nobody = "everybody in this scenario has done what they wanted to"
            yield attrs.evolve(cause("resume"), hope=Hope.NOBODY, because=nobody)

    # --- single waits -------------------------------------------------------------------------------------------

    def _open(self, model: PartitionModel, inv: Invocation, completions: Any) -> Iterator[_Open]:
        """What will complete those of *completions* that are open, by the journal."""
        wanted = {one for one in completions if one in inv.expects}
        callees: dict[int, str] = {}
        for note in inv.journal:
            if isinstance(note, Note) and note.type == _CALL_ID and isinstance(note.answers, int):
                callees[note.answers] = str(note.says)
        for entry in inv.journal:
            make = None if isinstance(entry, Note) else WAITS.get(entry[0])
            if make is None or isinstance(entry, Note):
                continue
            command: Any = MESSAGES[MessageType(entry[0])].FromString(entry[1])
            if command.result_completion_id in wanted:
                yield _Open(command.result_completion_id, make(command, callees))

    def _cause(self, model: PartitionModel, inv: Invocation, open_: _Open) -> Cause:
        wait = open_.wait
        match wait.kind:
            case WaitKind.SLEEP:
                found = cause("sleep", until=self._until(int(wait.detail)))
                return self._timer(model, inv, "sleep", open_.completion_id, found)
            case WaitKind.CALL | WaitKind.ATTACH | WaitKind.OUTPUT:
                return self._other(model, inv, open_)
            case WaitKind.PROMISE:
                found = attrs.evolve(cause("promise", detail=wait.detail), hope=self._anybody())
                return attrs.evolve(found, because="" if found.hope is Hope.OUTSIDE else UP_TO_OTHERS)
            case WaitKind.RUN:
                again = "only an attempt can execute it: it is tried again"
                return attrs.evolve(cause("run", detail=wait.detail), because=again)
        return cause(wait.kind.value, on=wait.on, detail=wait.detail)

    def _other(self, model: PartitionModel, inv: Invocation, open_: _Open) -> Cause:
        """Another invocation's end, or its answer on the way."""
        on = open_.wait.on
        found = cause(open_.wait.kind.value, on=on, on_name=self.name(on), detail=open_.wait.detail)
        record = f"Complete of completion {open_.completion_id} in partition {model.index}, when that one ends"
        found = attrs.evolve(found, record=record, hope=Hope.OTHER)
        id_ = inv.command.invocation_id
        on_its_way = self._in_outbox(
            lambda one: (
                (isinstance(one, c.Complete) and (one.invocation_id, one.completion_id) == (id_, open_.completion_id))
                or (isinstance(one, c.Invoke | c.Attach) and one.caller is not None and one.caller.invocation_id == id_)
            )
        )
        other = next((m.invocations[on] for m in self._truth.models if on in m.invocations), None)
        if other is not None and other.status is not Status.COMPLETED and open_.wait.kind is not WaitKind.OUTPUT:
            return found
        if on_its_way:
            return attrs.evolve(found, hope=Hope.COMES, because=on_its_way)
        if on not in self._truth.commands:
            return attrs.evolve(found, hope=Hope.NOBODY, because="no record has accepted it, and none is on its way")
        over = "it has ended, and its answer is neither in the journal nor on its way"
        return attrs.evolve(found, hope=Hope.NOBODY, because=over)

    def _told(self, inv: Invocation, what: int | str, found: Cause) -> Cause:
        """A signal: on its way, or up to others."""
        id_ = inv.command.invocation_id
        on_its_way = self._in_outbox(
            lambda one: isinstance(one, c.Signal) and one.invocation_id == id_ and what in (one.index, one.name)
        )
        if on_its_way:
            return attrs.evolve(found, hope=Hope.COMES, because=on_its_way)
        hope = self._anybody()
        return attrs.evolve(found, hope=hope, because="" if hope is Hope.OUTSIDE else UP_TO_OTHERS)

    def _timer(self, model: PartitionModel, inv: Invocation, what: str, completion_id: int, found: Cause) -> Cause:
        """Whether a timer that would end the wait is armed."""
        id_ = inv.command.invocation_id
        timer_id = next(
            (
                number
                for number, one in model.timers.items()
                if (one.invocation_id, one.what) == (id_, what) and one.completion_id in (completion_id, 0)
            ),
            None,
        )
        record = f"TimerFired of timer {timer_id} in partition {model.index}"
        if timer_id is None:
            return attrs.evolve(found, hope=Hope.NOBODY, because="there is no such timer in the tables")
        node = self.node
        if node is None:
            return self._down(attrs.evolve(found, record=record))
        armed = node.effects[model.index].timers.ids
        due_ms = model.timers[timer_id].due_ms
        is_late = self._clock_ms() - due_ms > self._run.plan.limits.timer_recheck_ms + LATE_MS
        is_behind = any(one in armed and timer.due_ms <= due_ms for one, timer in model.timers.items())
        found = attrs.evolve(found, record=record)
        if timer_id in armed and not is_late:
            return attrs.evolve(found, because="the leader has armed it")
        if timer_id in armed:
            late = "it is armed, its time has come, and the leader does nothing about it"
            return attrs.evolve(found, hope=Hope.NOBODY, because=late)
        if is_behind and not is_late:
            return attrs.evolve(found, because="the leader holds nearer ones, and will arm it behind them")
        return attrs.evolve(found, hope=Hope.NOBODY, because="the leader has not armed it; only a restart would")

    def _down(self, found: Cause) -> Cause:
        """While no server runs, everything waits for one."""
        if self._run.cluster.server.failed is not None:
            return attrs.evolve(found, hope=Hope.NOBODY, because="the server has failed, and nobody starts it again")
        return attrs.evolve(found, because=SERVER_DOWN)

    def _clock_ms(self) -> int:
        return self._run.cluster.server.process.wall.now_ms()

    def _until(self, epoch_ms: int) -> str:
        left_ms = epoch_ms - self._clock_ms()
        return f"due in {_long(left_ms)}" if left_ms > 0 else f"due for {_long(-left_ms)}"

    def _in_outbox(self, is_meant: Callable[[Any], bool]) -> str:
        """Where a message lies that is on its way between partitions."""
        for model in self._truth.models:
            for target, rows in model.outbox.items():
                for sequence, message in rows.items():
                    if is_meant(message):
                        return f"on its way: number {sequence} in the outbox of partition {model.index} to {target}"
        return ""

    def _anybody(self) -> Hope:
        return Hope.OUTSIDE if self._somebody_acts() else Hope.ANYBODY

    def _somebody_acts(self) -> bool:
        """Whether a client, an operator or an attendant of the scenario has something left to do."""
        cluster = self._run.cluster
        return not cluster.done or (bool(cluster.attendants) and not self._run.stage.played)

    def _body(self, invocation_id: str) -> str:
        """Where the body of an invocation runs, and the innermost line of the handler; empty when none does."""
        for endpoint in self._run.cluster.endpoints:
            for body, id_ in endpoint.running.items():
                if id_ == invocation_id:
                    process = f"{endpoint.process.name}.{endpoint.process.incarnation}"
                    return f" at {process}{self._line(endpoint.process, body)}"
        return ""

    @staticmethod
    def _line(process: Any, body: int) -> str:
        for task in sorted(process.runner.tasks, key=lambda one: int(one._counter)) if process.alive else ():
            frames = list(task.iter_await_frames())
            if any(one.f_code.co_name in _SERVING and one.f_locals.get("body") == body for one, _ in frames):
                frame, line = user_frame(task)
                return (
                    ""
                    if frame is None
                    else f", in {frame.f_code.co_qualname} ({relative(frame.f_code.co_filename)}:{line})"
                )
        return ""


Find = Callable[[Inquiry, PartitionModel, Invocation], Iterator[Cause]]
CAUSES: Final[Mapping[Status, Find]] = MappingProxyType(
    {
        Status.SCHEDULED: Inquiry.scheduled,
        Status.INBOXED: Inquiry.inboxed,
        Status.INVOKED: Inquiry.invoked,
        Status.SUSPENDED: Inquiry.suspended,
        Status.PAUSED: Inquiry.paused,
    }
)


# Claims that somebody comes to an end, by how they begin.
OF_ENDING: Final = ("P5 ", "every client is answered", "the operator is answered")
CUT_OFF: Final = (Ending.STUCK, Ending.STEPS_EXHAUSTED, Ending.TIME_EXHAUSTED)
CHAINS_IN_A_STORY: Final = 3
CHAINS_IN_A_REPORT: Final = 4


def chains_behind(rehearsal: Rehearsal, ended: KernelOutcome) -> list[list[str]]:
    """For each violation, who waits for whom, where that is what broke: somebody, or the run, did not come to an end.

    Empty for the others, and behind the first few.
    """
    violations = rehearsal.watch.violations
    meant = [one for one in violations if _is_of_ending(one, ended)][:CHAINS_IN_A_REPORT]
    inquiry = Inquiry(rehearsal, ended) if meant else None
    told: dict[str, None] = {}
    return [inquiry.behind(one, told) if inquiry is not None and one in meant else [] for one in violations]


def _is_of_ending(violation: Violation, ended: KernelOutcome) -> bool:
    is_cut_off = ended.ending in CUT_OFF and violation.what.startswith(ended.ending.value)
    return is_cut_off or violation.claim.startswith(OF_ENDING)


def _has_spoken_last(inv: Invocation) -> bool:
    """Whether nothing came to a running attempt since its last command, that might make it go on."""
    last = inv.journal[-1]
    return not isinstance(last, Note) or last.type == _CALL_ID


def _waits(asked: Asked) -> bool:
    return asked.fate is Fate.WAITING


def _long(ms: int) -> str:
    """A duration for people."""
    for unit_ms, unit in ((3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        if ms >= 2 * unit_ms:
            return f"{ms / unit_ms:.1f} {unit}"
    return f"{ms} ms"
