"""The reference model, third part: what operators, and the policy against deadlocks, ask of an invocation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import attrs
from understudy.protocol.messages import MESSAGES
from understudy.protocol.messages import MessageType as M
from understudy_runtime.model import commands as c
from understudy_runtime.model.invocation import Failure, HandlerType, Status

from understudy_sim.stage.model_words import Invocation, Note

if TYPE_CHECKING:
    from understudy_sim.stage.model import PartitionModel

SEED_IS_SENT: Final = 6  # the protocol in which handlers are told their seed; before, they took it from their id
# What an attempt does again by itself, or a timer brings: its command may be kept without its completion.
COMES_ANYWAY: Final = MappingProxyType[int, int]({M.RUN: M.RUN_COMPLETION, M.SLEEP: M.SLEEP_COMPLETION})


def _kill(model: PartitionModel, command: c.Kill) -> None:
    inv = model.invocations.get(command.invocation_id)
    if inv is not None and inv.status is not Status.COMPLETED:
        _abort(model, inv)
        for callee in inv.callees:
            model.send(callee, c.Kill(callee))
        model.complete(inv, Failure(409, ""))


def _abort(model: PartitionModel, inv: Invocation) -> None:
    if inv.status is Status.INVOKED:
        model.effects.wanted.append(("abort", inv.command.invocation_id, inv.lease))


def _purge(model: PartitionModel, command: c.Purge) -> None:
    inv = model.invocations.get(command.invocation_id)
    if inv is not None and inv.status is Status.COMPLETED:
        model.forget(inv)


def _purge_journal(model: PartitionModel, command: c.PurgeJournal) -> None:
    inv = model.invocations.get(command.invocation_id)
    if inv is not None and inv.status is Status.COMPLETED:
        inv.journal.clear()
        model.effects.invocations[command.invocation_id] = None


def _pause(model: PartitionModel, command: c.Pause) -> None:
    inv = model.invocations.get(command.invocation_id)
    if inv is not None and inv.status in (Status.INVOKED, Status.SUSPENDED):
        _abort(model, inv)
        model.effects.invocations[command.invocation_id] = None
        inv.status, inv.awaiting = Status.PAUSED, None


def _resume(model: PartitionModel, command: c.Resume) -> None:
    """Whoever is paused runs again; anybody else only under the lease that was seen to have no attempt."""
    inv = model.invocations.get(command.invocation_id)
    if inv is None or (command.deployment_id and not inv.is_pinned):
        return
    is_idle = inv.status in (Status.INVOKED, Status.SUSPENDED) and inv.lease == command.idle_lease
    if is_idle or inv.status is Status.PAUSED:
        model.run(inv)


def _refuse(model: PartitionModel, command: c.Refuse) -> None:
    inv = model.invocations.get(command.invocation_id)
    if inv is not None and inv.status is Status.INBOXED and command.birth in (0, inv.birth):
        model.complete(inv, command.failure)


def _restart_as_new(model: PartitionModel, command: c.RestartAsNew) -> None:
    old = model.invocations.get(command.invocation_id)
    if old is None or old.status is not Status.COMPLETED or old.command.handler_type is HandlerType.WORKFLOW:
        return
    if not 0 <= command.from_index < len(old.journal) or (command.deployment_id and not old.is_pinned):
        return
    if command.from_index and old.is_pinned and old.protocol < SEED_IS_SENT:
        return
    new = _successor(model, old, command)
    if new is None or command.new_invocation_id in model.invocations:
        return
    model.invocations[command.new_invocation_id] = new
    model.effects.accepted.append(new.command)
    model.effects.invocations[command.new_invocation_id] = None
    for entry in new.journal:
        if entry[0] == M.SLEEP and not isinstance(entry, Note):
            sleep: Any = MESSAGES[M.SLEEP].FromString(entry[1])
            if sleep.result_completion_id in new.expects:
                model.arm(sleep.wake_up_time, "sleep", command.new_invocation_id, sleep.result_completion_id)
    model.admit(new)


def _successor(model: PartitionModel, old: Invocation, command: c.RestartAsNew) -> Invocation | None:
    """The invocation that goes on with a part of the journal of *old*; None when something of it stays open."""
    part = old.journal[: command.from_index + 1]
    asked = {n: entry[0] for entry in part if not isinstance(entry, Note) for n in _asks_for(*entry)}
    completions = [note for note in old.journal if isinstance(note, Note) and note.type != M.SIGNAL_NOTIFICATION]
    later = [note for note in completions if note not in part and note.answers in asked]
    journal = [*part, *later]
    answered = [note.answers for note in completions]
    is_open = {n: type_ for n, type_ in asked.items() if n not in answered}
    if any(type_ not in COMES_ANYWAY for type_ in is_open.values()) or any(entry[0] == M.OUTPUT for entry in part):
        return None
    terms = old.command
    kept_ms = terms.completion_retention_ms if terms.idempotency_key is None else terms.journal_retention_ms
    request = attrs.evolve(
        terms,
        invocation_id=command.new_invocation_id,
        idempotency_key=None,
        execution_time_ms=0,
        completion_retention_ms=kept_ms,
        random_seed=terms.random_seed if command.from_index else command.random_seed,
        caller=None,
        request_id=0,
    )
    return Invocation(
        request,
        Status.SCHEDULED,
        [],
        model.lsn,
        journal=journal,
        stored_ms=model.now_ms,
        expects={n: COMES_ANYWAY[type_] for n, type_ in is_open.items()},
        callees=[n.says for n in journal if isinstance(n, Note) and n.type == M.CALL_INVOCATION_ID_COMPLETION],
        is_pinned=old.is_pinned and bool(command.from_index or command.deployment_id),
        protocol=old.protocol,
    )


def _asks_for(type_: int, payload: bytes) -> list[int]:
    """The completions a stored command waits for."""
    message: Any = MESSAGES[M(type_)].FromString(payload)
    fields = ("result_completion_id", "invocation_id_notification_idx")
    return [getattr(message, name) for name in fields if hasattr(message, name)]


def _mutate_state(model: PartitionModel, command: c.MutateState) -> None:
    key = (command.service, command.key)
    model.effects.keys[key] = None
    if key in model.locks:
        model.inboxes.setdefault(key, []).append(command)
    else:
        model.change_state(command)


REQUEST_RULES: Final[Mapping[type, Callable[[PartitionModel, Any], None]]] = MappingProxyType(
    {
        c.Kill: _kill,
        c.Purge: _purge,
        c.PurgeJournal: _purge_journal,
        c.Pause: _pause,
        c.Resume: _resume,
        c.Refuse: _refuse,
        c.RestartAsNew: _restart_as_new,
        c.MutateState: _mutate_state,
    }
)
