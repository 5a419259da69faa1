"""The deadlocks of `offices.py` with the policy against them: the call that would close a circle is refused with 409.

Nobody has to look, nobody cancels, and everybody comes to an end.
"""

from __future__ import annotations

from understudy_sim import Desk, Stage, limited, scenario

from scenarios import offices

LOOKS_EVERY_S = 20
STAYS_S = 120


@scenario(app="scenarios.offices:app", workload=offices.workload, plan=limited(refuse_deadlocks=True), seeds=100)
async def deadlock_refused(stage: Stage) -> None:
    stayed: list[str] = []

    async def circles(desk: Desk) -> set[tuple[str, ...]]:
        found = await desk.get("/deadlocks")
        return {tuple(member["id"] for member in circle["members"]) for circle in found["deadlocks"]}

    async def look(desk: Desk) -> None:
        while True:
            await desk.sleep(LOOKS_EVERY_S)
            found = await circles(desk)
            if found:
                await desk.sleep(STAYS_S)
                stayed.extend(" > ".join(circle) for circle in sorted(found & await circles(desk)))

    def refused_without_words() -> str:
        """Whoever is stopped is told of the circle."""
        late = offices.timed_out(stage)
        for id_, form in offices.stopped(stage).items():
            if id_ in late:
                continue
            told = getattr(stage.result(id_), "message", "")
            if "would wait for itself" not in told or f"Office/{form['route'][-1]}/" not in told:
                return f"{form} was stopped with {told!r}"
        return ""

    stage.attendant("who looks for deadlocks", look)
    offices.claim(stage, stage.external(offices.Stamps))
    stage.always("no deadlock stays", lambda: ", ".join(stayed))
    stage.eventually("who is stopped is told of the circle", refused_without_words)
    stage.eventually("nobody gets past themselves", lambda: not offices.got_through(stage, offices.TO_ITSELF))
    await stage.play()
