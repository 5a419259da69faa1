"""Errors of simulated processes, in words that are the same in every run: no addresses, no tracebacks."""

from __future__ import annotations


def only_of(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    """Whether *error*, or everything in its group, is one of *kinds*."""
    if isinstance(error, BaseExceptionGroup):
        return all(only_of(one, kinds) for one in error.exceptions)
    return isinstance(error, kinds)


def describe(error: BaseException) -> str:
    """An error and where it came from, without addresses."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, BaseExceptionGroup):
        return " and ".join(describe(one) for one in error.exceptions)
    place = ""
    at = error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        place = f" at {code.co_filename.rsplit('/', 2)[-2]}/{code.co_filename.rsplit('/', 1)[-1]}:{at.tb_lineno}"
        at = at.tb_next
    return f"{type(error).__name__}: {error}{place}"
