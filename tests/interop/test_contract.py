"""The contract of the public SDK test services, on every pairing: what a handler may do, seen from the ingress."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.interop.client import Client, Refused, eventually
from tests.interop.pairings import LAZY, Stage

CANCELLED = 409


def message(value: Any) -> list[int]:
    """*value* as the proxy takes it: JSON, as an array of bytes."""
    return list(json.dumps(value).encode())


def proxied(service: str, handler: str, value: Any, key: str | None = None, **more: Any) -> dict[str, Any]:
    return {"serviceName": service, "virtualObjectKey": key, "handlerName": handler, "message": message(value), **more}


def in_background(function: Callable[[], Any]) -> Callable[[], Any]:
    """Start *function* in a thread; call what is returned for its outcome."""
    executor = ThreadPoolExecutor(1)
    future = executor.submit(function)
    executor.shutdown(wait=False)
    return future.result


def code_of(call: Callable[[], Any]) -> int | None:
    """What *call* is refused with; None when it is not."""
    try:
        call()
    except Refused as refused:
        return int(refused.response.json()["code"])
    return None


# --- echo, headers, bytes -----------------------------------------------------------------------------------


def test_echo(client: Client) -> None:
    assert client.call("TestUtilsService/echo", "grüße") == "grüße"
    assert client.call("TestUtilsService/uppercaseEcho", "shout") == "SHOUT"


def test_headers_pass_through(client: Client) -> None:
    headers = client.call("TestUtilsService/echoHeaders", x_my_custom_header="x-my-custom-value")
    assert headers["x-my-custom-header"] == "x-my-custom-value"


def test_raw_bytes(client: Client) -> None:
    body = bytes(range(256))
    response = client.request("TestUtilsService/rawEcho", body, content_type="application/octet-stream")
    assert response.body == body
    assert response.headers["content-type"] == "application/octet-stream"


def test_large_bodies_pass_both_ways(client: Client) -> None:
    body = bytes(range(256)) * (3 * 1024 * 4 + 1)  # Three mebibytes and a bit: many windows of HTTP/2.
    assert client.request("TestUtilsService/rawEcho", body, content_type="application/octet-stream").body == body


def test_large_values_pass_through_journal_and_state(client: Client, name: str) -> None:
    value = "wide " * 100_000
    answer = client.call("Proxy/call", proxied("TestUtilsService", "uppercaseEcho", value[:50_000]))
    assert json.loads(bytes(answer)) == value[:50_000].upper()
    client.call(f"MapObject/{name}/set", {"key": "large", "value": value})
    assert client.call(f"MapObject/{name}/get", "large") == value


def test_many_calls_at_once(client: Client) -> None:
    with ThreadPoolExecutor(48) as executor:
        answers = list(executor.map(lambda n: client.call("TestUtilsService/uppercaseEcho", f"n{n}"), range(96)))
    assert answers == [f"N{n}" for n in range(96)]


def test_health_names_the_services(client: Client) -> None:
    assert {"Counter", "Proxy", "BlockAndWaitWorkflow"} <= set(client.get("restate/health").json()["services"])


def test_the_result_of_a_send_is_kept_for_whoever_has_its_id(client: Client) -> None:
    invocation_id = client.send("TestUtilsService/uppercaseEcho", "kept")["invocationId"]
    assert client.get(f"restate/invocation/{invocation_id}/attach").json() == "KEPT"
    assert client.get(f"restate/invocation/{invocation_id}/output").json() == "KEPT"


def test_delayed_send_and_its_cancel(client: Client, name: str) -> None:
    sent = client.send(f"Counter/{name}/add", 1, delay="1h")
    assert sent["executionTime"].endswith("Z")
    with pytest.raises(Refused) as early:
        client.get(f"restate/invocation/{sent['invocationId']}/output")
    assert early.value.status == 470
    client.cancel(sent["invocationId"])
    assert client.call(f"Counter/{name}/get") == 0


# --- state --------------------------------------------------------------------------------------------------


def test_counter(client: Client, name: str) -> None:
    assert client.call(f"Counter/{name}/add", 1) == {"oldValue": 0, "newValue": 1}
    assert client.call(f"Counter/{name}/add", 2) == {"oldValue": 1, "newValue": 3}
    assert client.call(f"Counter/{name}/get") == 3
    client.call(f"Counter/{name}/reset")
    assert client.call(f"Counter/{name}/get") == 0


def test_concurrent_adds_are_serialized(client: Client, name: str) -> None:
    with ThreadPoolExecutor(8) as executor:
        answers = list(executor.map(lambda _: client.call(f"Counter/{name}/add", 1), range(24)))
    assert sorted(answer["newValue"] for answer in answers) == list(range(1, 25))


def test_state_set_before_a_failure_stays(client: Client, name: str) -> None:
    with pytest.raises(Refused) as refused:
        client.call(f"Counter/{name}/addThenFail", 1)
    assert name in refused.value.message
    assert client.call(f"Counter/{name}/get") == 1


def test_map_lists_and_clears_its_keys(client: Client, name: str) -> None:
    for number in range(2):
        client.call(f"MapObject/{name}/set", {"key": f"my-key-{number}", "value": f"my-value-{number}"})
    client.call(f"MapObject/{name}-other/set", {"key": "my-key-2", "value": "my-value-2"})
    entries = client.call(f"MapObject/{name}/clearAll")
    assert {entry["key"]: entry["value"] for entry in entries} == {"my-key-0": "my-value-0", "my-key-1": "my-value-1"}
    assert client.call(f"MapObject/{name}/get", "my-key-0") == ""
    assert client.call(f"MapObject/{name}-other/get", "my-key-2") == "my-value-2"


@pytest.mark.parametrize("sends", [(True, False, False), (False, True, False), (True, True, False)])
def test_calls_and_sends_keep_their_order(client: Client, name: str, sends: tuple[bool, ...]) -> None:
    requests = [
        {"proxyRequest": proxied("ListObject", "append", str(n), name), "oneWayCall": send, "awaitAtTheEnd": not send}
        for n, send in enumerate(sends)
    ]
    client.call("Proxy/manyCalls", requests)
    assert client.call(f"ListObject/{name}/clear") == ["0", "1", "2"]
    assert client.call(f"ListObject/{name}/get") == []


def test_attempts_are_sent_state_along_unless_it_is_lazy(stage: Stage, client: Client, name: str) -> None:
    commands = {"commands": [{"type": "awaitOne", "command": step} for step in (returning("x"), awakeable("a"))]}
    sent = client.send(f"VirtualObjectCommandInterpreter/{name}/interpretCommands", commands)
    await_created(client, name, "a")
    # The input, a run and its result, a read, two writes; a read that asks the server is an entry more.
    entries = 7 if stage.pairing.told is LAZY else 6
    eventually(lambda: stage.journal_length(sent["invocationId"]) == entries)
    complete(client, name, "a", value="done")


# --- calls --------------------------------------------------------------------------------------------------


def test_call(client: Client) -> None:
    answer = client.call("Proxy/call", proxied("TestUtilsService", "uppercaseEcho", "ping"))
    assert json.loads(bytes(answer)) == "PING"


def test_one_way_call(client: Client, name: str) -> None:
    for _ in range(3):
        assert client.call("Proxy/oneWayCall", proxied("Counter", "add", 1, name)).startswith("inv_1")
    eventually(lambda: client.call(f"Counter/{name}/get") == 3)


@pytest.mark.parametrize("handler", ["call", "oneWayCall"])
def test_idempotent_calls_between_services(client: Client, name: str, handler: str) -> None:
    for _ in range(3):
        client.call(f"Proxy/{handler}", proxied("Counter", "add", 1, name, idempotencyKey=f"key-{name}"))
    eventually(lambda: client.call(f"Counter/{name}/get") == 1)
    output = client.get(f"restate/invocation/Counter/{name}/add/key-{name}/output")
    assert output.json() == {"oldValue": 0, "newValue": 1}


def test_delayed_calls_wait_before_their_turn(stage: Stage, client: Client, name: str) -> None:
    began = time.monotonic()
    for _ in range(5):
        client.call("Proxy/oneWayCall", proxied("Counter", "add", 1, name, delayMillis=800))
    # Five answers take longer than one delay where the server is down in between.
    assert client.call(f"Counter/{name}/get") == 0 or stage.pairing.is_killed
    eventually(lambda: client.call(f"Counter/{name}/get") == 5)
    took = time.monotonic() - began
    assert took >= 0.8
    assert took < 3.5 or stage.pairing.is_killed  # One after the other they would take four seconds.


# --- sleeping -----------------------------------------------------------------------------------------------


def test_sleep(client: Client) -> None:
    began = time.monotonic()
    client.call("TestUtilsService/sleepConcurrently", [10, 150])
    assert time.monotonic() - began >= 0.15


def test_many_sleeps(client: Client) -> None:
    durations = [[10 + (7 * number + turn) % 40 for turn in range(20)] for number in range(16)]
    with ThreadPoolExecutor(8) as executor:
        list(executor.map(lambda some: client.call("TestUtilsService/sleepConcurrently", some), durations))


# --- runs and failures --------------------------------------------------------------------------------------


def test_runs_are_executed_before_the_next_step(stage: Stage, client: Client) -> None:
    executed = client.call("TestUtilsService/countExecutedSideEffects", 3)
    if stage.pairing.always_suspends:
        assert executed == 0  # What was executed is in earlier attempts.
    elif stage.pairing.never_suspends:
        assert executed == 3
    else:
        assert executed in range(4)


METADATA = {"key1": "value1", "key2": "value2"}


@pytest.mark.parametrize(
    "handler", ["terminallyFailingCall", "callTerminallyFailingCall", "terminallyFailingSideEffect"]
)
def test_terminal_failures_reach_the_caller(client: Client, name: str, handler: str) -> None:
    for number in range(3):
        with pytest.raises(Refused) as refused:
            client.call(f"Failing/{name}/{handler}", {"errorMessage": f"my error {number}", "metadata": METADATA})
        assert refused.value.status == 500
        assert f"my error {number}" in refused.value.message
        assert METADATA.items() <= refused.value.response.json()["metadata"].items()
        assert refused.value.response.headers["x-restate-error-source"] == "invocation"


def test_failing_attempts_are_retried(stage: Stage, client: Client, name: str) -> None:
    attempts = client.call(f"Failing/{name}/failingCallWithEventualSuccess")
    assert attempts == 4 or (stage.pairing.is_killed and attempts > 4)


def test_run_is_retried_until_it_succeeds(client: Client, name: str) -> None:
    assert client.call(f"Failing/{name}/sideEffectSucceedsAfterGivenAttempts", 3) >= 3


@pytest.mark.parametrize("attempts", [1, 3])
def test_run_is_retried_until_its_attempts_are_used_up(stage: Stage, client: Client, name: str, attempts: int) -> None:
    executed = client.call(f"Failing/{name}/sideEffectFailsAfterGivenAttempts", attempts)
    assert executed == attempts or (stage.pairing.is_killed and executed > attempts)


@pytest.mark.parametrize(
    "handler",
    ["eitherSleepOrCall", "callDifferentMethod", "backgroundInvokeWithDifferentTargets", "setDifferentKey"],
)
def test_a_replay_that_differs_is_found(stage: Stage, client: Client, name: str, handler: str) -> None:
    client.call(f"Counter/{name}/add", 1)
    code = code_of(lambda: client.call(f"NonDeterministic/{name}/{handler}"))
    # What differs is every second attempt: where one in between was cut off, the next agrees with the one before.
    assert code == 570 or (stage.pairing.is_killed and code is None)
    eventually(lambda: client.call(f"Counter/{name}/get") == (1 if code else 2))


# --- what others have ended ---------------------------------------------------------------------------------


def test_handlers_attach_to_what_runs_what_has_ended_and_what_never_was(client: Client, name: str) -> None:
    waits = {"commands": [{"type": "awaitOne", "command": awakeable("a")}]}
    running = client.send(f"VirtualObjectCommandInterpreter/{name}/interpretCommands", waits, idempotency_key=name)
    await_created(client, name, "a")
    attached = in_background(lambda: client.call("Lifecycle/attachTo", running["invocationId"]))
    complete(client, name, "a", value="the result")
    assert attached() == "the result"
    assert client.call("Lifecycle/attachTo", running["invocationId"]) == "the result"
    nobody = "inv_14NAYWOkWeyC4HqaAv3eM70hJLaHxEfgB2"
    assert client.call("Lifecycle/attachTo", nobody) == "failed with 404"


def test_one_key_is_one_invocation_called_sent_attached_and_asked_for(client: Client, name: str) -> None:
    path = f"Counter/{name}/add"
    assert client.call(path, 1, idempotency_key="once") == {"oldValue": 0, "newValue": 1}
    first = client.request(path, 1, idempotency_key="once")
    assert first.json() == {"oldValue": 0, "newValue": 1}
    sent = client.send(path, 5, idempotency_key="once")
    assert sent == {"invocationId": first.headers["x-restate-id"], "status": "PreviouslyAccepted"}
    for verb in ("attach", "output"):
        assert client.get(f"restate/invocation/{path}/once/{verb}").json() == {"oldValue": 0, "newValue": 1}
    assert client.call(f"Counter/{name}/get") == 1


# --- retry policies -----------------------------------------------------------------------------------------


def test_a_services_policy_ends_in_a_pause_and_a_resume_goes_on(stage: Stage, client: Client, name: str) -> None:
    sent = client.send("Lifecycle/pausedAfterTwo", name)["invocationId"]
    eventually(lambda: stage.status(sent) == "paused")
    failed = client.call("Lifecycle/permit", name)
    assert failed == 2 or (stage.pairing.is_killed and failed > 2)
    client.resume(sent)
    assert client.get(f"restate/invocation/{sent}/attach").json() == f"attempt {failed + 1}"


def test_a_handlers_policy_ends_in_a_kill(stage: Stage, client: Client, name: str) -> None:
    with pytest.raises(Refused) as refused:
        client.call("Lifecycle/killedAfterThree", name)
    assert refused.value.status == 500
    assert refused.value.response.headers["x-restate-error-source"] == "invocation"
    assert f"of {name} fails" in refused.value.message
    failed = client.call("Lifecycle/permit", name)
    assert failed == 3 or (stage.pairing.is_killed and failed > 3)


# --- workflows ----------------------------------------------------------------------------------------------


def test_workflow_blocks_until_its_promise_is_resolved(client: Client, name: str) -> None:
    path = f"BlockAndWaitWorkflow/{name}"
    first = client.send(f"{path}/run", "Francesco")
    assert first["status"] in client.accepted
    eventually(lambda: client.call(f"{path}/getState") == "Francesco")
    with pytest.raises(Refused) as early:
        client.get(f"restate/workflow/{path}/output")
    assert early.value.status == 470
    client.call(f"{path}/unblock", "Till")
    assert client.get(f"restate/workflow/{path}/attach").json() == "Till"
    assert client.get(f"restate/workflow/{path}/output").json() == "Till"
    again = client.send(f"{path}/run", "Francesco")
    assert again == {"invocationId": first["invocationId"], "status": "PreviouslyAccepted"}
    with pytest.raises(Refused) as twice:
        client.call(f"{path}/run", "Francesco")
    assert twice.value.status == 409
    with pytest.raises(Refused) as resolved_twice:
        client.call(f"{path}/unblock", "Tom")
    assert resolved_twice.value.status == 409


# --- cancelling and killing ---------------------------------------------------------------------------------


def await_held(client: Client, name: str) -> None:
    eventually(lambda: client.call(f"AwakeableHolder/{name}/hasAwakeable"))


@pytest.mark.parametrize("operation", ["CALL", "SLEEP", "AWAKEABLE"])
@pytest.mark.parametrize("by", ["admin", "context"])
def test_cancel_reaches_what_is_blocked(client: Client, name: str, operation: str, by: str) -> None:
    if by == "admin":
        invocation_id = client.send(f"CancelTestRunner/{name}/startTest", operation)["invocationId"]
    else:
        invocation_id = client.call("Proxy/oneWayCall", proxied("CancelTestRunner", "startTest", operation, name))
    await_held(client, name)
    client.call(f"AwakeableHolder/{name}/unlock", "cancel")

    def cancelled() -> bool:
        # The first one may come before the blocking step: then it is the step before that fails.
        try:
            if by == "admin":
                client.cancel(invocation_id)
            else:
                client.call("TestUtilsService/cancelInvocation", invocation_id)
        except Refused as refused:
            if refused.status not in (404, 409):
                raise
        return bool(client.call(f"CancelTestRunner/{name}/verifyTest", seconds=5))

    eventually(cancelled)
    client.call(f"CancelTestBlockingService/{name}/isUnlocked")


def test_a_cancel_goes_down_the_call_tree(client: Client, name: str) -> None:
    root = client.send("Lifecycle/tree", {"name": name, "depth": 2})["invocationId"]
    eventually(lambda: client.call(f"Counter/{name}-leaves/get") == 4)
    client.cancel(root)
    with pytest.raises(Refused) as refused:
        client.get(f"restate/invocation/{root}/attach")
    assert refused.value.status == CANCELLED
    eventually(lambda: client.call(f"Counter/{name}-compensated/get") == 7)  # The root, two below it, four leaves.


def test_kill_takes_the_call_tree_along(client: Client, name: str) -> None:
    invocation_id = client.send(f"KillTestRunner/{name}/startCallTree")["invocationId"]
    await_held(client, name)
    client.call(f"AwakeableHolder/{name}/unlock", "go on")
    client.kill(invocation_id)
    client.call(f"KillTestSingleton/{name}/isUnlocked")
    with pytest.raises(Refused) as refused:
        client.get(f"restate/invocation/{invocation_id}/attach")
    assert refused.value.status in (404, 409)


# --- awaiting several things --------------------------------------------------------------------------------


def interpret(client: Client, name: str, *commands: dict[str, Any]) -> Any:
    return client.call(f"VirtualObjectCommandInterpreter/{name}/interpretCommands", {"commands": list(commands)})


def awakeable(key: str) -> dict[str, Any]:
    return {"type": "createAwakeable", "awakeableKey": key}


def sleep(duration_ms: int) -> dict[str, Any]:
    return {"type": "sleep", "timeoutMillis": duration_ms}


def failing(reason: str) -> dict[str, Any]:
    return {"type": "runThrowTerminalException", "reason": reason}


def returning(value: str) -> dict[str, Any]:
    return {"type": "runReturns", "value": value}


def complete(client: Client, name: str, key: str, **how: str) -> None:
    handler, path = ("resolveAwakeable" if "value" in how else "rejectAwakeable"), "VirtualObjectCommandInterpreter"
    client.call(f"{path}/{name}/{handler}", {"type": handler, "awakeableKey": key, **how})


def await_created(client: Client, name: str, key: str) -> None:
    eventually(lambda: client.call(f"VirtualObjectCommandInterpreter/{name}/hasAwakeable", key))


def test_awakeable_or_sleep(client: Client, name: str) -> None:
    assert interpret(client, name, {"type": "awaitAny", "commands": [awakeable("a"), sleep(100)]}) == "sleep"


def test_awakeable_or_timeout(client: Client, name: str) -> None:
    with pytest.raises(Refused) as refused:
        interpret(client, name, {"type": "awaitAwakeableOrTimeout", "awakeableKey": "a", "timeoutMillis": 100})
    assert "await-timeout" in refused.value.message


def test_first_successful_wins(client: Client, name: str) -> None:
    commands = [awakeable("a0"), failing("r0"), awakeable("a1"), failing("r1"), awakeable("a2"), failing("r2")]
    result = in_background(lambda: interpret(client, name, {"type": "awaitAnySuccessful", "commands": commands}))
    await_created(client, name, "a2")
    complete(client, name, "a2", reason="fail")
    complete(client, name, "a1", value="a1-result")
    assert result() == "a1-result"


def test_all_of_them(client: Client, name: str) -> None:
    commands = [returning("one"), failing("two"), sleep(20), awakeable("a")]
    result = in_background(lambda: interpret(client, name, {"type": "awaitAllCompleted", "commands": commands}))
    await_created(client, name, "a")
    complete(client, name, "a", value="four")
    assert result() == "ok:one|err:two|ok:sleep|ok:four"


def test_all_of_them_or_the_first_failure(client: Client, name: str) -> None:
    both = {"type": "awaitAllSucceededOrFirstFailed", "commands": [returning("one"), returning("two")]}
    assert interpret(client, name, both) == "one|two"
    with pytest.raises(Refused) as refused:
        interpret(client, name, {**both, "commands": [returning("one"), failing("no luck")]})
    assert "no luck" in refused.value.message


def test_results_are_kept_in_order(client: Client, name: str) -> None:
    environment = {"type": "getEnvVariable", "envName": "INTEROP_GREETING"}
    assert interpret(client, name, {"type": "awaitOne", "command": sleep(5)}, environment).startswith("hello from")
    results = client.call(f"VirtualObjectCommandInterpreter/{name}/getResults")
    assert results == ["sleep", "hello from the environment"]


@pytest.mark.parametrize("how", ["resolve", "reject"])
def test_named_signal(client: Client, name: str, how: str) -> None:
    path = f"VirtualObjectCommandInterpreter/{name}/interpretCommands"
    waits = {"type": "awaitOne", "command": {"type": "createSignal", "signalName": "go"}}
    invocation_id = client.send(path, {"commands": [waits]}, idempotency_key=name)["invocationId"]
    word = {"value": "gone"} if how == "resolve" else {"reason": "stay"}
    signal = {"invocationId": invocation_id, "signalName": "go", **word}
    client.call(f"TestUtilsService/{how}Signal", signal)
    if how == "resolve":
        assert client.get(f"restate/invocation/{invocation_id}/attach").json() == "gone"
        return
    with pytest.raises(Refused) as refused:
        client.get(f"restate/invocation/{invocation_id}/attach")
    assert "stay" in refused.value.message


def test_awakeable_completed_by_the_ingress(client: Client, name: str) -> None:
    result = in_background(lambda: client.call(f"CancelTestBlockingService/{name}/block", "NOTHING"))
    await_held(client, name)
    client.call(f"AwakeableHolder/{name}/unlock", "by way of the holder")
    assert result() is None


# --- programs -----------------------------------------------------------------------------------------------

PROGRAM: list[dict[str, Any]] = [
    {"kind": 1, "key": 1},
    {"kind": 2, "key": 1},
    {"kind": 3, "key": 1},
    {"kind": 4},
    {"kind": 5},
    {"kind": 6, "duration": 5},
    {"kind": 7},
    {"kind": 8, "sleep": 20},
    {"kind": 9, "duration": 10},
    {"kind": 10},
    {"kind": 11},
    {"kind": 12},
    {"kind": 13},
    {"kind": 14},
    {"kind": 8, "sleep": 30},
    {"kind": 16},
    {"kind": 17},
    {"kind": 18},
    {"kind": 15, "index": 14},
]
INCREMENTS = 4


def await_count(client: Client, path: str) -> None:
    eventually(lambda: client.call(path) == INCREMENTS)


def test_programs_in_three_layers(client: Client, name: str) -> None:
    program = {"commands": PROGRAM}
    for _ in range(2):
        program = {"commands": [*PROGRAM, {"kind": 19, "key": name, "program": program}]}
    client.call(f"ObjectInterpreterL0/{name}/interpret", program)
    for layer in range(3):
        await_count(client, f"ObjectInterpreterL{layer}/{name}/counter")
