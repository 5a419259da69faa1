"""`kill -9` under load: 200 customers of the ticket tour, real processes killed and stopped at drawn instants.

    python -m tests.live.kill_nine --form pair --kills 20 --endpoint-kills 10 --both-kills 5 --stops 5 --clients 200
    python -m tests.live.kill_nine --form dev --kills 10 --clients 200 --seed 1

`pair` runs `understudy serve` and `understudy host` as two processes, `dev` both in one.  Every life starts on the
same data folder.  Customers repeat each call under its key until it is answered.  Afterwards the durable log is read
back and the simulator's own checkers judge it, record by record, together with what the customers saw and what the
providers' ledgers hold.  With `--snapshot-kib 64` the log is trimmed behind snapshots all the while; then it is judged
what the server's own recovery makes of the folder.  Every wait has a deadline.  Exit code 0: every claim holds; 1: one
broke.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs
import trio
from understudy_runtime.http.h1_client import ClientPool
from understudy_runtime.real_world import RealNetwork
from understudy_sim import Ledger
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.stage.history import History

from scenarios import box_office
from tests.live.customers import Customer, Provider
from tests.live.log_reading import Verdict, judge
from tests.live.processes import Role, answers, free_ports
from tests.live.trimmed_reading import judge_trimmed

APP: Final = "scenarios.ticket_tour:app"
LIFE_MS: Final = (300, 2_000)
# After the last accident: how long the last calls may take, and what is pending after them.
LAST_CALLS_SECONDS: Final = 120
QUIET_SECONDS: Final = 60
QUIET_LOOK_SECONDS: Final = 2
REGISTER_SECONDS: Final = 60
# The judge wants the whole log.
WHOLE_LOG: Final = "1000 GiB"


@attrs.frozen
class Options:
    """What one run does.  `seats` are fought over by `clients` customers; `http_11`: 1 for an endpoint behind that."""

    form: str = "dev"
    http_11: int = 0
    kills: int = 10
    endpoint_kills: int = 0
    both_kills: int = 0
    stops: int = 0
    clients: int = 200
    seats: int = 400
    seed: int = 1
    snapshot_kib: int = 0

    @property
    def accidents(self) -> Sequence[str]:
        """The kinds of all accidents, in no order."""
        kinds = {"server": self.kills, "endpoint": self.endpoint_kills, "both": self.both_kills, "stop": self.stops}
        return [kind for kind, count in kinds.items() for _ in range(count)]


class Run:
    """One run: the providers, the customers, the lives of the processes."""

    def __init__(self, options: Options, data: Path) -> None:
        self.options = options
        self.data = data
        self.choices = SeededChoices(options.seed)
        self.history = History()
        self.stopping = False
        self.seats = tuple(f"seat-{number}" for number in range(1, options.seats + 1))
        self.payments: Ledger[box_office.Charge] = Ledger("payments")
        self.mails: Ledger[box_office.Mail] = Ledger("mail")
        self.ingress_port, self.admin_port, self.endpoint_port = free_ports(3)
        self.providers = [
            Provider(box_office.PaymentProvider(self.choices, self.payments), self.choices),
            Provider(box_office.MailProvider(self.choices, self.mails), self.choices),
        ]
        self.roles: list[Role] = []
        self.codes: list[int] = []
        self.broken: list[str] = []

    async def play(self) -> None:
        """All of it."""
        async with trio.open_nursery() as nursery:
            for provider in self.providers:
                await nursery.start(provider.serve)
            self.roles = self._make_roles()
            try:
                for role in self.roles:
                    await role.start()
                if self.options.form == "pair":
                    await self._register()
                await self._meet_accidents()
                await self._quiet()
                for role in self.roles:
                    self.codes.append(await role.stop())
            finally:
                for role in self.roles:
                    role.destroy()
            nursery.cancel_scope.cancel()

    async def _meet_accidents(self) -> None:
        """The customers live while the accidents happen."""
        async with trio.open_nursery() as customers:
            for number in range(self.options.clients):
                customers.start_soon(Customer(f"customer-{number}", self).live)
            for kind in self.choices.shuffle("accidents", self.options.accidents):
                await trio.sleep(self.choices.integer("life", *LIFE_MS) / 1000)
                await ACCIDENTS[kind](self)
            self.stopping = True
            customers.cancel_scope.deadline = trio.current_time() + LAST_CALLS_SECONDS

    def _make_roles(self) -> list[Role]:
        """The processes, the server last."""
        environment = {one.external.address_variable: f"127.0.0.1:{one.port}" for one in self.providers}
        ports = ["--ingress-port", str(self.ingress_port), "--admin-port", str(self.admin_port)]
        server = ["--data", str(self.data), *ports, "--log-filter", "warn,invoker=error"]
        size = self.options.snapshot_kib
        server += ["--snapshot-log-size", f"{size} KiB" if size else WHOLE_LOG]

        def role(name: str, arguments: Sequence[str], port: int, health: str = "/restate/health") -> Role:
            return Role(name, arguments, self.data.parent, lambda: answers(port, health), environment)

        if self.options.form == "dev":
            return [role("dev", ["dev", APP, *server], self.ingress_port)]
        return [
            role("host", ["host", APP, "--port", str(self.endpoint_port)], self.endpoint_port, "/health"),
            role("serve", ["serve", *server], self.ingress_port),
        ]

    @property
    def server(self) -> Role:
        return self.roles[-1]

    @property
    def endpoint(self) -> Role:
        return self.roles[0]

    async def _register(self) -> None:
        pool = ClientPool(partial(RealNetwork().dial, "127.0.0.1", self.admin_port))
        body = json.dumps(
            {"uri": f"http://127.0.0.1:{self.endpoint_port}", "use_http_11": bool(self.options.http_11)}
        ).encode()
        headers = [("host", "localhost"), ("content-type", "application/json")]
        with trio.fail_after(REGISTER_SECONDS):
            response = await pool.request("POST", "/deployments", headers, body)
        assert response.status == 201, response
        await pool.drop_idle()

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
        cuts = len(self.options.accidents)
        judged = judge_trimmed if self.options.snapshot_kib else judge
        verdict = judged(self.data, self.history, self.payments, self.mails, self.seats, cuts, silences)
        if any(self.codes):
            verdict.broken.append(f"processes that were stopped ended with {self.codes} instead of 0")
        unanswered = [entry for entry in self.history.asked if entry.answer is None]
        if unanswered:
            verdict.broken.append(f"{len(unanswered)} calls were never answered")
        return verdict


async def kill(run: Run, *roles: Role) -> None:
    """Kill *roles* at once and start them again."""
    for role in roles:
        await role.kill()
    for role in roles:
        await role.start()


async def stop(run: Run) -> None:
    """SIGTERM for one of the processes, and its next life."""
    role = run.choices.one_of("stopped", run.roles)
    run.codes.append(await role.stop())
    await role.start()


ACCIDENTS: Final[Mapping[str, Callable[[Run], Awaitable[None]]]] = MappingProxyType(
    {
        "server": lambda run: kill(run, run.server),
        "endpoint": lambda run: kill(run, run.endpoint),
        "both": lambda run: kill(run, *run.roles),
        "stop": stop,
    }
)


def hash_of(path: Path) -> int:
    """A number that changes when the file does; 0 for one that is gone meanwhile."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    return found.st_mtime_ns + found.st_size


def run(options: Options, data: Path) -> tuple[Verdict, dict[str, Any]]:
    """One run on *data*; the verdict and the figures."""
    one = Run(options, data)
    trio.run(one.play)
    verdict = one.judge()
    figures = {
        **attrs.asdict(options),
        "lives": {role.name: role.lives for role in one.roles},
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
    parser.add_argument("--form", choices=("dev", "pair"), default="dev")
    for name, default in attrs.asdict(Options()).items():
        if name != "form":
            parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--data", type=Path, help="keep the data folder here")
    arguments = vars(parser.parse_args())
    data = arguments.pop("data")
    with tempfile.TemporaryDirectory() as folder:
        verdict, figures = run(Options(**arguments), data or Path(folder) / "data")
    print(json.dumps(figures, indent=1))
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())
