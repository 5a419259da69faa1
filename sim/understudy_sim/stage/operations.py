"""What customers and operators do, as data: a frozen value prints as Python, is drawn from Choices, and shrinks by
being left out.

An operation may be about another one, which it names by its *label*: cancel that call, attach to it, resolve what it
waits for.  It waits until a durable record has accepted that one (or everybody gave it up).  An operation whose target
was left out does nothing.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

# What an operator can do to an invocation: the routes of the admin under `/invocations/{id}/`.
ACTIONS: Final = ("cancel", "kill", "pause", "resume", "restart-as-new", "purge", "purge-journal")


class NameTaken(ValueError):
    """A client has the name of a process of the rehearsal: which, and what to do."""


class NobodyOffers(ValueError):
    """A call asks for what no version of the application offers: which, and what there is."""


@attrs.frozen(kw_only=True)
class Operation:
    """Something one *client* does.  It does its operations in order, waiting `pause_ms` before each."""

    client: str
    pause_ms: int = 0

    def __attrs_post_init__(self) -> None:
        assert self.pause_ms >= 0, "a client cannot wait a negative time"


@attrs.frozen(kw_only=True)
class Call(Operation):
    """One request to a handler.

    `argument` is JSON; None sends no body.  `one_way` asks only that it be done (`/send`), `delay_ms` later.
    `idempotent` calls carry a key and are repeated until they are answered; others are asked once, and a lost answer
    leaves them unknown.  `label` names the request for other operations and is its key; calls with one label are one
    request.  A workflow's run takes no key: the workflow's own makes it unique.
    """

    service: str
    handler: str
    key: str | None = None
    argument: Any = None
    one_way: bool = False
    delay_ms: int = 0
    idempotent: bool = True
    label: str = ""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        assert not self.delay_ms or self.one_way, "only a one-way call can be delayed"
        assert self.idempotent or not self.label, "what others speak of has a key"

    def __str__(self) -> str:
        where = self.service if self.key is None else f"{self.service}/{self.key}"
        how = " (one way)" if self.one_way else ""
        argument = "" if self.argument is None else repr(self.argument)
        name = f" as {self.label!r}" if self.label else ""
        return f"{self.client}: {where}/{self.handler}({argument}){how}{name}"


@attrs.frozen(kw_only=True)
class Attach(Operation):
    """Ask for the result of the request labelled `to`: wait for it, or (without `wait`) only look.

    By its idempotency key or its workflow's key; with `by_id` by the invocation's id.
    """

    to: str
    wait: bool = True
    by_id: bool = False

    def __str__(self) -> str:
        how = " by its id" if self.by_id else ""
        return f"{self.client}: {'attach to' if self.wait else 'the output of'} {self.to!r}{how}"


@attrs.frozen(kw_only=True)
class Act(Operation):
    """The operator does `action` (one of ACTIONS) to the invocation of the request labelled `on`.

    `query` goes with it, as in `deployment=latest`.  The invocation that `restart-as-new` makes is labelled `label`.
    """

    action: str
    on: str
    query: str = ""
    label: str = ""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        assert self.action in ACTIONS, f"an operator cannot {self.action}"
        assert not self.label or self.action == "restart-as-new", "only a restart makes something to name"

    def __str__(self) -> str:
        query = f" ({self.query})" if self.query else ""
        name = f" as {self.label!r}" if self.label else ""
        return f"{self.client}: {self.action} {self.on!r}{query}{name}"


@attrs.frozen(kw_only=True)
class Settle(Operation):
    """Somebody outside completes the *awakeable*-th awakeable (from 0) of the request labelled `of`: with the JSON
    `value`, or with the failure that the text `failure` is."""

    of: str
    awakeable: int = 0
    value: Any = None
    failure: str = ""

    def __str__(self) -> str:
        how = f"rejected ({self.failure})" if self.failure else f"resolved with {self.value!r}"
        return f"{self.client}: awakeable {self.awakeable} of {self.of!r} is {how}"


@attrs.frozen(kw_only=True)
class Deploy(Operation):
    """The operator registers the endpoint that runs the scenario's application number *app* (its first is 0)."""

    app: int

    def __str__(self) -> str:
        return f"{self.client}: register application {self.app}"


@attrs.frozen(kw_only=True)
class Remove(Operation):
    """The operator makes the server forget the deployment of application number *app*, whatever runs on it."""

    app: int

    def __str__(self) -> str:
        return f"{self.client}: remove the deployment of application {self.app}"


def label_of(operation: Operation) -> str:
    """The label of the request an operation is about; empty when it is about none."""
    match operation:
        case Attach():
            return operation.to
        case Act():
            return operation.on
        case Settle():
            return operation.of
    return ""
