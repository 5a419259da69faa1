"""Planted bugs around the disk: log, stores, snapshots, leadership and durability."""

from __future__ import annotations

from typing import Final

from understudy_sim.mutants.edit import ROTTEN_NOTEBOOK, Mutant

MEDIUM: Final[tuple[Mutant, ...]] = (
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
        before="            size = file.size()\n",
        after="            size = min(file.size(), 1 << 14)\n",
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
        before="        file.pwrite(0, encode_format(folder))\n        await file.fdatasync()\n",
        after="        file.pwrite(0, encode_format(folder))\n",
        why="the data folder's format file is renamed before its content is durable",
        needs=("crash", "disk"),
    ),
    Mutant(
        id="L6",
        group="L storage and recovery",
        module="understudy_runtime.log.shell",
        before=(
            "        self._file.pwrite(self._end, frame)\n"
            "        await self._file.fdatasync()\n"
            "        self._prewritten"
        ),
        after=(
            "        await self._file.fdatasync()\n"
            "        self._file.pwrite(self._end, frame)\n"
            "        self._prewritten"
        ),
        why="a frame is acknowledged before it is synced: the sync comes before the write",
        needs=("crash", "disk"),
    ),
    Mutant(
        id="L7",
        group="L storage and recovery",
        module="understudy_runtime.log.core",
        before="    if head.checksum != xxh3_64_intdigest(payload, identity) or not data.startswith(MARK, head.end):\n",
        after="    if not payload:\n",
        why="a torn tail is accepted: of the last frame only the header is looked at",
        needs=("crash", "disk"),
    ),
    Mutant(
        id="L8",
        group="L storage and recovery",
        module="understudy_runtime.log.core",
        before="    if head.checksum != xxh3_64_intdigest(payload, identity) or not data.startswith(MARK, head.end):\n",
        after=(
            "    is_short = len(payload) < 4096\n"
            "    if is_short and head.checksum != xxh3_64_intdigest(payload, identity) "
            "or not data.startswith(MARK, head.end):\n"
        ),
        why="the checksum of a long payload is not compared",
        needs=("crash", "disk"),
        scenario=ROTTEN_NOTEBOOK,
    ),
    Mutant(
        id="L9",
        group="L storage and recovery",
        module="understudy_runtime.log.shell",
        before=(
            "        self._file.pwrite(0, core.encode_segment_header(self._identity, lsn_first))\n"
            "        await self._file.fdatasync()\n"
        ),
        after="        self._file.pwrite(0, core.encode_segment_header(self._identity, lsn_first))\n",
        why="a new segment's header is not synced before its name",
        needs=("crash", "disk"),
        escapes="seldom: the power has to go between two syncs of a new segment",
    ),
    Mutant(
        id="L10",
        group="L storage and recovery",
        module="understudy_runtime.log.shell",
        before="            self._file.truncate(scan.end)\n            self._prewritten = scan.end\n",
        after="",
        why="a torn tail is found and left: the next frame is written over its beginning",
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
        id="S1",
        group="S snapshots",
        module="understudy_runtime.partition",
        before="        if written is None:\n            return\n        self._observe(SnapshotWritten",
        after=(
            "        if written is None:\n"
            "            if snapshots._writing is not None:\n"
            "                await self._log.trim(snapshots._writing.lsn)\n"
            "            return\n"
            "        self._observe(SnapshotWritten"
        ),
        why="the log is trimmed past the last durable snapshot, to the one that is being written",
        needs=("crash",),
    ),
    Mutant(
        id="S3",
        group="S snapshots",
        module="understudy_runtime.partition",
        before=(
            "        self.flush()\n"
            "        view = self._storage.view()\n"
            '        assert view.applied_lsn == self.tables.applied_lsn, "a snapshot holds all that was applied"\n'
        ),
        after=(
            "        view = self._storage.view()\n"
            "        self.flush()\n"
            "        view._applied_lsn = self.tables.applied_lsn\n"
        ),
        why="a snapshot lacks its last batch: the view is taken before the tables are written behind",
        needs=("crash",),
    ),
    Mutant(
        id="S4",
        group="S snapshots",
        module="understudy_runtime.snapshot.shell",
        before=(
            "            self._put(core.encode_end(self._seed, self._frames, self.rows))\n"
            "            await self._file.fdatasync()\n"
        ),
        after="            self._put(core.encode_end(self._seed, self._frames, self.rows))\n",
        why="a snapshot is renamed before its end is durable",
        needs=("crash", "disk"),
    ),
    Mutant(
        id="S5",
        group="S snapshots",
        module="understudy_runtime.storage.view",
        before="        restored = self._kept_upto(upto)\n",
        after="        restored = self._kept_upto(upto)[:0]\n",
        why="a row that changes while a snapshot is written is missing in it",
        needs=("crash",),
        escapes="seldom: a row has to change while a snapshot is written that is read again later",
    ),
)
