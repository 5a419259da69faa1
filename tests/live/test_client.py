"""The SDK's client against a real `understudy dev`, under both schedulers."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest
from understudy import Client, HttpError, create_client

from tests.live import services


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_calls_and_sends_from_outside(server, backend):
    async def use(client: Client) -> None:
        assert await client.service_call(services.greet, "bob") == "hi bob"
        key = f"from {backend}/../%2F"
        assert await client.object_call(services.add, key, 2) == 2
        again = [await client.object_call(services.add, key, 3, idempotency_key="once") for _ in range(2)]
        assert again == [5, 5]
        sent = [await client.object_send(services.add, key, 1, idempotency_key="sent") for _ in range(2)]
        assert sent[0].invocation_id == sent[1].invocation_id
        later = await client.object_send(services.add, key, 1, send_delay=timedelta(hours=1))
        assert later.invocation_id != sent[0].invocation_id
        assert await client.generic_call("Greeter", "greet", b'"ann"', headers={"content-type": "application/json"})
        with pytest.raises(HttpError) as caught:
            await client.service_call(services.fail, 418)
        assert caught.value.status_code == 418

    async def main() -> None:
        async with create_client(f"http://127.0.0.1:{server.ingress_port}") as client:
            await use(client)

    anyio.run(main, backend=backend)
