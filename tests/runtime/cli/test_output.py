"""What is written to the log, how, and what is left out when there is too much."""

from __future__ import annotations

import io
import json
import logging

import pytest
from understudy_runtime.cli.configuration import Logging
from understudy_runtime.cli.filters import LogFilter, parse_filter
from understudy_runtime.cli.output import LINES_PER_SECOND, Logger, event_logger, take_in
from understudy_runtime.model.events import AttemptStarted, LogTailCut, RetryScheduled


class Clock:
    """Seconds that pass when told."""

    now = 5.0

    def __call__(self) -> float:
        return self.now


def logger_to(stream, wanted: LogFilter | None = None, clock: Clock | None = None) -> Logger:
    return Logger(Logging(filter=wanted or LogFilter(), format="json", plain=True), stream, clock or Clock())


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_are_lines_that_the_filter_lets_through():
    stream = io.StringIO()
    observe = event_logger(logger_to(stream, parse_filter("warn,invoker=debug")))
    observe(RetryScheduled(0, "inv", 1, 5))
    observe(AttemptStarted(0, "inv", 1, 1, 0))
    observe(LogTailCut("partition-0", 3))
    assert [(line["level"], line["target"]) for line in lines(stream)] == [
        ("info", "invoker"),
        ("debug", "invoker"),
        ("warning", "log"),
    ]


def test_a_spate_is_cut_and_counted():
    stream, clock = io.StringIO(), Clock()
    observe = event_logger(logger_to(stream, clock=clock))
    for _ in range(LINES_PER_SECOND + 7):
        observe(RetryScheduled(0, "inv", 1, 5))
    observe(LogTailCut("partition-0", 3))
    assert len(lines(stream)) == LINES_PER_SECOND + 1
    clock.now += 1
    observe(RetryScheduled(0, "inv", 1, 5))
    observe(RetryScheduled(0, "inv", 1, 5))
    assert [line.get("left_out_before") for line in lines(stream)[-2:]] == [7, None]


def test_who_asks_for_details_gets_all_of_them():
    stream = io.StringIO()
    observe = event_logger(logger_to(stream, parse_filter("debug")))
    for _ in range(2 * LINES_PER_SECOND):
        observe(AttemptStarted(0, "inv", 1, 1, 0))
    assert len(lines(stream)) == 2 * LINES_PER_SECOND


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O operation on closed file")])
def test_nobody_reading_is_no_reason_to_stop(error):
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    event_logger(logger_to(Gone()))(LogTailCut("partition-0", 3))


def test_what_the_sdk_logs_is_taken_in():
    stream = io.StringIO()
    name = "understudy.test_what_the_sdk_logs_is_taken_in"
    take_in(name, logger_to(stream))
    for level in (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG):
        logging.getLogger(name).log(level, "said %s", "so")
    assert [line["level"] for line in lines(stream)] == ["error", "error", "warning", "info"]
    assert {line["event"] for line in lines(stream)} == {"said so"}
