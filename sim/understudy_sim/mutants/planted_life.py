"""Planted bugs in the life of an invocation: deduplication, locks, timers, kill, attach, workflows, retries."""

from __future__ import annotations

from typing import Final

from understudy_sim.mutants.edit import (
    ACCOUNTS,
    APPROVAL,
    FAN_OUT,
    KILN,
    PARCELS,
    PROMISE_RACE,
    REMINDERS,
    RENDER_FARM,
    REPORT,
    TRIP,
    Mutant,
)

LIFE: Final[tuple[Mutant, ...]] = (
    # -- exactly once --
    Mutant(
        id="A3",
        group="A exactly once",
        module="understudy_runtime.model.ids",
        before="    elif idempotency_key is not None:\n        uuid = idempotent_uuid(",
        after="    elif idempotency_key is not None and target.key is None:\n        uuid = idempotent_uuid(",
        why="an idempotency key is looked at only where a service has no keys: on an object a request runs once more",
        needs=("network",),
        scenario=ACCOUNTS,
    ),
    Mutant(
        id="A5",
        group="A exactly once",
        module="understudy_runtime.machine.apply",
        before="    if command.sequence <= turn.tables.dedup.get(command.source_partition, 0):\n        return\n",
        after="    if command.sequence < turn.tables.dedup.get(command.source_partition, 0):\n        return\n",
        why="the last message of another partition is taken once more when it is repeated",
        needs=("crash",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="A9",
        group="A exactly once",
        module="understudy_runtime.machine.attempts",
        before="    if invocation.status is not Status.INVOKED:\n        return True\n",
        after="    if invocation.status is Status.PAUSED:\n        return True\n",
        why="what an attempt sends still counts when its invocation was killed meanwhile",
        needs=("schedule",),
        scenario=RENDER_FARM,
    ),
    Mutant(
        id="A13",
        group="A exactly once",
        module="understudy_runtime.partition",
        before=(
            "        applied = [(record, self._apply(record)) for record in records]\n"
            "        for record, actions in applied:\n"
            "            effects.settled(record.command)\n"
        ),
        after=(
            "        seen = dict(self.tables.dedup)\n"
            "        applied = [(record, self._apply(record)) for record in records]\n"
            "        for record, actions in applied:\n"
            "            source = getattr(record.command, 'source_partition', None)\n"
            "            if source is None or record.command.sequence > seen.get(source, 0):\n"
            "                effects.settled(record.command)\n"
        ),
        why="a message that was seen before is not acknowledged, and its sender waits for ever",
        needs=("crash",),
        scenario=FAN_OUT,
    ),
    # -- locks --
    Mutant(
        id="C2",
        group="C locks",
        module="understudy_runtime.machine.lifecycle",
        before="        turn.tables.objects.withdraw(invocation)\n",
        after="        pass\n",
        why="who is cancelled or killed while it waits for its object stays in the inbox, and gets the lock when dead",
        needs=("workload",),
        scenario=RENDER_FARM,
    ),
    Mutant(
        id="C4",
        group="C locks",
        module="understudy_runtime.machine.lifecycle",
        before="    if status in HOLDING:\n        pass_lock(turn, invocation)\n",
        after=(
            "    if status in HOLDING:\n"
            "        if event is StatusEvent.FINISHED or status is not Status.SUSPENDED:\n"
            "            pass_lock(turn, invocation)\n"
            "        else:\n"
            "            turn.tables.objects.unlock(invocation)\n"
        ),
        why="who is killed while it is suspended gives its lock back to nobody: the inbox waits for ever",
        needs=("schedule",),
        scenario=RENDER_FARM,
    ),
    Mutant(
        id="C5",
        group="C locks",
        module="understudy_runtime.machine.objects",
        before="        return found.inbox.pop(next(iter(found.inbox)))\n",
        after="        return found.inbox.pop(next(reversed(found.inbox)))\n",
        why="the lock goes to who came last",
        needs=("workload",),
        scenario=ACCOUNTS,
    ),
    Mutant(
        id="C8",
        group="C locks",
        module="understudy_runtime.machine.objects",
        before="        return self._of(invocation).holder is not None\n",
        after=(
            "        found = self._of(invocation)\n"
            "        if found.holder is not None and found.busy_stored and not found.inbox:\n"
            "            found.holder = None\n"
            "        return found.holder is not None\n"
        ),
        why="once the row of a lock was written behind, the next call takes the lock from its holder",
        needs=("schedule",),
        scenario=ACCOUNTS,
    ),
    # -- timers --
    Mutant(
        id="E1",
        group="E timers",
        module="understudy_runtime.effects.timers",
        before="        if due_ms < self._sleeps_until_ms:\n            self._slot.wake()\n",
        after="        if self._sleeps_until_ms == math.inf:\n            self._slot.wake()\n",
        why="a timer that is nearer than the one slept for wakes nobody",
        needs=("schedule",),
        scenario=REMINDERS,
    ),
    Mutant(
        id="E4",
        group="E timers",
        module="understudy_runtime.machine.apply",
        before="    if turn.now_ms < timer.due_ms:\n",
        after="    if turn.now_ms < 0:\n",
        why="a timer whose record is stamped early, because the clock went back, fires all the same",
        needs=("time",),
        scenario=REMINDERS,
        escapes="seldom: the clock has to go back between the look at a timer and the stamp of its record",
    ),
    Mutant(
        id="E7",
        group="E timers",
        module="understudy_runtime.machine.journal_entries",
        before="    arm_timer(turn, invocation, command.wake_up_time, TimerKind.SLEEP, completion_id)\n",
        after=(
            "    if command.wake_up_time > turn.now_ms:\n"
            "        arm_timer(turn, invocation, command.wake_up_time, TimerKind.SLEEP, completion_id)\n"
        ),
        why="a sleep that is over when it is journaled is never over",
        needs=("time",),
        scenario=REPORT,
    ),
    Mutant(
        id="E8",
        group="E timers",
        module="understudy_runtime.effects.timers",
        before="        self._horizon = page[-1] if len(page) == self._held_max else None\n",
        after="        self._horizon = page[-1] if len(page) > self._held_max else None\n",
        why="of the timers that are not held only the next page is ever asked for",
        needs=("workload",),
        scenario=REMINDERS,
    ),
    Mutant(
        id="E9",
        group="E timers",
        module="understudy_runtime.effects.timers",
        before="            self._is_full = False\n            self._slot.wake()\n",
        after="            self._is_full = False\n",
        why="whoever waits because too many timers fire at once is not told when there is room again",
        needs=("time",),
        scenario=REMINDERS,
    ),
    # -- what wakes --
    Mutant(
        id="F5",
        group="F suspension",
        module="understudy_runtime.machine.invocation",
        before="for name in suspend.named_signals)\n",
        after="for name in suspend.named_signals[1:])\n",
        why="who is suspended on a named signal is not woken by it",
        needs=("workload",),
        scenario=APPROVAL,
    ),
    Mutant(
        id="F6",
        group="F suspension",
        module="understudy_runtime.machine.invocation",
        before="    return invocation.signals[signal] < invocation.lease_entries\n",
        after="    return False\n",
        why="a cancel that a handler has had resumes it again and again, for ever",
        needs=("schedule",),
        scenario=TRIP,
    ),
    # -- cancel and kill --
    Mutant(
        id="G2",
        group="G cancel and kill",
        module="understudy_runtime.machine.termination",
        before="        turn.actions.append(AbortAttempt(invocation.id, invocation.lease))\n",
        after="        pass\n",
        why="a kill does not cut the attempt: what it does outside goes on",
        needs=("workload",),
        scenario=RENDER_FARM,
    ),
    Mutant(
        id="G3",
        group="G cancel and kill",
        module="understudy_runtime.machine.termination",
        before="    for callee_id in called_by(turn, invocation):\n        turn.send(Kill(callee_id))\n",
        after="",
        why="a kill does not go on to what was called",
        needs=("workload",),
        scenario=RENDER_FARM,
    ),
    Mutant(
        id="G4",
        group="G cancel and kill",
        module="understudy_runtime.machine.termination",
        before="    for entry in turn.tables.entries(invocation):\n        if entry.type == _CALL_ID_COMPLETION:\n",
        after=(
            "    sent = set()\n"
            "    for entry in turn.tables.entries(invocation):\n"
            "        if entry.type == MessageType.ONE_WAY_CALL:\n"
            "            sent.add(pb.OneWayCallCommand.FromString(entry.payload).invocation_id_notification_idx)\n"
            "        if entry.type == _CALL_ID_COMPLETION and (\n"
            "            pb.Notification.FromString(entry.payload).completion_id not in sent\n"
            "        ):\n"
        ),
        why="a kill does not go on to what was sent off",
        needs=("workload",),
        scenario=RENDER_FARM,
    ),
    Mutant(
        id="G9",
        group="G cancel and kill",
        module="understudy_runtime.machine.completions",
        before=(
            "    if invocation.status is Status.PAUSED and index == SIGNAL_CANCEL and not name:\n"
            "        resume(turn, invocation)\n"
        ),
        after="",
        why="a cancel does not take up what is paused",
        needs=("workload",),
        scenario=PARCELS,
    ),
    Mutant(
        id="G10",
        group="G cancel and kill",
        module="understudy_runtime.machine.lifecycle",
        before="    invocation.signals.clear()\n    disarm_timers(turn, invocation)\n",
        after="    invocation.signals.clear()\n",
        why="the timers of what is killed or cancelled stay armed",
        needs=("workload",),
        scenario=RENDER_FARM,
    ),
    Mutant(
        id="G11",
        group="G cancel and kill",
        module="understudy_runtime.machine.pausing",
        before="        turn.actions.append(AbortAttempt(invocation.id, invocation.lease))\n",
        after="        pass\n",
        why="a pause does not cut the attempt",
        needs=("workload",),
        scenario=KILN,
    ),
    # -- idempotency, attach, output --
    Mutant(
        id="H2",
        group="H idempotency",
        module="understudy_runtime.machine.invoke",
        before="    if command.caller is not None:\n        turn.answer(command.caller, known.result)\n",
        after="",
        why="a handler that calls with a key whose call has ended is not answered",
        needs=("workload",),
        scenario=REPORT,
    ),
    Mutant(
        id="H5",
        group="H idempotency",
        module="understudy_runtime.node",
        before="        return await self.replies.result(invocation_id)\n",
        after="        await trio.lowlevel.checkpoint()\n        return await self.replies.result(invocation_id)\n",
        why="an attach looks whether there is a result, and registers a step later: a result in between is missed",
        needs=("schedule",),
        scenario=REPORT,
        escapes="seldom: the result has to come within one step, and somebody has to attach just then",
    ),
    Mutant(
        id="H6",
        group="H idempotency",
        module="understudy_runtime.effects.replies",
        before="        for waiter in self._results.get(action.invocation_id, ()):\n",
        after="        for waiter in self._results.get(action.invocation_id, ())[:1]:\n",
        why="of all who wait for one result only the first is answered",
        needs=("workload",),
        scenario=REPORT,
    ),
    Mutant(
        id="H7",
        group="H idempotency",
        module="understudy_runtime.machine.lifecycle",
        before="    invocation.callers.append(caller)\n",
        after="    invocation.callers[:] = [caller]\n",
        why="of the handlers that wait for one invocation only the last is answered",
        needs=("workload",),
        scenario=REPORT,
    ),
    Mutant(
        id="H8",
        group="H idempotency",
        module="understudy_runtime.machine.lifecycle",
        before="    if bucket_of(invocation.expires_ms) <= bucket:\n        free(turn, invocation)\n",
        after=(
            "    if bucket_of(invocation.expires_ms) <= bucket and invocation.idempotency_key is None:\n"
            "        free(turn, invocation)\n"
        ),
        why="a result that has a key is never forgotten",
        needs=("time",),
        scenario=REPORT,
    ),
    # -- workflows --
    Mutant(
        id="I1",
        group="I workflows",
        module="understudy_runtime.machine.invoke",
        before="    if known.handler_type is HandlerType.WORKFLOW:\n",
        after="    if known.handler_type is HandlerType.WORKFLOW and known.status is not Status.COMPLETED:\n",
        why="a workflow that has ended is answered with its result when it is started again, instead of refused",
        needs=("workload",),
        scenario=APPROVAL,
    ),
    Mutant(
        id="I2",
        group="I workflows",
        module="understudy_runtime.machine.promises",
        before=(
            "    if promise.result is not None:\n"
            "        complete_with(turn, invocation, completion_id, ALREADY_COMPLETED)\n"
            "        return\n"
        ),
        after="",
        why="who completes a promise that is complete overwrites it",
        needs=("workload",),
        scenario=PROMISE_RACE,
    ),
    Mutant(
        id="I3",
        group="I workflows",
        module="understudy_runtime.machine.promises",
        before="    for listener in promise.listeners:\n",
        after="    for listener in promise.listeners[:1]:\n",
        why="of all who wait for a promise only the first is told",
        needs=("workload",),
        scenario=PROMISE_RACE,
    ),
    Mutant(
        id="I4",
        group="I workflows",
        module="understudy_runtime.machine.lifecycle",
        before="        forget_promises(turn, invocation.target.service, key)\n",
        after="        pass\n",
        why="the promises of a workflow outlive it: its next run finds them complete",
        needs=("time",),
        scenario=APPROVAL,
    ),
    # -- retries --
    Mutant(
        id="K4",
        group="K retries",
        module="understudy_runtime.invoker.core",
        before="        if policy.attempts_max is not None and job.failures >= policy.attempts_max:\n",
        after="        if policy.attempts_max is not None and job.failures > policy.attempts_max:\n",
        why="an invocation is tried once more than its policy says",
        needs=("workload",),
        scenario=PARCELS,
    ),
    Mutant(
        id="K5",
        group="K retries",
        module="understudy_runtime.invoker.core",
        before="        self._remove(job)\n        self._enqueue(Job(invocation_id, lease, birth=birth))\n",
        after=(
            "        self._remove(job)\n"
            "        self._enqueue(Job(invocation_id, lease, birth=birth, failures=job.failures))\n"
        ),
        why="a resume does not count the failures anew",
        needs=("workload",),
        scenario=PARCELS,
        escapes="a claim says how many attempts there are at most, none how many at least before a pause",
    ),
    Mutant(
        id="K7",
        group="K retries",
        module="understudy_runtime.invoker.core",
        before="            return GaveUp(failed.failure, pause=policy.on_max_attempts is OnMaxAttempts.PAUSE)\n",
        after="            return GaveUp(failed.failure, pause=False)\n",
        why="an invocation whose policy is to pause it ends with its failure",
        needs=("workload",),
        scenario=PARCELS,
    ),
    Mutant(
        id="K8",
        group="K retries",
        module="understudy_runtime.machine.attempts",
        before=(
            "    if SIGNAL_CANCEL in invocation.signals and not was_consumed(invocation, SIGNAL_CANCEL):\n"
            "        resume(turn, invocation)\n"
        ),
        after="",
        why="a cancel that comes while the last attempt fails is lost: the invocation is paused all the same",
        needs=("schedule",),
        scenario=PARCELS,
    ),
)
