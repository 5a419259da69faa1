"""The fence around a run: real clocks, entropy, sockets, threads and files, each answered or refused where it
is called.

Three zones, told by the owner (`zone_of`): PRODUCT   an error at the call site: the code must ask its World.
RUN       user code inside a durable step: answered from the process's virtual clock and a random stream of
its own. HANDLER   user code outside one: answered the same way, and reported as a hazard with file and line.
Real sockets and threads are an error in all three.  OUTSIDE (the scenario, the harness) is let through.

Other threads than the run's are let through: a worker of a pool has some of its own.

Everything is put back after the run.  Names bound early (`from time import time`) are found by a scan of
`sys.modules`, redone only for modules that came since.  Methods of C types (`datetime.now`) are replaced in
the type itself, so identity and `isinstance` stay what they were.
"""

from __future__ import annotations

import contextlib
import enum
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, MappingProxyType
from typing import Any

import attrs

from understudy_sim.kernel import fence_sites as sites
from understudy_sim.kernel.choices import stable_seed
from understudy_sim.kernel.fence_answers import Answers
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.process import Process

# With so many arguments they say a given moment and look at no clock (`datetime.__format__` calls strftime so).
_PURE_WITH: Mapping[str, int] = MappingProxyType(
    {"time.strftime": 2, "time.gmtime": 1, "time.localtime": 1, "time.ctime": 1}
)
_STDLIB = sysconfig.get_paths()["stdlib"] + os.sep
_SITE = f"{os.sep}site-packages{os.sep}"
_KERNEL = os.path.dirname(os.path.abspath(__file__)) + os.sep
# Whose own calls are let through: they drive the run or watch it.
_TRUSTED = tuple(
    f"{_SITE}{name}" for name in ("trio", "outcome", "sniffio", "hypothesis", "_pytest", "pytest", "pluggy", "coverage")
)


class Zone(enum.Enum):
    """Whose code is running."""

    OUTSIDE = "the scenario or the harness"
    PRODUCT = "product code"
    RUN = "user code inside a durable step"
    HANDLER = "user code outside a durable step"


class RealWorldUsed(RuntimeError):
    """Code in the simulator reached for the real world; the text says where, and what to use instead."""


@attrs.frozen
class Hazard:
    """One use of the real world: what (`time.time`), in which zone, where, and what to use instead."""

    kind: str
    zone: Zone
    filename: str
    line: int
    function: str
    instead: str


Report = Callable[[Hazard], object]


class Fence:
    """Around one run:

    `with fence: kernel.run(…)`.  *sites* may be shared by many runs: it caches the scan.
    """

    def __init__(
        self, kernel: Kernel, zone_of: Callable[[], Zone], report: Report, found: sites.Sites | None = None
    ) -> None:
        self.kernel = kernel
        self._thread = threading.get_ident()
        self._zone_of = zone_of
        self._report = report
        self._sites = found if found is not None else sites.Sites()
        self._answers: dict[str, Answers] = {}

    def __enter__(self) -> Fence:
        self._sites.put_up(self._decide)
        return self

    def __exit__(self, *exc: object) -> None:
        self._sites.take_down()

    def _decide(self, site: sites.Site, real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a call of *site* comes to: the real thing, an answer, or RealWorldUsed."""
        process = self.kernel.current_process
        if process is None or len(args) >= _PURE_WITH.get(site.kind, 99) or threading.get_ident() != self._thread:
            return real(*args, **kwargs)
        zone = self._zone_of()
        if zone is Zone.OUTSIDE:
            return real(*args, **kwargs)
        frame, by_way_of = _culprit(sys._getframe(2), site)
        if frame is None:
            return real(*args, **kwargs)
        if site.answer is None or zone is Zone.PRODUCT:
            if site.answer is not None and _is_logging(sys._getframe(2)):
                return self._answer(process, site, args, kwargs)
            hazard = _hazard(by_way_of, zone, frame, site)
            self._report(hazard)
            raise RealWorldUsed(_explain(hazard))
        if zone is Zone.HANDLER:
            self._report(_hazard(by_way_of, zone, frame, site))
        return self._answer(process, site, args, kwargs)

    def _answer(self, process: Process, site: sites.Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        answers = self._answers.get(process.name)
        if answers is None:
            seed = self.kernel.choices.integer(f"fence.{process.name}", 0, 2**64 - 1)
            answers = self._answers[process.name] = Answers(self.kernel, process, stable_seed("fence", seed))
        assert site.answer is not None, "only what has an answer is answered"
        self._sites.answers += 1
        return getattr(answers, site.answer)(*args, **kwargs)


def _culprit(frame: FrameType | None, site: sites.Site) -> tuple[FrameType | None, str]:
    """The innermost frame that is not the library's, and what of the library it called.

    No frame when it is one of those let through.
    """
    by_way_of = site.kind
    if site.direct_only and (frame is None or _is_stdlib(frame.f_code.co_filename)):
        return None, by_way_of
    while frame is not None:
        filename = frame.f_code.co_filename
        if not filename.startswith(_KERNEL):
            if not _is_stdlib(filename):
                return (None if any(trusted in filename for trusted in _TRUSTED) else frame), by_way_of
            by_way_of = f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return None, by_way_of


def _is_stdlib(filename: str) -> bool:
    return filename.startswith("<frozen") or (filename.startswith(_STDLIB) and _SITE not in filename)


def _is_logging(frame: FrameType | None) -> bool:
    """Whether a logging library stamps a record: that is an answer, not a decision of the product."""
    if frame is None:
        return False
    filename = frame.f_code.co_filename
    return f"{os.sep}logging{os.sep}" in filename or f"{_SITE}structlog{os.sep}" in filename


def _hazard(kind: str, zone: Zone, frame: FrameType, site: sites.Site) -> Hazard:
    return Hazard(kind, zone, frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname, site.instead)


def _explain(hazard: Hazard) -> str:
    return (
        f"{hazard.function} ({hazard.filename}:{hazard.line}) used {hazard.kind} in the simulator, "
        f"in {hazard.zone.value}: no replay can repeat that.  Use {hazard.instead}."
    )


@contextlib.contextmanager
def fenced(kernel: Kernel, zone_of: Callable[[], Zone], report: Report) -> Iterator[Fence]:
    """A fence for one run without a shared cache of sites."""
    with Fence(kernel, zone_of, report) as fence:
        yield fence
