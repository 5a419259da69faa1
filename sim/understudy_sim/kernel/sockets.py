"""Lets unmodified trio and anyio network code reach simulated hosts: `trio.open_tcp_stream(host, port)` and
what is built on it.

trio has public hooks for this (a socket factory and a name resolver, kept per run and so per process).  A
`SimSocket` is a stream socket in name only: it holds a `SimStream`.  Host names are process names; each gets
an address in 10.0.0.0/8 when it is first asked for, in order, and `localhost` is the process itself.
"""

from __future__ import annotations

import errno
import socket as stdlib
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from understudy_sim.kernel.network import Listener, Network
from understudy_sim.kernel.pipes import SimStream

if TYPE_CHECKING:
    from understudy_sim.kernel.process import Process

_LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0", "")
Address = tuple[str, int]


class AddressBook:
    """Addresses of hosts, given in the order of first use."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._hosts: dict[str, str] = {}

    def address(self, host: str) -> str:
        """*host*'s address."""
        found = self._addresses.get(host)
        if found is None:
            number = len(self._addresses) + 1
            assert number < 2**24, "the network has room for 16 million hosts"
            found = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            self._addresses[host] = found
            self._hosts[found] = host
        return found

    def host(self, address: str) -> str:
        """The host that has *address*; an unknown one is taken for a name."""
        return self._hosts.get(address, address)


class SimSockets(trio.abc.HostnameResolver, trio.abc.SocketFactory):
    """The resolver and socket factory of one process."""

    def __init__(self, network: Network, book: AddressBook, process: Process) -> None:
        self.network = network
        self.book = book
        self.process = process

    def socket(self, family: int = stdlib.AF_INET, type: int = stdlib.SOCK_STREAM, proto: int = 0) -> SimSocket:
        """trio.socket.socket: stream sockets only."""
        if type != stdlib.SOCK_STREAM:
            raise OSError(errno.EPROTONOSUPPORT, "the simulated network carries streams only, no datagrams")
        if family != stdlib.AF_INET:
            raise OSError(errno.EAFNOSUPPORT, "the simulated network has IPv4 addresses only")
        return SimSocket(self, family, proto)

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """One IPv4 address for a host of this run.  Raises socket.gaierror for any other name."""
        name = host.decode("ascii") if host is not None else "localhost"
        if name not in _LOCAL and not self.network.knows(name):
            raise stdlib.gaierror(stdlib.EAI_NONAME, f"there is no host {name!r} in this run")
        await trio.lowlevel.checkpoint()
        number = int(port) if port is not None else 0
        address = self.book.address(self.process.name if name in _LOCAL else name)
        return [(stdlib.AF_INET, stdlib.SOCK_STREAM, stdlib.IPPROTO_TCP, "", (address, number))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """The host's name, and the port as text."""
        await trio.lowlevel.checkpoint()
        return self.book.host(sockaddr[0]), str(sockaddr[1])

    def numeric(self, host: str | None, port: str | int | None) -> list[Any]:
        """What getaddrinfo finds for *host* if it is an address that was given out; nothing where it is a name."""
        if host is None or self.book.host(host) == host:
            return []
        return [(stdlib.AF_INET, stdlib.SOCK_STREAM, stdlib.IPPROTO_TCP, "", (host, int(port or 0)))]

    def host_of(self, address: str) -> str:
        """The process name behind an address or name."""
        return self.process.name if address in _LOCAL else self.book.host(address)


class SimSocket(trio.socket.SocketType):
    """What trio's SocketStream and SocketListener ask of a socket."""

    def __init__(self, sockets: SimSockets, family: int, proto: int) -> None:
        self._sockets = sockets
        self._family = family
        self._proto = proto
        self._stream: SimStream | None = None
        self._listener: Listener | None = None
        self._local: Address = ("0.0.0.0", 0)
        self._peer: Address | None = None
        self._closed = False
        self._sent_eof = False

    @classmethod
    def over(cls, sockets: SimSockets, stream: SimStream, peer: Address) -> SimSocket:
        """A socket that is connected to *peer* by *stream*."""
        made = cls(sockets, stdlib.AF_INET, 0)
        made._stream, made._peer = stream, peer
        made._local = (sockets.book.address(sockets.process.name), 0)
        return made

    @property
    def family(self) -> Any:
        """The address family asked for."""
        return stdlib.AddressFamily(self._family)

    @property
    def type(self) -> Any:
        """A stream."""
        return stdlib.SOCK_STREAM

    @property
    def proto(self) -> int:
        """The protocol asked for."""
        return self._proto

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802  # trio's name.
        """Whether this side has sent its end."""
        return self._sent_eof

    def fileno(self) -> int:
        """-1 once closed.  There is no descriptor: a wait for it is refused."""
        return -1 if self._closed else 2**30

    def setsockopt(self, *args: Any) -> None:
        """Options make no difference here."""

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> Any:
        """Whether it listens, else 0."""
        listening = level == stdlib.SOL_SOCKET and optname == stdlib.SO_ACCEPTCONN and self._listener is not None
        return int(listening)

    def getsockname(self) -> Address:
        """The local address."""
        return self._local

    def getpeername(self) -> Address:
        """The peer's address.  Raises OSError when not connected."""
        if self._peer is None:
            raise OSError(errno.ENOTCONN, "this socket is not connected")
        return self._peer

    async def bind(self, address: Any) -> None:
        """Take a local address."""
        await trio.lowlevel.checkpoint()
        self._local = (str(address[0]), int(address[1]))

    def listen(self, backlog: int = 0) -> None:
        """Listen at the bound port.  Raises OSError when it is taken."""
        self._listener = self._sockets.network.listen(self._sockets.process, self._local[1])
        self._local = (self._local[0], self._listener.port)

    async def accept(self) -> tuple[SimSocket, Address]:
        """The next connection and where it comes from."""
        self._check()
        if self._listener is None:
            raise OSError(errno.EINVAL, "this socket does not listen")
        try:
            stream = await self._listener.accept()
        except trio.ClosedResourceError:
            raise OSError(errno.EBADF, "this socket was closed") from None
        peer = (self._sockets.book.address(stream.peer_host), 0)
        accepted = SimSocket(self._sockets, self._family, self._proto)
        accepted._stream, accepted._peer, accepted._local = stream, peer, self._local
        return accepted, peer

    async def connect(self, address: Any) -> None:
        """Connect to a host of this run.  Raises OSError: refused, timed out, no such host."""
        self._check()
        host = self._sockets.host_of(str(address[0]))
        self._stream = await self._sockets.network.dial(self._sockets.process, host, int(address[1]))
        self._peer = (str(address[0]), int(address[1]))

    async def send(self, data: Any, flags: int = 0) -> int:
        """Send all of *data*.  Raises OSError when the connection broke."""
        content = bytes(data)
        try:
            await self._connected().send_all(content)
        except trio.BrokenResourceError:
            raise ConnectionResetError(errno.ECONNRESET, "the connection was reset") from None
        except trio.ClosedResourceError:
            raise OSError(errno.EBADF, "this socket was closed") from None
        return len(content)

    async def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """At most *bufsize* bytes; b"" at the end.  Raises OSError when the connection broke."""
        try:
            return await self._connected().receive_some(bufsize)
        except trio.BrokenResourceError:
            raise ConnectionResetError(errno.ECONNRESET, "the connection was reset") from None
        except trio.ClosedResourceError:
            raise OSError(errno.EBADF, "this socket was closed") from None

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Like `recv`, into *buffer*."""
        view = memoryview(buffer)
        data = await self.recv(nbytes or len(view))
        view[: len(data)] = data
        return len(data)

    async def wait_writable(self) -> None:
        """Wait until a send would not wait."""
        await self._connected().wait_send_all_might_not_block()

    def shutdown(self, how: int) -> None:
        """Send the end (SHUT_WR); other ways change nothing here."""
        if how in (stdlib.SHUT_WR, stdlib.SHUT_RDWR):
            self._connected().close_send()
            self._sent_eof = True

    def close(self) -> None:
        """Close it.  Twice does nothing."""
        self._closed = True
        if self._stream is not None:
            self._stream.close()
        if self._listener is not None:
            self._listener.close()

    def __enter__(self) -> SimSocket:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def detach(self) -> NoReturn:
        """Refuse: there is no descriptor."""
        raise OSError(errno.EOPNOTSUPP, "a simulated socket has no descriptor to detach")

    def dup(self) -> NoReturn:
        """Refuse: there is no descriptor."""
        raise OSError(errno.EOPNOTSUPP, "a simulated socket has no descriptor to duplicate")

    def _check(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "this socket was closed")

    def _connected(self) -> SimStream:
        self._check()
        if self._stream is None:
            raise OSError(errno.ENOTCONN, "this socket is not connected")
        return self._stream
