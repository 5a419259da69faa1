"""What operations came to, as values that compare: on a live server, and in the simulator.

Compared are answers (status, and body as JSON), the commands in the journal of each request (what the handler did, not
when it was told of results), the state of the objects that were asked, and which claims broke.  Ids of invocations,
UUIDs and the like are the runs' own and count as equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import attrs
from understudy.protocol.messages import MessageType

from understudy_sim.stage.operations import Operation

# Ids, and instants: when something is due.
OWN: Final = re.compile(
    r"(?:inv|sign|prom)_1[0-9A-Za-z_-]{20,}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
)


@attrs.frozen
class Answered:
    """How one operation was answered: its `status`, 0 when it was not; JSON in `body`, or text."""

    status: int
    body: Any = None

    def __str__(self) -> str:
        return f"{self.status} {json.dumps(self.body)}" if self.status else "no answer"


@attrs.frozen(kw_only=True)
class Outcome:
    """One side.  Journals by the number of their operation; states by service and key.

    None: this side does not tell (why is in `untold`).
    """

    answers: tuple[Answered, ...]
    journals: Mapping[int, tuple[str, ...] | None]
    states: Mapping[tuple[str, str], Mapping[str, Any]]
    broken: Mapping[str, str]
    untold: tuple[str, ...] = ()


@attrs.frozen
class Difference:
    """Something that is not equal: *what*, and both sides for people."""

    what: str
    simulated: str
    live: str

    def __str__(self) -> str:
        return f"{self.what}\n  simulated  {self.simulated}\n  live       {self.live}"


def answered(status: int, body: bytes) -> Answered:
    """An answer without what is the run's own."""
    try:
        value = json.loads(body) if body else None
    except ValueError:
        value = body.decode(errors="replace")
    # The text of a refusal is not promised, its code is.
    return Answered(status, own_left_out(value) if status < 400 else None)


def own_left_out(value: Any) -> Any:
    """*value* with every id and instant that is the run's own as `…`."""
    if isinstance(value, str):
        return OWN.sub("…", value)
    if isinstance(value, Mapping):
        return {own_left_out(key): own_left_out(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [own_left_out(one) for one in value]
    return value


def differences(operations: Sequence[Operation], simulated: Outcome, live: Outcome) -> Iterator[Difference]:
    """All that is not equal, answers first."""
    assert len(operations) == len(simulated.answers) == len(live.answers), "each operation has an answer, or had none"
    for number, (one, here, there) in enumerate(zip(operations, simulated.answers, live.answers, strict=True), 1):
        if here != there:
            yield Difference(f"answer to {number}. {one}", str(here), str(there))
    for number, one in enumerate(operations):
        mine, theirs = simulated.journals.get(number), live.journals.get(number)
        if mine is not None and theirs is not None and mine != theirs:
            yield Difference(f"journal of {number + 1}. {one}", ", ".join(mine), ", ".join(theirs))
    for key in live.states:
        mine_state, their_state = (own_left_out(dict(side.states.get(key, {}))) for side in (simulated, live))
        if mine_state != their_state:
            yield Difference(f"state of {'/'.join(key)}", json.dumps(mine_state), json.dumps(their_state))
    for claim in dict.fromkeys((*simulated.broken, *live.broken)):
        here_told, there_told = (side.broken.get(claim, "it holds") for side in (simulated, live))
        if (claim in simulated.broken) != (claim in live.broken):
            yield Difference(f"claim {claim}", here_told, there_told)


COMMANDS: Final = range(0x0400, 0x0800)
# What may be written in two ways: the state came with the start of the attempt, or it was asked for.
SAME: Final[Mapping[str, str]] = MappingProxyType(
    {
        "GET_EAGER_STATE": "GET_STATE",
        "GET_LAZY_STATE": "GET_STATE",
        "GET_EAGER_STATE_KEYS": "GET_STATE_KEYS",
        "GET_LAZY_STATE_KEYS": "GET_STATE_KEYS",
    }
)


def is_command(type_: int) -> bool:
    """Whether a journal entry of this type is something the handler did, not something it was told."""
    return type_ in COMMANDS


def command_name(type_: int) -> str:
    """`CALL`, `RUN`, …: one name for what may be written in two ways."""
    name = MessageType(type_).name
    return SAME.get(name, name)


def command_said(text: str) -> str:
    """The same for the name in an SQL table: `Command: GetLazyState`; empty for what is no command."""
    kind, _, name = text.partition(": ")
    if kind != "Command":
        return ""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip()).replace(" ", "_").upper()
    return SAME.get(name, name)
