"""What each operation asks, and at which door: values in, one HTTP request out."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

import attrs
from understudy_runtime.ingress.port import Request
from understudy_runtime.model.ids import AWAKEABLE_INDEX_FIRST, awakeable_id

from understudy_sim.stage.directory import Directory
from understudy_sim.stage.operations import Act, Attach, Call, Deploy, Operation, Remove, Settle

HOST: Final = ("host", "server")
JSON: Final = ("content-type", "application/json")


@attrs.frozen
class Errand:
    """A request to the ingress, or to the `admin`."""

    request: Request
    admin: bool = False


def errand_of(operation: Operation, directory: Directory, idempotency_key: str = "") -> Errand:
    """The errand of *operation*, whose target the *directory* knows."""
    match operation:
        case Call():
            return Errand(request_of(operation, idempotency_key))
        case Attach():
            return Errand(_get(_asked_at(operation, directory)))
        case Act():
            query = f"?{operation.query}" if operation.query else ""
            id_ = directory.invocation_id(operation.on)
            return Errand(Request("PATCH", f"/invocations/{id_}/{operation.action}{query}", (HOST,), b""), admin=True)
        case Settle():
            return Errand(_settling(operation, directory))
        case Deploy():
            body = {"uri": directory.address(operation.app), "use_http_11": directory.is_http_11}
            return Errand(_post("/deployments", body), admin=True)
    assert isinstance(operation, Remove), f"{operation!r} is no operation"
    id_ = directory.deployments[directory.address(operation.app)]
    return Errand(Request("DELETE", f"/deployments/{id_}?force=true", (HOST,), b""), admin=True)


def request_of(call: Call, idempotency_key: str) -> Request:
    """The HTTP request a call is."""
    parts = [call.service] if call.key is None else [call.service, quote(call.key, safe="")]
    target = "/" + "/".join([*parts, call.handler])
    if call.one_way:
        target += "/send"
        if call.delay_ms:
            target += f"?delay={call.delay_ms}ms"
    headers: list[tuple[str, str]] = [HOST]
    body = b""
    if call.argument is not None:
        body = json.dumps(call.argument).encode()
        headers.append(JSON)
    if idempotency_key:
        headers.append(("idempotency-key", idempotency_key))
    return Request("POST", target, tuple(headers), body)


def _asked_at(attach: Attach, directory: Directory) -> str:
    call = directory.calls[attach.to]
    verb = "attach" if attach.wait else "output"
    if attach.by_id or call.label != attach.to:
        return f"/restate/invocation/{directory.invocation_id(attach.to)}/{verb}"
    key = "" if call.key is None else quote(call.key, safe="") + "/"
    if directory.is_run(call):
        return f"/restate/workflow/{call.service}/{key}{verb}"
    return f"/restate/invocation/{call.service}/{key}{call.handler}/{attach.to}/{verb}"


def _settling(settle: Settle, directory: Directory) -> Request:
    id_ = awakeable_id(directory.invocation_id(settle.of), AWAKEABLE_INDEX_FIRST + settle.awakeable)
    if settle.failure:
        text = ("content-type", "text/plain")
        return Request("POST", f"/restate/awakeables/{id_}/reject", (HOST, text), settle.failure.encode())
    return _post(f"/restate/awakeables/{id_}/resolve", settle.value)


def _get(target: str) -> Request:
    return Request("GET", target, (HOST,), b"")


def _post(target: str, body: Any) -> Request:
    return Request("POST", target, (HOST, JSON), json.dumps(body).encode())
