"""What rehearsals do not show, with the reason, and where else it is looked at: the table of `docs/not-simulated.md`.

Whoever adds a fault that closes one of these takes its row away.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Gap(NamedTuple):
    """*what* no rehearsal does or sees, *why*, and what there is *instead*."""

    what: str
    why: str
    instead: str


GAPS: Final = (
    Gap(
        "several servers",
        "there is one server with one copy of its data",
        "nothing: a lost disk is a lost server, restore a backup",
    ),
    Gap(
        "the loss of the very last write",
        "with one copy, a log whose last record is gone whole is a good log that ends earlier",
        "misdirected writes lose what something durable follows; those are noticed",
    ),
    Gap(
        "two kinds of damage at once",
        "each may hide what gives the other away: a lost record and a rotten one behind it are a torn tail",
        "one kind and one injection to a seed; `tests/runtime/node/test_rot.py` changes a whole folder, bit by bit",
    ),
    Gap(
        "an older copy of the own disk",
        "an old data folder is a good one; only another copy could tell",
        "a log, a snapshot or a store of another folder is refused by its identity: `tests/runtime/node/test_node.py`",
    ),
    Gap(
        "a read that fails",
        "what the medium cannot read it reports by name, and the server stops or refuses to start as with damage",
        "bit rot and rotten rows, which say the same in another way",
    ),
    Gap(
        "file systems",
        "folders are durable at once, nobody lacks rights, and lack of room shows in the write, not in the sync",
        "`tests/live` runs on a real one and kills with -9",
    ),
    Gap(
        "SQLite's file",
        "stores lie in a memory that loses commits, all of it or single rows, as the store's port allows",
        "the store's own tests: a real file, killed, with rows changed one by one",
    ),
    Gap(
        "packets",
        "connections are ordered and lose nothing while they live, as TCP's; loss and reordering show as lateness",
        "jitter, slow links, partitions, resets, half-open connections",
    ),
    Gap(
        "TLS, datagrams, proxies",
        "nothing of ours speaks them; a socket of another kind is refused in a rehearsal",
        "nothing: what a proxy does wrong looks like a reset, a refusal or a hung connect",
    ),
    Gap(
        "peers that break the protocol",
        "everybody here runs our code, the official SDK or a scenario's",
        "the parsers' own tests draw bytes",
    ),
    Gap(
        "processor time",
        "each step takes one microsecond of virtual time, whatever it computes",
        "pauses; `tests/bench` and `docs/performance.md` for real time",
    ),
    Gap(
        "memory, descriptors, ports that run out",
        "the simulated machine has as much of them as it wants",
        "bounds of the server are tiny in many seeds; what it holds is counted (P10)",
    ),
    Gap(
        "threads and native code",
        "a simulated process has one thread; a real one is refused where it is started",
        "steps in threads run inline; `tests/live` runs them for real",
    ),
    Gap(
        "what a library keeps over a crash",
        "only modules of the application are imported anew; with the official SDK, its own and its compiled core are "
        "not, and [some claims are not judged](how-to/rehearse-an-official-sdk-app.md)",
        "`tests/interop` runs it in processes of its own",
    ),
    Gap(
        "monotonic clocks that are wrong",
        "time-outs and back-off rest on a clock that systems promise to keep right",
        "pauses let time go by unnoticed",
    ),
    Gap(
        "wall clocks of clients and services",
        "nothing that is promised reads them",
        "the clocks of server and endpoints are hurt in five ways",
    ),
    Gap(
        "leap seconds and the ends of the calendar",
        "a clock's reading is milliseconds since the epoch, and rehearsals begin in 2024",
        "jumps and slews; the codec's tests go to the bounds of its integers",
    ),
    Gap(
        "signals other than SIGTERM",
        "a process is told to stop, loses its power, or is killed",
        "`tests/live`",
    ),
    Gap(
        "a server that is put back to an older build",
        "an older build refuses a newer format by name, and nothing else is promised",
        "`tests/golden`, and upgrades in the middle of a rehearsal",
    ),
    Gap(
        "load",
        "a rehearsal is some dozen requests; what only thousands show it does not",
        "`tests/bench`, `docs/performance.md`",
    ),
)
