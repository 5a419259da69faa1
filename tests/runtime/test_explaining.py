"""Who can go on, who cannot, and which circles are the reason; in words that end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.explaining import CHAIN_MAX, WORDS, Cause, Hope, Waiter, cause, chain, everything, judged
from understudy_runtime.machine.waits import WaitKind


def waiter(name: str, *causes: Cause) -> Waiter:
    return Waiter(name, name, "waiting", causes)


def on(name: str) -> Cause:
    return Cause(f"the end of {name}", name)


COMES = Cause("its time", hope=Hope.COMES)
OUTSIDE = Cause("somebody", hope=Hope.OUTSIDE)
ANYBODY = Cause("anybody", record="Signal", hope=Hope.ANYBODY)
NOBODY = Cause("a lost message", record="Complete", hope=Hope.NOBODY, because="it is gone")


def named(*waiters: Waiter) -> dict[str, Waiter]:
    return {one.id: one for one in waiters}


def test_every_kind_of_wait_has_words() -> None:
    assert set(WaitKind) <= set(WORDS)
    for kind in WORDS:
        said = cause(kind, on="inv_1", detail="this", until="due in 3 s")
        assert said.what
        assert said.record
        assert "{" not in said.what + said.record + said.producer


def test_who_waits_for_who_moves_moves() -> None:
    verdict = judged(named(waiter("a", on("b")), waiter("b", on("c")), waiter("c", COMES)))
    assert verdict.moving == ("a", "b", "c")
    assert verdict.stuck == ()


def test_a_circle_is_stuck_and_named_once_from_its_smallest_id() -> None:
    waiters = named(waiter("c", on("a")), waiter("b", on("c")), waiter("a", on("b")), waiter("behind", on("b")))
    verdict = judged(waiters)
    assert verdict.circles == (("a", "b", "c"),)
    assert set(verdict.stuck) == set(waiters)
    lines = chain(waiters, "behind", verdict)
    assert "verdict: it can never go on by itself" in lines
    assert "  a circle of 3; the end of any of them, by a cancel, lets the others on:" in lines


def test_one_way_out_is_enough() -> None:
    assert judged(named(waiter("a", on("b"), COMES), waiter("b", on("a")))).moving == ("a", "b")
    assert judged(named(waiter("a", on("b"), OUTSIDE), waiter("b", on("a")))).at_others_mercy == ("a", "b")


def test_what_anybody_could_do_needs_somebody() -> None:
    alone = named(waiter("a", ANYBODY))
    assert judged(alone).stuck == ("a",)
    assert "  nobody can produce Signal (nobody is left who could)" in chain(alone, "a")
    assert judged(named(waiter("a", ANYBODY), waiter("b", COMES))).moving == ("a", "b")


def test_what_is_lost_is_said_with_its_reason() -> None:
    waiters = named(waiter("a", on("b")), waiter("b", NOBODY))
    assert "  nobody can produce Complete (it is gone)" in chain(waiters, "a")


def test_nobody_is_told_of_twice() -> None:
    waiters = named(waiter("a", on("b")), waiter("b", on("a")), waiter("c", on("a")), waiter("d", COMES))
    lines = everything(waiters, 10)
    assert lines[0] == "4 have not come to their end: 3 can never go on by themselves, 1 go on by themselves"
    assert [lines.count(name) for name in waiters] == [1, 1, 1, 1]
    assert "a: see above" in lines
    short = everything(waiters, 1)
    assert short[-1] == "… and 2 more: name one to be told of it"


NAMES = tuple("abcdefgh")
CAUSES = st.one_of(
    st.sampled_from((COMES, OUTSIDE, ANYBODY, NOBODY)), st.builds(on, st.sampled_from((*NAMES, "somebody else")))
)


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(CAUSES, max_size=3), min_size=1))
def test_everybody_is_judged_once_and_every_chain_ends(drawn: dict[str, list[Cause]]) -> None:
    waiters = {name: waiter(name, *causes) for name, causes in drawn.items()}
    verdict = judged(waiters)
    assert sorted((*verdict.moving, *verdict.at_others_mercy, *verdict.stuck)) == sorted(waiters)
    for name in verdict.stuck:
        assert all(one.hope in (Hope.NOBODY, Hope.ANYBODY) or one.on in verdict.stuck for one in waiters[name].causes)
    for circle in verdict.circles:
        for here, there in zip(circle, (*circle[1:], circle[0]), strict=True):
            assert any(one.on == there for one in waiters[here].causes)
    for name in waiters:
        lines = chain(waiters, name, verdict)
        assert sum(line.startswith("verdict:") for line in lines) == 1
        assert len(lines) < 40 * CHAIN_MAX
    assert sum(line.startswith("verdict:") for line in everything(waiters, 100)) <= len(waiters)
