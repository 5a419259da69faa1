"""reminders: the server does not fail.  A snapshot meets a damaged row just as a timer is due.

Once the store was closed at once, under the timer that read it: the server ended with "AssertionError: this store was
closed, lost or opened by another" beside the damage it should have told alone, and was not started again.  Found by
seed 0x9e.

Nearest run that held: without the rotten_store of the server.

Run it: python FILE, or pytest FILE.  All claims must hold: then it ends with 0.
"""

from understudy_sim import Call, Deviation, Strike, scenario_in

small = scenario_in("scenarios/reminders.py", near=__file__).fixed(
    operations=[
        Call(
            client="ann",
            service="Calendar",
            key="ann",
            handler="write",
            argument=[
                {"name": "ann 0.0", "after_ms": 600_500},
            ],
        ),
        Call(
            client="ann",
            service="Calendar",
            key="ann",
            handler="write",
            argument=[
                {"name": "ann 1.0", "after_ms": 500},
            ],
            pause_ms=390,
        ),
        Call(
            client="ann's friend",
            service="Calendar",
            key="ann",
            handler="due",
            argument="ann's friend 0",
            pause_ms=1000,
            one_way=True,
            delay_ms=600_500,
        ),
        Call(
            client="ann's friend",
            service="Calendar",
            key="ann",
            handler="due",
            argument="ann's friend 1",
            one_way=True,
            delay_ms=5000,
        ),
        Call(
            client="ann",
            service="Calendar",
            key="bob",
            handler="write",
            argument=[
                {"name": "bob 0.0", "after_ms": 15_000},
                {"name": "bob 0.1", "after_ms": 903_000},
            ],
        ),
        Call(
            client="bob's friend",
            service="Calendar",
            key="bob",
            handler="due",
            argument="bob's friend 0",
            pause_ms=1780,
            one_way=True,
            delay_ms=903_000,
        ),
        Call(
            client="bob's friend",
            service="Calendar",
            key="bob",
            handler="due",
            argument="bob's friend 1",
            pause_ms=1650,
            one_way=True,
            delay_ms=5000,
        ),
    ],
    strikes=[
        Strike(kind="refused_connect", on=("server",), at_ns=1_300_000_000, lasts_ns=500_000_000),
        Strike(kind="pause", on=("server",), at_ns=3_603_000_000, lasts_ns=4_590_000_000),
        Strike(kind="pause", on=("server",), at_ns=8_197_000_000),
        Strike(kind="rotten_store", on=("server",), at_ns=9_000_000_000),
    ],
    deviations=[
        Deviation(task="server.1/main/run/run#2", nth=4, by=1),
        Deviation(task="server.1/main/run/run#2", nth=5, by=1),
    ],
    decisions={
        "limits/batch_commands_max": 1,  # batch_commands_max=1
        "limits/timers_max": 1,  # timers_max=1
        "limits/snapshot_log_bytes": 1,  # snapshot_log_bytes=2048
        "limits/inactivity_timeout_ms": 1,  # inactivity_timeout_ms=0
        "client/bob's friend/curious#1": 999,
    },
)

if __name__ == "__main__":
    small.main()
