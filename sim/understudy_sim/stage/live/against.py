"""The live side: a scenario's operations asked of a real server, its services on real ports, its claims judged after.

The scenario's script runs with a stand-in for the stage.  A claim may read answers, ledgers and the state of objects
that were told; one that reads more is not judged here, and the report says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs
import trio

from understudy_sim.kernel.choices import Choices, SeededChoices
from understudy_sim.stage.directory import Directory
from understudy_sim.stage.errands import errand_of
from understudy_sim.stage.external import External
from understudy_sim.stage.history import Answer, Asked, Fate, History
from understudy_sim.stage.ledger import Ledger
from understudy_sim.stage.live import services
from understudy_sim.stage.live.doors import Admin, Door, NoServer
from understudy_sim.stage.live.outcome import Answered, Outcome, answered
from understudy_sim.stage.operations import Act, Attach, Call, Operation, Settle, label_of
from understudy_sim.stage.scenario import Scenario

E = TypeVar("E")
SETTLE_SECONDS: Final = 20
LOOK_SECONDS: Final = 0.05
TRIES_MAX: Final = 20
BUSY: Final = (429, 503)
ACCEPTED_SECONDS: Final = 0.2


class NotTold(Exception):
    """A claim reads what a live server does not tell."""


@attrs.define
class LiveStage:
    """The stage, as far as a live server can be one: what else a script asks of it is NotTold."""

    choices: Choices
    externals: list[External[Any]] = attrs.Factory(list)
    claims: list[tuple[str, Callable[[], Any]]] = attrs.Factory(list)
    claims_of_the_end: list[tuple[str, Callable[[], Any]]] = attrs.Factory(list)
    history: History = attrs.Factory(History)
    states: dict[tuple[str, str], Mapping[str, Any]] = attrs.Factory(dict)
    plays: Callable[[], Any] | None = None
    is_over: bool = False

    def external(self, kind: Callable[[Any, Ledger[E]], External[E]]) -> Ledger[E]:
        """As the stage's."""
        assert isinstance(kind, type), "an external service is a class"
        assert issubclass(kind, External), "an external service is a class of External"
        ledger: Ledger[E] = Ledger(kind.name)
        self.externals.append(kind(self.choices, ledger))
        return ledger

    def always(self, name: str, claim: Callable[[], Any]) -> None:
        """Judged once, at the end."""
        self.claims.append((name, claim))

    def eventually(self, name: str, claim: Callable[[], Any]) -> None:
        """Judged at the end, if nothing is scheduled for later."""
        self.claims_of_the_end.append((name, claim))

    def sometimes(self, name: str, condition: Any = True) -> None:
        """A claim about many seeds."""

    def linearizable(self, service: str, model: Any, initial: Hashable = None) -> None:
        """A claim about many who ask at once."""

    async def play(self) -> None:
        """Ask the server."""
        assert self.plays is not None, "somebody asks"
        await self.plays()

    def state(self, service: str, key: str) -> Mapping[str, Any]:
        """An object's state, where the server told it."""
        if (service, key) not in self.states:
            raise NotTold(f"the state of {service}/{key}")
        return self.states[service, key]

    def answers(self, service: str, handler: str) -> list[Asked]:
        """As the stage's."""
        asked = (one for one in self.history.asked if one.attach is None)
        return [one for one in asked if (one.call.service, one.call.handler) == (service, handler)]

    def answered(self, service: str, handler: str, value: Any) -> bool:
        """As the stage's."""
        body = json.dumps(value).encode()
        return any(one.answer is not None and one.answer.body == body for one in self.answers(service, handler))

    def __getattr__(self, name: str) -> Any:
        raise NotTold(f"stage.{name}")


class Live:
    """One comparison's live side."""

    def __init__(self, scenario: Scenario, manifest: Mapping[str, Any], seed: int, ingress: str, admin: str) -> None:
        self.admin = Admin(Door(admin))
        self.untold: list[str] = []
        self.stage = LiveStage(SeededChoices(seed))
        self._scenario = scenario
        self._manifest = manifest
        self._ingress = Door(ingress)
        self._seed = seed
        self._asked: dict[int, Asked] = {}
        self._answers: dict[int, Answered] = {}

    async def run(
        self,
        operations: Sequence[Operation],
        *,
        serial: bool,
        begin: Callable[[Mapping[str, str]], Any] | None = None,
    ) -> Outcome:
        """Ask *operations* of the server.  *begin* is given the environment of handlers, once services are up; it hosts
        and registers them.  Raises NoServer.
        """
        async with trio.open_nursery() as nursery:

            async def play() -> None:
                for one in self.stage.externals:
                    await services.opened(one, nursery)
                await self.admin.look()
                if begin is not None:
                    await begin(services.addresses(self.stage.externals))
                await self._ask_all(operations, serial)
                self.stage.is_over = True

            self.stage.plays = play
            await self._scenario.script(self.stage)  # type: ignore[arg-type]
            if not self.stage.is_over:
                raise NoServer("the scenario's script does not play: there is nothing to compare")
            found = await self._told(operations)
            nursery.cancel_scope.cancel()
        return found

    async def _ask_all(self, operations: Sequence[Operation], serial: bool) -> None:
        directory = Directory(operations, self._manifest)
        numbered = list(enumerate(operations))
        if serial:
            await self._ask_in_turn(numbered, directory, settles=True)
            return
        clients = dict.fromkeys(one.client for one in operations)
        async with trio.open_nursery() as nursery:
            for client in clients:
                own = [(number, one) for number, one in numbered if one.client == client]
                nursery.start_soon(self._ask_in_turn, own, directory, False)
        await self.settled()

    async def _ask_in_turn(
        self, numbered: Sequence[tuple[int, Operation]], directory: Directory, settles: bool
    ) -> None:
        for number, operation in numbered:
            await self._ask(number, operation, directory)
            if settles:
                await self.settled()

    async def _ask(self, number: int, operation: Operation, directory: Directory) -> None:
        if not isinstance(operation, Call | Attach | Act | Settle):
            self.untold.append(f"{operation}: a live server's deployments are not the scenario's to change")
            return
        # The seed is part of the key: another seed is another request, the same one again has the same answer.
        unlabelled = f"understudy-{self._seed}-{number}"
        key = directory.idempotency_key(operation, unlabelled) if isinstance(operation, Call) else ""
        if label_of(operation):
            await trio.sleep(ACCEPTED_SECONDS)
        errand = errand_of(operation, directory, key)
        door = self.admin.door if errand.admin else self._ingress
        response = await door.send(errand.request)
        for _ in range(TRIES_MAX):
            if response.status not in BUSY:
                break
            await trio.sleep(ACCEPTED_SECONDS)
            response = await door.send(errand.request)
        if isinstance(operation, Call | Attach):
            self._answers[number] = answered(response.status, response.body)
            call = operation if isinstance(operation, Call) else directory.calls[operation.to]
            attach = operation if isinstance(operation, Attach) else None
            entry = self.stage.history.ask(call, key, 0, attach)
            headers = dict(response.headers)
            source = headers.get("x-restate-error-source", "")
            answer = Answer(0, response.status, response.body, headers.get("x-restate-id", ""), source)
            self.stage.history.answered(entry, answer, final=True)
            assert entry.fate is Fate.ANSWERED, "it was final"
            self._asked[number] = entry
        else:
            self._answers[number] = Answered(response.status)

    async def settled(self) -> None:
        """Wait until nothing runs that does not wait for a time; give up after a while, and say so."""
        found: list[str] = []
        with trio.move_on_after(SETTLE_SECONDS):
            while found := await self.admin.unsettled():  # noqa: ASYNC110 - who settles is another process
                await trio.sleep(LOOK_SECONDS)
            return
        self.untold.append(f"still there after {SETTLE_SECONDS} s: {', '.join(found[:3])}")

    async def _told(self, operations: Sequence[Operation]) -> Outcome:
        journals: dict[int, tuple[str, ...] | None] = {}
        own = {service["name"]: None for service in self._manifest["services"]}
        states = {key: one for key, one in (await self.admin.states()).items() if key[0] in own}
        for number, asked in self._asked.items():
            id_ = asked.answer.invocation_id if asked.answer is not None and asked.attach is None else ""
            if not id_:
                continue
            journals[number], state = await self.admin.journal(id_)
            if state is not None and asked.call.key is not None:
                states[asked.call.service, asked.call.key] = dict(state)
        if journals and all(one is None for one in journals.values()):
            self.untold.append("journals: the server keeps none (its services' journal_retention is 0)")
        if not self.admin.has_sql:
            self.untold.append("states: this server's admin does not tell them")
        self.stage.states.update(states)
        broken = self._judged(self.stage.claims)
        waiting = await self.admin.scheduled()
        if not waiting:
            broken |= self._judged(self.stage.claims_of_the_end)
        else:
            self.untold += [
                f"claim {name}: it speaks of the end, and {waiting} are scheduled for later"
                for name, _ in self.stage.claims_of_the_end
            ]
        return Outcome(
            answers=tuple(self._answers.get(number, Answered(0)) for number in range(len(operations))),
            journals=journals,
            states=states,
            broken=broken,
            untold=tuple(dict.fromkeys(self.untold)),
        )

    def _judged(self, claims: Sequence[tuple[str, Callable[[], Any]]]) -> dict[str, str]:
        broken: dict[str, str] = {}
        for name, claim in claims:
            try:
                verdict = claim()
            except NotTold as error:
                self.untold.append(f"claim {name}: it reads {error}")
                continue
            if verdict is False or (isinstance(verdict, str) and verdict):
                broken[name] = verdict or "it does not hold"
        return broken
