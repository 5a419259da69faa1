"""What happened in one run, as data: events in order, messages, and who the invocations are.

A chronicle is frozen, pickles, prints as JSON and is equal for equal runs.  Times are virtual nanoseconds.  An event's
`step` is the step it happened in, or the next one if it happened between two: `replay --until STEP` has seen it.  It is
written by a `Chronicler` (`chronicler.py`), which nobody pays for who does not attach one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

Fact = str | int | tuple[str, ...]

# Every kind of event, and what it says.
KINDS: Final = MappingProxyType[str, str](
    {
        "start": "a process starts",
        "exit": "a process ends by itself",
        "crash": "a process is cut off",
        "pause": "a process stalls",
        "fault": "something is hurt",
        "heal": "faults are over",
        "leader": "a server leads a partition: what it replayed is done",
        "log.cut": "recovery cuts an incomplete last frame",
        "log.trimmed": "a log lets go of what a snapshot stands for",
        "snapshot": "a snapshot is durable, or given up",
        "restored": "a store is built anew",
        "flush": "rows are written behind",
        "sync": "a disk begins to sync",
        "synced": "what was written is durable",
        "disk.cut": "what a power cut did to a disk",
        "record": "a record is durable and applied",
        "replayed": "a restarted server applies a known record",
        "accepted": "an invocation exists",
        "entry": "a journal has one more entry",
        "status": "an invocation has another status",
        "lock": "an invocation has its object for itself",
        "unlock": "an object is free",
        "timer.armed": "a timer is set",
        "timer.disarmed": "a timer is taken back",
        "timer.fired": "a timer's time has come",
        "outbox": "a partition sends to another one",
        "ended": "an invocation has its result",
        "attempt.start": "the server begins an attempt",
        "attempt.end": "an attempt is over",
        "attempt.parked": "there is nowhere to run an attempt",
        "retry": "an attempt will be tried again",
        "body.start": "a handler's body begins to run",
        "body.end": "a handler's body runs no more",
        "run": "the function of a step is executed",
        "request": "the ingress takes a request in",
        "response": "the ingress answers a request",
        "send": "a message leaves",
        "receive": "a message arrives",
        "ask": "a client asks",
        "answer": "a client reads an answer",
        "gave_up": "a client asks no more",
        "act": "an operator has an answer",
        "deployed": "an endpoint is registered",
        "removed": "a deployment is to go",
        "ledger": "an external service did something",
        "hazard": "handler code does what replay cannot repeat",
        "violation": "a claim breaks",
        "end": "the run is over",
    }
)


@attrs.frozen(kw_only=True)
class Event:
    """Something that happened.  *process* is `name.incarnation`, empty for the world; *what* is one line for people."""

    number: int
    at_ns: int
    step: int
    process: str
    kind: str
    what: str
    invocation: str = ""
    facts: tuple[tuple[str, Fact], ...] = ()

    def __attrs_post_init__(self) -> None:
        assert self.kind in KINDS, f"there is no kind of event {self.kind!r}"

    def fact(self, name: str, otherwise: Any = None) -> Any:
        """The fact called *name*."""
        return next((value for key, value in self.facts if key == name), otherwise)

    def as_json(self) -> dict[str, Any]:
        shown = attrs.asdict(self, recurse=False)
        shown["facts"] = {name: list(fact) if isinstance(fact, tuple) else fact for name, fact in self.facts}
        return shown


@attrs.frozen(kw_only=True)
class Message:
    """Something that went from one process to another.  `received_ns` -1: it has not, and will not if it is lost."""

    number: int
    connection: int
    source: str
    target: str
    sent_ns: int
    sent_step: int
    received_ns: int
    received_step: int
    size: int  # bytes, or 1 where values travel
    what: str
    invocation: str = ""
    is_lost: bool = False

    def as_json(self) -> dict[str, Any]:
        return attrs.asdict(self)


@attrs.frozen(kw_only=True)
class Named:
    """An invocation: *number* counts them in the order they were accepted first, from 1."""

    number: int
    id: str
    target: str
    label: str = ""
    caller: str = ""  # the id of who called it

    @property
    def name(self) -> str:
        """`inv #3 CartObject/ann/checkout`."""
        return f"inv #{self.number} {self.target}"

    def as_json(self) -> dict[str, Any]:
        return attrs.asdict(self)


def number_in(text: str) -> int | None:
    """The 3 of `inv #3`, `#3` and `3`; None where *text* means an invocation by something else."""
    number = text.removeprefix("inv ").removeprefix("#")
    return int(number) if number.isdecimal() else None


@attrs.frozen(kw_only=True)
class Chronicle:
    """One run.  *ending* says how it ended, in words; claims that broke are events of the kind `violation`."""

    scenario: str
    seed: int
    variation: str
    digest: str
    steps: int
    ended_ns: int
    ending: str
    events: tuple[Event, ...]
    messages: tuple[Message, ...]
    invocations: tuple[Named, ...]

    def names(self) -> Mapping[str, Named]:
        """Invocations by id."""
        return {one.id: one for one in self.invocations}

    def find(self, text: str) -> Named | None:
        """The invocation that *text* means: its id or a unique beginning of it, `#3`, `3`, its label or its target."""
        number = number_in(text)
        if number is not None:
            return next((one for one in self.invocations if one.number == number), None)
        exact = [one for one in self.invocations if text in (one.id, one.label, one.target, one.name)]
        begun = [one for one in self.invocations if one.id.startswith(text)] if len(text) > len("inv_1") else []
        return exact[0] if exact else begun[0] if len(begun) == 1 else None

    def as_json(self) -> dict[str, Any]:
        """For `json.dumps`."""
        shown = attrs.asdict(self, recurse=False)
        for name in ("events", "messages", "invocations"):
            shown[name] = [one.as_json() for one in shown[name]]
        return shown
