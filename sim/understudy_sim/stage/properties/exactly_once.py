"""P3, exactly-once ledger: each journal step has one recorded result, and the body of a `ctx.run` is executed at most
once more than attempts of its invocation were cut off, timed out or failed.

Resumes after a suspension explain nothing: a step whose result is recorded must not be executed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MessageType
from understudy_runtime.model.commands import AttemptOutput
from understudy_runtime.model.events import AttemptEnded, AttemptStarted
from understudy_runtime.model.invocation import Status

from understudy_sim.stage.happenings import ServerStopped, Step, StepExecuted
from understudy_sim.stage.model_words import Note
from understudy_sim.stage.watch import Handler, Property

ORDERLY_ENDS = ("finished", "suspended")
# The endpoint was not reached, says the server: so nothing was executed.
NEVER_REACHED = "rejected"
_RESULT = MessageType.RUN_COMPLETION


class ExactlyOnce(Property):
    number: ClassVar[str] = "P3"
    claim: ClassVar[str] = "a step has one result and no needless executions"

    def handlers(self) -> Mapping[type, Handler]:
        self._running: dict[tuple[str, int, int], None] = {}
        self._unsettled: dict[tuple[str, int, int], None] = {}  # ended in order, but not durable yet
        self._journaled: dict[tuple[str, str], int] = {}  # steps of that name: a handler may use one name often
        self._executed: dict[tuple[str, str], int] = {}
        self._results: dict[tuple[str, int], int] = {}  # step results in the journal when it was last looked at
        return {
            Step: self._step,
            StepExecuted: self._step_executed,
            AttemptStarted: self._attempt_started,
            AttemptEnded: self._attempt_ended,
            ServerStopped: self._server_stopped,
        }

    def _step(self, step: Step) -> None:
        command = step.record.command
        if type(command) is AttemptOutput and command.end is not None:
            attempt = (command.invocation_id, command.lease, command.attempt)
            if attempt in self._unsettled:
                del self._unsettled[attempt]
                if not step.effects.invocations:
                    # A pause came first: what the attempt had done to the end does not count.
                    self.truth.interrupted(command.invocation_id)
        if type(step.record.command) is not AttemptOutput or not step.effects.invocations:
            return
        proposals = 0
        id_ = step.record.command.invocation_id
        for proposed in step.record.command.entries:
            proposals += proposed.entry.type == MessageType.PROPOSE_RUN_COMPLETION
            if proposed.entry.type == MessageType.RUN:
                key = (id_, pb.RunCommand.FromString(proposed.entry.payload).name)
                self._journaled[key] = self._journaled.get(key, 0) + 1
        if not proposals:
            return
        self.hit("step results recorded")
        self._check_results(step.partition, id_, proposals)

    def _check_results(self, partition: int, id_: str, proposals: int) -> None:
        """Each of the *proposals* must have been recorded, as the first result of its step."""
        inv = self.truth.models[partition].invocations.get(id_)
        if inv is None or inv.status is Status.COMPLETED:
            return  # It ended with this record, and its journal may be gone.
        results = [note.answers for note in inv.journal if isinstance(note, Note) and note.type == _RESULT]
        known = self._results.get((id_, inv.birth), 0)  # A journal only grows while its invocation lives.
        self._results[id_, inv.birth] = len(results)
        for at, answers in enumerate(results[known:], known):
            if answers in results[:at]:
                self.broken(f"step {answers} of {id_} has a second recorded result", id_)
        if len(results) - known < proposals:
            self.broken(f"{id_} executed a step again whose result was recorded already", id_)

    def _step_executed(self, event: StepExecuted) -> None:
        key = (event.invocation_id, event.name)
        count = self._executed[key] = self._executed.get(key, 0) + 1
        if count > 1:
            self.hit("step executed again")

    def _attempt_started(self, event: AttemptStarted) -> None:
        self._running[event.invocation_id, event.lease, event.attempt] = None

    def _attempt_ended(self, event: AttemptEnded) -> None:
        attempt = (event.invocation_id, event.lease, event.attempt)
        self._running.pop(attempt, None)
        if event.how in ORDERLY_ENDS:
            self._unsettled[attempt] = None
        elif event.how != NEVER_REACHED:
            self.truth.interrupted(event.invocation_id)

    def _server_stopped(self, _: ServerStopped) -> None:
        for invocation_id, _lease, _attempt in (*self._running, *self._unsettled):
            self.truth.interrupted(invocation_id)
        self._running.clear()
        self._unsettled.clear()

    def finish(self) -> None:
        """Every execution beyond the first needs an attempt that was cut off, timed out or failed."""
        for (invocation_id, name), count in self._executed.items():
            steps = max(1, self._journaled.get((invocation_id, name), 0))
            allowed = steps + self.truth.interruptions.get(invocation_id, 0)
            if count > allowed:
                self.broken(
                    f"the body of step {name!r} ran {count} times; interruptions of {invocation_id} explain {allowed}",
                    invocation_id,
                )
