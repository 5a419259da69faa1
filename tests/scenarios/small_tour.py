"""A tour of four requests, small enough for a power cut at each of its places."""

from __future__ import annotations

from typing import Final

from understudy_sim.kernel.choices import Overrides
from understudy_sim.stage.operations import Call

SCRIPT: Final = "scenarios/ticket_tour.py"
SEED: Final = 5
CALLS: Final = (
    Call(client="ann", service="CartObject", key="ann", handler="addTicket", argument="seat-1"),
    Call(client="bob", service="CartObject", key="bob", handler="addTicket", argument="seat-1"),
    Call(client="bob", service="CartObject", key="bob", handler="addTicket", argument="seat-2"),
    Call(client="ann", service="CartObject", key="ann", handler="checkout"),
)
EXCHANGES: Final[Overrides] = {("plan/bytes", None): 0}
# A snapshot after every few records; what is derived is gone after each cut.
SNAPSHOTS: Final[Overrides] = {
    **EXCHANGES,
    ("limits/snapshot_log_bytes", None): 1,
    ("plan/store_gone", None): 2,
    ("plan/partitions", None): 1,
}
