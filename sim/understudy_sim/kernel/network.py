"""The stream network: who reaches whom, how late, and what is cut.  Hosts are process names.

Connections are ordered and lose nothing while they live, as TCP; a partition holds what arrives until it
heals or the connection times out.  Faults act through the few methods under "Faults"; nothing else in here
draws a fault.  `network.connections` lists the live connections by number, oldest first.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import outcome
import trio
from trio.lowlevel import Abort, current_task, wait_task_rescheduled

from understudy_sim.kernel.choices import Choices, Stream
from understudy_sim.kernel.clock import NS_PER_MS, NS_PER_S
from understudy_sim.kernel.loop import Loop, ProcessRunner, Timer
from understudy_sim.kernel.pipes import Connection, Control, Door, Pipe, SimExchange, SimStream, Tap

if TYPE_CHECKING:
    from understudy_sim.kernel.process import Process

_FIRST_FREE_PORT: Final = 30_000


@attrs.define
class Profile:
    """How the network behaves when nothing is wrong.  Drawn once per run by whoever owns the run."""

    latency_low_ns: int = NS_PER_MS // 10
    latency_high_ns: int = 2 * NS_PER_MS
    tail_thousandths: int = 10  # How often a chunk takes up to `tail_factor` times longer.
    tail_factor: int = 20
    split_thousandths: int = 200  # How often a sent piece arrives in two or more chunks, cut at any byte.
    window: int = 65_536  # Bytes unread before a sender waits.
    backlog: int = 64
    connect_timeout_ns: int = 3 * NS_PER_S
    cut_timeout_ns: int = 15 * NS_PER_S  # A connection that could not deliver for so long is reset.
    keepalive_ns: int = 30 * NS_PER_S  # When an end notices that its peer is silently gone; 0: never.
    silent_crash_thousandths: int = 300  # How often the peers of a cut process are told nothing.


@attrs.define
class Slowness:
    """A slow link: extra latency, and a bandwidth in bytes per second."""

    extra_ns: int
    bytes_per_s: int


class Listener:
    """A bound port.  `accept` gives streams, or exchanges when it was opened for them."""

    def __init__(self, network: Network, runner: ProcessRunner, port: int, exchanges: bool) -> None:
        self._network = network
        self.runner = runner
        self._port = port
        self.exchanges = exchanges
        self.closed = False
        self._waiting: deque[Any] = deque()
        self._acceptors: deque[Any] = deque()

    @property
    def port(self) -> int:
        """The port, also when any was asked for."""
        return self._port

    @property
    def full(self) -> bool:
        """Whether the backlog has no room."""
        return len(self._waiting) >= self._network.profile.backlog

    def offer(self, end: SimStream | SimExchange) -> None:
        """A peer connected."""
        assert not self.closed, "a closed listener refuses"
        self._waiting.append(end)
        if self._acceptors:
            task = self._acceptors.popleft()
            task._runner.reschedule(task)

    async def accept(self) -> Any:
        """Wait for the next stream (or exchange).  Raises trio.ClosedResourceError after `aclose`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._waiting:
            if self.closed:
                raise trio.ClosedResourceError("this listener was closed")
            task = current_task()
            self._acceptors.append(task)

            def abort(_: object, task: Any = task) -> Abort:
                self._acceptors.remove(task)
                return Abort.SUCCEEDED

            await wait_task_rescheduled(abort)
        return self._waiting.popleft()

    def close(self) -> None:
        """Stop listening; peers not yet accepted are reset.  Twice does nothing."""
        if self.closed:
            return
        self.closed = True
        self._network.unbind(self)
        while self._waiting:
            self._waiting.popleft().reset()
        while self._acceptors:
            task = self._acceptors.popleft()
            task._runner.reschedule(task)

    async def aclose(self) -> None:
        """Like `close`, with a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()


class Network:
    """See the module.  One per kernel."""

    def __init__(self, loop: Loop, choices: Choices, processes: dict[str, Process]) -> None:
        self.profile = Profile()
        self.connections: dict[int, Connection] = {}
        self.sends = 0
        self.on_send: Callable[[int], object] | None = None  # Told the ordinal before each; it may cut the sender.
        self.tap: Tap | None = None
        self.door: Door | None = None
        self.bytes_delivered = 0
        self.items_delivered = 0
        self._loop = loop
        self._choices = choices
        self._processes = processes
        self._listeners: dict[tuple[str, int], Listener] = {}
        self._links: dict[tuple[str, str], Stream] = {}
        self._blocked: dict[tuple[str, str], int] = {}
        self._slow: dict[tuple[str, str], Slowness] = {}
        self._refusing: dict[str, int] = {}
        self._hanging: dict[str, int] = {}
        self._unknown: dict[str, int] = {}
        self._stopped: dict[tuple[str, str], list[Callable[[], object]]] = {}  # held links: connects that wait
        self.jitter: Callable[[], int] | None = None  # More ns for each chunk while a jitter fault lasts.
        self.extra_latency_ns = 0  # Added to everything while a latency fault lasts.
        self.touched: Counter[str] = Counter()  # How often a fault made a difference, by what it did and where.
        self._connection_last = 0
        self._trace = loop.trace.extend
        self._head_bytes = loop.trace.head("net.bytes", 3)
        self._head_control = loop.trace.head("net.control", 3)
        self._head_item = loop.trace.head("net.item", 2)
        self._port_next = _FIRST_FREE_PORT

    @property
    def hosts(self) -> dict[str, Process]:
        """Every process there ever was, by name."""
        return self._processes

    # Opening

    def listen(self, process: Process, port: int, *, exchanges: bool = False) -> Listener:
        """Bind *port* on *process*'s host (0: any free one).  Raises OSError when it is taken."""
        if port == 0:
            port = self._port_next
            self._port_next += 1
        key = (process.name, port)
        if key in self._listeners:
            raise OSError(errno.EADDRINUSE, f"port {port} of host {process.name!r} is taken")
        listener = self._listeners[key] = Listener(self, process.runner, port, exchanges)
        return listener

    def unbind(self, listener: Listener) -> None:
        """Free a listener's port."""
        key = (listener.runner.process.name, listener.port)
        if self._listeners.get(key) is listener:
            del self._listeners[key]

    def listens(self, host: str, port: int) -> bool:
        """Whether somebody listens there."""
        return (host, port) in self._listeners

    async def dial(self, process: Process, host: str, port: int) -> SimStream:
        """Open a byte stream.  Raises OSError: refused, timed out, or no such host."""
        stream = await self._dial(process, host, port, exchange=False)
        assert isinstance(stream, SimStream)
        return stream

    async def dial_exchange(self, process: Process, host: str, port: int) -> SimExchange:
        """Open an exchange of objects with a listener opened for exchanges.  Raises OSError like `dial`."""
        exchange = await self._dial(process, host, port, exchange=True)
        assert isinstance(exchange, SimExchange)
        return exchange

    async def _dial(self, process: Process, host: str, port: int, *, exchange: bool) -> SimStream | SimExchange:
        if not self.knows(host):
            raise OSError(errno.EHOSTUNREACH, f"there is no host {host!r} in this run")
        attempt = _Attempt(self, process.runner, host, port, exchange)
        return await attempt.run()

    def connect(self, attempt: _Attempt) -> tuple[Connection | None, OSError | None]:
        """Decide what *attempt* meets: a connection, a refusal, or nothing at all (both None)."""
        target = self._processes[attempt.host]
        stream = self.link(attempt.runner.process.name, attempt.host)
        if attempt.host in self._refusing:
            self.touch("refused", attempt.host)
            return None, _refused(attempt)
        if attempt.host in self._hanging:
            self.touch("hung", attempt.host)
            return None, None
        listener = self._listeners.get((attempt.host, attempt.port))
        if listener is None:
            silent = not target.alive and stream.integer(0, 3) == 3
            return None, None if silent else _refused(attempt)
        if listener.full:
            return None, None
        assert listener.exchanges == attempt.exchange, "streams meet streams and exchanges meet exchanges"
        self._connection_last += 1
        connection = Connection(
            self,
            self._loop,
            self._connection_last,
            attempt.runner,
            listener.runner,
            self.profile.window,
            attempt.exchange,
        )
        self.connections[connection.number] = connection
        self._loop.trace.note("net.open", connection.number, self._loop.now_ns, attempt.host, attempt.port)
        kind = SimExchange if attempt.exchange else SimStream
        listener.offer(kind(connection, connection.forward))
        return connection, None

    # What pipes ask (the Wire)

    @property
    def keepalive_ns(self) -> int:
        """After how long an end notices that its peer is silently gone; 0: never."""
        return self.profile.keepalive_ns

    def link(self, source: str, target: str) -> Stream:
        """The stream of draws for *source* to *target*: one recorded decision per link."""
        key = (source, target)
        stream = self._links.get(key)
        if stream is None:
            stream = self._links[key] = self._choices.stream(f"net.{source}>{target}")
        return stream

    def split(self, pipe: Pipe, data: bytes) -> list[bytes]:
        """Cut *data* at any byte, sometimes."""
        if len(data) < 2 or self.profile.split_thousandths == 0:
            return [data]
        stream = self.link(*pipe.link)
        chunks = []
        while len(data) > 1 and stream.chance(self.profile.split_thousandths):
            cut = stream.integer(1, len(data) - 1)
            chunks.append(data[:cut])
            data = data[cut:]
        chunks.append(data)
        return chunks

    def delay_ns(self, pipe: Pipe, size: int) -> int:
        """Latency of one chunk, slowness included."""
        return self._latency_ns(pipe.link, size)

    def _latency_ns(self, link: tuple[str, str], size: int) -> int:
        profile = self.profile
        stream = self._links.get(link)
        if stream is None:
            stream = self.link(*link)
        delay_ns = stream.integer(profile.latency_low_ns, profile.latency_high_ns)
        if profile.tail_thousandths and stream.chance(profile.tail_thousandths):
            delay_ns *= stream.integer(1, profile.tail_factor)
        slow = self._slow.get(link)
        if self.extra_latency_ns:
            self.touch("late", "")
            delay_ns += self.extra_latency_ns
        if self.jitter is not None:
            self.touch("jitter", "")
            delay_ns += self.jitter()
        if slow is not None:
            self.touch("slow", f"{link[0]}>{link[1]}")
            delay_ns += slow.extra_ns + size * NS_PER_S // slow.bytes_per_s
        return delay_ns

    def holds(self, pipe: Pipe) -> bool:
        """Whether a partition keeps *pipe*'s chunks; the first one kept starts the connection's timeout."""
        if not self._blocked or pipe.link not in self._blocked:
            return False
        self.touch("held", f"{pipe.link[0]}>{pipe.link[1]}")
        if pipe.link in self._stopped:
            return True  # Not for long: nobody loses patience.
        self._loop.call_at(self._loop.now_ns + self.profile.cut_timeout_ns, self._cut_if_held, pipe)
        return True

    def _cut_if_held(self, pipe: Pipe) -> None:
        if pipe.held and pipe.link in self._blocked:
            self._loop.trace.note("net.cut", pipe.number, self._loop.now_ns)
            pipe.connection.reset()

    def delivered(self, pipe: Pipe, item: object) -> None:
        """Count and trace an arrival."""
        if self.tap is not None:
            self.tap.arrived(pipe, item)
        if isinstance(item, bytes):
            self.bytes_delivered += len(item)
            self._trace((self._head_bytes, pipe.number, self._loop.now_ns, zlib.crc32(item)))
        elif isinstance(item, Control):
            self._trace((self._head_control, pipe.number, self._loop.now_ns, item.value))
        else:
            self.items_delivered += 1
            self._trace((self._head_item, pipe.number, self._loop.now_ns))

    def gone(self, connection: Connection) -> None:
        """Forget a finished connection."""
        self.connections.pop(connection.number, None)

    def process_down(self, process: Process, runner: ProcessRunner, power: bool) -> None:
        """A process ended: its ports are free, its peers learn of it or, after a power cut, sometimes not."""
        for listener in [one for one in self._listeners.values() if one.runner is runner]:
            listener.closed = True
            self.unbind(listener)
        for connection in list(self.connections.values()):
            if connection.forward.writer is runner or connection.backward.writer is runner:
                stream = self.link(process.name, process.name)
                silent = power and stream.chance(self.profile.silent_crash_thousandths)
                connection.process_died(runner, power=power, silent=silent)

    # Faults

    def touch(self, what: str, where: str) -> None:
        """Count that a fault made a difference: *what* it did, and *where* (a host, or source>target)."""
        self.touched[f"{what} {where}"] += 1

    def touches(self, what: str, *where: str) -> int:
        """How often faults did *what* in all of these places so far."""
        return sum(self.touched[f"{what} {one}"] for one in where)

    def block(self, source: str, target: str) -> None:
        """Hold everything from *source* to *target*.  Blocks nest."""
        self._blocked[(source, target)] = self._blocked.get((source, target), 0) + 1

    def unblock(self, source: str, target: str) -> None:
        """Undo one `block`; when it was the last, what was held goes on."""
        count = self._blocked.get((source, target), 0)
        assert count > 0, f"{source} to {target} is not blocked"
        if count > 1:
            self._blocked[(source, target)] = count - 1
            return
        del self._blocked[(source, target)]
        for connection in list(self.connections.values()):
            for pipe in (connection.forward, connection.backward):
                if pipe.held and pipe.link == (source, target):
                    pipe.release()

    def blocked(self, source: str, target: str, then: Callable[[], object] | None = None) -> bool:
        """Whether something keeps a connect packet from *source* to *target*; *then* is called if it goes on later."""
        if (source, target) not in self._blocked:
            return False
        self.touch("held", f"{source}>{target}")
        if then is not None and (source, target) in self._stopped:
            self._stopped[(source, target)].append(then)
        return True

    def stop(self, source: str, target: str) -> bool:
        """Hold everything from *source* to *target*, connects as well, until `let_go`.  False when that is so."""
        if (source, target) in self._stopped:
            return False
        self._stopped[(source, target)] = []
        self.block(source, target)
        return True

    def let_go(self, links: Sequence[tuple[str, str]], order: Callable[[list[Pipe]], list[Pipe]]) -> None:
        """Undo `stop` of *links*: what was held arrives at once, pipe by pipe in the *order* given."""
        pipes: list[Pipe] = []
        connects: list[Callable[[], object]] = []
        for link in links:
            connects += self._stopped.pop(link)
            if self._blocked[link] > 1:
                self.unblock(*link)  # Somebody else holds it, too.
                continue
            del self._blocked[link]
            both = ((one.forward, one.backward) for one in self.connections.values())
            pipes += [pipe for ends in both for pipe in ends if pipe.held and pipe.link == link]
        for pipe in order(pipes):
            pipe.release_at_once()
        for connect in connects:
            connect()

    def hang(self, host: str) -> None:
        """Lose what asks *host* for a new connection.  Nests."""
        self._hanging[host] = self._hanging.get(host, 0) + 1

    def unhang(self, host: str) -> None:
        """Undo one `hang`."""
        _count_down(self._hanging, host)

    def knows(self, host: str) -> bool:
        """Whether the name *host* can be resolved now."""
        if host in self._unknown:
            self.touch("unknown", host)
            return False
        return host in self._processes

    def forget(self, host: str) -> None:
        """Let nobody resolve the name *host*.  Nests."""
        self._unknown[host] = self._unknown.get(host, 0) + 1

    def remember(self, host: str) -> None:
        """Undo one `forget`."""
        _count_down(self._unknown, host)

    def slow(self, source: str, target: str, slowness: Slowness) -> None:
        """Make a link slow, one way."""
        assert slowness.bytes_per_s > 0, "a link of no bandwidth is a partition"
        self._slow[(source, target)] = slowness

    def unslow(self, source: str, target: str) -> None:
        """Make it as fast as before."""
        self._slow.pop((source, target), None)

    def refuse(self, host: str) -> None:
        """Refuse new connections to *host*.  Refusals nest."""
        self._refusing[host] = self._refusing.get(host, 0) + 1

    def unrefuse(self, host: str) -> None:
        """Undo one `refuse`."""
        _count_down(self._refusing, host)

    def between(self, source: str, target: str) -> list[Connection]:
        """Live connections between two hosts, either way round, oldest first."""
        pair = {(source, target), (target, source)}
        return [one for one in self.connections.values() if one.link in pair]

    def heal(self) -> None:
        """End every partition, slow link and refusal, and whatever else hurts."""
        if self._stopped:
            self.let_go(list(self._stopped), list)
        for source, target in list(self._blocked):
            self._blocked[(source, target)] = 1
            self.unblock(source, target)
        self._slow.clear()
        self._refusing.clear()
        self._hanging.clear()
        self._unknown.clear()
        self.extra_latency_ns = 0
        self.jitter = None

    def is_hurt(self) -> bool:
        """Whether any fault is in force."""
        lasting = (self._blocked, self._slow, self._refusing, self._hanging, self._unknown, self._stopped)
        return any(lasting) or self.extra_latency_ns > 0 or self.jitter is not None


class _Attempt:
    """One connect: a packet there, an answer back, or a timeout."""

    def __init__(self, network: Network, runner: ProcessRunner, host: str, port: int, exchange: bool) -> None:
        self._network = network
        self.runner = runner
        self.host = host
        self.port = port
        self.exchange = exchange
        self._loop = network._loop
        self._task: Any = None
        self._connection: Connection | None = None
        self._timeout: Timer | None = None

    async def run(self) -> SimStream | SimExchange:
        """Dial.  Raises OSError."""
        if self.runner.dead:
            await trio.sleep_forever()
        loop, name = self._loop, self.runner.process.name
        self._task = current_task()
        loop.call_at(loop.now_ns + self._network._latency_ns((name, self.host), 0), self._arrive)
        deadline_ns = loop.now_ns + self._network.profile.connect_timeout_ns
        self._timeout = loop.call_at(deadline_ns, self._time_out, None, self.runner)

        def abort(_: object) -> Abort:
            self._give_up()
            return Abort.SUCCEEDED

        connection: Connection = await wait_task_rescheduled(abort)
        kind = SimExchange if self.exchange else SimStream
        return kind(connection, connection.backward)

    def _arrive(self, _: object) -> None:
        name = self.runner.process.name
        if self._task is None or self.runner.dead or self._network.blocked(name, self.host, lambda: self._arrive(None)):
            return
        connection, refusal = self._network.connect(self)
        self._connection = connection
        if connection is None and refusal is None:
            return
        answer: outcome.Outcome[Any] = outcome.Error(refusal) if refusal is not None else outcome.Value(connection)
        delay_ns = self._network._latency_ns((self.host, name), 0)
        self._loop.call_at(self._loop.now_ns + delay_ns, self._answer, answer, self.runner)

    def _answer(self, answer: outcome.Outcome[Any]) -> None:
        if self._task is None:
            return
        if self._network.blocked(self.host, self.runner.process.name, lambda: self._answer(answer)):
            return
        task, self._task = self._task, None
        if self._timeout is not None:
            self._loop.cancel_timer(self._timeout)
        self._connection = None
        self.runner.reschedule(task, answer)

    def _time_out(self, _: object) -> None:
        task = self._task
        if task is None:
            return
        self._give_up()
        text = f"connecting to {self.host}:{self.port} timed out"
        self.runner.reschedule(task, outcome.Error(TimeoutError(errno.ETIMEDOUT, text)))

    def _give_up(self) -> None:
        self._task = None
        if self._timeout is not None:
            self._loop.cancel_timer(self._timeout)
        if self._connection is not None:
            self._connection.reset()
            self._connection = None


def _count_down(counts: dict[str, int], host: str) -> None:
    count = counts.get(host, 0)
    assert count > 0, f"{host}: nothing to undo"
    if count > 1:
        counts[host] = count - 1
    else:
        del counts[host]


def _refused(attempt: _Attempt) -> ConnectionRefusedError:
    text = f"{os.strerror(errno.ECONNREFUSED)}: {attempt.host}:{attempt.port}"
    return ConnectionRefusedError(errno.ECONNREFUSED, text)
