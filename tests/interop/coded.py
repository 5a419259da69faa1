"""An endpoint whose values pass through a codec that never writes the same bytes twice."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

from understudy import Context, JournalValueCodec, ObjectContext, Service, VirtualObject
from understudy import app as make_app

MAGIC = b"\x00coded"
NUMBERS = count()

service = Service("Coded")
keyed = VirtualObject("CodedObject")


class Numbering(JournalValueCodec):
    """Reverses, behind a number that grows."""

    def encode(self, value: bytes) -> bytes:
        return MAGIC + next(NUMBERS).to_bytes(8, "big") + value[::-1]

    async def decode(self, value: bytes) -> bytes:
        assert value.startswith(MAGIC), value
        return value[len(MAGIC) + 8 :][::-1]


@keyed.handler("remember")
async def remember(ctx: ObjectContext, word: str) -> str:
    before = await ctx.get("word", type_hint=str) or "nothing"
    ctx.set("word", word)
    await ctx.sleep(timedelta(milliseconds=1))
    return f"{before}, {await ctx.get('word', type_hint=str)}"


@service.handler("mix")
async def mix(ctx: Context, word: str) -> list[str]:
    name, awakeable = ctx.awakeable(type_hint=str)
    ctx.resolve_awakeable(name, f"{word} awaited")
    step = await ctx.run_typed("step", lambda: f"{word} made")
    first = await ctx.object_call(remember, key=word, arg="one")
    await ctx.sleep(timedelta(milliseconds=1))
    second = await ctx.object_call(remember, key=word, arg="two")
    return [step, first, second, await awakeable]


app = make_app(services=[service, keyed], journal_value_codec=Numbering())
