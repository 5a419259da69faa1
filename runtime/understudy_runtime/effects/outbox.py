"""The outbox of one partition: messages to each other partition, in order, a window at a time.

A message stays in the tables until the target has it durable: `delivered` then proposes OutboxDelivered here, one at a
time per target, covering everything acknowledged meanwhile.  A restart sends everything again; the target drops what it
has seen and acknowledges that too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import attrs

from understudy_runtime.model.actions import Send
from understudy_runtime.model.commands import Delivered, OutboxDelivered


class PartitionRouter(Protocol):
    """The way to the partitions' leaders, here or on another node.  Plain calls; order per pair is kept."""

    def deliver(self, target_partition: int, message: Delivered) -> None:
        """Hand *message* to the leader of *target_partition*, who proposes it."""

    def acknowledge(self, source_partition: int, target_partition: int, sequence: int) -> None:
        """Tell the leader of *source_partition* that *target_partition* has its messages up to *sequence*."""


@attrs.define
class Lane:
    """The messages to one partition."""

    waiting: deque[Send] = attrs.field(factory=deque)
    in_flight: deque[int] = attrs.field(factory=deque)
    sequence_sent: int = 0
    sequence_acknowledged: int = 0
    sequence_proposed: int = 0
    is_proposing: bool = False


class Outbox:
    """What partition *source* owes to others."""

    def __init__(
        self,
        source: int,
        router: PartitionRouter,
        propose: Callable[[OutboxDelivered], None],
        in_flight_max: int,
    ) -> None:
        assert in_flight_max >= 1, "a window holds a message"
        self._source = source
        self._router = router
        self._propose = propose
        self._in_flight_max = in_flight_max
        self._lanes: dict[int, Lane] = {}

    @property
    def count(self) -> int:
        """Messages not yet acknowledged."""
        return sum(len(lane.waiting) + len(lane.in_flight) for lane in self._lanes.values())

    def send(self, action: Send) -> None:
        """Take an outbox row over; rows come in the order of their sequence."""
        assert action.target_partition != self._source, "a partition sends itself nothing"
        lane = self._lanes.setdefault(action.target_partition, Lane())
        assert not lane.waiting or action.sequence > lane.waiting[-1].sequence, "sequences grow"
        assert action.sequence > lane.sequence_sent, "a row is sent once by one leader"
        lane.waiting.append(action)
        self._fill(action.target_partition, lane)

    def delivered(self, target_partition: int, sequence: int) -> None:
        """*target_partition* has our messages up to *sequence* durable."""
        lane = self._lanes.get(target_partition)
        if lane is None or not lane.in_flight or sequence < lane.in_flight[0]:
            return
        assert sequence <= lane.sequence_sent, "only what was sent is acknowledged"
        while lane.in_flight and lane.in_flight[0] <= sequence:
            lane.in_flight.popleft()
        lane.sequence_acknowledged = sequence
        self._propose_delivered(target_partition, lane)
        self._fill(target_partition, lane)

    def settled(self, command: OutboxDelivered) -> None:
        """*command* was applied: the rows are gone."""
        lane = self._lanes.get(command.target_partition)
        if lane is not None:
            lane.is_proposing = False
            self._propose_delivered(command.target_partition, lane)

    def _propose_delivered(self, target_partition: int, lane: Lane) -> None:
        if lane.is_proposing or lane.sequence_acknowledged <= lane.sequence_proposed:
            return
        lane.is_proposing = True
        lane.sequence_proposed = lane.sequence_acknowledged
        self._propose(OutboxDelivered(target_partition, lane.sequence_acknowledged))

    def _fill(self, target_partition: int, lane: Lane) -> None:
        while lane.waiting and len(lane.in_flight) < self._in_flight_max:
            action = lane.waiting.popleft()
            lane.in_flight.append(action.sequence)
            lane.sequence_sent = action.sequence
            self._router.deliver(target_partition, Delivered(self._source, action.sequence, action.message))
