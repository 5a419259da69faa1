"""Every fault there is, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from understudy_sim.kernel.faults.bit_rot import BitRot
from understudy_sim.kernel.faults.clock_drift import ClockDrift
from understudy_sim.kernel.faults.clock_freeze import ClockFreeze
from understudy_sim.kernel.faults.clock_jump import ClockJump
from understudy_sim.kernel.faults.clock_offset import ClockOffset
from understudy_sim.kernel.faults.clock_slew import ClockSlew
from understudy_sim.kernel.faults.crash import Crash
from understudy_sim.kernel.faults.cut_stream import CutStream
from understudy_sim.kernel.faults.failing_sync import FailingSync
from understudy_sim.kernel.faults.full_disk import FullDisk
from understudy_sim.kernel.faults.group_crash import GroupCrash
from understudy_sim.kernel.faults.half_open import HalfOpen
from understudy_sim.kernel.faults.held_traffic import HeldTraffic
from understudy_sim.kernel.faults.hung_connect import HungConnect
from understudy_sim.kernel.faults.jitter import Jitter
from understudy_sim.kernel.faults.latency import Latency
from understudy_sim.kernel.faults.lost_writes import LostWrites, TornTail
from understudy_sim.kernel.faults.misdirected_write import MisdirectedWrite
from understudy_sim.kernel.faults.partition import Partition
from understudy_sim.kernel.faults.pause import Pause
from understudy_sim.kernel.faults.port import Fault
from understudy_sim.kernel.faults.refuse_connect import RefuseConnect
from understudy_sim.kernel.faults.slow_disk import SlowDisk
from understudy_sim.kernel.faults.slow_link import SlowLink
from understudy_sim.kernel.faults.slow_sync import SlowSync
from understudy_sim.kernel.faults.stream_reset import StreamReset
from understudy_sim.kernel.faults.unknown_host import UnknownHost

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
        "full_disk": FullDisk(),
        "slow_disk": SlowDisk(),
        "group_crash": GroupCrash(),
        "hung_connect": HungConnect(),
        "unknown_host": UnknownHost(),
        "cut_stream": CutStream(),
        "held_traffic": HeldTraffic(),
        "jitter": Jitter(),
        "clock_offset": ClockOffset(),
        "clock_drift": ClockDrift(),
        "clock_freeze": ClockFreeze(),
        "clock_slew": ClockSlew(),
        "bit_rot": BitRot(),
        "misdirected_write": MisdirectedWrite(),
    }
)
