"""An endpoint that answers only to the server whose key is in INTEROP_IDENTITY_KEY."""

from __future__ import annotations

import os

from understudy import Context, ObjectContext, Service, VirtualObject
from understudy import app as make_app

service = Service("Signed")
keyed = VirtualObject("SignedObject")


@service.handler("echo")
async def echo(ctx: Context, text: str) -> str:
    return text


@keyed.handler("key")
async def key(ctx: ObjectContext) -> str:
    return ctx.key()


app = make_app(services=[service, keyed], identity_keys=[os.environ["INTEROP_IDENTITY_KEY"]])
