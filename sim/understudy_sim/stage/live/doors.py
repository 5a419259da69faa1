"""The public doors of a live server: its ingress and its admin, over HTTP.

Ours tells a journal at `/invocations/{id}/journal`; the official server is asked with SQL.  What neither tells is not
guessed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import trio
from understudy_runtime.http.h1_client import ClientPool, ClientResponse, ConnectionLost
from understudy_runtime.ingress.port import Request

from understudy_sim.stage.live.outcome import command_name, command_said, is_command

ANSWER_SECONDS: Final = 60
# Statuses of an invocation that is over, or not yet to begin.
SETTLED: Final = ("completed", "scheduled", "paused", "succeeded", "failed")
UNSETTLED_SQL: Final = "SELECT id, status FROM sys_invocation WHERE status NOT IN ('completed', 'scheduled', 'paused')"


class NoServer(Exception):
    """Nobody answers there, or not as a server would: what was asked, what came."""


class Door:
    """HTTP/1.1 to one of the server's ports."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise NoServer(f"{url!r} is no address of a server: write it as http://localhost:8080")
        self.url = url.rstrip("/")
        self.host = parts.netloc
        self._prefix = parts.path.rstrip("/")
        self._pool = ClientPool(partial(trio.open_tcp_stream, parts.hostname, parts.port or 80))

    async def ask(self, method: str, target: str, body: Any = None) -> ClientResponse:
        """One request with a JSON body.  Raises NoServer."""
        headers: tuple[tuple[str, str], ...] = (("host", self.host), ("accept", "application/json"))
        if body is None:
            return await self.send(Request(method, target, headers, b""))
        headers += (("content-type", "application/json"),)
        return await self.send(Request(method, target, headers, json.dumps(body).encode()))

    async def send(self, request: Request) -> ClientResponse:
        """One request as it is, to this host.  Raises NoServer."""
        headers = [("host", self.host), *(pair for pair in request.headers if pair[0] != "host")]
        target = f"{self._prefix}{request.target}"
        try:
            with trio.fail_after(ANSWER_SECONDS):
                return await self._pool.request(request.method, target, headers, request.body)
        except trio.TooSlowError as error:
            raise NoServer(
                f"{self.url}{request.target} did not answer in {ANSWER_SECONDS} s: does it wait for what is asked for "
                "later? --concurrent asks for all of it"
            ) from error
        except (OSError, ConnectionLost) as error:
            raise NoServer(f"{self.url}{request.target} cannot be asked: {error}") from error


class Admin:
    """What the server's admin tells; `has_sql` when it is the official one's."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.has_sql = False

    async def look(self) -> None:
        """Find out which server it is.  Raises NoServer."""
        response = await self.door.ask("POST", "/query", {"query": "SELECT 1 AS one"})
        self.has_sql = response.status == 200

    async def register(self, uri: str, *, use_http_11: bool = False) -> list[str]:
        """Have the server know the endpoint at *uri*; the names of its services.  Raises NoServer."""
        body = {"uri": uri, "force": True, "use_http_11": use_http_11}
        response = await self.door.ask("POST", "/deployments", body)
        if response.status not in (200, 201):
            raise NoServer(f"{self.door.url} refuses the endpoint {uri}: {response.status} {response.body[:300]!r}")
        names = [service["name"] for service in json.loads(response.body)["services"]]
        for name in names:
            # Journals are compared when all is over: they have to be kept until then.
            await self.door.ask("PATCH", f"/services/{name}", {"journal_retention": "1h"})
        return names

    async def query(self, sql: str) -> list[Mapping[str, Any]]:
        """Rows of the official server's tables.  Raises NoServer."""
        response = await self.door.ask("POST", "/query", {"query": sql})
        if response.status != 200:
            raise NoServer(f"{self.door.url} refuses {sql!r}: {response.status} {response.body[:300]!r}")
        rows: list[Mapping[str, Any]] = json.loads(response.body)["rows"]
        return rows

    async def unsettled(self) -> list[str]:
        """Who runs, or waits for something other than a time: ids and statuses.  Raises NoServer."""
        if self.has_sql:
            return [f"{row['id']} {row['status']}" for row in await self.query(UNSETTLED_SQL)]
        response = await self.door.ask("GET", "/invocations?limit=1000")
        if response.status != 200:
            raise NoServer(f"{self.door.url}/invocations answers {response.status}")
        found = json.loads(response.body)["invocations"]
        return [f"{one['id']} {one['status']}" for one in found if one["status"] not in SETTLED]

    async def scheduled(self) -> int:
        """How many invocations will begin later.  Raises NoServer."""
        if self.has_sql:
            return len(await self.query("SELECT id FROM sys_invocation WHERE status = 'scheduled'"))
        response = await self.door.ask("GET", "/invocations?limit=1000")
        return sum(one["status"] == "scheduled" for one in json.loads(response.body)["invocations"])

    async def journal(self, invocation_id: str) -> tuple[tuple[str, ...] | None, Mapping[str, Any] | None]:
        """The commands of an invocation's journal, and the state of its object; None for what is not told."""
        if self.has_sql:
            sql = f"SELECT index, entry_type FROM sys_journal WHERE id = '{invocation_id}' ORDER BY index"
            said = [command_said(str(row["entry_type"])) for row in await self.query(sql)]
            return tuple(one for one in said if one) or None, None
        response = await self.door.ask("GET", f"/invocations/{invocation_id}/journal")
        if response.status != 200:
            return None, None
        found = json.loads(response.body)
        types = [int(entry["type"]) for entry in found["entries"]]
        state = _decoded(found["state"]) if found["state_complete"] and found["target_service_key"] else None
        return tuple(command_name(type_) for type_ in types if is_command(type_)), state

    async def states(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The state of every object, where there is SQL."""
        if not self.has_sql:
            return {}
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for row in await self.query("SELECT service_name, service_key, key, value_utf8 FROM state"):
            key = (str(row["service_name"]), str(row["service_key"]))
            found.setdefault(key, {})[str(row["key"])] = json.loads(row["value_utf8"])
        return found


def _decoded(state: list[Mapping[str, str]]) -> dict[str, Any]:
    from base64 import b64decode

    return {b64decode(one["key"]).decode(): json.loads(b64decode(one["value"])) for one in state}
