"""What a route of the admin is given and what it decides: values between routing, the routes and the shell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from understudy_runtime.ingress.answers import JSON_TYPE, dump
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.limits import Limits
from understudy_runtime.model.commands import MutateState
from understudy_runtime.model.registration import DeploymentPatch, Registration
from understudy_runtime.model.schema import Options, Schema

TEXT_TYPE: Final = ("content-type", "text/plain; charset=utf-8")

# Where an invocation goes on: where it was, or on the latest deployment of its service.
KEEP: Final = "keep"
LATEST: Final = "latest"


@attrs.frozen(kw_only=True)
class Node:
    """What the admin knows of its server at the moment it is asked."""

    schema: Schema
    limits: Limits
    version: str
    ingress_endpoint: str
    cluster_name: str


@attrs.frozen
class Asked:
    """One request: its path below the version prefix, decoded; *arguments* are the segments its route left open."""

    request: Request
    api: int
    segments: tuple[str, ...]
    query: Mapping[str, str]
    arguments: tuple[str, ...] = ()


@attrs.frozen
class Respond:
    """Nothing to ask of the node."""

    response: Response


@attrs.frozen
class Show:
    """Describe one invocation."""

    invocation_id: str


@attrs.frozen
class ShowDeadlocks:
    """All circles of invocations that wait for each other."""


@attrs.frozen
class Export:
    """The journal of one invocation."""

    invocation_id: str


@attrs.frozen
class ListInvocations:
    """Some invocations that are not completed, of one *service* and *status* or of all."""

    service: str | None
    status: str | None
    count_max: int


@attrs.frozen
class Act:
    """Propose *action* for one invocation and wait until it is applied.

    *deployment* says where it goes on: KEEP, LATEST, or a deployment's id.  *from_index* is for a restart.
    """

    action: str
    invocation_id: str
    deployment: str = KEEP
    from_index: int = 0


@attrs.frozen
class ActUnheard:
    """The same, but nobody waits for the outcome."""

    action: str
    invocation_id: str


@attrs.frozen
class Batch:
    """Propose *action* for each invocation; the answer tells for which it did something."""

    action: str
    invocation_ids: tuple[str, ...]
    deployment: str = KEEP


@attrs.frozen
class Register:
    registration: Registration


@attrs.frozen
class Move:
    deployment_id: str
    patch: DeploymentPatch


@attrs.frozen
class Remove:
    deployment_id: str


@attrs.frozen
class Patch:
    """Set options of a service."""

    service: str
    options: Options


@attrs.frozen
class Mutate:
    """Replace an object's state; without a request id yet."""

    command: MutateState


Decision = (
    Respond
    | Show
    | ShowDeadlocks
    | Export
    | ListInvocations
    | Act
    | ActUnheard
    | Batch
    | Register
    | Move
    | Remove
    | Patch
    | Mutate
)
Route = Callable[[Asked, Node], Decision]


class Malformed(Exception):
    """A request that is wrong before its meaning is asked for: answered in plain text, as the framework of old does."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status

    @property
    def response(self) -> Response:
        return Response(self.status, (TEXT_TYPE,), str(self).encode("utf-8", "replace"))


class Refused(Exception):
    """A request that means something we do not do: answered as JSON."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def response(self) -> Response:
        return error(self.status, str(self), self.code)


def error(status: int, message: str, code: str | None = None) -> Response:
    """An error of the admin."""
    text = f"[{code}] {message}" if code else message
    return Response(status, (JSON_TYPE,), dump({"message": text, "restate_code": code}))


def shown(value: Any) -> Respond:
    """*value* as JSON."""
    return Respond(Response(200, (JSON_TYPE,), dump(value)))
