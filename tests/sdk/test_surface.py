"""The public surface, name by name: whoever writes against the reference SDK (version 1.3) finds it here.

`SURFACE` is written down as one reads it in a manual: what is listed exists, takes the arguments listed in that order
and under those names, and has the defaults listed (`...`: any default).  What is not listed may be there too, if it
need not be given.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import typing
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

SURFACE = """
understudy.Service(name, description=None, *, metadata=..., inactivity_timeout=..., abort_timeout=..., \
journal_retention=..., idempotency_retention=..., ingress_private=..., invocation_retry_policy=..., \
invocation_context_managers=...)
understudy.VirtualObject(name, description=None, *, metadata=..., inactivity_timeout=..., abort_timeout=..., \
journal_retention=..., idempotency_retention=..., ingress_private=..., invocation_retry_policy=..., \
invocation_context_managers=..., enable_lazy_state=..., state_preload=...)
understudy.Workflow(name, description=None, *, metadata=..., inactivity_timeout=..., abort_timeout=..., \
journal_retention=..., idempotency_retention=..., ingress_private=..., invocation_retry_policy=..., \
invocation_context_managers=..., enable_lazy_state=..., state_preload=...)
understudy.Service.handler(self, name=None, *, accept=..., content_type=..., input_serde=..., output_serde=..., \
metadata=..., inactivity_timeout=..., abort_timeout=..., journal_retention=..., idempotency_retention=..., \
ingress_private=..., invocation_retry_policy=..., invocation_context_managers=...)
understudy.VirtualObject.handler(self, name=None, kind='exclusive', *, accept=..., content_type=..., input_serde=..., \
output_serde=..., metadata=..., inactivity_timeout=..., abort_timeout=..., journal_retention=..., \
idempotency_retention=..., ingress_private=..., invocation_retry_policy=..., invocation_context_managers=..., \
enable_lazy_state=..., state_preload=...)
understudy.Workflow.main(self, name=None, *, accept=..., content_type=..., input_serde=..., output_serde=..., \
metadata=..., inactivity_timeout=..., abort_timeout=..., journal_retention=..., workflow_retention=..., \
ingress_private=..., invocation_retry_policy=..., invocation_context_managers=..., enable_lazy_state=..., \
state_preload=...)
understudy.Workflow.handler(self, name=None, *, accept=..., content_type=..., input_serde=..., output_serde=..., \
metadata=..., inactivity_timeout=..., abort_timeout=..., journal_retention=..., idempotency_retention=..., \
ingress_private=..., invocation_retry_policy=..., invocation_context_managers=..., enable_lazy_state=..., \
state_preload=...)
understudy.app(services, protocol=None, identity_keys=None, journal_value_codec=None)
understudy.endpoint.Endpoint()
understudy.endpoint.Endpoint.bind(self, *services)
understudy.endpoint.Endpoint.streaming_protocol(self)
understudy.endpoint.Endpoint.request_response_protocol(self)
understudy.endpoint.Endpoint.identity_key(self, identity_key)
understudy.endpoint.Endpoint.set_journal_value_codec(self, codec)
understudy.endpoint.Endpoint.app(self)
understudy.InvocationRetryPolicy(initial_interval=None, exponentiation_factor=None, max_interval=None, \
max_attempts=None, on_max_attempts=None)

understudy.Context.run(self, name, action, serde=..., max_attempts=None, max_retry_duration=None, type_hint=None, \
args=None)
understudy.Context.run_typed(self, name, action, options=..., /, *args, **kwargs)
understudy.Context.sleep(self, delta, name=None)
understudy.Context.service_call(self, tpe, arg, idempotency_key=None, headers=None)
understudy.Context.object_call(self, tpe, key, arg, idempotency_key=None, headers=None)
understudy.Context.workflow_call(self, tpe, key, arg, idempotency_key=None, headers=None)
understudy.Context.service_send(self, tpe, arg, send_delay=None, idempotency_key=None, headers=None)
understudy.Context.object_send(self, tpe, key, arg, send_delay=None, idempotency_key=None, headers=None)
understudy.Context.workflow_send(self, tpe, key, arg, send_delay=None, idempotency_key=None, headers=None)
understudy.Context.generic_call(self, service, handler, arg, key=None, idempotency_key=None, headers=None, scope=None, \
limit_key=None)
understudy.Context.generic_send(self, service, handler, arg, key=None, send_delay=None, idempotency_key=None, \
headers=None, scope=None, limit_key=None)
understudy.Context.scope(self, scope)
understudy.ScopedContext.service_call(self, tpe, arg, limit_key=None, idempotency_key=None, headers=None)
understudy.ScopedContext.object_call(self, tpe, key, arg, limit_key=None, idempotency_key=None, headers=None)
understudy.ScopedContext.workflow_call(self, tpe, key, arg, limit_key=None, idempotency_key=None, headers=None)
understudy.ScopedContext.service_send(self, tpe, arg, send_delay=None, limit_key=None, idempotency_key=None, \
headers=None)
understudy.ScopedContext.object_send(self, tpe, key, arg, send_delay=None, limit_key=None, idempotency_key=None, \
headers=None)
understudy.ScopedContext.workflow_send(self, tpe, key, arg, send_delay=None, limit_key=None, idempotency_key=None, \
headers=None)
understudy.Context.awakeable(self, serde=..., type_hint=None)
understudy.Context.resolve_awakeable(self, name, value, serde=...)
understudy.Context.reject_awakeable(self, name, failure_message, failure_code=500)
understudy.Context.signal(self, name, serde=..., type_hint=None)
understudy.Context.resolve_signal(self, invocation_id, name, value, serde=...)
understudy.Context.reject_signal(self, invocation_id, name, failure_message, failure_code=500)
understudy.Context.cancel_invocation(self, invocation_id)
understudy.Context.attach_invocation(self, invocation_id, serde=..., type_hint=None)
understudy.Context.request(self)
understudy.Context.random(self)
understudy.Context.uuid(self)
understudy.Context.time(self)
understudy.ObjectSharedContext.get(self, name, serde=..., type_hint=None, entry_name=None)
understudy.ObjectSharedContext.state_keys(self, entry_name=None)
understudy.ObjectSharedContext.key(self)
understudy.ObjectContext.get(self, name, serde=..., type_hint=None, entry_name=None)
understudy.ObjectContext.set(self, name, value, serde=..., entry_name=None)
understudy.ObjectContext.clear(self, name, entry_name=None)
understudy.ObjectContext.clear_all(self, entry_name=None)
understudy.ObjectContext.state_keys(self, entry_name=None)
understudy.ObjectContext.key(self)
understudy.WorkflowContext.promise(self, name, serde=..., type_hint=None)
understudy.WorkflowContext.set(self, name, value, serde=..., entry_name=None)
understudy.WorkflowSharedContext.promise(self, name, serde=..., type_hint=None)
understudy.WorkflowSharedContext.get(self, name, serde=..., type_hint=None, entry_name=None)
understudy.DurablePromise.value(self)
understudy.DurablePromise.peek(self)
understudy.DurablePromise.resolve(self, value)
understudy.DurablePromise.reject(self, message, code=500)
understudy.DurablePromise.__await__(self)
understudy.context.Request(id, headers, attempt_headers, body, attempt_finished_event, scope=None, limit_key=None, \
idempotency_key=None)
understudy.SendHandle.invocation_id(self)
understudy.SendHandle.cancel_invocation(self)
understudy.RestateDurableFuture.__await__(self)
understudy.RestateDurableSleepFuture.__await__(self)
understudy.RestateDurableCallFuture.__await__(self)
understudy.RestateDurableCallFuture.invocation_id(self)
understudy.RestateDurableCallFuture.cancel_invocation(self)

understudy.gather(*futures)
understudy.select(**futures)
understudy.wait_completed(*futures)
understudy.as_completed(*futures)
understudy.RunOptions(serde=..., type_hint=None, max_attempts=None, max_duration=None, initial_retry_interval=None, \
max_retry_interval=None, retry_interval_factor=None, max_retry_duration=None)
understudy.TerminalError(message, status_code=500, metadata=None)
understudy.exceptions.TerminalError(message, status_code=500, metadata=None)
understudy.exceptions.RetryableError(message, status_code=500, retry_after=None)
understudy.exceptions.is_internal_exception(e)
understudy.is_internal_exception(e)

understudy.serde.Serde.serialize(self, obj)
understudy.serde.Serde.deserialize(self, buf)
understudy.serde.BytesSerde()
understudy.serde.JsonSerde()
understudy.serde.DefaultSerde(type_hint=None)
understudy.serde.PydanticJsonSerde(model)
understudy.serde.MsgspecJsonSerde(type)
understudy.JournalValueCodec.encode(self, buf)
understudy.JournalValueCodec.decode(self, buf)

understudy.extensions.current_context()
understudy.extensions.get_extension_data(ctx, key)
understudy.extensions.set_extension_data(ctx, key, value)
understudy.extensions.clear_extension_data(ctx, key)
understudy.extensions.contextvar(func)
understudy.getLogger(name=None)
understudy.RestateLoggingFilter.filter(self, record)

understudy.create_client(ingress, headers=None, journal_value_codec=None)
understudy.RestateClient.service_call(self, tpe, arg, idempotency_key=None, headers=None)
understudy.RestateClient.object_call(self, tpe, key, arg, idempotency_key=None, headers=None)
understudy.RestateClient.workflow_call(self, tpe, key, arg, idempotency_key=None, headers=None)
understudy.RestateClient.service_send(self, tpe, arg, send_delay=None, idempotency_key=None, headers=None)
understudy.RestateClient.object_send(self, tpe, key, arg, send_delay=None, idempotency_key=None, headers=None)
understudy.RestateClient.workflow_send(self, tpe, key, arg, send_delay=None, idempotency_key=None, headers=None)
understudy.RestateClient.generic_call(self, service, handler, arg, key=None, idempotency_key=None, headers=None)
understudy.RestateClient.generic_send(self, service, handler, arg, key=None, send_delay=None, idempotency_key=None, \
headers=None)
understudy.RestateClientSendHandle(invocation_id, status_code)
understudy.HttpError(status_code, message, body=None)
"""

# Whose first argument is known by position in the reference too: the name does not count.
BY_POSITION = {"PydanticJsonSerde", "MsgspecJsonSerde", "is_internal_exception"}

KINDS = {
    "understudy.SdkInternalBaseException": BaseException,
    "understudy.exceptions.SuspendedException": BaseException,
    "understudy.exceptions.SdkInternalException": BaseException,
    "understudy.TerminalError": Exception,
    "understudy.exceptions.RetryableError": Exception,
    "understudy.HttpError": Exception,
}


@attrs.frozen
class Parameter:
    """One argument as the table has it: `default` is a literal, `...` for any, `Parameter.empty` for none."""

    name: str
    kind: str
    default: Any = inspect.Parameter.empty


def parse(line: str) -> tuple[str, list[Parameter]]:
    """A line of the table: what is called, and with what."""
    dotted, _, rest = line.partition("(")
    function = ast.parse(f"def f({rest}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [inspect.Parameter.empty] * (len(positional) - len(given.defaults))
    values = [*defaults, *[ast.literal_eval(default) for default in given.defaults]]
    found = [Parameter(arg.arg, "positional", value) for arg, value in zip(positional, values, strict=True)]
    if given.vararg is not None:
        found.append(Parameter(given.vararg.arg, "args"))
    for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        assert default is not None
        found.append(Parameter(arg.arg, "keyword", ast.literal_eval(default)))
    if given.kwarg is not None:
        found.append(Parameter(given.kwarg.arg, "kwargs"))
    return dotted, found


def resolve(dotted: str) -> Any:
    """What *dotted* names; its modules are imported as a user would."""
    parts = dotted.split(".")
    found: Any = importlib.import_module(parts[0])
    for number, part in enumerate(parts[1:], 2):
        if not hasattr(found, part):
            importlib.import_module(".".join(parts[:number]))
        found = getattr(found, part)
        found = typing.get_origin(found) or found  # An alias like `Future[None]` stands for its class.
    return found


def accepted(function: Any) -> tuple[list[inspect.Parameter], Mapping[str, object], bool]:
    """The arguments *function* takes by position, those it takes by keyword, and whether it takes any keyword."""
    positional, keywords, takes_any = [], dict[str, object](), False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            options = typing.get_args(eval(parameter.annotation, vars(sys.modules[function.__module__])))
            if options and typing.is_typeddict(options[0]):
                keywords |= dict.fromkeys(options[0].__optional_keys__, ...)
            else:
                takes_any = True
        elif parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = parameter.default
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            positional.append(parameter)
            keywords[parameter.name] = parameter.default
    return positional, keywords, takes_any


LINES = [line for line in SURFACE.replace("\\\n", "").splitlines() if line]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.partition("(")[0].removeprefix("understudy."))
def test_it_is_there_and_takes_what_is_written(line: str) -> None:
    dotted, wanted = parse(line)
    found = resolve(dotted)
    positional, keywords, takes_any = accepted(found)
    by_position = [parameter for parameter in wanted if parameter.kind == "positional"]
    names = [parameter.name for parameter in by_position]
    ours = [parameter.name for parameter in positional][: len(names)]
    assert ours == names or dotted.rpartition(".")[2] in BY_POSITION
    for parameter, own in zip(by_position, positional, strict=False):
        assert_default(parameter, own.default)
    for parameter in wanted:
        if parameter.kind == "keyword":
            assert_default(parameter, keywords[parameter.name])
        elif parameter.kind == "kwargs":
            assert takes_any
    listed = {parameter.name for parameter in wanted}
    for own in positional[len(names) :]:
        assert own.default is not own.empty, f"{own.name} has to be given here, and not there"
    assert all(
        default is not inspect.Parameter.empty or name in listed | set(ours) for name, default in keywords.items()
    )


def assert_default(wanted: Parameter, own: object) -> None:
    if wanted.default is inspect.Parameter.empty:
        return  # To be given there; that it may be left out here harms nobody.
    assert own is not inspect.Parameter.empty, f"{wanted.name} may be left out there, and not here"
    assert wanted.default is ... or own == wanted.default


@pytest.mark.parametrize("dotted", KINDS)
def test_exceptions_are_caught_where_they_were(dotted: str) -> None:
    found = resolve(dotted)
    assert issubclass(found, KINDS[dotted])
    assert issubclass(found, Exception) is (KINDS[dotted] is Exception), (
        "what ends an attempt passes `except Exception`"
    )


def test_all_that_is_public_is_there() -> None:
    import understudy

    assert [name for name in understudy.__all__ if not hasattr(understudy, name)] == []
    assert sorted(understudy.__all__) == sorted(set(understudy.__all__))
