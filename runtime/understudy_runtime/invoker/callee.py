"""Whom an entry addresses: names resolved through the schema and written into the command.

Pure; `apply` then looks nothing up.  A callee nobody offers fails the attempt, which is tried again: a deployment to
come may offer it.
"""

from __future__ import annotations

from typing import Final

from understudy.protocol.messages import MessageType

from understudy_runtime.limits import Limits
from understudy_runtime.machine.validate import Addressed, AddressKind, addressed
from understudy_runtime.model import ids
from understudy_runtime.model.commands import Callee
from understudy_runtime.model.invocation import Entry, HandlerType, Target
from understudy_runtime.model.retention import retention_of
from understudy_runtime.model.schema import Handler, Schema, Service

ENTROPY_BYTES_PER_CALL: Final = ids.ENTROPY_BYTES
ONE_WAY_CALL: Final = int(MessageType.ONE_WAY_CALL)
NO_ENTROPY: Final = bytes(ids.ENTROPY_BYTES)


class CalleeUnknown(Exception):
    """Nobody offers what the handler calls: which service or handler, what to do."""


def resolve_callee(
    schema: Schema,
    entry: Entry,
    *,
    now_ms: int,
    entropy: bytes,
    limits: Limits,
) -> Callee | None:
    """The callee of a validated *entry*; None when it needs none.

    *entropy* (ENTROPY_BYTES_PER_CALL) makes a new id; *limits* hold the server's default policy and retention.
    Raises CalleeUnknown.
    """
    address = addressed(entry)
    assert address is not None, "only entries that address somebody are resolved"
    if address.kind is AddressKind.INVOCATION:
        return Callee(address.invocation_id)
    if address.kind is AddressKind.WORKFLOW_RUN:
        return Callee(ids.workflow_run_id(address.service, address.key or ""))
    service, handler = find(schema, address)
    target = target_of(service, address)
    key = None if handler.type is HandlerType.WORKFLOW else address.idempotency_key
    invocation_id = ids.invocation_id_for(target, handler.type, key, now_ms, entropy or NO_ENTROPY)
    if address.kind is AddressKind.REQUEST:
        return Callee(invocation_id)
    # Who sends is told an id to attach by; who calls has the result in its journal.
    can_ask_again = key is not None or entry.type == ONE_WAY_CALL
    retention = retention_of(handler, limits, can_ask_again=can_ask_again)
    return Callee(
        invocation_id,
        service.type,
        handler.type,
        retention.result_ms,
        ids.seed_of(invocation_id, entropy, is_derived=key is not None or handler.type is HandlerType.WORKFLOW),
        handler.options.retry_policy(limits.retry_policy),
        schema.revision,
        retention.journal_ms,
    )


def find(schema: Schema, address: Addressed) -> tuple[Service, Handler]:
    found = schema.resolve(address.service, address.handler)
    if found is None:
        raise CalleeUnknown(
            f"no deployment offers {address.service}/{address.handler}: register one that does, or fix the name"
        )
    return found


def target_of(service: Service, address: Addressed) -> Target:
    """The target named, with a key exactly when the service has keys.  Raises CalleeUnknown."""
    if service.keyed:
        return Target(address.service, address.handler, address.key or "")
    if address.key:
        raise CalleeUnknown(f"{address.service} is a plain service: call it without the key {address.key!r}")
    return Target(address.service, address.handler)
