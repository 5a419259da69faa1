"""HTTP/1.1 on trio streams: a thin server loop, ASGI hosting on the same loop, a client, and the transport to endpoints."""
