"""Bugs that durable-execution engines and their SDKs have really had, and the mutants that stand for them here.

Where there is none it says why.
"""

from __future__ import annotations

from typing import Final

import attrs


@attrs.frozen
class RealBug:
    """One of them: where it was seen, what went wrong, and which *mutants* stand for it, or *why_not*."""

    source: str
    what: str
    mutants: tuple[str, ...] = ()
    why_not: str = ""


REAL_BUGS: Final[tuple[RealBug, ...]] = (
    RealBug(
        "restate#4810",
        "of several batches under way one is refused, later ones pass, and the refused one is taken for seen",
        ("A1",),
    ),
    RealBug(
        "an engine's release notes",
        "an idempotency key is written from other parts than it is looked up by",
        ("A3",),
    ),
    RealBug(
        "an engine's release notes",
        "a timer that is both stored and announced fires twice",
        ("A5", "E9"),
        "here a timer has one place; the same filter guards messages between partitions",
    ),
    RealBug(
        "dbos-transact-py#742",
        "a second recovery runs what the first has taken",
        ("A9", "L16"),
        "there is no compare-and-set: leases and epochs decide",
    ),
    RealBug(
        "sdk-core#84; sdk-typescript#734",
        "in a replay the SDK executes steps again",
        ("A12",),
    ),
    RealBug(
        "restate#787",
        "a message dropped as seen is not acknowledged, and its sender waits for ever",
        ("A13",),
    ),
    RealBug(
        "an engine's release notes",
        "an inbox is cut one message too far",
        ("B1",),
    ),
    RealBug(
        "an engine's release notes",
        "what a loop has taken out is lost when another branch wins",
        ("B3", "M4"),
    ),
    RealBug(
        "an engine's release notes",
        "an iterator taken before an insert never sees it",
        ("B5",),
    ),
    RealBug(
        "an engine's release notes",
        "the release of a lock goes through a queue that sleeps",
        ("C1", "C4"),
    ),
    RealBug(
        "restate#951",
        "who is killed in an inbox stays in it, and gets the lock when dead",
        ("C2",),
    ),
    RealBug(
        "seen in several",
        "a shared handler is let in together with an exclusive one",
        ("C8",),
    ),
    RealBug(
        "restate#4396",
        "the keys of a state are stored under the tag of a value",
        ("D11",),
    ),
    RealBug(
        "restate#4750",
        "a restart from a part of a journal draws other random values",
        ("D12", "D1", "D3"),
    ),
    RealBug(
        "sdk-core",
        "the input ends while a replay wants more, and the machine waits",
        ("D6",),
    ),
    RealBug(
        "sdk-typescript#231",
        "who won a race is not recorded, and a replay picks another",
        ("D10", "O9"),
    ),
    RealBug(
        "golem#283",
        "a promise is made anew in a replay",
        ("D13",),
    ),
    RealBug(
        "restate#5093",
        "a timer nearer than the others wakes nobody",
        ("E1", "B5"),
    ),
    RealBug(
        "restate#4064",
        "the retry timer of an earlier attempt fires in a new state",
        (),
        "a job has one back-off at a time, and the next begins after it is over: without the check nothing changes",
    ),
    RealBug(
        "an engine's release notes",
        "what is due already when it is armed is never due",
        ("E7",),
    ),
    RealBug(
        "restate#5196",
        "who is suspended on a step of its own is never resumed",
        ("F8", "F1"),
        "the server resumes it at once, so it spins instead: P16",
    ),
    RealBug(
        "restate#334",
        "a suspension is taken after what it waits for has come",
        ("F1",),
    ),
    RealBug(
        "restate#4575",
        "who listens registers after it looked",
        ("W2", "H5"),
    ),
    RealBug(
        "restate#3217",
        "after a kill the invoker goes on trying",
        ("G1",),
    ),
    RealBug(
        "restate#942",
        "a kill does not go on to what was called",
        ("G3", "G4"),
    ),
    RealBug(
        "sdk-core#31",
        "a cancel wins although a result is there",
        ("G8",),
    ),
    RealBug(
        "restate#1495",
        "a second request with one key is told another id",
        ("A3", "H9"),
        "the id is made of the key, so both have the same; what they are told is looked at",
    ),
    RealBug(
        "restate#1531",
        "between a look and a registration a completion is lost",
        ("H5", "W2"),
    ),
    RealBug(
        "seen in several",
        "who completes a promise a second time overwrites it",
        ("I2",),
    ),
    RealBug(
        "restate#4519",
        "a journal is deleted under the wrong prefix, and rows stay",
        ("J1",),
    ),
    RealBug(
        "an engine's release notes",
        "a part of the state is taken for all of it",
        ("J6",),
    ),
    RealBug(
        "restate#2218",
        "attempts that never reached the endpoint count as tries",
        ("K9",),
    ),
    RealBug(
        "dbos-transact-py#704",
        "a callee's failure makes its caller try again, for ever",
        ("K6",),
    ),
    RealBug(
        "dbos-transact-py#232",
        "what was taken from a queue before a crash is never taken up again",
        ("M4", "L12"),
    ),
    RealBug(
        "seen in several",
        "a record is acknowledged before it is synced",
        ("L6", "L1", "L2", "M2"),
    ),
    RealBug(
        "seen in several",
        "a torn tail is accepted as a record",
        ("L7", "L8"),
    ),
    RealBug(
        "restate#2094",
        "an append succeeds after the log was sealed",
        (),
        "one process leads and nobody seals its log; a folder is locked by whoever has it open",
    ),
    RealBug(
        "seen in several",
        "an old leader goes on after a pause",
        ("L16",),
        "there is one process: what an old leader proposed and was not durable died with it",
    ),
    RealBug(
        "restate#4327",
        "a client gives up, and its place among those who wait stays",
        ("N1", "N2"),
    ),
    RealBug(
        "sdk-go#158",
        "who waits for what is complete waits for ever",
        ("O1",),
    ),
    RealBug(
        "sdk-python#84",
        "tasks of one attempt go on in the next",
        ("O2",),
    ),
    RealBug(
        "vercel/workflow#4224",
        "a race waits for the loser",
        ("O7",),
    ),
)
