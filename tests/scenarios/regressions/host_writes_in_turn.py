"""ticket_tour on the official SDK: the endpoint does not fail.  Its host writes one part of an answer after the other.

Once the application's wait for more of the request sent the head while a part of the answer left beside it: both wrote
to one stream, and the endpoint ended with "BusyResourceError: another task is already sending here".  Made small from
seed 0x3 with that bug planted again.

Nearest run that held: without the drain of the endpoint.

Run it: python FILE, or pytest FILE.  All claims must hold: then it ends with 0.
"""

from understudy_sim import Call, Deviation, Strike, scenario_in

small = scenario_in("scenarios/ticket_tour_official.py", near=__file__).fixed(
    operations=[
        Call(client="bob", service="CartObject", key="bob", handler="addTicket", argument="seat-5"),
        Call(client="bob", service="CartObject", key="cleo", handler="addTicket", argument="seat-1"),
        Call(client="bob", service="CartObject", key="cleo", handler="addTicket", argument="seat-5"),
    ],
    strikes=[
        Strike(kind="endpoint_drain", on=("endpoint",), at_ns=1_000_000_000, lasts_ns=1_000_000),
    ],
    deviations=[
        Deviation(task="endpoint.2/main/attend#2/carry_out", nth=1, by=1),
        Deviation(task="endpoint.2/main/attend#2/carry_out", nth=2, by=1),
        Deviation(task="endpoint.2/main/attend#2/carry_in", nth=2, by=1),
    ],
)

if __name__ == "__main__":
    small.main()
