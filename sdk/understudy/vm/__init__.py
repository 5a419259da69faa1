"""The sans-IO virtual machine of an attempt: `VM`, and what it answers and raises."""

from understudy.vm.awaits import CANCEL, Combinator, Failure, Leaf, Node, Result, Tree
from understudy.vm.core import VERSIONS, Answer
from understudy.vm.errors import (
    AttemptAborted,
    AttemptEnded,
    AttemptFinished,
    AttemptSuspended,
    InternalError,
    JournalMismatch,
    ProtocolViolation,
    UnsupportedFeature,
    VmError,
)
from understudy.vm.runs import RunRetryPolicy
from understudy.vm.states import TRANSITIONS, Event, State
from understudy.vm.vm import VM, CallTarget, Input

__all__ = [
    "CANCEL",
    "TRANSITIONS",
    "VERSIONS",
    "VM",
    "Answer",
    "AttemptAborted",
    "AttemptEnded",
    "AttemptFinished",
    "AttemptSuspended",
    "CallTarget",
    "Combinator",
    "Event",
    "Failure",
    "Input",
    "InternalError",
    "JournalMismatch",
    "Leaf",
    "Node",
    "ProtocolViolation",
    "Result",
    "RunRetryPolicy",
    "State",
    "Tree",
    "UnsupportedFeature",
    "VmError",
]
