"""Decisions of the admin, and how it performs them."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from understudy_runtime.admin import actions
from understudy_runtime.admin.backend import Described, Listed, Waiting
from understudy_runtime.admin.shell import Admin
from understudy_runtime.ingress.backend import Known, Overloaded, Unavailable
from understudy_runtime.ingress.port import Request
from understudy_runtime.limits import Limits
from understudy_runtime.model.actions import RequestAcked
from understudy_runtime.model.commands import RestartAsNew, Resume
from understudy_runtime.model.ids import invocation_id_text, partition_key_of
from understudy_runtime.model.invocation import Failure, ServiceType, Status, Success, Target
from understudy_runtime.model.schema import Schema

ID = invocation_id_text(bytes(24))
OTHER = invocation_id_text(bytes(23) + b"\x01")


class Backend:
    """Answers every request with `outcome`, and knows one invocation."""

    schema = Schema()
    limits = Limits()

    def __init__(self) -> None:
        self.outcome = "done"
        self.commands = []
        self.invocation = None
        self.circle = ()
        self.others = {}
        self.error = None

    def now_ms(self) -> int:
        return 1_700_000_000_000

    def entropy(self, length):
        return b"\x07" * length

    def new_request_id(self) -> int:
        return 7

    def described(self, invocation_id):
        return self.others.get(invocation_id, self.invocation)

    def described_all(self, invocation_ids):
        found = (self.described(one) for one in invocation_ids)
        return [one for one in found if one is not None]

    def deadlocks(self):
        return [self.circle] if self.circle else []

    def live(self, service, count_max, status=None):
        return Listed([self.invocation][:count_max], True)

    async def request(self, command):
        if self.error is not None:
            raise self.error
        self.commands.append(command)
        return RequestAcked(command.request_id, command.invocation_id, self.outcome)


@pytest.fixture
def backend():
    return Backend()


@pytest.fixture
def ask(backend):
    admin = Admin(backend, version="1.2.3", ingress_endpoint="http://x/")

    async def ask(method, path):
        return await admin.handle(Request(method, path))

    return ask


def described(known: Known) -> Described:
    return Described(
        id=ID,
        known=known,
        status=known.status.name.lower(),
        service_type=ServiceType.VIRTUAL_OBJECT,
        idempotency_key=None,
        created_ms=1,
        execution_time_ms=0,
        completed_ms=0,
        deployment_id="",
        protocol_version=0,
        journal_length=1,
        command_count=1,
    )


STATUSES = {
    ("cancel", "accepted"): 202,
    ("cancel", "done"): 200,
    ("cancel", "not_found"): 404,
    ("cancel", "already_completed"): 409,
    ("kill", "accepted"): 200,
    ("kill", "done"): 200,
    ("kill", "not_found"): 404,
    ("kill", "already_completed"): 409,
    ("purge", "accepted"): 200,
    ("purge", "done"): 200,
    ("purge", "not_found"): 404,
    ("purge", "not_completed"): 409,
    ("resume", "done"): 200,
    ("resume", "not_found"): 404,
    ("resume", "already_completed"): 409,
    ("resume", "not_started"): 425,
    ("resume", "not_movable"): 409,
    ("pause", "done"): 202,
    ("pause", "already_paused"): 200,
    ("pause", "not_found"): 404,
    ("pause", "not_running"): 409,
    ("restart-as-new", "done"): 200,
    ("restart-as-new", "not_found"): 404,
    ("restart-as-new", "not_completed"): 409,
    ("restart-as-new", "not_started"): 425,
    ("restart-as-new", "is_workflow"): 422,
    ("restart-as-new", "no_journal"): 410,
    ("restart-as-new", "old_protocol"): 422,
    ("restart-as-new", "bad_prefix"): 400,
    ("restart-as-new", "not_movable"): 409,
    ("purge-journal", "done"): 200,
    ("purge-journal", "not_found"): 404,
    ("purge-journal", "not_completed"): 409,
}


COMMANDS = {**actions.PLAIN, "resume": Resume, "restart-as-new": RestartAsNew}


@pytest.mark.parametrize(("action", "outcome"), STATUSES)
async def test_actions(ask, backend, action, outcome):
    backend.outcome = outcome
    response = await ask("PATCH", f"/v4/invocations/{ID}/{action}")
    assert response.status == STATUSES[action, outcome]
    assert type(backend.commands[0]) is COMMANDS[action]
    assert (backend.commands[0].invocation_id, backend.commands[0].request_id) == (ID, 7)
    if response.status >= 400:
        assert set(json.loads(response.body)) == {"message", "restate_code"}
    elif action == "restart-as-new":
        (command,) = backend.commands
        assert json.loads(response.body) == {"new_invocation_id": command.new_invocation_id}
        assert partition_key_of(command.new_invocation_id) == partition_key_of(ID)
        assert command.random_seed == 0x0707070707070707
    else:
        assert response.body == b""


def test_every_outcome_the_machine_may_give_has_an_answer():
    assert set(actions.OUTCOMES) == set(STATUSES)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("HEAD", "/health", 200),
        ("POST", "/health", 405),
        ("GET", "/nothing", 404),
        ("GET", "/v9/health", 400),
        ("GET", "/v2/health", 200),
        ("PATCH", f"/invocations/{ID}/restart-as-new?from=-1", 400),
        ("PATCH", f"/invocations/{ID}/restart-as-new?from=x", 400),
        ("PATCH", f"/invocations/{ID}/restart-as-new?from=1{'0' * 10}", 400),
        ("PATCH", f"/invocations/{ID}/restart-as-new?deployment=zap", 400),
        ("POST", "/query", 501),
        ("GET", "/invocations/bad", 400),
        ("PATCH", "/invocations/bad/kill", 400),
        ("GET", f"/invocations/{ID}/kill", 405),
        ("PATCH", f"/invocations/{ID}/fly", 404),
        ("GET", f"/invocations/{ID}", 404),
    ],
)
async def test_routes(ask, method, path, status):
    assert (await ask(method, path)).status == status


async def test_version(ask):
    body = json.loads((await ask("GET", "/version")).body)
    assert body["version"] == "1.2.3"
    assert (body["min_admin_api_version"], body["max_admin_api_version"]) == (2, 4)


@pytest.mark.parametrize(
    ("result", "word"), [(None, None), (Success(b"secret"), "success"), (Failure(500, "secret"), "failure")]
)
async def test_an_invocation_is_shown_without_what_is_its_callers(ask, backend, result, word):
    status = Status.INVOKED if result is None else Status.COMPLETED
    backend.invocation = described(Known(Target("S", "h", "k"), status, result, 1000))
    response = await ask("GET", f"/invocations/{ID}")
    body = json.loads(response.body)
    assert body["status"] == status.name.lower()
    assert body.get("completion_result") == word
    assert b"secret" not in response.body


async def shown(ask, backend, **fields):
    backend.invocation = evolve(described(Known(Target("S", "h", "k"), Status.INVOKED)), **fields)
    return json.loads((await ask("GET", f"/invocations/{ID}")).body)


async def test_what_is_waited_for_is_shown(ask, backend):
    waits = (
        Waiting(kind="call", on=ID, detail="S/k/h"),
        Waiting(kind="sleep", until_ms=1_795_335_126_316),
        Waiting(kind="signal", detail="go"),
    )
    found = await shown(ask, backend, waits=waits)
    assert found["waiting_on"] == [
        {"kind": "call", "id": ID, "detail": "S/k/h"},
        {"kind": "sleep", "until": "2026-11-22T08:12:06.316000000Z"},
        {"kind": "signal", "detail": "go"},
    ]
    assert not {"deadlock", "behind_deadlock", "parked"} & set(found)


async def test_who_is_stuck_is_shown_with_the_ways_out(ask, backend):
    found = await shown(ask, backend, deadlock=(ID, OTHER))
    assert (found["deadlock"], "behind_deadlock" in found) == ([ID, OTHER], False)
    found = await shown(ask, backend, deadlock=(OTHER,))
    assert (found["behind_deadlock"], "deadlock" in found) == ([OTHER], False)
    found = await shown(ask, backend, parked="its deployment is gone", deployment_id="dp_1x")
    assert found["parked"]["reason"] == "its deployment is gone"
    run, check, *requests = found["parked"]["ways_out"]
    assert ("dp_1x" in run, "understudy check" in check) == (True, True)
    assert requests == [f"PATCH /invocations/{ID}/{word}" for word in ("resume?deployment=latest", "kill")]
    for way in requests:
        method, path = way.split(" ")
        assert (await ask(method, path)).status != 404, way
    found = await shown(ask, backend, parked="nobody offers S")
    assert found["parked"]["ways_out"] == ["offer the service S again", f"PATCH /invocations/{ID}/kill"]


async def test_a_list_cuts_what_is_many(ask, backend):
    many = [invocation_id_text(index.to_bytes(24, "big")) for index in range(11)]
    fields = {"waits": [Waiting(kind="call", on=one) for one in many], "callers": many, "deadlock": many}
    whole = await shown(ask, backend, **fields)
    assert {len(whole[name]) for name in ("waiting_on", "waited_for_by", "deadlock")} == {11}
    (brief,) = json.loads((await ask("GET", "/invocations")).body)["invocations"]
    for name in ("waiting_on", "waited_for_by", "deadlock"):
        assert (brief[name], brief[f"{name}_count"]) == (whole[name][:10], 11)
    brief = await shown(ask, backend, **{name: value[:10] for name, value in fields.items()})
    assert not [name for name in brief if name.endswith("_count")]


async def test_deadlocks_are_listed(ask, backend):
    known = Known(Target("S", "h", "k"), Status.INVOKED)
    backend.others = {
        ID: evolve(described(known), waits=(Waiting(kind="run"), Waiting(kind="call", on=OTHER, detail="T/h"))),
        OTHER: evolve(described(known), id=OTHER, waits=(Waiting(kind="lock", on=ID, detail="S/k"),)),
    }
    assert json.loads((await ask("GET", "/deadlocks")).body) == {"deadlocks": []}
    backend.circle = (ID, OTHER)
    (circle,) = json.loads((await ask("GET", "/deadlocks")).body)["deadlocks"]
    assert [(member["id"], member["target"], member["waits_for"]) for member in circle["members"]] == [
        (ID, "S/k/h", {"kind": "call", "id": OTHER, "detail": "T/h"}),
        (OTHER, "S/k/h", {"kind": "lock", "id": ID, "detail": "S/k"}),
    ]
    assert len(circle["ways_out"]) == 4
    for way in circle["ways_out"]:
        method, path = way.split(" ")
        assert (await ask(method, path)).status == 200, way


@pytest.mark.parametrize(("error", "status"), [(Overloaded("full"), 429), (Unavailable("stops"), 503)])
async def test_a_node_that_cannot(ask, backend, error, status):
    backend.error = error
    assert (await ask("PATCH", f"/invocations/{ID}/kill")).status == status
