"""Ids against what was captured from a real server, and the edges of their parsers."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.model import ids
from understudy_runtime.model.invocation import HandlerType, Target
from xxhash import xxh3_64_intdigest

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "ids.json").read_text())
RAW_IDS = st.binary(min_size=24, max_size=24)


def target_of(row: dict[str, Any]) -> Target:
    names = row["target"].split("/")
    if row["object_key"] is None:
        return Target(names[0], names[1])
    return Target(names[0], names[-1], row["object_key"])


def test_recorded_ids_decode_and_encode() -> None:
    for row in VECTORS["encodings"]:
        raw = bytes.fromhex(row["raw_bytes_hex"])
        assert ids.raw_id(row["invocation_id"]) == raw
        assert ids.invocation_id_text(raw) == row["invocation_id"]
        assert ids.partition_key_of(row["invocation_id"]) == int(row["partition_key_dec"])


def test_recorded_ids_are_derived_from_their_requests() -> None:
    derived = 0
    for row in VECTORS["encodings"]:
        target, raw = target_of(row), bytes.fromhex(row["raw_bytes_hex"])
        is_run = row["uuid_rule"].startswith("first 16") and row["preimage"].startswith("wf")
        handler_type = HandlerType.WORKFLOW if is_run else HandlerType.SHARED
        entropy = raw[14:] + row.get("bucket", 0).to_bytes(2, "big")
        now_ms = row.get("ulid_timestamp_ms", 0)
        made = ids.invocation_id_for(target, handler_type, row["idempotency_key"], now_ms, entropy, row["scope"])
        assert made == row["invocation_id"]
        if is_run and row["scope"] is None:
            assert ids.workflow_run_id(target.service, row["object_key"]) == made
        derived += 1
    assert derived == len(VECTORS["encodings"])


def test_recorded_partition_keys() -> None:
    for row in VECTORS["partition_key_hash"]:
        expected = int(row["xxh3_64_hex"], 16)
        assert xxh3_64_intdigest(bytes.fromhex(row["input_hex"])) == expected
        if row.get("key") is not None:
            assert ids.partition_key_for_key(row["key"]) == expected
        elif "service" in row:
            assert ids.partition_key_for(Target(row["service"], "h"), None, row["bucket"]) == expected


def test_recorded_awakeables_and_deployments() -> None:
    for row in VECTORS["awakeable_ids"]:
        assert ids.awakeable_id(row["invocation_id"], row["signal_index"]) == row["awakeable_id"]
        expected = (row["invocation_id"], row["signal_index"])
        assert ids.parse_awakeable_id(row["awakeable_id"]) == expected
        assert ids.parse_awakeable_id(row["awakeable_id"] + "==") == expected
        legacy = row["awakeable_id"].replace("sign_1", "prom_1")
        assert ids.parse_awakeable_id(legacy) == (row["invocation_id"], None)
    for row in VECTORS["deployment_ids"]:
        assert ids.deployment_id(bytes.fromhex(row["ulid_hex"])) == row["deployment_id"]
        assert ids.parse_deployment_id(row["deployment_id"]).hex() == row["ulid_hex"]
        assert ids.ulid(row["ulid_timestamp_ms"], bytes.fromhex(row["ulid_hex"])[6:]).hex() == row["ulid_hex"]


@given(RAW_IDS)
def test_text_and_raw_are_inverse(raw: bytes) -> None:
    text = ids.invocation_id_text(raw)
    assert len(text) == 38
    assert ids.raw_id(text) == raw
    assert ids.partition_key_of(text) == int.from_bytes(raw[:8], "big")


@given(RAW_IDS, st.integers(0, 2**32 - 1))
def test_awakeables_are_inverse(raw: bytes, index: int) -> None:
    invocation_id = ids.invocation_id_text(raw)
    assert ids.parse_awakeable_id(ids.awakeable_id(invocation_id, index)) == (invocation_id, index)


@given(st.text() | st.text(alphabet="0aZ_é", max_size=40).map(lambda body: "inv_1" + body))
def test_any_text_parses_or_is_refused(text: str) -> None:
    for parse in (ids.raw_id, ids.partition_key_of, ids.parse_awakeable_id, ids.parse_deployment_id):
        with contextlib.suppress(ids.InvalidId):
            parse(text)


@pytest.mark.parametrize("text", ["inv_1" + "Z" * 33, "inv_1" + "0" * 32, "inv_2" + "0" * 33, "inv_1" + "0" * 32 + "-"])
def test_malformed_invocation_ids_are_refused(text: str) -> None:
    with pytest.raises(ids.InvalidId, match=r"identifier|invocation id"):
        ids.raw_id(text)


@given(st.integers(0, 2**64 - 1), st.integers(1, 64))
def test_partitions_are_equal_ranges(key: int, count: int) -> None:
    partition = ids.partition_of(key, count)
    assert 0 <= partition < count
    assert partition * 2**64 // count <= key
    assert key < (partition + 1) * 2**64 / count + 1


def test_same_object_same_partition_key_whatever_the_service() -> None:
    entropy = bytes(ids.ENTROPY_BYTES)
    first = ids.invocation_id_for(Target("A", "h", "k"), HandlerType.EXCLUSIVE, None, 1, entropy)
    second = ids.invocation_id_for(Target("B", "g", "k"), HandlerType.SHARED, "idem", 2, entropy)
    assert ids.partition_key_of(first) == ids.partition_key_of(second) == ids.partition_key_for_key("k")


def test_every_part_of_a_request_names_its_idempotent_invocation() -> None:
    entropy = bytes(ids.ENTROPY_BYTES)
    made = {
        ids.invocation_id_for(target, HandlerType.SHARED, idempotency_key, 0, entropy)
        for target in (Target("S", "h"), Target("S", "h", "k"), Target("S", "g", "k"), Target("R", "h", "k"))
        for idempotency_key in ("one", "two")
    }
    assert len(made) == 8


def test_recorded_seeds() -> None:
    for row in VECTORS["encodings"]:
        assert ids.random_seed_for(bytes.fromhex(row["raw_bytes_hex"])) == int(row["random_seed_on_wire"])
    for row in VECTORS["random_seed"]:
        expected = int(row["random_seed_field_on_wire"])
        assert ids.random_seed_for(bytes.fromhex(row["raw_id_hex"])) == expected
        assert ids.seed_of(row["invocation_id"], bytes(12), is_derived=True) == expected
    assert ids.seed_of("", bytes(7) + b"\x05" + bytes(4), is_derived=False) == 5


@given(RAW_IDS, RAW_IDS)
def test_seeds_are_stable_and_differ(one: bytes, other: bytes) -> None:
    assert 0 <= ids.random_seed_for(one) < 2**64
    assert (ids.random_seed_for(one) == ids.random_seed_for(other)) == (one == other)
