"""Values as the shortest Python that makes them again: fields that are as they would be anyway are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


def as_python(value: Any) -> str:
    """*value*, made of frozen attrs values, tuples, mappings and literals, as an expression."""
    if attrs.has(type(value)):
        return f"{type(value).__name__}({', '.join(_fields(value))})"
    if isinstance(value, tuple):
        return f"({', '.join(as_python(one) for one in value)}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(as_python(one) for one in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{as_python(key)}: {as_python(one)}' for key, one in value.items())}}}"
    return repr(value)


def _fields(value: Any) -> list[str]:
    told = []
    for field in attrs.fields(type(value)):
        one = getattr(value, field.name)
        if field.init and field.repr and not (field.default is not attrs.NOTHING and one == field.default):
            told.append(as_python(one) if not field.kw_only else f"{field.alias}={as_python(one)}")
    return told
