"""A world that stands still, looked at: lines of text about each part of it.  Nothing is changed by looking.

It reaches into the kernel's and the server's own parts, as a debugger does: what is shown is what is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from understudy_runtime.model import commands as c
from understudy_runtime.model.invocation import Status

from understudy_sim.kernel.clock import NS_PER_S
from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.kernel.loop import Ending
from understudy_sim.kernel.pipes import Pipe
from understudy_sim.kernel.process import Process
from understudy_sim.kernel.waiters import is_library, relative
from understudy_sim.stage.chronicle import KINDS, Chronicle, Event, number_in
from understudy_sim.stage.chronicle_words import entry_text, result_text, shortened, value_text
from understudy_sim.stage.model_words import Invocation
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.story import seconds
from understudy_sim.stage.why import Inquiry

FRAMES_SHOWN: Final = 4
EVENTS_SHOWN: Final = 10
LINE_CHARACTERS_MAX: Final = 150


class Standing:
    """One stopped run with its chronicle so far."""

    def __init__(self, rehearsal: Rehearsal, ended: KernelOutcome, chronicle: Chronicle) -> None:
        self.rehearsal = rehearsal
        self.ended = ended
        self.chronicle = chronicle
        self._inquiry: Inquiry | None = None

    @property
    def inquiry(self) -> Inquiry:
        """Who waits for whom; looked up when first asked for."""
        if self._inquiry is None:
            self._inquiry = Inquiry(self.rehearsal, self.ended, self.chronicle.events)
        return self._inquiry

    @property
    def step(self) -> int:
        """The last step made."""
        return self.ended.steps

    @property
    def is_cut(self) -> bool:
        """Whether it stands because it was told to stop here, and would go on."""
        is_told = self.rehearsal.variation.steps_max is not None
        return is_told and self.ended.ending is Ending.STEPS_EXHAUSTED

    # --- processes ----------------------------------------------------------------------------------------------

    def where(self, name: str = "") -> list[str]:
        """Every process with its tasks, and where each waits; of one process the whole stacks."""
        processes = [one for one in self.rehearsal.kernel.processes.values() if name in ("", one.name)]
        if not processes:
            return [f"there is no process {name!r}; there are: {', '.join(self.rehearsal.kernel.processes)}"]
        return [line for one in processes for line in self._process(one, bool(name))]

    @staticmethod
    def _process(process: Process, is_whole: bool) -> Iterator[str]:
        if not process.alive:
            yield f"{process.name} is down (it was started {process.incarnation} times)"
            return
        tasks = sorted((one for one in process.runner.tasks if one._counter > 0), key=lambda one: int(one._counter))
        yield f"{process.name}.{process.incarnation} is {process.state.value.partition(':')[0]}, {len(tasks)} tasks"
        for task in tasks:
            yield f"  {task.name.rpartition('.')[2]}"
            yield from (f"    {line}" for line in _stack(task, is_whole))

    # --- invocations --------------------------------------------------------------------------------------------

    def invocations(self) -> list[str]:
        """All of them, with how they stand."""
        told = []
        for one in self.chronicle.invocations:
            found = self._find(one.id)
            result = self.rehearsal.truth.results.get(one.id)
            ended = f"COMPLETED, {result_text(result)}" if result is not None else "forgotten"
            is_live = found is not None and found.status is not Status.COMPLETED
            status = found.status.name if found is not None and is_live else ended
            label = f" as {one.label!r}" if one.label else ""
            told.append(shortened(f"#{one.number:<3} {one.target}{label}: {status}", LINE_CHARACTERS_MAX))
        return told or ["nothing was accepted yet"]

    def journal(self, text: str) -> list[str]:
        """The entries of the invocation that *text* means."""
        id_ = self.inquiry.find(text)
        found = self._find(id_)
        if found is None:
            known = id_ in self.rehearsal.truth.commands
            return [f"{text}: {'its journal is gone' if known else 'there is no such invocation'}"]
        status = f"{found.status.name}, lease {found.lease}, accepted by record {found.birth}"
        lines = [f"{self.inquiry.name(id_)} ({id_}): {status}"]
        entries = [f"  [{index}] {entry_text(entry)}" for index, entry in enumerate(found.journal)]
        return [*lines, *(entries or ["  its journal is gone"])]

    def _find(self, invocation_id: str) -> Invocation | None:
        models = self.rehearsal.truth.models
        return next((one.invocations[invocation_id] for one in models if invocation_id in one.invocations), None)

    # --- objects ------------------------------------------------------------------------------------------------

    def state(self, service: str, key: str) -> list[str]:
        """What is committed of an object's state."""
        for model in self.rehearsal.truth.models:
            stored = model.state.get((service, key))
            if stored:
                return [f"{value_text(name)} = {_value(value)}" for name, value in stored.items()]
        objects = [key for model in self.rehearsal.truth.models for key, stored in model.state.items() if stored]
        known = ", ".join("/".join(one) for one in objects[:20])
        return [f"{service}/{key} has no state" + (f"; these have some: {known}" if known else "")]

    def locks(self) -> list[str]:
        """Who holds which object, since when, and how many wait."""
        since = {one.fact("object"): one for one in self.chronicle.events if one.kind == "lock"}
        lines = []
        for model in self.rehearsal.truth.models:
            for key, holder in model.locks.items():
                object_ = "/".join(key)
                event = since.get(object_)
                when = f" since {seconds(event.at_ns)} (step {event.step})" if event is not None else ""
                waiting = len(model.inboxes.get(key, ()))
                lines.append(f"{object_} is held by {self.inquiry.name(holder)}{when}, {waiting} wait")
        return lines or ["nobody holds a lock"]

    def inbox(self) -> list[str]:
        """Who waits for which object, in order."""
        lines = []
        for model in self.rehearsal.truth.models:
            for key, waiting in model.inboxes.items():
                for place, one in enumerate(waiting, 1):
                    who = "a change of state" if isinstance(one, c.MutateState) else self.inquiry.name(one)
                    lines.append(f"{'/'.join(key)}: {place}. {who}")
        return lines or ["nobody waits for an object"]

    # --- what is due --------------------------------------------------------------------------------------------

    def timers(self) -> list[str]:
        """Durable timers, and whether the server that runs has armed them; messages between partitions."""
        node = self.inquiry.node
        lines = [f"the server's clock says {self.rehearsal.cluster.server.process.wall.now_ms()} ms"]
        for model in self.rehearsal.truth.models:
            armed = () if node is None else node.effects[model.index].timers.ids
            for timer_id, timer in sorted(model.timers.items(), key=lambda pair: (pair[1].due_ms, pair[0])):
                how = "armed" if timer_id in armed else "not armed"
                name = self.inquiry.name(timer.invocation_id)
                due = f"due at {timer.due_ms} ms"
                lines.append(f"partition {model.index}, timer {timer_id} ({timer.what} of {name}): {due}, {how}")
            for target, rows in model.outbox.items():
                for sequence, message in rows.items():
                    what = type(message).__name__
                    lines.append(f"partition {model.index}, outbox to {target}, number {sequence}: {what}")
        return lines

    def network(self) -> list[str]:
        """Live connections, and what is on its way."""
        lines = []
        for one in self.rehearsal.kernel.network.connections.values():
            kind = "exchange" if one.exchange else "stream"
            ways = ", ".join(_way(pipe) for pipe in (one.forward, one.backward))
            lines.append(f"connection {one.number}, {kind}, {' > '.join(one.link)}: {ways}")
        now_ns = self.ended.time_ns
        for message in self.chronicle.messages:
            if message.received_ns < 0 and not message.is_lost:
                ago = f"sent {seconds(now_ns - message.sent_ns)} ago (step {message.sent_step})"
                lines.append(f"on its way, {message.source} > {message.target}, {ago}: {message.what}")
        return lines or ["there is no connection"]

    def disk(self) -> list[str]:
        """What is written and not synced: a power cut now may lose or tear it."""
        lines = []
        for name, medium in self.rehearsal.kernel.media.items():
            if medium.writes or medium.syncs:
                counts = f"{medium.writes} writes, {medium.syncs} syncs so far, {medium.unsynced} not durable"
                lines.append(f"{name}: {counts}")
                for path, inode in sorted(medium._names.items()):
                    if inode.unsynced:
                        lines.append(f"  {path}: {len(inode.unsynced)} writes of {len(inode.visible)} bytes in all")
        return lines or ["no disk was written to"]

    # --- what happened ------------------------------------------------------------------------------------------

    def log(self, count: int = EVENTS_SHOWN, about: str = "") -> list[str]:
        """The latest events; only those *about* an invocation, of a kind or a process, or that say it."""
        found = [one for one in self.chronicle.events if not about or is_meant(one, about, self.chronicle)]
        names = {one.id: f"#{one.number}" for one in self.chronicle.invocations}
        return [event_line(one, names.get(one.invocation, "")) for one in found[-count:]] or [
            f"nothing about {about!r}"
        ]

    def claims(self) -> list[str]:
        """The claims that broke so far."""
        broken = self.rehearsal.watch.violations
        return [f"{seconds(one.at_ns)}: {one.claim}: {one.what}" for one in broken] or ["no claim is broken so far"]


def is_meant(event: Event, text: str, chronicle: Chronicle) -> bool:
    """Whether *text* means *event*: its kind, its invocation, its process, or a part of what it says.

    What is the name of a kind, or the number of an invocation, is nothing else.
    """
    if text in KINDS:
        return event.kind == text
    named = chronicle.find(text)
    if named is not None and event.invocation == named.id:
        return True
    if named is not None and number_in(text) is not None:
        return False
    return text in (event.process, event.process.rpartition(".")[0]) or text in event.what


def event_line(event: Event, name: str = "") -> str:
    """An event in one line that begins with its step."""
    about = f" {name}" if name else ""
    head = f"step {event.step:<6} {event.at_ns / NS_PER_S:10.6f} s  {event.process or '-':12} {event.kind}{about}"
    return shortened(f"{head}  {event.what}", LINE_CHARACTERS_MAX)


def _stack(task: Any, is_whole: bool) -> Iterator[str]:
    """The frames of a parked task, innermost first."""
    frames = [(frame, line) for frame, line in task.iter_await_frames()][::-1]
    told: Sequence[tuple[Any, int]] = frames
    if not is_whole:
        told = [one for one in frames if not is_library(one[0].f_code.co_filename)][:FRAMES_SHOWN] or frames[:1]
    for frame, line in told:
        yield f"{frame.f_code.co_qualname} ({relative(frame.f_code.co_filename)}:{line})"


def _way(pipe: Pipe) -> str:
    parts = [f"{pipe.in_flight} in flight"]
    if pipe.buffer:
        parts.append(f"{len(pipe.buffer)} unread")
    if pipe.held:
        parts.append(f"{len(pipe.held)} held back")
    if pipe.void:
        parts.append("void")
    if pipe.eof_sent:
        parts.append("ended")
    return f"from {pipe.link[0]} {' '.join(parts)}"


def _value(value: bytes) -> str:
    try:
        return shortened(json.dumps(json.loads(value)), LINE_CHARACTERS_MAX)
    except ValueError:
        return value_text(value)
