"""P11, linearizable objects: what was asked of one key, by clients and by other handlers, can be put into one order
that a sequential model explains, and in which whoever was answered comes before those who asked later.

A scenario gives the model of a service.  A client's operation lasts from its first try to its first answer; one that
was never answered may have happened or not.  Another handler's call lasts from the record that journals it to the one
that ends it.  Code 409 is no answer of the model's: the invocation was cancelled, killed or refused, and may have done
its work or not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from typing import Any, ClassVar, Final

import attrs
from understudy_runtime.model.commands import Invoke
from understudy_runtime.model.invocation import Result, Success

from understudy_sim.stage.happenings import Answered, Step
from understudy_sim.stage.history import Answer, Asked, History
from understudy_sim.stage.linearizability import UNKNOWN, Failed, Judgement, Operation, Verdict, judge
from understudy_sim.stage.watch import Handler, Property

ENDED_BY_FORCE: Final = 409
SHOWN_MAX: Final = 8
TEXT_MAX: Final = 100

ObjectModel = Callable[[Any, str, Any], tuple[Hashable, Any]]
"""(state, handler, argument) -> (state afterwards, answer): one operation that has the object to itself."""


@attrs.frozen
class _Model:
    step: ObjectModel
    initial: Hashable

    def __call__(self, state: Any, action: tuple[str, Any]) -> tuple[Hashable, Any]:
        return self.step(state, *action)


@attrs.define
class _Seen:
    """An operation as far as it is known: its key, and its places in the order of all events."""

    target: tuple[str, str]
    action: tuple[str, Any]
    called: int
    who: str
    returned: int | None = None
    answer: Any = UNKNOWN

    def ended(self, at: int, answer: Any) -> None:
        """The first end counts.  Who was ended by force stays open."""
        if self.returned is None and answer != Failed(ENDED_BY_FORCE):
            self.returned, self.answer = at, answer


class Linearizable(Property):
    number: ClassVar[str] = "P11"
    claim: ClassVar[str] = "objects are linearizable"

    def handlers(self) -> Mapping[type, Handler]:
        self.undecided = 0
        self._models: dict[str, _Model] = {}
        self._history = History()
        self._looked_at = 0  # so many of the history's operations are known
        self._now = 0
        self._operations: list[_Seen] = []
        self._asked: dict[int, _Seen] = {}
        self._requests: dict[tuple[Any, ...], _Seen] = {}
        self._invocations: dict[str, _Seen] = {}
        return {Answered: self._answered, Step: self._step}

    def declare(self, service: str, model: ObjectModel, initial: Hashable, history: History) -> None:
        """Objects of *service* must behave like *model*, each beginning as *initial*.  *history* is the clients'."""
        assert service not in self._models, f"{service} has one model"
        self._models[service] = _Model(model, initial)
        self._history = history

    # --- what is seen -------------------------------------------------------------------------------------------

    def _tick(self) -> int:
        """The next place in the order of events.  Whoever asked since the last one asked before this one."""
        while self._looked_at < len(self._history.asked):
            self._begin(self._history.asked[self._looked_at])
            self._looked_at += 1
        self._now += 1
        return self._now

    def _begin(self, asked: Asked) -> None:
        call = asked.call
        if call.service not in self._models or call.key is None or asked.attach is not None:
            return
        self._now += 1
        # Whoever asks with the same idempotency key asks for the same operation.
        request = (call.service, call.key, call.handler, asked.idempotency_key or asked.ordinal)
        seen = self._requests.get(request)
        if seen is None:
            seen = _Seen((call.service, call.key), (call.handler, call.argument), self._now, call.client)
            self._requests[request] = seen
            self._operations.append(seen)
        self._asked[asked.ordinal] = seen

    def _answered(self, event: Answered) -> None:
        if not self._models:
            return
        now = self._tick()
        seen = self._asked.get(event.asked.ordinal)
        answer = event.answer
        if seen is None:
            return
        if answer.status == 202:
            self._invocations.setdefault(answer.invocation_id, seen)
            if (result := self.truth.results.get(answer.invocation_id)) is not None:
                seen.ended(now, _said(result))
        elif answer.of_invocation:
            seen.ended(now, _read(answer))

    def _step(self, step: Step) -> None:
        if not self._models:
            return
        now = self._tick()
        for caller_id, command in step.effects.placed:
            if command.target.service in self._models and command.target.key is not None:
                self._place(caller_id, command, now)
        for invocation_id, result in step.effects.completed.items():
            if invocation_id in self._invocations:
                self._invocations[invocation_id].ended(now, _said(result))

    def _place(self, caller_id: str, command: Invoke, now: int) -> None:
        if command.invocation_id in self._invocations:
            return
        target = command.target
        assert target.key is not None, "P11: an object has a key"
        seen = _Seen((target.service, target.key), (target.handler, _value(command.payload)), now, caller_id)
        self._invocations[command.invocation_id] = seen
        self._operations.append(seen)

    # --- the verdict --------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Judge the history of each key."""
        by_key: dict[tuple[str, str], list[_Seen]] = {}
        for seen in self._operations:
            by_key.setdefault(seen.target, []).append(seen)
        for target, history in by_key.items():
            self._judge(target, history)

    def _judge(self, target: tuple[str, str], history: list[_Seen]) -> None:
        operations = [Operation(one.action, one.answer, one.called, one.returned, one.who) for one in history]
        model = self._models[target[0]]
        judgement = judge(operations, model, model.initial)
        if judgement.verdict is Verdict.UNDECIDED:
            self.undecided += 1
            self.hit("histories undecided")
            return
        self.hit("histories judged")
        for one in operations:
            self.hit("operations put in order" if one.returned is not None else "operations that may have happened")
        if judgement.verdict is Verdict.NOT_LINEARIZABLE:
            self.broken(_explain(target, len(operations), judgement))


def _value(data: bytes) -> Any:
    return json.loads(data) if data else None


def _said(result: Result) -> Any:
    return _value(result.value) if isinstance(result, Success) else Failed(result.code)


def _read(answer: Answer) -> Any:
    return _value(answer.body) if answer.status == 200 else Failed(answer.status)


def _explain(target: tuple[str, str], count: int, judgement: Judgement) -> str:
    """How far an order comes, and what each operation that could be next was answered."""
    lines = [f"no order explains the {count} operations on {target[0]}/{target[1]}; the longest that does ends with"]
    shown = judgement.order[-SHOWN_MAX:]
    lines += [f"  {_describe(one)}" for one in shown] or ["  nothing"]
    lines.append(f"which leaves {_short(judgement.state)}; then should come one of")
    for one, expected in judgement.stuck:
        lines.append(f"  {_describe(one)}, where the model says {_short(expected)}")
    return "\n".join(lines)


def _describe(one: Operation) -> str:
    handler, argument = one.action
    asked = f"{handler}({'' if argument is None else _short(argument)})"
    when = f"events {one.called} to {one.returned}" if one.returned is not None else f"from event {one.called} on"
    return f"{asked} for {one.who} was answered {_short(one.answer)} ({when})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 3] + "..."
