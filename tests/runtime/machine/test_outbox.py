"""Partitions reach each other through the outbox only, each message once."""

from __future__ import annotations

import pytest
from understudy.protocol import service_pb2 as pb
from understudy_runtime.machine.apply import outstanding
from understudy_runtime.model.actions import Action, Send, StartAttempt
from understudy_runtime.model.commands import Callee, Delivered, Kill, OutboxDelivered
from understudy_runtime.model.invocation import Status

from tests.runtime.machine.driver import Driver, M, make_id, proposed

NAMES = {"service_name": "Greeter", "handler_name": "greet", "invocation_id_notification_idx": 1}


def sends(actions: list[Action]) -> list[Send]:
    return [action for action in actions if isinstance(action, Send)]


def deliver(actions: list[Action], source: Driver, target: Driver) -> list[Action]:
    """Carry what *source* sent over to *target* and acknowledge it."""
    caused: list[Action] = []
    for send in sends(actions):
        assert send.target_partition == target.partition
        caused += target.do(Delivered(source.partition, send.sequence, send.message))
        source.do(OutboxDelivered(target.partition, send.sequence))
    return caused


def test_a_call_to_another_partition_goes_there_and_back() -> None:
    here, there = Driver(0, 2), Driver(1, 2)
    caller, callee = here.invoke(), make_id(5, 1, 2)
    call = proposed(M.CALL, Callee(callee), result_completion_id=2, **NAMES)
    actions = here.attempt(caller, call)
    [send] = sends(actions)
    assert (send.target_partition, send.sequence) == (1, 1)
    assert here.status(callee) is Status.FREE
    assert outstanding(here.tables) == [StartAttempt(caller, 1), send]
    assert deliver(actions, here, there) == [StartAttempt(callee, 1)]
    assert outstanding(here.tables) == [StartAttempt(caller, 1)]
    here.suspend(caller, 2)
    assert deliver(there.finish(callee, b"r"), there, here) == [StartAttempt(caller, 2)]
    assert here.notes(caller)[1] == (
        M.CALL_COMPLETION,
        pb.Notification(completion_id=2, value=pb.Value(content=b"r")),
    )


def test_a_message_is_taken_once() -> None:
    here, there = Driver(0, 2), Driver(1, 2)
    callee = make_id(5, 1, 2)
    call = proposed(M.ONE_WAY_CALL, Callee(callee), **NAMES)
    [send] = sends(here.attempt(here.invoke(), call))
    message = Delivered(0, send.sequence, send.message)
    assert there.do(message) == [StartAttempt(callee, 1)]
    there.finish(callee)
    assert there.do(message) == []
    assert there.status(callee) is Status.FREE
    assert there.tables.dedup == {0: 1}


def test_sources_are_told_apart() -> None:
    there = Driver(2, 3)
    for source in (0, 1):
        callee = make_id(source, 2, 3)
        assert there.do(Delivered(source, 1, there.request(invocation_id=callee))) == [StartAttempt(callee, 1)]


def test_an_acknowledgement_drops_what_it_names_and_no_more() -> None:
    here = Driver(0, 3)
    caller = here.invoke()
    for number, partition in enumerate((1, 1, 2, 1), start=1):
        names = {**NAMES, "invocation_id_notification_idx": number}
        here.attempt(caller, proposed(M.ONE_WAY_CALL, Callee(make_id(number, partition, 3)), **names))
    assert [list(here.tables.outbox[target]) for target in (1, 2)] == [[1, 2, 3], [1]]
    here.do(OutboxDelivered(1, 2))
    assert [list(here.tables.outbox[target]) for target in (1, 2)] == [[3], [1]]
    here.do(OutboxDelivered(1, 2))
    here.do(OutboxDelivered(1, 3))
    assert [send.target_partition for send in sends(outstanding(here.tables))] == [2]


@pytest.mark.parametrize("flushed", [True, False])
def test_sequences_go_on_after_everything_was_delivered(flushed: bool) -> None:
    here = Driver(0, 2)
    caller = here.invoke()
    here.attempt(caller, proposed(M.ONE_WAY_CALL, Callee(make_id(1, 1, 2)), **NAMES))
    here.do(OutboxDelivered(1, 1))
    if flushed:
        here.flush()
    here.tables = here.reload()
    names = {**NAMES, "invocation_id_notification_idx": 2}
    [send] = sends(here.attempt(caller, proposed(M.ONE_WAY_CALL, Callee(make_id(2, 1, 2)), **names)))
    assert send.sequence == 2


def test_a_kill_crosses_partitions() -> None:
    here, there = Driver(0, 2), Driver(1, 2)
    caller, callee = here.invoke(), make_id(5, 1, 2)
    deliver(here.attempt(caller, proposed(M.ONE_WAY_CALL, Callee(callee), **NAMES)), here, there)
    assert there.status(callee) is Status.INVOKED
    actions = here.do(Kill(caller))
    assert [send.message for send in sends(actions)] == [Kill(callee)]
    deliver(actions, here, there)
    assert there.status(callee) is Status.FREE


def test_a_signal_crosses_partitions() -> None:
    here, there = Driver(0, 2), Driver(1, 2)
    target = there.invoke()
    there.suspend(target, signals=(17, 1))
    signal = proposed(M.SEND_SIGNAL, target_invocation_id=target, idx=17, void=pb.Void())
    actions = here.attempt(here.invoke(), signal)
    assert deliver(actions, here, there) == [StartAttempt(target, 2)]


def test_an_attach_crosses_partitions() -> None:
    here, there = Driver(0, 2), Driver(1, 2)
    asking, target = here.invoke(), there.invoke()
    attach = proposed(M.ATTACH_INVOCATION, Callee(target), invocation_id=target, result_completion_id=1)
    deliver(here.attempt(asking, attach), here, there)
    deliver(there.finish(target, b"r"), there, here)
    assert here.notes(asking)[0][1].value.content == b"r"
