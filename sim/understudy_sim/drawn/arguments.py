"""JSON schemas as strategies: what a handler says it takes is what it is asked with.

Enough of JSON Schema for what discovery tells of typed handlers: types, enums, objects with properties, arrays, unions,
references within the schema, and the bounds of numbers, texts and arrays.  What a schema does not say is not guessed:
`NoStrategy` tells which handler needs a strategy of the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

INTEGER_MAX: Final = 1_000
TEXT_MAX: Final = 12
ITEMS_MAX: Final = 4
TYPES: Final = ("object", "array", "string", "integer", "number", "boolean", "null")


class NoStrategy(ValueError):
    """Nobody said what a handler takes: which handler, what its schema says, what to do."""


def json_values() -> SearchStrategy[Any]:
    """Any small JSON value."""
    leaves = st.none() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | st.text(max_size=TEXT_MAX)
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=ITEMS_MAX) | st.dictionaries(st.text(max_size=TEXT_MAX), inner, max_size=ITEMS_MAX)
        ),
        max_leaves=ITEMS_MAX,
    )


def from_schema(schema: Any, root: Any = None) -> SearchStrategy[Any]:
    """Values that *schema* allows; its references look in *root*.  Raises NoStrategy for one that says nothing."""
    root = schema if root is None else root
    if not isinstance(schema, Mapping) or not schema:
        raise NoStrategy(f"the schema {schema!r} allows anything")
    if "$ref" in schema:
        return st.deferred(lambda: from_schema(_found(schema["$ref"], root), root))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(list(schema["enum"]))
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return st.one_of([from_schema(one, root) for one in schema[union]])
    type_ = schema.get("type")
    if isinstance(type_, Sequence) and not isinstance(type_, str):
        return st.one_of([from_schema({**schema, "type": one}, root) for one in type_])
    if type_ not in TYPES:
        raise NoStrategy(f"the schema {schema!r} names no type")
    return _of_type(type_, schema, root)


def _found(reference: str, root: Any) -> Any:
    if not reference.startswith("#"):
        raise NoStrategy(f"the schema refers to {reference!r}, which lies outside it")
    found = root
    for part in reference.lstrip("#").strip("/").split("/"):
        if part:
            found = found[part]
    return found


def _of_type(type_: str, schema: Mapping[str, Any], root: Any) -> SearchStrategy[Any]:
    match type_:
        case "object":
            return _objects(schema, root)
        case "array":
            return _arrays(schema, root)
        case "string":
            if "pattern" in schema:
                return st.from_regex(schema["pattern"], fullmatch=True)
            return st.text(min_size=schema.get("minLength", 0), max_size=schema.get("maxLength", TEXT_MAX))
        case "integer":
            low, high = schema.get("minimum"), schema.get("maximum")
            low = schema["exclusiveMinimum"] + 1 if "exclusiveMinimum" in schema else low
            high = schema["exclusiveMaximum"] - 1 if "exclusiveMaximum" in schema else high
            return st.integers(*_bounds(low, high))
        case "number":
            low, high = _bounds(schema.get("minimum"), schema.get("maximum"))
            return st.integers(int(low), int(high)) | st.floats(low, high, allow_nan=False, width=32)
        case "boolean":
            return st.booleans()
    return st.none()


def _bounds(low: int | None, high: int | None) -> tuple[int, int]:
    """Small numbers, unless the schema wants large ones."""
    if low is None:
        low = -INTEGER_MAX if high is None else min(-INTEGER_MAX, high)
    return low, max(INTEGER_MAX, low) if high is None else high


def _objects(schema: Mapping[str, Any], root: Any) -> SearchStrategy[Any]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    if not properties:
        inner = schema.get("additionalProperties")
        if not isinstance(inner, Mapping) or not inner:
            raise NoStrategy(f"the schema {schema!r} is of an object and names no property")
        return st.dictionaries(st.text(max_size=TEXT_MAX), from_schema(inner, root), max_size=ITEMS_MAX)
    required = schema.get("required", ())
    values = {name: from_schema(one, root) for name, one in properties.items()}
    return st.fixed_dictionaries(
        {name: one for name, one in values.items() if name in required},
        optional={name: one for name, one in values.items() if name not in required},
    )


def _arrays(schema: Mapping[str, Any], root: Any) -> SearchStrategy[Any]:
    if "prefixItems" in schema:
        return st.tuples(*(from_schema(one, root) for one in schema["prefixItems"])).map(list)
    low = schema.get("minItems", 0)
    high = schema.get("maxItems", max(low, ITEMS_MAX))
    return st.lists(from_schema(schema.get("items"), root), min_size=low, max_size=high)
