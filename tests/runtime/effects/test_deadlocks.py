"""A circle seen while what closes it is still on its way between two partitions."""

from __future__ import annotations

from understudy_runtime.effects.deadlocks import Deadlocks
from understudy_runtime.model import ids
from understudy_runtime.model.actions import CheckDeadlock, Send
from understudy_runtime.model.commands import Attach, Callee, Caller, Command, Refuse, Suspend
from understudy_runtime.model.invocation import HandlerType, ServiceType, Target

from tests.runtime.machine.driver import Driver, M, proposed

X, Y = Target("Counter", "add", "x"), Target("Counter", "add", "y")


def test_who_nobody_waits_for_yet_is_refused_when_somebody_does() -> None:
    """*first* waits for *sent*, *sent* for *second*, *second* for *called*, *called* for *first*."""
    one, two = Driver(0, 2), Driver(1, 2)
    refused: list[Command] = []
    deadlocks = Deadlocks(
        lambda id_: (one, two)[ids.partition_of(ids.partition_key_of(id_), 2)].tables,
        lambda _, command: refused.append(command),
    )
    first, second = one.invoke(X), two.invoke(Y)
    called = one.invoke(X, caller=Caller(second, 2, two.at(second).birth))
    call = {"service_name": X.service, "handler_name": X.handler, "key": X.key}
    at = {"invocation_id_notification_idx": 1, "result_completion_id": 2}
    callee = Callee(called, ServiceType.VIRTUAL_OBJECT, HandlerType.EXCLUSIVE)
    two.attempt(second, proposed(M.CALL, callee, **call, **at), end=Suspend((2,), (1,)))
    two.now_ms += 1
    sent = two.invoke(Y)
    attach = proposed(M.ATTACH_INVOCATION, Callee(sent), invocation_id=sent, result_completion_id=1)
    actions = one.attempt(first, attach, end=Suspend((1,), (1,)))
    (message,) = [action.message for action in actions if isinstance(action, Send)]
    assert isinstance(message, Attach)

    deadlocks.check(called)
    assert refused == [], "the attach has not come to its partition"
    assert CheckDeadlock(sent) in two.do(message)
    deadlocks.check(sent)
    (command,) = refused
    assert isinstance(command, Refuse)
    assert command.invocation_id == sent
