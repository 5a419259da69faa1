"""Names that a handler gives its state entries: journaled, and compared in a replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from understudy.protocol.messages import MessageType as T

from tests.sdk.fakes import start
from tests.sdk.playing import play, said

ENTRY_NAMES: Mapping[str, Callable[[Any, str], Any]] = {
    "get": lambda ctx, name: ctx.get("k", entry_name=name),
    "set": lambda ctx, name: ctx.set("k", 1, entry_name=name),
    "clear": lambda ctx, name: ctx.clear("k", entry_name=name),
    "clear_all": lambda ctx, name: ctx.clear_all(entry_name=name),
    "state_keys": lambda ctx, name: ctx.state_keys(entry_name=name),
}


@pytest.mark.parametrize("is_partial", [False, True])
@pytest.mark.parametrize("step", ENTRY_NAMES)
async def test_entries_can_be_named_and_the_name_is_compared(step: str, is_partial: bool) -> None:
    async def handle(ctx: Any) -> None:
        ENTRY_NAMES[step](ctx, name)

    name = "one"
    link = await play(handle, *start(partial_state=is_partial))
    command = link.sent[0]
    assert said(link)[0].name == "one"  # type: ignore[attr-defined]
    again = await play(handle, *start(b"", command, partial_state=is_partial))
    assert again.types() == [T.OUTPUT, T.END]
    name = "two"
    differs = await play(handle, *start(b"", command, partial_state=is_partial))
    assert differs.types() == [T.ERROR]
