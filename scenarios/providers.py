"""How the tour's services talk to the payment and the mail provider: one JSON line there, one back, over a stream.

Nothing here is durable and nothing here retries: `ctx.run` does both.  The providers' addresses come from the
environment (`PAYMENTS_ADDRESS`, `MAIL_ADDRESS`, as `host:port`).  Without an address a stand-in in this process
answers, so that `understudy dev scenarios.ticket_tour:app` works with nothing else running.
"""

from __future__ import annotations

import json
import os
from typing import Any

import trio

PAYMENTS_ADDRESS = os.environ.get("PAYMENTS_ADDRESS", "")
MAIL_ADDRESS = os.environ.get("MAIL_ADDRESS", "")
ANSWER_TIMEOUT_S = 20
ANSWER_BYTES_MAX = 64 * 1024


class ProviderUnavailable(Exception):
    """The provider did not answer, or cannot now.  It may have done what was asked: ask again with the same key."""


async def charge(key: str, order: str, user: str, seats: list[str], amount: int) -> bool:
    """Ask for one payment: True when it went through, False when declined.  One *key* is charged at most once."""
    request = {"key": key, "order": order, "user": user, "seats": seats, "amount": amount}
    answer = await _ask(PAYMENTS_ADDRESS, request, stand_in={"outcome": "approved"})
    return bool(answer["outcome"] == "approved")


async def send_mail(key: str, order: str, user: str, subject: str) -> None:
    """Send one mail.  It may arrive more than once: people forgive that."""
    await _ask(MAIL_ADDRESS, {"key": key, "order": order, "user": user, "subject": subject}, stand_in={"sent": True})


async def _ask(address: str, request: dict[str, Any], *, stand_in: dict[str, Any]) -> dict[str, Any]:
    if not address:
        return stand_in
    host, _, port = address.rpartition(":")
    try:
        with trio.fail_after(ANSWER_TIMEOUT_S):
            line = await _exchange_line(host, int(port), json.dumps(request).encode() + b"\n")
    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
        raise ProviderUnavailable(f"{address} did not answer: {error!r}") from error
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise ProviderUnavailable(f"{address} refused for now: {answer['error']}")
    return answer


async def _exchange_line(host: str, port: int, line: bytes) -> bytes:
    stream = await trio.open_tcp_stream(host, port)
    async with stream:
        await stream.send_all(line)
        received = b""
        while not received.endswith(b"\n"):
            data = await stream.receive_some(4096)
            if not data:
                raise ProviderUnavailable(f"{host}:{port} hung up before it answered")
            received += data
            if len(received) > ANSWER_BYTES_MAX:
                raise ProviderUnavailable(f"{host}:{port} answered more than {ANSWER_BYTES_MAX} bytes")
    return received
