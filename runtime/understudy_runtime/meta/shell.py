"""The meta log: read at start, appended to by registrations, cut back to a checkpoint when it has grown."""

from __future__ import annotations

from typing import Final

import attrs

from understudy_runtime.limits import MIB, Limits
from understudy_runtime.log.codec import Codec
from understudy_runtime.log.core import Appended, LogCorrupt
from understudy_runtime.log.shell import Log
from understudy_runtime.meta import core
from understudy_runtime.meta.checkpoint import Checkpoint
from understudy_runtime.meta.core import META_TAGS, MetaCommand, MetaState
from understudy_runtime.model.events import Observe
from understudy_runtime.model.schema import Schema
from understudy_runtime.world import World

META_CODEC: Final = Codec(META_TAGS)
META_FOLDER: Final = "meta"
# The log is cut back when it holds more than this beyond its last checkpoint, and more than twice what that took: so it
# is read in a moment, and the checkpoints cost less than what they let go.
GROWN_BYTES: Final = MIB


class Meta:
    """What endpoints offer, durably.  Build it with `Meta.open`."""

    def __init__(self, world: World, log: Log[MetaCommand], grown_bytes: int) -> None:
        self._world = world
        self._log = log
        self._state = MetaState()
        # Bytes of the log, counted from its opening, at which the next checkpoint is due.
        self._due_bytes = grown_bytes - log.bytes_after(0)
        self._grown_bytes = grown_bytes

    @classmethod
    async def open(cls, world: World, *, identity: int, limits: Limits, observe: Observe) -> Meta:
        """Recover from the log.  Raises LogError, DiskError.

        `limits.snapshot_log_bytes`, where it is less than GROWN_BYTES, says when the log is cut back.
        """
        log: Log[MetaCommand] = await Log.open(
            world.disk, META_FOLDER, identity=identity, codec=META_CODEC, limits=limits, observe=observe
        )
        meta = cls(world, log, min(GROWN_BYTES, limits.snapshot_log_bytes))
        meta._replay()
        return meta

    def _replay(self) -> None:
        """Apply the log.  A trim that was cut short leaves records before the checkpoint that stands for them.

        Raises LogCorrupt when the log begins in the middle of what was said.
        """
        log = self._log
        is_whole = log.lsn_first == 1
        for replayed in log.records(log.lsn_first):
            for command in replayed.commands:
                is_whole = is_whole or isinstance(command, Checkpoint)
                if is_whole:
                    core.apply(self._state, command)
        if not is_whole:
            raise LogCorrupt(f"{META_FOLDER}/", 0, "the records before the first segment are missing")

    @property
    def schema(self) -> Schema:
        return self._state.schema

    @property
    def lsn_last(self) -> int:
        return self._log.lsn_last

    async def register(self, deployment_id: str, manifest: bytes | dict[str, object]) -> bool:
        """Make *manifest* the latest word of *deployment_id*; False when it is already.

        Raises ManifestError (nothing is changed then), DiskError.
        """
        command = core.register(self._state, deployment_id, manifest)
        if command is None:
            return False
        await self.append(attrs.evolve(command, created_ms=self._world.now_ms()))
        return True

    async def append(self, command: MetaCommand) -> None:
        """Write *command*, then let it be in force.  One at a time.  Raises DiskError."""
        await self._write(command)
        core.apply(self._state, command)
        if self._log.bytes_appended >= self._due_bytes:
            await self._cut_back()

    async def _cut_back(self) -> None:
        """Begin the log anew with all that it says.  A crash before the last step leaves both, which is as good."""
        self._log.close_segment()
        before = self._log.bytes_appended
        await self._write(core.checkpoint(self._state))
        size = self._log.bytes_appended - before
        self._due_bytes = self._log.bytes_appended + max(self._grown_bytes, 2 * size)
        await self._log.trim(self._log.lsn_last - 1)

    async def _write(self, command: MetaCommand) -> None:
        found = await self._log.append(
            [command],
            epoch=0,
            expected_lsn=self._log.lsn_last + 1,
            time_ms=self._world.now_ms(),
        )
        assert isinstance(found, Appended), "the meta log has one owner"

    def close(self) -> None:
        self._log.close()
