"""What surrounds the trips in rehearsal: the booking system, the customers, an operator who cancels, and the claims.

Both agencies, the one that takes back what it booked and the one that forgets to, are rehearsed with exactly this.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from understudy_sim import Act, Call, Choices, External, Ledger, Operation, Stage

PARTS = ("flight", "hotel", "car")
OFFERS = {"flight": ("flight-7", "flight-9"), "hotel": ("hotel-ritz",), "car": ("car-1", "car-2")}
CUSTOMERS = ("ann", "bob", "cleo")
SOLD_OUT_THOUSANDTHS = 60
CANCELLED_THOUSANDTHS = 500
CANCELLED = 409


class Entry(NamedTuple):
    """One call of the booking system: what was asked for which reference, and what came of it."""

    do: str
    reference: str
    outcome: str
    by: str


class BookingSystem(External[Entry]):
    """Books and voids references.  A reference that was voided stays so: a booking that arrives later is refused."""

    name = "bookings"
    port = 7005
    address_variable = "BOOKINGS_ADDRESS"

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        reference = request["reference"]
        before = [entry.outcome for entry in self.ledger if entry.reference == reference]
        if request["do"] == "void":
            outcome = "voided"
        elif before:
            outcome = "voided" if "voided" in before else before[0]
        else:
            sold_out = self.choices.chance("bookings/sold out", SOLD_OUT_THOUSANDTHS)
            outcome = "sold out" if sold_out else "booked"
        self.ledger.append(Entry(request["do"], reference, outcome, request["by"]))
        return {"outcome": outcome}


def workload(choices: Choices) -> tuple[Operation, ...]:
    """Trips, alone and two together, and an operator who cancels half of them at any time, some of them twice."""
    operations: list[Operation] = []
    number = 0
    for customer in CUSTOMERS:
        for _ in range(choices.integer("requests", 1, 3)):
            wishes = []
            for _ in range(2 if choices.chance("party", 250) else 1):
                number += 1
                offers = {part: OFFERS[part][choices.pick(f"offer/{part}", len(OFFERS[part]))] for part in PARTS}
                wishes.append({"name": f"trip-{number}", "offers": offers})
            handler, argument = ("book", wishes[0]) if len(wishes) == 1 else ("party", wishes)
            label = f"request-{number}"
            pause_ms = choices.integer("pause", 0, 2_000)
            operations.append(
                Call(
                    client=customer,
                    service="Trips",
                    handler=handler,
                    argument=argument,
                    label=label,
                    pause_ms=pause_ms,
                    one_way=choices.chance("one way", 200),
                )
            )
            if choices.chance("cancelled", CANCELLED_THOUSANDTHS):
                for _ in range(1 + choices.pick("cancelled again", 2)):
                    pause_ms = choices.one_of("cancel pause", (0, 10, 100, 1_000, 4_000))
                    operations.append(Act(client=f"{customer}'s agent", action="cancel", on=label, pause_ms=pause_ms))
    return tuple(operations)


def claim(stage: Stage, bookings: Ledger[Entry]) -> None:
    """Register the claims with *stage*."""
    stage.always("a reference is booked once", lambda: booked_twice(bookings))
    stage.eventually("a trip is booked as a whole or not at all", lambda: halves(stage, bookings))
    stage.eventually("who was told of a booked trip has it", lambda: told_wrong(stage, bookings))
    stage.eventually("the offers know what is booked", lambda: offers_differ(stage, bookings))
    stage.eventually("a cancel goes on to every trip of a party", lambda: left_out(stage))
    stage.eventually("calls of the booking system are explained", lambda: unexplained(stage, bookings))
    stage.sometimes("a trip was booked", lambda: stage.answered("Trips", "book", "booked"))
    stage.sometimes("a trip was cancelled half way", lambda: any(one.do == "void" for one in bookings))
    stage.sometimes("a cancel came before the start, or ended a wait", lambda: was_cancelled(stage))
    stage.sometimes("a cancel came too late", lambda: any(one.status == CANCELLED for one in stage.acted("cancel")))
    stage.sometimes("a late booking was refused", lambda: refused_late(bookings))
    stage.sometimes("a request was cancelled twice", lambda: cancelled_twice(stage))


def final(bookings: Ledger[Entry]) -> dict[str, str]:
    """Where each reference stands."""
    outcomes: dict[str, str] = {}
    for entry in bookings:
        if outcomes.get(entry.reference) != "voided":
            outcomes[entry.reference] = entry.outcome
    return outcomes


def trips(stage: Stage) -> dict[str, str]:
    """Every trip that was asked for, and the invocation that books it."""
    return {json.loads(one.payload)["name"]: one.invocation_id for one in stage.accepted("Trips", "book")}


def booked_twice(bookings: Ledger[Entry]) -> str:
    makers: dict[str, str] = {}
    for entry in bookings:
        if entry.do == "book" and makers.setdefault(entry.reference, entry.by) != entry.by:
            return f"{entry.reference} was booked by {makers[entry.reference]} and by {entry.by}"
    return ""


def halves(stage: Stage, bookings: Ledger[Entry]) -> str:
    booked: dict[str, list[str]] = {}
    for reference, outcome in final(bookings).items():
        trip, _, part = reference.partition("/")
        if outcome == "booked":
            booked.setdefault(trip, []).append(part)
    for trip, parts in booked.items():
        if sorted(parts) != sorted(PARTS):
            by = trips(stage).get(trip, "nobody")
            return f"{trip} ({by}) has a booked {' and '.join(parts)}; the rest was never booked or was taken back"
    return ""


def told_wrong(stage: Stage, bookings: Ledger[Entry]) -> str:
    outcomes = final(bookings)
    for trip, invocation_id in trips(stage).items():
        result = stage.result(invocation_id)
        is_booked = all(outcomes.get(f"{trip}/{part}") == "booked" for part in PARTS)
        if is_booked != (getattr(result, "value", None) == b'"booked"'):
            return f"{trip} ({invocation_id}) ended with {result}, and is {'' if is_booked else 'not '}booked"
    return ""


def left_out(stage: Stage) -> str:
    """Whoever tells one of its trips to cancel tells all of them."""
    for party in stage.accepted("Trips", "party"):
        told = stage.cancelled_by(party.invocation_id)
        missing = [one for one in stage.callees(party.invocation_id) if told and one not in told]
        if missing:
            return f"{party.invocation_id} was cancelled and told {told}, but not {missing}"
    return ""


def offers_differ(stage: Stage, bookings: Ledger[Entry]) -> str:
    wanted = {reference for reference, outcome in final(bookings).items() if outcome == "booked"}
    found = {reference for offers in OFFERS.values() for offer in offers for reference in stage.state("Offer", offer)}
    return "" if wanted == found else f"booked are {sorted(wanted)}, the offers know {sorted(found)}"


def unexplained(stage: Stage, bookings: Ledger[Entry]) -> str:
    for (by, do), count in Counter((entry.by, entry.do) for entry in bookings).items():
        allowed = 1 + stage.interruptions(by)
        if count > allowed:
            return f"{by} asked {count} times to {do}; its interruptions explain {allowed}"
    return ""


def refused_late(bookings: Ledger[Entry]) -> bool:
    return any((entry.do, entry.outcome) == ("book", "voided") for entry in bookings)


def was_cancelled(stage: Stage) -> bool:
    return any(getattr(stage.result(id_), "code", 0) == CANCELLED for id_ in trips(stage).values())


def cancelled_twice(stage: Stage) -> bool:
    done = Counter(one.act.on for one in stage.acted("cancel") if one.status in (200, 202))
    return any(count > 1 for count in done.values())
