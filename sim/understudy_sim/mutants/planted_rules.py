"""Planted bugs in the rules: exactly once, expiry, locks, replay, suspension, state, retries, time."""

from __future__ import annotations

from typing import Final

from understudy_sim.mutants.edit import NOTEBOOK, Mutant

RULES: Final[tuple[Mutant, ...]] = (
    Mutant(
        id="A2",
        group="A exactly once",
        module="understudy_runtime.machine.attempts",
        before="    return command.epoch == invocation.attempt_epoch and command.attempt < invocation.attempt_last\n",
        after="    return command.attempt < invocation.attempt_last\n",
        why="a new leader's attempts are compared with the attempt numbers of the old one",
        needs=("crash",),
    ),
    Mutant(
        id="C1",
        group="C locks",
        module="understudy_runtime.machine.objects",
        before="        wanted = not found.is_idle\n",
        after="        wanted = bool(found.inbox)\n",
        why="the row of a lock nobody waits for is not kept, so after a restart its object is free",
        needs=("crash",),
    ),
    Mutant(
        id="D1",
        group="D replay",
        module="understudy.vm.vm",
        before="            return self._start.random_seed\n",
        after="            return self._start.random_seed + self._start.retry_count_since_last_stored_entry\n",
        why="a retried attempt draws other random values than the first one",
        needs=("crash",),
        invisible=True,
    ),
    Mutant(
        id="D2",
        group="D replay",
        module="understudy_runtime.machine.start",
        before="    state, is_partial = eager_state(tables, invocation, eager_state_bytes_max)\n",
        after=(
            "    state, is_partial = eager_state(tables, invocation, eager_state_bytes_max)\n"
            "    if retry_count:\n"
            "        state, is_partial = [], False\n"
        ),
        why="a retry is not sent the state again",
        needs=("schedule",),
    ),
    Mutant(
        id="D3",
        group="D replay",
        module="understudy.vm.vm",
        before='        return int.from_bytes(hashlib.sha256(self._start.id).digest()[:8], "big")\n',
        after=(
            '        seed = int.from_bytes(hashlib.sha256(self._start.id).digest()[:8], "big")\n'
            "        return seed ^ self._start.retry_count_since_last_stored_entry\n"
        ),
        why="a retried attempt draws other random values, where the seed comes from the id (version 5)",
        needs=("crash",),
        invisible=True,
    ),
    Mutant(
        id="D4",
        group="D replay",
        module="understudy.vm.vm",
        before="            return self._start.random_seed\n",
        after="            return self._start.random_seed + self._start.duration_since_last_stored_entry // 10_000\n",
        why="an attempt that begins ten seconds after the last step draws other random values",
        needs=("time",),
        invisible=True,
    ),
    Mutant(
        id="F1",
        group="F suspension",
        module="understudy_runtime.machine.attempts",
        before=("    if is_resolvable(invocation, suspend):\n        resume(turn, invocation)\n"),
        after="",
        why="a suspension does not look whether what it waits for came meanwhile",
        needs=("workload",),
    ),
    Mutant(
        id="J6",
        group="J state",
        module="understudy.vm.vm",
        before="        self._state_is_partial = start.partial_state\n",
        after=(
            "        self._state_is_partial = start.partial_state and not start.retry_count_since_last_stored_entry\n"
        ),
        why="a retried attempt takes a part of the state for all of it",
        needs=("schedule",),
    ),
    Mutant(
        id="J7",
        group="J state",
        module="understudy.vm.vm",
        before="            if value is not ...:\n",
        after="            if value is not ...:\n                value = self._state_map.get(key)\n",
        why="a read that is replayed is answered with the state as it is now",
        needs=("crash",),
        scenario=NOTEBOOK,
    ),
    Mutant(
        id="K1",
        group="K retries",
        module="understudy_runtime.invoker.core",
        before="        if job.phase is Phase.SETTLING and job.outputs_in_flight == 0 and not job.is_revoked:\n",
        after="        if job.phase is Phase.SETTLING and not job.is_revoked:\n",
        why="a retry starts before all that the failed attempt sent is stored",
        needs=("schedule",),
    ),
    Mutant(
        id="K2",
        group="K retries",
        module="understudy_runtime.invoker.shell",
        before="                failed = None if attempt.is_over else lost(error)\n",
        after="                failed = lost(error)\n",
        why="a stream that breaks after the attempt has ended counts as a failure",
        needs=("network",),
    ),
    Mutant(
        id="X1",
        group="X expiry",
        module="understudy_runtime.machine.lifecycle",
        before="    if bucket_of(invocation.expires_ms) <= bucket:\n        free(turn, invocation)\n",
        after="    if bucket_of(invocation.expires_ms) <= bucket + 7200:\n        free(turn, invocation)\n",
        why="a result goes with its journal although it was to be kept some hours longer",
        needs=("time",),
    ),
    Mutant(
        id="X2",
        group="X expiry",
        module="understudy_runtime.machine.expiry",
        before="        if first is None or (bucket, number) < first:\n",
        after="        if first is None:\n",
        why="a new first second of expiry does not become the first",
        needs=("time",),
    ),
    Mutant(
        id="X3",
        group="X expiry",
        module="understudy_runtime.machine.expiry",
        before=(
            "            chunk = rows.expiry_chunk(key)\n"
            "            if chunk not in self._taken:\n"
            "                found = ("
        ),
        after=(
            "            chunk = rows.expiry_chunk(key)\n"
            "            if chunk in self._taken:\n"
            "                found = ("
        ),
        why="a chunk of the expiry index that is filled again after a flush loses what it held",
        needs=("crash",),
    ),
    Mutant(
        id="T1",
        group="T time",
        module="understudy_runtime.machine.start",
        before="    idle_ms = max(0, now_ms - invocation.last_append_ms)\n",
        after="    idle_ms = now_ms - invocation.last_append_ms\n",
        why="a clock gone back makes a duration negative",
        needs=("time",),
    ),
    Mutant(
        id="T2",
        group="T time",
        module="understudy_runtime.partition",
        before="        records = await self._append(batch, now_ms)\n",
        after=(
            '        assert now_ms >= getattr(self, "_stamp_ms", 0), "stamps never go back"\n'
            "        self._stamp_ms = now_ms\n"
            "        records = await self._append(batch, now_ms)\n"
        ),
        why="the loop relies on a wall clock that never goes back",
        needs=("time",),
        rehearsed=True,
    ),
    Mutant(
        id="T3",
        group="T time",
        module="understudy_runtime.log.shell",
        before="        frame = core.encode_frame(\n            payload,\n",
        after=(
            '        back_ms = getattr(self, "_time_ms", 0) - time_ms\n'
            "        self._time_ms = time_ms = time_ms + back_ms if 0 < back_ms < 1_000 else time_ms\n"
            "        frame = core.encode_frame(\n            payload,\n"
        ),
        why="the log smooths a clock that went back a little, so a replay sees another time than the leader did",
        needs=("time", "crash"),
        invisible=True,
    ),
    Mutant(
        id="T4",
        group="T time",
        module="understudy_runtime.partition",
        before="        now_ms = self._world.now_ms()\n        count = self._limits.batch_commands_max\n",
        after=(
            "        now_ms = self._world.now_ms()\n"
            '        assert now_ms > getattr(self, "_stamp_ms", 0) - 60_000, "a clock goes back by a minute at most"\n'
            "        self._stamp_ms = now_ms\n"
            "        count = self._limits.batch_commands_max\n"
        ),
        why="the loop relies on a wall clock that goes back by a minute at most",
        needs=("time",),
        invisible=True,
    ),
)
