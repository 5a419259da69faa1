"""What has another name in the reference SDK, by that name: with these, imports are all that changes.

Nothing here is new; each is what it is set to.
"""

from __future__ import annotations

from typing import TypeAlias

from understudy.api.futures import CallFuture, DurableFuture
from understudy.client import Client, ClientSendHandle
from understudy.exceptions import SdkInternalBaseException
from understudy.logging import ReplayFilter

RestateDurableFuture = DurableFuture
RestateDurableCallFuture = CallFuture
RestateDurableSleepFuture: TypeAlias = DurableFuture[None]
RestateClient = Client
RestateClientSendHandle = ClientSendHandle
RestateLoggingFilter = ReplayFilter

__all__ = [
    "RestateClient",
    "RestateClientSendHandle",
    "RestateDurableCallFuture",
    "RestateDurableFuture",
    "RestateDurableSleepFuture",
    "RestateLoggingFilter",
    "SdkInternalBaseException",
]
