"""Serve an ASGI app as the official SDK's examples do: hypercorn, one process, HTTP/2 without TLS, limits out of reach.

hypercorn closes a connection after 1,000 requests unless told otherwise, under whatever invocations run on it; the
official examples lift that, and so does this.

    python -m tests.bench.serve_app tests.bench.services:app 127.0.0.1:9080
"""

from __future__ import annotations

import asyncio
import importlib
import sys

from hypercorn import Config
from hypercorn.asyncio import serve

UNREACHABLE = 2**31 - 1


def main() -> None:
    """The command line: what to serve, and where."""
    target, bind = sys.argv[1:]
    module, _, attribute = target.partition(":")
    config = Config()
    config.bind = [bind]
    config.backlog = 4096
    config.h2_max_concurrent_streams = UNREACHABLE
    config.keep_alive_max_requests = UNREACHABLE
    config.keep_alive_timeout = UNREACHABLE
    asyncio.run(serve(getattr(importlib.import_module(module), attribute), config))


if __name__ == "__main__":
    main()
