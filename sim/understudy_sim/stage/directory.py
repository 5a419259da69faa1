"""Which invocation an operation means: requests by their labels, deployments by their addresses.

Ids are derived as the server derives them, from target and key, so that an operation can name a request that nobody
has been answered yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trio.lowlevel import Abort, current_task, wait_task_rescheduled
from understudy_runtime.model.ids import ENTROPY_BYTES, invocation_id_for
from understudy_runtime.model.invocation import HandlerType, Target

from understudy_sim.stage.happenings import Step
from understudy_sim.stage.operations import Act, Call, NobodyOffers, Operation


class Gate:
    """Opened once by the stage; tasks of any process wait for it."""

    def __init__(self) -> None:
        self.is_open = False
        self._waiting: list[Any] = []

    async def passed(self) -> None:
        """Wait until it is open."""
        if self.is_open:
            return
        task = current_task()
        self._waiting.append(task)

        def abort(_: object) -> Abort:
            self._waiting.remove(task)
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    def open(self) -> None:
        """Let everybody through, from now on."""
        self.is_open = True
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            if not task._runner.dead:
                task._runner.reschedule(task)


def check_targets(operations: Sequence[Operation], manifests: Sequence[Mapping[str, Any]]) -> None:
    """Raises NobodyOffers where an operation calls a handler that is in none of the *manifests*."""
    offered: dict[str, dict[str, None]] = {}
    for manifest in manifests:
        for service in manifest["services"]:
            offered.setdefault(service["name"], {}).update((one["name"], None) for one in service["handlers"])
    for one in operations:
        if isinstance(one, Call) and one.handler not in offered.get(one.service, ()):
            there = offered.get(one.service, offered)
            what = f"handler {one.handler!r} of {one.service}" if one.service in offered else f"service {one.service!r}"
            raise NobodyOffers(f"{one}: the application has no {what}; there are: {', '.join(there)}")


class Directory:
    """The requests of one rehearsal that have a label."""

    def __init__(
        self,
        operations: Sequence[Operation],
        manifest: Mapping[str, Any],
        addresses: Sequence[str] = (),
        *,
        is_http_11: bool = False,
    ) -> None:
        self.is_http_11 = is_http_11
        self._addresses = addresses
        self.calls: dict[str, Call] = {}
        self.deployments: dict[str, str] = {}  # address -> id, as the operator was told
        self._ids: dict[str, str] = {}
        self._gates: dict[str, Gate] = {}
        self._labels: dict[str, str] = {}  # invocation -> label
        # Who will ask for a label, how often; and who waits until none but themselves will.
        self._asking: dict[str, dict[str, int]] = {}
        self._waiting: dict[str, list[tuple[str, Gate]]] = {}
        self._runs = _workflow_runs(manifest)
        for one in operations:
            if isinstance(one, Act) and one.label:
                self._gates.setdefault(one.label, Gate())
            if isinstance(one, Call) and one.label:
                self.add(one)

    def add(self, call: Call) -> None:
        """Somebody is going to ask for *call*, which has a label."""
        first = self.calls.setdefault(call.label, call)
        assert (first.service, first.handler, first.key) == (call.service, call.handler, call.key), (
            f"two requests are labelled {call.label!r}"
        )
        asking = self._asking.setdefault(call.label, {})
        asking[call.client] = asking.get(call.client, 0) + 1
        self._gates.setdefault(call.label, Gate())
        self._name(call.label, self.asked_for(call, call.label))

    def _name(self, label: str, invocation_id: str) -> None:
        self._ids[label] = invocation_id
        self._labels[invocation_id] = label

    def is_run(self, call: Call) -> bool:
        """Whether *call* is of a workflow's main handler."""
        return (call.service, call.handler) in self._runs

    def idempotency_key(self, call: Call, unlabelled: str) -> str:
        """The key *call* carries: its label, or *unlabelled*; none where there must be none."""
        return "" if not call.idempotent or self.is_run(call) else call.label or unlabelled

    def asked_for(self, call: Call, idempotency_key: str) -> str:
        """The invocation that *call* names by its key, or its workflow's; empty when it has neither."""
        if not idempotency_key and not self.is_run(call):
            return ""
        kind = HandlerType.WORKFLOW if self.is_run(call) else HandlerType.SHARED
        target = Target(call.service, call.handler, call.key)
        return invocation_id_for(target, kind, idempotency_key, 0, bytes(ENTROPY_BYTES))

    def invocation_id(self, label: str) -> str:
        """The invocation that *label* means; empty when it is not known (yet)."""
        return self._ids.get(label, "")

    def label_of(self, invocation_id: str) -> str:
        """The label that means *invocation_id*; empty when it has none."""
        return self._labels.get(invocation_id, "")

    def address(self, app: int) -> str:
        """Where the endpoint of application number *app* is registered."""
        return self._addresses[app]

    async def accepted(self, label: str, client: str) -> bool:
        """Wait until the request *label* is durable, or nobody will ask for it (again) whom *client* does not hold up.

        False when there is none of that label.
        """
        gate = self._gates.get(label)
        if gate is None:
            return False
        if not gate.is_open and not self._others_ask(label, client):
            return bool(self.invocation_id(label))
        if not gate.is_open:
            gate = Gate()
            self._waiting.setdefault(label, []).append((client, gate))
            self._let_go()
        await gate.passed()
        return bool(self.invocation_id(label))

    def _others_ask(self, label: str, client: str) -> bool:
        # What a restart makes is nobody's call: its maker opens the gate.
        return label not in self._asking or any(one != client for one in self._asking[label])

    def _let_go(self) -> None:
        """Open the gates of those who would wait for ever: whoever will ask for their label waits like them."""
        closed = [
            (client, label, gate)
            for label, waits in self._waiting.items()
            for client, gate in waits
            if not gate.is_open
        ]
        labels = {client: label for client, label, _ in closed}
        moved = True
        while moved:
            moved = False
            for client, label in tuple(labels.items()):
                askers = self._asking.get(label)
                if askers is None or any(one != client and one not in labels for one in askers):
                    del labels[client]
                    moved = True
        for client, _, gate in closed:
            if client in labels:
                gate.open()

    # --- what it is told --------------------------------------------------------------------------------------

    def step(self, step: Step) -> None:
        """A record was applied: perhaps it accepts a request somebody waits for."""
        for command in step.effects.accepted:
            label = self._labels.get(command.invocation_id)
            if label is not None:
                self._open(label)

    def _open(self, label: str) -> None:
        self._gates[label].open()
        for _, gate in self._waiting.pop(label, ()):
            gate.open()

    def call_over(self, call: Call) -> None:
        """A client has its answer to *call*, or gave it up."""
        if not call.label:
            return
        asking = self._asking[call.label]
        asking[call.client] -= 1
        if not asking[call.client]:
            del asking[call.client]
        self._let_go()

    def restarted(self, act: Act, invocation_id: str) -> None:
        """A restart made *invocation_id*; empty: it made none."""
        if act.label:
            if invocation_id:
                self._name(act.label, invocation_id)
                self.calls[act.label] = self.calls[act.on]
            self._open(act.label)


def _workflow_runs(manifest: Mapping[str, Any]) -> dict[tuple[str, str], None]:
    return {
        (service["name"], handler["name"]): None
        for service in manifest["services"]
        if service["ty"] == "WORKFLOW"
        for handler in service["handlers"]
        if handler.get("ty", "WORKFLOW") == "WORKFLOW"
    }
