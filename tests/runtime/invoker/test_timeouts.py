"""The clocks of one attempt."""

from __future__ import annotations

import attrs
from understudy_runtime.invoker.timeouts import DRAIN_MS, Timeouts
from understudy_runtime.limits import Limits
from understudy_runtime.model.schema import Schema, parse_manifest

from tests.runtime.node.manifests import manifest

FOUND = Schema().with_deployment("dp_1a", parse_manifest(manifest())).resolve("Echo", "echo")
assert FOUND is not None
HANDLER = FOUND[1]
LIMITS = Limits(inactivity_timeout_ms=100, abort_timeout_ms=1000)


def test_silence_closes_then_cuts() -> None:
    timeouts = Timeouts.for_handler(HANDLER, LIMITS, 0)
    assert not timeouts.must_close(99)
    assert timeouts.must_close(100)
    timeouts.heard(50)
    assert not timeouts.must_close(149)
    assert timeouts.due_ms == 150
    timeouts.closed(150)
    assert timeouts.has_closed
    assert not timeouts.must_close(500)
    assert not timeouts.must_cut(1149)
    assert timeouts.must_cut(1150)
    timeouts.heard(1100)
    assert not timeouts.must_cut(2099)
    assert timeouts.must_cut(2100)


def test_who_is_asked_early_has_as_long_as_if_nobody_else_waited() -> None:
    """A step that takes long must not be cut, and repeated for ever, because others wait for its slot."""
    timeouts = Timeouts.for_handler(HANDLER, LIMITS, 0)
    timeouts.yielded(60)
    assert timeouts.has_closed
    assert not timeouts.must_close(10**9)
    assert timeouts.due_ms == 1100
    assert not timeouts.must_cut(1099)
    assert timeouts.must_cut(1100)
    timeouts.heard(500)
    assert not timeouts.must_cut(1599)
    assert timeouts.must_cut(1600)


def test_an_open_attempt_is_never_cut() -> None:
    assert not Timeouts.for_handler(HANDLER, LIMITS, 0).must_cut(10**9)


def test_a_dialogue_that_is_over_is_drained_for_a_while() -> None:
    timeouts = Timeouts.for_handler(HANDLER, LIMITS, 0)
    timeouts.over(10)
    assert not timeouts.must_close(10**9)
    assert not timeouts.must_cut(10 + DRAIN_MS - 1)
    assert timeouts.must_cut(10 + DRAIN_MS)


def test_the_handlers_timeouts_come_first_and_zero_means_request_and_response() -> None:
    options = attrs.evolve(HANDLER.options, inactivity_timeout_ms=0, abort_timeout_ms=7)
    timeouts = Timeouts.for_handler(attrs.evolve(HANDLER, options=options), LIMITS, 5)
    assert timeouts.has_closed
    assert timeouts.must_cut(12)
    assert not timeouts.must_cut(11)


def test_an_attempt_seems_to_wait_after_a_short_silence() -> None:
    timeouts = Timeouts.for_handler(HANDLER, LIMITS, 0)
    assert not timeouts.may_yield(49)
    assert timeouts.may_yield(50)
