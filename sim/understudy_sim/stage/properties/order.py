"""P2, order: calls of one invocation to the same key, exclusive and undelayed, start in the order they were journaled.
For clients: what is asked after the answer (or the 202) to another call of the same key was read, starts after it.

Nothing else is claimed: two clients that do not know of each other have no order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from understudy_runtime.model.actions import Completed, StartAttempt
from understudy_runtime.model.commands import Invoke
from understudy_runtime.model.invocation import HandlerType

from understudy_sim.stage.happenings import Answered, Step
from understudy_sim.stage.history import Asked
from understudy_sim.stage.watch import Handler, Property

# What was asked, the invocation it came to, when it was answered, and how many invocations were accepted by then.
_Entry = tuple[Asked, str, int, int]


class Order(Property):
    number: ClassVar[str] = "P2"
    claim: ClassVar[str] = "calls to a key start in order"

    def handlers(self) -> Mapping[type, Handler]:
        self._placed: dict[tuple[str, str, str | None], list[str]] = {}
        self._queue_of: dict[str, tuple[str, str, str | None]] = {}
        self._begun: dict[str, tuple[int, int, int]] = {}  # invocation -> (partition, LSN, position) of its first start
        self._accepted: dict[str, int] = {}  # invocation -> how many were accepted before it
        self._answered: list[_Entry] = []
        return {Step: self._step, Answered: self._client_answered}

    def _step(self, step: Step) -> None:
        for accepted in step.effects.accepted:
            self._accepted.setdefault(accepted.invocation_id, len(self._accepted))
        for caller_id, command in step.effects.placed:
            self._place(caller_id, command)
        for position, action in enumerate(step.actions):
            if type(action) is StartAttempt and action.invocation_id not in self._begun:
                self._begun[action.invocation_id] = (step.partition, step.record.lsn, position)
                self._begin(action.invocation_id)
            elif type(action) is Completed and action.invocation_id in self._queue_of:
                # Cancelled or killed before it started: it waits for its turn no more.
                self._leave(action.invocation_id)

    def _place(self, caller_id: str, command: Invoke) -> None:
        id_ = command.invocation_id
        exclusive = command.handler_type is HandlerType.EXCLUSIVE
        if not exclusive or command.execution_time_ms or id_ in self._begun or id_ in self._queue_of:
            return
        queue = (caller_id, command.target.service, command.target.key)
        self._placed.setdefault(queue, []).append(id_)
        self._queue_of[id_] = queue

    def _begin(self, invocation_id: str) -> None:
        queue = self._queue_of.get(invocation_id)
        if queue is None:
            return
        first = self._placed[queue][0]
        if len(self._placed[queue]) > 1:
            self.hit("several calls of one sender to one key")
        if first != invocation_id:
            self.broken(
                f"{queue[0]} called {queue[1]}/{queue[2]} several times; {invocation_id} started before {first}, "
                "which was called earlier",
                invocation_id,
            )
        self._leave(invocation_id)

    def _leave(self, invocation_id: str) -> None:
        queue = self._queue_of.pop(invocation_id)
        self._placed[queue].remove(invocation_id)

    def _client_answered(self, event: Answered) -> None:
        # Whoever attaches asks for what was asked before: that has no order of its own.
        asked = event.asked
        if asked.attach is not None or asked.call.delay_ms:
            return
        if event.answer.invocation_id and event.answer.source != "ingress":
            self._answered.append((asked, event.answer.invocation_id, event.answer.at_ns, len(self._accepted)))

    def finish(self) -> None:
        """Compare each pair of calls of one key, one of which was asked after the other was answered."""
        by_key: dict[tuple[str, str], list[_Entry]] = {}
        for entry in self._answered:
            command = self.truth.commands.get(entry[1])
            if command is not None and command.handler_type is HandlerType.EXCLUSIVE and command.target.key is not None:
                by_key.setdefault((command.target.service, command.target.key), []).append(entry)
        for key, entries in by_key.items():
            for _, first_id, answered_ns, accepted_count in entries:
                for second, second_id, _, _ in entries:
                    # One of several who asked with one key may have been first before that answer.
                    joined = self._accepted.get(second_id, accepted_count) < accepted_count
                    if second.asked_ns > answered_ns and first_id != second_id and not joined:
                        self._compare(key, first_id, second_id)

    def _compare(self, key: tuple[str, str], first_id: str, second_id: str) -> None:
        first, second = self._begun.get(first_id), self._begun.get(second_id)
        if first is None or second is None:
            return
        self.hit("client calls in order")
        if first > second:
            self.broken(
                f"a client had its answer for {first_id} before it asked for {second_id} on {key[0]}/{key[1]}, "
                "and yet the second started first",
                second_id,
            )
