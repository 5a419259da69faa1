"""Objects that wait for each other crosswise, in a circle, or for themselves: found, shown, and cured by a cancel.

The offices are those of `offices.py`.  Nothing prevents a deadlock; an operator looks at the admin's `/deadlocks` now
and then, makes sure, and cancels one member of each circle, whichever.  Who waits with a time-out is in no deadlock,
and must not be listed as one.  Everybody else gets through.
"""

from __future__ import annotations

from understudy_sim import Desk, Stage, scenario

from scenarios import offices

LOOKS_EVERY_S = 20
MAKES_SURE_S = 10
# A circle has whoever holds an office, and for each the call of another's that waits for it.
OF_ITSELF, OF_TWO = 2, 4


@scenario(app="scenarios.offices:app", workload=offices.workload, seeds=100)
async def deadlock(stage: Stage) -> None:
    cancelled: list[str] = []
    sizes: list[int] = []
    resolved_by_itself: list[str] = []

    async def circles(desk: Desk) -> list[list[str]]:
        found = await desk.get("/deadlocks")
        return [[member["id"] for member in circle["members"]] for circle in found["deadlocks"]]

    async def untangle(desk: Desk) -> None:
        while True:
            await desk.sleep(LOOKS_EVERY_S)
            found = [circle for circle in await circles(desk) if not set(circle) & set(cancelled)]
            if not found:
                continue
            await desk.sleep(MAKES_SURE_S)
            still = await circles(desk)
            for circle in found:
                if circle not in still:
                    resolved_by_itself.append(" > ".join(circle))
                    continue
                whom = circle[stage.kernel.choices.pick("whom to cancel", len(circle))]
                sizes.append(len(circle))
                cancelled.append(whom)
                await desk.ask("PATCH", f"/invocations/{whom}/cancel")

    stage.attendant("operator of deadlocks", untangle)
    offices.claim(stage, stage.external(offices.Stamps))
    stage.always("a deadlock does not go away by itself", lambda: ", ".join(resolved_by_itself))
    stage.eventually("nobody is stopped but by a cancel", lambda: bool(cancelled) or not stopped_for_good(stage))
    stage.sometimes("a form in its own way was found", lambda: OF_ITSELF in sizes)
    stage.sometimes("two forms crosswise were found", lambda: OF_TWO in sizes)
    stage.sometimes("a longer circle was found", lambda: max(sizes, default=0) > OF_TWO)
    await stage.play()


def stopped_for_good(stage: Stage) -> list[str]:
    return [id_ for id_, form in offices.stopped(stage).items() if not form["patience_ms"]]
