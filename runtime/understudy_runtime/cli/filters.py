"""Which log lines are written: a level for all, and levels for single targets.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

from understudy_runtime.telemetry.log import TARGETS

LEVELS: Final = ("debug", "info", "warning", "error", "off")
# What people write to the level that is meant.
LEVEL_WORDS: Final = MappingProxyType[str, str](
    {**{level: level for level in LEVELS}, "warn": "warning", "trace": "debug"}
)


@attrs.frozen
class LogFilter:
    """The least level that is written, for each target."""

    level: str = "info"
    targets: Mapping[str, str] = attrs.field(factory=lambda: MappingProxyType[str, str]({}))

    def passes(self, level: str, target: str) -> bool:
        """Whether a line of *level* about *target* is written."""
        least = self.targets.get(target, self.level)
        return LEVELS.index(level) >= LEVELS.index(least)

    @property
    def least(self) -> str:
        """The lowest level that any target lets through."""
        return min((self.level, *self.targets.values()), key=LEVELS.index)

    def __str__(self) -> str:
        return ",".join([self.level, *(f"{target}={level}" for target, level in self.targets.items())])


def parse_filter(text: str) -> LogFilter:
    """Read `info` or `warn,invoker=debug`.  Raises ValueError, which says what is expected.

    >>> str(parse_filter("invoker=debug,warn"))
    'warning,invoker=debug'
    """
    level = "info"
    targets: dict[str, str] = {}
    for part in text.split(","):
        target, separator, word = part.strip().rpartition("=")
        found = LEVEL_WORDS.get(word.lower())
        if found is None:
            raise ValueError(f"a level ({', '.join(LEVELS)}), with exceptions such as warn,invoker=debug")
        if not separator:
            level = found
        elif target in TARGETS:
            targets[target] = found
        else:
            raise ValueError(f"a target of {', '.join(TARGETS)} before each '=', such as warn,invoker=debug")
    return LogFilter(level, MappingProxyType(targets))
