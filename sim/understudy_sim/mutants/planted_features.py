"""Planted bugs in what few applications use: they show only where somebody uses it.

Keys of sends, headers, attaching, what is scheduled, failures with details, retries of steps, terms of a handler.
"""

from __future__ import annotations

from typing import Final

from understudy_sim.mutants.edit import APPROVAL, NIGHT_WATCH, POWER_CUTS, RENDER_FARM, REPAIRS, REPORT, Mutant

FEATURES: Final[tuple[Mutant, ...]] = (
    Mutant(
        id="D17",
        group="D replay",
        module="understudy.api.context",
        before="        if self._random is None:\n            self._random = Random",
        after="        if True:\n            self._random = Random",
        why="each random value is drawn anew from the seed: two uuids of a handler are one",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="F9",
        group="F suspension",
        module="understudy.vm.vm",
        before=(
            "        message = pb.SendSignalCommand(target_invocation_id=invocation_id, name=name)\n"
            "        self._put(result, "
        ),
        after=(
            "        message = pb.SendSignalCommand(target_invocation_id=invocation_id, name=name)\n"
            '        self._put(result if isinstance(result, bytes) else b"null", '
        ),
        why="a signal that is rejected arrives as a value",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="G13",
        group="G cancel and kill",
        module="understudy_runtime.machine.termination",
        before="    if invocation.status in WAITING:\n        complete_invocation(turn, invocation, CANCELLED",
        after="    if invocation.status is Status.INBOXED:\n        complete_invocation(turn, invocation, CANCELLED",
        why="who is cancelled before its time begins all the same",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="H12",
        group="H idempotency",
        module="understudy_runtime.invoker.callee",
        before="    key = None if handler.type is HandlerType.WORKFLOW else address.idempotency_key\n",
        after=(
            "    is_send = entry.type == ONE_WAY_CALL\n"
            "    key = None if handler.type is HandlerType.WORKFLOW or is_send else address.idempotency_key\n"
        ),
        why="the key of a handler's send is not looked at: each send begins another",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="H13",
        group="H idempotency",
        module="understudy_runtime.ingress.core",
        before="    stored = stored_result(invocation_id, known, schema)\n    return answers.not_ready()",
        after=(
            "    is_told = isinstance(known.result, Success)\n"
            "    stored = stored_result(invocation_id, known, schema) if is_told else None\n"
            "    return answers.not_ready()"
        ),
        why="the output of what has failed is not ready, for ever",
        needs=("workload",),
        scenario=REPORT,
    ),
    Mutant(
        id="H14",
        group="H idempotency",
        module="understudy_runtime.machine.lifecycle",
        before="    elif command.wait:\n        join",
        after="    elif command.wait and invocation.status is not Status.SCHEDULED:\n        join",
        why="a handler that attaches to what has not begun yet is answered with nothing",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="H15",
        group="H idempotency",
        module="understudy_runtime.model.retention",
        before="    elif can_ask_again:\n",
        after="    elif can_ask_again and options.idempotency_retention_ms is not None:\n",
        why="a result with a key is kept no longer than its journal, unless its handler says how long",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="I6",
        group="I workflows",
        module="understudy_runtime.machine.invoke",
        before="            turn.answer(command.caller, ALREADY_INVOKED)\n",
        after=(
            "            if known.result is None:\n"
            "                join(turn, known, command.caller)\n"
            "            else:\n"
            "                turn.answer(command.caller, known.result)\n"
        ),
        why="a handler that starts a workflow again is given the result of the first run",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="J8",
        group="J state",
        module="understudy.vm.vm",
        before="        self._state_map.clear()\n        self._state_is_partial = False\n",
        after="        self._state_is_partial = False\n",
        why="what a handler has cleared, all of it at once, it still reads",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="K12",
        group="K retries",
        module="understudy_runtime.model.schema",
        before='                ("delay_ms_max", self.retry_delay_ms_max),\n',
        after="",
        why="a handler's longest back-off is the server's",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="K13",
        group="K retries",
        module="understudy.vm.runs",
        before="    elapsed_total_ms = base.duration_ms + elapsed_ms\n",
        after="    elapsed_total_ms = elapsed_ms\n",
        why="a step that is to be tried for so long is tried for ever: each try counts for itself",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="L20",
        group="L storage and recovery",
        module="understudy_runtime.machine.rows",
        before='    (24, "last_append_ms"),\n',
        after="",
        why="after a restart it is forgotten when something was stored last: a step that is tried for so long gives up",
        needs=("crash",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="N5",
        group="N ingress",
        module="understudy_runtime.machine.journal_entries",
        before="            headers=tuple((header.key, header.value) for header in command.headers),\n",
        after="",
        why="the headers of a handler's call are lost",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="O14",
        group="O futures",
        module="understudy.api.combinators",
        before="        for future in done:\n            yield future\n",
        after="        yield done[0]\n",
        why="of those that complete together only one is given out",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="E10",
        group="E timers",
        module="understudy.api.context",
        before="host.now_ms() + max(0, milliseconds(delta))\n",
        after="host.now_ms() + max(0, milliseconds(delta)) // 2\n",
        why="a sleep lasts half as long as it should",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="K14",
        group="K retries",
        module="understudy.api.attempt",
        before=(
            "        if kind is Outcome.TERMINAL:\n"
            "            assert isinstance(leaf, TerminalError), leaf\n"
            "            self.vm.propose"
        ),
        after=(
            "        if kind is Outcome.TERMINAL and spec.policy is not None:\n"
            "            assert isinstance(leaf, TerminalError), leaf\n"
            "            self.vm.propose"
        ),
        why="a step without a policy that fails for good is tried again, for ever",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="K15",
        group="K retries",
        module="understudy_runtime.model.schema",
        before="        merged = self.over(service)\n",
        after="        merged = self\n",
        why="the options of a service do not reach its handlers",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="H16",
        group="H idempotency",
        module="understudy_runtime.effects.replies",
        before="                if acked.conflict:\n                    return acked, None\n",
        after="",
        why="who asks a workflow to run twice is refused only when the first run ends",
        needs=("workload",),
        scenario=APPROVAL,
    ),
    Mutant(
        id="L21",
        group="L storage and recovery",
        module="understudy_runtime.log.shell",
        before="            file.close()\n\n    def _scan",
        after="            pass\n\n    def _scan",
        why="each segment that is read at a start stays open",
        needs=("crash",),
        scenario=POWER_CUTS,
    ),
    Mutant(
        id="P8",
        group="P invoker",
        module="understudy_runtime.invoker.timeouts",
        before="        return (self.over_ms is not None or self.closed_ms is not None) and now_ms >= self.due_ms\n",
        after="        return self.over_ms is not None and now_ms >= self.due_ms\n",
        why="who does not suspend when asked to is never cut",
        needs=("time",),
        scenario=NIGHT_WATCH,
    ),
    Mutant(
        id="P9",
        group="P invoker",
        module="understudy_runtime.invoker.timeouts",
        before="        inactivity = limits.inactivity_timeout_ms if inactivity is None else inactivity\n",
        after="        inactivity = limits.inactivity_timeout_ms\n",
        why="the inactivity time-out of a handler is not looked at",
        needs=("time",),
        scenario=NIGHT_WATCH,
    ),
    Mutant(
        id="P10",
        group="P invoker",
        module="understudy_runtime.invoker.timeouts",
        before="            return max(self.closed_ms, self.heard_ms) + self.abort_ms\n",
        after="            return self.heard_ms + self.abort_ms\n",
        why="the abort time-out is counted from the last message, not from when the SDK was asked to suspend",
        needs=("time",),
        scenario=NIGHT_WATCH,
    ),
    Mutant(
        id="P11",
        group="P invoker",
        module="understudy_runtime.invoker.shell",
        before="        self._settle(self._core.settled(job))\n        self._wake_for_ready()\n",
        after="        self._settle(self._core.settled(job))\n",
        why="who waits for a slot is not told that one came free",
        needs=("schedule",),
        scenario=RENDER_FARM,
    ),
)
