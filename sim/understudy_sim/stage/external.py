"""External services: payment, mail, whatever lies outside.  Each is a process of its own; its ledger outlives it.

A service author writes `answer`: one JSON request in, one JSON answer out, and what it did into the ledger.  Being
slow, failing, lying, hanging up after the work is done, and being gone are faults, drawn here; `answer` knows nothing
of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import trio

from understudy_sim.kernel.choices import Choices
from understudy_sim.kernel.clock import NS_PER_MS
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.stage.aim import Moments
from understudy_sim.stage.ledger import Ledger
from understudy_sim.stage.plan import Plan
from understudy_sim.stage.points import AFTER, BEFORE, Points
from understudy_sim.stage.tally import Firing, Tally
from understudy_sim.stage.variation import Strike

E = TypeVar("E")

REQUEST_BYTES_MAX = 64 * 1024
CANNOT_NOW = b'{"error": "overloaded, try again later"}\n'
# How late an answer is, by kind: the decision's name, from, to.
LATE_MS = MappingProxyType({"provider_slow": ("slow_ms", 1_000, 30_000), "provider_late": ("late_ms", 25_000, 90_000)})
# How often a call meets the fault, by intensity, in thousandths.
CALL_THOUSANDTHS = (0, 60, 150, 350)


class External(Generic[E]):
    """A service at `name:port`.  Handlers learn its address from the environment variable `address_variable`."""

    name: ClassVar[str]
    port: ClassVar[int]
    address_variable: ClassVar[str]

    def __init__(self, choices: Choices, ledger: Ledger[E]) -> None:
        self.choices = choices
        self.ledger = ledger

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do what is asked, record it, and answer.  Plain code: it happens at once or not at all."""
        raise NotImplementedError


class MeetsCalls(Protocol):
    """Who knows which calls meet which fault."""

    def met(self, kind: str, host: str, now_ns: int) -> Strike | None:
        """The strike that a call of *host* meets now."""


class ExternalProcess:
    """Runs an External in the kernel's world: one JSON line in, one out, as many as the connection brings."""

    def __init__(self, kernel: Kernel, external: External[Any], plan: Plan, tally: Tally, moments: Moments) -> None:
        self.external = external
        self.process = kernel.process(external.name)
        self.healed = False
        self.points: Points | None = None
        self.strikes: MeetsCalls | None = None  # instead of what would be drawn
        self._kernel = kernel
        self._plan = plan
        self._tally = tally
        self._moments = moments

    def start(self) -> None:
        """Start it, or start it again."""
        self.process.start(self._main, on_exit=lambda process, result: result.unwrap())

    async def _main(self) -> None:
        listener = self._kernel.network.listen(self.process, self.external.port)
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._serve, await listener.accept())

    async def _serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        received = b""
        try:
            while data := await stream.receive_some():
                received += data
                assert len(received) <= REQUEST_BYTES_MAX, "a request is one short line"
                while b"\n" in received:
                    line, received = received.split(b"\n", 1)
                    if not await self._respond(stream, line):
                        await stream.aclose()
                        return
            await stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # The caller went away; what was done is in the ledger.

    async def _respond(self, stream: trio.abc.HalfCloseableStream, line: bytes) -> bool:
        """Answer one request; False when it hangs up without an answer."""
        self._moments.begins(self.external.name)
        self._moments.begins(f"endpoint > {self.external.name}")
        work_ms = self.external.choices.integer(f"{self.external.name}/work_ms", 1, self._plan.provider_ms_max)
        await self._kernel.sleep_ns(work_ms * NS_PER_MS)
        slow = self._meets("provider_slow")
        if slow is not None:
            await self._kernel.sleep_ns(slow.strength_ns)
        if self._meets("provider_error"):
            await stream.send_all(CANNOT_NOW)
            return True
        answer = await self._done(json.loads(line))
        if self._meets("provider_silent"):
            return False
        if self._meets("provider_lies"):
            await stream.send_all(CANNOT_NOW)
            return True
        late = self._meets("provider_late")
        if late is not None:
            await self._kernel.sleep_ns(late.strength_ns)
        times = 2 if self._meets("provider_twice") else 1
        await stream.send_all(times * (json.dumps(answer).encode() + b"\n"))
        return True

    async def _done(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer to *request*; whoever listens to calls is told before and after it is done."""
        points = self.points
        if points is None or not points.wants("external.call"):
            return self.external.answer(request)
        nth = points.number("external.call", self.process.name)
        await points.through("external.call", self.process, BEFORE, nth, request)
        answer = self.external.answer(request)
        await points.through("external.call", self.process, AFTER, nth, request)
        return answer

    def _meets(self, kind: str) -> Strike | None:
        """The fault of *kind* that this call meets, if it does."""
        name, now_ns = self.external.name, self._kernel.now_ns
        if self.strikes is None:
            strike, switch = self._drawn(kind)
        else:
            strike, switch = self.strikes.met(kind, name, now_ns), ("", 0)
        if strike is not None:
            self._tally.counted(kind, 1, 1)
            self._tally.firing(Firing(kind, name, now_ns, switch, strike))
            self._kernel.trace.note("fault", kind, name, now_ns)
        return strike

    def _drawn(self, kind: str) -> tuple[Strike | None, tuple[str, int]]:
        name, choices = self.external.name, self.external.choices
        thousandths = 0 if self.healed else CALL_THOUSANDTHS[self._plan.intensity.get(kind, 0)]
        if not choices.chance(f"{name}/{kind}", thousandths):
            return None, ("", 0)
        last = choices.recorded[-1]
        strength_ns = 1
        if kind in LATE_MS:
            label, low_ms, high_ms = LATE_MS[kind]
            strength_ns = choices.integer(f"{name}/{label}", low_ms, high_ms) * NS_PER_MS
        strike = Strike(kind=kind, on=(name,), at_ns=self._kernel.now_ns, strength_ns=strength_ns)
        return strike, (last.label, last.ordinal)
