"""What customers do, as data: a frozen value prints as Python, is drawn from Choices, and shrinks by being left out."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Call:
    """One request of one client.  A client does its calls in order, waiting `pause_ms` before each.

    `argument` is JSON; None sends no body.  `one_way` asks only that it be done (`/send`), `delay_ms` later.
    `idempotent` calls carry a key and are repeated until they are answered; others are asked once, and a lost answer
    leaves them unknown.
    """

    client: str
    service: str
    handler: str
    key: str | None = None
    argument: Any = None
    pause_ms: int = 0
    one_way: bool = False
    delay_ms: int = 0
    idempotent: bool = True

    def __attrs_post_init__(self) -> None:
        assert self.pause_ms >= 0, "a client cannot wait a negative time"
        assert not self.delay_ms or self.one_way, "only a one-way call can be delayed"

    def __str__(self) -> str:
        where = self.service if self.key is None else f"{self.service}/{self.key}"
        how = " (one way)" if self.one_way else ""
        argument = "" if self.argument is None else repr(self.argument)
        return f"{self.client}: {where}/{self.handler}({argument}){how}"
