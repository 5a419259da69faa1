"""Where an attempt runs: the pinned deployment, or the latest one for an invocation that has no pin yet.  Pure.

An invocation whose deployment cannot be reached by anybody is parked: trying again would change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType

from understudy_runtime.invoker.core import AttemptFailure
from understudy_runtime.invoker.port import Transport
from understudy_runtime.limits import Limits
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.model.invocation import Failure, Status
from understudy_runtime.model.schema import Handler, Schema
from understudy_runtime.model.values import frozen

NOWHERE = 500
BEGUN = (Status.INVOKED, Status.SUSPENDED, Status.PAUSED)
_OUTPUT = int(MessageType.OUTPUT)


@frozen
class Placement:
    """The deployment of an attempt.  `is_new`: the invocation is not pinned to it yet."""

    deployment_id: str
    protocol_version: int
    handler: Handler
    transport: Transport
    is_new: bool

    def eager_state_bytes_max(self, limits: Limits) -> int:
        """How much state goes with the start message: none for a handler that asks key by key."""
        return 0 if self.handler.options.lazy_state else limits.eager_state_bytes_max


@frozen
class Parked:
    """There is nowhere to run it.  `wanted` is the deployment it is bound to, or the service it is for, by name."""

    wanted: str
    reason: str


def is_current(invocation: Invocation | None, lease: int, birth: int) -> bool:
    """Whether *lease* of the life *birth* still speaks for the invocation."""
    if invocation is None or invocation.status is not Status.INVOKED:
        return False
    return (invocation.birth, invocation.lease) == (birth, lease)


def place(
    invocation: Invocation, schema: Schema, transports: Mapping[str, Transport]
) -> Placement | Parked | AttemptFailure:
    """Where the next attempt goes; a failure that never reached an endpoint when its handler is not there."""
    target = invocation.target
    wanted = wanted_by(invocation)
    deployment_id = bound(wanted, schema)
    deployment = schema.deployments.get(deployment_id)
    transport = transports.get(deployment_id)
    if deployment is None or transport is None:
        return Parked(wanted, why_parked(invocation, schema))
    handler = deployment.handler(target.service, target.handler)
    if handler is None:
        return nowhere(f"deployment {deployment_id} has no handler {target.service}/{target.handler}")
    version = invocation.protocol_version or deployment.protocol_version
    return Placement(deployment_id, version, handler, transport, not invocation.deployment_id)


def bound(wanted: str, schema: Schema) -> str:
    """The deployment that *wanted*, a deployment or a service, stands for."""
    service = schema.services.get(wanted)
    return wanted if service is None else service.deployment_id


def is_reachable(wanted: str, schema: Schema, transports: Mapping[str, Transport]) -> bool:
    """Whether what is parked for *wanted* can run now."""
    deployment_id = bound(wanted, schema)
    return deployment_id in schema.deployments and deployment_id in transports


def parked_reason(invocation: Invocation, schema: Schema, transports: Mapping[str, Transport]) -> str:
    """Why an invocation that has begun cannot go on anywhere; empty when it can."""
    if invocation.status not in BEGUN or is_reachable(wanted_by(invocation), schema, transports):
        return ""
    return why_parked(invocation, schema)


def wanted_by(invocation: Invocation) -> str:
    """What an invocation runs on: the deployment it is bound to, else whichever offers its service."""
    return invocation.deployment_id or invocation.target.service


def why_parked(invocation: Invocation, schema: Schema) -> str:
    """What is wrong with the deployment of an invocation that cannot be reached."""
    target, pin = invocation.target, invocation.deployment_id
    latest = schema.services.get(target.service)
    if not pin and latest is None:
        return f"no deployment offers the service {target.service}: register one that does"
    if not pin:
        return (
            f"the service {target.service} ran in the server's own process, and does not run there now: start it there"
        )
    if pin not in schema.deployments:
        return (
            f"the deployment {pin}, which it began on, is gone: removed, or a version of the services in the server's "
            "own process that does not run there now"
        )
    return f"it began on {pin}, services in the server's own process, which do not run there now"


def nowhere(message: str) -> AttemptFailure:
    return AttemptFailure(Failure(NOWHERE, message), how="rejected", reached=False)


def has_output(frames: Sequence[Frame]) -> bool:
    """Whether the journal sent holds an Output, so that the attempt may just end."""
    return _OUTPUT in [frame.type for frame in frames]
