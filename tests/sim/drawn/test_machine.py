"""An async state machine: its rules run inside the world, what fails shrinks, and what is printed is a program."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from understudy_sim.drawn import (
    Bundle,
    RehearsalFailed,
    Started,
    StateMachine,
    fault,
    finally_,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.sim.drawn.accounts_machine import Accounts

FEW = settings(
    max_examples=10,
    stateful_step_count=10,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


class Small(StateMachine):
    """Asks one account; each test adds what it is about."""

    app = "scenarios.account:app"

    async def deposit(self, amount: int) -> Any:
        return (await self.call("Account", "deposit", key="rent", argument=amount)).expect()


def test_the_machine_holds() -> None:
    run_state_machine_as_test(Accounts, settings=FEW)


def test_a_program_runs_as_it_is_printed() -> None:
    state = Accounts()
    state.begin(seed=5)
    first = state.begin_deposit(key="rent", amount=5)
    second = state.begin_deposit(key="rent", amount=6)
    state.cut(after_ms=3)
    state.join(held=first)
    state.join(held=second)
    state.transfer(source="rent", target_="food", amount=3)
    state.reset(after_ms=3)
    state.teardown()
    assert state.report is not None
    assert [one.kind for one in state.report.firings] == ["server_crash", "stream_reset"]
    assert state.report.invocations >= 5, "what was begun, the transfer and its two calls, and the final looks"
    again = Accounts()
    again.begin(seed=5)
    again._steps = state._steps
    assert again.run().digest == state.report.digest


def test_what_fails_is_told_with_the_line_and_the_program() -> None:
    class Wrong(Small):
        @rule(amount=st.just(7))
        async def put(self, amount: int) -> None:
            assert await self.deposit(amount) == 8, "it is not eight"

    state = Wrong()
    state.begin(seed=1)
    state.put(amount=7)
    with pytest.raises(RehearsalFailed, match="rule put") as failed:
        state.teardown()
    assert "it is not eight" in str(failed.value)
    assert "test_machine.py" in str(failed.value)
    assert "Wrong, seed 1: put(amount=7)" in str(failed.value)


def test_bundles_hold_what_rules_return_and_rules_without_their_argument_are_skipped() -> None:
    seen: list[Any] = []

    class Passing(Small):
        balances = Bundle("balances")

        @rule(target=balances, amount=st.integers(1, 9))
        async def put(self, amount: int) -> int:
            return int(await self.deposit(amount))

        @rule(target=balances)
        async def fail(self) -> None:
            (await self.call("Account", "withdraw", key="empty", argument=5)).expect()

        @rule(before=balances, others=st.lists(balances))
        async def compare(self, before: int, others: list[int]) -> None:
            seen.append((before, others))

    state = Passing()
    state.begin(seed=0)
    three = state.put(amount=3)
    seven = state.put(amount=4)
    state.compare(before=seven, others=[three, seven])
    broken = state.fail()
    state.compare(before=broken, others=[])
    report = state.run()
    assert seen == [(7, [3, 7])]
    assert [one.claim for one in report.violations] == ["rule fail"]
    assert report.happened["a rule was skipped: what it takes never came to be"] == 1


def test_the_operator_can_be_asked_to_act() -> None:
    replies: list[Any] = []

    class Acted(StateMachine):
        app = "tests.sim.stage.waiting_app:app"

        @rule()
        async def kill(self) -> None:
            started = self.start("Waiting", "awakeable", label="waits")
            await self.call("Waiting", "sleep", argument=1)
            await self.act("kill", "waits")
            replies.append(await started.join())

    for seed in range(4):  # However the server is reached.
        state = Acted()
        state.begin(seed=seed)
        state.kill()
        assert not state.run().failed
    assert [reply.status for reply in replies] == [409] * 4


def test_final_rules_come_when_faults_are_over_and_everything_is_answered() -> None:
    order: list[str] = []
    running: list[Started] = []

    class Ending(Small):
        @rule()
        async def begin_one(self) -> None:
            order.append("rule")
            running.append(self.start("Account", "deposit", key="rent", argument=1))

        @fault(after_ms=st.just(1))
        async def cut(self) -> None:
            order.append("fault")
            assert self.strike("server_crash", lasts_ms=2_000)

        @fault(after_ms=st.just(3_600_000))
        async def too_late(self) -> None:
            order.append("never")

        @finally_
        async def converges(self) -> None:
            order.append("finally")
            assert not self.strike("server_crash"), "faults are over"
            assert running[0].reply is not None
            assert running[0].reply.ok
            assert (await self.call("Account", "balance", key="rent")).value == 1

    state = Ending()
    state.begin(seed=3)
    state.cut(after_ms=1)
    state.too_late(after_ms=3_600_000)
    state.begin_one()
    state.teardown()
    assert order == ["rule", "fault", "finally"]


def test_invariants_are_looked_at_after_every_commit() -> None:
    class Judged(Small):
        @rule()
        async def put_twice(self) -> None:
            await self.deposit(30)
            await self.call("Account", "withdraw", key="rent", argument=30)

        @invariant()
        def never_rich(self) -> str:
            balance = self.stage.state("Account", "rent").get("balance", 0)
            return f"there are {balance}" if balance >= 30 else ""

        @invariant()
        async def poor_between_rules(self) -> None:
            assert (await self.call("Account", "balance", key="rent")).value == 0

    state = Judged()
    state.begin(seed=0)
    state.put_twice()
    report = state.run()
    assert [(one.claim, one.what) for one in report.violations] == [("invariant never_rich", "there are 30")]


@pytest.mark.parametrize("decorator", [rule(), finally_])
def test_what_must_wait_is_async(decorator: Any) -> None:
    def plain(self: Any) -> None:
        """Not async."""

    with pytest.raises(AssertionError, match="async def"):
        decorator(plain)


def test_a_planted_bug_is_found_and_shrunk_to_a_few_steps() -> None:
    """A new leader numbers its messages from one again (M1): a transfer, a crash, a transfer."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.sim.drawn.planted", "M1", "machine"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "RehearsalFailed[P7" in done.stderr
    told = done.stderr[done.stderr.index("state = Accounts()") :]
    steps = [line for line in told.splitlines() if "state." in line and "teardown" not in line and "begin(" not in line]
    assert 1 <= len(steps) <= 5, told
    assert any("cut" in step for step in steps), told
