"""Planted bugs of our own, in the style of real ones.

Deadlocks, versions, the rows behind the tables, snapshots, the invoker, HTTP, the SDK.
"""

from __future__ import annotations

from typing import Final

from understudy_sim.mutants.edit import (
    APPROVAL,
    DEADLOCK_REFUSED,
    DOORBELL,
    FAN_OUT,
    GRACEFUL_STOP,
    KILN,
    NIGHT_WATCH,
    NOTEBOOK,
    ORDER_UPGRADE,
    POWER_CUTS,
    PROMISE_RACE,
    REMINDERS,
    RENDER_FARM,
    REPAIRS,
    TURNSTILE,
    Mutant,
)

OWN: Final[tuple[Mutant, ...]] = (
    Mutant(
        id="V1",
        group="V deadlocks",
        module="understudy_runtime.effects.deadlocks",
        before="        self._propose(last.id, Refuse(last.id, failure, last.birth))\n",
        after="        for one in waiting:\n            self._propose(one.id, Refuse(one.id, failure, one.birth))\n",
        why="all calls of a circle that wait for a lock are refused, where one would do",
        needs=("workload",),
        scenario=DEADLOCK_REFUSED,
    ),
    Mutant(
        id="V2",
        group="V deadlocks",
        module="understudy_runtime.effects.deadlocks",
        before="        last = max(waiting, key=lambda one: (one.created_ms, one.id))\n",
        after="        last = min(waiting, key=lambda one: (one.created_ms, one.id))\n",
        why="another call of a circle is refused than the one that closed it",
        needs=("workload",),
        scenario=DEADLOCK_REFUSED,
    ),
    Mutant(
        id="V3",
        group="V deadlocks",
        module="understudy_runtime.effects.deadlocks",
        before="        if not waiting:\n",
        after="        if not waiting or len(members) > 4:\n",
        why="a circle of more than two handlers is not seen",
        needs=("workload",),
        scenario=DEADLOCK_REFUSED,
    ),
    Mutant(
        id="V4",
        group="V deadlocks",
        module="understudy_runtime.effects.dispatch",
        before="        effects.deadlocks.check(action.invocation_id)\n",
        after="        if effects.partition == 0:\n            effects.deadlocks.check(action.invocation_id)\n",
        why="only the first partition looks for circles",
        needs=("workload",),
        scenario=DEADLOCK_REFUSED,
    ),
    Mutant(
        id="Y1",
        group="Y versions",
        module="understudy_runtime.machine.attempts",
        before="    if command.entries and not invocation.deployment_id:\n",
        after="    if not invocation.deployment_id:\n",
        why="an invocation of which nothing is journaled is bound to a deployment",
        needs=("schedule",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="Y2",
        group="Y versions",
        module="understudy_runtime.machine.pausing",
        before="invocation.lease == command.idle_lease\n",
        after="invocation.lease >= command.idle_lease\n",
        why="a resume that was meant for a lease that is over cuts the attempt that runs",
        needs=("schedule",),
        scenario=KILN,
    ),
    Mutant(
        id="Y3",
        group="Y versions",
        module="understudy_runtime.invoker.placement",
        before="    return invocation.deployment_id or invocation.target.service\n",
        after="    return invocation.target.service\n",
        why="an invocation in flight goes on with the newest version of its handler",
        needs=("version",),
        scenario=ORDER_UPGRADE,
    ),
    Mutant(
        id="Y4",
        group="Y versions",
        module="understudy_runtime.invoker.core",
        before="        for invocation_id, job in self._parked.pop(wanted, {}).items():\n",
        after="        for invocation_id, job in list(self._parked.pop(wanted, {}).items())[:1]:\n",
        why="of those parked for a deployment only the first goes on when it is there",
        needs=("version",),
        scenario=ORDER_UPGRADE,
    ),
    Mutant(
        id="Y5",
        group="Y versions",
        module="understudy_runtime.machine.pausing",
        before="        invocation.deployment_id = command.deployment_id or invocation.deployment_id\n",
        after="",
        why="who is moved to another deployment stays where it was",
        needs=("version",),
        scenario=ORDER_UPGRADE,
    ),
    Mutant(
        id="R4",
        group="R registration",
        module="understudy_runtime.meta.shell",
        before="        await self._write(command)\n        core.apply(self._state, command)\n",
        after="        core.apply(self._state, command)\n        await self._write(command)\n",
        why="a deployment is in force before it is durable",
        needs=("crash",),
        scenario=ORDER_UPGRADE,
    ),
    Mutant(
        id="G7",
        group="G cancel and kill",
        module="understudy_runtime.machine.pausing",
        before="    if invocation.status not in (Status.INVOKED, Status.SUSPENDED):\n        return NOT_RUNNING\n",
        after="    if invocation.status is not Status.INVOKED:\n        return NOT_RUNNING\n",
        why="who is suspended cannot be paused",
        needs=("schedule",),
        scenario=KILN,
    ),
    Mutant(
        id="G12",
        group="G cancel and kill",
        module="understudy_runtime.machine.restart",
        before="        arm_timer(turn, new, due_ms, TimerKind.SLEEP, completion_id)\n",
        after="        pass\n",
        why="a sleep in the part of a journal that is taken over never ends",
        needs=("workload",),
        scenario=KILN,
    ),
    Mutant(
        id="H11",
        group="H idempotency",
        module="understudy_runtime.machine.completions",
        before="    if command.birth not in (0, invocation.birth):\n        return\n    complete_with",
        after="    complete_with",
        why="an answer to a call of an earlier life of an id reaches the later one",
        needs=("workload",),
        scenario=RENDER_FARM,
        escapes="an id lives again only after it was purged, and the late answer must find the same number open",
    ),
    Mutant(
        id="I5",
        group="I workflows",
        module="understudy_runtime.machine.lifecycle",
        before="        turn.tables.objects.clear_all_state(invocation.target.service, key)\n",
        after="",
        why="the state of a workflow outlives it",
        needs=("time",),
        scenario=APPROVAL,
    ),
    Mutant(
        id="X4",
        group="X expiry",
        module="understudy_runtime.machine.expiry",
        before="            number, ids = number + 1, bytearray()\n",
        after="            number, ids = number, bytearray()\n",
        why="a full chunk of the expiry index is overwritten by the next one",
        needs=(
            "workload",
            "time",
        ),
        scenario=TURNSTILE,
    ),
    Mutant(
        id="L12",
        group="L storage and recovery",
        module="understudy_runtime.machine.tables",
        before="            self._outbox_gone.append(rows.outbox_key(target_partition, sequence))\n",
        after="            pass\n",
        why="a message that was stored and delivered stays in storage",
        needs=("crash",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="L13",
        group="L storage and recovery",
        module="understudy_runtime.machine.objects",
        before=(
            "            batch[prefix + name.encode()] = None if promise is None else rows.encode_promise(promise)\n"
        ),
        after=(
            "            if promise is not None and (promise.result is not None or not promise.listeners):\n"
            "                batch[prefix + name.encode()] = rows.encode_promise(promise)\n"
        ),
        why="who listens to a promise is forgotten at a restart",
        needs=("crash",),
        scenario=PROMISE_RACE,
    ),
    Mutant(
        id="L14",
        group="L storage and recovery",
        module="understudy_runtime.machine.tables",
        before="            if found is not None and found.status is not Status.INVOKED:\n                del",
        after="            if found is not None:\n                del",
        why="who runs leaves memory as well",
        needs=("workload",),
    ),
    Mutant(
        id="L16",
        group="L storage and recovery",
        module="understudy_runtime.partition",
        before="        self.epoch = max(tables.epoch, log.epoch_last) + 1\n",
        after="        self.epoch = max(tables.epoch, 1)\n",
        why="a new leader leads under the epoch of the old one",
        needs=(
            "crash",
            "leadership",
        ),
    ),
    Mutant(
        id="L17",
        group="L storage and recovery",
        module="understudy_runtime.log.shell",
        before="        if scan.last_offset:\n            self._file.pwrite(",
        after="        if scan.torn_bytes:\n            self._file.pwrite(",
        why="a frame that a failed sync left in the cache alone is built on after a restart",
        needs=(
            "disk",
            "crash",
        ),
    ),
    Mutant(
        id="L19",
        group="L storage and recovery",
        module="understudy_runtime.log.shell",
        before="            self._file.pwrite(0, self._file.pread(0, scan.end))\n",
        after="            pass\n",
        why="the header of a segment that a failed sync left in the cache alone is built on after a restart",
        needs=(
            "disk",
            "crash",
        ),
    ),
    Mutant(
        id="L18",
        group="L storage and recovery",
        module="understudy_runtime.log.core",
        before="        if frame.lsn_first != self.lsn_next or frame.record_count < 1:\n",
        after="        if frame.record_count < 1:\n",
        why="a frame out of place in the log is accepted",
        needs=("disk",),
        escapes="only a write that lands elsewhere puts a good frame out of place",
    ),
    Mutant(
        id="S2",
        group="S snapshots",
        module="understudy_runtime.snapshot.shell",
        before=(
            "        self._disk.rename(writing.path, self.path_of(writing.lsn))\n"
            "        await self._disk.sync_dir(self._folder)\n"
        ),
        after="        self._disk.rename(writing.path, self.path_of(writing.lsn))\n",
        why="the log before a snapshot goes before the snapshot's name is durable",
        needs=(
            "crash",
            "disk",
        ),
    ),
    Mutant(
        id="S6",
        group="S snapshots",
        module="understudy_runtime.storage.view",
        before="            if (position is None or key > position) and key not in kept:\n",
        after="            if position is not None and key > position and key not in kept:\n",
        why="rows that change before a snapshot's first slice are in it as they are later",
        needs=("crash",),
        scenario=POWER_CUTS,
    ),
    Mutant(
        id="S7",
        group="S snapshots",
        module="understudy_runtime.log.shell",
        before="        while len(self._segments) > 1 and self._segments[1].lsn_first <= lsn + 1:\n",
        after="        while len(self._segments) > 1 and self._segments[0].lsn_first <= lsn + 1:\n",
        why="a trim takes a segment too many",
        needs=("crash",),
        scenario=POWER_CUTS,
    ),
    Mutant(
        id="P1",
        group="P invoker",
        module="understudy_runtime.invoker.core",
        before="        if job.is_revoked:\n            self._remove(job)\n            if job.lease_next:\n",
        after=(
            "        if job.is_revoked:\n"
            "            self._slots_taken += job.lease_next == 0\n"
            "            self._remove(job)\n"
            "            if job.lease_next:\n"
        ),
        why="the slot of an attempt that is killed is never free again",
        needs=("workload",),
        scenario=RENDER_FARM,
    ),
    Mutant(
        id="P2",
        group="P invoker",
        module="understudy_runtime.invoker.shell",
        before="        if self._core.ready_count:\n            self._slot.wake()\n",
        after="        pass\n",
        why="who waits for a slot is not told that one is free",
        needs=("schedule",),
    ),
    Mutant(
        id="P4",
        group="P invoker",
        module="understudy_runtime.invoker.shell",
        before="        self._slot.wake_before(due_ms / 1000)\n\n    def _sweep_by",
        after="\n    def _sweep_by",
        why="a back-off that is over is noticed when something else happens",
        needs=("network",),
    ),
    Mutant(
        id="P6",
        group="P invoker",
        module="understudy_runtime.invoker.shell",
        before="                attempt.timeouts.heard(now_ms)\n                attempt.flush()\n",
        after=(
            "                attempt.timeouts.heard(now_ms)\n"
            "                attempt.outgoing and attempt.outgoing.reverse()\n"
            "                attempt.flush()\n"
        ),
        why="notifications of one batch reach the attempt in reverse order",
        needs=("schedule",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="P7",
        group="P invoker",
        module="understudy_runtime.invoker.shell",
        before=(
            "            self._propose(attempt, step)\n        if step.end is not None or step.failed is not None:\n"
        ),
        after=(
            "            self._propose(attempt, step)\n"
            "        if step.end is not None or (step.failed is not None and not step.entries):\n"
        ),
        why="an attempt that fails with something journaled goes on as if it had not failed",
        needs=("workload",),
        scenario=NIGHT_WATCH,
    ),
    Mutant(
        id="Q6",
        group="Q HTTP",
        module="understudy_runtime.http.h1_client",
        before="            keep = head.keep_alive\n",
        after="            keep = True\n",
        why="a connection that the peer closes is kept",
        needs=("network",),
        scenario=GRACEFUL_STOP,
    ),
    Mutant(
        id="Q7",
        group="Q HTTP",
        module="understudy_runtime.http.h1_parse",
        before="        self._events += 1\n        if self._recording:\n            self._url += url\n",
        after="        self._events += 1\n        if self._recording:\n            self._url = url\n",
        why="of a path that comes in two pieces only the second is kept",
        needs=("network",),
    ),
    Mutant(
        id="O12",
        group="O futures",
        module="understudy.api.attempt",
        before="                if self._wake is not None:\n                    self._wake()\n",
        after="                if self._wake is not None and not self._running:\n                    self._wake()\n",
        why="of several steps beside each other only the last one that ends is noticed",
        needs=("schedule",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="O13",
        group="O futures",
        module="understudy.vm.awaits",
        before=(
            "        return _Standing.PENDING if _Standing.PENDING in standings else _Standing.SUCCEEDED\n    if comb"
        ),
        after=(
            "        return _Standing.PENDING if standings.count(_Standing.PENDING) > 1 else _Standing.SUCCEEDED\n"
            "    if comb"
        ),
        why="who waits for all does not wait for the last",
        needs=("schedule",),
        scenario=FAN_OUT,
    ),
    Mutant(
        id="K11",
        group="K retries",
        module="understudy.vm.runs",
        before="    count = base.count + 1\n",
        after="    count = base.count\n",
        why="a step is tried once more than its policy says",
        needs=("workload",),
        scenario=REPAIRS,
    ),
    Mutant(
        id="D15",
        group="D replay",
        module="understudy.vm.vm",
        before=(
            '                self._ready[completion_id] = EMPTY_VOID if value is None else ("value", value)\n'
            "                return\n"
        ),
        after=(
            "                known = self._state_map.get(key, value)\n"
            '                self._ready[completion_id] = EMPTY_VOID if known is None else ("value", known)\n'
            "                return\n"
        ),
        why="a read that is replayed sees what the replay itself has written before it",
        needs=("crash",),
        scenario=NOTEBOOK,
    ),
    Mutant(
        id="D16",
        group="D replay",
        module="understudy.vm.vm",
        before="        self._signal_index_next = index + 1\n        raw = self._start.id",
        after=(
            "        self._signal_index_next = index + 1 + (self._start.retry_count_since_last_stored_entry > 0)\n"
            "        raw = self._start.id"
        ),
        why="after a retry awakeables have other numbers",
        needs=("crash",),
        scenario=DOORBELL,
    ),
    Mutant(
        id="T5",
        group="T time",
        module="understudy_runtime.ingress.core",
        before="        0 if delay_ms is None else min(now_ms + delay_ms, INSTANT_MS_MAX),\n",
        after="        0 if delay_ms is None else min(now_ms + delay_ms * 60, INSTANT_MS_MAX),\n",
        why="a delay in milliseconds is taken for another unit",
        needs=("workload",),
        scenario=REMINDERS,
    ),
)
