"""Every setting has an effect, and this table shows it: a key, a value, and what is different with it."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

import attrs
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from understudy.protocol import service_pb2 as pb
from understudy_runtime.cli.configuration import logging_of
from understudy_runtime.cli.host import Hosting
from understudy_runtime.cli.output import Logger
from understudy_runtime.cli.settings import gather, variable
from understudy_runtime.cli.table import HOST, SERVER
from understudy_runtime.model.invocation import Status
from understudy_runtime.recovery import SNAPSHOTS_SUFFIX

from tests.live.effects_app import app
from tests.live.processes import free_ports
from tests.live.settled import Settled, Terminal, settled, until
from tests.live.tap import Tap

QUICK: Final = MappingProxyType({"default-retry-policy.initial-interval": "20ms"})
# What the ingress and the admin say of a path that is nobody's.
NOWHERE: Final = (400, 404)
DEBUG: Final = MappingProxyType({"log-filter": "debug"})


@attrs.frozen
class Effect:
    """With *text*, and *also* the rest, `shows` holds.  `inside`: the services are in the server."""

    text: str
    shows: Callable[[Settled], Awaitable[None]]
    also: Mapping[str, str] = MappingProxyType({})
    inside: bool = True


# Places.


async def data_lies_there(server: Settled) -> None:
    assert server.world.disk.exists("format")
    assert server.world.disk.path_of("format").endswith("/elsewhere/format")


async def endpoints_hear_of_the_cluster(server: Settled) -> None:
    assert (await heard(server))["x-restate-cluster-name"] == "blue"


async def heard(server: Settled) -> dict[str, str]:
    """The headers of the first attempt at an endpoint."""
    await server.register(await server.host(), use_http_11=True)
    await server.ask("POST", "/Echo/echo", "x")
    return server.recorder.headers[-1]


async def three_partitions(server: Settled) -> None:
    assert len(server.node.partitions) == 3


async def both_ports_are_bound_there(server: Settled) -> None:
    for port in (server.ingress_port, server.admin_port):
        assert (await server.ask("GET", "/x", port=port, host="127.0.0.2")).status in NOWHERE
        with pytest.raises(OSError):
            await server.ask("GET", "/x", port=port)


async def the_name_is_let_in(server: Settled) -> None:
    for port in (server.ingress_port, server.admin_port):
        assert await named(port, "box.example") in NOWHERE
        assert await named(port, "evil.example") == 421


async def named(port: int, name: str) -> int:
    """The status of a request to *name*."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(f"GET /x HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        return int((await stream.receive_some(4096))[9:12])


async def snapshots_are_written(server: Settled) -> None:
    for number in range(40):
        await server.ask("POST", "/Box/k/put", f"{number}" + "x" * 4096)
    await until(lambda: server.world.disk.list_dir(f"partition-0{SNAPSHOTS_SUFFIX}"))


async def the_drain_does_not_wait(server: Settled) -> None:
    server.nursery.start_soon(server.send, "/Echo/hang")
    await until(lambda: server.node.invokers[0].running_count)
    with trio.fail_after(5):
        await server.drain()


# Logging.


async def a_failure_is_not_logged(server: Settled) -> None:
    invocation_id = await server.send("/Echo/fail")
    await server.ask("PATCH", f"/invocations/{invocation_id}/kill", port=server.admin_port)
    await until(lambda: not server.node.invokers[0].job_count)
    assert server.log == ""


async def lines_are_compact(server: Settled) -> None:
    assert 'level=info target=partition event="leadership taken"' in server.log


async def there_are_no_colours(server: Settled) -> None:
    assert "leadership taken" in server.log
    assert "\x1b" not in server.log


# Retention.


async def results_are_kept_for(server: Settled, path: str, ms: int, **headers: str) -> None:
    invocation_id = await server.send(path, **headers)
    await server.ask("GET", f"/restate/attach/{invocation_id}")
    known = server.node.known(invocation_id)
    assert known is not None
    assert known.expires_ms is not None
    left_ms = known.expires_ms - server.node.now_ms()
    assert ms - 60_000 < left_ms <= ms


async def results_are_kept_for_keys(server: Settled) -> None:
    await results_are_kept_for(server, "/Echo/echo", 7_200_000, idempotency_key="k")


async def results_of_workflows_are_kept(server: Settled) -> None:
    await results_are_kept_for(server, "/Flow/f/run", 7_200_000)


async def journals_are_kept(server: Settled) -> None:
    invocation_id = await server.send("/Echo/echo", "x", idempotency_key="k")
    await server.ask("GET", f"/restate/attach/{invocation_id}")
    tables = server.node.partition_for(invocation_id).tables
    invocation = tables.invocation(invocation_id)
    assert invocation is not None
    assert len(tables.entries(invocation)) >= 2


# Retries.


async def delays(server: Settled, count: int) -> list[int]:
    """The first *count* delays before a retry."""
    await server.send("/Echo/fail")
    await until(lambda: len(server.events("retry scheduled")) >= count)
    return [line["delay_ms"] for line in server.events("retry scheduled")][:count]


async def the_first_retry_comes_soon(server: Settled) -> None:
    (first,) = await delays(server, 1)
    assert 7 <= first <= 10


async def retries_do_not_slow_down(server: Settled) -> None:
    assert all(20 <= delay <= 27 for delay in await delays(server, 3))


async def retries_stop_slowing_down(server: Settled) -> None:
    assert all(20 <= delay <= 34 for delay in await delays(server, 4))


async def one_attempt_pauses(server: Settled) -> None:
    invocation_id = await server.send("/Echo/fail")
    await until(lambda: known_status(server, invocation_id) is Status.PAUSED)
    assert server.events("retry scheduled") == []


def known_status(server: Settled, invocation_id: str) -> Status | None:
    known = server.node.known(invocation_id)
    return None if known is None else known.status


async def the_last_attempt_kills(server: Settled) -> None:
    response = await server.ask("POST", "/Echo/fail", "deep down")
    assert response.status == 500
    assert b"deep down" in response.body


# Ports.


async def the_ingress_is_there(server: Settled) -> None:
    port = int(server.settings["ingress.bind-port"])
    assert (await server.ask("GET", "/restate/health", port=port)).status == 200


async def the_admin_is_there(server: Settled) -> None:
    port = int(server.settings["admin.bind-port"])
    assert (await server.ask("GET", "/health", port=port)).status == 200


def bound_at(host: str, part: str) -> Callable[[Settled], Awaitable[None]]:
    """Only *part*'s port is at *host*."""

    async def shows(server: Settled) -> None:
        ports = {"ingress": server.ingress_port, "admin": server.admin_port}
        for name, port in ports.items():
            other = "127.0.0.1" if name == part else host
            its = host if name == part else "127.0.0.1"
            assert (await server.ask("GET", "/x", port=port, host=its)).status in NOWHERE
            with pytest.raises(OSError):
                await server.ask("GET", "/x", port=port, host=other)

    return shows


async def others_are_told(server: Settled) -> None:
    version = json.loads((await server.ask("GET", "/version", port=server.admin_port)).body)
    assert version["ingress_endpoint"] == "http://box.example:1/"


async def a_second_request_is_too_many(server: Settled) -> None:
    server.nursery.start_soon(lambda: server.ask("POST", "/Echo/doze", 3_600_000))
    await until(lambda: server.node.invokers[0].job_count)
    assert (await server.ask("POST", "/Echo/echo", "x")).status == 429


async def a_long_request_is_refused(server: Settled) -> None:
    assert (await server.ask("POST", "/Echo/echo", "x" * 10)).status == 200
    assert (await server.ask("POST", "/Echo/echo", "x" * 101)).status == 413


async def the_admin_wants_the_token(server: Settled) -> None:
    assert (await server.ask("GET", "/health", port=server.admin_port)).status == 401
    given = await server.ask("GET", "/health", port=server.admin_port, authorization="Bearer t0ken")
    assert given.status == 200


# Attempts.


async def timers_beyond_the_limit_fire(server: Settled) -> None:
    """With room for two in memory, five still end."""
    invocations = [await server.send("/Echo/doze", 50 + number) for number in range(5)]
    assert server.node.limits.timers_max == 2
    for invocation_id in invocations:
        assert (await server.ask("GET", f"/restate/attach/{invocation_id}")).status in (200, 404)


async def a_call_of_oneself_is_refused(server: Settled) -> None:
    assert (await server.ask("POST", "/Box/k/call_itself", "never")).status == 409


async def a_quiet_attempt_is_suspended(server: Settled) -> None:
    await server.send("/Echo/doze", 3_600_000)
    await until(lambda: [line for line in server.events("attempt ended") if line["how"] == "suspended"])


async def a_deaf_attempt_is_cut(server: Settled) -> None:
    await server.send("/Echo/hang")
    await until(lambda: [line for line in server.events("attempt ended") if line["how"] == "failed"])


async def one_runs_and_one_waits(server: Settled) -> None:
    for _ in range(2):
        await server.send("/Echo/hang")
    invoker = server.node.invokers[0]
    await until(lambda: invoker.running_count)
    assert (invoker.running_count, invoker.job_count) == (1, 2)


async def a_long_message_fails_the_attempt(server: Settled) -> None:
    assert (await server.ask("POST", "/Echo/big", 10)).status == 200
    await server.send("/Echo/big", 2_000)
    await until(lambda: [line for line in server.events("attempt ended") if "1024" in line.get("detail", "")])


async def no_state_is_sent_along(server: Settled) -> None:
    await server.register(await server.host(), use_http_11=True)
    for _ in range(2):
        await server.ask("POST", "/Box/k/put", "kept")
    start = pb.Start.FromString(server.recorder.frames[-1][0].payload)
    assert start.partial_state
    assert not start.state_map


async def requests_are_signed(server: Settled) -> None:
    headers = await heard(server)
    assert headers["x-restate-signature-scheme"] == "v1"
    assert headers["x-restate-jwt-v1"]


async def requests_carry_the_header(server: Settled) -> None:
    headers = await heard(server)
    assert headers["x-tenant"] == "blue"
    assert headers["x-restate-cluster-name"] == "localcluster"


async def a_connection_that_does_not_open_is_given_up(server: Settled) -> None:
    await server.register(await server.host(), use_http_11=True)
    server.world.stuck = True
    await server.send("/Echo/echo")
    await until(lambda: [line for line in server.events("attempt ended") if line["how"] == "rejected"])


# HTTP/2 to endpoints.


async def tapped(server: Settled) -> Tap:
    """An endpoint behind a tap, registered, with one call made."""
    tap = Tap(await server.host())
    await server.nursery.start(tap.run)
    await server.register(tap.port)
    assert (await server.ask("POST", "/Echo/echo", "x")).status == 200
    return tap


async def connections_are_pinged(server: Settled) -> None:
    tap = await tapped(server)
    await server.send("/Echo/hang")
    await until(lambda: tap.pings >= 2)


async def a_connection_that_does_not_answer_pings_is_given_up(server: Settled) -> None:
    tap = await tapped(server)
    await server.send("/Echo/hang")
    await until(lambda: tap.pings)
    tap.silent = True
    await until(lambda: [line for line in server.events("attempt ended") if line["how"] == "lost"])


async def a_second_stream_opens_a_connection(server: Settled) -> None:
    tap = await tapped(server)
    before = tap.opened
    for _ in range(2):
        await server.send("/Echo/hang")
    await until(lambda: tap.opened == before + 1)


async def an_idle_connection_is_closed(server: Settled) -> None:
    tap = await tapped(server)
    await until(lambda: tap.opened == tap.closed)


INVOKER: Final = "worker.invoker."
RETRY: Final = "default-retry-policy."

EFFECTS: Final = MappingProxyType(
    {
        "base-dir": Effect("{folder}/elsewhere", data_lies_there),
        "cluster-name": Effect("blue", endpoints_hear_of_the_cluster, inside=False),
        "default-num-partitions": Effect("3", three_partitions),
        "bind-ip": Effect("127.0.0.2", both_ports_are_bound_there),
        "allowed-hosts": Effect("box.example", the_name_is_let_in),
        "snapshot-log-size": Effect("64 KiB", snapshots_are_written),
        "shutdown-timeout": Effect("100ms", the_drain_does_not_wait),
        "log-filter": Effect("error", a_failure_is_not_logged, QUICK),
        "log-format": Effect("compact", lines_are_compact),
        "log-disable-ansi-codes": Effect("true", there_are_no_colours, {"log-format": "pretty"}),
        "default-idempotency-retention": Effect("2h", results_are_kept_for_keys),
        "default-workflow-completion-retention": Effect("2h", results_of_workflows_are_kept),
        "default-journal-retention": Effect("2h", journals_are_kept),
        RETRY + "initial-interval": Effect("7ms", the_first_retry_comes_soon),
        RETRY + "exponentiation-factor": Effect("1.0", retries_do_not_slow_down, QUICK),
        RETRY + "max-interval": Effect("25ms", retries_stop_slowing_down, QUICK),
        RETRY + "max-attempts": Effect("1", one_attempt_pauses),
        RETRY + "on-max-attempts": Effect("kill", the_last_attempt_kills, {RETRY + "max-attempts": "1"}),
        "ingress.bind-port": Effect("{port}", the_ingress_is_there),
        "ingress.bind-ip": Effect("127.0.0.2", bound_at("127.0.0.2", "ingress")),
        "ingress.bind-address": Effect("127.0.0.3:0", bound_at("127.0.0.3", "ingress")),
        "ingress.advertised-address": Effect("http://box.example:1", others_are_told),
        "ingress.concurrent-api-requests-limit": Effect("1", a_second_request_is_too_many),
        "ingress.request-size-limit": Effect("100", a_long_request_is_refused),
        "admin.bind-port": Effect("{port}", the_admin_is_there),
        "admin.bind-ip": Effect("127.0.0.2", bound_at("127.0.0.2", "admin")),
        "admin.bind-address": Effect("127.0.0.3:0", bound_at("127.0.0.3", "admin")),
        "admin.token": Effect("t0ken", the_admin_wants_the_token),
        "worker.num-timers-in-memory-limit": Effect("2", timers_beyond_the_limit_fire),
        "worker.refuse-deadlocks": Effect("true", a_call_of_oneself_is_refused),
        INVOKER + "inactivity-timeout": Effect("20ms", a_quiet_attempt_is_suspended, DEBUG),
        INVOKER + "abort-timeout": Effect("20ms", a_deaf_attempt_is_cut, {INVOKER + "inactivity-timeout": "20ms"}),
        INVOKER + "concurrent-invocations-limit": Effect("1", one_runs_and_one_waits),
        INVOKER + "message-size-limit": Effect("1 KiB", a_long_message_fails_the_attempt),
        INVOKER + "eager-state-size-limit": Effect("0", no_state_is_sent_along, inside=False),
        INVOKER + "disable-eager-state": Effect("true", no_state_is_sent_along, inside=False),
        INVOKER + "request-identity-private-key-pem-file": Effect(
            "{folder}/key.pem", requests_are_signed, inside=False
        ),
        INVOKER + "additional-request-headers": Effect(
            '{ x-tenant = "blue" }', requests_carry_the_header, inside=False
        ),
        INVOKER + "connect-timeout": Effect("500ms", a_connection_that_does_not_open_is_given_up, inside=False),
        INVOKER + "http2-keep-alive-interval": Effect("20ms", connections_are_pinged, inside=False),
        INVOKER + "http2-keep-alive-timeout": Effect(
            "500ms",
            a_connection_that_does_not_answer_pings_is_given_up,
            {INVOKER + "http2-keep-alive-interval": "20ms"},
            inside=False,
        ),
        INVOKER + "http2-streams-per-connection-limit": Effect("1", a_second_stream_opens_a_connection, inside=False),
        INVOKER + "http2-idle-connection-timeout": Effect("20ms", an_idle_connection_is_closed, inside=False),
    }
)


def test_every_setting_has_an_effect_to_show():
    assert set(EFFECTS) == {row.key for row in SERVER}


@pytest.mark.parametrize("key", EFFECTS)
async def test_the_effect_of(key, tmp_path):
    effect = EFFECTS[key]
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(private)
    text = effect.text.replace("{folder}", str(tmp_path)).replace("{port}", str(free_ports(1)[0]))
    settings = {**effect.also, key: text}
    log = Terminal() if key == "log-disable-ansi-codes" else io.StringIO()
    async with settled(tmp_path, settings, inside=effect.inside, log=log) as server:
        await effect.shows(server)


async def test_every_address_means_both_families(tmp_path):
    async with settled(tmp_path, {"ingress.bind-ip": "::"}) as server:
        for host in ("127.0.0.1", "::1"):
            assert (await server.ask("GET", "/restate/health", host=host)).status == 200


async def test_a_terminal_gets_colours_otherwise(tmp_path):
    async with settled(tmp_path, {"log-format": "pretty"}, log=Terminal()) as server:
        assert "\x1b" in server.log


@pytest.mark.parametrize("text", ["", "-----BEGIN X-----", None])
async def test_a_bad_signing_key_stops_the_start_by_name(tmp_path, text):
    path = tmp_path / "key.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BaseExceptionGroup) as stopped:
        async with settled(tmp_path, {INVOKER + "request-identity-private-key-pem-file": str(path)}, inside=False):
            pass
    assert stopped.group_contains(ValueError, match=r"key\.pem")


async def test_the_settings_of_an_endpoint(nursery):
    environment = {variable("host.bind-ip"): "127.0.0.4", variable("host.bind-port"): "0"}
    values = gather(HOST, flags={}, environment=environment, file=None)
    hosting = Hosting(app, values, Logger(logging_of(values), io.StringIO()))
    drain = await hosting.start(nursery)
    assert hosting.port > 0
    stream = await trio.open_tcp_stream("127.0.0.4", hosting.port)
    await stream.aclose()
    with pytest.raises(OSError):
        await trio.open_tcp_stream("127.0.0.1", hosting.port)
    await drain()
