"""Commands from numbers: requests, ends, signals, state, removals; whatever the tables are, each may be applied."""

from __future__ import annotations

from collections.abc import Sequence

from understudy_runtime.model.commands import Cancel, Command, Complete, Invoke, Kill, MutateState, Purge, Signal
from understudy_runtime.model.invocation import HandlerType, ServiceType, Success, Target

from tests.runtime.machine.driver import make_id

IDS = 9
TARGETS = (
    (Target("Greeter", "greet"), ServiceType.SERVICE, HandlerType.SHARED),
    (Target("Counter", "add", "a"), ServiceType.VIRTUAL_OBJECT, HandlerType.EXCLUSIVE),
    (Target("Counter", "add", "b"), ServiceType.VIRTUAL_OBJECT, HandlerType.EXCLUSIVE),
    (Target("Signup", "run", "u"), ServiceType.WORKFLOW, HandlerType.WORKFLOW),
)


def command_of(number: int) -> Command:
    """One command; *number* says which, and everything about it."""
    a, b = number % 12, number // 12
    id_ = make_id(number % IDS)
    if a < 5:
        target, service_type, handler_type = TARGETS[number % len(TARGETS)]
        return Invoke(
            id_, target, service_type, handler_type, b"in" * (b % 40), completion_retention_ms=(0, 60_000)[b % 2]
        )
    if a == 5:
        return Signal(id_, 17 + b % 3, result=Success(b"v" * (b % 90)))
    if a == 6:
        return Cancel(id_)
    if a == 7:
        return MutateState("Counter", "ab"[b % 2], ((b"n%d" % (b % 3), b"%d" % number),), None, 0)
    if a == 8:
        return Purge(id_)
    if a == 9:
        return Complete(id_, b % 3, None)
    return Kill(id_)


def commands_of(numbers: Sequence[int]) -> list[Command]:
    return [command_of(number) for number in numbers]
