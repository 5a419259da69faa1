"""A store of the server's has a row that cannot be read any more; the store knows, for each row has a checksum."""

from __future__ import annotations

from typing import ClassVar

from understudy_sim.kernel.choices import Stream, stable_seed
from understudy_sim.kernel.faults.port import Arena, Shot
from understudy_sim.stage.world import Host


class RottenStore:
    """Damages one row of one partition's store.  Who reads it is told so; who writes it anew mends it."""

    kind: ClassVar[str] = "rotten_store"
    budget: ClassVar[str] = "any row; the store is derived from the log and can be rebuilt"

    def __init__(self, host: Host) -> None:
        self._host = host

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when somebody asked for the row."""
        stream = Stream(stable_seed("store.rot", shot.detail))
        media = [medium for _, medium in sorted(self._host.stores.items()) if medium.rows]
        if not media:
            return False
        medium = media[stream.integer(0, len(media) - 1)]
        keys = sorted(medium.rows)
        key = keys[stream.integer(0, len(keys) - 1)]
        medium.damage(key)
        self._host.stores_damaged += 1

        def undo() -> None:
            medium.damaged.pop(key, None)

        return arena.lasts(shot, lambda: medium.refusals, undo)
