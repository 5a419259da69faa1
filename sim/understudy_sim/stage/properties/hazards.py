"""P13, hazards: clock, entropy and foreign awaits in handler code outside `ctx.run` are reported with file and line.

A hazard is a bug of the application: a retry takes another path than the journal.  One report per place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from understudy_sim.stage.happenings import HazardSeen
from understudy_sim.stage.watch import Handler, Property


class Hazards(Property):
    number: ClassVar[str] = "P13"
    claim: ClassVar[str] = "handler code is deterministic outside ctx.run"

    def handlers(self) -> Mapping[type, Handler]:
        return {HazardSeen: self._hazard}

    def _hazard(self, event: HazardSeen) -> None:
        self.hit("hazards reported")
        assert event.filename, "P13: a hazard has a place"
        assert event.line > 0, "P13: a hazard has a line"
        self.broken(f"{event.filename}:{event.line}: {event.kind}: {event.detail}")
