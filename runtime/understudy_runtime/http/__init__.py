"""HTTP/1.1 on trio streams: a thin server loop, ASGI hosting on it, a client, and the transport to endpoints."""
