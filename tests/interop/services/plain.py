"""Services without state: a proxy that calls whatever it is asked to, and a box of small tools."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from understudy import BytesSerde, Context, Service, gather

proxy = Service("Proxy")
test_utils = Service("TestUtilsService")


# --- proxy --------------------------------------------------------------------------------------------------


def call_target(ctx: Context, request: dict[str, Any]) -> Any:
    """Start the call *request* describes; its result is bytes."""
    return ctx.generic_call(
        request["serviceName"],
        request["handlerName"],
        bytes(request["message"]),
        request.get("virtualObjectKey"),
        idempotency_key=request.get("idempotencyKey"),
    )


def send_target(ctx: Context, request: dict[str, Any]) -> Any:
    """Send off what *request* describes."""
    delay = request.get("delayMillis")
    return ctx.generic_send(
        request["serviceName"],
        request["handlerName"],
        bytes(request["message"]),
        request.get("virtualObjectKey"),
        send_delay=None if delay is None else timedelta(milliseconds=delay),
        idempotency_key=request.get("idempotencyKey"),
    )


@proxy.handler("call")
async def call(ctx: Context, request: dict[str, Any]) -> list[int]:
    return list(await call_target(ctx, request))


@proxy.handler("oneWayCall")
async def one_way_call(ctx: Context, request: dict[str, Any]) -> str:
    invocation_id: str = await send_target(ctx, request).invocation_id()
    return invocation_id


@proxy.handler("manyCalls")
async def many_calls(ctx: Context, requests: list[dict[str, Any]]) -> None:
    later = []
    for request in requests:
        if request["oneWayCall"]:
            send_target(ctx, request["proxyRequest"])
        elif request["awaitAtTheEnd"]:
            later.append(call_target(ctx, request["proxyRequest"]))
        else:
            await call_target(ctx, request["proxyRequest"])
    for future in later:
        await future


# --- tools --------------------------------------------------------------------------------------------------


@test_utils.handler("echo")
async def echo(ctx: Context, text: str) -> str:
    return text


@test_utils.handler("uppercaseEcho")
async def uppercase_echo(ctx: Context, text: str) -> str:
    return text.upper()


@test_utils.handler("echoHeaders")
async def echo_headers(ctx: Context) -> dict[str, str]:
    return dict(ctx.request().headers)


@test_utils.handler(
    "rawEcho",
    accept="*/*",
    content_type="application/octet-stream",
    input_serde=BytesSerde(),
    output_serde=BytesSerde(),
)
async def raw_echo(ctx: Context, body: bytes) -> bytes:
    return body


@test_utils.handler("sleepConcurrently")
async def sleep_concurrently(ctx: Context, durations_ms: list[int]) -> None:
    await gather(*[ctx.sleep(timedelta(milliseconds=duration)) for duration in durations_ms])


@test_utils.handler("countExecutedSideEffects")
async def count_executed_side_effects(ctx: Context, increments: int) -> int:
    executed: list[str] = []

    def execute() -> None:
        executed.append("once more")

    for _ in range(increments):
        await ctx.run_typed("count", execute)
    return len(executed)


@test_utils.handler("cancelInvocation")
async def cancel_invocation(ctx: Context, invocation_id: str) -> None:
    ctx.cancel_invocation(invocation_id)


@test_utils.handler("resolveSignal")
async def resolve_signal(ctx: Context, request: dict[str, str]) -> None:
    ctx.resolve_signal(request["invocationId"], request["signalName"], request["value"])


@test_utils.handler("rejectSignal")
async def reject_signal(ctx: Context, request: dict[str, str]) -> None:
    ctx.reject_signal(request["invocationId"], request["signalName"], request["reason"])
