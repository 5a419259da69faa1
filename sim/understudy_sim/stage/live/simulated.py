"""The simulator's side: the operations without faults, and what is there when all that runs has ended.

What is only scheduled for later has not happened yet on a live server either: state and journals are taken when nothing
else is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
from understudy_runtime.model.invocation import Status

from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.stage.application import Application
from understudy_sim.stage.faults import none
from understudy_sim.stage.happenings import Answered as SimAnswered
from understudy_sim.stage.happenings import Step
from understudy_sim.stage.live.outcome import Answered, Outcome, answered, command_name, is_command
from understudy_sim.stage.operations import Attach, Call, Operation
from understudy_sim.stage.plan import HOUR_MS, Plan
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.variation import Schedule, Variation

# Long enough for all that one operation sets off, without what it schedules for later.
PAUSE_MS: Final = 5_000
KEPT_MS: Final = 24 * HOUR_MS


def drawn(scenario: Scenario, application: Application, seed: int) -> tuple[Operation, ...]:
    """The operations that *seed* draws."""
    variation = Variation(faults=none(), tame=("plan/", "limits/"), steps_max=1)
    with silent():
        return run_seed(scenario, application, seed, variation).calls


def one_after_the_other(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """*operations* so that only one order is possible: one at a time, each waited for, with what it sets off."""
    waited = (attrs.evolve(one, one_way=one.delay_ms > 0) if isinstance(one, Call) else one for one in operations)
    return tuple(attrs.evolve(one, client="client", pause_ms=PAUSE_MS) for one in waited)


def simulated(scenario: Scenario, application: Application, seed: int, operations: Sequence[Operation]) -> Outcome:
    """What *operations* come to in the simulator, on a good day."""
    looking = _Looking(tuple(operations))
    variation = Variation(
        faults=none(), tame=("plan/", "limits/"), calls=tuple(operations), schedule=Schedule(kind="fifo")
    )
    kept = attrs.evolve(scenario, plan=lambda plan: _kept(plan if scenario.plan is None else scenario.plan(plan)))
    with silent():
        report = run_seed(kept, application, seed, variation, [looking])
    return Outcome(
        answers=looking.answers(),
        journals=looking.journals,
        states=looking.states,
        broken={one.claim: one.what for one in report.violations},
    )


def _kept(plan: Plan) -> Plan:
    limits = attrs.evolve(plan.limits, journal_retention_ms=KEPT_MS, completion_retention_ms=KEPT_MS)
    return attrs.evolve(plan, limits=limits, upgrade=None)


class _Looking:
    """Takes journals and states whenever nothing but what is scheduled is left; the first such time counts when all
    clients are through."""

    def __init__(self, operations: tuple[Operation, ...]) -> None:
        self.journals: Mapping[int, tuple[str, ...] | None] = {}
        self.states: Mapping[tuple[str, str], Mapping[str, Any]] = {}
        self._operations = operations
        self._rehearsal: Rehearsal | None = None
        self._taken = False

    def attach(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal
        rehearsal.watch.subscribe({Step: self._look, SimAnswered: self._look})

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        if not self._taken:
            self._take(rehearsal)

    def answers(self) -> tuple[Answered, ...]:
        """In the order of the operations."""
        assert self._rehearsal is not None, "it was run"
        of_client: dict[str, list[Answered]] = {}
        for asked in self._rehearsal.cluster.history.asked:
            last = asked.answer
            found = Answered(0) if last is None else answered(last.status, last.body)
            of_client.setdefault(asked.operation.client, []).append(found)
        acted: dict[str, list[Answered]] = {}
        for one in self._rehearsal.cluster.history.acted:
            acted.setdefault(one.act.client, []).append(Answered(one.status))
        return tuple(
            _next((of_client if isinstance(one, Call | Attach) else acted).get(one.client, []))
            for one in self._operations
        )

    def _look(self, _: object) -> None:
        run = self._rehearsal
        assert run is not None, "it is attached"
        asked = run.cluster.history.asked
        questions = sum(isinstance(one, Call | Attach) for one in self._operations)
        if self._taken or len(asked) < questions or any(one.answer is None for one in asked):
            return
        over = (Status.COMPLETED, Status.SCHEDULED)
        invocations = [inv for model in run.truth.models for inv in model.invocations.values()]
        if all(inv.status in over for inv in invocations) and not any(any(m.outbox.values()) for m in run.truth.models):
            self._take(run)

    def _take(self, run: Rehearsal) -> None:
        self._taken = True
        self.states = {
            key: run.truth.state(*key) for model in run.truth.models for key, stored in model.state.items() if stored
        }
        invocations = {id_: inv for model in run.truth.models for id_, inv in model.invocations.items()}
        of_client: dict[str, list[str]] = {}
        for one in run.cluster.history.asked:
            id_ = one.answer.invocation_id if one.answer is not None and one.attach is None else ""
            of_client.setdefault(one.operation.client, []).append(id_)
        journals: dict[int, tuple[str, ...] | None] = {}
        for number, operation in enumerate(self._operations):
            if isinstance(operation, Call | Attach):
                ids = of_client.get(operation.client, [])
                id_ = ids.pop(0) if ids else ""
                inv = invocations.get(id_)
                journals[number] = None if inv is None else commands_of(inv.journal)
        self.journals = journals


def _next(found: list[Answered]) -> Answered:
    return found.pop(0) if found else Answered(0)


def commands_of(journal: Sequence[Any]) -> tuple[str, ...]:
    """The commands of the model's journal, by the names of the protocol; notes of results are left out."""
    # What the handler's side sent is a plain pair, a note has a type of its own.
    sent = (int(entry[0]) for entry in journal if type(entry) is tuple)
    return tuple(command_name(type_) for type_ in sent if is_command(type_))
