"""P19, causes: nothing fails without a cause.  What is tried again hides what went wrong the first time.

- No attempt ends because endpoint and server disagree on the journal or the protocol.  Nothing excuses that but another
  version of the code.
- Until a first fault, none finds no endpoint, and none is lost or ends without a word while its body runs.  Before and
  after that the connection is all that may be lost: its peer closes it for idleness just as a request leaves, or has
  closed it when a last word arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from understudy_runtime.model.events import AttemptEnded, AttemptStarted

from understudy_sim.stage.happenings import BodyEnded, BodyStarted, EndpointStopped, ServerStopped
from understudy_sim.stage.tally import Tally
from understudy_sim.stage.watch import Handler, Property

JOURNAL_MISMATCH: Final = 570
PROTOCOL_VIOLATION: Final = 571
BROKEN_OFF: Final = ("lost", "rejected")


class Causes(Property):
    number: ClassVar[str] = "P19"
    claim: ClassVar[str] = "nothing fails without a cause"

    def handlers(self) -> Mapping[type, Handler]:
        self.versions_differ = False
        self._is_calm = True
        self._broken_off: tuple[str, ...] = BROKEN_OFF
        self._tally: Tally | None = None
        self._running: dict[int, str] = {}  # body -> whose
        return {
            AttemptStarted: lambda _: self.hit("attempts looked at"),
            BodyStarted: self._body_started,
            BodyEnded: self._body_ended,
            AttemptEnded: self._attempt_ended,
            ServerStopped: self._troubled,
            EndpointStopped: self._troubled,
        }

    def watches(self, tally: Tally, *, is_moved: bool, versions_differ: bool, may_miss: bool = False) -> None:
        """*tally* knows the faults; *is_moved*: the endpoint is registered elsewhere while attempts run.

        *may_miss*: an attempt may find no endpoint on a good day: the network is so slow that a connection may take
        longer than one waits for it, or the endpoint closes HTTP/2 connections for idleness before the server does.
        """
        self._tally = tally
        self._is_calm = not is_moved
        self._broken_off = ("lost",) if may_miss else BROKEN_OFF
        self.versions_differ = versions_differ

    def _troubled(self, _: ServerStopped | EndpointStopped) -> None:
        self._is_calm = False

    def _body_started(self, event: BodyStarted) -> None:
        self._running[event.body] = event.invocation_id

    def _body_ended(self, event: BodyEnded) -> None:
        self._running.pop(event.body, None)

    def _attempt_ended(self, event: AttemptEnded) -> None:
        id_ = event.invocation_id
        if event.code in (JOURNAL_MISMATCH, PROTOCOL_VIOLATION) and not self.versions_differ:
            self.broken(f"attempt {event.attempt} of {id_} failed with {event.code}: {event.detail}", id_)
        elif event.how in self._broken_off and self._is_undisturbed():
            if event.how == "lost" and id_ not in self._running.values():
                self.hit("lost with its connection")
                return
            self.broken(f"attempt {event.attempt} of {id_} was {event.how} with nothing wrong: {event.detail}", id_)

    def _is_undisturbed(self) -> bool:
        if self._is_calm and self._tally is not None:
            self._is_calm = all(firing.kind.startswith("provider_") for firing in self._tally.firings)
        return self._is_calm and self._tally is not None
