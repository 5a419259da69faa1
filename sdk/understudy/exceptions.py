"""The exceptions of the SDK under the module name many handlers already import them by."""

from understudy.api.errors import ContextMisuse, RetryableError, TerminalError

__all__ = ["ContextMisuse", "RetryableError", "TerminalError"]
