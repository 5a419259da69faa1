"""Applications of the official SDK in rehearsal: unmodified, on virtual time, judged and refused as they deserve."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from restate import server_types
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame, FrameDecoder, encode_frames
from understudy.protocol.messages import MessageType
from understudy_sim import Call, External, Stage, faults
from understudy_sim.kernel import aio_loop
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.stage import guest_sdk
from understudy_sim.stage.application import Application, NoApplication
from understudy_sim.stage.plan import Plan
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Scenario, scenario
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.search import run_seeds
from understudy_sim.stage.silence import silent
from understudy_sim.stage.variation import AS_DRAWN

from tests.tidy.sources import ROOT

APP = "tests.sim.stage.guest_app:app"
TOUR = "scenarios/ticket_tour_official.py"


def rehearsed(
    *calls: Call,
    app: str = APP,
    seed: int = 3,
    kinds: str = "none",
    prepare: Callable[[Stage], None] = lambda stage: None,
    plan: Callable[[Plan], Plan] | None = None,
) -> tuple[Report, dict[str, Any]]:
    """One run of *calls*, and the answers by handler."""
    answers: dict[str, Any] = {}

    def workload(choices: Any) -> Sequence[Call]:
        return calls

    async def script(stage: Stage) -> None:
        prepare(stage)
        await stage.play()
        for call in calls:
            told = stage.answers(call.service, call.handler)
            answers[call.handler] = [json.loads(one.answer.body or "null") for one in told if one.answer is not None]

    made: Scenario = scenario(app=app, workload=workload, faults=faults.parse(kinds), plan=plan)(script)
    with silent():
        return run_seed(made, Application(app), seed), answers


def test_it_reads_the_virtual_clock_in_python_and_in_its_core() -> None:
    report, answers = rehearsed(Call(client="ann", service="Clock", handler="read", argument="x"))
    assert not report.failed, report.stories
    ((before, after),) = answers["read"]
    assert 1_704_067_200 <= before < 1_704_067_300, "the clock of the world, which begins in 2024"
    assert 20 <= after - before < 25, "the sleep was due by that clock, not by the machine's"


def test_a_delayed_send_is_due_by_the_virtual_clock() -> None:
    report, _ = rehearsed(Call(client="ann", service="Clock", handler="later", argument="x"))
    assert not report.failed, report.stories
    assert report.invocations == 2
    assert report.virtual_ns > 3_600 * 1_000_000_000


def test_clocks_and_entropy_in_a_handler_are_hazards_and_in_a_step_are_not() -> None:
    report, _ = rehearsed(Call(client="ann", service="Clock", handler="careless", argument="x"))
    told = [one.what for one in report.violations]
    assert len(told) == 2, told
    assert all(re.search(r"careless, outside ctx.run.*|tests/sim/stage/guest_app.py:\d+", one) for one in told)
    assert any("time.time" in one for one in told)
    assert any("uuid.uuid4" in one for one in told)


def test_steps_that_block_and_steps_that_wait_are_answered_by_the_seed() -> None:
    runs = [rehearsed(Call(client="ann", service="Clock", handler="pooled", argument="x"), seed=s) for s in (3, 3, 4)]
    assert not any(report.failed for report, _ in runs)
    first, again, other = (answers["pooled"] for _, answers in runs)
    assert first == again != other


def test_a_thread_is_refused_where_it_is_started() -> None:
    report, _ = rehearsed(Call(client="ann", service="Clock", handler="threaded", argument="x"))
    told = "\n".join(one.what for one in report.violations)
    assert "threading.Thread" in told
    assert "guest_app.py" in told


def test_what_its_process_remembers_dies_with_it() -> None:
    calls = [Call(client="ann", service="Counter", key="k", handler="add", argument=1) for _ in range(6)]
    calls.append(Call(client="ann", service="Counter", key="k", handler="seen"))
    seen = []
    for seed in range(4):
        report, answers = rehearsed(*calls, seed=seed, kinds="endpoint_crash,endpoint_drain")
        assert not report.failed, report.stories
        assert answers["add"] == [1, 2, 3, 4, 5, 6]
        seen += answers["seen"]
    assert min(seen) < 6, "state lasts, globals do not"


class Till(External[int]):
    name = "till"
    port = 7000
    address_variable = "SHOP_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(request["amount"])
        return {"paid": f"{request['amount']} euros"}


def test_it_reaches_what_lies_outside() -> None:
    ledgers: list[Any] = []
    call = Call(client="ann", service="Shop", handler="pay", argument=5)
    report, answers = rehearsed(call, prepare=lambda stage: ledgers.append(stage.external(Till)))
    assert not report.failed, report.stories
    assert answers["pay"] == ["5 euros"]
    assert list(ledgers[0]) == [5]


def test_its_http_library_reaches_hosts_of_the_run() -> None:
    call = Call(client="ann", service="Shop", handler="fetch", argument="http://server:8080/restate/health")
    report, answers = rehearsed(call)
    assert not report.failed, report.stories
    assert answers["fetch"] == [200]


def test_what_is_not_judged_of_a_guest_is_said_and_of_ours_all_is() -> None:
    report, _ = rehearsed(Call(client="ann", service="Clock", handler="later", argument="x"))
    assert any(one.startswith("P6 ") for one in report.not_judged)
    assert report.hits["P7 records compared"] > 0
    (ours,) = run_seeds(load_scenario("scenarios/parcels.py"), [0], AS_DRAWN)
    assert not ours.not_judged


# --- what cannot be rehearsed -----------------------------------------------------------------------------------


def test_something_else_than_an_application_is_refused() -> None:
    with pytest.raises(NoApplication, match=r"not_an_app is 'int': an application made by understudy.app"):
        Application("tests.sim.stage.guest_app:not_an_app").load()


def test_an_application_without_services_is_refused() -> None:
    with pytest.raises(NoApplication, match=r"silent_app serves no endpoint: it answered GET /discover with 404"):
        _ = Application("tests.sim.stage.guest_app:silent_app").manifest


def test_without_trio_asyncio_it_is_said_what_to_install() -> None:
    code = (
        "import sys; sys.modules['trio_asyncio'] = None\n"
        "from understudy_sim.stage.application import Application\n"
        f"try: Application({APP!r}).manifest\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("NoApplication tests.sim.stage.guest_app:app is an ASGI application")
    assert "pip install 'understudy[guests]'" in done.stdout


# --- the tour ---------------------------------------------------------------------------------------------------


def test_the_tours_differ_in_their_imports() -> None:
    ours = (ROOT / "scenarios" / "ticket_tour.py").read_text()
    official = (ROOT / TOUR).read_text()
    bodies = [ast.parse(text).body[0] for text in (ours, official)]
    assert all(isinstance(one, ast.Expr) for one in bodies)
    before, after = (
        text.splitlines()[one.end_lineno or 0 :] for text, one in zip((ours, official), bodies, strict=True)
    )
    assert len(before) == len(after)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    imports = [(old.replace("from understudy ", "from restate "), new) for old, new in changed[:-1]]
    assert imports
    assert all(old == new for old, new in imports), imports
    # Which file the scenario names as its application: itself.
    old, new = changed[-1]
    assert old.replace("scenarios.ticket_tour:app", "scenarios.ticket_tour_official:app") == new


def test_the_tour_holds_on_the_official_sdk() -> None:
    for report in run_seeds(load_scenario(TOUR), range(6), AS_DRAWN):
        assert not report.failed, report.stories
        assert report.invocations >= 20
        assert report.bytes_mode


DIGESTS = f"""
import hashlib, sys
from understudy_sim.stage.application import Application
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.script import load_scenario
from understudy_sim.stage.silence import silent

class Bytes:
    def attach(self, rehearsal):
        self.seen = hashlib.sha256()
        network = rehearsal.kernel.network
        split = network.split
        def told(pipe, data):
            self.seen.update(bytes(data))
            return split(pipe, data)
        network.split = told
    def stopped(self, rehearsal, ended):
        print(ended.digest, self.seen.hexdigest())

junk = [object() for _ in range(int(sys.argv[1]))]
scenario = load_scenario({TOUR!r})
with silent():
    for seed in (1, 2):
        run_seed(scenario, Application(scenario.app), seed, observers=[Bytes()])
"""


def test_every_byte_is_the_same_in_every_process() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", DIGESTS, salt],
            cwd=ROOT,
            env={"PYTHONHASHSEED": salt, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for salt in ("1", "4242")
    }
    assert len(printed) == 1
    assert len(printed.pop().splitlines()) == 2


def test_its_set_of_open_channels_has_one_order() -> None:
    """At SIGTERM it wakes all of them, as they come out of a set."""

    async def opened(kernel: Kernel) -> list[int]:
        async with aio_loop.open_loop(kernel) as loop:
            return list(await loop.run_aio_coroutine(hashes()))

    async def hashes() -> list[int]:
        channels = [server_types.ReceiveChannel(forever) for _ in range(5)]
        assert len(set(channels)) == 5
        return [hash(one) for one in channels]

    async def forever() -> Any:
        await asyncio.Event().wait()

    before = server_types.ReceiveChannel.__init__
    with guest_sdk.answered(lambda: 0, lambda id_, step: None), Kernel(SeededChoices(0)) as kernel:
        assert kernel.run(opened, kernel).value() == [1, 2, 3, 4, 5]
    assert server_types.ReceiveChannel.__init__ is before


# --- the frames of its core ----------------------------------------------------------------------------------------


def frames(*messages: tuple[int, Any]) -> bytes:
    return encode_frames([Frame(type_, message.SerializeToString()) for type_, message in messages])


def test_only_times_and_the_order_of_what_is_waited_for_change() -> None:
    sent = frames(
        (MessageType.RUN, pb.RunCommand(name="step", result_completion_id=1)),
        (MessageType.SLEEP, pb.SleepCommand(wake_up_time=99_999, result_completion_id=2, name="nap")),
        (MessageType.ONE_WAY_CALL, pb.OneWayCallCommand(service_name="S", handler_name="h", invoke_time=99_998)),
        (MessageType.ONE_WAY_CALL, pb.OneWayCallCommand(service_name="S", handler_name="at once")),
        (MessageType.SUSPENSION, pb.Suspension(waiting_completions=[3, 1, 2], waiting_named_signals=["b", "a"])),
    )
    due = deque([(int(MessageType.SLEEP), 5), (int(MessageType.ONE_WAY_CALL), 6)])
    run, sleep, send, other, suspension = FrameDecoder().feed(guest_sdk.restamped(sent, due))
    assert pb.RunCommand.FromString(run.payload).name == "step"
    assert pb.SleepCommand.FromString(sleep.payload) == pb.SleepCommand(
        wake_up_time=5, result_completion_id=2, name="nap"
    )
    assert pb.OneWayCallCommand.FromString(send.payload).invoke_time == 6
    assert pb.OneWayCallCommand.FromString(other.payload).invoke_time == 0
    waits = pb.Suspension.FromString(suspension.payload)
    assert (list(waits.waiting_completions), list(waits.waiting_named_signals)) == ([1, 2, 3], ["a", "b"])
    assert not due


def test_a_time_nobody_asked_for_is_an_error() -> None:
    sent = frames((MessageType.SLEEP, pb.SleepCommand(wake_up_time=99_999)))
    with pytest.raises(guest_sdk.CoreDiffers, match="its time cannot be answered"):
        guest_sdk.restamped(sent, deque())


def test_half_a_message_is_an_error() -> None:
    sent = frames((MessageType.SLEEP, pb.SleepCommand(wake_up_time=99_999)))
    with pytest.raises(guest_sdk.CoreDiffers, match="a part of a message"):
        guest_sdk.restamped(sent[:-1], deque())
