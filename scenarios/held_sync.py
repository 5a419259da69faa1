"""A payment's result is written and not durable when the server loses power: the step executes once more, and the
provider, who is asked twice under one key, charges once.

A scripted scenario on the ticket tour: just this interleaving, in every seed; sizes, bounds and hops are the seed's.
`understudy simulate scenarios/held_sync.py`.
"""

from __future__ import annotations

from understudy_sim import Call, Stage, faults, scenario

from scenarios import box_office


@scenario(app="scenarios.ticket_tour:app", faults=faults.none(), seeds=40)
async def result_lost_before_its_sync(stage: Stage) -> None:
    payments = stage.external(box_office.PaymentProvider)
    mails = stage.external(box_office.MailProvider)
    box_office.claim_only(stage, payments, mails)
    await stage.start()

    added = await stage.ask(
        Call(client="ann", service="CartObject", key="ann", handler="addTicket", argument="seat-1")
    ).answer()
    assert added is not None
    assert added.value is True
    written = stage.at("journal.append", where={"command": "AttemptOutput", "step": "charge"}).hold()
    call = stage.ask(Call(client="ann", service="CartObject", key="ann", handler="checkout"))
    await written
    assert len(payments) == 1, "the provider has answered, and the server does not know it for sure"
    await stage.crash("server", unsynced="lose")
    stage.restart("server")
    answer = await call.answer()

    assert len(payments) == 2, "the step was executed once more"
    assert payments[0].key == payments[1].key, "under the key that was journaled in a step before it"
    assert answer is not None
    approved = payments[0].outcome == "approved"
    assert answer.value is approved
    await stage.finish()
    stage.eventually("the seat is sold iff it was paid for", lambda: sold(stage) is approved)


def sold(stage: Stage) -> bool:
    return stage.state("TicketObject", "seat-1").get("status") == "SOLD"
