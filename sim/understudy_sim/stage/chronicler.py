"""Who writes a chronicle: an observer that hears of everything, changes nothing, and puts it into words at the end.

chronicler = Chronicler()
run_seed(scenario, application, seed, variation, [chronicler])
chronicler.chronicle
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import attrs
from understudy_runtime.model import actions as a
from understudy_runtime.model import events as e
from understudy_runtime.model.commands import TimerFired

from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.kernel.loop import Ending
from understudy_sim.kernel.pipes import Pipe
from understudy_sim.kernel.runner import ProcessRunner
from understudy_sim.stage import happenings as h
from understudy_sim.stage.chronicle import Chronicle, Event, Fact, Message, Named
from understudy_sim.stage.chronicle_bytes import readings
from understudy_sim.stage.chronicle_words import (
    command_text,
    entry_text,
    invocation_of,
    item_text,
    result_text,
    shortened,
    target_text,
    value_text,
)
from understudy_sim.stage.history import Acted
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.tally import Firing
from understudy_sim.stage.variation_text import to_text
from understudy_sim.stage.watch import Violation

WORLD: Final = ""
WHAT_CHARACTERS_MAX: Final = 400


@attrs.define
class _Sent:
    """A message on its way."""

    number: int
    pipe: Pipe
    item: object
    source: str
    target: str
    sent_ns: int
    sent_step: int
    received_ns: int = -1
    received_step: int = -1
    is_lost: bool = False


@attrs.define
class _Known:
    """What was told of an invocation so far."""

    birth: int
    status: str = ""
    entries: int = 0


class Chronicler:
    """An `Observer`."""

    def __init__(self) -> None:
        self._chronicle: Chronicle | None = None
        self._run: Rehearsal | None = None
        self._events: list[Event] = []
        self._sent: list[_Sent] = []
        self._on_the_way: dict[int, deque[_Sent]] = {}
        self._named: dict[str, Named] = {}
        self._known: dict[str, _Known] = {}
        self._locks: dict[tuple[str, str], str] = {}
        self._bodies: dict[int, tuple[str, str]] = {}  # body -> (process, invocation)
        self._broken: list[tuple[str, str]] = []
        self._is_over = False

    @property
    def chronicle(self) -> Chronicle:
        """What was written, once the run has stopped."""
        assert self._chronicle is not None, "the run has stopped, and it was attached before"
        return self._chronicle

    # --- the observer -------------------------------------------------------------------------------------------

    def attach(self, rehearsal: Rehearsal) -> None:
        assert self._run is None, "a chronicler writes of one run"
        assert self._chronicle is None, "a chronicler writes of one run"
        kernel, tally = rehearsal.kernel, rehearsal.tally
        heard = (kernel.trace.on_note, kernel.network.tap, tally.on_firing)
        assert heard == (None, None, None), "one at a time listens to the trace, the wire and the faults"
        self._run = rehearsal
        rehearsal.watch.subscribe(self._handlers())
        kernel.trace.on_note = self._note
        kernel.network.tap = self
        tally.on_firing = self._fired
        medium = rehearsal.cluster.server.host.medium
        before = medium.on_sync

        def on_sync(ordinal: int, phase: str) -> None:
            self._add("sync" if phase == "before" else "synced", f"sync {ordinal}", facts={"sync": ordinal})
            if before is not None:
                before(ordinal, phase)

        medium.on_sync = on_sync

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        self._is_over = True
        for violation in rehearsal.watch.violations:
            if (violation.claim, violation.what) not in self._broken:
                self._violated(violation)
        is_told = rehearsal.variation.steps_max is not None and ended.ending is Ending.STEPS_EXHAUSTED
        ending = f"stopped after step {ended.steps}, as it was told to" if is_told else ended.ending.value
        if ended.ending is Ending.DONE:
            ending = "the scenario came to its end"
        if not is_told:
            self._add("end", ending, process=WORLD)
        messages = self._messages()
        self._chronicle = Chronicle(
            scenario=rehearsal.scenario.name,
            seed=self._seed(rehearsal),
            variation=to_text(attrs.evolve(rehearsal.variation, steps_max=None)),
            digest=ended.digest,
            steps=ended.steps,
            ended_ns=ended.time_ns,
            ending=ending,
            events=tuple(self._events),
            messages=messages,
            invocations=tuple(self._named.values()),
        )
        self._forget()

    def _forget(self) -> None:
        """Hold nothing of the run: its world goes when it is over."""
        self._run = None
        self._sent.clear()
        self._on_the_way.clear()

    def _seed(self, rehearsal: Rehearsal) -> int:
        return int(getattr(rehearsal.choices, "seed", 0))

    # --- where and when -----------------------------------------------------------------------------------------

    def _now(self) -> tuple[int, int, str]:
        """Virtual time, the step it belongs to, and whose it is."""
        assert self._run is not None, "events come from a run"
        loop = self._run.kernel.loop
        runner = loop.current_runner
        is_between = runner is None and not self._is_over
        return loop.now_ns, loop.steps + is_between, WORLD if runner is None else _name(runner)

    def _add(
        self,
        kind: str,
        what: str,
        invocation: str = "",
        *,
        process: str | None = None,
        facts: dict[str, Fact] | None = None,
    ) -> None:
        at_ns, step, current = self._now()
        self._events.append(
            Event(
                number=len(self._events) + 1,
                at_ns=at_ns,
                step=step,
                process=current if process is None else process,
                kind=kind,
                what=shortened(what, WHAT_CHARACTERS_MAX),
                invocation=invocation,
                facts=tuple((facts or {}).items()),
            )
        )

    # --- the world ----------------------------------------------------------------------------------------------

    def _note(self, kind: str, words: tuple[int | bytes | str, ...]) -> None:
        match kind, words:
            case "process.start", (name, int(), *_):
                self._add("start", f"{name!s} starts", process=self._incarnation(name))
            case "process.exit", (name, *_, failed):
                how = "exits with an error" if failed else "exits"
                self._add("exit", f"{name!s} {how}", process=self._incarnation(name))
            case "process.crash", (name, *_, power):
                how = "loses its power" if power else "is killed"
                self._add("crash", f"{name!s} {how}", process=self._incarnation(name))
            case "process.pause", (name, *_, int(lasts_ns)):
                self._add("pause", f"{name!s} stalls", process=self._incarnation(name), facts={"lasts_ns": lasts_ns})
            case "nemesis.heal", _:
                self._add("heal", "faults are over", process=WORLD)
            case "disk.cut", (name, *_, int(lost), int(torn), int(names)):
                what = f"{name!s}: {lost} writes lost, {torn} torn, {names} names lost"
                self._add("disk.cut", what, process=WORLD)
            case "ledger", _:
                self._add("ledger", "an entry of a ledger")

    def _incarnation(self, name: int | bytes | str) -> str:
        assert self._run is not None, "events come from a run"
        assert isinstance(name, str), "a process is called by its name"
        return f"{name}.{self._run.kernel.processes[name].incarnation}"

    def _fired(self, firing: Firing) -> None:
        # Whom it hurts, and behind a comma why.
        on = tuple(firing.what.partition(", ")[0].split(" > "))
        facts: dict[str, Fact] = {"fault": firing.kind, "on": on}
        self._add(
            "fault", f"{firing.kind} of {firing.what}", process=WORLD, facts={**facts, "lasts_ns": firing.lasts_ns}
        )

    def sent(self, pipe: Pipe, item: object) -> None:
        """The network's tap."""
        at_ns, step, _ = self._now()
        message = _Sent(len(self._sent) + 1, pipe, item, _name(pipe.writer), _name(pipe.owner), at_ns, step)
        self._sent.append(message)
        self._on_the_way.setdefault(pipe.number, deque()).append(message)
        self._add("send", "", process=message.source, facts={"message": message.number, "to": message.target})

    def arrived(self, pipe: Pipe, item: object) -> None:
        """The network's tap.  What the operating system says for a dead process was sent by nobody."""
        waiting = self._on_the_way.get(pipe.number)
        if not waiting or not any(one.item is item for one in waiting):
            return
        while (message := waiting.popleft()).item is not item:
            message.is_lost = True
        message.received_ns, message.received_step, _ = self._now()
        self._add("receive", "", process=message.target, facts={"message": message.number, "from": message.source})

    def _messages(self) -> tuple[Message, ...]:
        """Put them into words, and the events about them."""
        connections = self._run.kernel.network.connections if self._run is not None else {}
        told: dict[int, tuple[str, str]] = {}
        about: dict[int, str] = {}  # connection -> the invocation spoken of
        by_pipe: dict[int, list[_Sent]] = {}
        for one in self._sent:
            by_pipe.setdefault(one.pipe.number, []).append(one)
            if not isinstance(one.item, bytes):
                what, invocation = item_text(one.item)
                if what.startswith("attempt"):
                    about[one.pipe.connection.number] = invocation
                told[one.number] = what, invocation or about.get(one.pipe.connection.number, "")
        told.update(readings(by_pipe))
        self._events = [self._with_words(event, told) for event in self._events]
        return tuple(
            Message(
                number=one.number,
                connection=one.pipe.connection.number,
                source=one.source,
                target=one.target,
                sent_ns=one.sent_ns,
                sent_step=one.sent_step,
                received_ns=one.received_ns,
                received_step=one.received_step,
                size=len(one.item) if isinstance(one.item, bytes) else 1,
                what=told[one.number][0],
                invocation=told[one.number][1],
                is_lost=one.received_ns < 0
                and (one.is_lost or one.pipe.void or one.pipe.connection.number not in connections),
            )
            for one in self._sent
        )

    @staticmethod
    def _with_words(event: Event, told: dict[int, tuple[str, str]]) -> Event:
        number = event.fact("message")
        if number is None:
            return event
        what, invocation = told[number]
        way = f"to {event.fact('to')}" if event.kind == "send" else f"from {event.fact('from')}"
        return attrs.evolve(event, what=f"{way}: {what}", invocation=invocation)

    # --- the product --------------------------------------------------------------------------------------------

    def _handlers(self) -> dict[type, Callable[[Any], None]]:
        return {
            h.Step: self._step,
            h.Replayed: self._replays,
            h.BodyStarted: self._body_starts,
            h.BodyEnded: self._body_ends,
            h.StepExecuted: lambda one: self._add("run", one.name, one.invocation_id),
            h.Asking: self._asks,
            h.Answered: self._answered,
            h.GaveUp: lambda one: self._add("gave_up", str(one.asked.operation), facts={"asked": one.asked.ordinal}),
            h.HazardSeen: lambda one: self._add("hazard", f"{one.detail} ({one.filename}:{one.line})"),
            h.Deployed: lambda one: self._add("deployed", f"{one.address} is {one.deployment_id}"),
            h.Removed: lambda one: self._add("removed", one.deployment_id),
            Acted: self._acted,
            Violation: self._violated,
            e.AttemptStarted: self._attempt_starts,
            e.AttemptEnded: self._attempt_ends,
            e.AttemptParked: lambda one: self._add("attempt.parked", one.reason, one.invocation_id),
            e.RetryScheduled: self._retries,
            e.LeadershipTaken: self._leads,
            e.LogTailCut: lambda one: self._add("log.cut", f"{one.log}: {one.bytes_cut} bytes"),
            e.LogTrimmed: lambda one: self._add("log.trimmed", f"partition {one.partition} begins at {one.lsn_first}"),
            e.StorageRestored: lambda one: self._add("restored", f"partition {one.partition}: {one.reason}"),
            e.StorageFlushed: lambda one: self._add("flush", f"partition {one.partition}: {one.rows} rows"),
            e.SnapshotWritten: lambda one: self._add("snapshot", f"partition {one.partition} at {one.lsn}"),
            e.SnapshotAbandoned: lambda one: self._add("snapshot", f"partition {one.partition}: {one.reason}"),
            e.RequestReceived: self._requested,
            e.RequestAnswered: self._responded,
        }

    def _step(self, step: h.Step) -> None:
        record, effects = step.record, step.effects
        command = record.command
        invocation = invocation_of(command) or next(iter(effects.invocations), "")
        place: dict[str, Fact] = {"partition": step.partition, "lsn": record.lsn}
        said: dict[str, Fact] = {**place, "command": type(command).__name__, "time_ms": record.time_ms}
        self._add("record", f"{step.partition}/{record.lsn} {command_text(command)}", invocation, facts=said)
        if isinstance(command, TimerFired):
            due: dict[str, Fact] = {"timer": command.timer_id, "due_ms": command.due_ms}
            self._add("timer.fired", f"timer {command.timer_id}", invocation, facts={**place, **due})
        for accepted in effects.accepted:
            self._accepted(accepted.invocation_id, place)
        for one in dict.fromkeys((*effects.invocations, *(one.invocation_id for one in effects.accepted))):
            self._looked_at(step.partition, one, place)
        for id_, result in effects.completed.items():
            self._add("ended", result_text(result), id_, facts=place)
        for key in effects.keys:
            self._lock(step.partition, key, place)
        for action in step.actions:
            self._action(action, place)

    def _accepted(self, invocation_id: str, place: dict[str, Fact]) -> None:
        assert self._run is not None, "records come from a run"
        command = self._run.truth.commands[invocation_id]
        named = self._named.get(invocation_id)
        if named is None:
            label = self._run.cluster.directory.label_of(invocation_id)
            named = Named(
                number=len(self._named) + 1,
                id=invocation_id,
                target=target_text(command.target),
                label=label,
                caller=self._run.truth.callers.get(invocation_id, ""),
            )
            self._named[invocation_id] = named
        self._add("accepted", f"{named.name}({value_text(command.payload)})", invocation_id, facts=place)

    def _looked_at(self, partition: int, invocation_id: str, place: dict[str, Fact]) -> None:
        """An invocation may have changed: tell its new entries and its new status."""
        assert self._run is not None, "records come from a run"
        found = self._run.truth.models[partition].invocations.get(invocation_id)
        if found is None:
            if self._known.pop(invocation_id, None) is not None:
                self._add("status", "FORGOTTEN", invocation_id, facts=place)
            return
        known = self._known.get(invocation_id)
        if known is None or known.birth != found.birth:
            known = self._known[invocation_id] = _Known(found.birth)
        for index in range(known.entries, len(found.journal)):
            entry = found.journal[index]
            facts: dict[str, Fact] = {**place, "index": index, "type": entry[0]}
            self._add("entry", f"[{index}] {entry_text(entry)}", invocation_id, facts=facts)
        known.entries = len(found.journal)
        if known.status != found.status.name:
            known.status = found.status.name
            self._add("status", known.status, invocation_id, facts={**place, "lease": found.lease})

    def _lock(self, partition: int, key: tuple[str, str], place: dict[str, Fact]) -> None:
        assert self._run is not None, "records come from a run"
        holder = self._run.truth.models[partition].locks.get(key)
        before = self._locks.get(key)
        if holder == before:
            return
        object_ = "/".join(key)
        if before is not None:
            del self._locks[key]
            self._add("unlock", object_, before, facts={**place, "object": object_})
        if holder is not None:
            self._locks[key] = holder
            self._add("lock", object_, holder, facts={**place, "object": object_})

    def _action(self, action: a.Action, place: dict[str, Fact]) -> None:
        match action:
            case a.ArmTimer():
                facts: dict[str, Fact] = {**place, "timer": action.timer_id, "due_ms": action.due_ms}
                self._add("timer.armed", f"timer {action.timer_id}, due at {action.due_ms} ms", facts=facts)
            case a.DisarmTimer():
                self._add("timer.disarmed", f"timer {action.timer_id}", facts={**place, "timer": action.timer_id})
            case a.Send():
                what = (
                    f"to partition {action.target_partition}, number {action.sequence}: {command_text(action.message)}"
                )
                facts = {**place, "target_partition": action.target_partition, "sequence": action.sequence}
                self._add("outbox", what, invocation_of(action.message), facts=facts)

    def _replays(self, one: h.Replayed) -> None:
        place: dict[str, Fact] = {"partition": one.partition, "lsn": one.record.lsn}
        what = f"{one.partition}/{one.record.lsn} {type(one.record.command).__name__}"
        self._add("replayed", what, invocation_of(one.record.command), facts=place)

    def _leads(self, one: e.LeadershipTaken) -> None:
        facts: dict[str, Fact] = {"partition": one.partition, "epoch": one.epoch, "lsn": one.lsn_last}
        self._add("leader", f"of partition {one.partition}, epoch {one.epoch}", facts=facts)

    def _attempt_starts(self, one: e.AttemptStarted) -> None:
        what = f"attempt {one.attempt} under lease {one.lease}, {one.known_entries} entries known"
        self._add("attempt.start", what, one.invocation_id, facts={"lease": one.lease, "attempt": one.attempt})

    def _attempt_ends(self, one: e.AttemptEnded) -> None:
        what = f"attempt {one.attempt} under lease {one.lease} {one.how}" + (f": {one.detail}" if one.detail else "")
        facts: dict[str, Fact] = {"lease": one.lease, "attempt": one.attempt, "how": one.how}
        self._add("attempt.end", what, one.invocation_id, facts=facts)

    def _retries(self, one: e.RetryScheduled) -> None:
        what = f"in {one.delay_ms} ms"
        self._add("retry", what, one.invocation_id, facts={"lease": one.lease, "delay_ms": one.delay_ms})

    def _body_starts(self, one: h.BodyStarted) -> None:
        _, _, process = self._now()
        self._bodies[one.body] = process, one.invocation_id
        self._add("body.start", f"body {one.body}", one.invocation_id, facts={"body": one.body})

    def _body_ends(self, one: h.BodyEnded) -> None:
        process, invocation = self._bodies[one.body]
        self._add("body.end", f"body {one.body}", invocation, process=process, facts={"body": one.body})

    # --- clients ------------------------------------------------------------------------------------------------

    def _asks(self, one: h.Asking) -> None:
        asked = one.asked
        tries = "" if asked.tries <= 1 else f" (try {asked.tries})"
        facts: dict[str, Fact] = {"asked": asked.ordinal, "try": asked.tries, "client": asked.operation.client}
        self._add("ask", f"{asked.operation}{tries}", asked.invocation_id, facts=facts)

    def _answered(self, one: h.Answered) -> None:
        answer = one.answer
        facts: dict[str, Fact] = {"asked": one.asked.ordinal, "status": answer.status, "source": answer.source}
        what = f"{one.asked.operation}: {answer.status} {value_text(answer.body)}"
        self._add("answer", what, answer.invocation_id, facts={**facts, "client": one.asked.operation.client})

    def _acted(self, one: Acted) -> None:
        self._add("act", f"{one.act}: {one.status}", one.invocation_id, facts={"status": one.status})

    def _requested(self, one: e.RequestReceived) -> None:
        self._add("request", f"{one.method} {one.path}", facts={"request": one.request_id})

    def _responded(self, one: e.RequestAnswered) -> None:
        facts: dict[str, Fact] = {"request": one.request_id, "status": one.status}
        self._add("response", f"{one.status} {one.source}".rstrip(), one.invocation_id, facts=facts)

    def _violated(self, one: Violation) -> None:
        self._broken.append((one.claim, one.what))
        self._add("violation", f"{one.claim}: {one.what}", one.invocation_id, facts={"claim": one.claim})


def _name(runner: ProcessRunner) -> str:
    return f"{runner.process.name}.{runner.incarnation}"
