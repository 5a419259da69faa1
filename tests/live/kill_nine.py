"""`kill -9` under load: 200 customers of the ticket tour, a real `understudy dev` killed at drawn instants, ten times.

    python -m tests.live.kill_nine --kills 10 --clients 200 --seed 1

Every life starts on the same data folder.  Customers repeat each call under its key until it is answered.  Afterwards
the durable log is read back and the simulator's own checkers judge it, record by record, together with what the
customers saw and what the providers' ledgers hold.  Exit code 0: every claim holds; 1: one broke.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import trio
from understudy_runtime.http.h1_client import ClientPool, ConnectionLost
from understudy_runtime.real_world import RealWorld
from understudy_sim import Call, Ledger
from understudy_sim.kernel.choices import Choices, SeededChoices
from understudy_sim.stage.client import AGAIN, request_of
from understudy_sim.stage.history import Answer, Asked, History

from scenarios import box_office
from tests.live.log_reading import Verdict, judge

ROOT: Final = Path(__file__).parents[2]
READY_SECONDS: Final = 60
LIFE_MS: Final = (300, 2_000)
BACK_OFF_SECONDS: Final = 0.2
PAUSE_MS_MAX: Final = 400
SILENT_THOUSANDTHS: Final = 50
# After the last kill: how long the server may take to finish what is pending.
QUIET_SECONDS: Final = 60
QUIET_LOOK_SECONDS: Final = 2


@attrs.frozen
class Options:
    """What one run does.  `seats` are fought over by `clients` customers."""

    kills: int = 10
    clients: int = 200
    seats: int = 400
    seed: int = 1


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Provider:
    """An external service on a real port; sometimes it hangs up after the work is done."""

    def __init__(self, external: Any, choices: Choices) -> None:
        self.external = external
        self.port = 0
        self.silences: dict[str, int] = {}
        self._choices = choices

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        await trio.serve_listeners(self._answer, listeners, task_status=task_status)  # type: ignore[arg-type]

    async def _answer(self, stream: trio.SocketStream) -> None:
        received = b""
        try:
            while data := await stream.receive_some(65536):
                received += bytes(data)
                while b"\n" in received:
                    line, received = received.split(b"\n", 1)
                    if not await self._respond(stream, json.loads(line)):
                        return
        except trio.BrokenResourceError:
            return  # The caller was killed; what was done is in the ledger.

    async def _respond(self, stream: trio.SocketStream, request: Mapping[str, Any]) -> bool:
        answer = self.external.answer(request)
        if self._choices.chance(f"{self.external.name}/silent", SILENT_THOUSANDTHS):
            self.silences[request["order"]] = self.silences.get(request["order"], 0) + 1
            return False
        await stream.send_all(json.dumps(answer).encode() + b"\n")
        return True


class Customer:
    """One client on a connection of its own: adds seats, pays, looks; repeats what is not answered."""

    def __init__(self, name: str, run: Run) -> None:
        self.name = name
        self._run = run
        self._choices = run.choices
        self._pool = ClientPool(lambda: run.world.dial("127.0.0.1", run.ingress_port))
        self._count = 0

    async def live(self) -> None:
        """Ask until the run is stopping; the last call is still answered."""
        while not self._run.stopping:
            await trio.sleep(self._choices.integer(f"{self.name}/pause", 0, PAUSE_MS_MAX) / 1000)
            await self._ask(self._draw())
        await self._ask(Call(client=self.name, service="CartObject", key=self.name, handler="checkout"))
        await self._pool.drop_idle()

    def _draw(self) -> Call:
        choices, run = self._choices, self._run
        seat = run.seats[choices.pick(f"{self.name}/seat", len(run.seats))]
        kind = choices.integer(f"{self.name}/kind", 0, 9)
        if kind < 6:
            return Call(client=self.name, service="CartObject", key=self.name, handler="addTicket", argument=seat)
        if kind < 8:
            return Call(client=self.name, service="TicketObject", key=seat, handler="status")
        return Call(client=self.name, service="CartObject", key=self.name, handler="checkout")

    async def _ask(self, call: Call) -> None:
        self._count += 1
        key = f"{self.name}-{self._count}"
        entry = self._run.history.ask(call, key, now_ns())
        while True:
            entry.tries += 1
            answer = await self._try(entry, key)
            if answer is not None:
                final = answer.status not in AGAIN or answer.source == "invocation"
                self._run.history.answered(entry, answer, final=final)
                if final:
                    return
            await trio.sleep(BACK_OFF_SECONDS)

    async def _try(self, entry: Asked, key: str) -> Answer | None:
        request = request_of(entry.call, key)
        headers = [("host", "localhost"), *request.headers[1:]]
        try:
            response = await self._pool.request(request.method, request.target, headers, request.body)
        except (OSError, ConnectionLost):
            return None
        return Answer(
            now_ns(),
            response.status,
            response.body,
            response.header("x-restate-id") or "",
            response.header("x-restate-error-source") or "",
        )


def now_ns() -> int:
    return int(trio.current_time() * 1e9)


class Run:
    """One run: the providers, the customers, the server's lives."""

    def __init__(self, options: Options, data: Path) -> None:
        self.options = options
        self.data = data
        self.choices = SeededChoices(options.seed)
        self.history = History()
        self.stopping = False
        self.seats = tuple(f"seat-{number}" for number in range(1, options.seats + 1))
        self.payments: Ledger[box_office.Charge] = Ledger("payments")
        self.mails: Ledger[box_office.Mail] = Ledger("mail")
        self.world = RealWorld(data)
        self.ingress_port, self.admin_port = free_ports(2)
        self.providers = [
            Provider(box_office.PaymentProvider(self.choices, self.payments), self.choices),
            Provider(box_office.MailProvider(self.choices, self.mails), self.choices),
        ]
        self.lives = 0

    async def play(self) -> int:
        """All of it; the exit code of the last life."""
        async with trio.open_nursery() as nursery:
            for provider in self.providers:
                await nursery.start(provider.serve)
            process = await self._start()
            async with trio.open_nursery() as customers:
                for number in range(self.options.clients):
                    customers.start_soon(Customer(f"customer-{number}", self).live)
                for _ in range(self.options.kills):
                    await trio.sleep(self.choices.integer("life", *LIFE_MS) / 1000)
                    process.kill()
                    await process.wait()
                    process = await self._start()
                self.stopping = True
            await self._quiet()
            process.send_signal(signal.SIGTERM)
            code = await process.wait()
            nursery.cancel_scope.cancel()
        return code

    async def _start(self) -> trio.Process:
        """The next life; returns when it answers."""
        self.lives += 1
        environment = dict(os.environ)
        for provider in self.providers:
            environment[provider.external.address_variable] = f"127.0.0.1:{provider.port}"
        command = [sys.executable, "-m", "understudy", "dev", "scenarios.ticket_tour:app", "--data", str(self.data)]
        command += ["--ingress-port", str(self.ingress_port), "--admin-port", str(self.admin_port)]
        command += ["--log-level", "error"]
        process = await trio.lowlevel.open_process(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        with trio.fail_after(READY_SECONDS):
            while not await self._answers():
                assert process.poll() is None, f"life {self.lives} ended with {process.returncode}"
                await trio.sleep(0.02)
        return process

    async def _answers(self) -> bool:
        try:
            stream = await self.world.dial("127.0.0.1", self.ingress_port)
        except OSError:
            return False
        await stream.aclose()
        return True

    async def _quiet(self) -> None:
        """Wait until the log stands still: only holds that run out later are pending then."""
        sizes = -1
        with trio.move_on_after(QUIET_SECONDS):
            while sizes != (sizes := self._written()):  # noqa: ASYNC110 - another process writes
                await trio.sleep(QUIET_LOOK_SECONDS)

    def _written(self) -> int:
        return sum(hash_of(path) for path in sorted((self.data / "partition-0").iterdir()))

    def judge(self) -> Verdict:
        """What the checkers say of it."""
        silences: dict[str, int] = {}
        for provider in self.providers:
            for order, count in provider.silences.items():
                silences[order] = silences.get(order, 0) + count
        return judge(self.data, self.history, self.payments, self.mails, self.seats, self.options.kills, silences)


def hash_of(path: Path) -> int:
    """A number that changes when the file does."""
    found = path.stat()
    return found.st_mtime_ns + found.st_size


def run(options: Options, data: Path) -> tuple[Verdict, dict[str, Any]]:
    """One run on *data*; the verdict and the figures."""
    one = Run(options, data)
    code = trio.run(one.play)
    verdict = one.judge()
    if code != 0:
        verdict.broken.append(f"the last life drained and ended with {code} instead of 0")
    unanswered = [entry for entry in one.history.asked if entry.answer is None]
    if unanswered:
        verdict.broken.append(f"{len(unanswered)} calls were never answered")
    figures = {
        "seed": options.seed,
        "lives": one.lives,
        "calls": len(one.history.asked),
        "tries": sum(entry.tries for entry in one.history.asked),
        "charges": len(one.payments),
        "mails": len(one.mails),
        "records": verdict.records,
        "checked": verdict.hits,
        "broken": verdict.broken,
    }
    return verdict, figures


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in attrs.asdict(Options()).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--data", type=Path, help="keep the data folder here")
    arguments = vars(parser.parse_args())
    data = arguments.pop("data")
    with tempfile.TemporaryDirectory() as folder:
        verdict, figures = run(Options(**arguments), data or Path(folder) / "data")
    print(json.dumps(figures, indent=1))
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())
