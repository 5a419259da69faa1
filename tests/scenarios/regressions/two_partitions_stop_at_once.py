"""ticket_tour: the server does not fail.  The syncs of two partitions fail at once, and it must stop as one that fails.

Once a partition's last step began an attempt in a node that was ending, and the server stopped with another error than
that of its disk: "RuntimeError: Nursery is closed to new arrivals".  Found by seed 831 of an older build; made small
from seed 0x31 with that bug planted again.

Nearest run that held: without the pause of the server.

Run it: python FILE, or pytest FILE.  All claims must hold: then it ends with 0.
"""

from understudy_sim import Call, Deviation, Strike, scenario_in

small = scenario_in("scenarios/ticket_tour.py", near=__file__).fixed(
    operations=[
        Call(client="ann", service="CartObject", key="ann", handler="addTicket", argument="seat-4"),
        Call(client="ann", service="CartObject", key="ann", handler="addTicket", argument="seat-6", pause_ms=2700),
        Call(client="cleo", service="CartObject", key="cleo", handler="checkout"),
        Call(client="cleo", service="CartObject", key="cleo", handler="addTicket", argument="seat-2"),
        Call(client="cleo", service="CartObject", key="dan", handler="addTicket", argument="seat-5", pause_ms=1000),
    ],
    strikes=[
        Strike(kind="pause", on=("endpoint",), at_ns=1_000_000_000, lasts_ns=2_700_000_000),
        Strike(kind="slow_sync", on=("server",), at_ns=3_000_000_000, strength_ns=1_000_000_000),
        Strike(kind="failing_sync", on=("server",), at_ns=3_000_000_000, lasts_ns=900_000_000),
        Strike(kind="pause", on=("server",), at_ns=4_000_000_000),
    ],
    deviations=[
        Deviation(task="endpoint.1/main/serve#6", nth=1, by=1),
        Deviation(task="server.1/main/run/run#12", nth=2, by=2),
        Deviation(task="server.1/main/run/run#12", nth=3, by=10),
        Deviation(task="server.1/main/run/run#12", nth=4, by=5),
        Deviation(task="server.1/main/run/run#12", nth=5, by=1),
        Deviation(task="server.1/main/run/run#12", nth=6, by=3),
        Deviation(task="server.1/main/run/run#12", nth=7, by=4),
        Deviation(task="server.1/main/run/run#12", nth=8, by=3),
        Deviation(task="server.1/main/run/run#12", nth=9, by=2),
    ],
    decisions={
        "plan/partitions": 4,  # 4 partitions
        "limits/eager_state_bytes_max": 1,  # eager_state_bytes_max=0
        "limits/inactivity_timeout_ms": 3,  # inactivity_timeout_ms=1000
        "plan/latency": 1,  # latency up to 1 ms
        "plan/sync": 1,  # a sync takes up to 1 ms
        "net.ann>server": 1,
        "net.cleo>server": 1,
        "net.server>ann": 1,
        "net.endpoint>server": 4_787_685_067_813_323_076,
    },
)

if __name__ == "__main__":
    small.main()
