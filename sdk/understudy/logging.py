"""Logging for handlers: what they said in an earlier attempt is not said again while its journal is replayed."""

from __future__ import annotations

import logging

from understudy.extensions import current_context


class ReplayFilter(logging.Filter):
    """Lets records through unless they come from a handler that replays."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether *record* is to be logged."""
        context = current_context()
        return (context is None or not context._vm.is_replaying) and bool(super().filter(record))


def getLogger(name: str | None = None) -> logging.Logger:  # noqa: N802
    """The logger `logging.getLogger` gives for *name*, silent during replay."""
    logger = logging.getLogger(name)
    if not any(isinstance(one, ReplayFilter) for one in logger.filters):
        logger.addFilter(ReplayFilter())
    return logger


__all__ = ["ReplayFilter", "getLogger"]
