"""What user code is answered in place of the real clock and real entropy: one process's virtual time and
random stream.

Method names are what `fence_sites.SITES` calls.  Local time is UTC, whatever the machine thinks.
"""

from __future__ import annotations

import datetime
import random
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from understudy_sim.kernel.clock import NS_PER_S

if TYPE_CHECKING:
    from understudy_sim.kernel.kernel import Kernel
    from understudy_sim.kernel.process import Process

_real_gmtime, _real_strftime, _real_asctime = time.gmtime, time.strftime, time.asctime
_EPOCH = datetime.datetime(1970, 1, 1)


class Answers:
    """One process's.  The random stream goes on over its incarnations: no two draw the same "unique" id."""

    def __init__(self, kernel: Kernel, process: Process, seed: int) -> None:
        self._kernel = kernel
        self._process = process
        self._random = random.Random(seed)

    # Time

    def wall_s(self) -> float:
        """time.time"""
        return self._process.wall_ns() / 1e9

    def wall_ns(self) -> int:
        """time.time_ns"""
        return self._process.wall_ns()

    def monotonic_s(self) -> float:
        """time.monotonic and its like."""
        return self._kernel.now_ns / 1e9

    def monotonic_ns(self) -> int:
        """time.monotonic_ns and its like."""
        return self._kernel.now_ns

    def struct_time(self, seconds: float | None = None) -> time.struct_time:
        """time.gmtime and time.localtime"""
        return _real_gmtime(self.wall_s() if seconds is None else seconds)

    def strftime(self, template: str, moment: Any = None) -> str:
        """time.strftime"""
        return _real_strftime(template, self.struct_time() if moment is None else moment)

    def ctime(self, seconds: float | None = None) -> str:
        """time.ctime"""
        return _real_asctime(self.struct_time(seconds))

    def sleep(self, seconds: float) -> None:
        """time.sleep: the whole world waits, as this thread would."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self._kernel.loop.now_ns += int(seconds * NS_PER_S)

    def now(self, cls: type[datetime.datetime], tz: datetime.tzinfo | None = None) -> datetime.datetime:
        """datetime.now: UTC, or *tz*."""
        naive = self._naive(cls)
        return naive if tz is None else naive.replace(tzinfo=datetime.UTC).astimezone(tz)

    def utcnow(self, cls: type[datetime.datetime]) -> datetime.datetime:
        """datetime.utcnow"""
        return self._naive(cls)

    def today(self, cls: type[Any]) -> Any:
        """date.today and datetime.today"""
        moment = self._naive(datetime.datetime)
        return self._naive(cls) if issubclass(cls, datetime.datetime) else cls(moment.year, moment.month, moment.day)

    def _naive(self, cls: type[datetime.datetime]) -> datetime.datetime:
        moment = _EPOCH + datetime.timedelta(microseconds=self._process.wall_ns() // 1_000)
        return cls(moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond)

    # Entropy

    def urandom(self, size: int) -> bytes:
        """os.urandom, random._urandom, os.getrandom"""
        return self._random.randbytes(size)

    def getrandom(self, size: int, flags: int = 0) -> bytes:
        """os.getrandom"""
        return self._random.randbytes(size)

    def uuid1(self, node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
        """uuid.uuid1: unique, and tells nothing of the machine."""
        return uuid.UUID(bytes=self._random.randbytes(16), version=1)

    def uuid4(self) -> uuid.UUID:
        """uuid.uuid4"""
        return uuid.UUID(bytes=self._random.randbytes(16), version=4)

    def seed(self, generator: random.Random, a: Any = None, version: int = 2) -> None:
        """random.Random.seed without a value: from this stream, not from the machine."""
        generator.seed(self._random.getrandbits(128) if a is None else a, version)

    def draw(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """random.random and all the module's other functions."""
        return getattr(self._random, name)(*args, **kwargs)

    # Threads

    async def inline(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """trio.to_thread.run_sync: there are no threads; it runs here."""
        await trio.lowlevel.checkpoint()
        return function(*args)
