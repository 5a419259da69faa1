"""A completed invocation runs again under a new id, from its Input or from a part of its journal.

The part that is kept is what the new handler replays: its effects (state, calls, sends) happened once and do not happen
again.  So every command in it must have its completions, but for a step, which is executed anew, and a sleep, which
goes on.  Signals that came after the part are left behind: they were for the old one.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MessageType, is_command

from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.issued import issued
from understudy_runtime.machine.lifecycle import TimerKind, admit, arm_timer
from understudy_runtime.machine.status import WAITING
from understudy_runtime.machine.termination import (
    DONE,
    NOT_COMPLETED,
    NOT_FOUND,
    NOT_MOVABLE,
    NOT_STARTED,
    acknowledge,
)
from understudy_runtime.machine.turn import Turn
from understudy_runtime.model import ids
from understudy_runtime.model.commands import RestartAsNew
from understudy_runtime.model.invocation import Entry, HandlerType, Status

IS_WORKFLOW = "is_workflow"
NO_JOURNAL = "no_journal"
BAD_PREFIX = "bad_prefix"
OLD_PROTOCOL = "old_protocol"

# From here on a handler's random values follow from the seed it is sent; before, from its id, which a restart changes.
PROTOCOL_WITH_SEED = 6

_OUTPUT = int(MessageType.OUTPUT)
_SIGNAL = int(MessageType.SIGNAL_NOTIFICATION)
_RUN_COMPLETION = int(MessageType.RUN_COMPLETION)
_SLEEP_COMPLETION = int(MessageType.SLEEP_COMPLETION)
# What a new attempt brings about by itself, and what a timer does.
_MAY_BE_OPEN = (_RUN_COMPLETION, _SLEEP_COMPLETION)


@attrs.frozen
class Kept:
    """The part of a journal that is replayed.  `sleeps`: completion id and wake-up time of those not over yet."""

    entries: Sequence[Entry]
    open_completions: dict[int, int]
    completion_id_last: int
    sleeps: Sequence[tuple[int, int]]


def on_restart_as_new(turn: Turn, command: RestartAsNew) -> None:
    outcome = restart(turn, turn.tables.invocation(command.invocation_id), command)
    acknowledge(turn, command, outcome)


def restart(turn: Turn, old: Invocation | None, command: RestartAsNew) -> str:
    """Begin a new invocation with what *command* wants of the journal of *old*."""
    if old is None:
        return NOT_FOUND
    if old.status in WAITING:
        return NOT_STARTED
    if old.status is not Status.COMPLETED:
        return NOT_COMPLETED
    if old.handler_type is HandlerType.WORKFLOW:
        return IS_WORKFLOW
    if not old.journal_length:
        return NO_JOURNAL
    if command.deployment_id and not old.deployment_id:
        return NOT_MOVABLE
    if command.from_index > 0 and 0 < old.protocol_version < PROTOCOL_WITH_SEED:
        return OLD_PROTOCOL
    kept = part_of(turn.tables.entries(old), command.from_index)
    if kept is None:
        return BAD_PREFIX
    if turn.tables.invocation(command.new_invocation_id) is None:
        begin_again(turn, old, command, kept)
    return DONE


def part_of(journal: Sequence[Entry], from_index: int) -> Kept | None:
    """The entries up to *from_index* and what completes them; None when they are no beginning to go on from."""
    if not 0 <= from_index < len(journal):
        return None
    entries: list[Entry] = []
    waiting: dict[int, int] = {}
    wake_up_times: dict[int, int] = {}
    last = 0
    for index, entry in enumerate(journal):
        if entry.type == _SIGNAL:
            is_kept = index <= from_index
        elif is_command(entry.type):
            is_kept = index <= from_index
            for completion_id, type_, message in issued(entry) if is_kept else ():
                waiting[completion_id] = type_
                last = max(last, completion_id)
                if type_ == _SLEEP_COMPLETION:
                    wake_up_times[completion_id] = message.wake_up_time
        else:
            is_kept = waiting.pop(pb.Notification.FromString(entry.payload).completion_id, None) is not None
        if is_kept:
            entries.append(entry)
    if journal[from_index].type == _OUTPUT or _OUTPUT in [entry.type for entry in entries]:
        return None
    if any(type_ not in _MAY_BE_OPEN for type_ in waiting.values()):
        return None
    return Kept(entries, waiting, last, [(id_, due) for id_, due in wake_up_times.items() if id_ in waiting])


def begin_again(turn: Turn, old: Invocation, command: RestartAsNew, kept: Kept) -> None:
    """Take in the new invocation with the journal *kept*, and let it wait for its turn like any other."""
    new_id = command.new_invocation_id
    assert ids.partition_key_of(new_id) == ids.partition_key_of(old.id), "it belongs where its object and journal are"
    is_partial = command.from_index > 0
    new = attrs.evolve(
        blank(turn, old, new_id),
        random_seed=old.random_seed if is_partial else command.random_seed,
        deployment_id=command.deployment_id or (old.deployment_id if is_partial else ""),
        open_completions=kept.open_completions,
        completion_id_last=kept.completion_id_last,
    )
    new.protocol_version = old.protocol_version if new.deployment_id else 0
    turn.tables.add(new)
    for entry in kept.entries:
        index = turn.tables.append(new, entry, turn.now_ms)
        new.command_count += is_command(entry.type)
        if entry.type == _SIGNAL:
            note = pb.Notification.FromString(entry.payload)
            new.signals[note.signal_name or note.signal_id] = index
    for completion_id, due_ms in kept.sleeps:
        arm_timer(turn, new, due_ms, TimerKind.SLEEP, completion_id)
    admit(turn, new)


def blank(turn: Turn, old: Invocation, new_id: str) -> Invocation:
    """A new invocation of the same target and terms.  Nobody has a key to ask for its result again by."""
    has_key = old.idempotency_key is not None
    return Invocation(
        id=new_id,
        target=old.target,
        service_type=old.service_type,
        handler_type=old.handler_type,
        idempotency_key=None,
        execution_time_ms=0,
        created_ms=turn.now_ms,
        completion_retention_ms=old.journal_retention_ms if has_key else old.completion_retention_ms,
        random_seed=0,
        retry_policy=old.retry_policy,
        schema_revision=old.schema_revision,
        journal_retention_ms=old.journal_retention_ms,
        birth=turn.tables.applied_lsn + 1,
    )
