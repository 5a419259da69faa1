"""Waiting for several steps: gather, select, wait_completed, as_completed.

Which future was first is decided by the order in the journal, so it is the same in every replay. Only futures
of one and the same context can be waited for together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from understudy.api.errors import TerminalError
from understudy.api.futures import DurableFuture
from understudy.vm import Combinator, Node, Tree

AnyFuture = DurableFuture[Any]


async def gather(*futures: AnyFuture) -> list[AnyFuture]:
    """Wait until all are complete and return them; awaiting one then returns or raises at once."""
    pending = [future for future in _of_one_context(futures) if not future.is_completed()]
    if pending:
        await pending[0]._attempt.wait(_node(Combinator.ALL_COMPLETED, pending))
    return list(futures)


async def select(**futures: AnyFuture) -> list[Any]:
    """Wait until one is complete: ``[name, value]`` of the first.  Raises what awaiting that one raises."""
    if not futures:
        raise ValueError("select needs at least one future")
    await _wait_for_one(tuple(futures.values()))
    for name, future in futures.items():
        if future.is_completed():
            return [name, await future]
    raise AssertionError("the wait ends when one is complete")


async def wait_completed(*futures: AnyFuture) -> tuple[list[AnyFuture], list[AnyFuture]]:
    """Wait until at least one is complete: ``(complete, pending)``, each in the order given."""
    if futures:
        await _wait_for_one(futures)
    done = [future for future in futures if future.is_completed()]
    return done, [future for future in futures if not any(future is other for other in done)]


async def as_completed(*futures: AnyFuture) -> AsyncIterator[AnyFuture]:
    """The futures as they complete; those complete together come in the order given."""
    pending = list(futures)
    while pending:
        done, pending = await wait_completed(*pending)
        for future in done:
            yield future


async def _wait_for_one(futures: Sequence[AnyFuture]) -> None:
    _of_one_context(futures)
    if not any(future.is_completed() for future in futures):
        await futures[0]._attempt.wait(_node(Combinator.FIRST_COMPLETED, futures))


def _node(combinator: Combinator, futures: Sequence[AnyFuture]) -> Tree:
    return Node(combinator, tuple(future._leaf for future in futures))


def _of_one_context(futures: Sequence[AnyFuture]) -> Sequence[AnyFuture]:
    for future in futures:
        if not isinstance(future, DurableFuture):
            raise TerminalError(
                f"only durable futures can be waited for together, found {type(future).__qualname__}; "
                "put other awaits inside ctx.run"
            )
        if future._attempt is not futures[0]._attempt:
            raise TerminalError("futures of different invocations cannot be waited for together")
    return futures
