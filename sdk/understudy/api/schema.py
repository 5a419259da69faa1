"""Type hints as JSON schemas, for the manifest.  What cannot be said simply is `true`: anything."""

from __future__ import annotations

import types
import typing
from types import MappingProxyType
from typing import Any, Final

from understudy.api.serde import is_msgspec_type, is_pydantic_type

_SIMPLE: Final = MappingProxyType(
    {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", type(None): "null"}
)


def schema_of(type_hint: Any) -> Any:
    """The JSON schema of *type_hint*: a dict, or True for anything.

    >>> schema_of(list[int])
    {'type': 'array', 'items': {'type': 'integer'}}
    """
    if type_hint is None:
        return True
    if is_pydantic_type(type_hint):
        return type_hint.model_json_schema(mode="serialization")
    if is_msgspec_type(type_hint):
        import msgspec

        return msgspec.json.schema(type_hint)
    if isinstance(type_hint, type) and type_hint in _SIMPLE:
        return {"type": _SIMPLE[type_hint]}
    origin, arguments = typing.get_origin(type_hint), typing.get_args(type_hint)
    if type_hint is list or origin is list:
        return {"type": "array", "items": schema_of(arguments[0]) if arguments else True}
    if origin is dict:
        return {"type": "object"}
    if origin in (typing.Union, types.UnionType):
        return _schema_of_optional(arguments)
    return True


def _schema_of_optional(arguments: tuple[Any, ...]) -> Any:
    """``T | None`` is T's schema with null added; other unions are anything."""
    others = [argument for argument in arguments if argument is not type(None)]
    if len(others) != 1 or len(others) == len(arguments):
        return True
    inner = schema_of(others[0])
    if isinstance(inner, dict) and isinstance(inner.get("type"), str):
        return {**inner, "type": [inner["type"], "null"]}
    return True if inner is True else {"anyOf": [inner, {"type": "null"}]}
