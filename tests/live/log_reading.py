"""The simulator's checkers over the durable log of a real server, once it has stopped.

The log is the truth: applied record by record to fresh tables and to the reference model, it shows everything the
server ever decided.  What clients were answered and what providers remember is then held against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import trio
from understudy_runtime.limits import Limits
from understudy_runtime.log.codec import COMMANDS
from understudy_runtime.log.shell import Log
from understudy_runtime.machine.apply import apply, outstanding
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model.commands import LeaderElected, Record
from understudy_runtime.model.events import LeadershipTaken
from understudy_runtime.model.invocation import Status
from understudy_runtime.node import partition_identity, read_format
from understudy_runtime.real_world import RealWorld
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage
from understudy_sim import Ledger
from understudy_sim.stage.happenings import Answered, Step
from understudy_sim.stage.history import History
from understudy_sim.stage.properties.accepted_ends import AcceptedEnds
from understudy_sim.stage.properties.answer_stability import AnswerStability
from understudy_sim.stage.properties.durable_answers import DurableAnswers
from understudy_sim.stage.properties.exactly_once import ExactlyOnce
from understudy_sim.stage.properties.fold import Fold
from understudy_sim.stage.properties.order import Order
from understudy_sim.stage.properties.outstanding import Outstanding
from understudy_sim.stage.properties.single_holder import SingleHolder
from understudy_sim.stage.properties.timers import Timers
from understudy_sim.stage.truth import Truth
from understudy_sim.stage.watch import Property, Watch

from scenarios import box_office

CHECKERS: Final[tuple[type[Property], ...]] = (
    SingleHolder,
    Order,
    ExactlyOnce,
    AnswerStability,
    Fold,
    Outstanding,
    Timers,
    DurableAnswers,
)


@attrs.define
class Verdict:
    """What broke, how much was looked at, and what it was judged by."""

    history: History
    payments: Ledger[box_office.Charge]
    mails: Ledger[box_office.Mail]
    records: int = 0
    broken: list[str] = attrs.field(factory=list)
    hits: dict[str, int] = attrs.field(factory=dict)


class Committed(Protocol):
    """Committed state, by object."""

    def state(self, service: str, key: str) -> dict[str, Any]: ...


class Seen:
    """The part of a Stage that the tour's claims read."""

    def __init__(self, truth: Committed, kills: int, silences: Mapping[str, int]) -> None:
        self._truth = truth
        self._kills = kills
        self._silences = silences

    def state(self, service: str, key: str) -> dict[str, Any]:
        return self._truth.state(service, key)

    def interruptions(self, invocation_id: str) -> int:
        """A kill may cut any attempt; a provider that hung up cut one."""
        return self._kills + self._silences.get(invocation_id, 0)


def judge(
    data: Path,
    history: History,
    payments: Ledger[box_office.Charge],
    mails: Ledger[box_office.Mail],
    seats: Sequence[str],
    kills: int,
    silences: Mapping[str, int],
) -> Verdict:
    """Read the log of *data*, whose server has stopped, and check everything against it."""
    world = RealWorld(data)
    folder = read_format(world.disk)
    assert folder.partition_count == 1, "the records of several partitions have no common order in their logs"
    watch = Watch(lambda: 0)
    truth = Truth(folder.partition_count)
    properties = [kind(watch, truth) for kind in CHECKERS]
    for checker in properties:
        watch.subscribe(checker.handlers())
    trio.run(read_log, world, partition_identity(folder.identity, 0), truth, watch)
    for entry in history.asked:
        for answer in entry.answers:
            watch.tell(Answered(entry, answer))
    for checker in properties:
        checker.finish()
    verdict = Verdict(history, payments, mails, len(truth.records[0]), hits=watch.hits)
    verdict.broken += [f"{one.claim}: {one.what}" for one in watch.violations]
    verdict.broken += pending(watch, truth)
    verdict.broken += tour_claims(Seen(truth, kills, silences), payments, mails, seats)
    return verdict


async def read_log(world: RealWorld, identity: int, truth: Truth, watch: Watch) -> None:
    """Tell *watch* of every record, as it is applied to fresh tables."""
    log = await Log.open(
        world.disk, "partition-0", identity=identity, codec=COMMANDS, limits=Limits(), observe=watch.tell
    )
    tables = Tables.load(MemoryStorage(MemoryMedium()), 0, 1)
    truth.tables[0] = tables
    for replayed in log.records(1):
        for lsn, command in enumerate(replayed.commands, replayed.lsn_first):
            record = Record(lsn, replayed.time_ms, command)
            actions = tuple(apply(tables, record))
            watch.tell(Step(0, record, actions, truth.learn(0, record)))
            if isinstance(command, LeaderElected):
                watch.tell(LeadershipTaken(0, command.epoch, lsn, outstanding(tables)))
    log.close()


def pending(watch: Watch, truth: Truth) -> list[str]:
    """P5: what was accepted has ended; only holds that run out later are still scheduled."""
    ends = AcceptedEnds(watch, truth)
    return [
        f"P5: {one.command.invocation_id} never ended ({one.status.name})"
        for one in ends.pending()
        if one.status is not Status.SCHEDULED
    ]


def tour_claims(
    seen: Seen, payments: Ledger[box_office.Charge], mails: Ledger[box_office.Mail], seats: Sequence[str]
) -> list[str]:
    """The claims of the tour that need no quarter of an hour: (a) to (d)."""
    stage: Any = seen
    found = [
        box_office.charged_twice(payments),
        box_office.many_keys(payments),
        box_office.unexplained_calls(stage, payments, mails),
        box_office.charges_without_mail(payments, mails),
    ]
    before = box_office.SEATS
    box_office.SEATS = tuple(seats)
    try:
        found.append(box_office.sold_and_paid_differ(stage, payments))
    finally:
        box_office.SEATS = before
    return [text for text in found if text]
