"""One body for every World: the operating system and the simulated one.

A *place* is a machine: `play(life, …)` runs each life in a process of its own, one after the other, on the same disk.
Each process ends in order, so what was synced and named must be there in the next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import outcome
import pytest
import trio
from understudy_runtime import world as ports
from understudy_runtime.real_world import RealWorld
from understudy_runtime.world import DiskLocked, World
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.stage.world import Host, SimWorld

Life = Callable[[World], Awaitable[None]]


class RealPlace:
    """This machine, with its data in one folder."""

    address = "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def play(self, *lives: Life) -> None:
        for life in lives:
            world = RealWorld(self.folder)
            try:
                trio.run(life, world)
            finally:
                world.disk.unlock()


class SimPlace:
    """A simulated machine without faults."""

    address = "server"

    def play(self, *lives: Life) -> None:
        with Kernel(SeededChoices(7), disk_errors=ports) as kernel:
            host = Host(kernel, SeededChoices(7), self.address)
            kernel.run(self._main, host, lives).value()

    async def _main(self, host: Host, lives: tuple[Life, ...]) -> None:
        for life in lives:
            (await self._live(host, life)).unwrap()

    async def _live(self, host: Host, life: Life) -> outcome.Outcome[Any]:
        ended = trio.Event()
        results: list[outcome.Outcome[Any]] = []

        async def run() -> None:
            await life(SimWorld(host))

        def exited(process: Any, result: outcome.Outcome[Any]) -> None:
            results.append(result)
            ended.set()

        host.process.start(run, on_exit=exited)
        await ended.wait()
        return results[0]


@pytest.fixture(params=["real", "simulated"])
def place(request, tmp_path):
    return RealPlace(tmp_path / "data") if request.param == "real" else SimPlace()


def write(world: World, path: str, data: bytes, offset: int = 0) -> Any:
    file = world.disk.open(path, create=True)
    file.pwrite(offset, data)
    return file


def read(world: World, path: str) -> bytes:
    file = world.disk.open(path)
    try:
        return file.pread(0, file.size())
    finally:
        file.close()


def test_what_was_synced_and_named_is_there_in_the_next_life(place):
    async def first(world: World) -> None:
        world.disk.make_dir("a/b")
        world.disk.make_dir("a/b")
        file = write(world, "a/b/f", b"hello")
        await file.fdatasync()
        file.close()
        for folder in ("a/b", "a", ""):
            await world.disk.sync_dir(folder)

    async def second(world: World) -> None:
        assert read(world, "a/b/f") == b"hello"
        assert world.disk.list_dir("a/b") == ["f"]

    place.play(first, second)


def test_files_read_back_what_was_written(place):
    async def life(world: World) -> None:
        file = write(world, "f", b"abc", offset=2)
        assert file.size() == 5
        assert file.pread(0, 100) == b"\x00\x00abc"
        assert file.pread(3, 1) == b"b"
        assert file.pread(5, 1) == b""
        assert file.pread(50, 1) == b""
        file.pwrite(0, b"xy")
        assert file.pread(0, 5) == b"xyabc"
        file.truncate(1)
        assert (file.size(), file.pread(0, 5)) == (1, b"x")
        file.truncate(3)
        assert file.pread(0, 5) == b"x\x00\x00"
        file.close()
        assert read(world, "f") == b"x\x00\x00"

    place.play(life)


def test_names(place):
    async def life(world: World) -> None:
        disk = world.disk
        with pytest.raises(FileNotFoundError):
            disk.open("missing")
        assert disk.list_dir("nowhere") == []
        assert not disk.exists("b")
        for name in ("b", "a", "c"):
            write(world, name, name.encode()).close()
        assert disk.list_dir("") == ["a", "b", "c"]
        disk.rename("a", "b")
        assert (disk.exists("a"), read(world, "b")) == (False, b"a")
        disk.unlink("c")
        assert disk.list_dir("") == ["b"]
        write(world, "b", b"longer").close()
        assert read(world, "b") == b"longer"

    place.play(life)


def test_the_lock_is_let_go_when_the_process_ends(place):
    async def life(world: World) -> None:
        world.disk.lock("lock")

    place.play(life, life)


def test_stores_keep_their_commits(place):
    async def first(world: World) -> None:
        store = world.open_storage("p")
        assert store.applied_lsn() == 0
        store.commit({b"k": b"v", b"l": b"w"}, 3)
        store.commit({b"l": None}, 4)
        store.close()

    async def second(world: World) -> None:
        store = world.open_storage("p")
        assert (store.applied_lsn(), store.get(b"k"), store.get(b"l")) == (4, b"v", None)
        assert world.open_storage("q").applied_lsn() == 0
        store.close()

    place.play(first, second)


def test_clock_entropy_and_threads(place):
    async def life(world: World) -> None:
        assert world.now_ms() > 1_600_000_000_000
        assert world.entropy(0) == b""
        assert len(world.entropy(12)) == 12
        assert world.entropy(16) != world.entropy(16)
        assert await world.run_sync(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await world.run_sync(lambda: 1 // 0)

    place.play(life)


def test_streams_carry_bytes_both_ways_and_end_one_side_at_a_time(place):
    async def life(world: World) -> None:
        listener = await world.listen(place.address, 0)
        assert listener.port > 0

        async def serve() -> None:
            stream = await listener.accept()
            got = b""
            while data := await stream.receive_some(1000):
                got += bytes(data)
            await stream.send_all(got[::-1])
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            stream = await world.dial(place.address, listener.port)
            await stream.send_all(b"x" * 100_000 + b"end")
            await stream.send_eof()
            got = b""
            while data := await stream.receive_some(1000):
                got += bytes(data)
            assert got == b"dne" + b"x" * 100_000
            await stream.aclose()
        await listener.aclose()

    place.play(life)


def test_an_address_is_taken_once_and_free_again_after_close(place):
    async def life(world: World) -> None:
        listener = await world.listen(place.address, 0)
        port = listener.port
        with pytest.raises(OSError):
            await world.listen(place.address, port)
        await listener.aclose()
        again = await world.listen(place.address, port)
        await again.aclose()

    place.play(life)


def test_nobody_listens(place):
    async def life(world: World) -> None:
        listener = await world.listen(place.address, 0)
        port = listener.port
        await listener.aclose()
        with pytest.raises(OSError):
            await world.dial(place.address, port)

    place.play(life)


def test_a_closed_listener_tells_whoever_waits(place):
    async def life(world: World) -> None:
        listener = await world.listen(place.address, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_closed, listener)
            await trio.sleep(0.01)
            await listener.aclose()
        await expect_closed(listener)

    async def expect_closed(listener: Any) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()

    place.play(life)


def test_a_stream_whose_peer_has_gone_breaks(place):
    async def life(world: World) -> None:
        listener = await world.listen(place.address, 0)
        stream = await world.dial(place.address, listener.port)
        theirs = await listener.accept()
        await theirs.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await send_for_ever(stream)
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")
        await listener.aclose()

    place.play(life)


async def send_for_ever(stream: trio.abc.SendStream) -> None:
    while True:
        await stream.send_all(b"x" * 10_000)
        await trio.sleep(0.001)


# The operating system only.


def test_the_data_folder_is_private_and_held_once(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    first, second = RealWorld(folder), RealWorld(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    first.disk.lock("lock")
    with pytest.raises(DiskLocked, match="another process"):
        second.disk.lock("lock")
    first.disk.unlock()
    second.disk.lock("lock")
    second.disk.unlock()


@pytest.mark.parametrize("host", ["a..b", "x" * 64, ".a"])
def test_what_cannot_be_the_name_of_a_host_is_not_reached(tmp_path, host):
    async def dial() -> None:
        with pytest.raises(OSError, match="not the name of a host"):
            await RealWorld(tmp_path / "data").dial(host, 1)

    trio.run(dial)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x"])
def test_paths_stay_in_the_folder(tmp_path, path):
    with pytest.raises(AssertionError):
        RealWorld(tmp_path / "data").disk.open(path)
