"""Hypothesis draws what is rehearsed: operations, faults, whole rehearsals, and the rules of an async state machine.

    from hypothesis import given
    from understudy_sim.drawn import rehearsals

    @given(rehearsals(ticket_tour))
    def test_the_tour(run):
        run.check()

Structure is drawn by Hypothesis, which shrinks it, stores it and prints it as Python; the long tape of small decisions
(which task runs next, how long a message takes) follows from a drawn seed.  An example holds 8 KiB of choices: a run
takes a hundred thousand.
"""

from __future__ import annotations

from hypothesis.stateful import Bundle, consumes, precondition, run_state_machine_as_test

from understudy_sim.drawn.arguments import NoStrategy, json_values
from understudy_sim.drawn.driver import Lost, Reply, Started
from understudy_sim.drawn.machine import Later, StateMachine, fault, finally_, invariant, rule
from understudy_sim.drawn.runs import RehearsalFailed, Run
from understudy_sim.drawn.strategies import calls, fault_sets, operations, rehearsals, schedules, strikes

__all__ = [
    "Bundle",
    "Later",
    "Lost",
    "NoStrategy",
    "RehearsalFailed",
    "Reply",
    "Run",
    "Started",
    "StateMachine",
    "calls",
    "consumes",
    "fault",
    "fault_sets",
    "finally_",
    "invariant",
    "json_values",
    "operations",
    "precondition",
    "rehearsals",
    "rule",
    "run_state_machine_as_test",
    "schedules",
    "strikes",
]
