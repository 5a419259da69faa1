"""Clients of ingress and admin in plain HTTP/1.1, for tests, with a deadline on everything.

`Client` neither retries nor is clever.  `PatientClient` does what one has to do whose server may die at any moment.
"""

from __future__ import annotations

import http.client
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

ANSWER_SECONDS_MAX = 20
EVENTUALLY_SECONDS_MAX = 30
# Of somebody who asks again and again: how long altogether, and how long for one answer.
PATIENCE_SECONDS = 90
PATIENT_ANSWER_SECONDS = 10
UNAVAILABLE = 503
RUNS = re.compile(r"BlockAndWaitWorkflow/[^/]*/run(/send)?")


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

    # How a send is acknowledged that nobody has sent before.
    accepted: frozenset[str] = frozenset({"Accepted"})

    def __init__(self, ingress: str, admin: str) -> None:
        self.ingress = ingress
        self.admin = admin

    def ask(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = 0,
    ) -> Response:
        """One request."""
        return ask(method, url, body, headers, seconds=seconds)

    # -- ingress --

    def request(self, path: str, value: Any = None, *, seconds: float = 0, **headers: str) -> Response:
        """POST *value* as JSON (bytes as they are, None as no body) to *path*.  Raises Refused."""
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        body = value if isinstance(value, bytes) else None
        if value is not None and body is None:
            body = json.dumps(value).encode()
            sent.setdefault("content-type", "application/json")
        response = self.ask("POST", f"{self.ingress}/{path}", body, sent, seconds=seconds)
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
        response = self.ask("GET", f"{self.ingress}/{path}")
        if response.status >= 400:
            raise Refused(response)
        return response

    # -- admin --

    def administer(self, method: str, path: str, value: Any = None) -> Response:
        """One request of the admin.  Raises Refused."""
        body = None if value is None else json.dumps(value).encode()
        headers = {} if body is None else {"content-type": "application/json"}
        response = self.ask(method, f"{self.admin}/{path}", body, headers)
        if response.status >= 400:
            raise Refused(response)
        return response

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query; only Restate's admin has them."""
        body = json.dumps({"query": sql}).encode()
        headers = {"content-type": "application/json", "accept": "application/json"}
        response = self.ask("POST", f"{self.admin}/query", body, headers)
        if response.status >= 400:
            raise Refused(response)
        rows = response.json()["rows"]
        assert isinstance(rows, list)
        return rows

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

    def purge(self, invocation_id: str) -> None:
        """Forget an invocation that has ended."""
        self.administer("PATCH", f"invocations/{invocation_id}/purge")

    def pause(self, invocation_id: str) -> None:
        """Pause an invocation."""
        self.administer("PATCH", f"invocations/{invocation_id}/pause")

    def resume(self, invocation_id: str) -> None:
        """Resume a paused invocation, or let a retry begin now."""
        self.administer("PATCH", f"invocations/{invocation_id}/resume")

    def restart(self, invocation_id: str, *, copied_upto: int = 0) -> str:
        """Run what an ended invocation ran once more, its journal copied up to that index; the new one's id."""
        path = f"invocations/{invocation_id}/restart-as-new" + (f"?from={copied_upto}" if copied_upto else "")
        return str(self.administer("PATCH", path).json()["new_invocation_id"])


class PatientClient(Client):
    """Asks again until there is an answer, under the same idempotency key.  Nobody hears an answer twice, so:

    a send may be "previously accepted" (by the request before, which was not answered), and what was to be cancelled
    or killed may be so already.
    """

    accepted = frozenset({"Accepted", "PreviouslyAccepted"})
    # Raises when there will be no answer however often one asks.
    look: Callable[[], None] = staticmethod(lambda: None)

    def ask(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = 0,
    ) -> Response:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            self.look()
            try:
                response = ask(method, url, body, headers, seconds=seconds or PATIENT_ANSWER_SECONDS)
                if response.status != UNAVAILABLE:
                    return response
                problem: Exception = Refused(response)
            except (OSError, http.client.HTTPException) as error:
                problem = error
            if time.monotonic() > deadline:
                raise AssertionError(f"{method} {url}: no answer within {PATIENCE_SECONDS} s") from problem
            time.sleep(0.05)

    def request(self, path: str, value: Any = None, *, seconds: float = 0, **headers: str) -> Response:
        if RUNS.fullmatch(path) is None:  # A workflow's run is its own key.
            headers.setdefault("idempotency_key", str(uuid.uuid4()))
        return super().request(path, value, seconds=seconds, **headers)

    def cancel(self, invocation_id: str) -> None:
        with suppress_refused(404, 409):
            super().cancel(invocation_id)

    def kill(self, invocation_id: str) -> None:
        with suppress_refused(404, 409):
            super().kill(invocation_id)

    def resume(self, invocation_id: str) -> None:
        with suppress_refused(409):
            super().resume(invocation_id)


@contextmanager
def suppress_refused(*statuses: int) -> Iterator[None]:
    """Go on after a refusal with one of *statuses*."""
    try:
        yield
    except Refused as refused:
        if refused.status not in statuses:
            raise


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
