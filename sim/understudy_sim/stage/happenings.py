"""What the stage itself sees, beside the server's events: bodies that run, processes that stop, hazards, answers.

Checkers take these and the events of `understudy_runtime.model.events` from one `Watch`.
"""

from __future__ import annotations

from typing import Any

import attrs
from understudy_runtime.model.actions import Action
from understudy_runtime.model.commands import Record

from understudy_sim.stage.history import Answer, Asked
from understudy_sim.stage.model_words import Effects


@attrs.frozen
class Step:
    """A record was applied for the first time in this run (a replay of what is known is no step).

    `effects` is what the reference model says it does.
    """

    partition: int
    record: Record
    actions: tuple[Action, ...]
    effects: Effects


@attrs.frozen
class Replayed:
    """A restarted server applied a record again that this run knows."""

    partition: int
    record: Record
    known: Record


@attrs.frozen
class BodyStarted:
    """A handler's body begins to run at the endpoint.  `body` numbers it within the run."""

    body: int
    invocation_id: str


@attrs.frozen
class BodyEnded:
    body: int


@attrs.frozen
class StepExecuted:
    """The body of a `ctx.run` begins to run.  `attempt` is the number of the handler's body it belongs to, if known."""

    invocation_id: str
    name: str
    attempt: int = 0


@attrs.frozen
class StepEnded:
    """The body of a `ctx.run` has ended, well or badly.  `attempt` is the number of the handler's body."""

    attempt: int
    invocation_id: str


@attrs.frozen
class AttemptWaits:
    """An attempt begins to wait for the server: for `tree`, keys of its notifications; None: it goes on."""

    attempt: int
    invocation_id: str
    tree: Any


@attrs.frozen
class ServerStopped:
    """The server's process ended: `how` is crash, or the named error it stopped with."""

    incarnation: int
    how: str


@attrs.frozen
class EndpointStopped:
    incarnation: int


@attrs.frozen
class Asking:
    """A client is about to ask, for the first time or again, by a connection that is no older
    than `connected_ns` (-1: as old as anything).
    """

    asked: Asked
    connected_ns: int


@attrs.frozen
class Unanswered:
    """A try brought no answer: its connection was lost, or it was silent for too long."""

    asked: Asked


@attrs.frozen
class GaveUp:
    """A client asks no more, without an answer."""

    asked: Asked


@attrs.frozen
class Answered:
    """A client read an answer."""

    asked: Asked
    answer: Answer


@attrs.frozen
class HazardSeen:
    """Handler code did something replay cannot reproduce."""

    kind: str
    detail: str
    filename: str
    line: int


@attrs.frozen
class Deployed:
    """The operator was told that the endpoint at *address* is registered."""

    address: str
    deployment_id: str
    services: tuple[str, ...]


@attrs.frozen
class Removed:
    """The operator asks, and will insist, that a deployment goes."""

    deployment_id: str


@attrs.frozen
class DeploymentsListed:
    """What the server says it knows: (address, id) of each deployment."""

    deployments: tuple[tuple[str, str], ...]
