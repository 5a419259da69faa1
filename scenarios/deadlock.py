"""Objects that wait for each other crosswise, in a circle, or for themselves: found, shown, and cured by a cancel.

The offices are those of `offices.py`.  Nothing prevents a deadlock; an operator looks at the admin's `/deadlocks` now
and then, makes sure, and cancels one member of each circle, whichever.  Everybody else gets through.
"""

from __future__ import annotations

from functools import partial

from understudy_sim import Desk, Stage, scenario

from scenarios import offices

LOOKS_EVERY_S = 20
MAKES_SURE_S = 10
# What a circle of each kind has: who holds an office, and the call of another's that waits for it.
MEMBERS = {"two": 4, "three": 6, "itself": 2}


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
    stage.eventually("nobody is stopped but by a cancel", lambda: bool(cancelled) or not offices.stopped(stage))
    for kind, count in MEMBERS.items():
        stage.sometimes(f"a deadlock was found: {kind}", partial(sizes.__contains__, count))
    await stage.play()
