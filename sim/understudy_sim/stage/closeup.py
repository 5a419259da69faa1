"""An observer that makes a digest cover more: the content of each message and record, not only that there was one.

Its digests compare with each other only.  A text that holds an address is cut there: an address is no difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.kernel.pipes import Pipe
from understudy_sim.kernel.trace import Trace
from understudy_sim.stage.happenings import Step
from understudy_sim.stage.rehearsal import Rehearsal

ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")


class Closeup:
    """*attached* gets the rehearsal before its first step, *ended* when it has stopped."""

    def __init__(
        self, attached: Callable[[Rehearsal], object] | None = None, ended: Callable[[Rehearsal], object] | None = None
    ) -> None:
        self._attached = attached
        self._ended = ended
        self._trace = Trace()
        self.saying = ""  # what is being noted, while it is

    def attach(self, rehearsal: Rehearsal) -> None:
        self._trace = rehearsal.kernel.trace
        assert rehearsal.kernel.network.tap is None, "one at a time listens to the wire"
        rehearsal.kernel.network.tap = self
        rehearsal.watch.subscribe({Step: self._step})
        if self._attached is not None:
            self._attached(rehearsal)

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        if self._ended is not None:
            self._ended(rehearsal)

    # --- the wire, and the log ------------------------------------------------------------------------------

    def sent(self, pipe: Pipe, item: object) -> None:
        """*item* has left its sender."""
        self._note("sent", pipe.number, _text(item))

    def arrived(self, pipe: Pipe, item: object) -> None:
        """What arrives was sent."""

    def _step(self, step: Step) -> None:
        self._note("record", step.partition, step.record.lsn, _text(step.record.command))

    def _note(self, kind: str, *words: int | str) -> None:
        self.saying = str(words[-1])
        self._trace.note(kind, *words)
        self.saying = ""


def _text(value: object) -> str:
    return ADDRESS.sub("", repr(value))
