"""What the steps of a handler return: durable futures, and the handles of calls and sends.

A future's command is on its way when the method that made it is called, not when it is awaited. It may be
awaited any number of times; its outcome is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from understudy.api.errors import TerminalError, terminal_error
from understudy.vm.awaits import Failure, Leaf, Result

if TYPE_CHECKING:
    from understudy.api.attempt import Attempt

T = TypeVar("T")

_NOT_YET: Any = object()


class DurableFuture(Generic[T]):
    """The outcome of one step, recorded or still to come."""

    __slots__ = ("_attempt", "_convert", "_error", "_leaf", "_value")

    def __init__(self, attempt: Attempt, leaf: Leaf, convert: Callable[[Result], T]) -> None:
        self._attempt = attempt
        self._leaf = leaf
        self._convert = convert
        self._value: T = _NOT_YET
        self._error: TerminalError | None = None

    def is_completed(self) -> bool:
        """Whether awaiting it now returns (or raises) at once."""
        return self._is_settled() or self._attempt.vm.is_ready(self._leaf)

    def _is_settled(self) -> bool:
        return self._value is not _NOT_YET or self._error is not None

    def _settle(self, result: Result) -> None:
        """Keep the outcome."""
        if result[0] == "failure":
            failure = result[1]
            assert isinstance(failure, Failure)
            self._error = terminal_error(failure)
            return
        try:
            self._value = self._convert(result)
        except UnfitResult as error:
            self._attempt.vm.refuse_result(self._leaf, result[0], error.expected)
        except BaseException:
            self._attempt.vm.give_back(self._leaf, result)
            raise

    async def _settle_decoded(self, result: Result) -> None:
        """Keep the outcome as it comes out of the codec, which may wait."""
        kind, encoded = result
        if kind != "value":
            self._settle(result)
            return
        assert isinstance(encoded, bytes), kind
        try:
            self._value = self._convert((kind, await self._attempt.decode(encoded)))
        except UnfitResult as error:
            self._attempt.vm.refuse_result(self._leaf, kind, error.expected)
        except BaseException:
            self._attempt.vm.give_back(self._leaf, result)
            raise

    def __await__(self) -> Generator[Any, Any, T]:
        """The step's value.  Raises TerminalError when it failed for good or the invocation was cancelled."""
        if self._value is _NOT_YET and self._error is None:
            attempt = self._attempt
            attempt.check()
            result = attempt.vm.take_if_next(self._leaf)
            if result is None:
                yield from attempt.wait(self._leaf).__await__()
                result = attempt.vm.take(self._leaf)
            if attempt.codec is None:
                self._settle(result)
            else:
                yield from self._settle_decoded(result).__await__()
        if self._error is not None:
            raise terminal_error_again(self._error)
        return self._value

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._leaf!r} {'completed' if self.is_completed() else 'pending'}>"


def terminal_error_again(error: TerminalError) -> TerminalError:
    """A fresh exception like *error*: one raise, one traceback."""
    return TerminalError(error.message, error.status_code, error.metadata)


class SendHandle:
    """An invocation this one has sent off."""

    __slots__ = ("_attempt", "_id")

    def __init__(self, attempt: Attempt, id_leaf: Leaf) -> None:
        self._attempt = attempt
        self._id: DurableFuture[str] = DurableFuture(attempt, id_leaf, as_invocation_id)

    async def invocation_id(self) -> str:
        """The id of the other invocation."""
        return await self._id

    async def cancel_invocation(self) -> None:
        """Ask the other invocation to cancel."""
        invocation_id = await self._id
        self._attempt.check()
        self._attempt.vm.sys_cancel_invocation(invocation_id)


class CallFuture(DurableFuture[T]):
    """The result of a call to another handler."""

    __slots__ = ("_handle", "_id_leaf")

    def __init__(self, attempt: Attempt, leaf: Leaf, convert: Callable[[Result], T], id_leaf: Leaf) -> None:
        super().__init__(attempt, leaf, convert)
        self._id_leaf = id_leaf
        self._handle: SendHandle | None = None

    def _callee(self) -> SendHandle:
        """Made when it is first asked for: few calls are."""
        if self._handle is None:
            self._handle = SendHandle(self._attempt, self._id_leaf)
        return self._handle

    async def invocation_id(self) -> str:
        """The id of the invocation called."""
        return await self._callee().invocation_id()

    async def cancel_invocation(self) -> None:
        """Ask the invocation called to cancel."""
        await self._callee().cancel_invocation()


class UnfitResult(Exception):
    """The server answered a step with a result of a kind that the step cannot have."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


def as_invocation_id(result: Result) -> str:
    """The id in an invocation-id result.  Raises UnfitResult."""
    if result[0] != "invocation_id":
        raise UnfitResult("invocation_id")
    return str(result[1])


def as_nothing(result: Result) -> None:
    """A void result.  Raises UnfitResult."""
    if result[0] != "void":
        raise UnfitResult("void")
