"""Exchanges recorded from a real server, in the order they were made: ours answers alike (`exchanges.json`).

Marks such as `{{invocation_id:7}}` stand for one value each.  Compared: status, headers, keys and codes; never wording.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.model.ids import awakeable_id, invocation_id_text

EXCHANGES = json.loads(Path(__file__).with_name("exchanges.json").read_text("utf-8"))
MARK = re.compile(r"\{\{(\w+)(?::(\d+))?\}\}")

# Where we differ on purpose.  Plain calls have no implicit idempotency key here, so their results are not kept.
NOT_KEPT = {
    "attach-output: output of completed non idempotent": "ingress",
    "attach-output: attach of completed non idempotent": "invocation",
}


class Marks:
    """The values of the marks met so far."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def fill(self, text: str) -> str:
        """*text* as a request sends it: an unknown mark gets a well-formed value nobody has heard of."""
        return MARK.sub(lambda match: self.values.get(match[0]) or self.invent(match), text)

    def invent(self, match: re.Match[str]) -> str:
        number = int(match[2])
        invocation_id = invocation_id_text(number.to_bytes(24, "big"))
        value = awakeable_id(invocation_id, 17) if match[1] == "awakeable_id" else invocation_id
        return self.values.setdefault(match[0], value)

    def agree(self, expected: Any, found: Any, where: str) -> None:
        """Fails unless *found* has the shape and values of *expected*."""
        if isinstance(expected, dict):
            assert isinstance(found, dict), where
            assert sorted(expected) == sorted(found), where
            for key in expected:
                self.agree(expected[key], found[key], f"{where}.{key}")
        elif isinstance(expected, str) and (match := MARK.fullmatch(expected)):
            if match[2] is not None:
                assert self.values.setdefault(expected, found) == found, where
        else:
            assert expected == found, where


def make_request(marks: Marks, recorded: dict[str, Any]) -> Request:
    body = recorded["body"]
    data = b""
    if body is not None:
        kind, value = next(iter(body.items()))
        filled = json.loads(marks.fill(json.dumps(value)))
        data = {
            "json": lambda: json.dumps(filled).encode(),
            "text": lambda: value.encode(),
            "base64": lambda: base64.b64decode(value),
        }[kind]()
    headers = [("host", "localhost:8080")]
    for name, value in recorded["headers"].items():
        raw = re.fullmatch(r"<bytes (.*)>", value)
        headers.append((name.lower(), bytes.fromhex(raw[1]).decode("latin-1") if raw else value))
    return Request(recorded["method"], marks.fill(recorded["path"]), tuple(headers), data)


def check_response(marks: Marks, name: str, expected: dict[str, Any], found: Response, head: bool) -> None:
    assert found.status == expected["status"], (name, found)
    headers = dict(found.headers)
    assert len(headers) == len(found.headers), "no header twice"
    marks.agree(expected["headers"], headers, f"{name}: headers")
    body = expected["body"]
    if head:
        return
    if body is None:
        assert found.body == b"", name
    elif "error" in body:
        answer = json.loads(found.body)
        assert answer.pop("message"), name
        marks.agree(body["error"], answer, f"{name}: body")
    elif "health" in body:
        assert json.loads(found.body) == {"services": ["Greeter", "Private", "Counter", "Flow", "KillFast"]}
    elif "base64" in body:
        assert base64.b64encode(found.body).decode() == body["base64"], name
    else:
        marks.agree(body["json"], json.loads(found.body), f"{name}: body")


async def test_recorded_exchanges(ingress):
    marks = Marks()
    for exchange in EXCHANGES:
        name = exchange["name"]
        request = make_request(marks, exchange["request"])
        response = await ingress.handle(request)
        if name in NOT_KEPT:
            assert response.status == 404
            assert json.loads(response.body)["source"] == NOT_KEPT[name]
            continue
        check_response(marks, name, exchange["response"], response, request.method == "HEAD")
    assert len(EXCHANGES) >= 140
    assert ingress.in_flight == 0
