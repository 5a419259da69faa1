"""HTTP/1.1 and HTTP/2 on trio streams: thin server loops, ASGI hosting, clients, and the transports to endpoints."""
