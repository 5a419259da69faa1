"""The ticket tour on a disk that damages what was synced: it must be noticed, or do no harm.

There is one copy of the data, so a server that finds it damaged refuses to start, by name, and the rehearsal ends
there: whoever still waits gets no answer, and nobody may ever have got a wrong one.
"""

from __future__ import annotations

from understudy_sim import Stage, faults, scenario

from scenarios import box_office
from scenarios.ticket_tour import AVAILABLE


@scenario(app="scenarios.ticket_tour:app", workload=box_office.workload, faults=faults.damage(), seeds=100)
async def rotten_disk(stage: Stage) -> None:
    payments = stage.external(box_office.PaymentProvider)
    mails = stage.external(box_office.MailProvider)
    box_office.claim(stage, payments, mails)
    stage.linearizable("TicketObject", box_office.seat, initial=(AVAILABLE, ""))
    stage.sometimes("damage was noticed", lambda: stage.damage == "noticed")
    stage.sometimes("damage did no harm", lambda: stage.damage == "no harm")
    await stage.play()
