"""Recorded exchanges of a real admin, as tests use them: `exchanges.json` read, marks bound, answers made comparable.

Lists of handlers are kept once, under `parts`.  A mark such as `{{deployment_id:2}}` stands for a value of its own run.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import attrs
from understudy_runtime.ingress.times import parse_duration_ms

FILE: Final = Path(__file__).with_name("exchanges.json")
MARK: Final = re.compile(r"\{\{([a-z_]+(?::[0-9]+)?)\}\}")
PROSE: Final = "{{prose}}"
# Marks whose value is another each time it is seen.
LOOSE: Final = ("timestamp", "prose", "port", "ulid")
# Where endpoints live.
PLACES: Final = {
    "endpoint": "http://endpoint:1",
    "endpoint_b": "http://endpoint-b:1",
    "endpoint_c": "http://endpoint-c:1",
    "port": "1",
    "ingress": "http://localhost:8080",
}


@attrs.frozen
class Exchange:
    """One request and what a real server answered."""

    file: str
    name: str
    surface: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: Any
    status: int
    answer_headers: dict[str, str]
    answer: Any


def exchanges() -> list[Exchange]:
    """All of them, in the order they were made."""
    recorded = json.loads(FILE.read_text())
    return [
        Exchange(
            found["file"],
            found["name"],
            found["surface"],
            found["method"],
            found["path"],
            tuple(found.get("headers", {}).items()),
            found.get("body"),
            found["status"],
            found["answer_headers"],
            whole(found.get("answer"), recorded["parts"]),
        )
        for found in recorded["exchanges"]
    ]


def whole(value: Any, parts: dict[str, Any]) -> Any:
    """*value* with its parts in place."""
    if isinstance(value, dict):
        if set(value) == {"part"}:
            return parts[value["part"]]
        return {key: whole(item, parts) for key, item in value.items()}
    return [whole(item, parts) for item in value] if isinstance(value, list) else value


class Marks:
    """What the marks stand for in this run."""

    def __init__(self) -> None:
        self.values: dict[str, str] = dict(PLACES)

    def fill(self, value: Any) -> Any:
        """*value* with this run's values in place of its marks."""
        if isinstance(value, str):
            return MARK.sub(lambda mark: self.values[mark[1]], value)
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return [self.fill(item) for item in value] if isinstance(value, list) else value

    def differences(self, recorded: Any, found: Any, at: str = "") -> list[str]:
        """Where *found* is not what was *recorded*.  A mark not seen yet is bound to what stands there."""
        if isinstance(recorded, dict) and isinstance(found, dict):
            lines = [f"{at}.{key}: missing" for key in recorded if key not in found]
            lines += [f"{at}.{key}: too much" for key in found if key not in recorded]
            for key, value in recorded.items():
                if key in found:
                    lines += self.differences(value, found[key], f"{at}.{key}")
            return lines
        if isinstance(recorded, list) and isinstance(found, list):
            if len(recorded) != len(found):
                return [f"{at}: {len(recorded)} items recorded, {len(found)} found"]
            pairs = zip(in_order(recorded, self), in_order(found, self), strict=True)
            return [line for number, (a, b) in enumerate(pairs) for line in self.differences(a, b, f"{at}[{number}]")]
        if isinstance(recorded, str) and isinstance(found, str):
            return [] if self._is_same(recorded, found) else [f"{at}: {recorded!r} recorded, {found!r} found"]
        same = type(recorded) is type(found) and recorded == found
        return [] if same else [f"{at}: {recorded!r} recorded, {found!r} found"]

    def _is_same(self, recorded: str, found: str) -> bool:
        at = 0
        pattern = ""
        free = []
        for mark in MARK.finditer(recorded):
            pattern += re.escape(recorded[at : mark.start()])
            at = mark.end()
            name = mark[1]
            if name in self.values:
                pattern += re.escape(self.values[name])
            elif name in LOOSE:
                pattern += ".*"
            else:
                free.append(name)
                pattern += "(.+)"
        match = re.fullmatch(pattern + re.escape(recorded[at:]), found, re.DOTALL)
        if match is None:
            return False
        self.values.update(zip(free, match.groups(), strict=True))
        return True


def in_order(items: list[Any], marks: Marks) -> list[Any]:
    """Lists of things are in no order: by their names and ids."""
    if not all(isinstance(item, dict) for item in items):
        return items

    def place(item: dict[str, Any]) -> tuple[str, str]:
        uri = str(item.get("uri", ""))
        return str(item.get("name", "")), MARK.sub(lambda mark: marks.values[mark[1]], uri)

    return sorted(items, key=place)


def manifest_of(services: list[dict[str, Any]]) -> dict[str, Any]:
    """The manifest whose registration is shown as *services*."""
    types = {"Service": "SERVICE", "VirtualObject": "VIRTUAL_OBJECT", "Workflow": "WORKFLOW"}
    return {
        "protocolMode": "BIDI_STREAM",
        "minProtocolVersion": 5,
        "maxProtocolVersion": 7,
        "services": [
            {
                "name": service["name"],
                "ty": types[service["ty"]],
                "handlers": [manifest_handler(handler) for handler in service["handlers"]],
                "ingressPrivate": not service["public"],
                **{name: service[name] for name in ("documentation", "metadata") if name in service},
                "retryPolicyInitialInterval": parse_duration_ms(service["retry_policy"]["initial_interval"]),
                "retryPolicyMaxAttempts": service["retry_policy"]["max_attempts"],
                "retryPolicyOnMaxAttempts": service["retry_policy"]["on_max_attempts"].upper(),
            }
            for service in services
        ],
    }


def manifest_handler(shown: dict[str, Any]) -> dict[str, Any]:
    handler: dict[str, Any] = {"name": shown["name"], "output": {"setContentTypeIfEmpty": False}, "input": {}}
    if "ty" in shown:
        handler["ty"] = shown["ty"].upper()
    for side in ("input", "output"):
        description = shown[f"{side}_description"]
        if description != "none":
            handler[side] |= {
                "contentType": "application/json" if description.startswith("JSON ") else description,
                "jsonSchema": shown[f"{side}_json_schema"],
            }
    return handler
