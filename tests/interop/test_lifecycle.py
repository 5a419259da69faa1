"""What an operator does to an invocation: the same on both servers, with any SDK."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.client import Client, Refused, eventually
from tests.interop.pairings import PLAIN, Stage
from tests.interop.peers.processes import our_server

pytestmark = pytest.mark.parametrize("stage", PLAIN, indirect=True, scope="package")
INTERPRETER = "VirtualObjectCommandInterpreter"
ENVIRONMENT = {"type": "getEnvVariable", "envName": "INTEROP_GREETING"}


def begin(client: Client, name: str) -> str:
    """Send off an invocation that waits for an awakeable and then tells what its process was told; its id."""
    waits = {"type": "awaitOne", "command": {"type": "createAwakeable", "awakeableKey": "a"}}
    path = f"{INTERPRETER}/{name}"
    sent = client.send(f"{path}/interpretCommands", {"commands": [waits, ENVIRONMENT]})
    eventually(lambda: client.call(f"{path}/hasAwakeable", "a"))
    return str(sent["invocationId"])


def go_on(client: Client, name: str) -> None:
    """Complete that awakeable."""
    client.call(
        f"{INTERPRETER}/{name}/resolveAwakeable", {"type": "resolveAwakeable", "awakeableKey": "a", "value": "x"}
    )


def refused(act: Callable[[], object]) -> int:
    """The status *act* is refused with."""
    with pytest.raises(Refused) as found:
        act()
    return found.value.status


# --- pause and resume ---------------------------------------------------------------------------------------


def test_a_resume_begins_a_retry_that_waits(stage: Stage, client: Client, name: str) -> None:
    sent = client.send("Lifecycle/retriedInAnHour", name)["invocationId"]
    eventually(lambda: stage.is_backing_off(sent))
    assert client.call("Lifecycle/permit", name) == 1
    client.resume(sent)
    assert client.get(f"restate/invocation/{sent}/attach").json() == "attempt 2"
    assert refused(lambda: client.resume(sent)) == 409


def test_a_paused_invocation_waits_for_its_resume(stage: Stage, client: Client, name: str) -> None:
    paused = begin(client, name)
    client.pause(paused)
    eventually(lambda: stage.status(paused) == "paused")
    client.pause(paused)
    go_on(client, name)
    assert refused(lambda: client.get(f"restate/invocation/{paused}/output")) == 470
    client.resume(paused)
    assert client.get(f"restate/invocation/{paused}/attach").json() == "hello from the environment"
    assert refused(lambda: client.pause(paused)) == 409


def test_a_cancel_resumes_what_is_paused(stage: Stage, client: Client, name: str) -> None:
    paused = client.send("Lifecycle/pausedAfterTwo", name)["invocationId"]
    eventually(lambda: stage.status(paused) == "paused")
    client.call("Lifecycle/permit", name)
    client.cancel(paused)
    assert client.get(f"restate/invocation/{paused}/attach").json() == "attempt 3"  # It never waits, so it never hears.


def test_a_kill_ends_what_is_paused(stage: Stage, client: Client, name: str) -> None:
    paused = client.send("Lifecycle/pausedAfterTwo", name)["invocationId"]
    eventually(lambda: stage.status(paused) == "paused")
    client.kill(paused)
    assert refused(lambda: client.get(f"restate/invocation/{paused}/attach")) == 409


# --- restart ------------------------------------------------------------------------------------------------


def test_what_was_killed_runs_once_more(stage: Stage, client: Client, name: str) -> None:
    killed = client.send("Lifecycle/killedAfterThree", name)["invocationId"]
    assert refused(lambda: client.get(f"restate/invocation/{killed}/attach")) == 500
    client.call("Lifecycle/permit", name)
    again = client.restart(killed)
    assert again != killed
    assert client.get(f"restate/invocation/{again}/attach").json() == "attempt 4"
    assert refused(lambda: client.get(f"restate/invocation/{killed}/output")) == 500


def test_a_restart_keeps_the_steps_that_are_copied(stage: Stage, client: Client, name: str) -> None:
    def ended(invocation_id: str) -> list[str]:
        first, drawn = client.get(f"restate/invocation/{invocation_id}/attach").json()
        return [first, drawn]

    sent = client.send("Lifecycle/twoSteps", name)["invocationId"]
    first, drawn = ended(sent)
    assert first == "execution 1"
    kept = ended(client.restart(sent, copied_upto=2))  # The input, the run, its result.
    assert kept[0] == first
    # Restate's server draws a seed anew, although steps are kept that may follow from the one before.
    assert (kept[1] == drawn) == (stage.pairing.server is our_server)
    anew = ended(client.restart(sent))
    assert anew[0] == "execution 2"
    assert anew[1] != drawn


def test_what_cannot_be_restarted(stage: Stage, client: Client, name: str) -> None:
    waiting = begin(client, name)
    assert refused(lambda: client.restart(waiting)) == 409
    client.kill(waiting)
    later = client.send("Lifecycle/twoSteps", name, delay="1h")["invocationId"]
    assert refused(lambda: client.restart(later)) == 425
    assert refused(lambda: client.restart("inv_14NAYWOkWeyC4HqaAv3eM70hJLaHxEfgB2")) == 404
    workflow = client.send(f"BlockAndWaitWorkflow/{name}/run", "x")["invocationId"]
    client.kill(workflow)
    assert refused(lambda: client.restart(workflow)) == 422


# --- purge --------------------------------------------------------------------------------------------------


def test_what_is_purged_may_run_again(stage: Stage, client: Client, name: str) -> None:
    path = f"BlockAndWaitWorkflow/{name}"
    first = client.send(f"{path}/run", "x")["invocationId"]
    assert refused(lambda: client.purge(first)) == 409
    client.kill(first)
    client.purge(first)
    assert refused(lambda: client.get(f"restate/workflow/{path}/output")) == 404
    assert client.call(f"{path}/getState") is None
    again = client.send(f"{path}/run", "y")
    assert again == {"invocationId": first, "status": "Accepted"}
    eventually(lambda: client.call(f"{path}/getState") == "y")
    client.kill(first)


# --- deployments --------------------------------------------------------------------------------------------


def test_who_has_begun_stays_on_its_deployment(
    stage: Stage, client: Client, name: str, tmp_path: Path, running: ExitStack
) -> None:
    path = f"{INTERPRETER}/{name}-2/interpretCommands"
    begun = begin(client, name)
    newer = stage.pairing.application(tmp_path, {"INTEROP_GREETING": "hello from the newer one"})
    running.callback(newer.process.stop)
    registered = client.register(newer.uri)
    running.callback(lambda: client.administer("DELETE", f"deployments/{registered['id']}?force=true"))
    assert client.call(path, {"commands": [ENVIRONMENT]}) == "hello from the newer one"
    go_on(client, name)
    assert client.get(f"restate/invocation/{begun}/attach").json() == "hello from the environment"
