"""Where user code is: in which attempt's context, in a handler or inside the function given to `ctx.run`.

The simulator's fence reads REGION to tell what a clock or a draw of randomness means there; nothing else
does. CURRENT serves `current_context()`.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Literal
from weakref import ref

if TYPE_CHECKING:
    from understudy.api.context import Context

Region = Literal["handler", "run"] | None

REGION: Final[ContextVar[Region]] = ContextVar("understudy_region", default=None)

CURRENT: Final[ContextVar[ref[Context] | None]] = ContextVar("understudy_context", default=None)
"""The context of the attempt this task belongs to.  Weak: a task keeps its context variables, which would keep it."""
