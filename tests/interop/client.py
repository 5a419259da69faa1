"""A client of ingress and admin in plain HTTP/1.1, for tests: no retries, no cleverness, a deadline on everything."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

ANSWER_SECONDS_MAX = 20
EVENTUALLY_SECONDS_MAX = 15


class Response(NamedTuple):
    """One answer: status, headers (lower-case names), body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Refused(Exception):
    """An answer of 400 or more."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"{response.status}: {response.body.decode(errors='replace')}")
        self.response = response
        self.status = response.status

    @property
    def message(self) -> str:
        """What the error says."""
        return str(self.response.json()["message"])


def ask(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, *, seconds: float = 0
) -> Response:
    """One request on a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=seconds or ANSWER_SECONDS_MAX)
    try:
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Client:
    """What a test does with one server."""

    def __init__(self, ingress: str, admin: str) -> None:
        self.ingress = ingress
        self.admin = admin

    # -- ingress --

    def request(self, path: str, value: Any = None, *, seconds: float = 0, **headers: str) -> Response:
        """POST *value* as JSON (bytes as they are, None as no body) to *path*.  Raises Refused."""
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        body = value if isinstance(value, bytes) else None
        if value is not None and body is None:
            body = json.dumps(value).encode()
            sent.setdefault("content-type", "application/json")
        response = ask("POST", f"{self.ingress}/{path}", body, sent, seconds=seconds)
        if response.status >= 400:
            raise Refused(response)
        return response

    def call(self, path: str, value: Any = None, *, seconds: float = 0, **headers: str) -> Any:
        """The value a call answers with."""
        response = self.request(path, value, seconds=seconds, **headers)
        return json.loads(response.body) if response.body else None

    def send(self, path: str, value: Any = None, *, delay: str = "", **headers: str) -> dict[str, Any]:
        """What a send is acknowledged with: invocationId and status."""
        query = f"?delay={delay}" if delay else ""
        response = self.request(f"{path}/send{query}", value, seconds=0, **headers)
        assert response.status == 202, response
        found = response.json()
        assert isinstance(found, dict)
        return found

    def get(self, path: str) -> Response:
        """GET *path* of the ingress (attach, output, health).  Raises Refused."""
        response = ask("GET", f"{self.ingress}/{path}")
        if response.status >= 400:
            raise Refused(response)
        return response

    # -- admin --

    def administer(self, method: str, path: str, value: Any = None) -> Response:
        """One request of the admin.  Raises Refused."""
        body = None if value is None else json.dumps(value).encode()
        headers = {} if body is None else {"content-type": "application/json"}
        response = ask(method, f"{self.admin}/{path}", body, headers)
        if response.status >= 400:
            raise Refused(response)
        return response

    def register(self, uri: str, **options: Any) -> dict[str, Any]:
        """Register the endpoint at *uri*."""
        found = self.administer("POST", "deployments", {"uri": uri, **options}).json()
        assert isinstance(found, dict)
        return found

    def cancel(self, invocation_id: str) -> None:
        """Cancel an invocation."""
        self.administer("PATCH", f"invocations/{invocation_id}/cancel")

    def kill(self, invocation_id: str) -> None:
        """Kill an invocation."""
        self.administer("PATCH", f"invocations/{invocation_id}/kill")


def eventually(check: Callable[[], Any], *, seconds: float = EVENTUALLY_SECONDS_MAX) -> Any:
    """The first truthy value of *check*; Refused and AssertionError mean "not yet"."""
    deadline = time.monotonic() + seconds
    problem: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if value := check():
                return value
        except (Refused, AssertionError, TimeoutError) as error:
            problem = error
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s") from problem


def key(text: str) -> str:
    """*text* as one segment of a path."""
    return quote(text, safe="")
