"""A data folder as text files, and what tables hold as plain values that any format can be compared by.

    python -m tests.golden.folders FORMAT

plays the play and writes what this build makes of it as the golden folder of FORMAT.  A golden folder is written once,
when its format is new, and never again: the last two are kept.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import trio
from understudy_runtime.machine.apply import outstanding
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model.actions import ArmTimer, Send, StartAttempt
from understudy_runtime.model.invocation import Failure, Result
from understudy_runtime.node import Node

from tests.golden.play import LIMITS, recorded
from tests.runtime.node.fakes import FakeDisk, FakeWorld

HERE = Path(__file__).parent
LINE_BYTES = 50


def write_folder(folder: Path, disk: FakeDisk) -> None:
    """Every file of *disk*, as hex."""
    for name, medium in sorted(disk.files.items()):
        path = folder / f"{name}.hex"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = bytes(medium.seen)
        lines = [data[at : at + LINE_BYTES].hex() for at in range(0, len(data), LINE_BYTES)]
        path.write_text("\n".join(lines) + "\n")


def read_folder(folder: Path) -> FakeDisk:
    """A disk on which everything in *folder* is durable."""
    disk = FakeDisk()
    for path in sorted(folder.rglob("*.hex")):
        name = str(path.relative_to(folder)).removesuffix(".hex")
        data = bytes.fromhex(path.read_text().replace("\n", ""))
        disk.open(name, create=True).pwrite(0, data)
        disk.files[name].durable = data
        disk.durable_names[name] = disk.files[name]
    return disk


def described(tables: Tables, ids: list[str], keys: list[tuple[str, str]]) -> dict[str, Any]:
    """What everyone can ask *tables* about these invocations and objects."""
    actions = outstanding(tables)
    dues = [action.due_ms for action in actions if isinstance(action, ArmTimer)]
    # How results are let go of is the rules' business: what counts is when.
    expiries = [one.expires_ms for id_ in ids if (one := tables.invocation(id_)) is not None]
    return {
        "applied_lsn": tables.applied_lsn,
        "invocations": {id_: one for id_ in ids if (one := described_invocation(tables, id_))},
        "objects": {"/".join(key): one for key in keys if (one := described_object(tables, *key))},
        "attempts": [action.invocation_id for action in actions if isinstance(action, StartAttempt)],
        "timers": sorted(due_ms for due_ms in dues if due_ms not in expiries),
        "messages": [repr(action) for action in actions if isinstance(action, Send)],
        "seen": {str(source): last for source, last in sorted(tables.dedup.items())},
        "sent": {str(target): last for target, last in sorted(tables.outbox_last.items())},
    }


def described_invocation(tables: Tables, invocation_id: str) -> dict[str, Any] | None:
    found = tables.invocation(invocation_id)
    if found is None:
        return None
    return {
        "target": f"{found.target.service}/{found.target.key}/{found.target.handler}",
        "status": found.status.name,
        "lease": found.lease,
        "key": found.idempotency_key,
        "result": described_result(found.result),
        "expires_ms": found.expires_ms,
        "journal": [f"{entry.type:04x} {entry.payload.hex()}" for entry in tables.journal(invocation_id)],
    }


def described_result(result: Result | None) -> str | None:
    if result is None:
        return None
    return f"{result.code} {result.message}" if isinstance(result, Failure) else result.value.hex()


def described_object(tables: Tables, service: str, key: str) -> dict[str, Any]:
    found = {
        "state": {name.decode(): value.decode() for name, value in sorted(tables.state(service, key).items())},
        "promises": {
            name: [described_result(promise.result), len(promise.listeners)]
            for name, promise in sorted(tables.promises(service, key).items())
        },
        "holder": tables.lock_holder(service, key),
        "inbox": list(tables.inbox(service, key)),
    }
    return found if any(found.values()) else {}


async def opened(world: FakeWorld, observe: Any) -> Node:
    """A node that has opened the folder and does nothing more."""
    node = Node(world, LIMITS, observe=observe)
    await node._open()
    return node


async def describe_folder(disk: FakeDisk, wanted: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """What the tables of each partition hold after a start from *disk* alone, the new leader's record included.

    Asked for are the invocations whose records are replayed, and those of *wanted*, an earlier answer.
    """
    ids: list[str] = []
    node = await opened(FakeWorld(disk=disk), lambda event: ids.extend(ids_in(event)))
    ids += [id_ for part in wanted or () for id_ in part["invocations"]]
    keys = [("Seat", f"seat-{number}") for number in range(7)] + [("Order", "o-1"), ("Order", "o-2")]
    return [described(partition.tables, sorted(set(ids)), keys) for partition in node.partitions]


def ids_in(event: Any) -> list[str]:
    """The invocations that the record of *event*, if it has one, speaks of."""
    command = getattr(getattr(event, "record", None), "command", None)
    found = [getattr(one, "invocation_id", None) for one in (command, getattr(command, "message", None))]
    return [id_ for id_ in found if id_ is not None]


def main() -> None:
    """Record the play with this build."""
    folder = HERE / f"format-{int(sys.argv[1])}"
    assert not folder.exists(), "a golden folder is written once"
    ids: list[str] = []
    write_folder(folder, recorded(lambda event: ids.extend(ids_in(event))).disk)
    found = trio.run(describe_folder, read_folder(folder), [{"invocations": ids}])
    (folder / "tables.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
