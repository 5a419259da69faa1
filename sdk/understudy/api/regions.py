"""Where user code is: in a handler, or inside the function given to `ctx.run`.

The simulator's fence reads REGION to tell what a clock or a draw of randomness means there; nothing else
does.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, Literal

Region = Literal["handler", "run"] | None

REGION: Final[ContextVar[Region]] = ContextVar("understudy_region", default=None)
