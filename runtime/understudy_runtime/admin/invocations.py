"""The routes that show invocations, and the one that replaces an object's state."""

from __future__ import annotations

from typing import Any, Final

from understudy_runtime.admin import bodies
from understudy_runtime.admin.asked import (
    Asked,
    Decision,
    Export,
    ListInvocations,
    Malformed,
    Mutate,
    Node,
    Refused,
    Show,
    ShowDeadlocks,
)
from understudy_runtime.admin.backend import STATUSES
from understudy_runtime.admin.deployments import known_service
from understudy_runtime.model.commands import MutateState
from understudy_runtime.model.ids import InvalidId, raw_id
from understudy_runtime.model.invocation import ServiceType

LIST_DEFAULT: Final = 100
LIST_MAX: Final = 1_000


def show_invocation(asked: Asked, node: Node) -> Decision:
    return Show(path_id(asked))


def show_deadlocks(asked: Asked, node: Node) -> Decision:
    return ShowDeadlocks()


def export_journal(asked: Asked, node: Node) -> Decision:
    return Export(path_id(asked))


def list_invocations(asked: Asked, node: Node) -> Decision:
    limit = asked.query.get("limit", str(LIST_DEFAULT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= LIST_MAX):
        raise Malformed(400, f"the query's limit must be a number from 1 to {LIST_MAX}, found {limit!r}")
    status = asked.query.get("status")
    if status is not None and status not in STATUSES:
        raise Malformed(400, f"the query's status must be one of {', '.join(STATUSES)}, found {status!r}")
    return ListInvocations(asked.query.get("service"), status, int(limit))


def mutate_state(asked: Asked, node: Node) -> Decision:
    fields = bodies.read_object(asked.request)
    key = bodies.text(fields, "object_key")
    entries = state_entries(fields)
    version = bodies.optional_text(fields, "version")
    if bodies.optional_text(fields, "scope") is not None:
        raise Refused(400, "scope: scopes are not supported")
    name = asked.arguments[0]
    if name in node.schema.services or entries:
        service = known_service(asked, node)
        if service.type is ServiceType.SERVICE:
            raise Refused(400, f"{name} is a plain service: it has no state")
    return Mutate(MutateState(name, key, entries, version))


def state_entries(fields: Any) -> tuple[tuple[bytes, bytes], ...]:
    """The new state, sorted by its keys' bytes.  Raises Malformed."""
    if "new_state" not in fields:
        raise Malformed(422, "the field new_state is missing")
    state = fields["new_state"]
    if not isinstance(state, dict):
        raise bodies.wrong("new_state", "an object", state)
    return tuple(sorted((name.encode(), state_value(name, value)) for name, value in state.items()))


def state_value(name: str, value: object) -> bytes:
    """The bytes of a state value: an array of byte values, or a text's UTF-8.  Raises Malformed."""
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, list):
        raise bodies.wrong(f"new_state.{name}", "an array of byte values, or a text", value)
    if not all(type(item) is int and 0 <= item <= 255 for item in value):
        raise Malformed(422, f"new_state.{name} must hold numbers from 0 to 255")
    return bytes(value)


def path_id(asked: Asked) -> str:
    """The invocation's id in the path.  Raises Refused."""
    try:
        raw_id(asked.arguments[0])
    except InvalidId as invalid:
        raise Refused(400, str(invalid)) from None
    return asked.arguments[0]
