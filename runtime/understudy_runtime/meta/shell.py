"""The meta log: read at start, appended to by registrations."""

from __future__ import annotations

from typing import Final

import attrs

from understudy_runtime.limits import Limits
from understudy_runtime.log.codec import Codec
from understudy_runtime.log.core import Appended
from understudy_runtime.log.shell import Log
from understudy_runtime.meta import core
from understudy_runtime.meta.core import META_TAGS, MetaCommand, MetaState
from understudy_runtime.model.events import Observe
from understudy_runtime.model.schema import Schema
from understudy_runtime.world import World

META_CODEC: Final = Codec(META_TAGS)
META_FOLDER: Final = "meta"


class Meta:
    """What endpoints offer, durably.  Build it with `Meta.open`."""

    def __init__(self, world: World, log: Log[MetaCommand]) -> None:
        self._world = world
        self._log = log
        self._state = MetaState()

    @classmethod
    async def open(cls, world: World, *, identity: int, limits: Limits, observe: Observe) -> Meta:
        """Recover from the log.  Raises LogError, DiskError."""
        log: Log[MetaCommand] = await Log.open(
            world.disk, META_FOLDER, identity=identity, codec=META_CODEC, limits=limits, observe=observe
        )
        meta = cls(world, log)
        for replayed in log.records():
            for command in replayed.commands:
                core.apply(meta._state, command)
        return meta

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
        found = await self._log.append(
            [command],
            epoch=0,
            expected_lsn=self._log.lsn_last + 1,
            time_ms=self._world.now_ms(),
        )
        assert isinstance(found, Appended), "the meta log has one owner"
        core.apply(self._state, command)

    def close(self) -> None:
        self._log.close()
