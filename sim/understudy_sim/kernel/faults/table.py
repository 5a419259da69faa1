"""Every fault there is, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from understudy_sim.kernel.faults.clock_jump import ClockJump
from understudy_sim.kernel.faults.crash import Crash
from understudy_sim.kernel.faults.failing_sync import FailingSync
from understudy_sim.kernel.faults.half_open import HalfOpen
from understudy_sim.kernel.faults.latency import Latency
from understudy_sim.kernel.faults.lost_writes import LostWrites, TornTail
from understudy_sim.kernel.faults.partition import Partition
from understudy_sim.kernel.faults.pause import Pause
from understudy_sim.kernel.faults.port import Fault
from understudy_sim.kernel.faults.refuse_connect import RefuseConnect
from understudy_sim.kernel.faults.slow_link import SlowLink
from understudy_sim.kernel.faults.slow_sync import SlowSync
from understudy_sim.kernel.faults.stream_reset import StreamReset

FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "crash": Crash(),
        "pause": Pause(),
        "clock_jump": ClockJump(),
        "stream_reset": StreamReset(),
        "refuse_connect": RefuseConnect(),
        "half_open": HalfOpen(),
        "partition": Partition(),
        "partition_one_way": Partition(one_way=True),
        "slow_link": SlowLink(),
        "latency": Latency(),
        "lost_writes": LostWrites(),
        "torn_tail": TornTail(),
        "slow_sync": SlowSync(),
        "failing_sync": FailingSync(),
    }
)
