"""The SDK: services, virtual objects and workflows whose handlers survive crashes.

`app(services=[...])` is what a server runs; everything a handler author needs is named here.
"""

from understudy import exceptions, extensions
from understudy.api.codec import JournalValueCodec
from understudy.api.combinators import as_completed, gather, select, wait_completed
from understudy.api.context import (
    Context,
    DurablePromise,
    ObjectContext,
    ObjectSharedContext,
    Request,
    WorkflowContext,
    WorkflowSharedContext,
)
from understudy.api.errors import ContextMisuse, RetryableError, TerminalError
from understudy.api.futures import CallFuture, DurableFuture, SendHandle
from understudy.api.options import InvocationRetryPolicy, RunOptions
from understudy.api.scoped import ScopedContext
from understudy.api.serde import (
    BytesSerde,
    DefaultSerde,
    JsonSerde,
    MsgspecJsonSerde,
    PydanticJsonSerde,
    Serde,
)
from understudy.api.service import Service, VirtualObject, Workflow
from understudy.client import Client, ClientOutput, ClientSendHandle, ClientTarget, HttpError, create_client
from understudy.endpoint import App, Endpoint, app
from understudy.exceptions import is_internal_exception
from understudy.extensions import current_context
from understudy.logging import ReplayFilter, getLogger
from understudy.names import (
    RestateClient,
    RestateClientSendHandle,
    RestateDurableCallFuture,
    RestateDurableFuture,
    RestateDurableSleepFuture,
    RestateLoggingFilter,
    SdkInternalBaseException,
)

__all__ = [
    "App",
    "BytesSerde",
    "CallFuture",
    "Client",
    "ClientOutput",
    "ClientSendHandle",
    "ClientTarget",
    "Context",
    "ContextMisuse",
    "DefaultSerde",
    "DurableFuture",
    "DurablePromise",
    "Endpoint",
    "HttpError",
    "InvocationRetryPolicy",
    "JournalValueCodec",
    "JsonSerde",
    "MsgspecJsonSerde",
    "ObjectContext",
    "ObjectSharedContext",
    "PydanticJsonSerde",
    "ReplayFilter",
    "Request",
    "RestateClient",
    "RestateClientSendHandle",
    "RestateDurableCallFuture",
    "RestateDurableFuture",
    "RestateDurableSleepFuture",
    "RestateLoggingFilter",
    "RetryableError",
    "RunOptions",
    "ScopedContext",
    "SdkInternalBaseException",
    "SendHandle",
    "Serde",
    "Service",
    "TerminalError",
    "VirtualObject",
    "Workflow",
    "WorkflowContext",
    "WorkflowSharedContext",
    "app",
    "as_completed",
    "create_client",
    "current_context",
    "exceptions",
    "extensions",
    "gather",
    "getLogger",
    "is_internal_exception",
    "select",
    "wait_completed",
]
