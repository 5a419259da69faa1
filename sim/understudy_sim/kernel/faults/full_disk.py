"""A disk runs out of space, and has some again after a while."""

from __future__ import annotations

from typing import ClassVar, Final

from understudy_sim.kernel.faults.port import Arena, Shot

# How much still fits: nothing, less than a record, a few records.
ROOM_BYTES: Final = (0, 100, 500, 3_000)


class FullDisk:
    """What would make a file of the host larger than the room that is left fails; of the write, the beginning is there.

    The process must stop, or answer that it cannot now.
    """

    kind: ClassVar[str] = "full_disk"
    budget: ClassVar[str] = "any write that needs room, for a while; what lies on the disk stays"

    def inject(self, arena: Arena, shot: Shot) -> bool:
        """Bites when a write met it."""
        medium = arena.kernel.medium(shot.target[0])
        if medium.profile.capacity_bytes is not None:
            return False
        medium.profile.capacity_bytes = medium.used_bytes + ROOM_BYTES[shot.detail % len(ROOM_BYTES)]

        def undo() -> None:
            medium.profile.capacity_bytes = None

        return arena.lasts(shot, lambda: medium.full_writes, undo)
