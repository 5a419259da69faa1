"""The bodies of the admin's requests: from bytes to values, or Malformed.

The three refusals of a body are told apart as Restate's admin does: not labelled as JSON 415, no JSON 400, JSON of the
wrong shape 422.  Fields nobody knows are passed over.  Whatever is read here can be written again: no text holds a lone
surrogate, no number is endless, nothing is nested deeper than DEPTH_MAX.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from understudy_runtime.admin.asked import Malformed
from understudy_runtime.ingress.port import Request
from understudy_runtime.ingress.times import BadDuration, parse_duration_ms

DEPTH_MAX: Final = 128
# The longest duration a field may say; above it, sums of instants leave what a log can hold.
DURATION_MS_MAX: Final = 1 << 50


def read_object(request: Request) -> Mapping[str, Any]:
    """The JSON object that *request* carries.  Raises Malformed."""
    content_type = next((value for name, value in request.headers if name == "content-type"), "")
    if not is_json_type(content_type):
        raise Malformed(415, "the request must have content-type: application/json")
    value = read_json(request.body)
    if not isinstance(value, dict):
        raise wrong("the body", "an object", value)
    return value


def is_json_type(content_type: str) -> bool:
    """Whether *content_type* is JSON: `application/json`, or an `application/…+json`; parameters do not matter."""
    essence = content_type.partition(";")[0].strip().lower()
    return essence == "application/json" or (essence.startswith("application/") and essence.endswith("+json"))


def read_json(body: bytes) -> Any:
    """The value in *body*.  Raises Malformed."""
    try:
        text = body.decode()
        check_depth(text)
        value = json.loads(text, parse_constant=no_constant)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as found:
        raise Malformed(400, f"the body is no JSON: {found}") from None
    return value


def no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def check_depth(text: str) -> None:
    """Raises ValueError when brackets nest deeper than DEPTH_MAX.  Brackets inside texts are passed over."""
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return
    depth = 0
    in_text = escaped = False
    for character in text:
        if in_text:
            in_text = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_text = True
        elif character in "[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise ValueError(f"it is nested deeper than {DEPTH_MAX} levels")
        elif character in "]}":
            depth -= 1


def wrong(where: str, expected: str, found: object) -> Malformed:
    kind = "null" if found is None else type(found).__name__
    return Malformed(422, f"{where} must be {expected}, found {kind}")


def text(fields: Mapping[str, Any], name: str) -> str:
    """The text *name*, which must be there.  Raises Malformed."""
    if name not in fields:
        raise Malformed(422, f"the field {name} is missing")
    value = fields[name]
    if not isinstance(value, str):
        raise wrong(name, "a text", value)
    return value


def optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    """The text *name*; None when it is null or not there.  Raises Malformed."""
    return None if fields.get(name) is None else text(fields, name)


def flag(fields: Mapping[str, Any], name: str) -> bool | None:
    """The boolean *name*; None when it is null or not there.  Raises Malformed."""
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not bool:
        raise wrong(name, "true or false", value)
    return value


def pairs(fields: Mapping[str, Any], name: str) -> tuple[tuple[str, str], ...] | None:
    """The object of texts *name*, in the order given; None when it is null or not there.  Raises Malformed."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise wrong(name, "an object of texts", value)
    for key, item in value.items():
        if not isinstance(item, str):
            raise wrong(f"{name}.{key}", "a text", item)
    return tuple(value.items())


def duration_ms(fields: Mapping[str, Any], name: str) -> int | None:
    """The duration *name* in milliseconds; None when it is null or not there.  Raises Malformed."""
    value = optional_text(fields, name)
    if value is None:
        return None
    try:
        found = parse_duration_ms(value)
    except BadDuration as bad:
        raise Malformed(422, f"{name}: {bad}") from None
    if found > DURATION_MS_MAX:
        raise Malformed(422, f"{name}: the duration {value!r} is longer than any we keep")
    return found


def query_flag(query: Mapping[str, str], name: str) -> bool:
    """The boolean *name* of a query; False when it is not there.  Raises Malformed."""
    value = query.get(name, "false")
    if value not in ("true", "false"):
        raise Malformed(400, f"the query's {name} must be true or false, found {value!r}")
    return value == "true"
