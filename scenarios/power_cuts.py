"""The ticket tour where the power goes often: log segments are short, a snapshot follows every few records, and what
was derived from them is gone after each cut.

So what a start finds is never what the last one left: a snapshot, perhaps one that was being written, and the segments
that its trim has left.  Only what stands in those two is there.

Rehearse it with `understudy simulate scenarios/power_cuts.py`.
"""

from __future__ import annotations

from typing import Final

import attrs
from understudy_sim import Plan, Stage, faults, limited, scenario

from scenarios import box_office
from scenarios.ticket_tour import AVAILABLE

SEGMENT_BYTES: Final = 1_024
SNAPSHOT_LOG_BYTES: Final = 4_096
ALWAYS: Final = 1_000
CUTS: Final = faults.only(
    "power_failure", "server_crash", "failing_sync", "slow_sync", "slow_disk", "lost_write", "torn_write"
)


def small_files(plan: Plan) -> Plan:
    """Files of a few records each, and nothing derived that outlives a power cut."""
    snapshot_log_bytes = min(SNAPSHOT_LOG_BYTES, plan.limits.snapshot_log_bytes)
    small = limited(segment_bytes_max=SEGMENT_BYTES, snapshot_log_bytes=snapshot_log_bytes)(plan)
    intensity = {**plan.intensity, "power_failure": max(2, plan.intensity.get("power_failure", 0))}
    return attrs.evolve(small, store_gone_thousandths=ALWAYS, intensity=intensity)


@scenario(app="scenarios.ticket_tour:app", workload=box_office.workload, faults=CUTS, plan=small_files, seeds=100)
async def power_cuts(stage: Stage) -> None:
    payments = stage.external(box_office.PaymentProvider)
    mails = stage.external(box_office.MailProvider)
    box_office.claim_only(stage, payments, mails)
    stage.linearizable("TicketObject", box_office.seat, initial=(AVAILABLE, ""))
    stage.sometimes("a seat was sold", lambda: any(entry.outcome == "approved" for entry in payments))
    stage.sometimes("a reservation expired", lambda: stage.ran("TicketObject", "unreserve"))
    await stage.play()
