"""Field numbers: how a value of the model names its parts on disk.  Numbers are never reused."""

from __future__ import annotations

from typing import Any

import attrs

FIELD_NUMBER = "field_number"


def numbered(number: int, **options: Any) -> Any:
    """An attrs field with *number* as its durable name."""
    assert number >= 1, "field numbers start at 1"
    return attrs.field(metadata={FIELD_NUMBER: number}, **options)
