"""Objects with state: a counter, a list under one state key, a map of one state key an entry."""

from __future__ import annotations

from typing import Any

from understudy import ObjectContext, ObjectSharedContext, TerminalError, VirtualObject

from tests.interop.services.options import LAZY_STATE

counter = VirtualObject("Counter", enable_lazy_state=LAZY_STATE)
list_object = VirtualObject("ListObject", enable_lazy_state=LAZY_STATE)
map_object = VirtualObject("MapObject", enable_lazy_state=LAZY_STATE)

COUNT = "counter"
LIST = "list"


# --- counter ------------------------------------------------------------------------------------------------


@counter.handler("add")
async def add(ctx: ObjectContext, value: int) -> dict[str, int]:
    old = await ctx.get(COUNT, type_hint=int) or 0
    ctx.set(COUNT, old + value)
    return {"oldValue": old, "newValue": old + value}


@counter.handler("addThenFail")
async def add_then_fail(ctx: ObjectContext, value: int) -> None:
    await add(ctx, value)
    raise TerminalError(ctx.key())


@counter.handler("get", kind="shared")
async def get_count(ctx: ObjectSharedContext) -> int:
    return await ctx.get(COUNT, type_hint=int) or 0


@counter.handler("reset")
async def reset(ctx: ObjectContext) -> None:
    ctx.clear(COUNT)


# --- list ---------------------------------------------------------------------------------------------------


@list_object.handler("append")
async def append(ctx: ObjectContext, value: str) -> None:
    ctx.set(LIST, [*(await ctx.get(LIST, type_hint=list) or []), value])


@list_object.handler("get")
async def get_list(ctx: ObjectContext) -> list[str]:
    return await ctx.get(LIST, type_hint=list) or []


@list_object.handler("clear")
async def clear(ctx: ObjectContext) -> list[str]:
    found = await ctx.get(LIST, type_hint=list) or []
    ctx.clear(LIST)
    return found


# --- map ----------------------------------------------------------------------------------------------------


@map_object.handler("set")
async def set_entry(ctx: ObjectContext, entry: dict[str, str]) -> None:
    ctx.set(entry["key"], entry["value"])


@map_object.handler("get")
async def get_entry(ctx: ObjectContext, key: str) -> str:
    return await ctx.get(key, type_hint=str) or ""


@map_object.handler("clearAll")
async def clear_all(ctx: ObjectContext) -> list[dict[str, Any]]:
    entries = [{"key": key, "value": await ctx.get(key, type_hint=str)} for key in await ctx.state_keys()]
    ctx.clear_all()
    return entries
