"""The planted bugs.  Ids and groups follow the families of failures that durable-execution engines have really had.

What caught each, and after how many seeds, is in `docs/mutants.md`.
"""

from __future__ import annotations

from typing import Final

from understudy_sim.mutants.edit import Mutant, MutantError

MUTANTS: Final[tuple[Mutant, ...]] = (
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
        before="                    found.holder, found.inbox = rows.decode_busy(row)\n",
        after="                    _, found.inbox = rows.decode_busy(row)\n",
        why="an object that was read back no longer knows who holds its lock",
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
        id="L1",
        group="L storage and recovery",
        module="understudy_runtime.log.shell",
        before=("        self._file.pwrite(self._end, frame)\n        await self._file.fdatasync()\n"),
        after=(
            "        self._file.pwrite(self._end, frame)\n"
            "        if end > self._prewritten:\n"
            "            await self._file.fdatasync()\n"
        ),
        why="a frame written into space reserved before is not synced",
        needs=("crash", "disk"),
    ),
    Mutant(
        id="L2",
        group="L storage and recovery",
        module="understudy_runtime.log.shell",
        before=("        self._file.pwrite(self._end, frame)\n        await self._file.fdatasync()\n"),
        after=(
            "        self._file.pwrite(self._end, frame)\n"
            "        if end >> 12 != self._end >> 12 or end < 1 << 12:\n"
            "            await self._file.fdatasync()\n"
        ),
        why="a frame that shares its page with the frame before is not synced",
        needs=("crash", "disk"),
        rehearsed=True,
    ),
    Mutant(
        id="L3",
        group="L storage and recovery",
        module="understudy_runtime.log.shell",
        before="            return file.pread(0, file.size())\n",
        after="            return file.pread(0, min(file.size(), 1 << 14))\n",
        why="recovery reads a segment in one short read and takes the rest for torn",
        needs=("crash",),
    ),
    Mutant(
        id="L4",
        group="L storage and recovery",
        module="understudy_runtime.log.shell",
        before=(
            "        self._file.pwrite(0, core.encode_segment_header(self._identity, lsn_first))\n"
            "        await self._file.fdatasync()\n"
            "        await self._disk.sync_dir(self._folder)\n"
        ),
        after=(
            "        self._file.pwrite(0, core.encode_segment_header(self._identity, lsn_first))\n"
            "        await self._file.fdatasync()\n"
        ),
        why="the name of a new segment is not made durable",
        needs=("crash", "disk"),
    ),
    Mutant(
        id="L5",
        group="L storage and recovery",
        module="understudy_runtime.node",
        before=(
            "        file.pwrite(0, cbor2.dumps([FORMAT, folder.identity, folder.partition_count]))\n"
            "        await file.fdatasync()\n"
        ),
        after="        file.pwrite(0, cbor2.dumps([FORMAT, folder.identity, folder.partition_count]))\n",
        why="the data folder's format file is renamed before its content is durable",
        needs=("crash", "disk"),
    ),
    Mutant(
        id="M1",
        group="M leadership and durability",
        module="understudy_runtime.machine.apply",
        before="    turn.tables.epoch = command.epoch\n",
        after=("    turn.tables.epoch = command.epoch\n    turn.tables.outbox_last.clear()\n"),
        why="a new leader numbers its messages from one again",
        needs=("crash", "leadership"),
        rehearsed=True,
    ),
    Mutant(
        id="M2",
        group="M leadership and durability",
        module="understudy_runtime.node",
        before="        return await self.replies.invoke(self._taking(command.invocation_id), command)\n",
        after=(
            "        self._taking(command.invocation_id).propose(command)\n"
            "        await trio.lowlevel.checkpoint()\n"
            "        is_new = self.known(command.invocation_id) is None\n"
            "        return InvokeAcked(command.request_id, command.invocation_id, is_new, command.execution_time_ms)\n"
        ),
        why="a send is acknowledged before it is durable",
        needs=("crash",),
    ),
    Mutant(
        id="M3",
        group="M leadership and durability",
        module="understudy_runtime.partition",
        before="                record = Record(lsn, replayed.time_ms, command)\n",
        after=(
            '                back_ms = getattr(self, "_replayed_ms", 0) - replayed.time_ms\n'
            "                is_back = 0 < back_ms < 1_000\n"
            "                self._replayed_ms = replayed.time_ms + back_ms if is_back else replayed.time_ms\n"
            "                record = Record(lsn, self._replayed_ms, command)\n"
        ),
        why="a new leader smooths, as it replays, a clock that went back a little under the old one",
        needs=("time", "crash"),
        invisible=True,
    ),
    Mutant(
        id="N1",
        group="N ingress",
        module="understudy_runtime.ingress.shell",
        before=(
            "        try:\n"
            "            if self._observe is None:\n"
            "                return await self._serve(request)\n"
            "            return await self._observed(request, self._observe)\n"
            "        finally:\n"
            "            self._in_flight -= 1\n"
        ),
        after=(
            "        if self._observe is None:\n"
            "            response = await self._serve(request)\n"
            "        else:\n"
            "            response = await self._observed(request, self._observe)\n"
            "        self._in_flight -= 1\n"
            "        return response\n"
        ),
        why="a request whose client goes away counts as in flight for ever",
        needs=("network",),
        invisible=True,
    ),
    Mutant(
        id="N2",
        group="N ingress",
        module="understudy_runtime.effects.replies",
        before=("            self._acks.pop(request_id, None)\n            self._given_up(invocation_id, waiter)\n"),
        after=(
            "            self._acks.pop(request_id, None)\n"
            "            if command.idempotency_key is None or waiter._completed is not None:\n"
            "                self._given_up(invocation_id, waiter)\n"
        ),
        why="who gave up waiting for a request with a key stays on the list of those who wait",
        needs=("network",),
        invisible=True,
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


def mutant_by_id(mutant_id: str) -> Mutant:
    """The mutant called *mutant_id*.  Raises MutantError naming those there are."""
    for mutant in MUTANTS:
        if mutant.id == mutant_id:
            return mutant
    known = ", ".join(mutant.id for mutant in MUTANTS) or "none"
    raise MutantError(f"there is no mutant {mutant_id!r}; there are: {known}")
