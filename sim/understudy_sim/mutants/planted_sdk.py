"""Planted bugs in the SDK: replay, suspension, cancel, futures and combinators, tasks of an attempt."""

from __future__ import annotations

from typing import Final

from understudy_sim.mutants.edit import DEADLOCK, DOORBELL, FAN_OUT, PROMISE_RACE, TRIP, Edit, Mutant

SDK: Final[tuple[Mutant, ...]] = (
    Mutant(
        id="A12",
        group="A exactly once",
        module="understudy.vm.vm",
        before="        if completion_id not in self._known and completion_id not in self._ready:\n",
        after="        if completion_id not in self._ready:\n",
        why="a step whose result is the last of the journal is executed again",
        needs=("crash",),
        also=(
            Edit(
                "understudy.vm.core",
                "        if not pending or pending[0][0] != key:\n",
                "        if not pending or pending[0][0] != key or (len(pending) == 1 and key in self._runs):\n",
            ),
            Edit(
                "understudy.vm.core",
                "            if not pending:\n                return self._unresolved(tree)\n",
                "            if not pending or (len(pending) == 1 and tree in self._runs and tree not in ready):\n"
                "                return self._unresolved(tree)\n",
            ),
        ),
    ),
    Mutant(
        id="D6",
        group="D replay",
        module="understudy.vm.core",
        before="        if not left:\n",
        after="        if not left and frame[0] < NOTIFICATION_FIRST:\n",
        why="an attempt whose journal ends with a result waits for more of it for ever",
        needs=("schedule",),
    ),
    Mutant(
        id="D10",
        group="D replay",
        module="understudy.vm.core",
        before="        while not (awaits.is_complete(tree, ready) if is_node else tree in ready):\n",
        after="        while pending if is_node and pending else not awaits.is_complete(tree, ready):\n",
        why="a race sees all results that are there, so a replay may have another winner than the first attempt",
        needs=("schedule",),
        scenario=DOORBELL,
    ),
    Mutant(
        id="F3",
        group="F suspension",
        module="understudy.vm.core",
        before="        for key in awaits.leaves(Node(Combinator.FIRST_COMPLETED, (left, CANCEL))):\n",
        after="        for key in [next(awaits.leaves(left)), CANCEL]:\n",
        why="a race that is suspended is woken by its first future only",
        needs=("schedule",),
        scenario=DOORBELL,
    ),
    Mutant(
        id="F7",
        group="F suspension",
        module="understudy.vm.core",
        before="        for key in awaits.leaves(Node(Combinator.FIRST_COMPLETED, (left, CANCEL))):\n",
        after="        for key in awaits.leaves(left):\n",
        why="a suspension does not list the cancel signal",
        needs=("schedule",),
        scenario=DEADLOCK,
    ),
    Mutant(
        id="G5",
        group="G cancel and kill",
        module="understudy.vm.core",
        before=(
            "            self._command(codes.SEND_SIGNAL, payload.SerializeToString())\n"
            "        self._children.clear()\n"
        ),
        after=(
            "            self._command(codes.SEND_SIGNAL, payload.SerializeToString())\n"
            "            break\n"
            "        self._children.clear()\n"
        ),
        why="a cancel goes on to the first call only",
        needs=("workload",),
        scenario=TRIP,
    ),
    Mutant(
        id="G8",
        group="G cancel and kill",
        module="understudy.vm.core",
        before="        while not (awaits.is_complete(tree, ready) if is_node else tree in ready):\n",
        after=(
            "        is_called = cancellable and any(key == CANCEL for key, _ in pending)\n"
            "        while is_called or not (awaits.is_complete(tree, ready) if is_node else tree in ready):\n"
        ),
        why="a cancel overtakes the results that came before it",
        needs=("schedule",),
        scenario=TRIP,
    ),
    Mutant(
        id="O1",
        group="O futures",
        module="understudy.api.combinators",
        before="    pending = [future for future in _of_one_context(futures) if not future.is_completed()]\n",
        after="    pending = [future for future in _of_one_context(futures) if future._value is not None]\n",
        why="who gathers what is complete already waits for ever",
        needs=("workload",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="O2",
        group="O futures",
        module="understudy.api.attempt",
        before="        self._is_closing = True\n        while self._running:\n",
        after="        while False:\n",
        why="a step that executes beside others outlives its attempt",
        needs=("schedule",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="O4",
        group="O futures",
        module="understudy.api.futures",
        before="            self._error = terminal_error(failure)\n",
        after="            self._error = TerminalError(failure.message)\n",
        why="a failure loses its code on the way to whoever awaits it",
        needs=("workload",),
        scenario=PROMISE_RACE,
    ),
    Mutant(
        id="O7",
        group="O futures",
        module="understudy.api.combinators",
        before="        await futures[0]._attempt.wait(_node(Combinator.FIRST_COMPLETED, futures))\n",
        after="        await futures[0]._attempt.wait(_node(Combinator.ALL_COMPLETED, futures))\n",
        why="a race waits for all who run",
        needs=("workload",),
        scenario=DOORBELL,
    ),
    Mutant(
        id="O9",
        group="O futures",
        module="understudy.api.combinators",
        before=(
            "    for name, future in futures.items():\n"
            "        if future.is_completed():\n"
            "            return [name, await future]\n"
        ),
        after=(
            "    for name, future in futures.items():\n"
            "        if future.is_completed() or future._attempt.vm.is_replaying:\n"
            "            return [name, await future]\n"
        ),
        why="in a replay the first future named wins the race",
        needs=("schedule",),
        scenario=DOORBELL,
    ),
    Mutant(
        id="O10",
        group="O futures",
        module="understudy.vm.awaits",
        before=(
            "        return _Standing.PENDING if _Standing.PENDING in standings else _Standing.SUCCEEDED\n"
            "    if combinator is Combinator.FIRST"
        ),
        after="        return standings[-1]\n    if combinator is Combinator.FIRST",
        why="who waits for all goes on when the last one named is there",
        needs=("schedule",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="O11",
        group="O futures",
        module="understudy.api.attempt",
        before="            self._wake = scope.cancel\n",
        after="            self._wake = None\n",
        why="a step that executes beside others and ends while its attempt waits for the server wakes nobody",
        needs=("schedule",),
        scenario=FAN_OUT,
    ),
)
