"""Journals as they are exported: the JSON of the admin's `GET /invocations/{id}/journal`, one or many of them.

Reading is strict: what is no journal is refused by name, never guessed at.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any, Final

import attrs
from understudy.protocol.framing import Frame
from understudy.replaying import Recorded

FORMAT: Final = 1


class NoJournal(Exception):
    """What was read is no exported journal: which field, what was found, what was expected."""


@attrs.frozen
class Journal:
    """A journal, and what the server said of its invocation.  `deployment_id` is empty while none is pinned."""

    recorded: Recorded
    deployment_id: str = ""
    status: str = ""

    @property
    def target(self) -> str:
        """`Service/key/handler`."""
        one = self.recorded
        return "/".join(part for part in (one.service, one.key, one.handler) if part)


def document(journals: Iterable[Journal]) -> dict[str, Any]:
    """Many journals as JSON values."""
    return {"format": FORMAT, "journals": [to_json(one) for one in journals]}


def read_document(value: object) -> list[Journal]:
    """The journals in *value*: a document, a list of exports, or one export.  Raises NoJournal."""
    if isinstance(value, dict) and "journals" in value:
        if value.get("format") != FORMAT:
            raise NoJournal(f"the file has format {value.get('format')!r}, this program reads {FORMAT}")
        value = value["journals"]
    if isinstance(value, dict):
        return [from_json(value)]
    if not isinstance(value, list):
        raise NoJournal(f"{type(value).__name__} is no exported journal: an object or a list of them was expected")
    return [from_json(one) for one in value]


def to_json(journal: Journal) -> dict[str, Any]:
    """One export."""
    one = journal.recorded
    return {
        "id": one.invocation_id,
        "target_service_name": one.service,
        "target_handler_name": one.handler,
        "target_service_key": one.key or None,
        "random_seed": str(one.random_seed),
        "protocol_version": one.protocol_version,
        "deployment_id": journal.deployment_id,
        "status": journal.status,
        "entries": [{"type": frame.type, "payload": _text(frame.payload)} for frame in one.frames],
        "state": [{"key": _text(key), "value": _text(value)} for key, value in one.state],
        "state_complete": one.state_complete,
    }


def from_json(value: object) -> Journal:
    """The journal of one export.  Raises NoJournal."""
    if not isinstance(value, dict):
        raise NoJournal(f"an exported journal is an object, found {type(value).__name__}")
    seed = _field(value, "random_seed", str)
    if not (seed.isascii() and seed.isdigit()) or int(seed) >= 1 << 64:
        raise NoJournal(f"random_seed: a number below 2^64, as a text, was expected, found {seed!r}")
    version = _field(value, "protocol_version", int)
    recorded = Recorded(
        service=_field(value, "target_service_name", str),
        handler=_field(value, "target_handler_name", str),
        invocation_id=_field(value, "id", str),
        key=_field(value, "target_service_key", str) if value.get("target_service_key") else "",
        random_seed=int(seed),
        frames=tuple(_entry(one) for one in _field(value, "entries", list)),
        state=tuple(
            (_bytes(one, "key"), _bytes(one, "value")) for one in _field({"state": [], **value}, "state", list)
        ),
        state_complete=bool(value.get("state_complete", False)),
    )
    if version:
        recorded = attrs.evolve(recorded, protocol_version=version)
    return Journal(recorded, str(value.get("deployment_id") or ""), str(value.get("status") or ""))


def _entry(value: object) -> Frame:
    type_ = _field(value, "type", int)
    return Frame(type_, _bytes(value, "payload"))


def _field(value: object, name: str, kind: type[Any]) -> Any:
    if not isinstance(value, dict) or type(value.get(name)) is not kind:
        found = type(value.get(name)).__name__ if isinstance(value, dict) else type(value).__name__
        raise NoJournal(f"{name}: {kind.__name__} was expected, found {found}")
    return value[name]


def _bytes(value: object, name: str) -> bytes:
    text = _field(value, name, str)
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise NoJournal(f"{name}: base64 was expected ({error})") from None


def _text(value: bytes) -> str:
    return b64encode(value).decode("ascii")
