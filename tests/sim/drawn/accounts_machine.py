"""Accounts as a state machine: what is asked for in the background, faults meanwhile, and one balance at the end."""

from __future__ import annotations

from hypothesis import strategies as st
from understudy_sim import Stage
from understudy_sim.drawn import Bundle, Started, StateMachine, fault, finally_, invariant, rule

from scenarios.account import account_model

ACCOUNTS = st.sampled_from(("rent", "food"))
AMOUNTS = st.integers(1, 50)


class Accounts(StateMachine):
    app = "scenarios.account:app"
    running = Bundle("running")

    def prepare(self, stage: Stage) -> None:
        stage.linearizable("Account", account_model, initial=0)

    @rule(key=ACCOUNTS, amount=AMOUNTS)
    async def deposit(self, key: str, amount: int) -> None:
        reply = await self.call("Account", "deposit", key=key, argument=amount)
        assert reply.lost or reply.value >= amount, f"{amount} was put in and {reply.value} is there"

    @rule(target=running, key=ACCOUNTS, amount=AMOUNTS)
    async def begin_deposit(self, key: str, amount: int) -> tuple[Started, int]:
        return self.start("Account", "deposit", client="ann", key=key, argument=amount), amount

    @rule(held=running)
    async def join(self, held: tuple[Started, int]) -> None:
        started, amount = held
        reply = await started.join()
        assert reply.lost or reply.value >= amount, f"{amount} was put in and {reply.value} is there"

    @rule(source=ACCOUNTS, target_=ACCOUNTS, amount=AMOUNTS)
    async def transfer(self, source: str, target_: str, amount: int) -> None:
        order = {"source": source, "target": target_, "amount": amount}
        await self.call("Bank", "transfer", argument=order)

    @fault(after_ms=st.integers(0, 300))
    async def cut(self) -> None:
        self.strike("server_crash", lasts_ms=200)

    @fault(after_ms=st.integers(0, 300))
    async def reset(self) -> None:
        self.strike("stream_reset", "machine", "server")

    @invariant()
    def nobody_is_in_debt(self) -> bool:
        return all(self.stage.state("Account", key).get("balance", 0) >= 0 for key in ("rent", "food"))

    @finally_
    async def the_balance_is_what_is_stored(self) -> None:
        for key in ("rent", "food"):
            stored = self.stage.state("Account", key).get("balance", 0)
            assert (await self.call("Account", "balance", key=key)).expect() == stored
