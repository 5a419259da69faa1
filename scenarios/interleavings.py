"""Three places where a power cut or another order could change what happened, each met exactly in every seed.

* an awakeable is completed while its server restarts: the record of it is lost, or is kept and nobody was told;
* two customers want one seat, and the one who is let go first gets it;
* a message to another partition is in its target's log, durable or not, when both lose power: it counts once.

The applications are those of the other scenarios, unchanged.  Which variant a seed meets, and all the rest (sizes,
bounds, hops, latencies), is the seed's.  `understudy simulate scenarios/interleavings.py::completed_while_it_restarts`.
"""

from __future__ import annotations

import attrs
from understudy_sim import Call, Plan, Settle, Stage, faults, scenario

from scenarios import box_office, doorbell

ALL_DAY_MS = 24 * 3_600_000
SEAT = "seat-1"


def add(customer: str) -> Call:
    return Call(client=customer, service="CartObject", key=customer, handler="addTicket", argument=SEAT)


def in_two_partitions(plan: Plan) -> Plan:
    """Ann's cart and the seat are not of one partition."""
    return attrs.evolve(plan, partition_count=4)


@scenario(app="scenarios.doorbell:app", faults=faults.none(), seeds=40)
async def completed_while_it_restarts(stage: Stage) -> None:
    noted = stage.external(doorbell.Logbook)
    stage.always("a delivery has one outcome", lambda: doorbell.changed_its_mind(noted))
    is_lost = stage.kernel.choices.chance("script/lost", 500)
    await stage.start()

    parcel = doorbell.Parcel(door="ann", patience_ms=ALL_DAY_MS, looks_late=False)
    delivery = stage.ask(Call(client="ann", service="Courier", handler="deliver", argument=parcel, label="parcel"))
    await stage.at("handler.await", where={"service": "Courier"}).passed()
    side = "before" if is_lost else "after"
    completed = stage.at("journal.append", side=side, where={"command": "Signal"}).hold()
    opening = stage.ask(Settle(client="mary", of="parcel", awakeable=1, value="mary"))
    await completed
    await stage.crash("server", unsynced="lose")
    assert not opening.done, "nobody has told mary anything"
    stage.restart("server")
    await opening.answer()
    answer = await delivery.answer()

    assert answer is not None
    assert answer.value == "opened by mary"
    assert stage.signals(stage.invocation("parcel")) >= 1
    await stage.finish()
    stage.sometimes("the record was lost", is_lost)
    stage.sometimes("the record was kept", not is_lost)


@scenario(app="scenarios.ticket_tour:app", faults=faults.none(), seeds=40)
async def who_is_let_go_first(stage: Stage) -> None:
    payments = stage.external(box_office.PaymentProvider)
    mails = stage.external(box_office.MailProvider)
    box_office.claim_only(stage, payments, mails)
    first, second = stage.kernel.choices.shuffle("script/first", ["ann", "bob"])
    await stage.start()

    standing = {
        name: stage.at("handler.start", where={"service": "CartObject", "key": name}).hold() for name in (first, second)
    }
    calls = {name: stage.ask(add(name)) for name in ("ann", "bob")}
    for point in standing.values():
        await point
    standing[first].release()
    got = await calls[first].answer()
    standing[second].release()
    refused = await calls[second].answer()

    assert got is not None
    assert got.value is True
    assert refused is not None
    assert refused.value is False
    await stage.finish()
    stage.sometimes("ann came first", first == "ann")
    stage.sometimes("bob came first", first == "bob")


@scenario(app="scenarios.ticket_tour:app", faults=faults.none(), seeds=40, plan=in_two_partitions)
async def on_its_way_to_another_partition(stage: Stage) -> None:
    payments = stage.external(box_office.PaymentProvider)
    mails = stage.external(box_office.MailProvider)
    box_office.claim_only(stage, payments, mails)
    stage.linearizable("TicketObject", box_office.seat, initial=("AVAILABLE", ""))
    is_lost = stage.kernel.choices.chance("script/lost", 500)
    await stage.start()

    delivered = {"command": "Delivered", "message": "Invoke", "service": "TicketObject"}
    arriving = stage.at("journal.append", side="before" if is_lost else "after", where=delivered).hold()
    call = stage.ask(add("ann"))
    await arriving
    await stage.crash("server", unsynced="lose")
    stage.restart("server")
    answer = await call.answer()

    assert answer is not None
    assert answer.value is True
    assert len(stage.accepted("TicketObject", "reserve")) == 1, "whatever came twice counts once"
    assert stage.state("TicketObject", SEAT)["status"] == "RESERVED"
    await stage.finish()
    stage.sometimes("the message was lost", is_lost)
    stage.sometimes("the message was kept", not is_lost)
