"""The stream network:

trio's own conformance kit, order and completeness under arbitrary cuts, and every way to break.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_sim.kernel.choices import DrawnChoices, SeededChoices
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.network import Slowness
from understudy_sim.kernel.pipes import SimExchange, SimStream

S = 1_000_000_000


def run(main: Callable[[Kernel], Any], seed: int = 1) -> Any:
    with Kernel(SeededChoices(seed)) as kernel:
        return kernel.run(main, kernel).value()


async def idle() -> None:
    await trio.sleep_forever()


async def stream_pair(kernel: Kernel) -> tuple[SimStream, SimStream]:
    """A connection from host "left" to host "right"."""
    left, right = kernel.process("left"), kernel.process("right")
    for process in (left, right):
        if not process.alive:
            process.start(idle)
    listener = kernel.network.listen(right, 0)
    ends: list[SimStream] = []

    async def accept() -> None:
        ends.append(await listener.accept())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        near = await kernel.network.dial(left, "right", listener.port)
    listener.close()
    return near, ends[0]


async def exchange_pair(kernel: Kernel) -> tuple[SimExchange, SimExchange]:
    left, right = kernel.process("left"), kernel.process("right")
    for process in (left, right):
        if not process.alive:
            process.start(idle)
    listener = kernel.network.listen(right, 0, exchanges=True)
    near = await kernel.network.dial_exchange(left, "right", listener.port)
    return near, await listener.accept()


@pytest.mark.parametrize("seed", range(3))
def test_streams_pass_trio_s_own_conformance_kit(seed: int) -> None:
    async def main(kernel: Kernel) -> None:
        async def plain() -> tuple[SimStream, SimStream]:
            return await stream_pair(kernel)

        async def clogged() -> tuple[SimStream, SimStream]:
            near, far = await stream_pair(kernel)
            for end in (near, far):
                await end.send_all(bytes(kernel.network.profile.window))
            return near, far

        kernel.network.profile.tail_thousandths = 0
        await trio.testing.check_half_closeable_stream(plain, clogged)

    run(main, seed)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(st.binary(max_size=300), max_size=12), st.integers(1, 400))
def test_bytes_arrive_whole_and_in_order(data: st.DataObject, pieces: list[bytes], limit: int) -> None:
    async def main(kernel: Kernel) -> bytes:
        kernel.network.profile.window = 100
        kernel.network.profile.split_thousandths = 500
        near, far = await stream_pair(kernel)
        received = bytearray()

        async def send() -> None:
            for piece in pieces:
                await near.send_all(piece)
            await near.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while True:
                chunk = await far.receive_some(limit)
                assert len(chunk) <= limit
                if not chunk:
                    return bytes(received)
                received += chunk
        raise AssertionError("unreachable")

    with Kernel(DrawnChoices(data)) as kernel:
        assert kernel.run(main, kernel).value() == b"".join(pieces)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(), max_size=20))
def test_an_exchange_keeps_order(seed: int, items: list[int]) -> None:
    async def main(kernel: Kernel) -> list[int]:
        near, far = await exchange_pair(kernel)
        for item in items:
            near.send(item)
        near.close_send()
        received = []
        try:
            while True:
                received.append(await far.receive())
        except trio.EndOfChannel:
            return received

    assert run(main, seed) == items


def test_a_partition_holds_what_is_sent_until_it_heals() -> None:
    async def main(kernel: Kernel) -> None:
        near, far = await stream_pair(kernel)
        kernel.network.block("left", "right")
        await near.send_all(b"held")
        await far.send_all(b"the way back is open")
        received = b""
        while received != b"the way back is open":
            received += await near.receive_some()
        with trio.move_on_after(5) as scope:
            await far.receive_some()
        assert scope.cancelled_caught, "nothing came through"
        kernel.network.unblock("left", "right")
        received = b""
        while received != b"held":
            received += await far.receive_some()
        assert kernel.network.touched["held left>right"] >= 1

    run(main)


def test_a_connection_that_cannot_deliver_for_long_is_reset() -> None:
    async def main(kernel: Kernel) -> None:
        near, far = await stream_pair(kernel)
        kernel.network.block("left", "right")
        await near.send_all(b"held")
        for end in (near, far):
            with pytest.raises(trio.BrokenResourceError):
                await end.receive_some()
        assert kernel.now_ns >= kernel.network.profile.cut_timeout_ns
        assert not kernel.network.connections

    run(main)


def test_connecting_can_be_refused_time_out_and_miss() -> None:
    async def main(kernel: Kernel) -> None:
        left = kernel.process("left")
        left.start(idle)
        right = kernel.process("right")
        right.start(idle)
        listener = kernel.network.listen(right, 80)
        with pytest.raises(OSError, match="taken") as taken:
            kernel.network.listen(right, 80)
        assert taken.value.errno == errno.EADDRINUSE
        with pytest.raises(ConnectionRefusedError):
            await kernel.network.dial(left, "right", 81)
        with pytest.raises(OSError, match="no host"):
            await kernel.network.dial(left, "nowhere", 80)
        kernel.network.refuse("right")
        with pytest.raises(ConnectionRefusedError):
            await kernel.network.dial(left, "right", 80)
        kernel.network.unrefuse("right")
        for way in (("left", "right"), ("right", "left")):
            kernel.network.block(*way)
            with pytest.raises(TimeoutError):
                await kernel.network.dial(left, "right", 80)
            kernel.network.unblock(*way)
        stream = await kernel.network.dial(left, "right", 80)
        await stream.aclose()
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            await kernel.network.dial(left, "right", 80)

    run(main)


def test_a_full_backlog_lets_connects_time_out() -> None:
    async def main(kernel: Kernel) -> None:
        kernel.network.profile.backlog = 1
        left, right = kernel.process("left"), kernel.process("right")
        left.start(idle)
        right.start(idle)
        kernel.network.listen(right, 80)
        await kernel.network.dial(left, "right", 80)
        with pytest.raises(TimeoutError):
            await kernel.network.dial(left, "right", 80)

    run(main)


@pytest.mark.parametrize("silent", [False, True])
def test_the_peer_of_a_cut_process_learns_of_it_at_once_or_by_keep_alive(silent: bool) -> None:
    async def main(kernel: Kernel) -> None:
        kernel.network.profile.silent_crash_thousandths = 1000 if silent else 0
        near, _ = await stream_pair(kernel)
        began_ns = kernel.now_ns
        kernel.process("right").crash()
        with pytest.raises(trio.BrokenResourceError):
            await near.receive_some()
        took_ns = kernel.now_ns - began_ns
        keepalive_ns = kernel.network.profile.keepalive_ns
        assert (took_ns >= keepalive_ns) is silent
        with pytest.raises(trio.BrokenResourceError):
            await near.send_all(b"x")

    run(main)


def test_a_restarted_host_resets_what_its_dead_process_had_open() -> None:
    async def main(kernel: Kernel) -> None:
        kernel.network.profile.silent_crash_thousandths = 1000
        kernel.network.profile.keepalive_ns = 0
        near, _ = await stream_pair(kernel)
        kernel.process("right").crash()
        kernel.process("right").start(idle)
        await near.send_all(b"anybody there?")
        with pytest.raises(trio.BrokenResourceError):
            await near.receive_some()

    run(main)


async def orderly_end(kernel: Kernel, unread: bool, close_first: bool) -> bytes:
    """What "left" reads of a process on "right" that wrote something and exited."""
    left, right = kernel.process("left"), kernel.process("right")
    left.start(idle)

    async def serve() -> None:
        stream = await kernel.network.listen(right, 80).accept()
        await stream.send_all(b"bye")
        if close_first:
            await stream.aclose()
        await trio.sleep(1)

    right.start(serve)
    await trio.sleep(0.1)
    near = await kernel.network.dial(left, "right", 80)
    if unread:
        await near.send_all(b"never read")
    await trio.sleep(60)
    assert not right.alive
    received = b""
    while chunk := await near.receive_some():
        received += chunk
    return received


@pytest.mark.parametrize("close_first", [False, True])
def test_an_exit_ends_streams_in_order(close_first: bool) -> None:
    async def main(kernel: Kernel) -> bytes:
        return await orderly_end(kernel, unread=False, close_first=close_first)

    assert run(main) == b"bye"


def test_an_exit_with_unread_input_resets() -> None:
    async def main(kernel: Kernel) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await orderly_end(kernel, unread=True, close_first=False)

    run(main)


def test_a_host_that_is_up_answers_for_its_dead_process() -> None:
    async def main(kernel: Kernel) -> None:
        near, _ = await stream_pair(kernel)
        kernel.process("right").crash(power=False)
        assert await near.receive_some() == b""
        await near.send_all(b"anybody there?")
        await trio.sleep(1)
        with pytest.raises(trio.BrokenResourceError):
            await near.send_all(b"x")

    run(main)


def test_a_half_open_connection_loses_everything_silently() -> None:
    async def main(kernel: Kernel) -> None:
        kernel.network.profile.keepalive_ns = 0
        near, far = await stream_pair(kernel)
        near.connection.half_open()
        await near.send_all(b"lost")
        await near.send_eof()
        with trio.move_on_after(3600) as scope:
            await far.receive_some()
        assert scope.cancelled_caught
        assert near.connection.swallowed >= 1

    run(main)


def test_what_was_on_the_wire_arrives_before_the_end_of_a_crashed_sender() -> None:
    async def main(kernel: Kernel) -> bytes:
        kernel.network.profile.silent_crash_thousandths = 0
        near, far = await stream_pair(kernel)
        await near.send_all(b"last words")
        kernel.process("left").crash()
        received = b""
        while received != b"last words":
            received += await far.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some()
        return received

    assert run(main) == b"last words"


@pytest.mark.parametrize("ordinal", [1, 3, 5])
def test_a_hook_can_cut_the_power_at_the_kth_send(ordinal: int) -> None:
    async def main(kernel: Kernel) -> list[int]:
        kernel.network.profile.silent_crash_thousandths = 0
        near, far = await exchange_pair(kernel)

        def cut(number: int) -> None:
            if number == ordinal:
                kernel.process("left").crash()

        kernel.network.on_send = cut
        for item in range(10):
            near.send(item)
        received = []
        try:
            while True:
                received.append(await far.receive())
        except trio.BrokenResourceError:
            return received

    assert run(main) == list(range(ordinal - 1))


def test_a_slow_link_takes_its_time_one_way() -> None:
    async def main(kernel: Kernel) -> None:
        near, far = await stream_pair(kernel)
        kernel.network.slow("left", "right", Slowness(extra_ns=S, bytes_per_s=1_000))
        kernel.network.profile.split_thousandths = 0
        began_ns = kernel.now_ns
        await near.send_all(bytes(2_000))
        assert len(await far.receive_some()) == 2_000
        assert 3 * S <= kernel.now_ns - began_ns < 4 * S
        kernel.network.unslow("left", "right")
        began_ns = kernel.now_ns
        await near.send_all(b"quick")
        await far.receive_some()
        assert kernel.now_ns - began_ns < S

    run(main)


def test_a_sender_waits_for_room_in_the_window() -> None:
    async def main(kernel: Kernel) -> None:
        kernel.network.profile.window = 1_000
        near, far = await stream_pair(kernel)
        with trio.move_on_after(60) as scope:
            await near.send_all(bytes(5_000))
        assert scope.cancelled_caught, "nobody reads"
        received = 0
        while received < 1_000:
            received += len(await far.receive_some())
        assert received == 1_000, "no more than a window was sent"

    run(main)


def test_closing_with_unread_input_resets_the_peer() -> None:
    async def main(kernel: Kernel) -> None:
        near, far = await stream_pair(kernel)
        await near.send_all(b"never read")
        await kernel.sleep_ns(S)
        await far.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await near.receive_some()

    run(main)


def test_data_for_a_closed_end_is_answered_with_a_reset() -> None:
    async def main(kernel: Kernel) -> None:
        near, far = await stream_pair(kernel)
        await far.aclose()
        assert await near.receive_some() == b""
        await near.send_all(b"too late")
        await kernel.sleep_ns(S)
        with pytest.raises(trio.BrokenResourceError):
            await near.send_all(b"x")

    run(main)


def test_who_has_said_a_last_word_can_still_reset() -> None:
    async def main(kernel: Kernel) -> list[str]:
        near, far = await exchange_pair(kernel)
        seen: list[str] = []
        with trio.CancelScope() as work:
            far.on_reset(work.cancel)
            near.send("a request")
            near.close_send()
            assert await far.receive() == "a request"
            with pytest.raises(trio.EndOfChannel):
                await far.receive()
            far.send("an answer")
            near.reset()
            await trio.sleep_forever()
        with pytest.raises(trio.BrokenResourceError):
            await far.receive()
        seen.append("cut")
        stream, peer = await stream_pair(kernel)
        await stream.send_eof()
        assert await peer.receive_some() == b""
        stream.reset()
        await trio.sleep(1)
        with pytest.raises(trio.BrokenResourceError):
            await peer.receive_some()
        return [*seen, "reset"]

    assert run(main) == ["cut", "reset"]


def test_unmodified_trio_networking_reaches_simulated_hosts() -> None:
    async def server() -> None:
        async def shout(stream: trio.SocketStream) -> None:
            async for data in stream:
                await stream.send_all(data.upper())

        await trio.serve_tcp(shout, 8080)

    async def client() -> bytes:
        await trio.sleep(1)
        stream = await trio.open_tcp_stream("server", 8080)
        async with stream:
            await stream.send_all(b"hello")
            await stream.send_eof()
            received = b""
            async for data in stream:
                received += data
        with pytest.raises(OSError, match="connect to server:81 failed"):
            await trio.open_tcp_stream("server", 81)
        with pytest.raises(OSError, match=r"no host 'example\.org'"):
            await trio.open_tcp_stream("example.org", 80)
        return received

    async def main(kernel: Kernel) -> Any:
        results: list[Any] = []
        kernel.process("server").start(server)
        kernel.process("client").start(client, on_exit=lambda _, result: results.append(result))
        await trio.sleep(60)
        return results[0].unwrap()

    assert run(main) == b"HELLO"


def test_a_wait_for_a_real_descriptor_is_refused() -> None:
    async def main(kernel: Kernel) -> None:
        with pytest.raises(RuntimeError, match=r"trio\.open_tcp_stream"):
            await trio.lowlevel.wait_readable(0)

    run(main)
