"""Where an attempt runs: the pinned deployment, or the latest one for an invocation that has no pin yet.  Pure."""

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


def is_current(invocation: Invocation | None, lease: int, birth: int) -> bool:
    """Whether *lease* of the life *birth* still speaks for the invocation."""
    if invocation is None or invocation.status is not Status.INVOKED:
        return False
    return (invocation.birth, invocation.lease) == (birth, lease)


def place(invocation: Invocation, schema: Schema, transports: Mapping[str, Transport]) -> Placement | AttemptFailure:
    """Where the next attempt goes; a failure that never reached an endpoint when there is no such place."""
    target = invocation.target
    deployment_id = invocation.deployment_id
    if not deployment_id:
        service = schema.services.get(target.service)
        if service is None:
            return nowhere(f"no deployment offers the service {target.service}: register one that does")
        deployment_id = service.deployment_id
    deployment = schema.deployments.get(deployment_id)
    transport = transports.get(deployment_id)
    if deployment is None or transport is None:
        return nowhere(f"the deployment {deployment_id} is gone: bring it back, or move the invocation")
    handler = deployment.handler(target.service, target.handler)
    if handler is None:
        return nowhere(f"deployment {deployment_id} has no handler {target.service}/{target.handler}")
    version = invocation.protocol_version or deployment.protocol_version
    return Placement(deployment_id, version, handler, transport, not invocation.deployment_id)


def nowhere(message: str) -> AttemptFailure:
    return AttemptFailure(Failure(NOWHERE, message), how="rejected", reached=False)


def has_output(frames: Sequence[Frame]) -> bool:
    """Whether the journal sent holds an Output, so that the attempt may just end."""
    return _OUTPUT in [frame.type for frame in frames]
