"""The outbox: in order, a window at a time, acknowledged as durable, forgotten once."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.effects.outbox import Outbox
from understudy_runtime.model.actions import Send
from understudy_runtime.model.commands import Delivered, Kill, OutboxDelivered


@attrs.define
class Net:
    """Remembers what was handed over."""

    delivered: list[tuple[int, int]] = attrs.field(factory=list)

    def deliver(self, target_partition: int, message: Delivered) -> None:
        assert message.source_partition == 0
        self.delivered.append((target_partition, message.sequence))

    def acknowledge(self, source_partition: int, target_partition: int, sequence: int) -> None:
        raise AssertionError("the outbox acknowledges nothing")


def bench(in_flight_max: int) -> tuple[Outbox, Net, list[OutboxDelivered]]:
    net, proposed = Net(), list[OutboxDelivered]()
    return Outbox(0, net, proposed.append, in_flight_max), net, proposed


def send(sequence: int, target: int = 1) -> Send:
    return Send(target, sequence, Kill("inv_1a"))


def test_a_window_at_a_time_and_in_order() -> None:
    outbox, net, proposed = bench(2)
    for sequence in (5, 6, 7, 8):
        outbox.send(send(sequence))
    assert net.delivered == [(1, 5), (1, 6)]
    outbox.delivered(1, 5)
    assert net.delivered == [(1, 5), (1, 6), (1, 7)]
    assert proposed == [OutboxDelivered(1, 5)]
    outbox.delivered(1, 7)
    assert net.delivered[-1] == (1, 8)
    assert proposed == [OutboxDelivered(1, 5)], "one proposal at a time"
    outbox.settled(proposed[0])
    assert proposed[1:] == [OutboxDelivered(1, 7)], "and it covers all that came meanwhile"
    assert outbox.count == 1


def test_a_repeated_acknowledgement_does_nothing() -> None:
    outbox, _, proposed = bench(4)
    outbox.delivered(1, 3)
    outbox.send(send(1))
    outbox.delivered(1, 1)
    outbox.delivered(1, 1)
    outbox.settled(proposed[0])
    outbox.settled(proposed[0])
    assert proposed == [OutboxDelivered(1, 1)]
    assert outbox.count == 0


def test_targets_do_not_wait_for_each_other() -> None:
    outbox, net, _ = bench(1)
    for target in (1, 2, 1, 2):
        outbox.send(send(10 + len(net.delivered) + outbox.count, target))
    assert [target for target, _ in net.delivered] == [1, 2]


@given(st.integers(1, 4), st.lists(st.integers(0, 3), max_size=60))
def test_everything_arrives_once_in_order_whatever_the_order_of_answers(window: int, choices: list[int]) -> None:
    outbox, net, proposed = bench(window)
    sent = acknowledged = settled = 0
    for choice in choices + [1, 2, 3] * 40:
        if choice == 0:
            sent += 1
            outbox.send(send(sent))
        elif choice == 1 and net.delivered:
            acknowledged = net.delivered[-1][1]
            outbox.delivered(1, acknowledged)
        elif choice == 2 and settled < len(proposed):
            outbox.settled(proposed[settled])
            settled += 1
        assert len(net.delivered) - acknowledged <= window
    assert [sequence for _, sequence in net.delivered] == list(range(1, sent + 1))
    assert [p.sequence for p in proposed] == sorted({p.sequence for p in proposed})
    assert outbox.count == 0
    assert not sent or proposed[-1].sequence == sent
