"""What the admin wants of the node behind it, beyond what the ingress does.  `node.py` satisfies it by shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import attrs

from understudy_runtime.ingress.backend import Known
from understudy_runtime.limits import Limits
from understudy_runtime.model.actions import RequestAcked
from understudy_runtime.model.commands import (
    Cancel,
    Kill,
    MutateState,
    Pause,
    Purge,
    PurgeJournal,
    RestartAsNew,
    Resume,
)
from understudy_runtime.model.invocation import Entry, Failure, ServiceType
from understudy_runtime.model.registration import DeploymentPatch, Registered, Registration
from understudy_runtime.model.schema import Options, Schema, Service

# Restate's words for where an invocation stands that has not completed, and one of ours: `parked`.
STATUSES: Final = ("scheduled", "pending", "ready", "running", "backing-off", "parked", "suspended", "paused")
ToInvocation = Cancel | Kill | Purge | PurgeJournal | Pause | Resume | RestartAsNew


@attrs.frozen(kw_only=True)
class Waiting:
    """One thing that would let an invocation go on.

    *kind* is one of the machine's words (`machine/waits.py`): start, lock, call, attach, output, promise, awakeable,
    signal, sleep, run, retry, resume.  *on* is the invocation that can end the wait, where there is one; *until_ms* the
    time it ends at by itself; *detail* what is waited for, in words or as its id.
    """

    kind: str
    on: str = ""
    detail: str = ""
    until_ms: int = 0


@attrs.frozen(kw_only=True)
class Described:
    """What the tables say about an invocation, without what is its caller's.  Times in ms since the epoch; 0: never."""

    id: str
    known: Known
    # One of STATUSES, or `completed`.
    status: str
    service_type: ServiceType
    idempotency_key: str | None
    created_ms: int
    execution_time_ms: int
    completed_ms: int
    deployment_id: str
    protocol_version: int
    journal_length: int
    command_count: int
    # What becomes of it just now, while it is INVOKED: whether an attempt runs, how many were begun under this lease,
    # how many failed in a row and how the last did, and when the next one is due.
    is_running: bool = False
    attempts: int = 0
    failures: int = 0
    retry_at_ms: int = 0
    last_failure: Failure | None = None
    # Whether it is INVOKED while no attempt runs: it waits for a slot, or to be tried again.
    is_idle: bool = False
    waits: Sequence[Waiting] = ()
    # The invocations that wait for its end, who called it or attached to it.
    callers: Sequence[str] = ()
    # The circle of invocations that wait for each other and that it waits for: it can never go on by itself.  It
    # begins with this one if this one is part of it.
    deadlock: Sequence[str] = ()
    # Why it is not tried any more until somebody moves it; empty: it is not parked.
    parked: str = ""


@attrs.frozen(kw_only=True)
class Exported:
    """A journal from its Input on, and what a replay needs beside it.  No entries: it is no longer kept.

    `state` is what the next attempt would be given at once; `is_state_complete` when there is no more of it.
    """

    described: Described
    random_seed: int
    entries: Sequence[Entry]
    state: Sequence[tuple[bytes, bytes]]
    is_state_complete: bool


@attrs.frozen
class Listed:
    """Some invocations; `is_complete` when there are no more such."""

    found: Sequence[Described]
    is_complete: bool


class Deployments(Protocol):
    """Who registers, moves and removes.  All raise RegistrationRefused and change nothing then."""

    async def register(self, wanted: Registration) -> Registered: ...

    async def move(self, deployment_id: str, patch: DeploymentPatch) -> Registered: ...

    async def remove(self, deployment_id: str) -> None: ...

    async def patch_service(self, service: str, options: Options) -> Service: ...


class AdminBackend(Protocol):
    """The node, as its operator sees it."""

    @property
    def schema(self) -> Schema: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def registrar(self) -> Deployments: ...

    def now_ms(self) -> int: ...

    def entropy(self, length: int) -> bytes: ...

    def new_request_id(self) -> int:
        """A number no other request of this node has had since it started."""

    def described(self, invocation_id: str) -> Described | None:
        """What the tables say about *invocation_id* now."""

    def described_all(self, invocation_ids: Sequence[str]) -> list[Described]:
        """What the tables say about each of *invocation_ids* that is known, at one instant."""

    def live(self, service: str | None, count_max: int, status: str | None = None) -> Listed:
        """At most *count_max* invocations that have not completed, by id; of one *service* and *status*, or of all.

        Without what they wait for, which is looked up a few at a time.
        """

    def deadlocks(self) -> Sequence[Sequence[str]]:
        """The circles of invocations that wait for each other and nothing else; each waits for the next."""

    def journal(self, invocation_id: str) -> Exported | None:
        """The journal of *invocation_id*; None when it is unknown."""

    async def request(self, command: ToInvocation) -> RequestAcked:
        """Propose *command* and wait until it is applied.  Raises Overloaded, Unavailable."""

    async def mutate_state(self, command: MutateState) -> RequestAcked:
        """Propose *command* where its key lives and wait until it is applied or queued.  Raises as `request`."""
