"""The exceptions of the SDK under the module name many handlers already import them by."""

from understudy.api.errors import ContextMisuse, RetryableError, TerminalError
from understudy.vm.errors import AttemptEnded


def is_internal_exception(error: BaseException) -> bool:
    """Whether *error* is how the SDK ends an attempt (it is suspended, it failed, its link is lost): let it pass.

    Only a bare `except` or `except BaseException` can catch one.
    """
    return isinstance(error, AttemptEnded)


__all__ = ["ContextMisuse", "RetryableError", "TerminalError", "is_internal_exception"]
