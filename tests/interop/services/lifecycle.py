"""Invocations to be paused, resumed, restarted, attached to and cancelled with all they called.

The policies stand at the service and at the handler; a third handler has none and takes the server's.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from understudy import Context, InvocationRetryPolicy, Service, TerminalError, gather

from tests.interop.services.objects import add
from tests.interop.services.waiting import CANCELLED, FOR_EVER

SOON = timedelta(milliseconds=10)
KEPT = timedelta(hours=1)

lifecycle = Service(
    "Lifecycle",
    journal_retention=KEPT,
    invocation_retry_policy=InvocationRetryPolicy(initial_interval=SOON, max_attempts=2, on_max_attempts="pause"),
)
by_default = Service("LifecycleByDefault", journal_retention=KEPT)


class Attempts:
    """What this process remembers of attempts, outside the journal, on purpose."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._permitted: set[str] = set()

    def count(self, name: str) -> int:
        """Count one more attempt of *name*; how many that makes."""
        self._counts[name] = self._counts.get(name, 0) + 1
        return self._counts[name]

    def begin(self, name: str) -> str:
        """Count one more attempt of *name*; fails until it is permitted."""
        count = self.count(name)
        if name not in self._permitted:
            raise ValueError(f"attempt {count} of {name} fails")
        return f"attempt {count}"

    def permit(self, name: str) -> int:
        """From now on attempts of *name* succeed; how many have failed."""
        self._permitted.add(name)
        return self._counts.get(name, 0)


ATTEMPTS = Attempts()


# --- failing until permitted --------------------------------------------------------------------------------


@lifecycle.handler("permit")
async def permit(ctx: Context, name: str) -> int:
    return ATTEMPTS.permit(name)


@lifecycle.handler("pausedAfterTwo")
async def paused_after_two(ctx: Context, name: str) -> str:
    return ATTEMPTS.begin(name)


@lifecycle.handler(
    "killedAfterThree",
    invocation_retry_policy=InvocationRetryPolicy(initial_interval=SOON, max_attempts=3, on_max_attempts="kill"),
)
async def killed_after_three(ctx: Context, name: str) -> str:
    return ATTEMPTS.begin(name)


@lifecycle.handler(
    "retriedInAnHour", invocation_retry_policy=InvocationRetryPolicy(initial_interval=KEPT, max_interval=KEPT)
)
async def retried_in_an_hour(ctx: Context, name: str) -> str:
    return ATTEMPTS.begin(name)


@by_default.handler("asTheServerSays")
async def as_the_server_says(ctx: Context, name: str) -> str:
    return ATTEMPTS.begin(name)


# --- waiting for others -------------------------------------------------------------------------------------


@lifecycle.handler("attachTo")
async def attach_to(ctx: Context, invocation_id: str) -> Any:
    try:
        return await ctx.attach_invocation(invocation_id, type_hint=str)
    except TerminalError as error:
        return f"failed with {error.status_code}"


@lifecycle.handler("twoSteps")
async def two_steps(ctx: Context, name: str) -> list[str]:
    """A value that a restart from behind its run keeps, and one that every run draws anew."""
    first = await ctx.run_typed("first", lambda: f"execution {ATTEMPTS.count(name)}")
    drawn = str(ctx.uuid())
    await ctx.sleep(timedelta(milliseconds=20))
    return [first, drawn]


@lifecycle.handler("tree")
async def tree(ctx: Context, request: dict[str, Any]) -> None:
    """Two children a level; at the leaves a sleep without end.  A cancel is counted on the way up, at every level."""
    name, depth = request["name"], request["depth"]
    try:
        if depth == 0:
            ctx.object_send(add, key=f"{name}-leaves", arg=1)
            await ctx.sleep(FOR_EVER)
        children = [ctx.service_call(tree, {"name": name, "depth": depth - 1}) for _ in range(2)]
        await gather(*children)
        for child in children:
            await child
    except TerminalError as error:
        if error.status_code == CANCELLED:
            ctx.object_send(add, key=f"{name}-compensated", arg=1)
        raise
