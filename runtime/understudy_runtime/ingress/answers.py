"""The answers of the ingress: one function per shape, values in, `Response` out.  Restate's shapes, our wording.

An error says who made it: `ingress` (plain HTTP, nothing durable happened through this request) or `invocation` (the
durable result).
"""

from __future__ import annotations

import json
from typing import Any, Final

from understudy_runtime.ingress.port import Response
from understudy_runtime.ingress.times import INSTANT_MS_MAX, rfc3339_millis, rfc3339_nanos
from understudy_runtime.model.invocation import Failure, Result, Success
from understudy_runtime.model.schema import OutputRule

JSON_TYPE: Final = ("content-type", "application/json")
ERROR_INGRESS: Final = ("x-restate-error-source", "ingress")
ERROR_INVOCATION: Final = ("x-restate-error-source", "invocation")
NOT_READY: Final = 470
# Statuses HTTP gives no body (or that end no request): a failure with such a code is answered as 500.
STATUS_WITHOUT_BODY: Final = (204, 205, 304)

JSON_OUTPUT: Final = OutputRule()


def dump(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def ok_json(value: Any, status: int = 200) -> Response:
    return Response(status, (JSON_TYPE,), dump(value))


def refused(status: int, message: str) -> Response:
    """An error of the ingress itself."""
    body = {"code": status, "message": message, "source": "ingress"}
    return Response(status, (ERROR_INGRESS, JSON_TYPE), dump(body))


def header_safe(value: str) -> bool:
    """Whether *value* can stand in a header as it is."""
    return value.isascii() and value.isprintable()


def result_response(invocation_id: str, result: Result, output: OutputRule, expires_ms: int = 0) -> Response:
    """The durable result of *invocation_id*.  *expires_ms* is given when it was stored before this request."""
    headers = [("x-restate-id", invocation_id)]
    if expires_ms:
        headers.append(("idempotency-expires", rfc3339_millis(min(expires_ms, INSTANT_MS_MAX))))
    if type(result) is Success:
        body = result.value
        content_type = output.content_type
        if content_type is not None and (body or output.set_content_type_if_empty) and header_safe(content_type):
            headers.append(("content-type", content_type))
        return Response(200, tuple(headers), body)
    assert isinstance(result, Failure), "a result is a success or a failure"
    headers.append(ERROR_INVOCATION)
    headers.append(JSON_TYPE)
    return Response(failure_status(result.code), tuple(headers), failure_body(result))


def failure_status(code: int) -> int:
    """The HTTP status of a terminal failure: its code where that is a status that ends a request with a body."""
    return code if 200 <= code <= 999 and code not in STATUS_WITHOUT_BODY else 500


def failure_body(failure: Failure) -> bytes:
    body: dict[str, Any] = {"code": failure.code, "message": failure.message}
    if failure.metadata:
        body["metadata"] = dict(failure.metadata)
    body["source"] = "invocation"
    return dump(body)


def accepted(invocation_id: str, execution_time_ms: int, *, is_new: bool) -> Response:
    """The acknowledgement of a send: durable, and perhaps known before."""
    body: dict[str, Any] = {"invocationId": invocation_id}
    if execution_time_ms:
        body["executionTime"] = rfc3339_nanos(min(execution_time_ms, INSTANT_MS_MAX))
    body["status"] = "Accepted" if is_new else "PreviouslyAccepted"
    return Response(202, (JSON_TYPE, ("x-restate-id", invocation_id)), dump(body))


def workflow_conflict(invocation_id: str) -> Response:
    """A workflow's run was called a second time."""
    failure = Failure(409, "this workflow's run handler was already invoked with this key: attach to get its result")
    return result_response(invocation_id, failure, JSON_OUTPUT)


def unknown_attached(invocation_id: str) -> Response:
    """Attach to nothing: the answer stands for the invocation that does not exist."""
    failure = Failure(404, "there is no such invocation, or its result is no longer kept")
    return result_response(invocation_id, failure, JSON_OUTPUT)


def unknown_output() -> Response:
    return refused(404, "there is no such invocation, or its result is no longer kept")


def not_ready() -> Response:
    return refused(NOT_READY, "the invocation has not completed yet: ask again later, or attach to wait for it")
