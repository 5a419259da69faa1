"""A stand for one property: a watch, a truth with hand-made invocations, and short ways to tell it events."""

from __future__ import annotations

from typing import TypeVar

from understudy_runtime.model.actions import Action, Completed, StartAttempt
from understudy_runtime.model.commands import Command, Invoke, Record
from understudy_runtime.model.invocation import HandlerType, ServiceType, Success, Target
from understudy_sim.stage.happenings import Step
from understudy_sim.stage.history import Answer, Asked
from understudy_sim.stage.model_words import Effects
from understudy_sim.stage.operations import Call
from understudy_sim.stage.truth import Truth
from understudy_sim.stage.watch import Property, Watch

P = TypeVar("P", bound=Property)

IDS = ("inv_14NAYWOkWeyC4HqaAv3eM70hJLaHxEfgB2", "inv_14NAYWOkWeyC0aId9wdult2E9t1kvQgwtr")
FIRST, SECOND = IDS


class Stand:
    """Builds a property and feeds it steps of partition 0."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.watch = Watch(lambda: self.now_ns)
        self.truth = Truth(1)
        self.lsn = 0

    def put(self, kind: type[P]) -> P:
        checker = kind(self.watch, self.truth)
        self.watch.subscribe(checker.handlers())
        return checker

    def invocation(self, id_: str, key: str | None = "k", *, exclusive: bool = True) -> Invoke:
        type_ = ServiceType.VIRTUAL_OBJECT if key is not None else ServiceType.SERVICE
        handler_type = HandlerType.EXCLUSIVE if exclusive else HandlerType.SHARED
        command = Invoke(id_, Target("Obj", "do", key), type_, handler_type, b"")
        self.truth.commands[id_] = command
        return command

    def step(
        self, command: Command, actions: tuple[Action, ...] = (), effects: Effects | None = None, time_ms: int = 0
    ) -> None:
        self.lsn += 1
        record = Record(self.lsn, time_ms, command)
        self.watch.tell(Step(0, record, actions, effects if effects is not None else Effects()))

    def start(self, id_: str, lease: int = 1) -> None:
        self.step(self.truth.commands[id_], (StartAttempt(id_, lease),))

    def complete(self, id_: str, value: bytes = b"1") -> None:
        self.truth.results[id_] = Success(value)
        self.truth.endings.setdefault(id_, []).append(Success(value))
        self.step(self.truth.commands[id_], (Completed(id_, Success(value), 0),))

    @property
    def broken(self) -> list[str]:
        return [violation.what for violation in self.watch.violations]


def two_invocations() -> Stand:
    """A stand that knows FIRST and SECOND, of one key."""
    stand = Stand()
    for id_ in IDS:
        stand.invocation(id_)
    return stand


def asked(ordinal: int = 0, at_ns: int = 0) -> Asked:
    return Asked(ordinal, Call(client="ann", service="Obj", key="k", handler="do"), "key", at_ns)


def answer(id_: str, body: bytes = b"1", *, status: int = 200, source: str = "", at_ns: int = 1) -> Answer:
    return Answer(at_ns, status, body, id_, source)
