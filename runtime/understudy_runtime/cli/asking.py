"""Journals asked of a running server, at its admin port."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote, urlsplit

import attrs
import trio

from understudy_runtime.cli.journals import Journal, NoJournal, from_json
from understudy_runtime.http.h1_client import ClientPool, ConnectionLost
from understudy_runtime.real_world import RealNetwork

LIST_MAX: Final = 1_000
SECONDS_MAX: Final = 60
ANSWER_BYTES_MAX: Final = 256 << 20
NOT_BEGUN: Final = ("scheduled", "pending")
COMPLETED: Final = "completed"
GONE: Final = (404, 410)


class Unreachable(Exception):
    """The server did not answer as an admin does: what was asked, what came."""


@attrs.frozen
class Asked:
    """The journals of what is in flight, how many invocations have not begun one, and whether that is all there is."""

    journals: tuple[Journal, ...]
    waiting: int
    is_complete: bool


class Admin:
    """The admin at *url* (`http://…`).  Raises Unreachable, also for what is no such address, or no token."""

    def __init__(self, url: str, token: str | None = None) -> None:
        no_address = Unreachable(f"{url} is no address of an admin: http://HOST:PORT was expected")
        try:
            parts = urlsplit(url if "//" in url else f"http://{url}")
            host, port = parts.hostname, parts.port or 80
        except ValueError:
            raise no_address from None
        if parts.scheme != "http" or not host:
            raise no_address
        if token and not (token.isascii() and token.isprintable()):
            raise Unreachable("the admin token holds what no header can: printable ASCII characters were expected")
        self._url = url
        self._prefix = parts.path.rstrip("/")
        network = RealNetwork()
        self._pool = ClientPool(lambda: network.dial(host, port), body_bytes_max=ANSWER_BYTES_MAX)
        self._headers = [("host", parts.netloc), ("accept", "application/json")]
        if token:
            self._headers.append(("authorization", f"Bearer {token}"))

    async def journals(self) -> Asked:
        """The journals of all that is in flight.  What ends meanwhile is left out.  Raises Unreachable, NoJournal."""
        try:
            return await self._journals()
        finally:
            with trio.CancelScope(shield=True):
                await self.close()

    async def _journals(self) -> Asked:
        listed = await self.get(f"/invocations?limit={LIST_MAX}")
        if not isinstance(listed, dict) or not isinstance(listed.get("invocations"), list):
            raise Unreachable(f"{self._url} answers, but not as an admin does: is it the ingress port?")
        found: list[Journal] = []
        waiting = 0
        for one in listed["invocations"]:
            if one.get("status") in NOT_BEGUN:
                waiting += 1
                continue
            answer = await self.get(f"/invocations/{quote(one['id'])}/journal", may_be_gone=True)
            journal = None if answer is None else from_json(answer)
            if journal is not None and journal.status != COMPLETED:
                found.append(journal)
        return Asked(tuple(found), waiting, bool(listed.get("complete", True)))

    async def close(self) -> None:
        """Keep no connection."""
        await self._pool.drop_idle()

    async def get(self, path: str, *, may_be_gone: bool = False) -> Any:
        """What a GET of *path* answers; None for what is gone, where it *may be*.  Raises Unreachable."""
        try:
            with trio.fail_after(SECONDS_MAX):
                answer = await self._pool.request("GET", self._prefix + path, self._headers)
        except (OSError, ConnectionLost, trio.TooSlowError) as error:
            why = f"no answer within {SECONDS_MAX} s" if isinstance(error, trio.TooSlowError) else str(error)
            raise Unreachable(f"{self._url} cannot be asked: {why}") from None
        if answer.status in GONE and may_be_gone:
            return None
        if answer.status != 200:
            raise Unreachable(
                f"{self._url}{path} answers {answer.status}: {answer.body[:300].decode(errors='replace')}"
            )
        try:
            return json.loads(answer.body)
        except ValueError:
            raise Unreachable(f"{self._url}{path} answers, but not in JSON: is it an admin's address?") from None


__all__ = ["Admin", "Asked", "NoJournal", "Unreachable"]
