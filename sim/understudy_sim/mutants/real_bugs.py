"""Bugs that durable-execution engines and their SDKs have really had, and the mutants that stand for them here.

Where there is none it says why.
"""

from __future__ import annotations

from typing import Final

import attrs


@attrs.frozen
class RealBug:
    """One of them: where it was seen, what went wrong, and which *mutants* stand for it, or *why_not*."""

    source: str
    what: str
    mutants: tuple[str, ...] = ()
    why_not: str = ""


REAL_BUGS: Final[tuple[RealBug, ...]] = ()
