"""What can be judged when the log was trimmed: the tables that the server's own recovery makes of a data folder.

The records are gone, so the claims about each step cannot be looked at; what clients were told, what has ended, and
what the providers' ledgers hold, can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio
from understudy_runtime.limits import Limits
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model.invocation import Status, Success
from understudy_runtime.node import partition_identity, read_format
from understudy_runtime.partition import Partition
from understudy_runtime.real_world import RealWorld
from understudy_runtime.recovery import Opened, open_partition
from understudy_sim import Ledger
from understudy_sim.stage.history import Asked, History

from scenarios import box_office
from tests.live.log_reading import Seen, Verdict, tour_claims


@attrs.frozen
class Kept:
    """Committed state, from tables."""

    tables: Tables

    def state(self, service: str, key: str) -> dict[str, Any]:
        """An object's state, decoded from JSON."""
        return {name.decode(): json.loads(value) for name, value in self.tables.state(service, key).items()}


def judge_trimmed(
    data: Path,
    history: History,
    payments: Ledger[box_office.Charge],
    mails: Ledger[box_office.Mail],
    seats: Sequence[str],
    kills: int,
    silences: Mapping[str, int],
) -> Verdict:
    """Recover *data*, whose server has stopped, and check what clients and ledgers say against it."""
    world = RealWorld(data)
    opened, tables = trio.run(recovered, world)
    verdict = Verdict(history, payments, mails, tables.applied_lsn)
    verdict.hits["records trimmed"] = opened.log.lsn_first - 1
    if opened.log.lsn_first == 1:
        verdict.broken.append("nothing was trimmed: the run was too short for what it is meant to show")
    for entry in history.asked:
        verdict.broken += [f"P12: {what}" for what in forgotten(tables, entry)]
        verdict.hits["P12 acknowledgements looked up"] = verdict.hits.get("P12 acknowledgements looked up", 0) + 1
    verdict.broken += [
        f"P5: {one.id} never ended ({one.status.name})" for one in tables.live() if one.status is not Status.SCHEDULED
    ]
    verdict.broken += tour_claims(Seen(Kept(tables), kills, silences), payments, mails, seats)
    opened.close()
    return verdict


async def recovered(world: RealWorld) -> tuple[Opened, Tables]:
    """The one partition as a restart would have it."""
    folder = read_format(world.disk)
    assert folder.partition_count == 1, "one partition"
    limits = Limits()
    identity = partition_identity(folder.identity, 0)
    opened = await open_partition(world, 0, 1, identity=identity, limits=limits, observe=lambda event: None)
    partition = Partition(
        0,
        world=world,
        limits=limits,
        observe=lambda event: None,
        log=opened.log,
        storage=opened.storage,
        tables=opened.tables,
    )
    await partition.recover()
    return opened, partition.tables


def forgotten(tables: Tables, entry: Asked) -> list[str]:
    """How the tables contradict what a client was told: every answer is kept for a day under its key."""
    answer = entry.answer
    if answer is None or answer.source == "ingress" or not answer.invocation_id:
        return []
    known = tables.invocation(answer.invocation_id)
    if known is None or known.result is None:
        return [f"{answer.invocation_id} was answered {answer.status}, and is not known to have ended"]
    is_same = isinstance(known.result, Success) == (answer.status == 200)
    if is_same and isinstance(known.result, Success):
        is_same = known.result.value == answer.body
    return [] if is_same else [f"{answer.invocation_id} was answered {answer.status} {answer.body!r}: {known.result}"]
