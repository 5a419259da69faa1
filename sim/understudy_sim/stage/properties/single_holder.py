"""P1, single holder: at any LSN at most one exclusive invocation per object key may propose, and nothing is accepted
from a revoked lease.

Handler *bodies* may overlap after a kill, an abort, a partition or a restart; each overlap must be explained: the
server must have ended the earlier attempt, or have lost it, before the later body began.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from understudy_runtime.model.actions import AbortAttempt, Completed, StartAttempt
from understudy_runtime.model.commands import AttemptOutput, LeaderElected
from understudy_runtime.model.events import AttemptEnded, AttemptStarted
from understudy_runtime.model.invocation import HandlerType

from understudy_sim.stage.happenings import BodyEnded, BodyStarted, ServerStopped, Step
from understudy_sim.stage.watch import Handler, Property

Key = tuple[str, str | None]


class SingleHolder(Property):
    number: ClassVar[str] = "P1"
    claim: ClassVar[str] = "one exclusive invocation holds a key"

    def handlers(self) -> Mapping[type, Handler]:
        self._holders: dict[Key, str] = {}
        self._leases: dict[str, int] = {}
        self._epochs: dict[int, int] = {}
        self._running: dict[str, tuple[int, int]] = {}  # invocation -> (lease, attempt) the server believes in
        self._attempts: dict[str, int] = {}
        self._started_bodies: dict[str, int] = {}
        self._bodies: dict[int, str] = {}
        return {
            Step: self._step,
            AttemptStarted: self._attempt_started,
            AttemptEnded: self._attempt_ended,
            ServerStopped: lambda _: self._running.clear(),
            BodyStarted: self._body_started,
            BodyEnded: self._body_ended,
        }

    def _step(self, step: Step) -> None:
        command = step.record.command
        if type(command) is LeaderElected:
            self._epochs[step.partition] = command.epoch
        elif type(command) is AttemptOutput:
            self._check_lease(step, command)
        # Within one record the lock passes from hand to hand: whoever ended with it holds nothing any more.
        ended = [action.invocation_id for action in step.actions if type(action) is Completed]
        for action in step.actions:
            if type(action) is Completed:
                self._ended(action.invocation_id)
            elif type(action) is AbortAttempt:
                self._leases.pop(action.invocation_id, None)  # paused: it keeps its lock, its attempt speaks no more
        for action in step.actions:
            if type(action) is StartAttempt:
                self._started(action)
                # A kill ends a tree at once: who got the lock from one that was killed may be killed with it.
                if action.invocation_id in ended:
                    self._ended(action.invocation_id)

    def _check_lease(self, step: Step, command: AttemptOutput) -> None:
        current = (self._epochs.get(step.partition), self._leases.get(command.invocation_id))
        if (command.epoch, command.lease) == current:
            return
        self.hit("stale output refused")
        if step.actions:
            self.broken(
                f"{command.invocation_id} proposed under epoch {command.epoch}, lease {command.lease} and was heard, "
                f"though epoch and lease were {current}",
                command.invocation_id,
            )

    def _started(self, action: StartAttempt) -> None:
        id_ = action.invocation_id
        self._leases[id_] = action.lease
        command = self.truth.commands.get(id_)
        if command is None:
            self.broken(f"{id_} was started, but no durable record asked for it", id_)
            return
        if command.handler_type is not HandlerType.EXCLUSIVE:
            return
        key = (command.target.service, command.target.key)
        holder = self._holders.setdefault(key, id_)
        self.hit("lock taken")
        if holder != id_:
            self.broken(f"{id_} was started on {key[0]}/{key[1]} while {holder} holds it", id_)

    def _ended(self, invocation_id: str) -> None:
        command = self.truth.commands.get(invocation_id)
        key = None if command is None else (command.target.service, command.target.key)
        if key is not None and self._holders.get(key) == invocation_id:
            del self._holders[key]
        self._leases.pop(invocation_id, None)

    def _attempt_started(self, event: AttemptStarted) -> None:
        id_ = event.invocation_id
        self._running[id_] = (event.lease, event.attempt)
        self._attempts[id_] = self._attempts.get(id_, 0) + 1

    def _attempt_ended(self, event: AttemptEnded) -> None:
        if self._running.get(event.invocation_id) == (event.lease, event.attempt):
            del self._running[event.invocation_id]

    def _body_ended(self, event: BodyEnded) -> None:
        self._bodies.pop(event.body, None)

    def _body_started(self, event: BodyStarted) -> None:
        id_ = event.invocation_id
        command = self.truth.commands.get(id_)
        if command is None:
            self.broken(f"{id_} runs, but no durable record asked for it", id_)
            return
        started = self._started_bodies[id_] = self._started_bodies.get(id_, 0) + 1
        if started > self._attempts.get(id_, 0):
            self.broken(f"{id_} began to run {started} times, for {self._attempts.get(id_, 0)} attempts", id_)
        if command.handler_type is not HandlerType.EXCLUSIVE:
            return
        key = (command.target.service, command.target.key)
        for other_id in self._bodies.values():
            other = self.truth.commands[other_id].target
            if (other.service, other.key) != key:
                continue
            self.hit("bodies overlapped")
            # A body may begin late, when the server has ended its attempt already: then it is the one explained.
            if other_id != id_ and other_id in self._running and id_ in self._running:
                self.broken(
                    f"{id_} runs on {key[0]}/{key[1]} while attempt {self._running[other_id]} of {other_id} does, "
                    "and nothing ended it",
                    id_,
                )
        self._bodies[event.body] = id_
