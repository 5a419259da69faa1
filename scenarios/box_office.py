"""What surrounds the ticket tour in rehearsal: the providers, the customers' operations and the claims.

Both theatres, the careful and the careless one, are rehearsed with exactly this.  The claims are lettered (a) to (e)
as in `docs/invariants.md`; they look at the providers' ledgers and at committed state, never into a process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from understudy_sim import Call, Choices, External, Failed, Ledger, Stage

CUSTOMERS = ("ann", "bob", "cleo", "dan")
SEATS = tuple(f"seat-{number}" for number in range(1, 7))
DECLINED_THOUSANDTHS = 150
PAUSE_MS_MAX = 3_000
# A small theatre shows little: whoever came first goes on looking at seats.
CALLS_MIN = 15


# --- the providers ------------------------------------------------------------------------------------------


class Charge(NamedTuple):
    """One call of the payment provider.  `outcome` is approved or declined, and always the same for one key."""

    key: str
    order: str
    user: str
    seats: tuple[str, ...]
    outcome: str


class Mail(NamedTuple):
    key: str
    order: str
    user: str
    subject: str


class PaymentProvider(External[Charge]):
    """Takes money.  Decides once per key and keeps every call."""

    name = "payments"
    port = 7001
    address_variable = "PAYMENTS_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        key = request["key"]
        outcome = next((entry.outcome for entry in self.ledger if entry.key == key), None)
        if outcome is None:
            declined = self.choices.chance("payments/declined", DECLINED_THOUSANDTHS)
            outcome = "declined" if declined else "approved"
        self.ledger.append(Charge(key, request["order"], request["user"], tuple(request["seats"]), outcome))
        return {"outcome": outcome}


class MailProvider(External[Mail]):
    name = "mail"
    port = 7002
    address_variable = "MAIL_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ledger.append(Mail(request["key"], request["order"], request["user"], request["subject"]))
        return {"sent": True}


# --- the customers ------------------------------------------------------------------------------------------


def workload(choices: Choices) -> tuple[Call, ...]:
    """Three or four customers fight over six seats; each pays once or twice, or leaves and lets the hold expire."""
    calls: list[Call] = []
    customers = CUSTOMERS[: 4 if choices.chance("fourth customer", 250) else 3]
    for customer in customers:
        for _ in range(choices.integer("adds", 2, 4)):
            seat = SEATS[choices.pick("seat", len(SEATS))]
            calls.append(_call(choices, customer, "CartObject", customer, "addTicket", seat))
            if choices.chance("looks", 200):
                calls.append(_call(choices, customer, "TicketObject", seat, "status"))
            if choices.chance("pays early", 150):
                calls.append(_call(choices, customer, "CartObject", customer, "checkout"))
        # The first customer always pays and the last always leaves: both ends of the tour are in every seed.
        if customer == customers[0] or (customer != customers[-1] and choices.chance("pays", 600)):
            calls.append(_call(choices, customer, "CartObject", customer, "checkout"))
    while len(calls) < CALLS_MIN:
        seat = SEATS[choices.pick("looks again", len(SEATS))]
        calls.append(_call(choices, customers[0], "TicketObject", seat, "status"))
    return tuple(calls)


def _call(choices: Choices, client: str, service: str, key: str, handler: str, argument: str | None = None) -> Call:
    return Call(
        client=client,
        service=service,
        key=key,
        handler=handler,
        argument=argument,
        pause_ms=choices.integer("pause", 0, PAUSE_MS_MAX) if choices.chance("thinks", 500) else 0,
        one_way=choices.chance("one way", 100) if handler == "addTicket" else False,
    )


# --- the claims ---------------------------------------------------------------------------------------------


def claim(stage: Stage, payments: Ledger[Charge], mails: Ledger[Mail]) -> None:
    """Register the tour's claims with *stage*, and what a search must have seen."""
    claim_only(stage, payments, mails)
    stage.sometimes("a payment was declined", lambda: any(entry.outcome == "declined" for entry in payments))
    stage.sometimes("a seat was sold", lambda: any(entry.outcome == "approved" for entry in payments))
    stage.sometimes("a charge was repeated with its key", lambda: len(payments) > len({e.key for e in payments}))
    stage.sometimes("a mail was sent twice", lambda: len(mails) > len({e.key for e in mails}))
    stage.sometimes("a reservation expired", lambda: stage.ran("TicketObject", "unreserve"))
    stage.sometimes("a seat was refused", lambda: stage.answered("CartObject", "addTicket", False))


def claim_only(stage: Stage, payments: Ledger[Charge], mails: Ledger[Mail]) -> None:
    """Register the tour's claims with *stage*."""
    stage.always("(a) a seat is charged for at most once", lambda: charged_twice(payments))
    stage.always("(c) a checkout uses one provider key", lambda: many_keys(payments))
    stage.eventually("(b) a seat is sold iff one charge covers it", lambda: sold_and_paid_differ(stage, payments))
    stage.eventually("(c) calls of the provider are explained", lambda: unexplained_calls(stage, payments, mails))
    stage.eventually("(d) each charge has its mail", lambda: charges_without_mail(payments, mails))
    stage.eventually("(e) unsold seats are free and carts are empty", lambda: leftovers(stage))


def seat(state: tuple[str, str], handler: str, hold: Any) -> tuple[tuple[str, str], Any]:
    """A seat when nobody else is at the box office: what it is, and whose hold it has."""
    status, held = state
    if handler == "status":
        return state, status
    if handler == "reserve":
        return (("RESERVED", hold["hold_id"]), True) if status == "AVAILABLE" else (state, False)
    if status != "RESERVED" or held != hold["hold_id"]:
        return state, None if handler == "unreserve" else Failed(500)
    return (("AVAILABLE", ""), None) if handler == "unreserve" else (("SOLD", held), None)


def charged_twice(payments: Ledger[Charge]) -> str:
    """(a) Per seat at most one distinct successful charge.  Empty when it holds, else what is wrong."""
    keys: dict[str, Charge] = {}
    for entry in payments:
        if entry.outcome != "approved":
            continue
        for seat in entry.seats:
            first = keys.setdefault(seat, entry)
            if first.key != entry.key:
                return (
                    f"{seat} was paid for twice: by {first.user} (key {first.key}, {first.order}) "
                    f"and by {entry.user} (key {entry.key}, {entry.order})"
                )
    return ""


def many_keys(payments: Ledger[Charge]) -> str:
    """(c) Per checkout invocation one provider key."""
    keys: dict[str, str] = {}
    for entry in payments:
        first = keys.setdefault(entry.order, entry.key)
        if first != entry.key:
            return (
                f"checkout {entry.order} of {entry.user} came to the payment provider under a second key: "
                f"first {first}, then {entry.key}; a retry must find the key of the first attempt"
            )
    return ""


def unexplained_calls(stage: Stage, payments: Ledger[Charge], mails: Ledger[Mail]) -> str:
    """(c, d) One call, and one more for each attempt of the checkout that was cut off or failed."""
    for name, ledger in (("payment", payments), ("mail", mails)):
        calls = Counter((entry.order, entry.key) for entry in ledger)
        for (order, key), count in calls.items():
            allowed = 1 + stage.interruptions(order)
            if count > allowed:
                return f"{count} {name} calls with key {key} by {order}, whose interruptions explain {allowed}"
    return ""


def sold_and_paid_differ(stage: Stage, payments: Ledger[Charge]) -> str:
    """(b) A seat is SOLD iff exactly one successful charge covers it, by the user whose cart held it."""
    payers: dict[str, dict[str, str]] = {}
    for entry in payments:
        if entry.outcome == "approved":
            for seat in entry.seats:
                payers.setdefault(seat, {})[entry.key] = entry.user
    for seat in SEATS:
        state = stage.state("TicketObject", seat)
        owner = state.get("owner") if state.get("status") == "SOLD" else None
        paid_by = sorted(payers.get(seat, {}).values())
        if paid_by != ([] if owner is None else [owner]):
            return f"{seat} is {state.get('status', 'AVAILABLE')} (owner {owner}), paid for by {paid_by or 'nobody'}"
    return ""


def charges_without_mail(payments: Ledger[Charge], mails: Ledger[Mail]) -> str:
    """(d) Each successful charge has at least one success mail."""
    mailed = {entry.key for entry in mails if entry.subject == "your seats"}
    for entry in payments:
        if entry.outcome == "approved" and entry.key not in mailed:
            return f"{entry.user} paid for {', '.join(entry.seats)} (key {entry.key}) and never got a mail"
    return ""


def leftovers(stage: Stage) -> str:
    """(e) After the holds ran out: unsold seats are AVAILABLE, carts are empty."""
    for seat in SEATS:
        status = stage.state("TicketObject", seat).get("status", "AVAILABLE")
        if status not in ("AVAILABLE", "SOLD"):
            return f"{seat} is still {status} long after every hold should have expired"
    for customer in CUSTOMERS:
        if stage.state("CartObject", customer):
            return f"{customer}'s cart still holds {stage.state('CartObject', customer)}"
    return ""
