"""Who waits for what: read from the tables, changed by nobody.  Pure; it knows one partition at a time, never a node.

`waits_of` is what people are shown.  `blockers_of` and `only_blockers_of` are the edges between invocations: the first
says whom one needs before it can *end* (the policy that refuses calls goes by it), the second whom it needs before it
can *go on at all* (what is reported as a deadlock goes by it: a time-out or an awakeable would be a way out).

An attempt that runs does not say what it awaits.  What it called and has no answer to yet stands for that, as long as
nothing came to it since.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MESSAGES, MessageType, is_command

from understudy_runtime.machine.invocation import SIGNAL_CANCEL, Invocation
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model import ids
from understudy_runtime.model.invocation import HandlerType, Status, Target
from understudy_runtime.model.values import frozen

_CALL_ID = int(MessageType.CALL_INVOCATION_ID_COMPLETION)
# Completions that another invocation's end brings about.
_BY_OTHERS: Final = (int(MessageType.CALL_COMPLETION), int(MessageType.ATTACH_INVOCATION_COMPLETION))


class WaitKind(StrEnum):
    """What is waited for."""

    START = "start"  # its time; detail: epoch milliseconds
    LOCK = "lock"  # the invocation *on* to give back the lock of its object; detail: the object
    CALL = "call"  # the invocation *on* it called to end; detail: what was called
    ATTACH = "attach"  # the invocation *on* it attached to to end
    OUTPUT = "output"  # an answer whether the invocation *on* has ended
    PROMISE = "promise"  # detail: its name
    AWAKEABLE = "awakeable"  # detail: its id
    SIGNAL = "signal"  # detail: its name, or its number
    SLEEP = "sleep"  # detail: epoch milliseconds
    RUN = "run"  # its own step; detail: the step's name
    RETRY = "retry"  # to be tried again; detail: why the last attempt failed
    RESUME = "resume"  # paused, for somebody to resume it


@frozen
class Wait:
    """One thing an invocation waits for.  `on` is the invocation that can end the wait, where there is one."""

    kind: WaitKind
    on: str = ""
    detail: str = ""


def waits_of(tables: Tables, invocation: Invocation) -> tuple[Wait, ...]:
    """What *invocation* waits for: any of these if it is suspended, what it asked for so far if it runs."""
    match invocation.status:
        case Status.SCHEDULED:
            return (Wait(WaitKind.START, detail=str(invocation.execution_time_ms)),)
        case Status.INBOXED:
            service, key = object_of(invocation)
            return (Wait(WaitKind.LOCK, holder_of(tables, invocation), f"{service}/{key}"),)
        case Status.INVOKED:
            return tuple(open_waits(tables, invocation, invocation.open_completions))
        case Status.SUSPENDED:
            awaiting = invocation.awaiting
            assert awaiting is not None, "a suspended invocation awaits something"
            return (*open_waits(tables, invocation, awaiting.completions), *signal_waits(invocation))
        case Status.PAUSED:
            return (Wait(WaitKind.RESUME),)
        case _:
            return ()


def signal_waits(invocation: Invocation) -> Iterator[Wait]:
    """The signals a suspended invocation awaits.  A cancel is always welcome and waited for by nobody."""
    assert invocation.awaiting is not None, "a suspended invocation awaits something"
    for index in invocation.awaiting.signals:
        if index >= ids.AWAKEABLE_INDEX_FIRST:
            yield Wait(WaitKind.AWAKEABLE, detail=ids.awakeable_id(invocation.id, index))
        elif index != SIGNAL_CANCEL:
            yield Wait(WaitKind.SIGNAL, detail=str(index))
    for name in invocation.awaiting.named_signals:
        yield Wait(WaitKind.SIGNAL, detail=name)


def open_waits(tables: Tables, invocation: Invocation, completions: Collection[int]) -> list[Wait]:
    """What will complete those of *completions* that are open, in the order they were asked for.

    Reads the journal from its end, no further than it must.
    """
    wanted = {completion_id for completion_id in completions if completion_id in invocation.open_completions}
    found: list[Wait] = []
    callees: dict[int, str] = {}
    for entry in reversed(tables.entries(invocation) if wanted else ()):
        if entry.type == _CALL_ID:
            note = pb.Notification.FromString(entry.payload)
            callees[note.completion_id] = note.invocation_id
            continue
        wait = WAITS.get(entry.type)
        if wait is None:
            continue
        command: Any = MESSAGES[MessageType(entry.type)].FromString(entry.payload)
        if command.result_completion_id in wanted:
            wanted.remove(command.result_completion_id)
            found.append(wait(command, callees))
            if not wanted:
                break
    found.reverse()
    return found


def _call(command: pb.CallCommand, callees: Mapping[int, str]) -> Wait:
    parts = (command.service_name, command.key, command.handler_name)
    name = "/".join(part for part in parts if part)
    return Wait(WaitKind.CALL, callees.get(command.invocation_id_notification_idx, ""), name)


def _attach(command: pb.AttachInvocationCommand, _: Mapping[int, str]) -> Wait:
    return Wait(WaitKind.ATTACH, attached_to(command), command.name)


def _output(command: pb.GetInvocationOutputCommand, _: Mapping[int, str]) -> Wait:
    return Wait(WaitKind.OUTPUT, attached_to(command), command.name)


def _promise(command: pb.GetPromiseCommand, _: Mapping[int, str]) -> Wait:
    return Wait(WaitKind.PROMISE, detail=command.key)


def _sleep(command: pb.SleepCommand, _: Mapping[int, str]) -> Wait:
    return Wait(WaitKind.SLEEP, detail=str(command.wake_up_time))


def _run(command: pb.RunCommand, _: Mapping[int, str]) -> Wait:
    return Wait(WaitKind.RUN, detail=command.name)


# Commands whose completion may take its time.  All others are answered as they are journaled.
WAITS: Final[Mapping[int, Callable[[Any, Mapping[int, str]], Wait]]] = MappingProxyType(
    {
        MessageType.CALL: _call,
        MessageType.ATTACH_INVOCATION: _attach,
        MessageType.GET_INVOCATION_OUTPUT: _output,
        MessageType.GET_PROMISE: _promise,
        MessageType.SLEEP: _sleep,
        MessageType.RUN: _run,
    }
)


def attached_to(command: pb.AttachInvocationCommand | pb.GetInvocationOutputCommand) -> str:
    """The invocation such a command addresses."""
    kind = command.WhichOneof("target")
    if kind == "workflow_target":
        return ids.workflow_run_id(command.workflow_target.workflow_name, command.workflow_target.workflow_key)
    if kind == "idempotent_request_target":
        request = command.idempotent_request_target
        key = request.service_key if request.HasField("service_key") else None
        target = Target(request.service_name, request.handler_name, key)
        return ids.invocation_id_for(target, HandlerType.SHARED, request.idempotency_key, 0, bytes(ids.ENTROPY_BYTES))
    return command.invocation_id


def object_of(invocation: Invocation) -> tuple[str, str]:
    """(service, key) of the object whose lock *invocation* takes."""
    assert invocation.target.key is not None, "only keyed targets have a lock"
    return invocation.target.service, invocation.target.key


def holder_of(tables: Tables, invocation: Invocation) -> str:
    """Who holds the lock that *invocation* waits for."""
    holder = tables.lock_holder(*object_of(invocation))
    assert holder is not None, "nobody waits for a free object"
    return holder


def blockers_of(tables: Tables, invocation: Invocation) -> tuple[str, ...]:
    """The invocations that *invocation* needs before it can end: the holder of its lock, or whom it called."""
    if invocation.status is Status.INBOXED:
        return (holder_of(tables, invocation),)
    if invocation.status in (Status.INVOKED, Status.SUSPENDED, Status.PAUSED):
        return _others(tables, invocation, invocation.open_completions)
    return ()


def only_blockers_of(tables: Tables, invocation: Invocation) -> tuple[str, ...]:
    """The same when nothing but these can make *invocation* go on; empty when something else can."""
    if invocation.status is Status.INBOXED:
        return (holder_of(tables, invocation),)
    open_completions, awaiting = invocation.open_completions, invocation.awaiting
    if invocation.status is Status.INVOKED:
        if not _has_spoken_last(tables, invocation):
            return ()
        awaited: Collection[int] = open_completions
    elif awaiting is None or awaiting.named_signals or any(index != SIGNAL_CANCEL for index in awaiting.signals):
        return ()
    else:
        awaited = awaiting.completions
    if any(open_completions.get(completion_id) not in _BY_OTHERS for completion_id in awaited):
        return ()
    return _others(tables, invocation, awaited)


def _has_spoken_last(tables: Tables, invocation: Invocation) -> bool:
    """Whether nothing came to a running attempt since its last command, that might make it go on."""
    last = tables.entries(invocation)[-1].type
    return is_command(last) or last == _CALL_ID


def _others(tables: Tables, invocation: Invocation, completions: Collection[int]) -> tuple[str, ...]:
    open_completions = invocation.open_completions
    by_others = [one for one in completions if open_completions.get(one) in _BY_OTHERS]
    return tuple(wait.on for wait in open_waits(tables, invocation, by_others)) if by_others else ()


def find_cycle(waits: Callable[[str], Sequence[str]], start: str) -> tuple[str, ...]:
    """A circle of ids each of which *waits* for the next, the last for the first; empty when *start* leads to none.

    The first one found, depth first; it begins with *start* if that is part of it.
    """
    path = {start: iter(waits(start))}
    seen = {start}
    while path:
        at = next(reversed(path))
        following = next(path[at], None)
        if following is None:
            del path[at]
        elif following in path:
            members = list(path)
            return tuple(members[members.index(following) :])
        elif following not in seen:
            seen.add(following)
            path[following] = iter(waits(following))
    return ()


def stuck(waiting: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Those of *waiting* (id to all that could make it go on) that nothing can move: each waits for others of them."""
    left = dict(waiting)
    waiters: dict[str, list[str]] = {}
    for waiter, blockers in waiting.items():
        for blocker in blockers:
            waiters.setdefault(blocker, []).append(waiter)
    free = [one for one, blockers in waiting.items() if any(b not in waiting for b in blockers) or not blockers]
    while free:
        one = free.pop()
        if left.pop(one, None) is not None:
            free += waiters.get(one, ())
    return left


def deadlocks(waiting: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """The circles among *waiting* (id to all that could make it go on), each beginning with its smallest id, sorted."""
    left = stuck(waiting)
    cycles: list[tuple[str, ...]] = []
    seen: set[str] = set()
    for at in sorted(left):
        # Each of them waits for another of them: whoever is followed comes back to somebody, and nobody is left twice.
        path: dict[str, None] = {}
        while at not in seen:
            seen.add(at)
            path[at] = None
            at = left[at][0]
        if at in path:
            members = list(path)
            cycle = tuple(members[members.index(at) :])
            first = cycle.index(min(cycle))
            cycles.append(cycle[first:] + cycle[:first])
    return tuple(sorted(cycles))
