"""Planted bugs that stand for those which other engines have had, as far as `planted_life.py` and its kin do not."""

from __future__ import annotations

from typing import Final

from understudy_sim.mutants.edit import (
    ACCOUNTS,
    DEADLOCK,
    DOORBELL,
    FAN_OUT,
    KILN,
    NOTEBOOK,
    PROMISE_RACE,
    REMINDERS,
    RENDER_FARM,
    REPAIRS,
    REPORT,
    TRIP,
    TURNSTILE,
    Mutant,
)

REAL: Final[tuple[Mutant, ...]] = (
    Mutant(
        id="A1",
        group="A exactly once",
        module="understudy_runtime.effects.outbox",
        before="            action = lane.waiting.popleft()\n",
        after="            action = lane.waiting.pop() if len(lane.in_flight) == 1 else lane.waiting.popleft()\n",
        why="messages overtake each other, and the receiver takes those overtaken for seen",
        needs=("schedule",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="B1",
        group="B order and queues",
        module="understudy_runtime.machine.apply",
        before="    for sequence in [sequence for sequence in pending if sequence <= command.sequence]:\n",
        after="    for sequence in [sequence for sequence in pending if sequence <= command.sequence + 1]:\n",
        why="the message behind those that were delivered is dropped with them",
        needs=("crash",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="B3",
        group="B order and queues",
        module="understudy_runtime.partition",
        before="        applied = [(record, self._apply(record)) for record in records]\n",
        after=(
            "        applied = [(record, self._apply(record)) for record in records]\n"
            "        await trio.lowlevel.checkpoint()\n"
            "        applied = applied[:1] if self._queue else applied\n"
        ),
        why="what the records of a batch ask for is lost behind the first one's when the next batch is there by then",
        needs=("schedule",),
    ),
    Mutant(
        id="B5",
        group="B order and queues",
        module="understudy_runtime.effects.timers",
        before="        if self._horizon is not None and (due_ms, timer_id) > self._horizon:\n            return\n",
        after="        if self._horizon is not None:\n            return\n",
        why="while some timers are left to the tables, a new one that is nearer than those held is not held",
        needs=("workload",),
        scenario=REMINDERS,
    ),
    Mutant(
        id="B6",
        group="B order and queues",
        module="understudy_runtime.partition",
        before="            self._queue[:0] = batch[count:]\n",
        after="            self._queue += batch[count:]\n",
        why="what was too much for one frame goes to the end of the queue",
        needs=("schedule",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="C10",
        group="C locks",
        module="understudy_runtime.machine.lifecycle",
        before=(
            "    while isinstance(head_id := objects.next(service, key), MutateState):\n"
            "        mutate(turn.tables.objects, head_id)\n"
            "    if head_id is None:\n"
            "        return\n"
        ),
        after=(
            "    head_id = objects.next(service, key)\n"
            "    if isinstance(head_id, MutateState):\n"
            "        mutate(turn.tables.objects, head_id)\n"
            "        return\n"
            "    if head_id is None:\n"
            "        return\n"
        ),
        why="behind a change of state by an operator the lock is handed on to nobody",
        needs=("workload",),
        scenario=RENDER_FARM,
    ),
    Mutant(
        id="D11",
        group="D replay",
        module="understudy_runtime.machine.journal_entries",
        before="    issue(invocation, completion_id, _STATE_KEYS_COMPLETION)\n",
        after="    issue(invocation, completion_id, _STATE_COMPLETION)\n",
        why="the names of a state are journaled as a value of it",
        needs=("workload",),
        scenario=NOTEBOOK,
    ),
    Mutant(
        id="D12",
        group="D replay",
        module="understudy_runtime.machine.restart",
        before="        random_seed=old.random_seed if is_partial else command.random_seed,\n",
        after="        random_seed=command.random_seed,\n",
        why="who is restarted from a part of a journal draws other random values than the part was made with",
        needs=("workload",),
        scenario=KILN,
    ),
    Mutant(
        id="D13",
        group="D replay",
        module="understudy_runtime.machine.promises",
        before="    listeners = (*promise.listeners, Caller(invocation.id, completion_id, invocation.birth))\n",
        after="    listeners = (Caller(invocation.id, completion_id, invocation.birth),)\n",
        why="who waits for a promise makes it anew, and those who waited before are forgotten",
        needs=("workload",),
        scenario=PROMISE_RACE,
    ),
    Mutant(
        id="E5",
        group="E timers",
        module="understudy_runtime.effects.timers",
        before="            if abs(apart_ms) > APART_MS:\n                self._slot.wake()\n",
        after="            if apart_ms < -APART_MS:\n                self._slot.wake()\n",
        why="a wall clock that jumps ahead is not noticed: what is due by it fires late",
        needs=("time",),
        scenario=REMINDERS,
    ),
    Mutant(
        id="F4",
        group="F suspension",
        module="understudy_runtime.invoker.shell",
        before=(
            "        if attempt is None or attempt.job.lease != action.lease or attempt.is_over:\n            return\n"
        ),
        after=(
            "        if attempt is None or attempt.job.lease != action.lease or attempt.is_over:\n"
            "            return\n"
            "        if attempt.stream is None:\n"
            "            return\n"
        ),
        why="what comes before an attempt's stream is open, and after its journal was copied, is lost",
        needs=("schedule",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="F8",
        group="F suspension",
        module="understudy.vm.core",
        before="        if not self._input_closed or any(self._runs[key].standing is _EXECUTING for key in runs):\n",
        after="        if not self._input_closed:\n",
        why="an attempt suspends on a step of its own that still executes, which nobody else can complete",
        needs=("schedule",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="G1",
        group="G cancel and kill",
        module="understudy_runtime.invoker.core",
        before=(
            "        if job.phase in HOLDS_SLOT:\n"
            "            return job\n"
            "        self._remove(job)\n"
            "        return None\n"
        ),
        after=(
            "        if job.phase in HOLDS_SLOT:\n"
            "            return job\n"
            "        if job.phase is Phase.BACKING_OFF:\n"
            "            return None\n"
            "        self._remove(job)\n"
            "        return None\n"
        ),
        why="a kill does not reach a job that backs off",
        needs=("schedule",),
        scenario=RENDER_FARM,
    ),
    Mutant(
        id="G6",
        group="G cancel and kill",
        module="understudy_runtime.machine.termination",
        before="    if invocation.status in WAITING:\n        complete_invocation(turn, invocation, CANCELLED",
        after="    if invocation.status is Status.SCHEDULED:\n        complete_invocation(turn, invocation, CANCELLED",
        why="who is cancelled in an inbox waits on",
        needs=("workload",),
        scenario=DEADLOCK,
    ),
    Mutant(
        id="H9",
        group="H idempotency",
        module="understudy_runtime.ingress.core",
        before="    return answers.accepted(acked.invocation_id, acked.execution_time_ms, is_new=acked.accepted)\n",
        after="    return answers.accepted(acked.invocation_id, acked.execution_time_ms, is_new=True)\n",
        why="a repeated send is answered as if it were the first",
        needs=("network",),
    ),
    Mutant(
        id="H10",
        group="H idempotency",
        module="understudy_runtime.effects.replies",
        before="            self._acked = answer\n            if answer.conflict or self._completed is not None:\n",
        after="            self._acked = answer\n            if answer.conflict:\n",
        why="a call whose result comes before its acknowledgement is never answered",
        needs=("workload",),
        scenario=TURNSTILE,
    ),
    Mutant(
        id="J1",
        group="J state",
        module="understudy_runtime.machine.tables",
        before=(
            "        for index in range(invocation.journal_length, invocation.journal_stored):\n"
            "            batch[rows.journal_key(raw, index)] = None\n"
        ),
        after=(
            "        for index in range(invocation.journal_length + 1, invocation.journal_stored):\n"
            "            batch[rows.journal_key(raw, index)] = None\n"
        ),
        why="the first row of a journal that is dropped stays in storage",
        needs=("workload",),
    ),
    Mutant(
        id="J2",
        group="J state",
        module="understudy_runtime.machine.objects",
        before="            batch[prefix + name] = found.state.get(name)\n",
        after="            if name in found.state:\n                batch[prefix + name] = found.state[name]\n",
        why="a value that was cleared comes back after a restart",
        needs=("crash",),
    ),
    Mutant(
        id="K6",
        group="K retries",
        module="understudy.api.futures",
        before="            self._error = terminal_error(failure)\n",
        after=(
            "            from understudy.api.errors import RetryableError\n"
            "\n"
            "            self._error = RetryableError(failure.message)  # type: ignore[assignment]\n"
        ),
        why="the failure of whom a handler called makes it try again, for ever",
        needs=("workload",),
        scenario=TRIP,
    ),
    Mutant(
        id="K9",
        group="K retries",
        module="understudy_runtime.invoker.core",
        before="        return job.retry_count + 1 if failed.reached else job.retry_count\n",
        after="        return job.retry_count + 1\n",
        why="attempts that never reached the endpoint count as tries of a step",
        needs=("network",),
    ),
    Mutant(
        id="K10",
        group="K retries",
        module="understudy_runtime.invoker.core",
        before="    for _ in range(failures - 1):\n",
        after="    for _ in range(0):\n",
        why="back-offs do not grow",
        needs=("workload",),
    ),
    Mutant(
        id="M4",
        group="M leadership and durability",
        module="understudy_runtime.effects.outbox",
        before=(
            "            self._router.deliver(target_partition, Delivered(self._source, action.sequence, "
            "action.message))"
        ),
        after=(
            "            self._router.deliver(target_partition, Delivered(self._source, action.sequence, "
            "action.message))\n"
            "            self.delivered(target_partition, action.sequence)"
        ),
        why="a message counts as delivered when it was handed over, before the receiver has it durable",
        needs=("crash",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="N3",
        group="N ingress",
        module="understudy_runtime.ingress.answers",
        before="    return code if 200 <= code <= 999 and code not in STATUS_WITHOUT_BODY else 500\n",
        after="    return 500\n",
        why="a failure is answered with 500, whatever its code",
        needs=("workload",),
        scenario=ACCOUNTS,
    ),
    Mutant(
        id="N4",
        group="N ingress",
        module="understudy_runtime.ingress.shell",
        before="    if known is None:\n        return answers.unknown_attached(invocation_id)\n",
        after=(
            "    if known is None or known.target.key is None:\n"
            "        return answers.unknown_attached(invocation_id)\n"
        ),
        why="who attaches to an invocation of a service that is not over is told that there is none",
        needs=("workload",),
        scenario=REPORT,
    ),
    Mutant(
        id="O3",
        group="O futures",
        module="understudy.vm.vm",
        before="        self._signal_index_next = index + 1\n",
        after="        self._signal_index_next = index + (not self.is_replaying)\n",
        why="in a replay all awakeables are the first one",
        needs=("schedule",),
        scenario=DOORBELL,
    ),
    Mutant(
        id="O5",
        group="O futures",
        module="understudy.vm.core",
        before="        runs, self._runs_to_execute = self._runs_to_execute, []\n",
        after="        runs, self._runs_to_execute = self._runs_to_execute[:1], []\n",
        why="of the steps that are awaited together only the first is executed",
        needs=("workload",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="O6",
        group="O futures",
        module="understudy.vm.awaits",
        before=(
            "        return _Standing.PENDING if _Standing.PENDING in standings else _Standing.SUCCEEDED\n    if comb"
        ),
        after=(
            "        return _Standing.PENDING if standings[0] is _Standing.PENDING else _Standing.SUCCEEDED\n"
            "    if comb"
        ),
        why="who waits for all goes on when the first one named is there",
        needs=("schedule",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="O8",
        group="O futures",
        module="understudy.vm.core",
        before=(
            "            if key in ready:\n                self._keep_signal(key, result)\n                continue\n"
        ),
        after="            if key in ready:\n                continue\n",
        why="a signal that comes while an earlier one of its name has not been taken is lost",
        needs=("schedule",),
        scenario=REPAIRS,
    ),
)
