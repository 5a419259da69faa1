"""Pause and resume: an operator takes an invocation out of its run, and puts it back.

Pausing asks nobody: the attempt is cut and its lease is over, what it sent before counts.  What it waited for is kept
in the journal when it comes, and the next attempt asks for the rest anew.
"""

from __future__ import annotations

from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.lifecycle import resume
from understudy_runtime.machine.status import WAITING, StatusEvent, advance
from understudy_runtime.machine.termination import (
    ALREADY_COMPLETED,
    DONE,
    NOT_FOUND,
    NOT_MOVABLE,
    NOT_STARTED,
    acknowledge,
)
from understudy_runtime.machine.turn import Turn
from understudy_runtime.model.actions import AbortAttempt
from understudy_runtime.model.commands import Pause, Resume
from understudy_runtime.model.invocation import Status

ALREADY_PAUSED = "already_paused"
NOT_RUNNING = "not_running"


def on_pause(turn: Turn, command: Pause) -> None:
    outcome = pause(turn, turn.tables.invocation(command.invocation_id))
    acknowledge(turn, command, outcome)


def pause(turn: Turn, invocation: Invocation | None) -> str:
    """Stop what runs or is suspended.  It keeps its lock."""
    if invocation is None:
        return NOT_FOUND
    if invocation.status is Status.PAUSED:
        return ALREADY_PAUSED
    if invocation.status not in (Status.INVOKED, Status.SUSPENDED):
        return NOT_RUNNING
    if invocation.status is Status.INVOKED:
        turn.actions.append(AbortAttempt(invocation.id, invocation.lease))
    turn.tables.touch(invocation)
    advance(invocation, StatusEvent.PAUSED)
    invocation.awaiting = None
    return DONE


def on_resume(turn: Turn, command: Resume) -> None:
    outcome = run_again(turn, turn.tables.invocation(command.invocation_id), command)
    acknowledge(turn, command, outcome)


def run_again(turn: Turn, invocation: Invocation | None, command: Resume) -> str:
    """Run now what is paused, or is suspended or waits to be tried again as it was seen to; who runs needs no push."""
    if invocation is None:
        return NOT_FOUND
    if invocation.status is Status.COMPLETED:
        return ALREADY_COMPLETED
    if invocation.status in WAITING:
        return NOT_STARTED
    is_idle = invocation.status is Status.PAUSED or invocation.lease == command.idle_lease
    if command.deployment_id and not (is_idle and invocation.deployment_id):
        return NOT_MOVABLE
    if is_idle:
        resume(turn, invocation)
        invocation.deployment_id = command.deployment_id or invocation.deployment_id
    return DONE
