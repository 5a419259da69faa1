"""The exceptions of the SDK under the module name many handlers already import them by."""

from understudy.api.errors import ContextMisuse, RetryableError, TerminalError
from understudy.vm.errors import AttemptEnded, AttemptSuspended, VmError

# What they are called where handlers already name them.
SdkInternalBaseException = AttemptEnded
SdkInternalException = VmError
SuspendedException = AttemptSuspended


def is_internal_exception(error: BaseException) -> bool:
    """Whether *error* is how the SDK ends an attempt (it is suspended, it failed, its link is lost): let it pass.

    Only a bare `except` or `except BaseException` can catch one.
    """
    return isinstance(error, AttemptEnded)


__all__ = [
    "ContextMisuse",
    "RetryableError",
    "SdkInternalBaseException",
    "SdkInternalException",
    "SuspendedException",
    "TerminalError",
    "is_internal_exception",
]
