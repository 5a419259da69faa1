"""The export of a journal: what a replay needs, live and kept, and what is said when it is gone."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked
from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MessageType
from understudy_runtime.admin import invocation_views
from understudy_runtime.ingress.port import Request
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.limits import Limits
from understudy_runtime.model.ids import invocation_id_text
from understudy_runtime.model.invocation import Entry, Target

from tests.runtime.admin.stand import COUNTER, ECHO, ONE, Stand, network, standing
from tests.runtime.node.stand import END, Dialogue, output, sleep

DAY = Limits(log_prewrite_bytes=0, journal_retention_ms=86_400_000)
KEYS = {
    "id",
    "target_service_name",
    "target_handler_name",
    "target_service_key",
    "random_seed",
    "protocol_version",
    "deployment_id",
    "status",
    "entries",
    "state",
    "state_complete",
}


async def asleep(dialogue: Dialogue) -> None:
    """Journal a sleep that does not end, and wait."""
    await dialogue.say(sleep(1, 1_900_000_000_000))
    await dialogue.closed()


async def finishing(dialogue: Dialogue) -> None:
    await dialogue.say(output(b"done"), END)


async def journal_of(stand: Stand, invocation_id: str) -> dict[str, Any]:
    found = await stand.get(f"/invocations/{invocation_id}/journal")
    assert set(found) == KEYS
    return dict(found)


def entries(found: dict[str, Any]) -> list[Entry]:
    return [Entry(entry["type"], b64decode(entry["payload"], validate=True)) for entry in found["entries"]]


async def test_a_live_journal_with_its_state() -> None:
    async with standing(network(COUNTER, asleep), partition_count=2) as stand:
        _, registered = await stand.register(ONE)
        change = {"object_key": "ann", "new_state": {"n": "41", "m": [0, 255]}}
        assert (await stand.ask("POST", "/services/Counter/state", change)).status == 202
        acked = await stand.client.send(Target("Counter", "add", "ann"), b"5", key="k")
        waiting = await stand.client.send(Target("Counter", "add", "ann"), b"6")
        await wait_all_tasks_blocked()
        found = await journal_of(stand, acked.invocation_id)
        assert (found["id"], found["status"]) == (acked.invocation_id, "running")
        place = [found[f"target_{name}"] for name in ("service_name", "handler_name", "service_key")]
        assert place == ["Counter", "add", "ann"]
        assert (found["deployment_id"], found["protocol_version"]) == (registered["id"], 6)
        assert [entry.type for entry in entries(found)] == [MessageType.INPUT, MessageType.SLEEP]
        assert pb.InputCommand.FromString(entries(found)[0].payload).value.content == b"5"
        state = {b64decode(entry["key"]): b64decode(entry["value"]) for entry in found["state"]}
        assert state == {b"n": b"41", b"m": b"\x00\xff"}
        assert found["state_complete"]
        row = stand.node.partition_for(acked.invocation_id).tables.invocation(acked.invocation_id)
        assert row is not None
        assert found["random_seed"] == str(row.random_seed)
        pending = await journal_of(stand, waiting.invocation_id)
        assert (pending["status"], pending["deployment_id"], len(pending["entries"])) == ("pending", "", 1)


async def test_a_kept_journal_has_no_state_any_more() -> None:
    async with standing(network(COUNTER, finishing), limits=DAY) as stand:
        await stand.register(ONE)
        change = {"object_key": "ann", "new_state": {"n": "41"}}
        assert (await stand.ask("POST", "/services/Counter/state", change)).status == 202
        ingress = Ingress(stand.node, stand.node.limits)
        sent = json.loads((await ingress.handle(Request("POST", "/Counter/ann/add/send"))).body)["invocationId"]
        await wait_all_tasks_blocked()
        found = await journal_of(stand, sent)
        assert (found["status"], found["state"], found["state_complete"]) == ("completed", [], False)
        assert [entry.type for entry in entries(found)] == [MessageType.INPUT, MessageType.OUTPUT]
        assert (await stand.ask("PATCH", f"/invocations/{sent}/purge-journal")).status == 200
        gone = await stand.ask("GET", f"/invocations/{sent}/journal")
        assert (gone.status, set(json.loads(gone.body))) == (410, {"message", "restate_code"})


@pytest.mark.parametrize(("at", "status"), [("zzz", 400), (invocation_id_text(bytes(24)), 404)])
async def test_no_such_journal(at: str, status: int) -> None:
    async with standing(network(ECHO, finishing)) as stand:
        assert (await stand.ask("GET", f"/invocations/{at}/journal")).status == status


async def test_a_journal_that_is_too_large_is_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async with standing(network(ECHO, asleep)) as stand:
        await stand.register(ONE)
        acked = await stand.client.send(Target("Echo", "echo"), bytes(1_000))
        await wait_all_tasks_blocked()
        monkeypatch.setattr(invocation_views, "EXPORT_BYTES_MAX", 1_000)
        found = await stand.ask("GET", f"/invocations/{acked.invocation_id}/journal")
        assert found.status == 413
        monkeypatch.setattr(invocation_views, "EXPORT_BYTES_MAX", 10_000)
        assert (await journal_of(stand, acked.invocation_id))["state_complete"] is False
