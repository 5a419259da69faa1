"""Every bound of the server has a test that shows its behaviour, by name: a new field without one fails here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import attrs
import pytest
from understudy_runtime.limits import Limits

RUNTIME = Path(__file__).parents[1]

# Field to the test that shows what happens at it.
SHOWN_BY = {
    "attempts_max": "node/test_attempts.py::test_slots_bound_the_attempts_that_run_at_once",
    "batch_commands_max": "partition/test_partition.py::test_a_batch_is_committed_then_applied_then_performed_whole",
    "batch_bytes_max": "log/test_log.py::test_a_batch_is_bounded_by_its_bytes",
    "queue_commands_max": "node/test_node.py::test_a_full_queue_refuses_clients",
    "flush_rows": "node/test_node.py::test_tables_are_flushed_by_count_and_the_tail_is_replayed",
    "flush_lasting_rows": "partition/test_partition.py::test_what_will_last_is_written_soon_and_what_runs_is_not",
    "idle_objects_max": "machine/test_tables.py::test_objects_leave_memory_down_to_a_bound_idle_ones_first",
    "segment_bytes_max": "log/test_log.py::test_a_torn_tail_is_cut_to_what_was_acknowledged",
    "log_prewrite_bytes": "log/test_log.py::test_no_prewriting_reads_the_same",
    "request_bytes_max": "http/test_h1_server.py::test_what_is_refused_closes_and_reaches_no_handler",
    "message_bytes_max": "invoker/test_attempt.py::test_a_message_above_the_bound_fails_the_attempt",
    "eager_state_bytes_max": "machine/test_start.py::test_state_above_the_bound_is_cut_and_said_to_be",
    "requests_max": "ingress/test_core.py::test_requests_above_the_bound_are_refused",
    "outbox_in_flight_max": "effects/test_bounds.py::test_messages_on_their_way_to_a_partition_are_bounded",
    "timers_max": "effects/test_bounds.py::test_the_next_page_of_timers_is_read_when_the_nearest_are_gone",
    "timer_recheck_ms": "effects/test_bounds.py::test_a_wall_clock_that_jumps_is_noticed_within_the_bound",
    "inactivity_timeout_ms": "node/test_attempts.py::test_silence_closes_then_cuts_then_tries_again",
    "abort_timeout_ms": "node/test_attempts.py::test_silence_closes_then_cuts_then_tries_again",
    "completion_retention_ms": "model/test_retention.py::test_what_is_kept",
    "workflow_retention_ms": "model/test_retention.py::test_what_is_kept",
    "journal_retention_ms": "model/test_retention.py::test_what_is_kept",
    "connections_max": "http/test_h1_server.py::test_connections_above_the_bound_wait",
    "header_timeout_ms": "http/test_h1_server.py::test_a_slow_head_is_cut_off",
    "idle_timeout_ms": "http/test_h1_server.py::test_an_idle_connection_is_closed",
    "snapshot_log_bytes": "snapshot/test_partition.py::test_a_snapshot_lets_the_log_before_it_go",
    "snapshot_slice_rows": "snapshot/test_partition.py::test_a_snapshot_is_written_in_slices_between_batches",
    "h2_streams_max": "http/test_h2_client.py::test_attempts_share_a_connection_up_to_the_bound",
    "h2_requests_max": "http/test_h2_server.py::test_more_streams_than_allowed_are_refused_one_by_one",
    "h2_ping_interval_ms": "http/test_h2_client.py::test_pings_keep_a_quiet_attempt_and_find_a_dead_peer",
    "h2_ping_timeout_ms": "http/test_h2_client.py::test_pings_keep_a_quiet_attempt_and_find_a_dead_peer",
    "connect_timeout_ms": "http/test_h2_client.py::test_a_dial_that_hangs",
    "discovery_timeout_ms": "admin/test_hostile.py::test_arbitrary_requests_are_answered",
    "h2_idle_timeout_ms": "http/test_h2_client.py::test_an_idle_connection_is_closed",
    "drain_timeout_ms": "node/test_node.py::test_draining_ends_by_its_time_limit",
    "refuse_deadlocks": "node/test_deadlocks.py::test_under_the_policy_the_call_that_closes_a_circle_is_refused",
    "retry_policy": "node/test_attempts.py::test_a_policy_that_runs_out_pauses_or_kills",
}
# What the tests of a directory take from its conftest.
SHARED = "conftest.py"


def test_every_field_has_a_row() -> None:
    assert set(SHOWN_BY) == {field.name for field in attrs.fields(Limits)}


@pytest.mark.parametrize("field", SHOWN_BY)
def test_the_test_exists_and_its_file_names_the_bound(field: str) -> None:
    place, _, name = SHOWN_BY[field].partition("::")
    text = (RUNTIME / place).read_text()
    functions = [n.name for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert name in functions
    shared = (RUNTIME / place).with_name(SHARED)
    texts = text + (shared.read_text() if shared.exists() else "")
    parameter = field.removeprefix("eager_state_").removeprefix("request_")
    assert re.search(rf"\b({field}|{parameter})\b", texts), f"{place} never sets {field}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts_max": 0},
        {"batch_commands_max": 0},
        {"batch_commands_max": 5, "queue_commands_max": 4},
        {"batch_bytes_max": 0},
        {"flush_rows": 0},
        {"flush_lasting_rows": 0},
        {"idle_objects_max": -1},
        {"timers_max": 0},
        {"request_bytes_max": 2, "message_bytes_max": 1},
    ],
)
def test_bounds_that_cannot_work_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(AssertionError):
        Limits(**wrong)  # type: ignore[arg-type]
