"""ticket_tour: the syncs of two partitions fail at once, and the server stops as one that fails should.

Once a partition's last step began an attempt in a node that was ending, and the server stopped with another error than
that of its disk.  Found by seed 831 of an older build, and written out since.

Run it: python FILE, or pytest FILE.  All claims must hold: then it ends with 0.
"""

from understudy_sim import Call, Strike, scenario_in

small = scenario_in("scenarios/ticket_tour.py", near=__file__).fixed(
    operations=[
        Call(client="ann", service="CartObject", key="ann", handler="addTicket", argument="seat-1"),
        Call(client="bob", service="CartObject", key="bob", handler="addTicket", argument="seat-2"),
        Call(client="cleo", service="CartObject", key="cleo", handler="addTicket", argument="seat-3"),
        Call(client="ann", service="CartObject", key="ann", handler="checkout"),
    ],
    strikes=[
        Strike(kind="slow_sync", on=("server",), at_ns=0, strength_ns=50_000_000),
        Strike(kind="failing_sync", on=("server",), at_ns=20_000_000),
        Strike(kind="failing_sync", on=("server",), at_ns=150_000_000),
        Strike(kind="failing_sync", on=("server",), at_ns=300_000_000),
    ],
    decisions={
        "plan/partitions": 4,  # 4 partitions
    },
)

if __name__ == "__main__":
    small.main()
